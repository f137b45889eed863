"""Decision logs as verbs read them."""

from __future__ import annotations

import gzip
import os
import sys
from typing import TYPE_CHECKING, Final

import click

from spoa.cli.asking import UnreachableError, ask, find_admin, find_state_dir
from spoa.exceptions import SettingsError
from spoa.logsinks.file import rotated_files
from spoa.logsinks.opening import file_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["lines_of", "logs_of_agent"]

_GZIP: Final = b"\x1f\x8b"


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a decision log, as it is or compressed by log rotation; `-` is standard input.

    Raises:
        click.BadParameter: the file can't be read.
    """
    if str(path) == "-":
        yield from sys.stdin.buffer
        return
    try:
        with path.open("rb") as file:
            is_compressed = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            yield from gzip.GzipFile(fileobj=file) if is_compressed else file
    except (OSError, EOFError) as error:
        raise click.BadParameter(f"{path} can't be read: {error}", param_hint="--log") from None


def logs_of_agent(state_dir: str | None) -> tuple[Path, ...]:
    """Return where the running agent writes its decisions: files that it has rotated, the oldest first, and its own.

    Raises:
        click.UsageError: nobody answers, or it writes none to a file.
    """
    try:
        _, status = ask(find_admin(None, find_state_dir(state_dir, os.environ), os.environ), "GET", "/status")
    except (SettingsError, UnreachableError) as error:
        raise click.UsageError(f"{error}; name the decision log: --log FILE") from None
    place = status.get("decision_log")
    path = file_of(place) if isinstance(place, str) else None
    if path is None:
        raise click.UsageError("the running agent writes no decision log to a file; name one: --log FILE")
    return *rotated_files(path), path
