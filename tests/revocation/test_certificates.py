from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from spoa.exceptions import CertificateError
from spoa.revocation.certificates import Certified
from tests.der import element, rebuilt, replaced
from tests.pki import CA, DAY, HOUR
from tests.revocation.lists import NOW, UNKNOWN, uri

CORP = CA("Corp CA", now=NOW)


def read(**fields: object) -> Certified:
    return Certified.from_der(CORP.issue("alice", **fields).der)  # type: ignore[arg-type]  # a table of fields


def test_what_revocation_needs_is_read() -> None:
    point = x509.DistributionPoint([uri("http://example.com/")], None, None, None)
    alice = CORP.issue("alice", serial=7, extensions=((x509.CRLDistributionPoints([point]), False),))
    found = Certified.from_der(alice.der)
    assert (found.serial, found.not_before, found.not_after, len(found.points)) == (7, NOW - HOUR, NOW + 30 * DAY, 1)
    assert (hashlib.sha256(alice.der).digest(), False, True) == (found.sha256, found.is_ca, found.is_version_3)
    issuer = Certified.from_der(CORP.der)
    assert (issuer.subject, True, True) == (found.issuer, issuer.is_self_issued, issuer.is_ca)
    identifier = x509.SubjectKeyIdentifier.from_public_key(alice.key.public_key()).digest
    assert identifier == hashlib.sha1(found.key_bits, usedforsecurity=False).digest()


def test_what_a_key_may_do_is_read_and_everything_without_key_usage() -> None:
    bare = read(has_key_usage=False)
    assert (bare.may_sign_certificates, bare.may_sign_crls, bare.may_sign_data) == (True, True, True)
    client = read()
    assert (client.may_sign_certificates, client.may_sign_crls, client.may_sign_data) == (False, False, True)


@pytest.mark.parametrize(
    ("eku", "expected"),
    [
        (None, False),
        ((ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string,), False),
        ((ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string,), True),
    ],
)
def test_answering_ocsp_must_be_named_as_a_purpose(eku: tuple[str, ...] | None, *, expected: bool) -> None:
    assert expected is read(eku=eku).may_answer_ocsp


def test_marks_are_read() -> None:
    assert read(extensions=((x509.OCSPNoCheck(), False),)).has_nocheck
    flags = [read(extensions=((UNKNOWN, critical),)).has_unknown_critical for critical in (True, False)]
    assert flags == [True, False]


def test_the_validity_includes_both_ends() -> None:
    found = read(not_before=NOW, not_after=NOW + 60)
    assert [found.is_valid_at(now) for now in (NOW - 1, NOW, NOW + 60, NOW + 61)] == [False, True, True, False]


class TestIssuedBy:
    def test_name_and_key_must_both_fit(self) -> None:
        alice, corp = read(), Certified.from_der(CORP.der)
        assert alice.is_issued_by(corp)
        assert not alice.is_issued_by(Certified.from_der(CA("Corp CA", now=NOW).der))
        assert not alice.is_issued_by(Certified.from_der(CA("Other CA", now=NOW, key="rsa:2048").der))
        assert not corp.is_issued_by(alice)
        assert corp.is_issued_by(corp)

    def test_the_name_is_compared_folded(self) -> None:
        from tests.der import name, text

        upper = rebuilt(CORP.issue().der, CORP.key, replaced(3, name([("2.5.4.3", text("CORP  ca", 0x13))])))
        assert Certified.from_der(upper).is_issued_by(Certified.from_der(CORP.der))

    def test_an_algorithm_that_is_unknown_or_said_in_two_ways_is_none(self) -> None:
        der = CORP.issue().der
        algorithm = bytes.fromhex("300a06082a8648ce3d040302")
        unknown = algorithm[:-1] + b"\x7f"
        for odd in (der.replace(algorithm, unknown), der.replace(algorithm, unknown, 1)):
            try:
                found = Certified.from_der(odd)
            except CertificateError:
                continue  # a strict parser may refuse it before we do
            assert not found.is_issued_by(Certified.from_der(CORP.der))


@pytest.mark.parametrize(
    ("der", "stage"),
    [
        (bytes(70_000), "size"),
        (b"junk", "load"),
        (CORP.der + b"\x05\x00", "trailing"),
        (rebuilt(CORP.der, CORP.key, replaced(6, b"\x30\x00")), "load"),
        (rebuilt(CORP.der, CORP.key, lambda fields: fields.__delitem__(0)), "load"),
        (rebuilt(CORP.issue().der, CORP.key, replaced(6, element(0x30, b"\x30\x00\x03\x01\x00"))), "load"),
    ],
    ids=["size", "junk", "trailing", "no key", "version 1 with extensions", "odd key"],
)
def test_what_cannot_be_read_is_refused_with_its_stage(der: bytes, stage: str) -> None:
    with pytest.raises(CertificateError) as caught:
        Certified.from_der(der)
    assert stage == caught.value.stage


def test_a_key_that_signs_nothing_is_refused() -> None:
    x25519 = bytes.fromhex("302a300506032b656e032100" + "09" * 32)
    with pytest.raises(CertificateError, match="signs nothing"):
        Certified.from_der(rebuilt(CORP.issue().der, CORP.key, replaced(6, x25519)))


def test_where_the_status_can_be_asked_is_read_from_the_certificate(ca: CA) -> None:
    def named(method: x509.ObjectIdentifier, name: x509.GeneralName) -> x509.AccessDescription:
        return x509.AccessDescription(method, name)

    access = x509.AuthorityInformationAccess(
        [
            named(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://a/ca")),
            named(AuthorityInformationAccessOID.OCSP, x509.DNSName("a")),
            named(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://a/1")),
            named(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://a/2")),
        ]
    )
    assert Certified.from_der(ca.issue("x", extensions=((access, False),)).der).ocsp_urls == (
        "http://a/1",
        "http://a/2",
    )
    assert Certified.from_der(ca.issue("y").der).ocsp_urls == ()
