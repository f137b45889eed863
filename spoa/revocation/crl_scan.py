"""The entries of a CRL, taken from its DER by hand: a parser that makes an object of each needs minutes and gigabytes.

The list has been through a strict parser before it comes here, so its shape is known; every tag and length is checked
all the same, since a scan that went astray would silently lose revocations.

An entry becomes a record of 39 octets that sorts and compares as bytes::

    issuer (2)  length (1)  serial (20, padded)  flags and reason (1)  revocation date (15)

The length keeps -1 (ff) and 255 (00 ff) apart. A serial of more than 20 octets, which RFC 5280 section 4.1.2.2
forbids, is represented by its digest. The date stands as it came: a whole UTCTime, or the digits of a GeneralizedTime.
"""

from __future__ import annotations

import calendar
import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.identity import read_elements
from spoa.oid import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "KEY_SIZE",
    "MAX_ENTRIES",
    "RECORD_SIZE",
    "UNKNOWN_CRITICAL",
    "Entries",
    "ListParts",
    "date_from_record",
    "list_parts",
    "record_key",
    "scan_entries",
    "serial_octets",
]

MAX_ENTRIES: Final = 6_000_000
KEY_SIZE: Final = 23
_DATE_SIZE: Final = 15
RECORD_SIZE: Final = KEY_SIZE + 1 + _DATE_SIZE
_SHELF_SIZE: Final = 4  # issuer, length and one octet of the serial: a hundred shelves where serials are random
UNKNOWN_CRITICAL: Final = 0x80
"""Set beside the reason of an entry that has a critical extension not known here."""

_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
_BIT_STRING: Final = 0x03
_ENUMERATED: Final = b"\x0a\x01"
_BOOLEAN: Final = 0x01
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_UTC_TIME_SIZE: Final = 13
_TIME_SIZES: Final = {_UTC_TIME: _UTC_TIME_SIZE, _GENERALIZED_TIME: 15}
_DIRECTORY_NAME: Final = 0xA4
_LONG: Final = 0x80
_MAX_LENGTH_OCTETS: Final = 4
_SERIAL_SIZE: Final = 20
_DIGESTED: Final = b"\xff"
_MAX_ISSUERS: Final = 0xFFFF
_MAX_REASON: Final = 10
_CENTURY_PIVOT: Final = b"50"  # RFC 5280 section 4.1.2.5.1
_MAX_REMEMBERED: Final = 100_000

_CRL_REASON: Final = "2.5.29.21"
_CERTIFICATE_ISSUER: Final = "2.5.29.29"
#: Entry extensions that change nothing about whether a certificate is revoked, critical or not.
_HARMLESS: Final = frozenset({"2.5.29.24", "2.5.29.23"})  # invalidityDate, holdInstructionCode


class ListParts(NamedTuple):
    """A CRL cut into what was signed, how, and where its entries stand (RFC 5280 section 5.1).

    Attributes:
        tbs: the octets that the signature covers.
        inner_algorithm, algorithm: the two AlgorithmIdentifiers, as DER.
        signature: the bit string's octets; empty, and so never right, unless it is a whole number of them.
        issuer: the issuer's name, as DER.
        start, end: the entries are `der[start:end]`.
        skeleton: the CRL without its entries, as DER: all that is to be read of it but them.
        has_version: it says that it is version 2; version 1 says nothing.
    """

    tbs: bytes
    inner_algorithm: bytes
    algorithm: bytes
    signature: bytes
    issuer: bytes
    start: int
    end: int
    skeleton: bytes
    has_version: bool


class Entries(NamedTuple):
    """The entries of a CRL.

    Attributes:
        shelves: records one behind another, in their order, by how they begin: millions of small objects would take
            three times as much memory, and sorting them all at once twice as long.
        issuers: the certificate issuers of an indirect CRL by number, each the names that mean it, as DER; number 0,
            which is not in here, is the CRL's own issuer.
        has_unknown_critical: an entry has a critical extension that is not known here.
    """

    shelves: dict[bytes, bytearray]
    issuers: list[tuple[bytes, ...]]
    has_unknown_critical: bool

    @property
    def record_count(self) -> int:
        """How many records there are."""
        return sum(map(len, self.shelves.values())) // RECORD_SIZE

    def take_sorted(self) -> Iterator[bytes]:
        """Yield all records in pieces, sorted over all; they are gone from here afterwards."""
        for beginning in sorted(self.shelves):
            shelf = bytes(self.shelves.pop(beginning))
            records = [shelf[start : start + RECORD_SIZE] for start in range(0, len(shelf), RECORD_SIZE)]
            records.sort()
            yield b"".join(records)


def list_parts(der: bytes) -> ListParts:
    """Cut a CRL into parts.

    Raises:
        ValueError: it has not the shape of one.
    """
    outer_start, outer_end = _content(der, 0, _SEQUENCE)
    if outer_end != len(der):
        raise ValueError("bytes follow the CRL")
    start, end = _content(der, outer_start, _SEQUENCE)
    (_, algorithm, _), (tag, _, signature) = read_elements(der[end:outer_end])
    if tag != _BIT_STRING:
        raise ValueError("a CRL without signature")
    fields = _spans(der, start, end)
    version = der[fields[0][0]] == _INTEGER
    inner, issuer, _this_update, *rest = fields[version:]
    entries = next((field for field in rest if der[field[0]] == _SEQUENCE), None)
    if entries is None:
        entries_start = entries_end = 0
        kept = der[start:end]
    else:
        entries_start, entries_end = _content(der, entries[0], _SEQUENCE)
        kept = der[start : entries[0]] + der[entries[1] : end]
    return ListParts(
        tbs=der[outer_start:end],
        inner_algorithm=der[slice(*inner)],
        algorithm=algorithm,
        signature=signature[1:] if signature[:1] == b"\0" else b"",
        issuer=der[slice(*issuer)],
        start=entries_start,
        end=entries_end,
        skeleton=_wrapped(_wrapped(kept) + der[end:outer_end]),
        has_version=version,
    )


def _content(der: bytes, position: int, tag: int) -> tuple[int, int]:
    """Return where the content of the element at `position` begins and ends."""
    if der[position : position + 1] != bytes((tag,)) or position + 2 > len(der):
        raise ValueError(f"no element of tag {tag:#x} at offset {position}")
    start, length = position + 2, der[position + 1]
    if length >= _LONG:
        octets = length - _LONG
        if not 0 < octets <= _MAX_LENGTH_OCTETS:
            raise ValueError(f"no definite length at offset {position}")
        length = int.from_bytes(der[start : start + octets])
        start += octets
    if start + length > len(der):
        raise ValueError(f"the element at offset {position} is cut off")
    return start, start + length


def _spans(der: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """Return (begin, end) of the elements between two offsets."""
    spans: list[tuple[int, int]] = []
    while start < end:
        _, stop = _content(der, start, der[start])
        if stop > end:
            raise ValueError(f"the element at offset {start} outgrows its parent")
        spans.append((start, stop))
        start = stop
    return spans


def _wrapped(content: bytes) -> bytes:
    size = len(content)
    if size < _LONG:
        return bytes((_SEQUENCE, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((_SEQUENCE, _LONG + len(octets))) + octets + content


def serial_octets(serial: int) -> bytes:
    """Write an integer as the content of a DER INTEGER: two's complement, as short as can be."""
    return serial.to_bytes((serial + (serial < 0)).bit_length() // 8 + 1, signed=True)


def record_key(issuer: int, serial: bytes) -> bytes:
    """Return how the record of a serial number (as `serial_octets` writes it) begins."""
    size = len(serial)
    if size > _SERIAL_SIZE:
        return issuer.to_bytes(2) + _DIGESTED + hashlib.sha256(serial).digest()[:_SERIAL_SIZE]
    return issuer.to_bytes(2) + bytes((size,)) + serial.ljust(_SERIAL_SIZE, b"\0")


def scan_entries(der: bytes, start: int, end: int) -> Entries:
    """Make a record of each entry between two offsets.

    Raises:
        ValueError: an entry has not the shape of one, or there are more than six million, or more than 65,535 issuers.
    """
    issuers: list[tuple[bytes, ...]] = []
    shelves: defaultdict[bytes, bytearray] = defaultdict(bytearray)
    issuer = b"\0\0"
    extensions_of = _Extensions(issuers)
    remembered = extensions_of.remembered
    position = start
    while position < end:
        # Hot path: a million turns of it are a second and a half. The one shape that nearly all entries have is read
        # here: short lengths, a serial of up to 20 octets, a UTCTime.
        size = der[position + 3]
        time = position + 4 + size
        stop = position + 2 + der[position + 1]
        if (
            der[position] == _SEQUENCE
            and der[position + 1] < _LONG
            and der[position + 2] == _INTEGER
            and 0 < size <= _SERIAL_SIZE
            and der[time] == _UTC_TIME
            and der[time + 1] == _UTC_TIME_SIZE
            and stop >= time + _DATE_SIZE
        ):
            extensions = der[time + _DATE_SIZE : stop]
            own, reason = remembered.get(extensions) or extensions_of(extensions)
            issuer = own or issuer
            key = issuer + der[position + 3 : time].ljust(_SERIAL_SIZE + 1, b"\0")
            shelves[key[:_SHELF_SIZE]] += key + reason + der[time : time + _DATE_SIZE]
        else:
            serial, date, extensions, stop = _uncommon(der, position)
            own, reason = extensions_of(extensions)
            issuer = own or issuer
            key = record_key(int.from_bytes(issuer), serial)
            shelves[key[:_SHELF_SIZE]] += key + reason + date
        position = stop
    found = Entries(shelves, issuers, extensions_of.has_unknown_critical)
    if position != end or found.record_count > MAX_ENTRIES:
        raise ValueError(f"{found.record_count} entries that end at {position} instead of {end}")
    return found


def _uncommon(der: bytes, position: int) -> tuple[bytes, bytes, bytes, int]:
    """Read an entry of any shape: serial number, date as a record has it, extensions, and where it ends."""
    body, stop = _content(der, position, _SEQUENCE)
    (kind, _, serial), (tag, element, time), *extensions = read_elements(der[body:stop])
    if kind != _INTEGER or len(time) != _TIME_SIZES.get(tag) or len(extensions) > 1:
        raise ValueError(f"no entry at offset {position}")
    return serial, element if tag == _UTC_TIME else time, b"".join(whole for _, whole, _ in extensions), stop


def date_from_record(date: bytes) -> int:
    """Read the revocation date in a record, as seconds since the epoch."""
    if date[0] == _UTC_TIME:
        date = (b"19" if date[2:4] >= _CENTURY_PIVOT else b"20") + date[2:]
    year, *rest = (int(date[start:stop]) for start, stop in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14)))
    return calendar.timegm((year, *rest))


class _Extensions:
    """Entry extensions: the issuer's number if they name one (else empty), and the octet of flags and reason.

    The same few combinations recur a million times, and are remembered by their bytes.
    """

    def __init__(self, issuers: list[tuple[bytes, ...]]) -> None:
        self._issuers = issuers
        self._numbers: dict[tuple[bytes, ...], bytes] = {}
        self.has_unknown_critical = False
        self.remembered: Final[dict[bytes, tuple[bytes, bytes]]] = {b"": (b"", b"\0")}

    def __call__(self, element: bytes) -> tuple[bytes, bytes]:
        known = self.remembered.get(element)
        if known is None:
            known = self._read(element)
            if len(self.remembered) < _MAX_REMEMBERED:
                self.remembered[element] = known
        return known

    def _read(self, element: bytes) -> tuple[bytes, bytes]:
        ((_, _, content),) = read_elements(element)
        issuer, reason, flags = b"", 0, 0
        for _, _, extension in read_elements(content):
            (_, _, oid), *flag, (_, _, value) = read_elements(extension)
            kind = dotted(oid)
            if kind == _CRL_REASON:
                if value[:2] != _ENUMERATED or len(value) != len(_ENUMERATED) + 1:
                    raise ValueError(f"not a CRL reason: {value[:8].hex()}")
                # A number that RFC 5280 does not know is a revocation all the same.
                reason = value[2] if value[2] <= _MAX_REASON else 0
            elif kind == _CERTIFICATE_ISSUER:
                issuer = self._number(value)
            elif kind not in _HARMLESS and any(tag == _BOOLEAN and truth == b"\xff" for tag, _, truth in flag):
                flags = UNKNOWN_CRITICAL
                self.has_unknown_critical = True
        return issuer, bytes((flags | reason,))

    def _number(self, names: bytes) -> bytes:
        """Return the number of an issuer, given as the DER of GeneralNames."""
        ((_, _, content),) = read_elements(names)
        directory_names = tuple(name for tag, _, name in read_elements(content) if tag == _DIRECTORY_NAME)
        number = self._numbers.get(directory_names)
        if number is None:
            self._issuers.append(directory_names)
            if len(self._issuers) > _MAX_ISSUERS:
                raise ValueError(f"more than {_MAX_ISSUERS} certificate issuers")
            number = self._numbers[directory_names] = len(self._issuers).to_bytes(2)
        return number
