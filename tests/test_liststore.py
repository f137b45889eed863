"""List files are replaced whole, keep their mode, and are edited by one at a time."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from spoa.exceptions import ListError
from spoa.liststore import create_list, edit_list, read_list

if TYPE_CHECKING:
    from pathlib import Path


def test_a_list_keeps_its_mode_and_its_name_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    file = tmp_path / "real" / "x.txt"
    file.write_bytes(b"one")
    file.chmod(0o640)
    link = tmp_path / "x.txt"
    link.symlink_to(file)
    assert edit_list(link, lambda text: (text + b" two", 7)) == 7
    assert (read_list(link), link.is_symlink()) == (b"one two", True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [entry.name for entry in file.parent.iterdir()] == ["x.txt"]


def test_an_edit_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_bytes(b"one")
    before = file.stat()
    edit_list(file, lambda text: (text, None))
    assert file.stat() == before


def test_edits_wait_for_one_another(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_bytes(b"")
    begun, may_end = threading.Event(), threading.Event()

    def slowly(text: bytes) -> tuple[bytes, None]:
        begun.set()
        assert may_end.wait(10)
        return text + b"1", None

    first = threading.Thread(target=edit_list, args=(file, slowly))
    second = threading.Thread(target=edit_list, args=(file, lambda text: (text + b"2", None)))
    first.start()
    assert begun.wait(10)
    second.start()
    may_end.set()
    first.join(10)
    second.join(10)
    assert file.read_bytes() == b"12"


def test_a_list_is_made_once(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    assert create_list(file, b"one")
    assert not create_list(file, b"two")
    assert file.read_bytes() == b"one"


def test_what_can_t_be_used_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "x.txt"
    with pytest.raises(ListError, match="can't be made: No such file"):
        create_list(missing, b"")
    with pytest.raises(ListError, match="can't be read: No such file"):
        read_list(missing)
    with pytest.raises(ListError, match="can't be read: No such file"):
        edit_list(missing, lambda text: (text, None))


def test_a_full_disk_leaves_the_old_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.txt"
    file.write_bytes(b"one")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ListError, match="can't be written: No space left"):
        edit_list(file, lambda text: (text + b"two", None))
    assert file.read_bytes() == b"one"
