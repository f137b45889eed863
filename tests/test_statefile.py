"""The block list on disk is read and replaced whole, one edit at a time."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from spoa.exceptions import StateError
from spoa.statefile import edit_text, read_text

if TYPE_CHECKING:
    from pathlib import Path

FILE = "some.yaml"


def test_a_missing_list_is_empty(tmp_path: Path) -> None:
    assert read_text(tmp_path / FILE) == b""


def test_a_list_that_can_t_be_read_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(StateError, match="can't be read"):
        read_text(tmp_path / FILE)


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    with pytest.raises(StateError, match="no regular file"):
        read_text(tmp_path / FILE)


def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / FILE).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(StateError, match="is the most"):
        read_text(tmp_path / FILE)


def test_an_edit_makes_the_directory_and_returns_its_outcome(tmp_path: Path) -> None:
    assert edit_text(tmp_path / "state" / FILE, lambda text: (text + b"x", len(text))) == 0
    assert read_text(tmp_path / "state" / FILE) == b"x"


def test_an_edit_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"x")
    before = (tmp_path / FILE).stat().st_ino
    edit_text(tmp_path / FILE, lambda text: (text, None))
    assert (tmp_path / FILE).stat().st_ino == before


def test_edits_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    def append() -> None:
        for _ in range(20):
            edit_text(tmp_path / FILE, lambda text: (text + b"x", None))

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_text(tmp_path / FILE) == b"x" * 80


def test_a_directory_that_can_t_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="can't be used"):
        edit_text(tmp_path / "file" / FILE, lambda text: (text, None))
