"""The file of openings has one form, and whatever is wrong in it is said with its place."""

from __future__ import annotations

import pytest

from spoa.policy.openingfile import MAX_OPENINGS_SIZE, read_opening_entries
from spoa.policy.reading import Report

HEAD = b"apiVersion: authz/v1\nkind: openings\nentries:\n"
ENTRY = b"  - {switch: incident, ticket: INC-7, opened: 2026-11-28T10:00:00Z, until: 2026-11-28T11:00:00Z}\n"


def codes(text: bytes) -> list[str]:
    report = Report()
    read_opening_entries(text, "breakglass.yaml", report)
    return [problem.code for problem in report.problems]


def test_entries_are_read_and_an_empty_file_opens_nothing() -> None:
    report = Report()
    (entry,) = read_opening_entries(HEAD + ENTRY, "breakglass.yaml", report)
    assert entry.value == {"switch": "incident", "ticket": "INC-7", "opened": 1795860000, "until": 1795863600}
    assert read_opening_entries(b"", "breakglass.yaml", report) == ()
    assert report.problems == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (HEAD.replace(b"openings", b"blocks") + ENTRY, "invalid-value"),
        (HEAD + ENTRY.replace(b"ticket: INC-7, ", b""), "missing-key"),
        (HEAD + ENTRY.replace(b"until: 2026-11-28T11:00:00Z", b"until: later"), "invalid-value"),
        (HEAD + ENTRY.replace(b"switch", b"swich"), "unknown-key"),
        (b"[]", "wrong-type"),
        (b"x" * (MAX_OPENINGS_SIZE + 1), "too-large"),
    ],
)
def test_whatever_is_wrong_is_said(text: bytes, code: str) -> None:
    assert code in codes(text)
