"""What others sign: certificates, revocation lists, OCSP responses.

The first byte of an input says who signs the rest: nobody, so that it stands as it is; the authority, so that a hostile
but genuine signer is tried too; somebody else, whom nothing may be believed.
"""

from __future__ import annotations

import contextlib
import warnings
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from spoa.exceptions import CertificateError
from spoa.facts import ABSENT, Request
from spoa.identity import identity_from_der
from spoa.issuers import canonical_name
from spoa.revocation import check
from spoa.revocation.certificates import Certified
from spoa.revocation.crl import read_crl
from spoa.revocation.ocsp import read_response
from tests import der
from tests.fuzz.authority import ALICE, AUTHORITY, BOB, OTHER, RESPONDER, signed, unremembering
from tests.fuzz.structure import edited
from tests.fuzz.target import Target
from tests.policies import HEAD, NOW, policy
from tests.revocation.lists import Entry, crl, instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spoa.facts import Certificate
    from spoa.pki import PrivateKey
    from spoa.policy.decision import Decision
    from spoa.revocation import Result
    from spoa.revocation.crl import Crl
    from spoa.revocation.ocsp import OcspResponse

__all__ = ["CERTIFICATES", "NAMES", "RESPONSES", "REVOCATION_LISTS", "response"]

_RAW, _BY_AUTHORITY, _BY_RESPONDER, _BY_OTHER = range(4)
_JUDGE: Final = policy(
    HEAD + "identities: {alice: {issuer: corp, cn: alice}}\nrules: [{id: alice, effect: allow, who: alice}]",
    authorities={"corp": [AUTHORITY.issued.der]},
)


def _split(data: bytes) -> tuple[int, bytes]:
    return (data[0] % 4, data[1:]) if data else (_RAW, data)


def _decided(certificate: bytes) -> Decision:
    asked = Request(cert=certificate, used=True, verify=0, method="GET", path="/")
    return unremembering(_JUDGE).judge(asked, NOW).decision


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Ask the parser, whatever it deprecates about what it is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@_without_warnings()
def _is_signed_by_authority(certificate: bytes) -> bool:
    """Tell whose key signed it; how names are compared, which the parser does to the letter, is not asked here."""
    key = AUTHORITY.issued.certificate.public_key()
    assert isinstance(key, ed25519.Ed25519PublicKey)
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        key.verify(parsed.signature, parsed.tbs_certificate_bytes)
    except (ValueError, InvalidSignature):
        return False
    return True


def _read_certificate(data: bytes) -> None:
    """Nobody is allowed with a certificate that the authority did not sign."""
    kind, content = _split(data)
    certificate = content if kind == _RAW else signed(content, OTHER if kind == _BY_OTHER else AUTHORITY)
    decision = _decided(certificate)
    assert decision.verdict == "deny" or _is_signed_by_authority(certificate)
    with contextlib.suppress(CertificateError):
        Certified.from_der(certificate)
    _is_as_parsed(identity_from_der(certificate), certificate)


@_without_warnings()
def _is_as_parsed(read: Certificate, certificate: bytes) -> None:
    """What was read without the parser, some of it for another certificate before, is what the parser says."""
    parsed = x509.load_der_x509_certificate(certificate)
    said = {type(one.value): one.value for one in parsed.extensions}
    names, eku = said.get(x509.SubjectAlternativeName), said.get(x509.ExtendedKeyUsage)
    constraints, usage = said.get(x509.BasicConstraints), said.get(x509.KeyUsage)
    assert read.subject_text == parsed.subject.rfc4514_string()
    kinds = (x509.DNSName, x509.UniformResourceIdentifier, x509.RFC822Name)
    for kind, found in zip(kinds, (read.dns_san, read.uri_san, read.email_san), strict=True):
        assert list(found) == [one.value for one in names or () if isinstance(one, kind)]
    assert [ip_address(one) for one in read.ip_san] == [one.value for one in names or () if type(one) is x509.IPAddress]
    assert read.eku == (ABSENT if eku is None else tuple(one.dotted_string for one in eku))
    assert read.is_ca == (constraints is not None and constraints.ca)
    assert read.has_digital_signature == (usage is None or usage.digital_signature)


def _read_name(data: bytes) -> None:
    """A name is folded or refused."""
    canonical_name(data)


def _result(**evidence: list[bytes]) -> Result:
    return check(ALICE.der, [AUTHORITY.issued.der], now=instant(), **evidence)  # type: ignore[arg-type] # lists of bytes


def _complete(number: int, *entries: Entry) -> bytes:
    """Return a list of the authority; the same on every machine."""
    return crl(AUTHORITY.issued, *entries, number=number, aki=False)


_HOLD: Final = Entry(ALICE.certificate.serial_number, "certificateHold")
#: What else is known when a list comes: a hold that its delta may lift, and a list by which nobody is revoked.
_BESIDE: Final = (_complete(1, _HOLD), _complete(2))
_WITHOUT: Final = tuple(check(ALICE.der, [AUTHORITY.issued.der], now=instant(), crls=[one]) for one in _BESIDE)


def _read_list(data: bytes) -> None:
    """A list says nothing that the authority did not sign, and nothing to others then."""
    kind, content = _split(data)
    offered = content if kind == _RAW else signed(content, OTHER if kind == _BY_OTHER else AUTHORITY)
    result = _result(crls=[offered])
    if result.status in {"good", "revoked"}:
        assert kind != _BY_OTHER
        assert x509.load_der_x509_crl(offered).is_signature_valid(AUTHORITY.issued.certificate.public_key())  # type: ignore[arg-type] # Ed25519
    for beside, without in zip(_BESIDE, _WITHOUT, strict=True):
        together = _result(crls=[offered, beside])
        assert together.status == without.status or kind != _BY_OTHER
        assert together.status == "revoked" or result.status != "revoked" or result.is_on_hold
    _agrees(read_crl(offered), x509.load_der_x509_crl(offered))


@_without_warnings()
def _agrees(found: Crl, expected: x509.CertificateRevocationList) -> None:
    """Every entry that the strict parser sees was scanned, under the issuer that its extensions name or inherit."""
    assert len(found.index) == len(expected)
    number, seen = 0, set()
    for entry in expected:
        try:
            issuers = [item.value for item in entry.extensions if isinstance(item.value, x509.CertificateIssuer)]
        except (ValueError, x509.DuplicateExtension):
            return  # it can't tell whose entries follow
        if issuers:
            names = tuple(name.value.public_bytes() for name in issuers[-1] if isinstance(name, x509.DirectoryName))
            number = 1 + found.index.issuers.index(names)
        scanned = found.index.lookup(entry.serial_number, number)
        assert scanned is not None, entry
        seen.add((number, entry.serial_number))
        if len(seen) == len(expected):  # none stands twice, of which the worst would be told
            assert scanned.revoked_at == int(entry.revocation_date_utc.timestamp())


def response(basic: bytes) -> bytes:
    """Return a successful OCSPResponse around a BasicOCSPResponse (RFC 6960 section 4.2.1)."""
    typed = der.sequence(der.oid("1.3.6.1.5.5.7.48.1.1"), der.element(0x04, basic))
    return der.sequence(der.element(0x0A, b"\0"), der.element(0xA0, typed))


def _enclosed(kind: int, content: bytes) -> bytes:
    if kind == _BY_RESPONDER:
        return response(signed(content, RESPONDER, der.element(0xA0, der.sequence(RESPONDER.der))))
    return response(signed(content, OTHER if kind == _BY_OTHER else AUTHORITY))


def _signed_by(key: PrivateKey, found: OcspResponse) -> bool:
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    try:
        key.public_key().verify(found.signature, found.tbs)
    except InvalidSignature:
        return False
    return True


def _read_response(data: bytes) -> None:
    """A response says nothing that neither the authority nor its responder signed."""
    kind, content = _split(data)
    answer = content if kind == _RAW else _enclosed(kind, content)
    result = _result(ocsp_responses=[answer])
    found = read_response(answer)
    if result.status in {"good", "revoked", "unknown"}:
        assert kind != _BY_OTHER
        assert any(_signed_by(signer.key, found) for signer in (AUTHORITY.issued, RESPONDER))
    for single in found.singles:
        assert not single.is_about(Certified.from_der(BOB.der), Certified.from_der(ALICE.der))


_OIDS: Final = tuple(
    map(der.oid, ("2.5.4.3", "2.5.29.17", "2.5.29.28", "2.5.29.31", "2.5.29.46", "1.3.6.1.5.5.7.48.1.2", "1.3.101.112"))
)


def _target(
    name: str,
    read: Callable[[bytes], None],
    error: type[Exception],
    longest: int = 2048,
    edit: Callable[[bytes, int, int], bytes | None] | None = None,
) -> Target:
    return Target(name, read, (error,), longest=longest, words=_OIDS, edit=edit)


CERTIFICATES: Final = _target("certificates", _read_certificate, CertificateError)
NAMES: Final = _target("names", _read_name, ValueError, 512)
REVOCATION_LISTS: Final = _target("revocation-lists", _read_list, ValueError, edit=edited)
RESPONSES: Final = _target("ocsp-responses", _read_response, ValueError)
