"""Certificates that no library wants to make: real ones, taken apart, edited byte by byte and signed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa
from cryptography.x509.oid import SignatureAlgorithmOID

from spoa.identity import read_elements

if TYPE_CHECKING:
    from collections.abc import Callable

    from spoa.pki import PrivateKey

__all__ = ["ALGORITHMS", "element", "fields_of", "name", "oid", "rebuilt", "replaced", "sequence", "signed", "text"]

NULL = b"\x05\x00"

_HASHES = {
    "md5": hashes.MD5(),
    "sha1": hashes.SHA1(),
    "sha256": hashes.SHA256(),
}


def element(tag: int, *contents: bytes) -> bytes:
    """Encode one DER element."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 + len(octets)]) + octets + content


def sequence(*contents: bytes) -> bytes:
    """Encode a SEQUENCE."""
    return element(0x30, *contents)


def oid(dotted: str) -> bytes:
    """Encode an OBJECT IDENTIFIER."""
    first, second, *rest = (int(number) for number in dotted.split("."))
    octets = bytearray([first * 40 + second])
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        octets += bytes(reversed(groups))
    return element(0x06, bytes(octets))


def text(value: str, tag: int = 0x0C, charset: str = "utf-8") -> bytes:
    """Encode a string, a UTF8String unless told otherwise."""
    return element(tag, value.encode(charset))


def name(*rdns: list[tuple[str, bytes]]) -> bytes:
    """Encode a name; each RDN is a list of (dotted OID, encoded value)."""
    return sequence(*(element(0x31, *(sequence(oid(kind), value) for kind, value in rdn)) for rdn in rdns))


ALGORITHMS: dict[tuple[type, str], bytes] = {
    (rsa.RSAPrivateKey, "md5"): sequence(oid(SignatureAlgorithmOID.RSA_WITH_MD5.dotted_string), NULL),
    (rsa.RSAPrivateKey, "sha1"): sequence(oid(SignatureAlgorithmOID.RSA_WITH_SHA1.dotted_string), NULL),
    (rsa.RSAPrivateKey, "sha256"): sequence(oid(SignatureAlgorithmOID.RSA_WITH_SHA256.dotted_string), NULL),
    (ec.EllipticCurvePrivateKey, "sha1"): sequence(oid("1.2.840.10045.4.1")),
    (ec.EllipticCurvePrivateKey, "sha256"): sequence(oid(SignatureAlgorithmOID.ECDSA_WITH_SHA256.dotted_string)),
    (dsa.DSAPrivateKey, "sha1"): sequence(oid(SignatureAlgorithmOID.DSA_WITH_SHA1.dotted_string)),
    (dsa.DSAPrivateKey, "sha256"): sequence(oid(SignatureAlgorithmOID.DSA_WITH_SHA256.dotted_string)),
}


def algorithm_for(key: PrivateKey, digest: str) -> bytes:
    """Return the AlgorithmIdentifier for a signature of this key."""
    return next(der for (kind, hashed), der in ALGORITHMS.items() if isinstance(key, kind) and hashed == digest)


def signed(fields: list[bytes], key: PrivateKey, digest: str = "sha256") -> bytes:
    """Make a certificate of the fields of its tbsCertificate; the one for the algorithm is set to fit."""
    algorithm = algorithm_for(key, digest)
    start = 1 if fields[0][0] == 0xA0 else 0
    tbs = sequence(*fields[: start + 1], algorithm, *fields[start + 2 :])
    match key:
        case rsa.RSAPrivateKey():
            signature = key.sign(tbs, padding.PKCS1v15(), _HASHES[digest])
        case ec.EllipticCurvePrivateKey():
            signature = key.sign(tbs, ec.ECDSA(_HASHES[digest]))
        case dsa.DSAPrivateKey():
            signature = key.sign(tbs, _HASHES[digest])
        case _:
            raise AssertionError(key)
    return sequence(tbs, algorithm, element(0x03, b"\0", signature))


def fields_of(certificate: bytes) -> list[bytes]:
    """Take the fields of the tbsCertificate apart: version, serial, algorithm, issuer, validity, subject, key, rest."""
    ((_, _, content),) = read_elements(certificate)
    _, _, tbs = read_elements(content)[0]
    return [whole for _, whole, _ in read_elements(tbs)]


def rebuilt(
    certificate: bytes, key: PrivateKey, edit: Callable[[list[bytes]], None] | None = None, digest: str = "sha256"
) -> bytes:
    """Edit the fields of a certificate in place and sign it again with the CA's `key`."""
    fields = fields_of(certificate)
    if edit:
        edit(fields)
    return signed(fields, key, digest)


def replaced(index: int, field: bytes) -> Callable[[list[bytes]], None]:
    """Return an edit for `rebuilt` that puts another field in the place of one."""

    def edit(fields: list[bytes]) -> None:
        fields[index] = field

    return edit


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    """Encode one extension around its value's DER."""
    flag = [element(0x01, b"\xff")] if critical else []
    return sequence(oid(dotted), *flag, element(0x04, value))


def extensions(*encoded: bytes) -> bytes:
    """Encode the tbsCertificate's field of extensions."""
    return element(0xA3, sequence(*encoded))
