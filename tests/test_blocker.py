"""What is in force is what the file says, and a broken file changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import structlog.testing

from spoa.blockedit import add_block, remove_blocks
from spoa.blocker import Blocker
from spoa.blocks import FILE, Block, read_target
from spoa.blockstore import COPY
from spoa.control import WorkerError
from spoa.followed import follow

if TYPE_CHECKING:
    from pathlib import Path

ONE = add_block(b"", Block(read_target("corp/7"), "lost", "INC-1", 100))
EMPTY = b"apiVersion: authz/v1\nkind: blocks\nentries: []\n"
PAST = add_block(ONE, Block(read_target("corp/8"), blocked=100, expires=200))


class Swaps:
    """Takes every list that is swapped in, or refuses it."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.refuses = False
        self.came = asyncio.Event()

    async def __call__(self, text: str) -> None:
        if self.refuses:
            raise WorkerError("prepare", "no")
        self.taken.append(text)
        self.came.set()


def test_a_changed_list_is_swapped_in_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        swaps = Swaps()
        blocker = Blocker(tmp_path, swaps)
        assert await blocker.update()
        (tmp_path / FILE).write_bytes(ONE)
        assert await blocker.update()
        assert await blocker.update()
        assert swaps.taken == ["", ONE.decode()]

    asyncio.run(scenario())


def test_a_broken_list_leaves_what_was_blocked(tmp_path: Path) -> None:
    async def scenario() -> None:
        swaps = Swaps()
        blocker = Blocker(tmp_path, swaps)
        (tmp_path / FILE).write_bytes(ONE)
        await blocker.update()
        (tmp_path / FILE).write_bytes(ONE + b"garbage")
        assert not await blocker.update()
        assert FILE in blocker.problem
        assert blocker.describe()["count"] == 1
        (tmp_path / FILE).write_bytes(ONE)
        assert await blocker.update()
        assert blocker.problem == ""
        assert swaps.taken == [ONE.decode()]

    asyncio.run(scenario())


def test_a_list_that_workers_refuse_is_tried_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        swaps = Swaps()
        blocker = Blocker(tmp_path, swaps)
        (tmp_path / FILE).write_bytes(ONE)
        swaps.refuses = True
        assert not await blocker.update()
        swaps.refuses = False
        assert await blocker.update()

    asyncio.run(scenario())


def test_only_blocks_in_force_are_shown(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / FILE).write_bytes(PAST)
        blocker = Blocker(tmp_path, Swaps())
        await blocker.update()
        assert blocker.describe() == {
            "count": 1,
            "entries": [{"target": "corp/7", "reason": "lost", "ticket": "INC-1", "blocked": 100, "expires": None}],
            "problem": "",
        }

    asyncio.run(scenario())


def test_an_edit_of_the_file_is_noticed_within_a_second(tmp_path: Path) -> None:
    async def scenario() -> None:
        swaps = Swaps()
        blocker = Blocker(tmp_path, swaps)
        await blocker.update()
        swaps.came.clear()
        watching = asyncio.create_task(follow(blocker))
        await asyncio.sleep(0)
        (tmp_path / FILE).write_bytes(ONE)
        # Twice the promise: this machine may have other things to do.
        await asyncio.wait_for(swaps.came.wait(), 2)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert swaps.taken[-1] == ONE.decode()

    asyncio.run(scenario())


def test_blocks_that_come_and_go_are_told_by_their_targets(tmp_path: Path) -> None:
    async def scenario() -> None:
        told: list[object] = []
        blocker = Blocker(tmp_path, Swaps(), lambda *what: told.append(what))
        await blocker.update()
        (tmp_path / FILE).write_bytes(ONE)
        await blocker.update()
        (target,) = blocker.names(blocker.blocks)
        (tmp_path / FILE).write_bytes(remove_blocks(ONE, read_target("corp/7"))[0])
        await blocker.update()
        assert told == [(FILE, {target}, set()), (FILE, set(), {target})]

    asyncio.run(scenario())


@pytest.mark.parametrize("left", [None, b"", b"\n"])
def test_a_list_that_vanishes_or_is_cut_off_unblocks_nobody(tmp_path: Path, left: bytes | None) -> None:
    async def scenario() -> None:
        swaps, path = Swaps(), tmp_path / FILE
        blocker = Blocker(tmp_path, swaps)
        path.write_bytes(ONE)
        assert await blocker.update()
        path.unlink()
        if left is not None:
            path.write_bytes(left)
        with structlog.testing.capture_logs() as logs:
            assert not await blocker.update()
        assert [line["log_level"] for line in logs] == ["error"]
        assert "is gone or empty" in blocker.problem
        assert (blocker.describe()["count"], swaps.taken) == (1, [ONE.decode()])
        path.write_bytes(ONE)
        assert await blocker.update()
        assert (blocker.problem, swaps.taken) == ("", [ONE.decode()])
        path.write_bytes(EMPTY)
        assert await blocker.update()
        assert blocker.describe()["count"] == 0
        path.unlink()  # nobody was blocked, so nobody is let in by it
        assert await blocker.update()

    asyncio.run(scenario())


def test_a_list_that_vanished_while_no_agent_ran_is_the_one_that_was_in_force(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / FILE).write_bytes(ONE)
        assert await Blocker(tmp_path, Swaps()).begin()
        (tmp_path / FILE).unlink()
        swaps = Swaps()
        blocker = Blocker(tmp_path, swaps)
        assert await blocker.begin()
        assert "is gone or empty" in blocker.problem
        assert (blocker.describe()["count"], swaps.taken) == (1, [ONE.decode()])
        (tmp_path / FILE).write_bytes(EMPTY)
        assert await blocker.update()
        assert (blocker.problem, blocker.describe()["count"]) == ("", 0)
        (tmp_path / FILE).unlink()
        blocker = Blocker(tmp_path, Swaps())
        assert await blocker.begin()
        assert (blocker.problem, blocker.describe()["count"]) == ("", 0)

    asyncio.run(scenario())


def test_an_agent_that_can_not_tell_who_was_blocked_does_not_begin(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / COPY).write_text("nonsense\n")
        blocker = Blocker(tmp_path, Swaps())
        assert not await blocker.begin()
        assert COPY in blocker.problem
        (tmp_path / FILE).write_bytes(ONE)
        assert await blocker.begin()

    asyncio.run(scenario())


def test_a_list_of_which_no_copy_can_be_kept_is_in_force_all_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / COPY).mkdir()
        (tmp_path / FILE).write_bytes(ONE)
        blocker = Blocker(tmp_path, Swaps())
        with structlog.testing.capture_logs() as logs:
            assert await blocker.begin()
        assert [line["log_level"] for line in logs] == ["error"]
        assert (blocker.problem, blocker.describe()["count"]) == ("", 1)

    asyncio.run(scenario())
