"""What others sign: certificates, revocation lists, OCSP responses.

The first byte of an input says who signs the rest: nobody, so that it stands as it is; the authority, so that a hostile
but genuine signer is tried too; somebody else, whom nothing may be believed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from spoa.exceptions import CertificateError
from spoa.facts import Request
from spoa.identity import identity_from_der
from spoa.issuers import canonical_name
from spoa.revocation import check
from spoa.revocation.certificates import Certified
from spoa.revocation.crl import read_crl
from spoa.revocation.ocsp import read_response
from tests import der
from tests.fuzz.authority import ALICE, AUTHORITY, BOB, OTHER, RESPONDER, signed, unremembering
from tests.fuzz.target import Target
from tests.policies import HEAD, NOW, policy
from tests.revocation.lists import instant

if TYPE_CHECKING:
    from collections.abc import Callable

    from spoa.pki import PrivateKey
    from spoa.policy.decision import Decision
    from spoa.revocation import Result
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


def _is_signed_by_authority(certificate: bytes) -> bool:
    try:
        x509.load_der_x509_certificate(certificate).verify_directly_issued_by(AUTHORITY.issued.certificate)
    except (ValueError, TypeError, InvalidSignature):
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
    identity_from_der(certificate)


def _read_name(data: bytes) -> None:
    """A name is folded or refused."""
    canonical_name(data)


def _result(**evidence: list[bytes]) -> Result:
    return check(ALICE.der, [AUTHORITY.issued.der], now=instant(), **evidence)  # type: ignore[arg-type] # lists of bytes


def _read_list(data: bytes) -> None:
    """A list says nothing that the authority did not sign."""
    kind, content = _split(data)
    crl = content if kind == _RAW else signed(content, OTHER if kind == _BY_OTHER else AUTHORITY)
    result = _result(crls=[crl])
    if result.status in {"good", "revoked"}:
        assert kind != _BY_OTHER
        assert x509.load_der_x509_crl(crl).is_signature_valid(AUTHORITY.issued.certificate.public_key())  # type: ignore[arg-type] # Ed25519
    read_crl(crl)


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


def _target(name: str, read: Callable[[bytes], None], error: type[Exception], longest: int = 2048) -> Target:
    return Target(name, read, (error,), longest=longest, words=_OIDS)


CERTIFICATES: Final = _target("certificates", _read_certificate, CertificateError)
NAMES: Final = _target("names", _read_name, ValueError, 512)
REVOCATION_LISTS: Final = _target("revocation-lists", _read_list, ValueError)
RESPONSES: Final = _target("ocsp-responses", _read_response, ValueError)
