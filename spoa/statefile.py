"""Small texts in the state directory that people and commands edit while the agent runs: read and replaced whole."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final, TypeVar

from spoa.exceptions import StateError
from spoa.state import read_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["edit_text", "read_text"]

T = TypeVar("T")

#: Octets of a file that is read at all, to refuse it with what it says; its own reader has a lower bound.
_MOST: Final = 64 << 20


def read_text(path: Path) -> bytes:
    """Return what a file holds; a missing file is an empty one.

    Raises:
        StateError: the file is there and can't be read; what is no regular file can't be, nor one of more than 64 MiB.
    """
    try:
        return read_file(path, _MOST)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StateError(str(path), f"can't be read: {error.strerror}") from error


def edit_text(path: Path, edit: Callable[[bytes], tuple[bytes, T]]) -> T:
    """Replace a file by what *edit* makes of it, and return what *edit* says of that; one edit at a time.

    Raises:
        StateError: the directory can't be made, locked or written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # For reading: whoever may not write another user's lock can hold it all the same.
        lock = os.open(path.parent / f".{path.name}.lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = read_text(path)
            after, outcome = edit(before)
            if after != before:
                replace_file(path, after)
            return outcome
        finally:
            os.close(lock)
    except OSError as error:
        raise StateError(str(error.filename or path.parent), f"can't be used: {error.strerror}") from error
