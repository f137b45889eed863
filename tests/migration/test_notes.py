"""Notes as they are taken."""

from __future__ import annotations

import pytest

from spoa.haproxy_config.reading import Line
from spoa.haproxy_config.words import split_words
from spoa.migration.notes import NOTES, Note, Notes


def test_a_note_is_there_once_and_they_come_by_file_and_line() -> None:
    notes = Notes()
    for number in (7, 3, 7):
        notes.add(Line("a.cfg", number, split_words("x", {})), "kept", "it stays")
    assert [str(note) for note in notes.all] == ["a.cfg:3: kept: it stays", "a.cfg:7: kept: it stays"]


@pytest.mark.parametrize("code", NOTES)
def test_each_code_has_its_meaning_and_its_weight(code: str) -> None:
    assert NOTES[code].endswith(".")
    assert Note("a.cfg", 1, code, "x").is_warning is (code not in {"folded", "kept", "narrowed", "host-spelling"})


def test_a_code_that_is_none_is_a_defect() -> None:
    with pytest.raises(AssertionError):
        Notes().take(Note("a.cfg", 1, "other", "x"))
