"""The verb says how a promotion ended, and by its status too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from spoa.cli import promote
from spoa.cli.asking import UnreachableError
from tests.agents import running_agent

if TYPE_CHECKING:
    from pathlib import Path


def run(*words: str) -> Result:
    return CliRunner().invoke(promote.command, words)


@pytest.mark.parametrize(("result", "status"), [("activated", 0), ("unchanged", 0), ("rejected", 3), ("failed", 1)])
def test_each_end_has_its_status(monkeypatch: pytest.MonkeyPatch, result: str, status: int) -> None:
    outcome: dict[str, Any] = {"result": result, "revision": "", "problems": ["why not"], "warnings": ["beware"]}
    monkeypatch.setattr(promote, "change", lambda *_: outcome)
    told = run("--admin", "127.0.0.1:1")
    assert told.exit_code == status
    assert f"{result}: revision none" in told.output
    assert "why not" in told.output
    assert json.loads(run("--admin", "127.0.0.1:1", "--json").stdout) == outcome


def test_nobody_there_is_status_1_and_a_wrong_address_2(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(address: Any, *_: object) -> None:
        raise UnreachableError(address, "refused")

    monkeypatch.setattr(promote, "change", nobody)
    assert run("--admin", "127.0.0.1:1").exit_code == 1
    assert run("--admin", "nonsense").exit_code == 2


def test_an_agent_without_a_candidate_says_so(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    with running_agent(tmp_path, "--admin-token-file", str(tmp_path / "token")) as agent:
        result = run("--admin", agent.admin, "--token-file", str(tmp_path / "token"))
    assert result.exit_code == 1
    assert "--candidate DIR" in result.output


def test_somebody_elses_agent_on_the_usual_address_gets_no_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promote, "change", lambda *_: pytest.fail("another agent was asked"))
    result = run("--state-dir", str(tmp_path))
    assert result.exit_code == 1
    assert f"no agent runs on {tmp_path}; give the state directory" in result.stderr
