"""What is in force is what the file says, and a broken file changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog.testing

from spoa.control import WorkerError
from spoa.exceptions import PolicyError, Problem
from spoa.followed import Followed, follow
from tests.agents import until

if TYPE_CHECKING:
    from pathlib import Path


def read(text: bytes) -> int:
    """Read a file of digits."""
    if text.isdigit() or not text:
        return int(text or b"0")
    raise PolicyError((Problem("file", 1, 1, "", "no number", "invalid-value"),))


class Swaps:
    """Takes every text that is swapped in, or refuses it."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.refuses = False
        self.came = asyncio.Event()

    async def __call__(self, text: str) -> None:
        if self.refuses:
            raise WorkerError("block", "no")
        self.taken.append(text)
        self.came.set()


def test_a_change_is_swapped_in_once_and_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        swaps, path = Swaps(), tmp_path / "file"
        followed = Followed(path, read, swaps, "number")
        with structlog.testing.capture_logs() as logs:
            assert await followed.update()
            path.write_text("1")
            assert await followed.update()
            assert await followed.update()
        assert (swaps.taken, followed.value, [line["event"] for line in logs]) == (["", "1"], 1, ["number in force"])

    asyncio.run(scenario())


class Named(Followed[int]):
    """One that says what its value holds."""

    def names(self, value: int) -> set[str]:
        return set(str(value))


def test_what_came_and_went_is_told_but_for_what_was_there_at_the_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        told: list[object] = []
        path = tmp_path / "file"
        path.write_text("12")
        named = Named(path, read, Swaps(), "number", lambda *what: told.append(what))
        nameless = Followed(path, read, Swaps(), "number", lambda *what: told.append(what))
        for text in ("12", "21", "23", "23", "bad"):
            path.write_text(text)
            with structlog.testing.capture_logs():
                await named.update()
                await nameless.update()
        assert told == [("file", {"3"}, {"1"})]

    asyncio.run(scenario())


def test_what_can_not_be_read_or_swapped_changes_nothing_until_it_can(tmp_path: Path) -> None:
    async def scenario() -> None:
        swaps, path = Swaps(), tmp_path / "file"
        followed = Followed(path, read, swaps, "number")
        path.write_text("1")
        await followed.update()
        with structlog.testing.capture_logs():
            path.write_text("one")
            assert not await followed.update()
            assert "no number" in followed.problem
            swaps.refuses = True
            path.write_text("2")
            assert not await followed.update()
            assert (followed.value, swaps.taken) == (1, ["1"])
            swaps.refuses = False
            assert await followed.update()
        assert (followed.value, followed.problem) == (2, "")
        path.unlink()
        path.mkdir()
        with structlog.testing.capture_logs():
            assert not await followed.update()

    asyncio.run(scenario())


def test_files_are_followed_each_for_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        swaps, paths = (Swaps(), Swaps()), (tmp_path / "one", tmp_path / "other")
        followed = (Followed(path, read, swap, "number") for path, swap in zip(paths, swaps, strict=True))
        following = asyncio.create_task(follow(*followed))
        async with asyncio.timeout(10):
            for one in swaps:
                await one.came.wait()
                one.came.clear()
            for path, one, text in zip(paths, swaps, "78", strict=True):
                path.write_text(text)
                await one.came.wait()
        assert [one.taken for one in swaps] == [["", "7"], ["", "8"]]
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(scenario())


def test_a_defect_ends_neither_the_following_of_its_file_nor_that_of_others(tmp_path: Path) -> None:
    def fail(text: bytes) -> int:
        return 1 // (text != b"7")

    async def scenario() -> None:
        swaps, paths = (Swaps(), Swaps()), (tmp_path / "one", tmp_path / "other")
        one, other = Followed(paths[0], fail, swaps[0], "number"), Followed(paths[1], read, swaps[1], "number")
        following = asyncio.create_task(follow(one, other))
        with structlog.testing.capture_logs() as logs:
            async with asyncio.timeout(10):
                for swap in swaps:
                    await swap.came.wait()
                    swap.came.clear()
                paths[0].write_text("7")
                await asyncio.to_thread(until, lambda: one.problem)
                for path, swap, text in zip(paths, swaps, "88", strict=True):
                    path.write_text(text)
                    await swap.came.wait()
        assert "exc_info" in logs[0]
        assert one.problem == ""
        assert [swap.taken for swap in swaps] == [["", "8"]] * 2
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(scenario())
