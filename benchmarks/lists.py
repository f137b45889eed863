"""Revocation lists of any length, signed by a CA of their own, and clients that are on them or will be.

A list of five million entries is written in a second, since nothing but its random serial numbers differs from entry to
entry: the bytes are laid down in one pattern, and the numbers put in with a stride.
"""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.certificates import Certificates
from spoa.pki import CertificateAuthority, Template

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from spoa.pki import Issued

__all__ = ["ODD_SERIALS", "Population", "Revoked", "entries_of", "listed_serials", "sign_list"]

_DATE: Final = b"\x17\x0d260101000000Z"
_REASON: Final = bytes.fromhex("300c300a0603551d1504030a01")
_PLAIN: Final = b"\x30\x21\x02\x10" + bytes(16) + _DATE
_REASONED: Final = b"\x30\x2f\x02\x10" + bytes(16) + _DATE + _REASON + b"\x01"  # keyCompromise
_PAIR: Final = _PLAIN + _REASONED
_SERIAL: Final = 16
_PLACES: Final = (4, len(_PLAIN) + 4)
#: The first octet of a serial number, so that it is positive and as short as DER wants it.
_FIRST: Final = bytes(1 + octet % 127 for octet in range(256))

_ECDSA_WITH_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")
_AUTHORITY_KEY: Final = b"\x06\x03\x55\x1d\x23"
_CRL_NUMBER: Final = b"\x06\x03\x55\x1d\x14"
_LENGTH: Final = struct.Struct(">I")
_HOUR: Final = 3600
_YEAR: Final = 365 * 24 * _HOUR


@dataclass(frozen=True, slots=True)
class Revoked:
    """An entry beside the many: a serial number of any kind, and a reason by its number in RFC 5280, 0 for none."""

    serial: int
    reason: int = 0


#: Numbers that RFC 5280 forbids and CAs have issued: negative, and zero. A careless reader takes -1 for 255.
ODD_SERIALS: Final = (Revoked(0, 4), Revoked(-1, 5), Revoked(-(2**127)))


def entries_of(count: int) -> bytes:
    """Return so many entries, DER one behind another: 16-octet serial numbers, every other with a reason.

    Args:
        count: even.
    """
    written = bytearray(_PAIR) * (count // 2)
    for place in _PLACES:
        for octet in range(_SERIAL):
            drawn = os.urandom(count // 2)
            written[place + octet :: len(_PAIR)] = drawn if octet else drawn.translate(_FIRST)
    return bytes(written)


def listed_serials(entries: bytes, how_many: int) -> list[int]:
    """Return serial numbers from all over what `entries_of` wrote."""
    pairs = len(entries) // len(_PAIR)
    starts = (pairs * number // how_many * len(_PAIR) + _PLACES[number % 2] for number in range(how_many))
    return [int.from_bytes(entries[start : start + _SERIAL]) for start in starts]


def _element(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 128 + len(octets))) + octets + content


def _integer(value: int) -> bytes:
    return _element(2, value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, signed=True))


def _time(seconds: int) -> bytes:
    return _element(0x17, time.strftime("%y%m%d%H%M%SZ", time.gmtime(seconds)).encode())


def _entry(revoked: Revoked) -> bytes:
    reason = _REASON + bytes((revoked.reason,)) if revoked.reason else b""
    return _element(0x30, _integer(revoked.serial), _DATE, reason)


class Population:
    """A CA and its clients.

    Attributes:
        certificates: for `Load`: `good` clients that stay, then one that is `listed` always.
        leaving: clients that are there to be revoked one after another: DER and entry.
    """

    def __init__(self, directory: Path, good: int, leaving: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        now = int(time.time())
        self._now = now

        def template(name: str, serial: int | None = None) -> Template:
            is_ca = serial is None
            return Template(cn=(name,), serial=serial, is_ca=is_ca, not_before=now - _HOUR, not_after=now + _YEAR)

        self._ca = CertificateAuthority.root(template("Bench Lists CA"))
        key = ec.generate_private_key(ec.SECP256R1())
        issued = [
            self._ca.issue(template(f"client-{number:03d}", 2**120 + number), key)
            for number in range(good + 1 + leaving)
        ]
        ders = [one.der for one in issued]
        self.listed = Revoked(issued[good].certificate.serial_number, 1)
        self.leaving = [(one.der, Revoked(one.certificate.serial_number, 1)) for one in issued[good + 1 :]]
        ca, pack, none = directory / "ca.pem", directory / "usual.pack", directory / "fresh.pack"
        ca.write_bytes(self._ca.issued.pem)
        pack.write_bytes(b"".join(_LENGTH.pack(len(der)) + der for der in ders[: good + 1]))
        none.write_bytes(b"")
        self.good = good
        self.certificates = Certificates(ca, pack, none, good + 1, 0)

    def crl(self, entries: bytes, others: Iterable[Revoked], number: int) -> bytes:
        """Sign a list of what `entries_of` wrote and other entries; DER, fresh for a year."""
        return sign_list(self._ca.issued, entries, others, number, (self._now - _HOUR, self._now + _YEAR))


def sign_list(issuer: Issued, entries: bytes, others: Iterable[Revoked], number: int, span: tuple[int, int]) -> bytes:
    """Sign a list (RFC 5280 section 5.1) of what `entries_of` wrote and other entries, and return it as DER.

    The issuer's key is on P-256; the span is from thisUpdate to nextUpdate, seconds since the epoch.
    """
    key = issuer.key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()).public_bytes()
    extensions = [
        _element(0x30, _AUTHORITY_KEY, _element(4, identifier)),
        _element(0x30, _CRL_NUMBER, _element(4, _integer(number))),
    ]
    signed = _element(
        0x30,
        _integer(1),
        _ECDSA_WITH_SHA256,
        issuer.certificate.subject.public_bytes(),
        *map(_time, span),
        _element(0x30, entries, *map(_entry, others)),
        _element(0xA0, _element(0x30, *extensions)),
    )
    signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return _element(0x30, signed, _ECDSA_WITH_SHA256, _element(3, b"\0", signature))
