"""Whatever happens to the log, its newest decisions are found once each, and nothing is waited for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from spoa.console import following
from spoa.console.following import MAX_SHOWN, Filter, Follower

if TYPE_CHECKING:
    from pathlib import Path


def line(number: int, **fields: object) -> str:
    return json.dumps({"id": f"id-{number}", "verdict": "deny", **fields}) + "\n"


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def ids(decisions: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in decisions]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "decisions.jsonl"
    path.write_text("")
    return path


def test_what_is_there_comes_first_and_then_what_is_added(log: Path) -> None:
    append(log, line(1) + line(2))
    follower = Follower(log, Filter())
    assert ids(follower.look().decisions) == ["id-1", "id-2"]
    assert follower.look() == ([], 0, 0)
    append(log, line(3))
    assert ids(follower.look().decisions) == ["id-3"]
    follower.close()
    follower.close()


def test_half_a_line_waits_for_its_other_half(log: Path) -> None:
    follower = Follower(log, Filter())
    text = line(1)
    append(log, text[:10])
    assert follower.look().decisions == []
    append(log, text[10:])
    assert ids(follower.look().decisions) == ["id-1"]
    follower.close()


def test_a_log_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "later", Filter())
    assert follower.look().decisions == []
    append(tmp_path / "later", line(1))
    assert ids(follower.look().decisions) == ["id-1"]
    follower.close()


def test_rotation_loses_nothing(log: Path) -> None:
    follower = Follower(log, Filter())
    follower.look()
    append(log, line(1))
    old = log.rename(log.with_suffix(".1"))
    assert ids(follower.look().decisions) == ["id-1"]
    append(old, line(2))  # the agent has not opened the new file yet
    append(log, line(3))
    assert ids(follower.look().decisions) == ["id-2", "id-3"]
    append(log, line(4))
    assert ids(follower.look().decisions) == ["id-4"]
    log.unlink()
    assert follower.look().decisions == []
    follower.close()


def test_a_log_that_is_cut_in_place_is_read_from_its_new_beginning(log: Path) -> None:
    append(log, line(1) + line(2))
    follower = Follower(log, Filter())
    follower.look()
    log.write_text(line(3))
    assert ids(follower.look().decisions) == ["id-3"]
    follower.close()


def test_of_many_the_newest_are_shown_and_the_others_counted(log: Path) -> None:
    append(log, "".join(map(line, range(MAX_SHOWN + 5))))
    follower = Follower(log, Filter())
    portion = follower.look()
    assert ids(portion.decisions)[0] == "id-5"
    assert (len(portion.decisions), portion.skipped) == (MAX_SHOWN, 5)
    follower.close()


def test_what_comes_too_fast_to_be_read_is_left_out(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MAX_PORTION", 100)
    append(log, "".join(map(line, range(50))))
    follower = Follower(log, Filter())
    first = follower.look()
    assert ids(first.decisions) == ["id-48", "id-49"]
    append(log, "".join(map(line, range(50, 90))))
    second = follower.look()
    assert ids(second.decisions) == ["id-88", "id-89"]
    assert second.unread > 1000
    follower.close()


def test_what_is_no_decision_is_passed_over(log: Path) -> None:
    append(log, "not JSON\n[]\n{}\n" + line(1))
    follower = Follower(log, Filter())
    assert ids(follower.look().decisions) == ["id-1"]
    follower.close()


DECISION = {
    "id": "7F:1",
    "verdict": "deny",
    "reason": "no_rule_allows",
    "identity": "staff",
    "path": "/Admin/x",
    "host": "api.example",
    "src": "10.0.0.1",
    "rule": "",
    "cert": {"subject": "CN=Alice"},
}


@pytest.mark.parametrize(
    ("wanted", "is_wanted"),
    [
        (Filter(), True),
        (Filter(verdict="deny", reason="no_rule_allows", identity="staff"), True),
        (Filter(verdict="allow"), False),
        (Filter(reason="no_rule"), False),
        (Filter(identity="readers"), False),
        (Filter(text="/admin"), True),
        (Filter(text="ALICE"), True),
        (Filter(text="10.0.0.1"), True),
        (Filter(text="7f:1"), True),
        (Filter(text="bob"), False),
    ],
)
def test_a_filter_wants_what_it_names(wanted: Filter, is_wanted: bool) -> None:
    assert wanted.wants(DECISION) is is_wanted
    assert Filter(text="alice").wants({**DECISION, "cert": None}) is False
