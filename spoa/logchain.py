"""The hash chain of a decision log: each line carries the hash of the line before, so that a later change is evident.

A line ends in a member `chain`: who writes (`writer`), its number (`seq`, from 1), the hash of the line before (`prev`)
and its own (`hash`), which covers all of these and every byte before them. Without a key anybody who may write the
file can compute all of it anew; with one (HMAC) only who has the key can. Neither shows by itself that lines at the end
are missing: that takes a `Head` noted elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import asdict, dataclass
from typing import Final

from spoa.exceptions import StateError

__all__ = ["FIRST_PREV", "KEYED", "KEYLESS", "Chain", "Head", "KeptHead", "Link", "read_link"]

#: What stands for the hash of the line before the first.
FIRST_PREV: Final = "0" * 64
KEYLESS: Final = "sha256"
KEYED: Final = "hmac-sha256"
#: Version of the file that keeps a head.
VERSION: Final = 1

_LINK: Final = re.compile(
    rb'(?s)(.*),"chain":\{"alg":"(sha256|hmac-sha256)","writer":"((?:file|process)-[0-9a-f]{16})",'
    rb'"seq":([1-9]\d{0,17}),"prev":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"\}\}'
)
_HEAD: Final = re.compile(r"((?:file|process)-[0-9a-f]{16})[:/]([1-9]\d{0,17})[:/]([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Head:
    """The last line of a chain: its writer, number and hash; number 0 before the first.

    A writer `file-…` continues over restarts, rotations and workers; one that begins with `process-` is one process.
    """

    writer: str
    seq: int = 0
    hash: str = FIRST_PREV

    def __str__(self) -> str:
        return f"{self.writer}:{self.seq}:{self.hash}"

    @classmethod
    def from_text(cls, text: str) -> Head:
        """Read what `str` wrote.

        Raises:
            ValueError: it is none.
        """
        match = _HEAD.fullmatch(text.strip())
        if match is None:
            raise ValueError("write a head as WRITER:SEQ:HASH, as `audit verify` and `status` print it")
        return cls(match[1], int(match[2]), match[3])


@dataclass(frozen=True, slots=True)
class KeptHead:
    """A head as it is kept beside a file, with the size (bytes) and inode that the file had then."""

    head: Head
    size: int
    inode: int

    def to_bytes(self) -> bytes:
        """Write it as one line of JSON."""
        row = {"version": VERSION, **asdict(self.head), "size": self.size, "inode": self.inode}
        return json.dumps(row).encode() + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> KeptHead | None:
        """Read what `to_bytes` wrote; None for what is empty or was cut off.

        Args:
            content: what the file holds.
            name: of the file, for the error.

        Raises:
            StateError: a newer agent wrote it.
        """
        try:
            row = json.loads(content)
            version = int(row["version"])
        except (ValueError, KeyError, TypeError):
            return None
        if version > VERSION:
            raise StateError(
                name, f"has version {version}, and this agent reads up to {VERSION}; use the version that wrote it"
            )
        try:
            head = Head.from_text(f"{row['writer']}:{row['seq']}:{row['hash']}")
            return cls(head, int(row["size"]), int(row["inode"]))
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class Link:
    """What a line says of its place in the chain, and the bytes that it vouches for."""

    alg: str
    writer: str
    seq: int
    prev: str
    hash: str
    body: bytes

    @property
    def head(self) -> Head:
        """The head of the chain that ends with this line."""
        return Head(self.writer, self.seq, self.hash)


def read_link(line: bytes) -> Link | None:
    """Return the link at the end of a line; None where there is none. Nothing is verified."""
    match = _LINK.fullmatch(line.rstrip(b"\r\n"))
    if match is None:
        return None
    alg, writer, seq, prev, own = (match[number].decode() for number in range(2, 7))
    return Link(alg, writer, int(seq), prev, own, match[1])


class Chain:
    """Makes and recomputes links.

    Args:
        key: with it hashes are HMACs; empty for plain SHA-256.
    """

    def __init__(self, key: bytes = b"") -> None:
        self._key = key
        self.alg = KEYED if key else KEYLESS

    def extend(self, line: bytes, head: Head) -> tuple[bytes, Head]:
        """Return a line (a JSON object without its end of line) with its link, and the head that follows."""
        body, seq = line[:-1], head.seq + 1
        own = self._hash(head.writer, seq, head.hash, body)
        place = f'"alg":"{self.alg}","writer":"{head.writer}","seq":{seq},"prev":"{head.hash}","hash":"{own}"'
        link = f',"chain":{{{place}}}}}'
        return body + link.encode(), Head(head.writer, seq, own)

    def holds(self, link: Link) -> bool:
        """Tell whether a line is what was written, as far as its own hash tells."""
        if link.alg != self.alg:
            return False
        return hmac.compare_digest(self._hash(link.writer, link.seq, link.prev, link.body), link.hash)

    def _hash(self, writer: str, seq: int, prev: str, body: bytes) -> str:
        covered = f"{self.alg}\n{writer}\n{seq}\n{prev}\n".encode() + body
        if self._key:
            return hmac.new(self._key, covered, hashlib.sha256).hexdigest()
        return hashlib.sha256(covered).hexdigest()
