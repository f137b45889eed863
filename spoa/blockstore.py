"""The block list on disk: `blocks.yaml` in the state directory, read and replaced whole."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING, Final, TypeVar

from spoa.exceptions import StateError
from spoa.state import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["FILE", "edit_blocks", "read_blocks"]

#: Name of the file in the state directory.
FILE: Final = "blocks.yaml"

T = TypeVar("T")


def read_blocks(state_dir: Path) -> bytes:
    """Return the text of the block list; a missing file is an empty one.

    Raises:
        StateError: the file is there and can't be read.
    """
    try:
        return (state_dir / FILE).read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StateError(str(state_dir / FILE), f"can't be read: {error.strerror}") from error


def edit_blocks(state_dir: Path, edit: Callable[[bytes], tuple[bytes, T]]) -> T:
    """Replace the block list by what *edit* makes of it, and return what *edit* says of that; one edit at a time.

    Raises:
        StateError: the directory can't be made, locked or written.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (state_dir / f".{FILE}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = read_blocks(state_dir)
            after, outcome = edit(before)
            if after != before:
                replace_file(state_dir / FILE, after)
            return outcome
    except OSError as error:
        raise StateError(str(error.filename or state_dir), f"can't be used: {error.strerror}") from error
