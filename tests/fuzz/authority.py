"""A CA that is the same on every machine, so that inputs which were kept stay signed by it.

Its keys are made from words, and Ed25519 signs alike each time. It is worth nothing outside of these tests.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from spoa.authorizer import Policy
from spoa.issuers import Issuers
from spoa.pki import CertificateAuthority, Issued, Template, moment
from tests import der
from tests.policies import NOW

__all__ = ["ALICE", "AUTHORITY", "BOB", "OTHER", "RESPONDER", "key_of", "signed", "unremembering"]

_DAY: Final = 86_400
_VALIDITY: Final = {"not_before": NOW - 30 * _DAY, "not_after": NOW + 300 * _DAY}


def key_of(words: str) -> ed25519.Ed25519PrivateKey:
    """Return the key that is made from these words."""
    return ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(words.encode()).digest())


def _root(name: str) -> CertificateAuthority:
    key = key_of(name)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(*(position in {5, 6} for position in range(9)))  # keyCertSign, cRLSign
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(moment(_VALIDITY["not_before"]))
        .not_valid_after(moment(_VALIDITY["not_after"]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    return CertificateAuthority(Issued(builder.sign(key, None), key, ()))


AUTHORITY: Final = _root("fuzzed")
OTHER: Final = _root("another")


def _issued(number: int, *names: str, **fields: tuple[str, ...]) -> Issued:
    template = Template(**_VALIDITY, cn=names, serial=number, **fields)  # type: ignore[arg-type] # each is a tuple
    return AUTHORITY.issue(template, key_of(f"holder {number}"))


ALICE: Final = _issued(
    0x1001,
    "alice",
    ou=("ops", "admins"),
    dns=("a.example",),
    uri=("spiffe://x.example/a",),
    email=("a@x.example",),
    ip=("10.0.0.1",),
)
#: Has two common names, one of which is somebody else's.
BOB: Final = _issued(0x1002, "bob", "alice")
RESPONDER: Final = _issued(0x2001, "responder", eku=("1.3.6.1.5.5.7.3.9",))
_ALGORITHM: Final = der.sequence(der.oid("1.3.101.112"))


def signed(tbs: bytes, by: CertificateAuthority | Issued = AUTHORITY, *behind: bytes) -> bytes:
    """Return a sequence of *tbs* and its signature: a certificate, a CRL, or what is inside of an OCSP response."""
    key = (by.issued if isinstance(by, CertificateAuthority) else by).key
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return der.sequence(tbs, _ALGORITHM, der.element(0x03, b"\0", key.sign(tbs)), *behind)


def unremembering(policy: Policy) -> Policy:
    """Return a policy that judges alike and has seen no certificate yet: fuzzers make any number of them."""
    authorities = {name: policy.issuers.certificates(name) for name in policy.issuers.names}
    return Policy(policy.evaluator, Issuers(authorities), policy.lists, policy.revision)
