"""Client certificates that say hostile things, as bytes signed by real CAs and as what they say."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from tests.differential.second_evaluator.identities import EKU_OIDS, attribute_oid
from tests.differential.second_evaluator.words import UNKNOWN, Certificate

__all__ = ["ISSUERS", "Client", "Draw", "authority_files", "clients", "invented", "with_oddities"]

ISSUERS: Final = ("corp", "partners", "spire")
NOT_BEFORE: Final = int(dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp())
NOT_AFTER: Final = int(dt.datetime(2028, 1, 1, tzinfo=dt.UTC).timestamp())

#: What people and their look-alikes are called.
TEXTS: Final = (
    *(
        "ops",
        "OPS",
        "Ops",
        " ops",
        "ops ",
        "o p s",
        "o  p s",
        "o\u00a0p s",
        "op\u017f",
        "\uff4fps",
        "\u24de\u24df\u24e2",
    ),
    *("stra\u00dfe", "STRASSE", "strasse", "STRA\u1e9eE", "\u212a", "k", "K", "\u0130x", "ix", "i\u0307x", "\u0131x"),
    *(
        "caf\u00e9",
        "cafe\u0301",
        "CAFE\u0301",
        "CAF\u00c9",
        "\ufb01n",
        "fin",
        "FIN",
        "\u1fb3",
        "\u0391\u0399",
        "\u03b1\u0345",
    ),
    *(
        "a*b",
        "axb",
        "a",
        "b",
        "ab",
        "abc",
        "a-readonly",
        "-readonly",
        "A-READONLY",
        "x" * 64,
        "o\u200bps",
        "\u03c3",
        "\u03c2",
        "\u03a3",
    ),
    *(
        "db-1",
        "db-12",
        "DB-1",
        "1",
        "\u0661",
        "\uff11",
        "admin/x",
        "CN=ops",
        "\U0001f600",
        "\U00010400",
        "\U00010428",
        "\ufdfa",
    ),
    *(
        "ops,dev",
        "ops+dev",
        "\u00c5",
        "\u212b",
        "A\u030a",
        "\u1e9b\u0323",
        "\u2126",
        "\u03c9",
        "\u01c5",
        "\u01c6",
        "o\u3000p s",
        "o\u2009p s",
    ),
)
UNSAFE: Final = ("ops\0", "o\x1fps", "ops\x7f", "op\u0085s", "\u202eops", "ops\u200f", "o\tps", "ops\n")
DNS: Final = (
    *(
        "a.example",
        "A.EXAMPLE",
        "x.a.example",
        "y.x.a.example",
        "*.a.example",
        "a.example.",
        "xa.example",
        ".a.example",
    ),
    *(
        "k.example",
        "a.example ",
        " a.example",
        "example",
        "-.a.example",
        "\uff41.example",
        "\u212a.example",
        "a.example. ",
        "a..example",
    ),
)
URIS: Final = (
    *("spiffe://prod.example/ns/a/sa/b", "spiffe://PROD.example/ns/a/sa/b", "SPIFFE://prod.example/ns/a/sa/b"),
    *("spiffe://prod.example/ns/A/sa/b", "spiffe://prod.example/ns/a/sa/b/c", "spiffe://prod.example/ns/a/sa/"),
    *(
        "spiffe://prod.example/ns/a",
        "spiffe://prod.example",
        "spiffe://prod.example/",
        "spiffe://prod.example.evil/ns/a",
    ),
    *(
        "spiffe://prod.example:1/ns/a",
        "spiffe://evil/prod.example/ns/a",
        "https://prod.example/ns/a",
        "spiffe:prod.example/a",
    ),
    *("spiffe://prod.example/ns/%61", "spiffe://prod.example/ns/a?x=1", "spiffe://x@prod.example/ns/a", "urn:a:b"),
    *(
        "spiffe://prod.example//ns",
        "spiffe://prod.example/ns/../a",
        "spiffe://prod.example/ns/a/",
        "spiffe://prod.example?x/ns/a",
    ),
    *(
        "spiffe://prod.example#/ns/a",
        " spiffe://prod.example/ns/a",
        "spiffe://prod.example/ns/a ",
        "spiffe://prod.example /ns/a",
    ),
    *(
        "\uff53piffe://prod.example/ns/a",
        "spiffe://prod.example/ns/\uff41",
        "spiffe://prod.example/ns/a;x",
        "spiffe:///ns/a",
        "urn:A:B",
    ),
    *("spiffe://prod.example/n%73/a", "spiffe://prod.example/ns/a%2Fb", "spiffe://prod.\u212aexample/ns/a", "ns/a", ""),
)
EMAILS: Final = (
    " bob@x.example",
    "bob@x.example ",
    "bob @x.example",
    "bob@x.example.",
    "\uff42ob@x.example",
    "b@y.example",
    "bob@x.example",
    "Bob@x.example",
    "bob@X.EXAMPLE",
    "bob@y.example",
    "bob@x@x.example",
    "x.example",
    "@x.example",
)
ADDRESSES: Final = (
    "10.0.0.1",
    "10.0.0.2",
    "10.1.0.1",
    "2001:db8::1",
    "2001:db8:1::1",
    "::ffff:10.0.0.1",
    "::",
    "0.0.0.0",
)
EKUS: Final[tuple[Any, ...]] = ((), ("clientAuth",), ("serverAuth",), ("clientAuth", "codeSigning"), ("2.5.29.37.0",))
POLICY_OIDS: Final[tuple[Any, ...]] = ((), ("1.2.3",), ("1.2.3.4", "1.2.3"), ("2.5.29.32.0",))


class Draw(Random):
    """Chance, with a few words for what is asked of it."""

    def often(self, share: float) -> bool:
        """Come out true in this share of cases."""
        return self.random() < share

    def some(self, values: tuple[str, ...], most: int = 2) -> tuple[str, ...]:
        """Take none up to so many, in any order, a few of them twice."""
        return tuple(self.choices(values, k=self.choice((0, 1, 1, 1, most))))


@dataclass(frozen=True)
class Client:
    """What a certificate says, and its bytes where it has some."""

    certificate: Certificate
    der: bytes | None = None


class _Authority:
    """A CA with its key."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA of {name}")])
        builder = (
            x509.CertificateBuilder(self.name, self.name, self.key.public_key(), 1)
            .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
            .not_valid_after(dt.datetime(2040, 1, 1, tzinfo=dt.UTC))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )
        self.certificate = builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)


@cache
def authorities() -> dict[str, _Authority]:
    """Return the CAs of all policies, and one that none knows."""
    return {name: _Authority(name) for name in (*ISSUERS, "nobody")}


def authority_files() -> dict[str, bytes]:
    """Return the CA certificates of the issuers, PEM."""
    return {name: authority.pem for name, authority in authorities().items() if name in ISSUERS}


def invented(draw: Draw) -> Certificate:
    """Make up what a certificate says, whether or not any could be written that says it."""
    texts = TEXTS if draw.often(0.95) else TEXTS + UNSAFE
    subject = [("CN", value) for value in draw.choices(texts, k=1 if draw.often(0.95) else draw.choice((0, 2)))]
    subject += [("OU", value) for value in draw.some(texts, 3)]
    subject += [("O", value) for value in draw.some(texts, 1)]
    subject += [(draw.choice(("L", "UID", "1.2.3.4")), value) for value in draw.some(texts, 1)]
    draw.shuffle(subject)
    lifetime = draw.choice((3600, 3601, 86400, NOT_AFTER - NOT_BEFORE))
    begin = draw.choice((NOT_BEFORE, NOT_BEFORE, NOT_BEFORE, NOT_AFTER))
    begin = NOT_BEFORE if draw.often(0.96) else begin
    return Certificate(
        issuer=draw.choice(ISSUERS),
        subject=tuple(subject),
        dns_san=draw.some(DNS),
        uri_san=draw.some(URIS[:1] * 20 + URIS, 1),
        email_san=draw.some(EMAILS),
        ip_san=draw.some(ADDRESSES),
        eku=draw.choice(EKUS) if draw.often(0.2) else draw.choice(((), ("clientAuth",))),
        policy_oid=draw.choice(POLICY_OIDS),
        key=draw.choice((("rsa", 2048), ("rsa", 3072), ("rsa", 4096), ("ec", 384), ("ec", 521), ("ec", 256))),
        not_before=begin,
        not_after=NOT_AFTER if draw.often(0.93) else begin + lifetime,
        serial=draw.choice((1, 255, 4096, 2**150)),
    )


def with_oddities(draw: Draw, certificate: Certificate) -> Certificate:
    """Give a made-up certificate what gates refuse, or hide what it says; digests are made up, too."""
    digests = ("aa" * 32, "bb" * 32, "0123456789abcdef" * 4)
    given: dict[str, Any] = {
        "fingerprint": draw.choice(digests) if draw.often(0.8) else UNKNOWN,
        "sha1": draw.choice(("aa" * 20, "bb" * 20)) if draw.often(0.7) else UNKNOWN,
        "spki": draw.choice(digests) if draw.often(0.8) else UNKNOWN,
    }
    if draw.often(0.15):
        key = draw.choice(("serial", "eku", "policy_oid"))
        given[key] = UNKNOWN
    if draw.often(0.08):
        odd: dict[str, Any] = {
            "is_ca": True,
            "digital_signature": False,
            "key": draw.choice((("rsa", 1024), ("rsa", 2047), ("dsa", 4096), ("ec", 192), ("ec", 224))),
            "signature_hash": draw.choice(("md5", "sha1")),
            "issuer": None,
        }
        key = draw.choice(tuple(odd))
        given[key] = odd[key]
    return replace(certificate, **given)


@cache
def _keys() -> list[Any]:
    elliptic = [
        ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
    ]
    return [*elliptic, rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP224R1())]


@cache
def clients(count: int, seed: int) -> tuple[Client, ...]:
    """Return so many certificates with their bytes."""
    draw = Draw(seed)
    return tuple(_issued(draw, invented(draw)) for _ in range(count))


def _issued(draw: Draw, wanted: Certificate) -> Client:
    """Write a certificate that says what is wanted, as far as one can be written."""
    key = draw.choice(_keys()[:-1]) if draw.often(0.97) else _keys()[-1]
    authority = authorities()["nobody" if draw.often(0.02) else str(wanted.issuer)]
    sans = {
        "dns_san": tuple(value for value in wanted.dns_san if value.isascii()),
        "email_san": tuple(value for value in wanted.email_san if value.isascii()),
        "uri_san": tuple(value for value in wanted.uri_san if value.isascii()),
        "ip_san": wanted.ip_san,
    }
    is_ca, signs = draw.often(0.02), not draw.often(0.02)
    builder = (
        x509.CertificateBuilder(authority.name, _name(wanted), key.public_key(), int(wanted.serial))
        .not_valid_before(dt.datetime.fromtimestamp(wanted.not_before, dt.UTC))
        .not_valid_after(dt.datetime.fromtimestamp(wanted.not_after, dt.UTC))
    )
    for extension in _extensions(wanted, sans, is_ca=is_ca, signs=signs):
        builder = builder.add_extension(extension, critical=False)
    signed = builder.sign(authority.key, hashes.SHA256())
    der = signed.public_bytes(Encoding.DER)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    known = replace(
        wanted,
        dns_san=sans["dns_san"],
        uri_san=sans["uri_san"],
        email_san=sans["email_san"],
        ip_san=sans["ip_san"],
        issuer=wanted.issuer if authority is authorities()[str(wanted.issuer)] else None,
        fingerprint=hashlib.sha256(der).hexdigest(),
        sha1=hashlib.sha1(der, usedforsecurity=False).hexdigest(),
        spki=hashlib.sha256(spki).hexdigest(),
        key=("rsa" if isinstance(key, rsa.RSAPrivateKey) else "ec", key.key_size),
        is_ca=is_ca,
        digital_signature=signs,
    )
    return Client(known, der)


def _name(wanted: Certificate) -> x509.Name:
    attributes = [
        x509.NameAttribute(x509.ObjectIdentifier(attribute_oid(name)), value, _validate=False)
        for name, value in wanted.subject
    ]
    return x509.Name(attributes)


def _extensions(
    wanted: Certificate, sans: dict[str, tuple[str, ...]], *, is_ca: bool, signs: bool
) -> list[x509.ExtensionType]:
    names: list[x509.GeneralName] = [x509.DNSName._init_without_validation(value) for value in sans["dns_san"]]
    names += [x509.RFC822Name._init_without_validation(value) for value in sans["email_san"]]
    names += [x509.UniformResourceIdentifier._init_without_validation(value) for value in sans["uri_san"]]
    names += [x509.IPAddress(ipaddress.ip_address(value)) for value in sans["ip_san"]]
    found: list[x509.ExtensionType] = [x509.SubjectAlternativeName(names)] if names else []
    if wanted.eku:
        found.append(x509.ExtendedKeyUsage([x509.ObjectIdentifier(EKU_OIDS.get(one, one)) for one in wanted.eku]))
    if wanted.policy_oid:
        found.append(
            x509.CertificatePolicies(
                [x509.PolicyInformation(x509.ObjectIdentifier(one), None) for one in wanted.policy_oid]
            )
        )
    if is_ca:
        found.append(x509.BasicConstraints(ca=True, path_length=None))
    if not signs:
        found.append(
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=True,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            )
        )
    return found
