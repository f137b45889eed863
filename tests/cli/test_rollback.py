"""The verb goes back on a running agent, says how that ended, and shows what is kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from spoa.cli import rollback
from spoa.cli.asking import UnreachableError
from tests.agents import OPEN, SHUT, running_agent, until

if TYPE_CHECKING:
    from pathlib import Path


def run(*words: object) -> Result:
    return CliRunner().invoke(rollback.command, [str(word) for word in words])


@pytest.mark.parametrize(("result", "status"), [("activated", 0), ("unchanged", 0), ("rejected", 3), ("failed", 1)])
def test_each_end_has_its_status(monkeypatch: pytest.MonkeyPatch, result: str, status: int) -> None:
    outcome: dict[str, Any] = {"result": result, "revision": "", "problems": ["why not"], "warnings": []}
    monkeypatch.setattr(rollback, "change", lambda *_: outcome)
    told = run("--admin", "127.0.0.1:1")
    assert told.exit_code == status
    assert f"{result}: revision none" in told.output
    assert json.loads(run("--admin", "127.0.0.1:1", "--json").stdout) == outcome


def test_nobody_there_is_status_1_and_a_wrong_address_2(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(address: Any, *_: object) -> None:
        raise UnreachableError(address, "refused")

    monkeypatch.setattr(rollback, "change", nobody)
    assert run("--admin", "127.0.0.1:1").exit_code == 1
    assert run("--admin", "nonsense").exit_code == 2


def test_somebody_else_s_agent_is_not_taken_for_the_one_that_was_meant(tmp_path: Path) -> None:
    result = run("--state-dir", tmp_path)
    assert (result.exit_code, f"no agent runs on {tmp_path}" in result.output) == (1, True)


def test_a_running_agent_goes_back_until_its_directory_changes_and_its_status_says_so(tmp_path: Path) -> None:
    socket = f"unix:{tmp_path}/admin.sock"
    at = ("--admin", socket)
    third = OPEN.replace("/open/", "/third/")
    with running_agent(tmp_path, *at) as agent, CliRunner().isolation():

        def status() -> dict[str, Any]:
            return dict(json.loads(CliRunner().invoke(_status(), [*at, "--json"]).stdout))

        first = status()["revision"]
        agent.write_policy(SHUT)
        until(lambda: status()["revision"] != first)
        second = status()["revision"]
        assert second != first
        result = run("--reason", "INC-7", *at)
        assert (result.exit_code, result.stdout) == (0, f"activated: revision {first}\n")
        now = status()
        assert (now["revision"], now["rollback"]["source"], now["rollback"]["reason"]) == (first, second, "INC-7")
        assert now["changes"][0]["what"] == "rolled_back"
        listed = run("--list", *at).stdout
        assert [line.split()[0] for line in listed.splitlines()[1:]] == [second, first]
        assert "rolled back to" in listed
        assert json.loads(run("--list", "--json", *at).stdout)["rollback"]["to"] == first
        text = CliRunner().invoke(_status(), at).stdout
        assert "ROLLED BACK" in text
        assert f"to {first} from {second}" in text
        assert run("ffff", *at).exit_code == 1
        agent.write_policy(third)
        until(lambda: status()["revision"] not in {first, second})
        assert status()["rollback"] is None


def _status() -> Any:
    from spoa.cli.status import command

    return command
