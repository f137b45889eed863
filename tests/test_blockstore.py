"""A block list that vanished is begun with what was in force, never with nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from spoa.blockedit import add_block, remove_blocks
from spoa.blocks import FILE, Block, BlockList, read_target
from spoa.blockstore import COPY, edit_blocks, keep_blocks, stored_blocks
from spoa.exceptions import PolicyError, StateError

if TYPE_CHECKING:
    from pathlib import Path

SEVEN, EIGHT = read_target("corp/7"), read_target("corp/8")
ONE = add_block(b"", Block(SEVEN, "lost", "INC-1", 100))
TWO = add_block(ONE, Block(EIGHT, blocked=100))
EMPTY = b"apiVersion: authz/v1\nkind: blocks\nentries: []\n"


def targets(state: Path) -> list[object]:
    return [block.target for block in BlockList.from_text((state / FILE).read_bytes()).blocks]


@pytest.mark.parametrize("left", [None, b"", b"\n"])
def test_a_block_after_the_list_vanished_keeps_those_in_force(tmp_path: Path, left: bytes | None) -> None:
    keep_blocks(tmp_path, ONE)
    if left is not None:
        (tmp_path / FILE).write_bytes(left)
    outcome = edit_blocks(tmp_path, lambda text: (add_block(text, Block(EIGHT, blocked=200)), "done"))
    assert outcome == ("done", 1)
    assert targets(tmp_path) == [SEVEN, EIGHT]


def test_one_can_be_lifted_though_the_list_vanished_and_the_others_are_back(tmp_path: Path) -> None:
    keep_blocks(tmp_path, TWO)
    assert edit_blocks(tmp_path, lambda text: remove_blocks(text, SEVEN)) == (1, 2)
    assert targets(tmp_path) == [EIGHT]


def test_a_list_that_is_there_is_what_counts(tmp_path: Path) -> None:
    keep_blocks(tmp_path, TWO)
    for text in (ONE, EMPTY):
        (tmp_path / FILE).write_bytes(text)
        assert stored_blocks(tmp_path) == (text, 0)
        assert edit_blocks(tmp_path, lambda found: (found, None)) == (None, 0)
        assert (tmp_path / FILE).read_bytes() == text


def test_a_copy_in_which_nobody_is_blocked_any_more_is_none(tmp_path: Path) -> None:
    assert stored_blocks(tmp_path) == (b"", 0)
    keep_blocks(tmp_path, b"\n")
    assert not (tmp_path / COPY).exists()
    now = int(time.time())
    keep_blocks(tmp_path, add_block(b"", Block(SEVEN, blocked=now - 20, expires=now - 10)))
    assert stored_blocks(tmp_path) == (b"", 0)
    keep_blocks(tmp_path, EMPTY)
    assert stored_blocks(tmp_path) == (b"", 0)


def test_a_copy_that_can_not_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / COPY).write_text("nonsense\n")
    with pytest.raises(StateError, match=r"is gone or empty, and so is what was in force: .*write `entries: \[\]`"):
        edit_blocks(tmp_path, lambda text: (text, None))
    assert not (tmp_path / FILE).exists()
    (tmp_path / FILE).write_bytes(ONE)
    assert stored_blocks(tmp_path) == (ONE, 0)


def test_a_list_that_is_none_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("nonsense\n")
    with pytest.raises(PolicyError):
        edit_blocks(tmp_path, lambda text: (add_block(text, Block(EIGHT)), None))
    assert (tmp_path / FILE).read_text() == "nonsense\n"
