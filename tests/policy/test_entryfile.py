"""How files of entries are read, whatever their entries are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spoa.policy.blockfile import BLOCK_FILE
from spoa.policy.entryfile import read_entries
from spoa.policy.openingfile import OPENING_FILE
from spoa.policy.reading import Report

if TYPE_CHECKING:
    from spoa.policy.shapes import Record

FORMS = pytest.mark.parametrize(("form", "kind"), [(BLOCK_FILE, "blocks"), (OPENING_FILE, "openings")])


@FORMS
def test_an_empty_file_and_an_empty_list_have_no_entries_and_no_problem(form: Record, kind: str) -> None:
    for text in (b"", f"apiVersion: authz/v1\nkind: {kind}\nentries: []\n".encode()):
        report = Report()
        assert read_entries(form, text, "file", report, max_size=1000) == ()
        assert not report.errors


@FORMS
@pytest.mark.parametrize("text", [b"[]", b"apiVersion: authz/v1\nkind: other\nentries: []\n", b"kind: {", b"#" * 1001])
def test_what_is_no_such_file_is_a_problem_at_a_place_in_it(form: Record, kind: str, text: bytes) -> None:
    report = Report()
    assert read_entries(form, text, f"{kind}.yaml", report, max_size=1000) == ()
    assert {problem.file for problem in report.problems} == {f"{kind}.yaml"}
    assert report.errors
