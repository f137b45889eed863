"""What certificates of the usual form say besides their names, read without the parser of all there is.

Theory: the same as that of `spoa.plainparts`. The usual form is the one that almost every CA writes: version 3, DER
down to the last length, no unique identifiers, a positive serial number of up to 20 octets, times as RFC 5280 section
4.1.2.5 has them, and a key of one of the usual kinds and sizes. Whatever is not surely of it is None here, and the
parser is asked, which takes or refuses it; what the parser refuses is therefore never answered. Property tests compare
the two over certificates with any byte damaged.
"""

from __future__ import annotations

from typing import Final

from spoa.plainparts import element_at

__all__ = ["cut_certificate", "plain_key", "plain_serial", "plain_validity"]

_INTEGER: Final = 0x02
_BIT_STRING: Final = 0x03
_SEQUENCE: Final = 0x30
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_EXPLICIT_EXTENSIONS: Final = 0xA3
_VERSION_3: Final = b"\xa0\x03\x02\x01\x02"

_MOST_SERIAL_OCTETS: Final = 20  # RFC 5280 section 4.1.2.2
_SIGN: Final = 0x80

#: Texts of times, and where they lie in a validity of the two.
_UTC_SIZE, _GENERALIZED_SIZE = 13, 15
_ZULU: Final = 0x5A
#: RFC 5280 section 4.1.2.5.1: two digits from here on are of the last century.
_LAST_CENTURY: Final = 50
#: From here on years have four digits; earlier ones with four are for the parser to judge.
_FOUR_DIGITS: Final = 2050
_FEBRUARY: Final = 2
#: Days of each month; there is no month 0, and it has none.
_MONTHS: Final = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_HOURS, _MINUTES = 24, 60
#: Days from March 1st of the year 0 to January 1st, 1970.
_EPOCH: Final = 719_468

#: SubjectPublicKeyInfo up to the coordinates of an uncompressed point (RFC 5480 section 2), and the curves
#: y^2 = x^3 - 3x + b modulo p (SEC 2).
_P256_HEAD: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_P256_SIZE: Final = 32
_P256_P: Final = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_P256_B: Final = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_P384_HEAD: Final = bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004")
_P384_SIZE: Final = 48
_P384_P: Final = int(
    "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFF", 16
)
_P384_B: Final = int(
    "B3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF", 16
)
#: The same up to the modulus of an RSA key (RFC 3279 section 2.3.1) of as many bits, with the octet of zeros in front
#: that a modulus of so many needs; by the length of the whole.
_RSA: Final = {
    294: (bytes.fromhex("30820122300d06092a864886f70d01010105000382010f003082010a0282010100"), 2048),
    422: (bytes.fromhex("308201a2300d06092a864886f70d01010105000382018f003082018a0282018100"), 3072),
    550: (bytes.fromhex("30820222300d06092a864886f70d01010105000382020f003082020a0282020100"), 4096),
}
_65537: Final = b"\x02\x03\x01\x00\x01"

_Fields = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes]


# Hot path: a list of all elements takes three times as long. Benchmark: benchmarks/hotpath.py, certificates never seen.
def cut_certificate(der: bytes) -> _Fields | None:
    """Return the parts of a certificate of version 3 with extensions and without unique identifiers, else None.

    They are, as whole DER elements but where it says otherwise, tbsCertificate, its signature algorithm, issuer,
    subject, subjectPublicKeyInfo, the signature algorithm, the octets of the signature, the content of the extensions'
    SEQUENCE, the serial number and the validity. Nothing follows them or lies between them, and all lengths outside of
    them are in as few octets as they need.
    """
    tbs, end = element_at(der, 0, _SEQUENCE)
    if end != len(der):
        return None
    version, tbs_end = element_at(der, tbs, _SEQUENCE)
    serial = version + len(_VERSION_3)
    if version < 0 or der[version:serial] != _VERSION_3:
        return None
    algorithm = element_at(der, serial, _INTEGER)[1]
    issuer = element_at(der, algorithm, _SEQUENCE)[1]
    validity = element_at(der, issuer, _SEQUENCE)[1]
    subject = element_at(der, validity, _SEQUENCE)[1]
    spki = element_at(der, subject, _SEQUENCE)[1]
    explicit = element_at(der, spki, _SEQUENCE)[1]
    inner, last = element_at(der, explicit, _EXPLICIT_EXTENSIONS)
    extensions, inner_end = element_at(der, inner, _SEQUENCE)
    if not extensions < inner_end == last == tbs_end:
        return None
    outer = element_at(der, tbs_end, _SEQUENCE)[1]
    bits, bits_end = element_at(der, outer, _BIT_STRING)
    if bits_end != end or bits == end or der[bits] != 0:
        return None
    return (
        der[tbs:tbs_end],
        der[algorithm:issuer],
        der[issuer:validity],
        der[subject:spki],
        der[spki:explicit],
        der[tbs_end:outer],
        der[bits + 1 : end],
        der[extensions:last],
        der[serial:algorithm],
        der[validity:subject],
    )


def plain_serial(serial: bytes) -> int | None:
    """Return a positive serial number, given as a whole DER INTEGER; None where it is to be parsed."""
    size = len(serial) - 2
    if not 0 < size <= _MOST_SERIAL_OCTETS or serial[0] != _INTEGER or serial[1] != size or serial[2] >= _SIGN:
        return None
    # X.690 section 8.3.2: an octet of zeros stands first only where the next one would make the number negative.
    if serial[2] == 0 and (size == 1 or serial[3] < _SIGN):
        return None
    return int.from_bytes(serial[2:], "big")


def plain_validity(validity: bytes) -> tuple[int, int] | None:
    """Return the first and the last second of a validity since the epoch; None where it is to be parsed.

    Args:
        validity: a whole DER element.
    """
    start, end = element_at(validity, 0, _SEQUENCE)
    if start < 0 or end != len(validity):
        return None
    between = start + _UTC_SIZE + 2
    if validity[start : start + 1] == b"\x18":
        between += _GENERALIZED_SIZE - _UTC_SIZE
    not_before, not_after = _seconds(validity[start:between]), _seconds(validity[between:end])
    return None if not_before is None or not_after is None else (not_before, not_after)


def _seconds(time: bytes) -> int | None:
    """Return a time, given as a whole DER element, in seconds since the epoch; None where it is to be parsed."""
    size = len(time) - 2
    if size < _UTC_SIZE or time[1] != size or time[-1] != _ZULU or not time[2:-1].isdigit():
        return None
    number = int(time[2:-1])
    day = number // 10**6
    year, month, day = day // 10**4, day // 100 % 100, day % 100
    if time[0] == _UTC_TIME and size == _UTC_SIZE:
        year += 1900 if year >= _LAST_CENTURY else 2000
    elif time[0] != _GENERALIZED_TIME or size != _GENERALIZED_SIZE or year < _FOUR_DIGITS:
        return None
    hour, minute, second = number // 10**4 % 100, number // 100 % 100, number % 100
    if hour >= _HOURS or minute >= _MINUTES or second >= _MINUTES or month >= len(_MONTHS):
        return None
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 0 < day <= _MONTHS[month] + (is_leap and month == _FEBRUARY):
        return None
    return ((_days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second


def _days(year: int, month: int, day: int) -> int:
    """Return the days from the epoch to a day of the Gregorian calendar."""
    # Years that begin in March: leap days come last, and the lengths of months from there on are a straight line.
    if month <= _FEBRUARY:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1 - _EPOCH


def plain_key(spki: bytes) -> tuple[str, int] | None:
    """Return the type and the bits of a key on P-256 or P-384, or of a usual RSA key; None where it is to be parsed.

    Args:
        spki: SubjectPublicKeyInfo, a whole DER element.
    """
    if spki.startswith(_P256_HEAD):
        return ("EC", 256) if _is_on_curve(spki[len(_P256_HEAD) :], _P256_SIZE, _P256_P, _P256_B) else None
    if spki.startswith(_P384_HEAD):
        return ("EC", 384) if _is_on_curve(spki[len(_P384_HEAD) :], _P384_SIZE, _P384_P, _P384_B) else None
    found = _RSA.get(len(spki))
    if found is None:
        return None
    head, bits = found
    is_usual = spki.startswith(head) and spki.endswith(_65537) and spki[len(head)] >= _SIGN
    return ("RSA", bits) if is_usual and spki[-len(_65537) - 1] & 1 else None


def _is_on_curve(point: bytes, size: int, p: int, b: int) -> bool:
    """Tell whether a point, given as its two coordinates, is one of the curve; that at infinity can't be given so."""
    if len(point) != 2 * size:
        return False
    x, y = int.from_bytes(point[:size], "big"), int.from_bytes(point[size:], "big")
    return x < p and y < p and (y * y - (x * x - 3) * x - b) % p == 0
