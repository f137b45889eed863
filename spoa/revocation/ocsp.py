"""OCSP messages (RFC 6960): requests written, responses read. Whether a response is to be believed is judged elsewhere.

The octets that were signed, and the names in a response, are taken from its DER as they stand.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from spoa.identity import read_elements
from spoa.issuers import canonical_name
from spoa.oid import dotted
from spoa.revocation.certificates import Certified
from spoa.revocation.parsing import parsing
from spoa.revocation.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from spoa.issuers import CanonicalName

__all__ = ["HASHES", "MAX_RESPONSE_SIZE", "OcspResponse", "SingleResponse", "read_response", "write_request"]

MAX_RESPONSE_SIZE: Final = 64 * 1024  # octets; a usual answer has one or two thousand
MAX_SINGLES: Final = 64
MAX_NONCE_SIZE: Final = 128  # octets (RFC 9654 section 2.1)

#: What a CertID may be hashed with. It is a name to look up, and no signature: SHA-1 will do.
HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - see above
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_NONCE: Final = "1.3.6.1.5.5.7.48.1.2"
#: Extensions that change nothing about a status: nonce (compared elsewhere), CrlID, archiveCutoff, extended revocation,
#: reasonCode, invalidityDate, signed certificate timestamps.
_HARMLESS: Final = frozenset(
    {
        _NONCE,
        "1.3.6.1.5.5.7.48.1.3",
        "1.3.6.1.5.5.7.48.1.6",
        "1.3.6.1.5.5.7.48.1.9",
        "2.5.29.21",
        "2.5.29.24",
        "1.3.6.1.4.1.11129.2.4.5",
    }
)
_STATUSES: Final = {
    ocsp.OCSPCertStatus.GOOD: Status.GOOD,
    ocsp.OCSPCertStatus.REVOKED: Status.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN: Status.UNKNOWN,
}
_BY_NAME: Final = 0xA1
_BY_KEY: Final = 0xA2
_EXTENSIONS: Final = 0xA1
_OCTET_STRING: Final = 0x04
_BOOLEAN: Final = 0x01


class SingleResponse(NamedTuple):
    """What a response says of one certificate.

    Attributes:
        digest: by which `name_hash` and `key_hash` name the issuer: one of `HASHES`, or empty for any other.
        serial: the certificate's serial number.
        status: good, revoked or unknown.
        reason: of a revocation, by its RFC 5280 name.
        this_update, next_update: seconds since the epoch; the latter may be missing.
        has_unknown_critical: a critical extension is not known here.
    """

    digest: str
    name_hash: bytes
    key_hash: bytes
    serial: int
    status: Status
    reason: str
    this_update: int
    next_update: int | None
    has_unknown_critical: bool

    def is_about(self, certificate: Certified, issuer: Certified) -> bool:
        """Tell whether this is the answer for `certificate`, as its issuer is named and keyed (section 4.1.1)."""
        if self.digest not in HASHES or self.serial != certificate.serial:
            return False
        names = (certificate.parts.issuer, issuer.parts.subject)
        return self.key_hash == _hashed(self.digest, issuer.key_bits) and any(
            self.name_hash == _hashed(self.digest, name) for name in names
        )


class OcspResponse(NamedTuple):
    """An OCSP response.

    Attributes:
        error: why the responder gave no answer (`tryLater`, …); empty when it did, and all else is empty otherwise.
        responder_name, responder_key_hash: who says to have signed it; one of the two.
        produced_at: when, seconds since the epoch.
        singles: the answers.
        certificates: what is enclosed, as DER.
        nonce: as it was asked for, if at all.
        has_unknown_critical: a critical extension is not known here.
        tbs, algorithm, signature: the octets that were signed, the AlgorithmIdentifier as DER, the bit string's octets.
    """

    error: str
    responder_name: CanonicalName | None = None
    responder_key_hash: bytes | None = None
    produced_at: int = 0
    singles: tuple[SingleResponse, ...] = ()
    certificates: tuple[bytes, ...] = ()
    nonce: bytes | None = None
    has_unknown_critical: bool = False
    tbs: bytes = b""
    algorithm: bytes = b""
    signature: bytes = b""

    def is_from(self, signer: Certified) -> bool:
        """Tell whether the response names `signer` as its responder (section 4.2.2.3)."""
        if self.responder_name is not None:
            return self.responder_name == signer.subject
        return self.responder_key_hash == hashlib.sha1(signer.key_bits, usedforsecurity=False).digest()


def write_request(certificate: bytes, issuer: bytes, *, digest: str = "sha1", nonce: bytes | None = None) -> bytes:
    """Write the OCSP request (DER) for one certificate, given with its issuer's certificate as DER.

    `digest` is one of `HASHES`: responders with pre-signed answers know `sha1` only (RFC 5019 section 2.1.1). A nonce
    has 1 to 128 octets, and should have 32 (RFC 9654 section 2.1).

    Raises:
        CertificateError: a certificate can't be read.
        ValueError: the nonce has another size, or the serial number can't be asked for.
        KeyError: `digest` is none of `HASHES`.
    """
    asked, asker = Certified.from_der(certificate), Certified.from_der(issuer)
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        _hashed(digest, asked.parts.issuer), _hashed(digest, asker.key_bits), asked.serial, HASHES[digest]
    )
    if nonce is not None:
        if not 0 < len(nonce) <= MAX_NONCE_SIZE:
            raise ValueError(f"a nonce of {len(nonce)} octets")
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def _hashed(digest: str, value: bytes) -> bytes:
    return hashlib.new(digest, value, usedforsecurity=False).digest()


def read_response(der: bytes) -> OcspResponse:
    """Read an OCSP response of at most 64 KiB and 64 answers.

    Raises:
        ValueError: it is none.
    """
    if len(der) > MAX_RESPONSE_SIZE:
        raise ValueError(f"{len(der)} bytes, more than {MAX_RESPONSE_SIZE}")
    with parsing():
        parsed = ocsp.load_der_ocsp_response(der)
        if parsed.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return OcspResponse(error=parsed.response_status.name.lower())
        return _successful(der, parsed)


def _successful(der: bytes, parsed: ocsp.OCSPResponse) -> OcspResponse:
    ((_, _, response),) = read_elements(der)
    _, (_, _, explicit) = read_elements(response)
    ((_, _, typed),) = read_elements(explicit)
    _, (_, _, basic_der) = read_elements(typed)
    ((_, _, basic),) = read_elements(basic_der)
    (_, tbs, data), (_, algorithm, _), (_, _, signature), *enclosed = read_elements(basic)
    fields = read_elements(data)
    # DER leaves the version out where it is 1, the only one that there is.
    (kind, _, responder), _produced_at, (_, _, answers), *rest = fields
    if signature[:1] != b"\0" or kind not in {_BY_NAME, _BY_KEY}:
        raise ValueError("not a signed response")
    raw_singles = [content for _, _, content in read_elements(answers)]
    if len(raw_singles) > MAX_SINGLES:
        raise ValueError(f"more than {MAX_SINGLES} answers")
    extensions = _extensions(next((content for tag, _, content in rest if tag == _EXTENSIONS), b""))
    return OcspResponse(
        error="",
        responder_name=canonical_name(responder) if kind == _BY_NAME else None,
        responder_key_hash=_octets(responder) if kind == _BY_KEY else None,
        produced_at=_seconds(parsed.produced_at_utc),
        singles=tuple(_single(raw, single) for raw, single in zip(raw_singles, parsed.responses, strict=True)),
        certificates=tuple(
            certificate
            for _, _, wrapped in enclosed
            for _, _, sequence in read_elements(wrapped)
            for _, certificate, _ in read_elements(sequence)
        ),
        nonce=_nonce(extensions[_NONCE][1]) if _NONCE in extensions else None,
        has_unknown_critical=_has_unknown_critical(extensions),
        tbs=tbs,
        algorithm=algorithm,
        signature=signature[1:],
    )


def _single(raw: bytes, single: ocsp.OCSPSingleResponse) -> SingleResponse:
    try:
        digest = single.hash_algorithm.name
    except UnsupportedAlgorithm:
        digest = ""
    *_, (tag, _, last) = read_elements(raw)
    reason = single.revocation_reason
    return SingleResponse(
        digest=digest if digest in HASHES else "",
        name_hash=single.issuer_name_hash,
        key_hash=single.issuer_key_hash,
        serial=single.serial_number,
        status=_STATUSES[single.certificate_status],
        reason="unspecified" if reason is None else reason.value,
        this_update=_seconds(single.this_update_utc),
        next_update=None if single.next_update_utc is None else _seconds(single.next_update_utc),
        has_unknown_critical=_has_unknown_critical(_extensions(last if tag == _EXTENSIONS else b"")),
    )


def _extensions(explicit: bytes) -> dict[str, tuple[bool, bytes]]:
    """Read extensions, given what stands in their explicit tag: dotted OID → (critical, value)."""
    found: dict[str, tuple[bool, bytes]] = {}
    for _, _, sequence in read_elements(explicit):
        for _, _, extension in read_elements(sequence):
            (_, _, oid), *flags, (_, _, value) = read_elements(extension)
            kind = dotted(oid)
            if kind in found:
                raise ValueError(f"extension {kind} stands there twice")
            found[kind] = any(tag == _BOOLEAN and truth != b"\0" for tag, _, truth in flags), value
    return found


def _has_unknown_critical(extensions: Mapping[str, tuple[bool, bytes]]) -> bool:
    return any(critical and kind not in _HARMLESS for kind, (critical, _) in extensions.items())


def _nonce(value: bytes) -> bytes:
    try:
        return _octets(value)
    except ValueError:
        return value  # some responders wrap nothing around it


def _octets(der: bytes) -> bytes:
    ((tag, _, content),) = read_elements(der)
    if tag != _OCTET_STRING:
        raise ValueError("not an octet string")
    return content


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
