"""Noticing that something below some paths changed, and that whoever changed it is done."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Final

import watchfiles

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Watcher", "tree_state"]

_UNKNOWN: Final = -2  # no `tree_state` is: Python's hashes never are
_MAX_UNREST: Final = 2.0  # seconds that an edit may go on before it is taken as it is
_MAX_FILES: Final = 100_000
_RETRY: Final = 5.0  # seconds between two times that one tries to listen, unless there is a reason to before
_STEP: Final = 50  # milliseconds between two times that the thread wakes up to see if a notification came
_PATIENCE: Final = 1.0  # seconds that the end waits for the thread, which a file system may keep


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
    file systems, a link outside the tree that is flipped, and a directory that is replaced as a whole. A thread does
    both, so the loop isn't woken as long as nothing changes, nor kept waiting for a look at a file system that is slow.
    Where it begins to listen all wait, some 24 us for each directory.

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
        self._moved = threading.Event()
        self._heard: dict[Path, int] = {}

    def watch(self, paths: Iterable[Path]) -> None:
        """Watch other paths from now on; if they are other ones, that counts as a change."""
        if tuple(paths) != self._paths:
            self._paths = tuple(paths)
            self._moved.set()

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield once for each finished change, for ever; what the thread fails of is raised."""
        changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        over = threading.Event()
        failures: list[BaseException] = []

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed; nobody listens any more
                loop.call_soon_threadsafe(changed.set)

        def follow() -> None:
            try:
                self._follow(tell, over)
            except BaseException as error:  # noqa: BLE001 -- whoever listens must learn that nothing more will come
                failures.append(error)
                tell()

        # Neither the end of the agent nor that of the interpreter waits for what a file system keeps.
        thread = threading.Thread(target=follow, name="watcher", daemon=True)
        thread.start()
        try:
            while True:
                await changed.wait()
                changed.clear()
                for failure in failures:
                    raise failure
                yield
        finally:
            over.set()
            self._moved.set()
            await asyncio.to_thread(thread.join, _PATIENCE)

    def _follow(self, tell: Callable[[], None], over: threading.Event) -> None:
        """Look whenever there is an occasion, and tell of each difference."""
        paths = self._paths
        for _ in self._occasions(over):
            if paths is not self._paths:
                paths, self._known = self._paths, _UNKNOWN
            state = tree_state(paths)
            if state != self._known:
                self._known = self._settled(paths, state, over)
                tell()

    def _occasions(self, over: threading.Event) -> Iterator[None]:
        """Yield whenever there is a reason to look, or it has been a while since the last one."""
        paths: tuple[Path, ...] | None = None
        while True:
            self._moved.clear()  # before what it may have been set for is looked at
            if over.is_set():
                return
            if paths is not self._paths:
                paths = self._paths
                yield
            present = self._heard = _present(self._paths)
            try:
                if present:
                    yield from self._notifications()
                    continue
            except Exception:  # noqa: BLE001 -- a path vanished, the kernel watches no more: the looks see changes
                self._heard = {}
            yield from self._ticks(present)

    def _notifications(self) -> Iterator[None]:
        """Yield for each notification or tick, until there is something else to listen to."""
        notifications = watchfiles.watch(
            *self._heard,
            watch_filter=None,
            step=_STEP,
            rust_timeout=max(1, round(self._interval * 1000)),
            yield_on_timeout=True,
            stop_event=self._moved,
            raise_interrupt=False,
        )
        with contextlib.closing(notifications):
            for _ in notifications:
                yield
                if _present(self._paths) != self._heard:
                    break

    def _ticks(self, present: dict[Path, int]) -> Iterator[None]:
        """Yield now and then, until there may be something to listen to."""
        end = time.monotonic() + _RETRY
        # Where nothing is watched, nothing changes.
        while not self._moved.wait(self._interval if self._paths else None):
            yield
            if time.monotonic() >= end or _present(self._paths) != present:
                break

    def _settled(self, paths: Sequence[Path], state: int, over: threading.Event) -> int:
        """Wait until two looks agree; an editor that never stops is not waited for longer than two seconds."""
        deadline = time.monotonic() + _MAX_UNREST
        while time.monotonic() < deadline and not over.wait(self._quiet):
            latest = tree_state(paths)
            if latest == state:
                break
            state = latest
        return state
