"""Rows for people: a drawn table on a terminal, aligned plain text in a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["print_rows", "printable"]

_LAST_OF_FIRST_PLANE: Final = 0xFFFF


def printable(text: str) -> str:
    """Return text that can't steer a terminal: whatever isn't printable becomes an escape as YAML and JSON write it.

    Names in certificates are chosen by others.
    """
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number <= _LAST_OF_FIRST_PLANE else f"\\U{number:08x}"


def print_rows(rows: Sequence[Sequence[str]], headers: Sequence[str] = ()) -> None:
    """Print rows of equal length, under headers if there are any; no colour and no lines unless on a terminal."""
    shown = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_drawn(shown, headers)
        return
    lines = [list(headers), *shown] if headers else shown
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_drawn(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> None:
    from rich.box import SIMPLE  # noqa: PLC0415 - rich takes longer to load than most verbs run
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(*headers, box=SIMPLE if headers else None, show_header=bool(headers), pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
