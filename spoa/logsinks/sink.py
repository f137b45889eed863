"""What every place for decisions does: take lines in order, and say how many it has."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

from spoa.exceptions import SpoaError
from spoa.logchain import Chain, Head

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "SEPARATORS",
    "Encoder",
    "Line",
    "RetryError",
    "Sink",
    "Text",
    "encode",
    "new_head",
    "rest_of",
    "shortened",
    "text_of",
]

#: Characters that are left of a text that made a line too long for a datagram.
_MOST: Final = 512
#: Texts that clients make as long as they like.
_LONG: Final = ("path", "host", "id", "detail")


#: What stands between the members of a line, and between a name and its value.
SEPARATORS: Final = (",", ":")


class Text(NamedTuple):
    """So many lines as they are written, each with its end."""

    text: bytes
    lines: int


#: A line, as what it holds; or lines that are written already.
Line: TypeAlias = "dict[str, Any] | Text"


class RetryError(SpoaError):
    """A place takes nothing at present and may do so later.

    Attributes:
        detail: why.
        written: how many lines it took before.
    """

    def __init__(self, detail: str, written: int = 0) -> None:
        super().__init__(detail, written)
        self.detail = detail
        self.written = written

    def __str__(self) -> str:
        return self.detail


class Sink(Protocol):
    """A place for decisions. Its methods run in the log's own thread, and may wait there.

    Attributes:
        problem: what is wrong though lines are written, in a sentence; empty when nothing is.
        reads_rows: it has to know what lines hold; else it also takes them as they are written, several in one text.
    """

    problem: str
    reads_rows: bool

    def write(self, rows: Sequence[Any]) -> int:
        """Write lines and return how many of the first were; the others are lost.

        Raises:
            RetryError: those from `written` on are to be given again later.
        """

    def reopen(self) -> None:
        """Open by its name again whatever has one."""

    def close(self) -> None:
        """Let go."""


def encode(row: dict[str, Any]) -> bytes:
    """Write a line, without its end: JSON escapes every control and non-ASCII character, so it stays one."""
    return json.dumps(row, separators=SEPARATORS).encode()


def text_of(rows: Iterable[Line]) -> Text:
    """Return lines as they are written."""
    pieces: list[bytes] = []
    lines = 0
    for row in rows:
        if isinstance(row, Text):
            pieces.append(row.text)
            lines += row.lines
        else:
            pieces += (encode(row), b"\n")
            lines += 1
    return Text(b"".join(pieces), lines)


def rest_of(rows: list[Line], written: int) -> list[Line]:
    """Return all lines but the first so many."""
    if any(isinstance(row, Text) for row in rows):
        rows = [Text(line + b"\n", 1) for line in text_of(rows).text.splitlines()]
    return rows[written:]


def shortened(row: dict[str, Any]) -> dict[str, Any]:
    """Return a line whose longest texts are cut, with their names in `cut`: one too long for a datagram is not lost."""
    cut = [name for name in _LONG if isinstance(row[name], str) and len(row[name]) > _MOST]
    return {**row, **{name: row[name][:_MOST] for name in cut}, "cut": cut}


def new_head(kind: str) -> Head:
    """Return where a new chain begins; *kind* is `file` or `process`."""
    return Head(f"{kind}-{secrets.token_hex(8)}")


class Encoder:
    """Lines for places that no other process writes to: with the links of a chain of their own, where one is wanted."""

    def __init__(self, chain: Chain | None) -> None:
        self._chain = chain
        self._head = new_head("process")
        self._next = self._head

    def encode(self, row: dict[str, Any]) -> bytes:
        """Return a line without its end; it becomes part of the chain by `keep`."""
        return self.extend(encode(row))

    def extend(self, line: bytes) -> bytes:
        """Return a line that is written, both without their ends, as `encode` would."""
        if self._chain is not None:
            line, self._next = self._chain.extend(line, self._head)
        return line

    def keep(self) -> None:
        """Go on behind the line that was encoded last: it is written."""
        self._head = self._next
