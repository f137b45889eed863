"""Keeps the block list of all workers the same as the file in the state directory, whoever edits that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from spoa.blockedit import target_text
from spoa.blocks import FILE, BlockList
from spoa.exceptions import StateError
from spoa.followed import Followed
from spoa.listindex import NEVER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

__all__ = ["Blocker"]


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

    def check(self, text: bytes) -> None:
        """Refuse a file that is gone or empty while somebody is blocked: only a list that says so unblocks anybody."""
        now = time.time()
        if not text.strip() and any(now < block.expires for block in self.blocks.blocks):
            message = "is gone or empty; put it back (`status --json` has its entries), or write `entries: []` into it"
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
