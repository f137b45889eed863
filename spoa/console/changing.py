"""Changes by the console: the edits of the files that the commands make, so that nothing else has to trust it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from spoa.blockedit import add_block, remove_blocks, target_text
from spoa.blocks import Block, read_target
from spoa.blockstore import edit_blocks
from spoa.listindex import NEVER
from spoa.openings import FILE as OPENINGS
from spoa.openings import Opening, Openings, refusal
from spoa.policy.scalars import Duration
from spoa.statefile import edit_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from spoa.policy.model import Switch

__all__ = ["CHANGES", "Changing"]

#: Characters of a reason, ticket or name.
_MAX_TEXT: Final = 500


class Changing:
    """Edits the block list and the openings.

    Args:
        state: the state directory.
        switches: returns the switches of the active policy.
    """

    def __init__(self, state: Path, switches: Callable[[], tuple[Switch, ...]]) -> None:
        self._state = state
        self._switches = switches

    async def change(self, what: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Make one of `CHANGES`, and return what was done.

        Raises:
            ValueError: what is asked for can't be done; the sentence says why.
            SpoaError: the file can't be read or written.
        """
        return await asyncio.to_thread(CHANGES[what], self, asked)

    def block(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Refuse a certificate from now on."""
        now = int(time.time())
        ttl = _text(asked, "ttl")
        expires = now + int(Duration(min=1).parse(ttl)) if ttl else NEVER
        block = Block(read_target(_text(asked, "target")), _text(asked, "reason"), _text(asked, "ticket"), now, expires)
        _, restored = edit_blocks(self._state, lambda text: (add_block(text, block), None))
        done = {"blocked": target_text(block.target), "expires": None if expires == NEVER else expires}
        return done if not restored else {**done, "restored": restored}

    def unblock(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Lift a block."""
        target = read_target(_text(asked, "target"))
        count, _ = edit_blocks(self._state, lambda text: remove_blocks(text, target))
        if not count:
            raise ValueError(f"{target_text(target)} is not blocked")
        return {"unblocked": target_text(target)}

    def open_switch(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Open a break-glass switch for a while."""
        now = int(time.time())
        until = now + int(Duration(min=1).parse(_text(asked, "ttl")))
        opening = Opening(_text(asked, "switch"), _text(asked, "ticket"), now, until, _text(asked, "by") or "console")
        refused = refusal(opening, self._switches())
        if refused:
            raise ValueError(refused)

        def edit(text: bytes) -> tuple[bytes, None]:
            return Openings.from_text(text).without("", now).with_opening(opening).to_text(), None

        edit_text(self._state / OPENINGS, edit)
        return {"opened": opening.switch, "until": opening.until}

    def close_switch(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Close a switch before its time is over."""
        now, switch = int(time.time()), _text(asked, "switch")

        def edit(text: bytes) -> tuple[bytes, bool]:
            before = Openings.from_text(text)
            was_open = any(one.switch == switch and now < one.until for one in before.openings)
            return before.without(switch, now).to_text(), was_open

        if not edit_text(self._state / OPENINGS, edit):
            raise ValueError(f"{switch} is not open")
        return {"closed": switch}


#: What may be asked for, as the last part of the path.
CHANGES: Final[Mapping[str, Callable[[Changing, Mapping[str, Any]], dict[str, Any]]]] = {
    "block": Changing.block,
    "unblock": Changing.unblock,
    "open": Changing.open_switch,
    "close": Changing.close_switch,
}


def _text(asked: Mapping[str, Any], key: str) -> str:
    value = asked.get(key, "")
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ValueError(f"{key} must be a text of at most {_MAX_TEXT} characters")
    return value.strip()
