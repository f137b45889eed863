"""`reload` asks, waits for the end, and says how it went."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

import spoa.cli.reload
from spoa.cli.reload import command
from tests.agents import SHUT, running_agent

if TYPE_CHECKING:
    from pathlib import Path

BAD = "apiVersion: authz/v1\nrulez: []\n"


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(command, arguments, env=environment)


def test_over_the_unix_socket_the_outcome_comes_back(tmp_path: Path) -> None:
    admin = f"unix:{tmp_path}/admin.sock"
    with running_agent(tmp_path, "--admin", admin) as agent:
        result = invoke("--state-dir", str(agent.state))
        assert result.exit_code == 0, result.output
        assert result.output.startswith("unchanged: revision ")
        (agent.policies / "policy.yaml").write_text(BAD)
        rejected = invoke("--admin", admin)
        assert rejected.exit_code == 3
        assert "policy.yaml:2:1" in rejected.stderr
        (agent.policies / "policy.yaml").write_text(SHUT)
        activated = invoke("--state-dir", str(agent.state), "--json")
        assert activated.exit_code == 0
        assert json.loads(activated.stdout)["result"] in {"activated", "unchanged"}


def test_with_the_token_or_by_a_signal_it_works_over_tcp_too(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    with running_agent(tmp_path, "--admin-token-file", str(token)) as agent:
        assert invoke("--state-dir", str(agent.state), "--token-file", str(token)).exit_code == 0
        assert invoke("--admin", agent.admin, SPOA_AUTHZ_ADMIN_TOKEN_FILE=str(token)).exit_code == 0
        by_signal = invoke("--state-dir", str(agent.state), "--json")
        assert by_signal.exit_code == 0
        assert json.loads(by_signal.stdout)["cause"] == "signal"
        token.with_name("wrong").write_text("wrong")
        refused = invoke("--admin", agent.admin, "--token-file", str(token.with_name("wrong")))
        assert refused.exit_code == 1
        assert "wants its bearer token" in refused.stderr


def test_without_an_agent_it_is_status_1(tmp_path: Path) -> None:
    result = invoke("--state-dir", str(tmp_path))
    assert result.exit_code == 1
    assert f"no agent runs on {tmp_path}; give the state directory" in result.stderr
    (tmp_path / "admin").write_text("127.0.0.1:1\n")  # of one that was killed
    assert "no agent runs on" in invoke("--state-dir", str(tmp_path)).stderr


def test_somebody_elses_agent_on_the_usual_address_is_not_reloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoa.cli.reload, "change", lambda *_: pytest.fail("another agent was asked"))
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    result = invoke("--state-dir", str(tmp_path), "--token-file", str(token))
    assert (result.exit_code, "no agent runs on" in result.stderr) == (1, True)


def test_a_reload_that_does_not_end_is_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "admin").write_text("127.0.0.1:1\n")
    monkeypatch.setattr(spoa.cli.reload, "read_pid", lambda _: os.getpid())
    monkeypatch.setattr(spoa.cli.reload, "ask", lambda *_: (200, {"last_reload": None}))
    monkeypatch.setattr(spoa.cli.reload, "_WAIT", 0.1)
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _, number: sent.append(number))
    result = invoke("--state-dir", str(tmp_path))
    assert result.exit_code == 1
    assert len(sent) == 1
    assert "did not end a reload" in result.stderr


def test_an_agent_of_another_user_can_not_be_signalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "admin").write_text("127.0.0.1:1\n")

    def refuse(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(spoa.cli.reload, "read_pid", lambda _: 1)
    monkeypatch.setattr(spoa.cli.reload, "ask", lambda *_: (200, {}))
    monkeypatch.setattr(os, "kill", refuse)
    result = invoke("--state-dir", str(tmp_path))
    assert result.exit_code == 1
    assert "can't be signalled" in result.stderr


def test_wrong_options_are_status_2(tmp_path: Path) -> None:
    assert invoke("--admin", "nowhere").exit_code == 2
    assert invoke("--token-file", str(tmp_path / "missing"), "--admin", "127.0.0.1:1").exit_code == 2


def test_help_has_an_example() -> None:
    assert "spoa-authz reload --admin" in invoke("--help").output


def test_a_reload_that_began_before_it_was_asked_for_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "admin").write_text("127.0.0.1:1\n")

    def outcome(revision: str, seconds: float) -> dict[str, Any]:
        found: dict[str, Any] = {"result": "activated", "revision": revision, "seconds": seconds, "at": time.time()}
        return {"last_reload": {**found, "problems": [], "warnings": []}}

    answers = iter([{}, outcome("early", 60.0), outcome("late", -60.0)])
    monkeypatch.setattr(spoa.cli.reload, "read_pid", lambda _: os.getpid())
    monkeypatch.setattr(spoa.cli.reload, "ask", lambda *_: (200, next(answers)))
    monkeypatch.setattr(os, "kill", lambda *_: None)
    assert "revision late" in invoke("--state-dir", str(tmp_path)).output
