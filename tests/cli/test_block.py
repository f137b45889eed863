"""`block` and `unblock` name a certificate in every way, and tell what they did."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from spoa.blocks import FILE, BlockList
from spoa.blockstore import keep_blocks
from spoa.cli.block import command as block
from spoa.cli.unblock import command as unblock
from spoa.exceptions import PolicyError, StateError
from spoa.listindex import NEVER
from tests.pki import CA

if TYPE_CHECKING:
    from pathlib import Path

    import click


def run(command: click.Command, *words: object) -> Result:
    result = CliRunner().invoke(command, list(map(str, words)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def blocks_in(state: Path) -> BlockList:
    return BlockList.from_text((state / FILE).read_bytes())


def test_a_certificate_file_is_blocked_by_its_fingerprint(tmp_path: Path) -> None:
    alice = CA("corp").issue("alice")
    (tmp_path / "alice.pem").write_bytes(alice.bundle_pem)
    result = run(block, tmp_path / "alice.pem", "--state-dir", tmp_path, "--reason", "stolen", "--ticket", "INC-7")
    assert result.exit_code == 0
    (found,) = blocks_in(tmp_path).blocks
    assert found.target == ("sha256", hashlib.sha256(alice.der).digest())
    assert (found.reason, found.ticket, found.expires) == ("stolen", "INC-7", NEVER)


def test_a_block_may_have_an_end(tmp_path: Path) -> None:
    assert run(block, "corp/1f", "--state-dir", tmp_path, "--ttl", "2h").exit_code == 0
    (found,) = blocks_in(tmp_path).blocks
    assert found.expires - found.blocked == 7200


def test_programs_get_json(tmp_path: Path) -> None:
    result = run(block, "corp/1f", "--state-dir", tmp_path, "--json")
    printed: dict[str, Any] = json.loads(result.stdout)
    assert printed["target"] == "corp/1f"
    assert printed["expires"] is None
    assert json.loads(run(unblock, "corp/1f", "--state-dir", tmp_path, "--json").stdout)["lifted"] == 1


def test_lifting_tells_whether_there_was_a_block(tmp_path: Path) -> None:
    run(block, "corp/1f", "--state-dir", tmp_path)
    assert run(unblock, "corp/1F", "--state-dir", tmp_path).exit_code == 0
    result = run(unblock, "corp/1F", "--state-dir", tmp_path)
    assert result.exit_code == 1
    assert "was not blocked" in result.stdout


@pytest.mark.parametrize("target", ["nothing", "sha256:12", "{tmp}/empty.pem"])
def test_what_names_no_certificate_is_a_usage_error(tmp_path: Path, target: str) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    result = run(block, target.format(tmp=tmp_path), "--state-dir", tmp_path)
    assert result.exit_code == 2
    assert not (tmp_path / FILE).exists()


def test_a_wrong_time_is_a_usage_error(tmp_path: Path) -> None:
    assert run(block, "corp/1f", "--state-dir", tmp_path, "--ttl", "soon").exit_code == 2


def test_a_broken_list_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("entries: 7")
    with pytest.raises(PolicyError):
        run(block, "corp/1f", "--state-dir", tmp_path)
    assert (tmp_path / FILE).read_text() == "entries: 7"


@pytest.mark.parametrize("command", [block, unblock])
def test_help_shows_an_example(command: click.Command) -> None:
    assert "spoa-authz" in run(command, "--help").stdout


def test_a_list_that_vanished_is_begun_with_what_is_in_force_and_it_is_said(tmp_path: Path) -> None:
    run(block, "corp/1f", "--state-dir", tmp_path)
    keep_blocks(tmp_path, (tmp_path / FILE).read_bytes())  # as the agent does that has it in force
    for command, target, left in ((block, "corp/20", 2), (unblock, "corp/1f", 0)):
        (tmp_path / FILE).unlink()
        result = run(command, target, "--state-dir", tmp_path)
        assert result.exit_code == 0
        assert "blocks.yaml was gone or empty; what was in force is back in it: 1 blocks" in result.stderr
        assert len(blocks_in(tmp_path)) == left
    assert "gone" not in run(block, "corp/21", "--state-dir", tmp_path).stderr


@pytest.mark.parametrize("command", [block, unblock])
def test_the_state_of_a_newer_agent_is_left_alone(tmp_path: Path, command: click.Command) -> None:
    (tmp_path / "version").write_text("2\n")
    with pytest.raises(StateError, match="nothing is changed: use the spoa-authz of the agent that runs on it"):
        run(command, "corp/1f", "--state-dir", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["version"]
