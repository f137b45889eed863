"""Keeps the block list of all workers the same as the file in the state directory, whoever edits that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import structlog

from spoa.blockedit import target_text
from spoa.blocks import FILE, BlockList
from spoa.exceptions import StateError
from spoa.followed import Followed
from spoa.listindex import NEVER
from spoa.statefile import edit_text

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

    def recovered(self, text: bytes) -> bytes:
        """Put the list back where it is gone or empty while somebody is blocked: only what says so unblocks anybody.

        Otherwise the next `block` would begin a list with nothing else in it, and a restart would block nobody.
        """
        now, kept = time.time(), self._text
        if text.strip() or kept is None or not any(now < block.expires for block in self.blocks.blocks):
            return text

        def put_back(found: bytes) -> tuple[bytes, bytes]:
            content = found if found.strip() else kept
            return content, content

        try:
            content = edit_text(self._path, put_back)
        except StateError as error:
            way_out = "put it back (`status --json` has its entries), or write `entries: []` into it"
            raise StateError(self.name, f"is gone or empty, and can't be written ({error}); {way_out}") from error
        _log.warning("the block list was gone or empty, and is put back; to unblock all, write `entries: []` into it")
        return content

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
