"""Keeps the block list of all workers the same as the file in the state directory, whoever edits that."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog

from spoa.blockedit import target_text
from spoa.blocks import FILE, BlockList
from spoa.blockstore import keep_blocks, stored_blocks
from spoa.exceptions import PolicyError, StateError
from spoa.followed import Followed
from spoa.listindex import NEVER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

__all__ = ["Blocker"]

_log = structlog.get_logger()


class Blocker(Followed[BlockList]):
    """Follows the block list.

    Args:
        state_dir: where the list is.
        swap: puts a list, as text, to use in every worker or in none; raises WorkerError.
        changed: told of blocks that came and went.
    """

    def __init__(
        self,
        state_dir: Path,
        swap: Callable[[str], Awaitable[None]],
        changed: Callable[[str, set[str], set[str]], object] = lambda *_: None,
    ) -> None:
        super().__init__(state_dir / FILE, BlockList.from_text, swap, "block list", changed)
        self._state_dir = state_dir

    async def begin(self) -> bool:
        """Put in force what blocks at the start, and tell whether that could be done.

        Where the list has vanished it is what was in force last, and the problem is told until the list is back.
        """
        try:
            stored = await asyncio.to_thread(stored_blocks, self._state_dir)
            if stored.restored:
                await self.put(stored.text)
        except (PolicyError, StateError) as error:
            self.problem = str(error)
            return False
        return await self.update() or bool(stored.restored)

    async def put(self, text: bytes) -> None:
        """Put a list in force, and keep a copy of it, for the case that the file vanishes."""
        await super().put(text)
        try:
            await asyncio.to_thread(keep_blocks, self._state_dir, text)
        except StateError as error:  # the list itself is there
            _log.error("no copy of the block list can be kept", error=str(error))

    def check(self, text: bytes) -> None:
        """Refuse a file that is gone or empty while somebody is blocked: only a list that says so unblocks anybody."""
        now = time.time()
        if not text.strip() and any(now < block.expires for block in self.blocks.blocks):
            message = "is gone or empty; `block` and `unblock` put it back, or write `entries: []` into it"
            raise StateError(self.name, message)

    def names(self, value: BlockList) -> set[str]:
        """Return the targets that are blocked."""
        return {target_text(block.target) for block in value.blocks}

    @property
    def blocks(self) -> BlockList:
        """The list in force."""
        return self.value

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
