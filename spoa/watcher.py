"""Noticing that something below some paths changed, and that whoever changed it is done."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Final

import watchfiles

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from pathlib import Path

__all__ = ["Watcher", "tree_state"]

_UNKNOWN: Final = -2  # no `tree_state` is: Python's hashes never are
_MAX_UNREST: Final = 2.0  # seconds that an edit may go on before it is taken as it is
_MAX_FILES: Final = 100_000
_RETRY: Final = 5.0  # seconds between two times that one tries to listen, unless there is a reason to before
_STEP: Final = 50  # milliseconds between two times that the thread behind a notification wakes up to see if one came


def tree_state(paths: Iterable[Path]) -> int:
    """Return a number that differs when a file below the paths was written, replaced, added, removed or re-linked.

    Symbolic links are followed, so the flip of a link that leads to another directory shows too. Looks at no more than
    100,000 files.
    """
    seen: list[tuple[str, int, int, int, int]] = []
    pending = [str(path) for path in paths]
    visited: set[tuple[int, int]] = set()
    while pending and len(seen) < _MAX_FILES:
        name = pending.pop()
        try:
            status = os.stat(name)  # noqa: PTH116 -- a Path for each file would double the cost of a look
            seen.append((name, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
            if (status.st_dev, status.st_ino) not in visited:
                visited.add((status.st_dev, status.st_ino))
                pending.extend(f"{name}/{entry}" for entry in os.listdir(name))  # noqa: PTH208 -- the same
        except NotADirectoryError:
            continue
        except OSError as error:
            seen.append((name, -1, error.errno or 0, 0, 0))
    return hash(tuple(sorted(seen)))


def _present(paths: Iterable[Path]) -> dict[Path, int]:
    """Return the paths that are there, each with what it is: another one may have come to its place."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError):
            found[path] = path.stat().st_ino
    return found


class Watcher:
    """Tells about changes below some paths, once they have been quiet for a moment.

    The kernel's notifications make it fast. Looking at the files themselves makes it sure: notifications miss network
    file systems, a link outside the tree that is flipped, and a directory that is replaced as a whole.

    Args:
        paths: files and directories; they may come and go.
        quiet: seconds without a further change after which an edit counts as finished.
        interval: seconds between two looks.
    """

    def __init__(self, paths: Iterable[Path], *, quiet: float = 0.1, interval: float = 0.5) -> None:
        self._paths = tuple(paths)
        self._quiet = quiet
        self._interval = interval
        self._known = tree_state(self._paths)
        self._noticed = asyncio.Event()
        self._moved = asyncio.Event()
        self._heard: dict[Path, int] = {}

    def watch(self, paths: Iterable[Path]) -> None:
        """Watch other paths from now on; if they are other ones, that counts as a change."""
        if tuple(paths) != self._paths:
            self._paths = tuple(paths)
            self._known = _UNKNOWN
            self._moved.set()
            self._noticed.set()

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield once for each finished change, for ever."""
        notifications = asyncio.create_task(self._listen())
        try:
            while True:
                await self._wait()
                state = await asyncio.to_thread(tree_state, self._paths)
                if state != self._known:
                    if _present(self._paths) != self._heard:
                        self._moved.set()
                    self._known = await self._settled(state)
                    yield
        finally:
            notifications.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await notifications

    async def _wait(self) -> None:
        """Wait for a reason to look, or until it has been a while since the last one."""
        if self._paths:
            # No timeout, which in Python 3.11 takes a task that is cancelled each time: a watcher is idle mostly.
            look = asyncio.get_running_loop().call_at(self._next_look(), self._noticed.set)
            await self._noticed.wait()
            look.cancel()
        else:  # where nothing is watched, nothing changes
            await self._noticed.wait()
        self._noticed.clear()

    def _next_look(self) -> float:
        """Return when to look again, by the loop's clock: all who watch look at once, and it is woken once for them."""
        return (asyncio.get_running_loop().time() // self._interval + 1) * self._interval

    async def _settled(self, state: int) -> int:
        """Wait until two looks agree; an editor that never stops is not waited for longer than two seconds."""
        deadline = time.monotonic() + _MAX_UNREST
        while time.monotonic() < deadline:
            await asyncio.sleep(self._quiet)
            latest = await asyncio.to_thread(tree_state, self._paths)
            if latest == state:
                break
            state = latest
        return state

    async def _listen(self) -> None:
        while True:
            self._moved.clear()
            try:
                self._heard = _present(self._paths)
                if self._heard:
                    async for _ in watchfiles.awatch(
                        *self._heard, watch_filter=None, step=_STEP, stop_event=self._moved
                    ):
                        self._noticed.set()
            except* (OSError, RuntimeError):  # a path vanished, or the kernel watches no more: the looks see changes
                self._heard = {}
            with contextlib.suppress(TimeoutError):  # until a look sees that there is something else to listen to
                async with asyncio.timeout(_RETRY):
                    await self._moved.wait()
