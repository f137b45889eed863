"""`unblock` lifts one block and tells whether there was one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from click.testing import CliRunner, Result

from spoa.blockedit import add_block
from spoa.blocks import FILE, Block, BlockList, read_target
from spoa.cli.unblock import command
from spoa.statefile import edit_text

if TYPE_CHECKING:
    from pathlib import Path


def run(*words: object) -> Result:
    return CliRunner().invoke(command, list(map(str, words)))


def block(state: Path, target: str) -> None:
    edit_text(state / FILE, lambda text: (add_block(text, Block(read_target(target))), None))


def test_only_what_is_named_is_lifted(tmp_path: Path) -> None:
    block(tmp_path, "corp/1f")
    block(tmp_path, "corp/20")
    assert run("corp/1F", "--state-dir", tmp_path).exit_code == 0
    left = BlockList.from_text((tmp_path / FILE).read_bytes())
    assert [one.target for one in left.blocks] == [("serial", ("corp", 0x20))]


def test_lifting_what_is_not_blocked_exits_with_one(tmp_path: Path) -> None:
    result = run("corp/1f", "--state-dir", tmp_path)
    assert result.exit_code == 1
    assert "was not blocked" in result.stdout


def test_programs_get_json(tmp_path: Path) -> None:
    block(tmp_path, "corp/1f")
    assert json.loads(run("corp/1f", "--state-dir", tmp_path, "--json").stdout) == {"target": "corp/1f", "lifted": 1}


def test_help_shows_an_example() -> None:
    assert "spoa-authz unblock" in run("--help").stdout
