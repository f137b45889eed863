"""`diff`: what is printed, and what the exit status says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from spoa.cli.diff import command
from tests.cli.directories import POLICY, write_directory

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

WIDER = POLICY.replace("who: staff, request", "who: {issuer: corp, ou: [staff, ops]}, request").replace(
    "identities: {staff: {issuer: corp, ou: staff}}\n", ""
)
WHOLE = "all else is allowed or denied as before, and sent to the same backends"
NARROWER = POLICY.replace("/admin/**", "/**")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Two directories with the same policy and the same CA."""
    old, new = tmp_path / "old", tmp_path / "new"
    write_directory(old)
    write_directory(new)
    (new / "trust/ca.pem").write_bytes((old / "trust/ca.pem").read_bytes())
    return old, new


def test_nothing_changed(sides: tuple[Path, Path]) -> None:
    result = run(*sides)
    assert (result.exit_code, result.output) == (
        0,
        f"no change; {WHOLE}\n",
    )


def test_something_newly_allowed_is_told_and_ends_with_6(sides: tuple[Path, Path]) -> None:
    (sides[1] / "policy.yaml").write_text(WIDER)
    result = run(*sides)
    assert result.exit_code == 6
    first, witness, last = result.output.splitlines()
    assert first == "+ newly allowed: deny (no_rule_allows) → allow by staff (ok)"
    assert json.loads(witness)["cert"] == {"issuer": "corp", "ou": "ops"}
    assert last == f"1 kind of requests: 1 newly allowed, 0 newly denied; {WHOLE}"


def test_something_newly_denied_ends_with_0(sides: tuple[Path, Path]) -> None:
    (sides[1] / "policy.yaml").write_text(NARROWER)
    result = run(*sides)
    assert result.exit_code == 0
    assert result.output.startswith("- newly denied: allow by staff (ok) → deny by admin (requirement_not_met)\n")


def test_what_goes_to_another_backend_is_told_and_ends_with_0(sides: tuple[Path, Path]) -> None:
    for side, backend in zip(sides, ("web", "admin"), strict=True):
        (side / "policy.yaml").write_text(POLICY.replace("main", backend))
    result = run(*sides)
    assert result.exit_code == 0
    first, witness, last = result.output.splitlines()
    assert first == "~ goes elsewhere: web → admin"
    assert json.loads(witness)["route"] == "admin"
    assert last == f"1 kind of requests: 0 newly allowed, 0 newly denied, 1 sent elsewhere; {WHOLE}"
    (row,) = json.loads(run(*sides, "--json").stdout)["rerouted"]
    assert (row["before"], row["after"], row["note"]) == ("web", "admin", "")


def test_json_has_a_witness_for_each_change(sides: tuple[Path, Path]) -> None:
    (sides[1] / "policy.yaml").write_text(WIDER)
    result = run(*sides, "--json", "--now", "2026-11-20T09:00:00Z")
    answer: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == 6
    assert (answer["complete"], answer["newly_allowed"], answer["newly_denied"]) == (True, 1, 0)
    (change,) = answer["changes"]
    assert (change["tag"], change["rule"], change["note"]) == ("newly_allowed", "staff", "")
    assert change["before"] == {"verdict": "deny", "status": 403, "reason": "no_rule_allows", "rule": ""}
    assert change["witness"] == {
        "cert": {"issuer": "corp", "ou": "ops"},
        "request": "GET /x",
        "source": "203.0.113.77",
        "now": "2026-11-20T09:00:00Z",
        "expect": "allow",
    }


def test_another_ca_is_told_with_a_note(sides: tuple[Path, Path]) -> None:
    write_directory(sides[1])
    result = run(*sides)
    assert result.exit_code == 6
    assert "    note: the CA certificate is another: unknown → corp\n" in result.output


def test_strange_certificates_are_a_note(sides: tuple[Path, Path]) -> None:
    (sides[1] / "policy.yaml").write_text(POLICY.replace("ou: staff}", "ou: staff, o: A}"))
    assert "note: subject attribute O is now read" in run(*sides).output


def test_a_search_that_was_not_complete_ends_with_1(sides: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.policy.languages.MAX_STATES", 3)
    result = run(*sides)
    assert result.exit_code == 1
    assert result.stdout == "no change; the search was not complete\n"
    assert "warning: patterns of path overlap" in result.stderr


def test_an_invalid_policy_ends_with_3(sides: tuple[Path, Path]) -> None:
    (sides[0] / "policy.yaml").write_text(POLICY.replace("who: staff", "who: stuff"))
    result = run(*sides)
    assert result.exit_code == 3
    assert result.stderr.startswith(f"{sides[0]} is invalid:\npolicy.yaml:5:14 identities.staff: ")
    answer = json.loads(run(*sides, "--json").stdout)
    assert answer["changes"] == []
    assert [problem["code"] for problem in answer["problems"][str(sides[0])]] == ["unused-identity", "unknown-name"]


def test_a_wrong_time_is_a_usage_error(sides: tuple[Path, Path]) -> None:
    result = run(*sides, "--now", "today")
    assert result.exit_code == 2
    assert "--now: expected a time with its zone" in result.stderr
