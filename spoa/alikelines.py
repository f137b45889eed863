"""Lines that are the same but for their digits, read together.

A list may have a million fingerprints, and whoever wrote it wrote all of them alike.
"""

from __future__ import annotations

import binascii
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["alike_digests", "pieces"]

_AT_ONCE: Final = 1 << 18  # bytes of the lines that are looked at together
_SIZE: Final = 32  # bytes of a SHA-256
_DIGEST: Final = f"{_SIZE}s"
#: Bytes of a line with its break; from where on, at every how many bytes, what stands there between digits or pairs.
_FORMS: Final = ((65, 64, 65, b"\n"), (96, 2, 3, b":" * 31 + b"\n"))


def pieces(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield some thousand whole lines at a time, and the number of the first, counted from 1.

    A break at the end of a piece or of the text is left out, so each piece has one line more than it has breaks.
    """
    number, start = 1, 0
    size = len(text) - text.endswith(b"\n")
    while start <= size:
        end = text.find(b"\n", start + _AT_ONCE, size)
        piece = text[start : end if end >= 0 else size]
        yield number, piece
        number += piece.count(b"\n") + 1
        start += len(piece) + 1


# Trick: what is the same in all lines is looked at all at once: 0.35 s a million instead of 1. Benchmark:
# benchmarks/agent.py, "reload", the long list.
def alike_digests(piece: bytes) -> Sequence[bytes]:
    """Return what the lines of *piece* say if each is a SHA-256 and all have one form: 64 digits, or pairs and colons.

    Otherwise nothing is returned, and they are to be read one by one.
    """
    block = piece + b"\n"
    for size, first, step, between in _FORMS:
        count, odd = divmod(len(block), size)
        if odd or block[first::step] != between * count:
            continue
        digits = block.translate(None, b":\n")
        try:
            raw = binascii.unhexlify(digits) if len(digits) == 2 * _SIZE * count else b""
        except ValueError:
            raw = b""
        return struct.unpack(_DIGEST * (len(raw) // _SIZE), raw)
    return ()
