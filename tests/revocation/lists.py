"""CRLs and OCSP responses with whatever a test wants in them, the forbidden included."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from spoa.identity import read_elements
from spoa.pki import digest_for, moment
from spoa.revocation import check
from tests.der import algorithm_for, element, sequence
from tests.pki import CA, DAY, HOUR, Issued

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spoa.pki import PrivateKey
    from spoa.revocation import Result

__all__ = [
    "FUTURE",
    "NOW",
    "UNKNOWN",
    "Entry",
    "answer",
    "asked",
    "at",
    "crl",
    "idp",
    "instant",
    "named",
    "point",
    "resigned",
    "resigned_response",
    "run",
    "said",
    "uri",
    "with_points",
]

NOW: Final = 1_795_000_000  # 2026-11-18
FUTURE: Final = NOW + DAY
UNKNOWN: Final = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
_HASHES = {"md5": hashes.MD5(), "sha1": hashes.SHA1(), "sha256": hashes.SHA256()}


def instant(seconds: int = NOW) -> dt.datetime:
    """Return the time as `check` takes it."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def asked(subject: Issued | bytes, ca: CA, *crls: bytes, now: int = NOW, **arguments: Any) -> Result:
    """Check what a CA issued by its CRLs."""
    der = subject if isinstance(subject, bytes) else subject.der
    return check(der, (), **{"anchors": [ca.der], "crls": crls, "now": instant(now), "depth": "leaf", **arguments})


class Entry(NamedTuple):
    """An entry of a CRL."""

    serial: int
    reason: str = ""
    at: int = NOW - DAY
    issuer: x509.Name | None = None
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ()

    def build(self) -> x509.RevokedCertificate:
        """Build it."""
        builder = x509.RevokedCertificateBuilder().serial_number(self.serial).revocation_date(moment(self.at))
        if self.reason:
            builder = builder.add_extension(x509.CRLReason(x509.ReasonFlags(self.reason)), critical=False)
        if self.issuer:
            names = x509.CertificateIssuer([x509.DirectoryName(self.issuer)])
            builder = builder.add_extension(names, critical=True)
        for extension, critical in self.extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.build()


def at(subject: Issued, reason: str = "", **fields: Any) -> Entry:
    """Return the entry of a certificate."""
    return Entry(subject.certificate.serial_number, reason, **fields)


def crl(  # noqa: PLR0913 - a field each
    ca: CA | Issued,
    *entries: Entry,
    number: int | None = 1,
    base: int | None = None,
    this_update: int = NOW - HOUR,
    next_update: int = FUTURE,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    issuer: x509.Name | None = None,
    aki: bool = True,
    rsa_padding: padding.PSS | None = None,
) -> bytes:
    """Sign a CRL; with `base` a delta."""
    issued = ca.authority.issued if isinstance(ca, CA) else ca
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer or issued.certificate.subject)
        .last_update(moment(this_update))
        .next_update(moment(next_update))
    )
    if aki:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issued.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    if base is not None:
        builder = builder.add_extension(x509.DeltaCRLIndicator(base), critical=True)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    for entry in entries:
        builder = builder.add_revoked_certificate(entry.build())
    signed = builder.sign(issued.key, digest_for(issued.key), rsa_padding=rsa_padding)
    return signed.public_bytes(Encoding.DER)


def resigned(
    der: bytes, key: PrivateKey, edit: Callable[[list[bytes]], None] | None = None, digest: str = "sha256"
) -> bytes:
    """Edit the fields of a CRL's tbsCertList and sign it again."""
    ((_, _, content),) = read_elements(der)
    _, _, tbs = read_elements(content)[0]
    fields = [whole for _, whole, _ in read_elements(tbs)]
    algorithm = algorithm_for(key, digest)
    start = 1 if fields[0][0] == 0x02 else 0
    fields[start] = algorithm
    if edit:
        edit(fields)
    return _signed(sequence(*fields), algorithm, key, digest)


def _signed(tbs: bytes, algorithm: bytes, key: PrivateKey, digest: str, *rest: bytes) -> bytes:
    match key:
        case rsa.RSAPrivateKey():
            signature = key.sign(tbs, padding.PKCS1v15(), _HASHES[digest])
        case ec.EllipticCurvePrivateKey():
            signature = key.sign(tbs, ec.ECDSA(_HASHES[digest]))
        case _:
            raise AssertionError(key)
    return sequence(tbs, algorithm, element(0x03, b"\0", signature), *rest)


def uri(value: str) -> x509.UniformResourceIdentifier:
    """Return a URI as a general name."""
    return x509.UniformResourceIdentifier(value)


def named(common_name: str) -> x509.Name:
    """Return a name of one attribute."""
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def idp(**fields: Any) -> tuple[x509.IssuingDistributionPoint, bool]:
    """Return an issuing distribution point; what isn't given is absent."""
    given: dict[str, Any] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**given, **fields}), True


def answer(  # noqa: PLR0913 - a field each
    subject: Issued,
    ca: CA,
    status: str = "GOOD",
    *,
    signer: Issued | None = None,
    enclosed: Sequence[Issued] | None = None,
    this_update: int = NOW - HOUR,
    next_update: int | None = FUTURE,
    reason: str | None = None,
    by_name: bool = False,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    issuer: CA | None = None,
    algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    """Sign an OCSP response about one certificate, as the CA or as `signer`."""
    by = signer or ca.authority.issued
    is_revoked = status == "REVOKED"
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=subject.certificate,
        issuer=(issuer or ca).authority.issued.certificate,
        algorithm=algorithm or hashes.SHA1(),
        cert_status=ocsp.OCSPCertStatus[status],
        this_update=moment(this_update),
        next_update=None if next_update is None else moment(next_update),
        revocation_time=moment(NOW - DAY) if is_revoked else None,
        revocation_reason=x509.ReasonFlags(reason) if reason else None,
    )
    encoding = ocsp.OCSPResponderEncoding.NAME if by_name else ocsp.OCSPResponderEncoding.HASH
    builder = builder.responder_id(encoding, by.certificate)
    if enclosed is None:
        enclosed = [signer] if signer else []
    if enclosed:
        builder = builder.certificates([item.certificate for item in enclosed])
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    response = builder.sign(by.key, digest_for(by.key)).public_bytes(Encoding.DER)
    # The builder takes the time of signing from the clock, and these tests have their own.
    return resigned_response(response, by.key, produced_at=this_update)


def resigned_response(
    der: bytes,
    key: PrivateKey,
    edit: Callable[[list[bytes]], None] | None = None,
    *,
    produced_at: int | None = None,
    digest: str = "sha256",
) -> bytes:
    """Edit the fields of a response's tbsResponseData and sign it again; with the given time of signing."""
    ((_, _, response),) = read_elements(der)
    (_, status, _), (_, _, explicit) = read_elements(response)
    ((_, _, typed),) = read_elements(explicit)
    (_, kind, _), (_, _, octets) = read_elements(typed)
    ((_, _, basic),) = read_elements(octets)
    (_, _, data), _, _, *certificates = read_elements(basic)
    fields = [whole for _, whole, _ in read_elements(data)]
    if produced_at is not None:
        fields[1] = element(0x18, instant(produced_at).strftime("%Y%m%d%H%M%SZ").encode())
    if edit:
        edit(fields)
    rest = [whole for _, whole, _ in certificates]
    signed = _signed(sequence(*fields), algorithm_for(key, digest), key, digest, *rest)
    return sequence(status, element(0xA0, sequence(kind, element(0x04, signed))))


def with_points(ca: CA, *points: x509.DistributionPoint) -> Issued:
    """Issue a certificate with these distribution points."""
    return ca.issue("pointed", extensions=((x509.CRLDistributionPoints(points), False),))


def point(
    full_name: list[x509.GeneralName] | None = None,
    relative_name: x509.RelativeDistinguishedName | None = None,
    reasons: frozenset[x509.ReasonFlags] | None = None,
    crl_issuer: list[x509.GeneralName] | None = None,
) -> x509.DistributionPoint:
    """Return a distribution point; what isn't given is absent."""
    return x509.DistributionPoint(full_name, relative_name, reasons, crl_issuer)


def said(result: Result) -> tuple[str, str]:
    """Return status and reason."""
    return result.status.value, str(result.reason)


def run(subject: Issued, crls: tuple[bytes, ...], **arguments: object) -> Result:
    """Check by the arguments of a table; the time and the depth have defaults."""
    issuers = arguments.pop("issuers")
    given = {"now": instant(), "depth": "leaf", **arguments}
    return check(subject.der, issuers, crls=crls, **given)  # type: ignore[arg-type]  # a table of arguments
