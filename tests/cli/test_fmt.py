from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from spoa.cli import fmt
from spoa.cli.fmt import command
from spoa.policy.layout import LayoutError

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

UGLY = "rules:\n-   {id: a,effect: deny}   # why\n"
NEAT = "rules:\n  - {id: a, effect: deny}  # why\n"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("a.yaml", "tests/b.yml", ".git/c.yaml", "d.txt"):
        (tmp_path / name).write_text(UGLY)
    (tmp_path / "neat.yaml").write_text(NEAT)
    return tmp_path


def test_yaml_files_below_a_directory_are_written_and_no_others(directory: Path) -> None:
    result = run(directory)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{directory}/a.yaml: written",
        f"{directory}/tests/b.yml: written",
        "3 files, 2 changed",
    ]
    assert (directory / "a.yaml").read_text() == (directory / "tests/b.yml").read_text() == NEAT
    assert (directory / ".git/c.yaml").read_text() == (directory / "d.txt").read_text() == UGLY
    assert run(directory, "--check").exit_code == 0


def test_a_file_that_is_named_is_written_whatever_its_name_and_once(directory: Path) -> None:
    result = run(directory / "d.txt", directory / "d.txt")
    assert result.stdout.splitlines()[-1] == "1 file, 1 changed"
    assert (directory / "d.txt").read_text() == NEAT


def test_check_and_diff_write_nothing(directory: Path) -> None:
    result = run("--check", directory / "a.yaml")
    assert (result.exit_code, result.stdout) == (1, f"{directory}/a.yaml: would change\n1 file, 1 would change\n")
    result = run("--diff", directory / "a.yaml")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2:] == [
        "@@ -1,2 +1,2 @@",
        " rules:",
        "--   {id: a,effect: deny}   # why",
        "+  - {id: a, effect: deny}  # why",
    ]
    assert run("--diff", "--check", directory / "a.yaml").exit_code == 1
    assert (directory / "a.yaml").read_text() == UGLY


def test_json_has_a_stable_form(directory: Path) -> None:
    answer = json.loads(run(directory / "a.yaml", "--check", "--json").stdout)
    assert answer == {"ok": False, "files": 1, "would_change": [f"{directory}/a.yaml"], "problems": []}
    answer = json.loads(run(directory / "a.yaml", "--json").stdout)
    assert answer == {"ok": True, "files": 1, "changed": [f"{directory}/a.yaml"], "problems": []}


def test_a_file_that_cannot_be_read_as_yaml_is_left_and_the_others_are_written(directory: Path) -> None:
    (directory / "bad.yaml").write_text("a: 1\na: 2\n")
    result = run(directory)
    assert result.exit_code == 3
    assert f"{directory}/bad.yaml:2:1 a: duplicate key" in result.stderr or "bad.yaml:2:1" in result.stderr
    assert (directory / "bad.yaml").read_text() == "a: 1\na: 2\n"
    assert (directory / "a.yaml").read_text() == NEAT


def test_mode_and_links_stay(directory: Path) -> None:
    (directory / "a.yaml").chmod(0o640)
    (directory / "link.yaml").symlink_to("a.yaml")
    assert run(directory / "link.yaml").exit_code == 0
    assert (directory / "link.yaml").is_symlink()
    assert (directory / "a.yaml").read_text() == NEAT
    assert (directory / "a.yaml").stat().st_mode & 0o777 == 0o640


def test_what_would_say_something_else_is_left_and_told(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise LayoutError

    monkeypatch.setattr(fmt, "formatted", refuse)
    result = run(directory / "a.yaml")
    assert result.exit_code == 1
    assert "left as it is" in result.stderr
    assert (directory / "a.yaml").read_text() == UGLY


def test_a_file_that_cannot_be_replaced_is_told_and_leaves_nothing_behind(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("pathlib.Path.replace", full)
    before = sorted(directory.iterdir())
    result = run(directory / "a.yaml")
    assert result.exit_code == 1
    assert "can't be written: No space left" in result.stderr
    assert sorted(directory.iterdir()) == before


def test_nothing_to_lay_out_is_a_usage_error() -> None:
    assert run().exit_code == 2
    assert run("/nowhere").exit_code == 2
