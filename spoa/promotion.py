"""Putting one policy directory in the place of another: readers find the old one, none, or the new one whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING

from spoa.exceptions import StateError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["replace_directory"]


def replace_directory(source: Path, target: Path) -> Path | None:
    """Put a copy of a directory in the place of another; return where the old one is kept, None where it isn't.

    A link is made to lead to the copy, which then lies beside it; a directory is renamed to `NAME.before`. Where both
    hold the same nothing happens, so that doing it twice keeps what was there before the first time.

    Raises:
        StateError: the source can't be read, or the place can't be written; nothing has changed then.
    """
    copy = target.parent / f".{target.name}.new"
    try:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".*"))
        if target.is_dir() and _contents(copy) == _contents(target):
            shutil.rmtree(copy)
            return None
        if target.is_symlink():
            _relink(target, copy)
            return None
        before = target.parent / f"{target.name}.before"
        shutil.rmtree(before, ignore_errors=True)
        target.rename(before)
        try:
            copy.rename(target)
        except OSError:
            before.rename(target)
            raise
    except (OSError, shutil.Error) as error:
        shutil.rmtree(copy, ignore_errors=True)
        raise StateError(
            str(target), f"can't be replaced by {source} ({error}); deploy the candidate the way you deploy policies"
        ) from error
    return before


def _contents(directory: Path) -> dict[Path, bytes]:
    """Return the files of a directory that a promotion copies, and what they hold."""
    files = {path.relative_to(directory): path for path in directory.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes() for name, path in files.items() if not any(part.startswith(".") for part in name.parts)
    }


def _relink(link: Path, copy: Path) -> None:
    lasting = link.parent / f"{link.name}-{time.strftime('%Y%m%dT%H%M%S')}"
    copy.rename(lasting)
    new = link.parent / f".{link.name}.link"
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(lasting.name)
    os.replace(new, link)  # noqa: PTH105 -- Path.replace would do the same; here the link itself is meant
