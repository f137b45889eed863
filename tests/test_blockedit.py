"""Editing a block list keeps what people wrote into it, and never believes an edit that reads otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.blockedit import add_block, remove_blocks, target_text
from spoa.blocks import Block, BlockList, read_target
from spoa.exceptions import PolicyError
from spoa.listindex import NEVER

FIRST = Block(read_target("sha256:" + "ab" * 32), "lost: laptop", 'INC-"1"', 1795341350)
SECOND = Block(read_target("corp/-1f"), "", "", 1795341350, 1795349999)

targets = st.one_of(
    st.binary(min_size=32, max_size=32).map(lambda digest: ("sha256", digest)),
    st.binary(min_size=32, max_size=32).map(lambda digest: ("spki", digest)),
    st.tuples(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.integers(-(2**70), 2**170)).map(
        lambda pair: ("serial", pair)
    ),
)
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
blocks = st.builds(Block, targets, printable, printable, st.integers(0, 2**32), st.integers(0, 2**32) | st.just(NEVER))


@given(st.lists(blocks, max_size=5, unique_by=lambda block: block.target))
def test_what_is_added_is_there_and_what_is_removed_is_gone(wanted: list[Block]) -> None:
    text = b""
    for block in wanted:
        text = add_block(text, block)
    assert BlockList.from_text(text).blocks == tuple(wanted)
    for number, block in enumerate(wanted, start=1):
        text, count = remove_blocks(text, block.target)
        assert count == 1
        assert BlockList.from_text(text).blocks == tuple(wanted[number:])


def test_comments_of_others_survive() -> None:
    text = add_block(add_block(b"", FIRST), SECOND).replace(b"  - issuer", b"  # by hand\n  - issuer")
    text = add_block(text, Block(read_target("corp/7")))
    text, _ = remove_blocks(text, read_target("corp/7"))
    assert b"# by hand" in text
    assert BlockList.from_text(text).blocks == (FIRST, SECOND)


def test_blocking_again_replaces() -> None:
    text = add_block(add_block(b"", FIRST), Block(FIRST.target, "other"))
    assert [block.reason for block in BlockList.from_text(text).blocks] == ["other"]


def test_a_list_in_a_form_that_text_can_t_be_put_behind_is_written_anew() -> None:
    text = b"apiVersion: authz/v1\nkind: blocks\nentries: [{issuer: corp, serial: 7}, {issuer: corp, serial: 8}]\n"
    assert len(BlockList.from_text(add_block(text, FIRST)).blocks) == 3
    fewer, count = remove_blocks(text, read_target("corp/7"))
    assert count == 1
    assert [target_text(block.target) for block in BlockList.from_text(fewer).blocks] == ["corp/8"]


def test_removing_what_is_not_there_changes_nothing() -> None:
    text = add_block(b"", FIRST)
    assert remove_blocks(text, SECOND.target) == (text, 0)


def test_a_broken_list_is_left_alone() -> None:
    with pytest.raises(PolicyError):
        add_block(b"entries: 7", FIRST)
    with pytest.raises(PolicyError):
        remove_blocks(b"entries: 7", FIRST.target)


@pytest.mark.parametrize("text", ["sha256:" + "ab" * 32, "spki:" + "00" * 32, "corp/1f", "corp/-1f"])
def test_a_target_is_written_as_it_is_read(text: str) -> None:
    assert target_text(read_target(text)) == text


@pytest.mark.parametrize(
    "reason", ["\U0001f525 fire", "naïve", "\x7f\x85\u2028", "a: b # c", 'quote " \\ \n line', "\ud800"]
)
def test_whatever_is_given_as_a_reason_reads_the_same(reason: str) -> None:
    text = add_block(b"", Block(read_target("corp/7"), reason, reason, 100))
    (block,) = BlockList.from_text(text).blocks
    assert block.reason == block.ticket == reason.replace("\ud800", "?")
