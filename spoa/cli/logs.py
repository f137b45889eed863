"""Decision logs as verbs read them."""

from __future__ import annotations

import gzip
import sys
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["lines_of"]

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
