"""PEM armour (RFC 7468): the DER blocks of a file, and the line at which each begins.

Libraries tend to read the first block of a file and to stay silent about the rest; a trust file with a damaged second
half would then quietly trust less, or a CRL file revoke less, than its owner believes.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Block", "read_blocks", "write_block"]

_BOUNDARY: Final = re.compile(rb"-----(BEGIN|END) ([^-]*)-----[ \t]*")
_DER_START: Final = b"\x30"
_WIDTH: Final = 64  # characters of base64 a line (RFC 7468 section 2)


@dataclass(frozen=True, slots=True)
class Block:
    """One armoured block, or a file that is DER as a whole.

    Attributes:
        label: `CERTIFICATE`, `X509 CRL`, …; the label asked for when the file is DER.
        line: where it begins, counted from 1; 0 when the file is DER.
        der: the decoded bytes; empty when there is a problem.
        problem: why it can't be decoded; empty when it can.
    """

    label: str
    line: int
    der: bytes
    problem: str = ""


def read_blocks(content: bytes, label: str) -> tuple[Block, ...]:
    """Return every block of that label in a file, damaged ones too; text and other blocks around them are ignored.

    A file that begins as DER does is one block. A file with nothing of the kind gives an empty tuple.
    """
    if content.startswith(_DER_START) and b"-----BEGIN " not in content:
        return (Block(label, 0, content),)
    blocks: list[Block] = []
    opened: tuple[str, int] | None = None
    body: list[bytes] = []
    for number, line in enumerate(content.splitlines(), start=1):
        match = _BOUNDARY.fullmatch(line.removeprefix(b"\xef\xbb\xbf"))
        if match is None:
            body.append(line)
            continue
        kind, found = match[1], match[2].decode("ascii", "replace")
        if opened is not None:
            blocks.append(_closed(*opened, body, ends=kind == b"END" and found == opened[0]))
        opened = (found, number) if kind == b"BEGIN" else None
        body = []
    if opened is not None:
        blocks.append(_closed(*opened, body, ends=False))
    return tuple(block for block in blocks if block.label == label)


def _closed(label: str, line: int, body: list[bytes], *, ends: bool) -> Block:
    if not ends:
        return Block(label, line, b"", f"the block {label} is never ended")
    try:
        der = base64.b64decode(b"".join(b"".join(body).split()), validate=True)
    except binascii.Error as error:
        return Block(label, line, b"", f"not base64: {error}")
    return Block(label, line, der) if der else Block(label, line, b"", f"the block {label} is empty")


def write_block(label: str, der: bytes) -> bytes:
    """Armour `der` under `label`."""
    text = base64.b64encode(der)
    lines = [text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH)]
    name = label.encode("ascii")
    return b"\n".join([b"-----BEGIN " + name + b"-----", *lines, b"-----END " + name + b"-----", b""])
