"""A CRL as one buffer that can be searched without reading it: bytes, or a file mapped by many processes.

Layout, numbers big-endian: the magic, the lengths of the sections, then the sections: the CRL without its entries
(DER), the digest of what was signed, what was signed itself (for EdDSA only, which can't be given a digest), the
certificate issuers of an indirect CRL (a SEQUENCE of names for each number), and the records of `spoa.revocation.
crl_scan`, sorted.

It is made by `write_index`, in a process of its own where the CRL is large, and holds all that a judgement needs, its
signature included: whoever reads it trusts the writer for the entries only.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from spoa.identity import read_elements
from spoa.revocation.crl_scan import (
    KEY_SIZE,
    RECORD_SIZE,
    UNKNOWN_CRITICAL,
    date_from_record,
    list_parts,
    record_key,
    scan_entries,
    serial_octets,
)
from spoa.revocation.parsing import parsing
from spoa.revocation.status import REVOCATION_REASONS
from spoa.signatures import algorithm_from_der

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["MAX_CRL_SIZE", "CrlEntry", "CrlIndex", "worst", "write_index"]

MAX_CRL_SIZE: Final = 256 * 1024 * 1024  # octets: five million entries and some

_MAGIC: Final = b"SPOACRL1"
_HEAD: Final = struct.Struct(">QQQQQB")
_HAS_UNKNOWN_CRITICAL: Final = 1
_STRIDE: Final = 512  # eight times as many objects would cost each worker a byte an entry, and save three steps of nine
_REASON: Final = KEY_SIZE
_DATE: Final = KEY_SIZE + 1


class CrlEntry(NamedTuple):
    """What a CRL says of one serial number.

    Attributes:
        reason: by its RFC 5280 name; `unspecified` when none is given.
        date: the revocation date as the record has it.
    """

    reason: str
    date: bytes

    @property
    def revoked_at(self) -> int:
        """The revocation date, seconds since the epoch; possibly in the future, and revoked all the same."""
        return date_from_record(self.date)


def write_index(der: bytes) -> bytes:
    """Write the index of a CRL: 39 octets an entry.

    A million entries take some three seconds, and three times the size of the list in memory.

    Raises:
        ValueError: it is no CRL in DER, or one of more than 256 MiB or six million entries.
    """
    if len(der) > MAX_CRL_SIZE:
        raise ValueError(f"{len(der)} bytes, more than {MAX_CRL_SIZE}")
    with parsing():
        x509.load_der_x509_crl(der)
    parts = list_parts(der)
    digest, message = _signed(parts.tbs, parts.algorithm)
    parts = parts._replace(tbs=b"")  # as large as the list itself
    entries = scan_entries(der, parts.start, parts.end)
    flags = _HAS_UNKNOWN_CRITICAL if entries.has_unknown_critical else 0
    issuers = b"".join(_sequence(names) for names in entries.issuers)
    head = _HEAD.pack(len(parts.skeleton), len(digest), len(message), len(issuers), entries.record_count, flags)
    return b"".join((_MAGIC, head, parts.skeleton, digest, message, issuers, *entries.take_sorted()))


def _signed(tbs: bytes, algorithm_der: bytes) -> tuple[bytes, bytes]:
    try:
        algorithm = algorithm_from_der(algorithm_der)
    except ValueError:
        return b"", b""
    if algorithm.digest is None:
        return b"", tbs
    digest = hashes.Hash(algorithm.digest)
    digest.update(tbs)
    return digest.finalize(), b""


def _sequence(names: Sequence[bytes]) -> bytes:
    content = b"".join(names)
    return b"\x30\x84" + len(content).to_bytes(4) + content


class CrlIndex:
    """The index of a CRL, as `write_index` wrote it; bytes or mapped. Never changes.

    Attributes:
        skeleton: the CRL without its entries, as DER.
        digest: the digest of what was signed; empty where the algorithm is not known, or is EdDSA.
        message: what was signed, for EdDSA; else empty.
        issuers: the names (DER) that mean the certificate issuer of each number from 1 on.
        has_unknown_critical: an entry has a critical extension that is not known here.

    Raises:
        ValueError: the buffer is no index, or is cut off.
    """

    __slots__ = (
        "_buffer",
        "_count",
        "_key",
        "_milestones",
        "_start",
        "digest",
        "has_unknown_critical",
        "issuers",
        "message",
        "skeleton",
    )

    def __init__(self, buffer: bytes | mmap.mmap) -> None:
        start = len(_MAGIC) + _HEAD.size
        if len(buffer) < start or buffer[: len(_MAGIC)] != _MAGIC:
            raise ValueError("no index of a CRL")
        *lengths, count, flags = _HEAD.unpack_from(buffer, len(_MAGIC))
        if len(buffer) != start + sum(lengths) + count * RECORD_SIZE:
            raise ValueError(f"an index of {len(buffer)} bytes, which is not what it announces")
        sections: list[bytes] = []
        for length in lengths:
            sections.append(buffer[start : start + length])
            start += length
        skeleton, digest, message, issuers = sections
        self.skeleton: Final = skeleton
        self.digest: Final = digest
        self.message: Final = message
        self.issuers: Final = tuple(
            tuple(name for _, name, _ in read_elements(content)) for _, _, content in read_elements(issuers)
        )
        self.has_unknown_critical: Final = bool(flags & _HAS_UNKNOWN_CRITICAL)
        self._buffer: Final = buffer
        self._start: Final = start
        self._count: Final[int] = count
        self._key: Final = _keys(buffer, start)
        self._milestones: Final = [self._key(position) for position in range(0, count, _STRIDE)]

    def __len__(self) -> int:
        return self._count

    def lookup(self, serial: int, issuer: int = 0) -> CrlEntry | None:
        """Return the entry of a certificate issuer's serial number, or None; the worst where there are several."""
        # Hot path: every 512th key is at hand as an object, so that nine steps of Python are left of twenty.
        wanted, key = record_key(issuer, serial_octets(serial)), self._key
        milestone = bisect_left(self._milestones, wanted)
        low, high = max(0, (milestone - 1) * _STRIDE), min(self._count, milestone * _STRIDE + 1)
        position = low + bisect_left(range(low, high), wanted, key=key)
        if position == self._count or key(position) != wanted:
            return None
        found = [self._entry(position)]
        while (position := position + 1) < self._count and key(position) == wanted:
            found.append(self._entry(position))
        return worst(found) if found[1:] else found[0]

    def _entry(self, position: int) -> CrlEntry:
        start = self._start + position * RECORD_SIZE
        record = self._buffer[start : start + RECORD_SIZE]
        reason = REVOCATION_REASONS.get(record[_REASON] & ~UNKNOWN_CRITICAL, "unspecified")
        return CrlEntry(reason, record[_DATE:])


def _keys(buffer: bytes | mmap.mmap, start: int) -> Callable[[int], bytes]:
    """Return what gives the key of the record at a position; a closure, which costs less than a method."""

    def key(position: int) -> bytes:
        at = start + position * RECORD_SIZE
        return buffer[at : at + KEY_SIZE]

    return key


def worst(entries: Iterable[CrlEntry]) -> CrlEntry | None:
    """Return the entry that takes most away: any but removeFromCRL, and certificateHold after others."""
    leniency = {"certificateHold": 1, "removeFromCRL": 2}
    return min(entries, key=lambda entry: leniency.get(entry.reason, 0), default=None)
