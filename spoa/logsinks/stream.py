"""Decisions on the standard output, in a named pipe or on a device: written once, never looked at again."""

from __future__ import annotations

import os
import select
import stat
import sys
from typing import TYPE_CHECKING, Final

from spoa.logsinks.sink import Encoder, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spoa.logchain import Chain
    from spoa.logsinks.sink import Line

__all__ = ["STANDARD_OUTPUT", "StreamSink"]

STANDARD_OUTPUT: Final = 1


class StreamSink:
    """Appends lines to an open descriptor.

    Args:
        descriptor: where to.
        chain: for the links of a chain of this process; None without.
        is_owner: close it in the end.
    """

    problem = ""
    reads_rows = False

    def __init__(self, descriptor: int, chain: Chain | None = None, *, is_owner: bool = False) -> None:
        self._descriptor = descriptor
        self._is_owner = is_owner
        self._encoder = Encoder(chain)
        self._unfinished = False

    def write(self, rows: Sequence[Line]) -> int:
        """Write lines, in portions that one write takes whole, until one fails."""
        written = 0
        for count, portion in self._portions(rows):
            done = self._append(portion)
            written += count if done == len(portion) else portion[:done].count(b"\n")
            if done < len(portion):
                break
        return written

    def reopen(self) -> None:
        """Do nothing: it has no name."""

    def close(self) -> None:
        """Close the descriptor, where it is the sink's own."""
        if self._is_owner:
            os.close(self._descriptor)

    def _portions(self, rows: Sequence[Line]) -> Iterator[tuple[int, bytes]]:
        """Yield portions with how many lines each has: pipes mix what is longer than PIPE_BUF."""
        limit = select.PIPE_BUF if stat.S_ISFIFO(os.fstat(self._descriptor).st_mode) else sys.maxsize
        portion: list[bytes] = []
        size = 0
        for written in text_of(rows).text.splitlines():
            line = self._encoder.extend(written)
            if portion and size + len(line) + 1 > limit:
                yield len(portion), b"\n".join((*portion, b""))
                portion, size = [], 0
            portion.append(line)
            size += len(line) + 1
            self._encoder.keep()
        if portion:
            yield len(portion), b"\n".join((*portion, b""))

    def _append(self, data: bytes) -> int:
        """Return how many bytes were written."""
        done = 0
        try:
            if self._unfinished:  # what was cut off before must not swallow this line too
                os.write(self._descriptor, b"\n")
                self._unfinished = False
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
        except OSError:
            self._unfinished = self._unfinished or (done > 0 and not data[:done].endswith(b"\n"))
        return done
