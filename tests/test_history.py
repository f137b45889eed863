"""What was active is kept as it was, found again, and never half used."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

import spoa.history
from spoa.exceptions import StateError
from spoa.history import KEPT_REVISIONS, History, Kept, Rollback, keep_files

if TYPE_CHECKING:
    from pathlib import Path

HELD = Rollback("b" * 12, "a" * 12, "alice", 5.0, "INC-7")


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


def keep(history: History, revision: str, activated: float, **contents: str) -> Kept:
    files = keep_files({name.replace("_", "/"): text.encode() for name, text in contents.items()}, history.files)
    kept = Kept(revision, activated, "change", files)
    history.keep(kept, ())
    return kept


class TestRevisions:
    def test_what_is_kept_is_found_by_its_first_digits_newest_first(self, history: History) -> None:
        one, two = keep(history, "aaaa11112222", 1, a="1"), keep(history, "aaaa33334444", 2, a="2")
        assert history.revisions() == [two, one]
        assert history.find("aaaa1") == one
        assert history.find("aaaa33334444") == two
        for text, says in (("aaaa", "several"), ("bbbb", "no kept"), ("aaa", "no kept"), ("", "no kept")):
            with pytest.raises(StateError, match=f"{says}.*kept are aaaa33334444, aaaa11112222"):
                history.find(text)

    def test_the_one_before_is_the_newest_that_was_active_earlier(self, history: History) -> None:
        one, two = keep(history, "a" * 12, 1), keep(history, "b" * 12, 2)
        three = keep(history, "c" * 12, 3)
        assert [history.before(kept.revision) for kept in (three, two)] == [two, one]
        assert history.before("d" * 12) == three
        with pytest.raises(StateError, match="no kept revision was active before"):
            history.before("a" * 12)

    def test_so_many_are_kept_and_those_that_are_needed_and_files_that_nobody_has_go(self, history: History) -> None:
        for number in range(KEPT_REVISIONS + 4):
            files = keep_files({"a": f"{number}".encode(), "same": b"same"}, history.files)
            history.keep(Kept(f"{number:012x}", number, "change", files), (f"{0:012x}",))
        kept = [one.revision for one in history.revisions()]
        assert kept == [f"{number:012x}" for number in (*range(KEPT_REVISIONS + 3, 3, -1), 0)]
        assert len(list(history.files.iterdir())) == len(kept) + 1

    def test_large_ones_are_fewer_but_the_one_before_always_stays(
        self, history: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spoa.history, "KEPT_BYTES", 25)
        for number in range(5):
            keep(history, f"{number:012x}", number, a=f"{number:010}", b="same")
        assert [one.activated for one in history.revisions()] == [4, 3]
        monkeypatch.setattr(spoa.history, "KEPT_BYTES", 1)
        keep(history, f"{9:012x}", 9, a="9" * 10)
        assert [one.activated for one in history.revisions()] == [9, 4]

    def test_it_is_written_out_as_it_was_also_what_lies_above_the_directory(
        self, history: History, tmp_path: Path
    ) -> None:
        files = {"a.yaml": b"a", "lists/x.txt": b"x", "../ca.pem": b"ca", "../../y": b"y", "tests/../b": b"b"}
        kept = Kept("a" * 12, 1, "change", keep_files({**files, "/etc/hostname": b"there"}, history.files))
        directory = history.write_out(kept, tmp_path / "out")
        for name, content in files.items():
            assert (directory / name).read_bytes() == content
        assert not list((tmp_path / "out").rglob("hostname"))
        assert {path.resolve().is_relative_to((tmp_path / "out").resolve()) for path in directory.rglob("*")} == {True}

    def test_a_file_that_is_gone_or_damaged_is_no_way_back(self, history: History, tmp_path: Path) -> None:
        kept = keep(history, "a" * 12, 1, a="1")
        (path,) = history.files.iterdir()
        path.write_text("2")
        with pytest.raises(StateError, match="was damaged; choose another revision"):
            history.write_out(kept, tmp_path / "one")
        path.unlink()
        with pytest.raises(StateError, match="No such file or directory; choose another revision"):
            history.write_out(kept, tmp_path / "two")

    def test_what_is_no_revision_is_passed_over_and_a_newer_one_refused(self, history: History, tmp_path: Path) -> None:
        folder = tmp_path / "revisions"
        for name, text in (("a" * 12, "{"), ("b" * 12, "[]"), ("c" * 12, '{"version": 1}'), ("other", "{}")):
            (folder / f"{name}.json").write_text(text)
        (folder / f"{'d' * 12}.json").write_text(json.dumps({"version": 0}))
        assert history.revisions() == []
        (folder / f"{'e' * 12}.json").write_text(json.dumps({"version": 2, "more": 1}))
        with pytest.raises(StateError, match="has version 2, and this version of spoa-authz reads up to 1"):
            history.revisions()
        assert history.describe(None)["revisions"] == []

    def test_a_directory_that_can_not_be_made_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "revisions").write_text("")
        with pytest.raises(StateError, match="can't be made"):
            History(tmp_path)


class TestRollback:
    def test_it_is_remembered_until_it_is_released(self, history: History) -> None:
        assert history.rollback() is None
        history.roll_back(HELD)
        assert history.rollback() == HELD
        assert history.describe(HELD)["rollback"] == asdict(HELD)
        history.release()
        history.release()
        assert history.rollback() is None

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', '{"version": 1, "to": 1}'])
    def test_one_that_can_not_be_read_is_not_passed_over(self, history: History, tmp_path: Path, text: str) -> None:
        (tmp_path / "rollback.json").write_text(text)
        with pytest.raises(StateError, match=r"delete .*rollback\.json to go by the policy directory again"):
            history.rollback()

    def test_one_of_a_newer_agent_is_refused(self, history: History, tmp_path: Path) -> None:
        (tmp_path / "rollback.json").write_text('{"version": 2}')
        with pytest.raises(StateError, match="has version 2"):
            history.rollback()

    def test_one_that_can_not_be_removed_is_an_error(self, history: History, tmp_path: Path) -> None:
        (tmp_path / "rollback.json").mkdir()
        with pytest.raises(StateError, match="can't be removed"):
            history.release()


class TestChanges:
    def test_the_last_come_first(self, history: History) -> None:
        assert history.changes(5) == []
        for number in range(3):
            history.note(what="activated", number=number)
        assert [one["number"] for one in history.changes(2)] == [2, 1]
        assert history.changes(1)[0]["version"] == 1

    def test_it_stays_of_bounded_length_and_half_a_line_is_passed_over(
        self, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spoa.history, "_KEPT_CHANGES", 5)
        for number in range(24):
            history.note(number=number)
        lines = (tmp_path / "changes.jsonl").read_text().splitlines()
        assert 5 <= len(lines) <= 10
        assert json.loads(lines[-1])["number"] == 23
        with (tmp_path / "changes.jsonl").open("a") as file:
            file.write('{"number":')
        assert [one["number"] for one in history.changes(2)] == [23]

    def test_a_disk_that_does_not_take_it_changes_nothing_else(self, history: History, tmp_path: Path) -> None:
        (tmp_path / "changes.jsonl").mkdir()
        history.note(what="activated")
        assert history.changes(1) == []
