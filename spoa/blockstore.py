"""The block list in the state directory, and the copy of what was in force, which takes its place where it vanished.

A list that is gone or empty must unblock nobody: not in the running agent, not after a restart, and not by the next
`block`, which would otherwise write a list with nothing else in it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from spoa.blocks import FILE, BlockList
from spoa.exceptions import PolicyError, StateError
from spoa.state import replace_file
from spoa.statefile import edit_text, read_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["COPY", "Stored", "edit_blocks", "keep_blocks", "stored_blocks"]

#: Name of the copy in the state directory.
COPY: Final = "blocks.in-force"

T = TypeVar("T")


class Stored(NamedTuple):
    """The text of a block list, and how many blocks of it come from the copy, since the list itself is gone."""

    text: bytes
    restored: int


def stored_blocks(state: Path) -> Stored:
    """Return the list, or where it is gone or empty while somebody is blocked by the copy, the copy.

    Raises:
        StateError: the list can't be read, or is gone and the copy is there and can't be read.
    """
    return _or_copy(state, read_text(state / FILE))


def edit_blocks(state: Path, edit: Callable[[bytes], tuple[bytes, T]]) -> tuple[T, int]:
    """Replace the list by what *edit* makes of it; return what *edit* says, and how many blocks were put back.

    Raises:
        StateError: as `stored_blocks` and `edit_text`.
        PolicyError: the list is none.
    """

    def restoring(text: bytes) -> tuple[bytes, tuple[T, int]]:
        stored = _or_copy(state, text)
        after, outcome = edit(stored.text)
        return after, (outcome, stored.restored)

    return edit_text(state / FILE, restoring)


def keep_blocks(state: Path, text: bytes) -> None:
    """Make a copy of a list that is in force now; an empty one takes the place of none.

    Raises:
        StateError: it can't be written.
    """
    if text.strip():
        replace_file(state / COPY, text)


def _or_copy(state: Path, text: bytes) -> Stored:
    if text.strip():
        return Stored(text, 0)
    kept, now = read_text(state / COPY), time.time()
    try:
        count = sum(now < block.expires for block in BlockList.from_text(kept, COPY).blocks)
    except PolicyError as error:
        message = f"is gone or empty, and so is what was in force: {error}; put it back, or write `entries: []` into it"
        raise StateError(str(state / FILE), message) from error
    return Stored(kept, count) if count else Stored(text, 0)
