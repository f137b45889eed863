"""Keeps the block list of all workers the same as the file in the state directory, whoever edits that."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog

from spoa.blockedit import target_text
from spoa.blocks import BlockList
from spoa.blockstore import FILE, read_blocks
from spoa.control import WorkerError
from spoa.exceptions import PolicyError, StateError
from spoa.listindex import NEVER
from spoa.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

__all__ = ["Blocker"]

_log = structlog.get_logger()


class Blocker:
    """Reads the block list when it changes, and has it swapped in.

    A list that can't be read changes nothing: what was blocked stays blocked, and the problem is told.

    Args:
        state_dir: where the list is.
        swap: puts a list, as text, to use in every worker or in none; raises WorkerError.

    Attributes:
        blocks: the list in force.
        problem: why the file is not what is in force; empty when it is.
    """

    def __init__(self, state_dir: Path, swap: Callable[[str], Awaitable[None]]) -> None:
        self._state_dir = state_dir
        self._swap = swap
        self._text: bytes | None = None
        self.blocks = BlockList()
        self.problem = ""

    async def update(self) -> bool:
        """Put the file's list in force, and tell whether it is."""
        try:
            text = await asyncio.to_thread(read_blocks, self._state_dir)
            if text == self._text:
                self.problem = ""
                return True
            blocks = BlockList.from_text(text)
            await self._swap(text.decode())
        except (PolicyError, StateError, WorkerError) as error:
            self.problem = str(error)
            _log.error("the block list can't be used; what was blocked stays blocked", problem=self.problem)
            return False
        if self._text is not None:
            _log.info("block list in force", blocks=len(blocks))
        self._text, self.blocks, self.problem = text, blocks, ""
        return True

    async def watch(self) -> None:
        """Follow the file for ever."""
        watcher = Watcher([self._state_dir / FILE], quiet=0.02, interval=0.25)
        await self.update()  # for what came between the first reading and now
        async for _ in watcher.changes():
            await self.update()

    def describe(self) -> dict[str, Any]:
        """Return what `status` shows: how many, the blocks in force, and the problem of the file if it has one."""
        now = time.time()
        entries = [
            {
                "target": target_text(block.target),
                "reason": block.reason,
                "ticket": block.ticket,
                "blocked": block.blocked,
                "expires": None if block.expires == NEVER else block.expires,
            }
            for block in self.blocks.blocks
            if now < block.expires
        ]
        return {"count": len(entries), "entries": entries, "problem": self.problem}
