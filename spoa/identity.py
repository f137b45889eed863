"""What a certificate says, read once from its DER.

Nothing here speaks of authority: HAProxy verified the chain, `spoa.issuers` says whose key signed, and whether the
clock lies within the validity is for the judge. OpenSSL, and so HAProxy, lets certificates pass that a strict parser
refuses, some of them only when a particular field is looked at. Every field is therefore read here, each behind its own
guard, so that whoever holds a `Certificate` can no longer be surprised by one.
"""

from __future__ import annotations

import hashlib
import ipaddress
import sys
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from spoa.cache import LONGEST, BoundedCache
from spoa.exceptions import CertificateError
from spoa.facts import ABSENT, Certificate, Missing
from spoa.plaincertificate import cut_certificate, plain_key, plain_serial, plain_validity
from spoa.plainparts import (
    AlternativeNames,
    cut_extensions,
    plain_alternative_names,
    plain_subject,
    plain_subject_from_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "MAX_DER_SIZE",
    "MAX_GENERAL_NAMES",
    "CertificateParts",
    "check_loadable",
    "fingerprints",
    "identity_from_der",
    "loaded",
    "parts_from_der",
    "read_elements",
    "subject_from_text",
]

T = TypeVar("T")

MAX_DER_SIZE: Final = 64 * 1024  # bytes; HAProxy's own buffers end far below
MAX_GENERAL_NAMES: Final = 1000  # of all types together; real certificates have a dozen

_SEQUENCE: Final = 0x30
_EXPLICIT_VERSION: Final = 0xA0
_EXPLICIT_EXTENSIONS: Final = 0xA3
_LONG_LENGTH: Final = 0x80
_MULTI_BYTE_TAG: Final = 0x1F
_MAX_LENGTH_OCTETS: Final = 4

_MIN_RSA_EXPONENT: Final = 3  # RFC 8017 section 3.1
_EDWARDS_BITS: Final = {"ED25519": 256, "ED448": 456}


class CertificateParts(NamedTuple):
    """The certificate's own bytes, cut out but not interpreted (RFC 5280 section 4.1).

    A parser that writes a value again may write it differently, and a signature covers the bytes that were signed.
    Every field but `signature` is a whole DER element, tag and length included; `signature` is the bit string's bytes.
    `extensions` is the content of their SEQUENCE, empty without any. `is_plain` tells that the certificate is of the
    usual form, as far as that shows outside of these parts.
    """

    tbs: bytes
    tbs_signature_algorithm: bytes
    issuer: bytes
    subject: bytes
    spki: bytes
    signature_algorithm: bytes
    signature: bytes
    extensions: bytes
    serial: bytes
    validity: bytes
    is_plain: bool

    def extension(self, oid: bytes) -> bytes:
        """Return an extension as it stands, given its type as a whole DER element; empty where there is none.

        Raises:
            ValueError: the extensions can't be cut.
        """
        for _, whole, content in read_elements(self.extensions):
            if content.startswith(oid):
                return whole
        return b""


def fingerprints(der: bytes) -> tuple[bytes, bytes]:
    """Return the SHA-256 (32 bytes) and the SHA-1 (20 bytes) of a certificate, readable or not."""
    return hashlib.sha256(der).digest(), hashlib.sha1(der, usedforsecurity=False).digest()


def read_elements(der: bytes) -> list[tuple[int, bytes, bytes]]:
    """Return (tag, whole element, content) of the DER elements that stand one after the other in `der`.

    Single-byte tags and definite lengths of at most four octets only: all that X.509 needs below 64 KiB. All of them at
    once: whoever takes two of a generator compiled to C does not see that a third one raised.

    Raises:
        ValueError: an element is cut off or not encoded so.
    """
    found: list[tuple[int, bytes, bytes]] = []
    position, end = 0, len(der)
    while position < end:
        content = position + 2
        if content > end or der[position] & _MULTI_BYTE_TAG == _MULTI_BYTE_TAG:
            raise ValueError(f"no DER element at offset {position}")
        length = der[position + 1]
        if length >= _LONG_LENGTH:
            octets = length - _LONG_LENGTH
            if not 0 < octets <= _MAX_LENGTH_OCTETS:
                raise ValueError(f"no definite length at offset {position}")
            length = int.from_bytes(der[content : content + octets], "big")
            content += octets
        stop = content + length
        if stop > end:
            raise ValueError(f"the element at offset {position} is cut off")
        found.append((der[position], der[position:stop], der[content:stop]))
        position = stop
    return found


# Trick: who signed a certificate, what it says and whether it is revoked is asked one after the other; the last few
# are kept taken apart, with all that the parser remembers. Benchmark: benchmarks/hotpath.py, certificates never seen.
_LAST: Final = 8
# Trick: clients are many and issuers few. Benchmark: the same.
_issuer_texts: Final[BoundedCache[bytes, str]] = BoundedCache(32)
_signature_hashes: Final[BoundedCache[bytes, str]] = BoundedCache(32)
#: Certificates that were read just now: the parser loaded them, or would.
_just_read: Final[BoundedCache[bytes, bool]] = BoundedCache(_LAST)


@lru_cache(_LAST)
def loaded(der: bytes) -> x509.Certificate:
    """Return the certificate as the parser has it, which reads its fields only when asked for them.

    Raises:
        Exception: it can't be read; the parser's failures share no class.
    """
    return x509.load_der_x509_certificate(der)


def check_loadable(der: bytes) -> None:
    """Have the parser load a certificate, unless `identity_from_der` has just read it.

    Not for several threads at once, as `identity_from_der`.

    Raises:
        Exception: it can't be loaded.
    """
    if _just_read.get(der) is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded(der)


def parts_from_der(der: bytes) -> CertificateParts:
    """Cut a certificate into its parts without judging any of them.

    Raises:
        CertificateError: at stage `trailing` for bytes after the certificate, at `load` for any other shape.
    """
    if not isinstance(der, bytes):  # those who embed this may have something else; it can't be remembered as its bytes
        raise CertificateError("load", f"a {type(der).__name__}, not bytes")
    return _parts_from_der(der)


@lru_cache(_LAST)
def _parts_from_der(der: bytes) -> CertificateParts:
    cut = cut_certificate(der)
    if cut is not None:
        return CertificateParts(*cut, is_plain=True)
    try:
        outer = read_elements(der)
        tag, _, content = outer[0]
        (_, tbs, tbs_content), (_, algorithm, _), (_, _, signature) = read_elements(content)
        fields = read_elements(tbs_content)
        start = 1 if fields[0][0] == _EXPLICIT_VERSION else 0  # RFC 5280 section 4.1.2.1: left out for version 1
        serial, inner, issuer, validity, subject, spki = [one[1] for one in fields[start : start + 6]]
        last, _, extensions = fields[-1]
        ((_, _, extensions),) = read_elements(extensions) if last == _EXPLICIT_EXTENSIONS else ((0, b"", b""),)
    except (ValueError, IndexError) as error:
        raise CertificateError("load", f"not the shape of a certificate: {error}") from error
    if len(outer) > 1:
        raise CertificateError("trailing", "bytes follow the certificate")
    if tag != _SEQUENCE:
        raise CertificateError("load", "not a DER sequence")
    if signature[:1] != b"\0":
        raise CertificateError("load", "the signature is not a whole number of octets")
    return CertificateParts(
        tbs, inner, issuer, subject, spki, algorithm, signature[1:], extensions, serial, validity, is_plain=False
    )


def identity_from_der(der: bytes) -> Certificate:
    """Read everything that a judgement may ask of a certificate.

    Costs about a tenth of a millisecond; the caller remembers the result by the DER. Not for several threads at once:
    the parser's warnings are silenced process-wide while it runs.

    Raises:
        CertificateError: at the first stage that could not be read: `size` (more than 64 KiB), `load`, `trailing`,
            `version`, `serial`, `subject`, `issuer`, `validity`, `public_key`, `signature_algorithm`, `extensions` or
            `subject_alternative_name`. Such a certificate is refused; only its fingerprints are known.
    """
    if len(der) > MAX_DER_SIZE:
        raise CertificateError("size", f"{len(der)} bytes, more than {MAX_DER_SIZE}")
    parts = parts_from_der(der)
    said = _plain(parts) if parts.is_plain else None
    if said is None:
        with warnings.catch_warnings():
            # What the parser merely deprecates (serials below 1, over-long names) is for policies to refuse.
            warnings.simplefilter("ignore")
            said = _parsed(der, parts)
    _just_read.put(der, True)  # noqa: FBT003 -- that it is there is all
    sha256, sha1 = fingerprints(der)
    subject, subject_text = said.subject
    key_type, key_bits = said.key
    not_before, not_after = said.validity
    terms, names = said.terms_and_names
    return Certificate(
        sha256=sha256,
        sha1=sha1,
        spki_sha256=hashlib.sha256(parts.spki).digest(),
        serial=said.serial,
        subject=subject,
        dns_san=tuple(names.dns),
        uri_san=tuple(names.uri),
        email_san=tuple(names.email),
        ip_san=tuple(names.ip),
        eku=terms.eku,
        policy_oids=terms.policy_oids,
        is_ca=terms.is_ca,
        has_digital_signature=terms.has_digital_signature,
        key_type=key_type,
        key_bits=key_bits,
        signature_hash=said.signature_hash,
        not_before=not_before,
        not_after=not_after,
        issuer_text=said.issuer_text,
        subject_text=subject_text,
    )


class _Terms(NamedTuple):
    """What a certificate may be used for; clients of one CA share it, while their names differ."""

    eku: tuple[str, ...] | Missing
    policy_oids: tuple[str, ...] | Missing
    is_ca: bool
    has_digital_signature: bool


class _Said(NamedTuple):
    """What a certificate says, whoever read it."""

    subject: tuple[dict[str, tuple[str, ...]], str]
    key: tuple[str, int]
    validity: tuple[int, int]
    terms_and_names: tuple[_Terms, AlternativeNames]
    serial: int
    signature_hash: str
    issuer_text: str


# Trick: a certificate of the usual form says nothing that takes a parser, but for what earlier ones of its CA said too.
# Benchmark: benchmarks/hotpath.py, certificates never seen.
def _plain(parts: CertificateParts) -> _Said | None:
    """Return what a certificate of the usual form says; None where the parser is to be asked, which may refuse it."""
    algorithm = parts.signature_algorithm
    signature_hash = _signature_hashes.get(algorithm)
    issuer_text = _issuer_texts.get(parts.issuer)
    if signature_hash is None or issuer_text is None or parts.tbs_signature_algorithm != algorithm:
        return None
    terms_and_names = _known_terms_and_names(parts.extensions)
    if terms_and_names is None:
        return None
    subject = plain_subject(parts.subject)
    key = plain_key(parts.spki)
    validity = plain_validity(parts.validity)
    serial = plain_serial(parts.serial)
    if subject is None or key is None or validity is None or serial is None:
        return None
    return _Said(subject, key, validity, terms_and_names, serial, signature_hash, issuer_text)


def _parsed(der: bytes, parts: CertificateParts) -> _Said:
    certificate = _load(der)
    return _Said(
        subject=plain_subject(parts.subject) or _guarded("subject", _subject, certificate),
        key=_guarded("public_key", _key, certificate),
        validity=_guarded("validity", _validity, certificate),
        terms_and_names=_terms_and_names(certificate, parts.extensions),
        serial=_guarded("serial", lambda: certificate.serial_number),
        signature_hash=_guarded("signature_algorithm", _signature_hash, parts.signature_algorithm, certificate),
        issuer_text=_guarded("issuer", _issuer_text, parts.issuer, certificate),
    )


def _guarded(stage: str, read: Callable[..., T], *arguments: object) -> T:
    try:
        return read(*arguments)
    except CertificateError:
        raise
    except Exception as error:  # the parser's failures share no class, and each must deny
        raise CertificateError(stage, f"{type(error).__name__}: {error}") from error


def _load(der: bytes) -> x509.Certificate:
    try:
        return loaded(der)
    except x509.InvalidVersion as error:
        raise CertificateError("version", str(error)) from error
    except Exception as error:
        raise CertificateError("load", f"{type(error).__name__}: {error}") from error


def _subject(certificate: x509.Certificate) -> tuple[dict[str, tuple[str, ...]], str]:
    subject = certificate.subject
    values: dict[str, tuple[str, ...]] = {}
    for attribute in subject:
        value = attribute.value
        if not isinstance(value, str):
            raise CertificateError("subject", f"{attribute.oid.dotted_string} holds bits, not text")
        oid = _type_name(attribute.oid)
        values[oid] = (*values.get(oid, ()), value)
    return values, subject.rfc4514_string()


def _type_name(oid: x509.ObjectIdentifier) -> str:
    """Return a dotted OID; the same few stand in thousands of certificates, each of which would keep its own."""
    return sys.intern(oid.dotted_string)


def subject_from_text(text: str) -> dict[str, tuple[str, ...]]:
    """Return the attributes of a subject as logs write it (RFC 4514), by dotted OID; for explanations, never to judge.

    Raises:
        ValueError: the text is no name.
    """
    values = plain_subject_from_text(text)
    if values is not None:
        return values
    values = {}
    try:
        name = x509.Name.from_rfc4514_string(text) if text else ()
    except ValueError as error:
        raise ValueError("no name as RFC 4514 writes it") from error
    for attribute in name:
        oid = attribute.oid.dotted_string
        values[oid] = (*values.get(oid, ()), str(attribute.value))
    return values


def _issuer_text(name: bytes, certificate: x509.Certificate) -> str:
    text = _issuer_texts.get(name)
    if text is None:
        text = certificate.issuer.rfc4514_string()
        _issuer_texts.put(name, text)
    return text


def _validity(certificate: x509.Certificate) -> tuple[int, int]:
    return int(certificate.not_valid_before_utc.timestamp()), int(certificate.not_valid_after_utc.timestamp())


def _key(certificate: x509.Certificate) -> tuple[str, int]:
    key = certificate.public_key()
    match key:
        case rsa.RSAPublicKey():
            _check_exponent(key.public_numbers().e)
            return "RSA", key.key_size
        case ec.EllipticCurvePublicKey():
            return "EC", key.curve.key_size
        case ed25519.Ed25519PublicKey():
            return "ED25519", _EDWARDS_BITS["ED25519"]
        case ed448.Ed448PublicKey():
            return "ED448", _EDWARDS_BITS["ED448"]
        case dsa.DSAPublicKey():
            return "DSA", key.key_size
        case _:
            raise CertificateError("public_key", f"a {type(key).__name__} signs nothing that we judge")


def _check_exponent(exponent: int) -> None:
    # With an exponent of 1 a message is its own signature. Releases of the parser differ in refusing it.
    if exponent < _MIN_RSA_EXPONENT:
        raise CertificateError("public_key", f"an RSA exponent of {exponent}")


def _signature_hash(algorithm: bytes, certificate: x509.Certificate) -> str:
    digest = certificate.signature_hash_algorithm
    name = "" if digest is None else digest.name
    if len(algorithm) <= LONGEST:
        _signature_hashes.put(algorithm, name)
    return name


# Trick: the parser reads each extension anew, and clients of one CA have the same but for two. Benchmark:
# benchmarks/hotpath.py, certificates never seen.
_terms: Final[BoundedCache[bytes, _Terms]] = BoundedCache(64)


def _terms_and_names(certificate: x509.Certificate, encoded: bytes) -> tuple[_Terms, AlternativeNames]:
    known = _known_terms_and_names(encoded) if certificate.version is x509.Version.v3 else None
    if known is not None:
        return known
    extensions = _extensions(certificate)
    names = _guarded("subject_alternative_name", _alternative_names, extensions.get(x509.SubjectAlternativeName))
    terms = _terms_of(extensions)
    cut = cut_extensions(encoded)
    if cut is not None and len(cut[0]) <= LONGEST:
        _terms.put(cut[0], terms)
    return terms, names


def _known_terms_and_names(encoded: bytes) -> tuple[_Terms, AlternativeNames] | None:
    """Return what extensions say, where the parser read all but the names of an earlier certificate's, else None."""
    cut = cut_extensions(encoded)
    if cut is None:
        return None
    terms = _terms.get(cut[0])
    names = plain_alternative_names(cut[1]) if cut[1] else AlternativeNames([], [], [], [])
    return None if terms is None or names is None else (terms, names)


def _terms_of(extensions: Mapping[type[x509.ExtensionType], x509.ExtensionType]) -> _Terms:
    eku = extensions.get(x509.ExtendedKeyUsage)
    policies = extensions.get(x509.CertificatePolicies)
    constraints = extensions.get(x509.BasicConstraints)
    usage = extensions.get(x509.KeyUsage)
    return _Terms(
        eku=tuple(map(_type_name, eku)) if isinstance(eku, x509.ExtendedKeyUsage) else ABSENT,
        policy_oids=(
            tuple(_type_name(policy.policy_identifier) for policy in policies)
            if isinstance(policies, x509.CertificatePolicies)
            else ABSENT
        ),
        is_ca=isinstance(constraints, x509.BasicConstraints) and constraints.ca,
        has_digital_signature=not isinstance(usage, x509.KeyUsage) or usage.digital_signature,
    )


def _extensions(certificate: x509.Certificate) -> dict[type[x509.ExtensionType], x509.ExtensionType]:
    extensions = _guarded("extensions", lambda: {type(item.value): item.value for item in certificate.extensions})
    if extensions and certificate.version is not x509.Version.v3:
        # RFC 5280 section 4.1.2.9: "This field MUST only appear if the version is 3". Readers differ in what they
        # make of it otherwise, and a restriction that one of them overlooks is none.
        raise CertificateError("version", "extensions in a certificate of version 1")
    return extensions


def _alternative_names(extension: x509.SubjectAlternativeName | None) -> AlternativeNames:
    names = AlternativeNames([], [], [], [])
    texts = {x509.DNSName: names.dns, x509.UniformResourceIdentifier: names.uri, x509.RFC822Name: names.email}
    for count, name in enumerate(extension or (), start=1):
        if count > MAX_GENERAL_NAMES:
            raise CertificateError("subject_alternative_name", f"more than {MAX_GENERAL_NAMES} names")
        if isinstance(name, x509.IPAddress):
            names.ip.append(_packed(name.value))
        elif type(name) in texts:
            texts[type(name)].append(_ascii(name.value))
        # directoryName, otherName and registeredID are names that no policy key reads.
    return names


def _packed(value: object) -> bytes:
    # Eight and 32 octets are an address with its mask, which belongs into name constraints (section 4.2.1.10).
    if not isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        raise CertificateError("subject_alternative_name", f"{value} is no single address")
    return value.packed


def _ascii(value: str) -> str:
    # RFC 5280 section 4.2.1.6: dNSName, rfc822Name and URI are IA5String.
    if not value.isascii():
        raise CertificateError("subject_alternative_name", f"{value!a} is not ASCII")
    return value
