"""A small text in the state directory that all workers follow, whoever edits it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog

from spoa.control import WorkerError
from spoa.exceptions import PolicyError, StateError
from spoa.statefile import read_text
from spoa.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

__all__ = ["Followed", "follow"]

_log = structlog.get_logger()
T = TypeVar("T")


class Followed(Generic[T]):
    """Reads a file when it changes, and has it swapped in.

    A file that can't be read changes nothing: what was in force stays, and the problem is told.

    Args:
        path: the file.
        read: makes a value of its bytes; raises PolicyError.
        swap: puts the text to use in every worker; raises WorkerError.
        what: what the file is, for the log.
        changed: told, after a change, of the file's name and of what came into it and went from it, as `names` has it.

    Attributes:
        value: what is in force.
        problem: why the file is not what is in force; empty when it is.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[bytes], T],
        swap: Callable[[str], Awaitable[None]],
        what: str,
        changed: Callable[[str, set[str], set[str]], object] = lambda *_: None,
    ) -> None:
        self._path = path
        self._read = read
        self._swap = swap
        self._what = what
        self._changed = changed
        self._text: bytes | None = None
        self.value = read(b"")
        self.problem = ""

    async def update(self) -> bool:
        """Put the file in force, and tell whether it is."""
        try:
            text = await asyncio.to_thread(read_text, self._path)
            if text == self._text:
                self.problem = ""
                return True
            self.check(text)
            await self.put(text)
        except (PolicyError, StateError, WorkerError) as error:
            self.problem = str(error)
            _log.error(f"the {self._what} can't be used; what was in force stays so", problem=self.problem)
            return False
        except Exception as error:  # noqa: BLE001 -- a defect must not end the following, and must be seen
            self.problem = f"{type(error).__name__}: {error}"
            _log.error(f"the {self._what} can't be used; what was in force stays so", exc_info=error)
            return False
        return True

    async def put(self, text: bytes) -> None:
        """Put a text in force; raises PolicyError and WorkerError, and then changes nothing."""
        value = self._read(text)
        await self._swap(text.decode())
        before, after = self.names(self.value), self.names(value)
        is_first, self._text, self.value, self.problem = self._text is None, text, value, ""
        self.told(is_first=is_first)
        if not is_first and before != after:
            self._changed(self.name, after - before, before - after)

    def check(self, text: bytes) -> None:
        """Refuse a text that may not take the place of what is in force; raises StateError."""
        del text

    def names(self, value: T) -> set[str]:
        """Return what a value holds, a text for each thing in it."""
        del value
        return set()

    @property
    def name(self) -> str:
        """The file's name in the state directory."""
        return self._path.name

    def told(self, *, is_first: bool) -> None:
        """Tell the log what is in force now."""
        if not is_first:
            _log.info(f"{self._what} in force")

    @property
    def path(self) -> Path:
        """The file."""
        return self._path


async def follow(*files: Followed[Any]) -> None:
    """Follow files for ever, with one look for all of them, and none waiting for what is done about another."""
    watcher = Watcher([one.path for one in files], quiet=0.02, interval=0.25)
    changed = [asyncio.Event() for _ in files]
    async with asyncio.TaskGroup() as keepers:
        for one, event in zip(files, changed, strict=True):
            event.set()  # for what came between the first reading and now
            keepers.create_task(_keep_up(one, event))
        async for _ in watcher.changes():
            for event in changed:
                event.set()


async def _keep_up(followed: Followed[Any], changed: asyncio.Event) -> None:
    while True:
        await changed.wait()
        changed.clear()
        await followed.update()
