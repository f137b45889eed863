"""List files on disk, read and replaced whole; one edit at a time, whoever makes it."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, TypeVar

from spoa.exceptions import ListError, StateError
from spoa.state import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["create_list", "edit_list", "read_list"]

T = TypeVar("T")

#: What a new list may be read by: an agent is mostly another user than its operator.
_MODE = 0o644


def read_list(path: Path) -> bytes:
    """Return the text of a list.

    Raises:
        ListError: it can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ListError(str(path), 0, f"can't be read: {error.strerror}") from error


def create_list(path: Path, text: bytes) -> bool:
    """Make a list file that is not there yet, and tell whether it had to be made.

    Raises:
        ListError: it can't be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    except FileExistsError:
        return False
    except OSError as error:
        raise ListError(str(path), 0, f"can't be made: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    return True


def edit_list(path: Path, edit: Callable[[bytes], tuple[bytes, T]]) -> T:
    """Replace a list by what *edit* makes of it, and return what *edit* says of that.

    Readers see the old list or the new one; mode and owner stay, and a symbolic link goes on leading to the file.

    Raises:
        ListError: the file can't be read or written.
    """
    try:
        target = path.resolve(strict=True)
        # The directory is what is locked: a lock file would lie among the lists, and the list itself is replaced.
        lock = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ListError(str(path), 0, f"can't be read: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = read_list(target)
        after, outcome = edit(before)
        if after != before:
            replace_file(target, after, like=target.stat())
    except StateError as error:
        raise ListError(str(path), 0, error.detail) from error
    finally:
        os.close(lock)
    return outcome
