"""What changed is remembered with its time, its files and their owner, over restarts, and within bounds."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from spoa.console.chronicle import FILE, Chronicle
from spoa.reload import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def outcome(result: str = "activated", cause: str = "change") -> Outcome:
    return Outcome(result, cause, "0123456789ab", 0.0, 0.0, ({"message": "no"},) if result == "rejected" else ())


def test_entries_survive_a_restart_newest_first(tmp_path: Path) -> None:
    chronicle = Chronicle(tmp_path)
    chronicle.tell("block", blocked="a")
    chronicle.tell("unblock", unblocked="a")
    assert [entry["what"] for entry in Chronicle(tmp_path).entries] == ["unblock", "block"]
    assert Chronicle(tmp_path).entries == chronicle.entries
    assert chronicle.entries[0]["at"] >= chronicle.entries[1]["at"]


def test_no_more_is_kept_than_can_be_shown(tmp_path: Path) -> None:
    chronicle = Chronicle(tmp_path)
    for number in range(210):
        chronicle.tell("block", blocked=str(number))
    assert len(chronicle.entries) == len((tmp_path / FILE).read_text().splitlines()) == 200
    assert chronicle.entries[-1]["blocked"] == "10"


def test_a_reload_names_the_files_that_changed_and_their_owner(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    one, other, gone = (policies / name for name in ("one.yaml", "other.yaml", "gone.yaml"))
    for path in (one, other, gone):
        path.write_text("rules: []\n")
    chronicle = Chronicle(tmp_path)
    chronicle.tell_of(outcome(cause="start"), [one, other, gone, policies / "missing"])
    assert chronicle.entries[0]["files"] == []  # everything is new at the start, so nothing changed
    one.write_text("rules: [1]\n")
    gone.unlink()
    chronicle.tell_of(outcome("rejected"), [one, other, gone])
    owner = pwd.getpwuid(os.getuid()).pw_name
    newest = chronicle.entries[0]
    assert newest["files"] == [
        {"file": str(one), "change": "written", "owner": owner},
        {"file": str(gone), "change": "removed", "owner": ""},
    ]
    assert (newest["result"], newest["problems"], newest["revision"]) == ("rejected", 1, "0123456789ab")


def test_a_rollback_names_who_asked_for_it(tmp_path: Path) -> None:
    chronicle = Chronicle(tmp_path)
    chronicle.tell_of(outcome(cause="rollback"), [], "alice")
    assert (chronicle.entries[0]["cause"], chronicle.entries[0]["by"]) == ("rollback", ["alice"])


def test_what_changed_nothing_is_not_told_of(tmp_path: Path) -> None:
    chronicle = Chronicle(tmp_path)
    chronicle.tell_of(outcome("unchanged"), [])
    assert chronicle.entries == []


def test_a_user_without_a_name_is_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("1")
    chronicle = Chronicle(tmp_path)
    chronicle.tell_of(outcome(), [path])

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    path.write_text("12")
    chronicle.tell_of(outcome(), [path])
    assert chronicle.entries[0]["files"][0]["owner"] == str(os.getuid())


def test_a_broken_history_keeps_nobody_from_starting(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'{"what": "block", "at": 1}\nnot JSON\n[]\n{"what": "x", "at": "y"}\n\xff\n')
    assert Chronicle(tmp_path).entries == [{"what": "block", "at": 1}]


def test_a_disk_that_takes_nothing_is_a_line_in_the_log(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    (tmp_path / FILE / "x").touch()
    chronicle = Chronicle(tmp_path)
    chronicle.tell("block", blocked="a")
    assert len(chronicle.entries) == 1


def test_a_file_that_people_edit_is_told_of_with_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "blocks.yaml"
    path.write_text("1")
    chronicle = Chronicle(tmp_path)
    chronicle.tell_of_file(path, {"file": "blocks.yaml", "came": [str(number) for number in range(30)], "went": []})
    path.unlink()
    chronicle.tell_of_file(path, {"file": "blocks.yaml", "came": [], "went": ["0"]})
    gone, written = chronicle.entries
    assert (written["by"], len(written["came"])) == ([pwd.getpwuid(os.getuid()).pw_name], 20)
    assert (gone["by"], gone["went"]) == ([], ["0"])
