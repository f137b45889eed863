"""`list show` and `list audit` tell what is on a list, and what logs tell of it."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from spoa.cli.lists import command

if TYPE_CHECKING:
    from pathlib import Path

A, B = "aa" * 32, "bb" * 32
RICH = f"""\
apiVersion: authz/v1
kind: list
permanent: true
entries:
  - {{sha256: {A}, owner: ops, comment: Dock 4, ticket: WH-1, expires: 2199-01-01T00:00:00Z, next: {B}}}
  - {{spki_sha256: {B}, owner: "\\u001b[2J"}}
"""


def instant(days: float) -> str:
    return f"{dt.datetime.fromtimestamp(time.time() - days * 86_400, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def decision(sha256: str, days: float, verdict: str = "allow") -> str:
    return json.dumps({"time": instant(days), "verdict": verdict, "cert": {"sha256": sha256}}) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "x.yaml").write_text(RICH.replace("\\u001b", "\\\\e"))
    (tmp_path / "log").write_text(decision("cc" * 32, 300) + decision(A, 100))
    return tmp_path


def run(*words: object) -> Result:
    result = CliRunner().invoke(command, list(map(str, words)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_list_is_shown_with_whose_each_entry_is(folder: Path) -> None:
    result = run("show", folder / "x.yaml")
    head, first, second = result.stdout.splitlines()
    assert (result.exit_code, head.split()) == (
        0,
        ["line", "certificate", "owner", "comment", "ticket", "expires", "next"],
    )
    assert first.split("  ")[0] == "5"
    assert all(word in first for word in (f"sha256:{A}", "ops", "Dock 4", "WH-1", "2199-01-01T00:00:00Z", B))
    assert f"spki:{B}" in second


def test_logs_tell_who_was_seen_last(folder: Path) -> None:
    lines = run("show", folder / "x.yaml", "--log", folder / "log").stdout.splitlines()
    assert lines[0].endswith("last seen")
    assert lines[1].endswith(instant(100)[:10] + lines[1][-10:])
    assert lines[2].endswith("unknown")
    (folder / "y.txt").write_text(B)
    assert run("show", folder / "y.txt", "--log", folder / "log").stdout.splitlines()[1].endswith("never")


def test_programs_get_json(folder: Path) -> None:
    printed: dict[str, Any] = json.loads(run("show", folder / "x.yaml", "--log", folder / "log", "--json").stdout)
    assert printed["file"] == str(folder / "x.yaml")
    first, second = printed["entries"]
    assert first == {
        "line": 5, "key": f"sha256:{A}", "kind": "sha256", "owner": "ops", "comment": "Dock 4", "ticket": "WH-1",
        "expires": "2199-01-01T00:00:00Z", "next": B, "last_seen": first["last_seen"],
        "last_allowed": first["last_seen"], "next_last_seen": None,
    }  # fmt: skip
    assert first["last_seen"] is not None
    assert (second["expires"], second["next"], second["last_seen"]) == (None, None, None)
    assert json.loads(run("show", folder / "x.yaml", "--json").stdout)["entries"][0]["last_seen"] is None


def test_an_empty_list_is_shown_as_one(folder: Path) -> None:
    (folder / "y.txt").touch()
    assert run("show", folder / "y.txt").stdout == f"{folder / 'y.txt'} is empty\n"


def test_an_audit_names_what_deserves_a_look(folder: Path) -> None:
    (folder / "y.txt").write_text(f"{B}\n{B}\n")
    result = run("audit", folder / "x.yaml", folder / "y.txt", "--log", folder / "log", "--unused", "90d")
    assert result.exit_code == 1
    assert [tuple(line.split()[:2]) for line in result.stdout.splitlines()] == [
        (f"{folder / 'x.yaml'}:5:", "unused"),
        (f"{folder / 'y.txt'}:1:", "duplicate"),
        (f"{folder / 'y.txt'}:1:", "never-seen"),
        (f"{folder / 'y.txt'}:2:", "duplicate"),
        (f"{folder / 'y.txt'}:2:", "never-seen"),
    ]


def test_an_audit_that_finds_nothing_exits_with_0(folder: Path) -> None:
    result = run("audit", folder / "x.yaml", "--log", folder / "log", "--unused", "101")
    assert (result.exit_code, result.stdout) == (0, "2 entries, nothing found\n")
    (folder / "one.txt").write_text("ab" * 32 + "\n")
    assert run("audit", folder / "one.txt").stdout == "1 entry, nothing found\n"
    assert json.loads(run("audit", folder / "x.yaml", "--json").stdout) == {
        "entries": 2,
        "logs_since": None,
        "findings": [],
    }


def test_findings_are_told_to_programs(folder: Path) -> None:
    (folder / "y.yaml").write_text(RICH.replace("2199-01-01", instant(-9)[:10]))
    printed = json.loads(run("audit", folder / "y.yaml", "--log", folder / "log", "--json", "--unused", "900").stdout)
    (finding,) = printed["findings"]
    assert {key: finding[key] for key in ("line", "code", "entry")} == {
        "line": 5,
        "code": "expiring",
        "entry": f"sha256:{A}",
    }
    assert printed["logs_since"] is not None
    assert run("audit", folder / "y.yaml", "--ahead", "8").exit_code == 0


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("", "hold no decision"),
        ('{"time": "2026-11-20T09:00:00Z", "verdict": "deny"}\n', "hold no allow"),
        (decision(A, 1) + "{", "1 lines of the logs are no decisions"),
        (decision(A, 1).replace(A, "masked").replace("{", '{"masked": ["sha256"], ', 1), "the logs mask sha256;"),
    ],
)
def test_logs_that_can_t_tell_are_said_to(folder: Path, log: str, message: str) -> None:
    (folder / "log").write_text(log)
    result = run("audit", folder / "x.yaml", "--log", folder / "log")
    assert (result.exit_code, message in result.stderr) == (0, True)


@pytest.mark.parametrize("words", [("--unused", "long"), ("--log", "/nowhere")])
def test_usage_errors_exit_with_2(folder: Path, words: tuple[str, ...]) -> None:
    assert run("audit", folder / "x.yaml", *words).exit_code == 2


def test_the_log_of_the_running_agent_can_be_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.cli.list_review.logs_of_agent", lambda _: (folder / "log",))
    assert run("show", folder / "x.yaml", "--agent").stdout.splitlines()[0].endswith("last seen")
    assert run("audit", folder / "x.yaml", "--agent", "--unused", "99").exit_code == 1
