"""`list import` takes what it can, and names every line that it can't."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from spoa.cli.lists import command
from spoa.listedit import new_list
from spoa.listindex import NEVER
from spoa.listtext import Listed, ListText
from tests.pki import CA, DAY, HOUR

if TYPE_CHECKING:
    from pathlib import Path

A, B = "aa" * 32, "bb" * 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "x.yaml").write_bytes(new_list("x.yaml"))
    (tmp_path / "acl").write_text(f"# hap\n{A.upper()}\nxyz\n{A}\n")
    (tmp_path / "alice.pem").write_bytes(CA("corp").issue("alice").pem)
    return tmp_path


def run(*words: object, given: str | None = None) -> Result:
    result = CliRunner().invoke(command, ["import", *map(str, words)], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def entries(file: Path) -> tuple[Listed, ...]:
    return ListText(file.read_bytes(), str(file)).entries


def test_what_can_be_taken_is_on_the_list_and_the_rest_is_named(folder: Path) -> None:
    words = ("--expires", "2027-12-31", "--owner", "ops", "--ticket", "T-1")
    result = run(folder / "x.yaml", folder / "acl", folder / "alice.pem", *words)
    assert (result.exit_code, result.stdout) == (1, f"{folder / 'x.yaml'}: 2 added, 1 already there, 1 not taken\n")
    assert result.stderr.startswith(f'{folder / "acl"}:3: "x" is no hex digit')
    first, second = entries(folder / "x.yaml")
    assert (first.key.text, first.owner, first.ticket, first.expires) == (f"sha256:{A}", "ops", "T-1", 1830211200)
    assert (second.comment, second.expires != first.expires) == ("CN=alice", True)


def test_an_entry_without_an_end_is_named_where_the_list_wants_one(folder: Path) -> None:
    result = run(folder / "x.yaml", folder / "acl", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["added"], [one["line"] for one in found["refused"]]) == (1, [], [3, 2, 4])
    assert (folder / "x.yaml").read_bytes() == new_list("x.yaml")


@pytest.mark.parametrize("name", ["x.yaml", "p.txt"])
def test_what_ended_is_named_and_not_taken(folder: Path, name: str) -> None:
    ca = CA("corp")
    (folder / "p.txt").touch()
    (folder / "old.pem").write_bytes(ca.issue("old", not_before=ca.now - DAY, not_after=ca.now - HOUR).pem)
    (folder / "register.csv").write_text(f"fingerprint,expires\n{A},2020-01-01\n{B},2099-12-31\n")
    result = run(folder / name, folder / "old.pem", folder / "register.csv", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["added"]) == (1, [f"sha256:{B}"])
    assert [one["line"] for one in found["refused"]] == [1, 2]
    assert all("ended on" in one["why"] for one in found["refused"])


def test_a_list_without_ends_takes_none(folder: Path) -> None:
    permanent = folder / "p.yaml"
    permanent.write_bytes(new_list("p.yaml") + b"permanent: true\n")
    assert run(permanent, folder / "alice.pem").exit_code == 0
    assert [entry.expires for entry in entries(permanent)] == [NEVER]
    assert run(folder / "new.txt", folder / "alice.pem", "--create").exit_code == 0
    assert [entry.comment for entry in entries(folder / "new.txt")] == ["CN=alice"]


def test_a_plain_list_refuses_what_it_can_t_hold(folder: Path) -> None:
    (folder / "keys.csv").write_text(f"spki,name\n{A},x\n")
    result = run(folder / "new.txt", folder / "keys.csv", "--create")
    assert (result.exit_code, "fingerprints alone" in result.stderr) == (1, True)


def test_a_dry_run_changes_nothing(folder: Path) -> None:
    result = run(folder / "x.yaml", folder / "alice.pem", "--dry-run")
    assert (result.exit_code, result.stdout) == (
        0,
        f"{folder / 'x.yaml'}: 1 would be added, 0 already there, 0 not taken\n",
    )
    assert entries(folder / "x.yaml") == ()
    run(folder / "none.yaml", folder / "alice.pem", "--dry-run")
    assert not (folder / "none.yaml").exists()


def test_standard_input_and_a_format_can_be_given(folder: Path) -> None:
    result = run(folder / "x.yaml", "-", "--format", "lines", "--expires", "2027-12-31", given=f"{B}, x\n")
    assert (result.exit_code, '-:1: "," is no hex digit' in result.stderr) == (1, True)


def test_an_empty_source_is_named(folder: Path) -> None:
    (folder / "empty").touch()
    assert run(folder / "x.yaml", folder / "empty").stderr == (
        f"{folder / 'empty'}: there is nothing in it that names a certificate\n"
    )


def test_a_missing_source_is_a_usage_error(folder: Path) -> None:
    result = run(folder / "x.yaml", folder / "none")
    assert (result.exit_code, "can't be read" in result.stderr) == (2, True)
