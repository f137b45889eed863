"""Allowlists as one block of bytes that all workers map: a million entries cost a worker nothing but page cache.

Layout, big-endian: the magic number; for each kind in the order of `Kind` its number of records, soonest and latest
expiry, and fan bits (four uint64); then for each kind its fan and its records. The records are sorted: 32 bytes of
digest (a SHA-1 is padded with zeros) and the expiry as uint64. The fan says for each value of the digest's first bits
where its records begin, and at the end how many there are (uint32): a search has some sixteen records left.

`NEVER` is the largest uint64, so that one comparison serves entries with and without an expiry.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.facts import UNAVAILABLE, Missing, Unavailable

if TYPE_CHECKING:
    import mmap
    from collections.abc import Mapping

    from spoa.facts import Certificate

__all__ = ["NEVER", "Kind", "ListIndex", "Membership", "serial_key", "write_index"]

NEVER: Final = 2**64 - 1
"""The expiry of what does not expire."""

_MAGIC: Final = b"SPOALST1"
_SECTION: Final = struct.Struct(">QQQQ")
_RANGE: Final = struct.Struct(">II")
_FAN_ENTRY_SIZE: Final = 4
_MAX_FAN_BITS: Final = 20
_RECORDS_PER_FAN_BITS: Final = 4
_EXPIRY: Final = struct.Struct(">Q")
_KEY_SIZE: Final = 32
_RECORD_SIZE: Final = _KEY_SIZE + _EXPIRY.size


class Kind(enum.Enum):
    """By what an entry names a certificate."""

    SHA256 = "sha256"
    SPKI_SHA256 = "spki_sha256"
    SHA1 = "sha1"
    SERIAL = "serial"


class Membership(NamedTuple):
    """Whether a certificate is on a list, and until when that is certain.

    Attributes:
        answer: `UNAVAILABLE` when an entry in force names certificates by something that isn't known of this one.
        valid_until: the answer holds before this instant; seconds since the epoch, or `NEVER`.
    """

    answer: bool | Unavailable
    valid_until: int


class _Section(NamedTuple):
    fan: int
    shift: int
    records: int
    size: int
    soonest: int
    latest: int


def serial_key(issuer: str, serial: int) -> bytes:
    """Return the 32 bytes under which an issuer's serial number stands; serials may be negative and of any length."""
    name = issuer.encode()
    # In hex, since Python refuses to write very long numbers in decimal, and serials come from strangers.
    return hashlib.sha256(b"%d:%s:%x" % (len(name), name, serial)).digest()


def write_index(sections: Mapping[Kind, Mapping[bytes, int]]) -> bytes:
    """Write digests and their expiries as one index: some 40.5 bytes an entry."""
    head = [_MAGIC]
    body: list[bytes] = []
    for kind in Kind:
        records = sections.get(kind, {})
        digests = sorted(records)
        bits = _fan_bits(len(digests))
        soonest, latest = min(records.values(), default=NEVER), max(records.values(), default=0)
        head.append(_SECTION.pack(len(digests), soonest, latest, bits))
        body.append(_fan(digests, bits))
        body.append(_records(digests, records, soonest))
    return b"".join((*head, *body))


def _records(digests: list[bytes], records: Mapping[bytes, int], soonest: int) -> bytes:
    if soonest == NEVER and digests and {*map(len, digests)} == {_KEY_SIZE}:  # as in a long list, mostly
        never = _EXPIRY.pack(NEVER)
        return never.join([*digests, b""])
    pack = _EXPIRY.pack
    return b"".join([digest.ljust(_KEY_SIZE, b"\0") + pack(records[digest]) for digest in digests])


def _fan_bits(size: int) -> int:
    return min(_MAX_FAN_BITS, max(0, size.bit_length() - _RECORDS_PER_FAN_BITS))


def _fan_size(bits: int) -> int:
    return ((1 << bits) + 1) * _FAN_ENTRY_SIZE


def _fan(digests: list[bytes], bits: int) -> bytes:
    starts = [bisect_left(digests, (prefix << (32 - bits)).to_bytes(4)) for prefix in range(1 << bits)]
    return struct.pack(f">{len(starts) + 1}I", *starts, len(digests))


class ListIndex:
    """A list as it is asked for each request. Never changes; times are seconds since the epoch.

    Constructed from what `write_index` wrote, as bytes or mapped.

    Raises:
        ValueError: the buffer is no index, or is cut off.
    """

    __slots__ = ("_sections", "_view")

    def __init__(self, buffer: bytes | memoryview | mmap.mmap) -> None:
        self._view: Final = memoryview(buffer)
        self._sections: Final[dict[Kind, _Section]] = {}
        start = len(_MAGIC) + _SECTION.size * len(Kind)
        if len(self._view) < start or self._view[: len(_MAGIC)].tobytes() != _MAGIC:
            raise ValueError("no index of a list")
        for position, kind in enumerate(Kind):
            size, soonest, latest, bits = _SECTION.unpack_from(self._view, len(_MAGIC) + position * _SECTION.size)
            if bits != _fan_bits(size):
                raise ValueError(f"an index with {bits} fan bits for {size} entries")
            records = start + _fan_size(bits)
            if size:
                self._sections[kind] = _Section(start, 32 - bits, records, size, soonest, latest)
            start = records + size * _RECORD_SIZE
        if len(self._view) != start:
            raise ValueError(f"an index of {len(self._view)} bytes where {start} are announced")

    def __len__(self) -> int:
        return sum(section.size for section in self._sections.values())

    def count(self, kind: Kind) -> int:
        """Return the number of entries of a kind, expired ones included."""
        return self._sections[kind].size if kind in self._sections else 0

    @property
    def soonest_expiry(self) -> int:
        """The earliest expiry of any entry, in the past perhaps; `NEVER` when none expires."""
        return min((section.soonest for section in self._sections.values()), default=NEVER)

    def lookup(self, kind: Kind, digest: bytes) -> int | None:
        """Return when the entry expires, or None when there is none."""
        section = self._sections.get(kind)
        if section is None:
            return None
        view, start = self._view, section.records
        key = digest.ljust(_KEY_SIZE, b"\0")

        def key_at(position: int) -> bytes:
            place = start + position * _RECORD_SIZE
            return view[place : place + _KEY_SIZE].tobytes()

        # Hot path: each step is a call of Python, and the fan leaves some four of twenty at a million entries.
        prefix = int.from_bytes(key[:4]) >> section.shift
        low, high = _RANGE.unpack_from(view, section.fan + prefix * _FAN_ENTRY_SIZE)
        position = low + bisect_left(range(low, high), key, key=key_at)
        if position == high or key_at(position) != key:
            return None
        expires: int = _EXPIRY.unpack_from(view, start + position * _RECORD_SIZE + _KEY_SIZE)[0]
        return expires

    def membership(self, certificate: Certificate, issuer: str | None, now: int) -> Membership:
        """Tell whether an entry in force names the certificate.

        At the second of its expiry an entry is no longer in force. An issuer that isn't known makes the entries by
        serial number unavailable.
        """
        listed_until = 0
        unknown_until = 0
        for kind, section in self._sections.items():
            key = _key(kind, certificate, issuer)
            if isinstance(key, bytes):
                listed_until = max(listed_until, self.lookup(kind, key) or 0)
            elif key is UNAVAILABLE:
                unknown_until = max(unknown_until, section.latest)
        if now < listed_until:
            return Membership(answer=True, valid_until=listed_until)
        if now < unknown_until:
            return Membership(answer=UNAVAILABLE, valid_until=unknown_until)
        return Membership(answer=False, valid_until=NEVER)

    def contains(self, certificate: Certificate, issuer: str | None, now: int) -> bool | Unavailable:
        """Return the answer of `membership`."""
        return self.membership(certificate, issuer, now).answer

    def valid_until(self, certificate: Certificate, issuer: str | None, now: int) -> int:
        """Return the next instant at which the answer may be another, or `NEVER`."""
        return self.membership(certificate, issuer, now).valid_until


def _key(kind: Kind, certificate: Certificate, issuer: str | None) -> bytes | Missing:
    if kind is Kind.SHA256:
        return certificate.sha256
    if kind is Kind.SPKI_SHA256:
        return certificate.spki_sha256
    if kind is Kind.SHA1:
        return certificate.sha1
    if isinstance(certificate.serial, Missing):
        return certificate.serial
    return UNAVAILABLE if issuer is None else serial_key(issuer, certificate.serial)
