"""The table of findings."""

from __future__ import annotations

import re

import pytest

from spoa.doctor.findings import FINDINGS, Finding, Severity, found
from spoa.haproxy_config.reading import Line
from spoa.haproxy_config.words import split_words


@pytest.mark.parametrize("code", FINDINGS)
def test_each_code_says_what_can_happen_and_what_to_do(code: str) -> None:
    kind = FINDINGS[code]
    assert re.fullmatch("[a-z]+(-[a-z]+)*", code)
    assert kind.happens.endswith(".")
    assert kind.remedy.endswith(".")


def test_a_finding_is_one_line_that_begins_with_its_place() -> None:
    finding = found("no-filter", Line("a.cfg", 7, split_words("frontend f", {})), "f has none")
    assert finding == Finding("a.cfg", 7, "no-filter", "f has none")
    assert str(finding) == "a.cfg:7: broken no-filter: f has none"
    assert finding.kind.severity is Severity.BROKEN
