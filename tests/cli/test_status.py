"""`status` says what the running agent does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner, Result

import spoa.cli.status
from spoa.cli.status import command
from tests.agents import running_agent, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

STATUS: dict[str, Any] = {
    "ready": True,
    "revision": "0123456789ab",
    "since": 1_800_000_000.0,
    "policies": "/etc/policies",
    "listen": ["127.0.0.1:9123"],
    "workers": [{"pid": 1, "serving": True, "since": 1.0, "connections": 3}],
    "clock_usable": True,
    "break_glass": {"open": [], "switches": {}, "entries": [], "problem": ""},
    "last_reload": None,
}


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(command, arguments, env=environment)


def shown(monkeypatch: pytest.MonkeyPatch, code: int = 200, **changes: Any) -> Result:
    """Show a status as the agent might give it."""
    monkeypatch.setattr(spoa.cli.status, "ask", lambda *_: (code, {**STATUS, **changes}))
    return invoke("--admin", "127.0.0.1:1")


def test_a_running_agent_is_described_for_people_and_for_programs(tmp_path: Path) -> None:
    with running_agent(tmp_path) as agent:
        result = invoke("--state-dir", str(agent.state))
        assert result.exit_code == 0
        assert agent.status()["revision"] in result.output
        program = invoke("--json", SPOA_AUTHZ_STATE_DIR=str(agent.state))
        assert json.loads(program.output)["ready"] is True
        agent.write_policy("apiVersion: authz/v1\nrulez: []\n")
        until(lambda: agent.status()["last_reload"]["result"] == "rejected")
        rejected = invoke("--state-dir", str(agent.state)).output
        assert "rejected (change)" in rejected
        assert "policy.yaml:2:1" in rejected


def test_an_agent_about_to_leave_is_not_ready_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    result = shown(monkeypatch, ready=False, leaves_at=1_800_000_000.0)
    assert result.exit_code == 1
    assert "it stops, and fails health checks until 2027-01-15" in result.output


OTHERS = {
    "revocation": {
        "state": "good",
        "reason": "ok",
        "sources": {
            "crl": {
                "entries": 7,
                "lists": [{"number": 5, "next_update": 1_800_000_000}, {"number": None, "next_update": None}],
                "problems": [{"file": "/crl/a.crl", "reason": "rollback", "detail": "number 4 follows number 5"}],
                "soft_fails": 3,
                "error": "the builder died",
                "urls": [
                    {
                        "url": "http://crl.example/a",
                        "last_success": 1_800_000_000,
                        "next_attempt": 1_800_000_300,
                        "problem": None,
                        "circuit": "closed",
                    },
                    {
                        "url": "http://crl.example/b",
                        "last_success": None,
                        "next_attempt": None,
                        "problem": "status",
                        "detail": "the server answers 500",
                        "circuit": "open",
                    },
                    {
                        "url": "http://crl.example/c",
                        "last_success": None,
                        "next_attempt": None,
                        "problem": "tls",
                        "detail": "no TLS",
                        "circuit": "closed",
                    },
                ],
            }
        },
    }
}


def test_lists_and_issuers_have_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    output = shown(
        monkeypatch,
        lists={
            "scanners": {"entries": 3, "soonest_expiry": 1_800_000_000},
            "others": {"entries": 0, "soonest_expiry": None},
        },
        issuers={"corp": {"revocation": {"state": "not_checked", "reason": "a test"}}, "others": OTHERS},
    ).output
    assert "3 entries, next expiry 2027-01-15T08:00:00+00:00" in output
    assert "0 entries, next expiry never" in output
    assert "state: not_checked, reason: a test" in output
    assert "2 lists, 7 entries, number 5, next update 2027-01-15T08:00:00+00:00, 3 soft fails" in output
    assert "/crl/a.crl: rollback number 4 follows number 5" in output
    assert "the builder died" in output
    assert "crl.example/a: fetched 2027-01-15T08:00:00+00:00, next look 2027-01-15T08:05:00+00:00" in output
    assert "crl.example/b: status (the server answers 500), circuit open, fetched never, next look never" in output
    assert "crl.example/c: tls (no TLS), fetched never" in output


def test_problems_and_warnings_have_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    last = {"result": "rejected", "cause": "change", "at": 0.0, "problems": ["a:1:1 \x1b[2J"], "warnings": ["b:1:1 y"]}
    output = shown(monkeypatch, last_reload=last).output
    assert "a:1:1 \\u001b[2J" in output
    assert "b:1:1 y" in output


def test_blocks_have_a_line_and_so_has_a_file_that_is_not_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    glass = {**STATUS["break_glass"], "problem": "breakglass.yaml:1:1: no list of openings"}
    told = shown(monkeypatch, blocks={"count": 2, "entries": [], "problem": "blocks.yaml: is gone"}, break_glass=glass)
    assert "blocked       2 certificates" in told.output
    assert "NOT IN FORCE  blocks.yaml: is gone" in told.output
    assert "NOT IN FORCE  breakglass.yaml:1:1: no list of openings" in told.output
    quiet = shown(monkeypatch, blocks={"count": 0, "entries": [], "problem": ""}).output
    assert "blocked" not in quiet
    assert "NOT IN FORCE" not in quiet


def test_an_agent_that_is_not_ready_is_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    result = shown(monkeypatch, ready=False, revision="", clock_usable=False)
    assert result.exit_code == 1
    assert "NOT USABLE" in result.output


def test_an_agent_that_does_not_answer_is_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke("--admin", f"unix:{tmp_path}/none")
    assert result.exit_code == 1
    assert "no agent answers" in result.stderr
    refused = shown(monkeypatch, 421)
    assert refused.exit_code == 1
    assert "answers 421" in refused.stderr


def test_an_address_that_is_none_is_status_2() -> None:
    assert invoke("--admin", "nowhere").exit_code == 2


def test_help_has_an_example() -> None:
    assert "spoa-authz status --json" in invoke("--help").output


def test_an_agent_on_another_state_directory_is_not_taken_for_the_one_that_was_asked_about(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--state-dir", str(tmp_path / "other")])
    assert result.exit_code == 1
    assert "no agent runs on" in result.stderr


def test_an_open_switch_has_a_line_and_so_has_one_that_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    opening = {"switch": "incident", "ticket": "INC-7", "opened": 1, "until": 1_800_000_000, "by": "", "refused": ""}
    entries = [opening, {**opening, "switch": "other", "refused": "the policy declares none"}]
    output = shown(monkeypatch, break_glass={"open": ["incident"], "switches": {}, "entries": entries}).output
    assert "OPEN until 2027-01-15T08:00:00+00:00, ticket INC-7" in output
    assert "refused: the policy declares none" in output
