"""`list remove` says of every certificate that the list names no more that it does so, named by the caller or not."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from spoa.cli.lists import command
from spoa.listtext import ListText

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW, OTHER = ("sha256:" + digit * 64 for digit in "abc")
END = "2099-12-31T00:00:00Z"


def run(*words: object) -> Result:
    return CliRunner().invoke(command, list(map(str, words)), catch_exceptions=False)


def listed(file: Path) -> list[tuple[object, ...]]:
    return [entry.says for entry in ListText(file.read_bytes(), str(file)).entries]


@pytest.fixture
def turning(tmp_path: Path) -> Path:
    """Make a list on which NEW is to follow OLD."""
    file = tmp_path / "docks.yaml"
    run("add", file, OLD, "--create", "--expires", END, "--owner", "ware house", "--ticket", "T-1")
    run("rotate", file, OLD, NEW)
    return file


def test_a_successor_that_goes_with_its_entry_is_said_and_can_be_had_back(turning: Path) -> None:
    before = listed(turning)
    result = run("remove", turning, OLD)
    assert result.exit_code == 0
    assert result.stdout == (f"removed {OLD}\nremoved with it its successor {NEW}: the client is let in with neither\n")
    assert "was only the rotation to end?" in result.stderr
    (command_line,) = result.stderr.split("`")[1::2][:1]
    assert shlex.split(command_line)[:2] == ["spoa-authz", "list"]
    assert run(*shlex.split(command_line)[2:]).exit_code == 0
    ((key, *rest),) = listed(turning)
    assert rest[:-1] == list(before[0][1:-1])
    assert str(key.text) == NEW  # type: ignore[attr-defined]


def test_one_that_was_named_too_needs_no_hint(turning: Path) -> None:
    result = run("remove", turning, OLD, NEW)
    assert f"removed with it its successor {NEW}" in result.stdout
    assert (result.exit_code, result.stderr) == (0, "")


def test_one_that_another_entry_names_is_on_the_list_still(turning: Path) -> None:
    run("add", turning, NEW, "--expires", END)
    result = run("remove", turning, OLD)
    assert f"its successor {NEW} is on the list still, {turning}:4\n" in result.stdout
    assert result.stderr == ""


def test_an_entry_keeps_its_certificate_when_only_the_successor_is_named(turning: Path) -> None:
    result = run("remove", turning, NEW)
    assert result.stdout == f"no longer accepts {NEW}, which was the successor of {OLD}\n"
    assert len(listed(turning)) == 1


def test_a_list_without_ends_gives_a_hint_without_one(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        f"apiVersion: authz/v1\nkind: list\npermanent: true\nentries:\n"
        f'  - sha256: "{OLD.partition(":")[2]}"\n    next: "{NEW.partition(":")[2]}"\n'
    )
    assert f"`spoa-authz list add {file} {NEW}`" in run("remove", file, OLD).stderr


def test_programs_are_told_what_is_gone_what_stays_and_what_is_named_no_more(turning: Path) -> None:
    run("add", turning, OTHER, "--expires", END)
    first = json.loads(run("remove", turning, NEW, "--json").stdout)
    assert (first["removed"], first["kept"], first["no_longer_listed"]) == ([], [OLD], [NEW])
    run("rotate", turning, OLD, NEW)
    second = json.loads(run("remove", turning, OLD, "--json").stdout)
    assert (second["removed"], second["kept"], second["no_longer_listed"]) == ([OLD], [], [OLD, NEW])
