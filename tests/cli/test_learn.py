"""Proposals are printed, nothing is changed, and the status says whether there is anything to review."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from spoa.cli.learn import command
from tests.pki import CA
from tests.test_learning import HEAD, decision

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_bytes(CA("corp").pem)
    (tmp_path / "a.yaml").write_text(
        HEAD + "rules: [{id: a, effect: allow, who: any_certificate, request: {path: /x}}]\n"
    )
    path = tmp_path / "decisions.jsonl"
    path.write_text(json.dumps(decision()) + "\nno line\n" + json.dumps(decision(reason="denied_by_rule")) + "\n")
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def test_a_list_is_proposed_unless_identities_are_asked_for(log: Path) -> None:
    listed = run("--log", log)
    assert (listed.exit_code, "kind: list" in listed.output) == (0, True)
    proposed = run("--log", log, "--as", "identities", "--policies", log.parent)
    assert (proposed.exit_code, "learnt-staff-day-shift" in proposed.output) == (0, True), proposed.output


def test_programs_get_what_was_learnt(log: Path) -> None:
    found = json.loads(run("--log", log, "--json").stdout)
    (client,) = found["clients"]
    assert found["unread"] == 1
    assert (client["ou"], client["wanted"]) == (["staff", "day shift"], [{"method": "GET", "path": "/a/1"}])


def test_nothing_to_learn_is_status_1(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    assert run("--log", tmp_path / "empty").exit_code == 1


def test_lines_that_can_t_be_read_are_told_and_a_file_without_decisions_is_no_log(log: Path) -> None:
    result = run("--log", log)
    assert (result.exit_code, result.stderr) == (
        0,
        f"spoa-authz learn: 1 line can't be read as a decision, the first is {log}:2\n",
    )
    (log.parent / "text").write_text("no line\nnor this\n")
    result = run("--log", log.parent / "text")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "holds no decisions" in result.stderr


def test_a_policy_that_is_invalid_is_status_3_and_no_log_2(log: Path) -> None:
    (log.parent / "a.yaml").write_text("rulez: 1\n")
    result = run("--log", log, "--as", "identities", "--policies", log.parent)
    assert (result.exit_code, "rulez" in result.output) == (3, True)
    assert run("--log", log.parent / "none").exit_code == 2


def test_a_log_that_masks_what_is_needed_is_said_to(log: Path) -> None:
    log.write_text(json.dumps(decision(masked=["sha256"])) + "\n")
    result = run("--log", log, "--json")
    assert (result.exit_code, json.loads(result.stdout)["masked"]) == (1, 1)
    assert "1 decisions are masked, so nobody can tell" in result.stderr


def test_the_running_agent_s_policies_are_meant_where_there_are_none_here(
    log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setattr("spoa.cli.asking.ask", lambda *_: (200, {"policies": str(log.parent)}))
    proposed = run("--log", log, "--as", "identities")
    assert (proposed.exit_code, "learnt-staff-day-shift" in proposed.output) == (0, True), proposed.output
