from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from spoa.identity import identity_from_der
from spoa.issuers import Issuers
from spoa.pki import (
    CLIENT_AUTH,
    DIGESTS,
    KEY_KINDS,
    REASONS,
    SERVER_AUTH,
    CertificateAuthority,
    Template,
    digest_for,
    moment,
    new_key,
)

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000
DAY = 24 * 3600
CA_TEMPLATE = Template(cn=("Root",), is_ca=True, not_before=NOW - DAY, not_after=NOW + 3650 * DAY)
ALICE = Template(cn=("alice",), ou=("administrators",), not_before=NOW, not_after=NOW + DAY)


@pytest.fixture(scope="module")
def root() -> CertificateAuthority:
    return CertificateAuthority.root(CA_TEMPLATE)


class TestKeys:
    @pytest.mark.parametrize("kind", KEY_KINDS)
    def test_every_kind_makes_a_key_of_its_kind(self, kind: str) -> None:
        expected = {
            "ec": ec.EllipticCurvePrivateKey,
            "rsa": rsa.RSAPrivateKey,
            "ed25519": ed25519.Ed25519PrivateKey,
            "ed448": ed448.Ed448PrivateKey,
            "dsa": dsa.DSAPrivateKey,
        }
        name, _, size = kind.partition(":")
        key = new_key(kind)
        assert isinstance(key, expected[name])
        if size:
            assert str(getattr(key, "key_size", "")) == size

    def test_an_unknown_kind_is_an_error(self) -> None:
        with pytest.raises(KeyError):
            new_key("des")

    def test_edwards_keys_have_no_digest_to_choose(self) -> None:
        assert digest_for(new_key("ed25519"), "sha512") is None
        assert digest_for(new_key("ec"), "sha512") is DIGESTS["sha512"]


class TestIssuing:
    def test_a_certificate_says_what_the_template_says(self, root: CertificateAuthority) -> None:
        template = Template(
            not_before=NOW,
            not_after=NOW + DAY,
            o=("Example",),
            ou=("a", "b"),
            cn=("one", "two"),
            attributes=(("2.5.4.5", "serial"),),
            dns=("a.example.com",),
            uri=("spiffe://example.com/a",),
            email=("a@example.com",),
            ip=("192.0.2.1",),
            eku=(CLIENT_AUTH, SERVER_AUTH),
            policies=("1.2.3",),
            serial=4711,
        )
        read = identity_from_der(root.issue(template).der)
        assert read.subject == {
            "2.5.4.10": ("Example",),
            "2.5.4.11": ("a", "b"),
            "2.5.4.3": ("one", "two"),
            "2.5.4.5": ("serial",),
        }
        assert (read.not_before, read.not_after, read.serial) == (NOW, NOW + DAY, 4711)
        assert (read.eku, read.policy_oids) == ((CLIENT_AUTH, SERVER_AUTH), ("1.2.3",))
        assert read.dns_san == ("a.example.com",)

    def test_a_subject_that_is_empty_makes_its_other_names_critical(self, root: CertificateAuthority) -> None:
        issued = root.issue(Template(not_before=NOW, not_after=NOW + DAY, dns=("a.example.com",)))
        names = issued.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.critical

    def test_where_to_ask_for_revocation_is_said_where_it_is_told(self, root: CertificateAuthority) -> None:
        template = Template(not_before=NOW, not_after=NOW + DAY, ocsp_url="http://o.test/", crl_url="http://c.test/")
        extensions = root.issue(template).certificate.extensions
        access = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        assert [x509.UniformResourceIdentifier("http://o.test/")] == [item.access_location for item in access]
        assert [[x509.UniformResourceIdentifier("http://c.test/")]] == [point.full_name for point in points]

    def test_further_extensions_are_put_in_as_they_are(self, root: CertificateAuthority) -> None:
        odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
        template = Template(not_before=NOW, not_after=NOW + DAY, extensions=((odd, True),))
        found = root.issue(template).certificate.extensions.get_extension_for_oid(odd.oid)
        assert (True, odd) == (found.critical, found.value)

    def test_a_key_may_be_certified_again(self, root: CertificateAuthority) -> None:
        first = root.issue(ALICE)
        again = root.issue(ALICE, first.key)
        assert identity_from_der(first.der).spki_sha256 == identity_from_der(again.der).spki_sha256
        assert first.der != again.der

    def test_a_ca_has_no_extended_key_usage_and_may_sign_crls(self, root: CertificateAuthority) -> None:
        extensions = root.issued.certificate.extensions
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.key_cert_sign
        assert usage.crl_sign
        with pytest.raises(x509.ExtensionNotFound):
            extensions.get_extension_for_oid(ExtensionOID.EXTENDED_KEY_USAGE)

    @pytest.mark.parametrize("kind", ["ec:384", "rsa:2048", "ed25519", "ed448"])
    def test_openssl_accepts_the_chain(self, kind: str, tmp_path: Path) -> None:
        root = CertificateAuthority.root(Template(cn=("R",), is_ca=True, not_before=NOW, not_after=NOW + DAY, key=kind))
        below = root.intermediate(
            Template(cn=("I",), is_ca=True, path_length=0, not_before=NOW, not_after=NOW + DAY, key=kind)
        )
        issued = below.issue(ALICE)
        (tmp_path / "root.pem").write_bytes(root.issued.pem)
        (tmp_path / "chain.pem").write_bytes(issued.chain_pem)
        (tmp_path / "leaf.pem").write_bytes(issued.pem)
        command = ["openssl", "verify", "-x509_strict", "-attime", str(NOW + 60), "-purpose", "sslclient"]
        files = ["-CAfile", "root.pem", "-untrusted", "chain.pem", "leaf.pem"]
        printed = subprocess.run([*command, *files], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
        assert printed == "leaf.pem: OK\n"


class TestIssued:
    def test_the_bundle_holds_chain_without_root_and_key(self, root: CertificateAuthority) -> None:
        below = root.intermediate(
            Template(cn=("Issuing",), is_ca=True, not_before=NOW - DAY, not_after=NOW + DAY, key="ec")
        )
        issued = below.issue(ALICE)
        assert (below.issued.certificate, root.issued.certificate) == issued.chain
        assert [issued.certificate, below.issued.certificate] == x509.load_pem_x509_certificates(issued.chain_pem)
        assert issued.chain_pem + issued.key_pem == issued.bundle_pem
        assert issued.key_pem.startswith(b"-----BEGIN PRIVATE KEY-----")

    @pytest.mark.parametrize("password", ["", "secret"])
    def test_a_pkcs12_bundle_opens_with_its_password(self, root: CertificateAuthority, password: str) -> None:
        issued = root.issue(ALICE)
        opened = pkcs12.load_pkcs12(issued.p12(password, "alice"), password.encode() or None)
        assert opened.cert is not None
        assert (issued.certificate, b"alice") == (opened.cert.certificate, opened.cert.friendly_name)


class TestRevocation:
    def test_a_crl_lists_what_is_revoked_with_time_and_reason(self) -> None:
        root = CertificateAuthority.root(CA_TEMPLATE)
        alice, bob = root.issue(ALICE), root.issue(ALICE)
        root.revoke(alice.certificate.serial_number, NOW - 60, "keyCompromise")
        root.revoke(bob.certificate.serial_number, NOW - 30)
        crl = x509.load_der_x509_crl(root.crl(this_update=NOW, next_update=NOW + DAY, number=7))
        assert crl.is_signature_valid(root.issued.certificate.public_key())  # type: ignore[arg-type] # no X25519 here
        assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
        assert (moment(NOW), moment(NOW + DAY)) == (crl.last_update_utc, crl.next_update_utc)
        first, second = list(crl)
        assert (alice.certificate.serial_number, moment(NOW - 60)) == (first.serial_number, first.revocation_date_utc)
        reason = first.extensions.get_extension_for_class(x509.CRLReason).value
        assert x509.ReasonFlags.key_compromise == reason.reason
        assert (bob.certificate.serial_number, 0) == (second.serial_number, len(second.extensions))

    def test_a_crl_can_be_empty_and_signed_by_an_edwards_key(self) -> None:
        root = CertificateAuthority.root(
            Template(cn=("R",), is_ca=True, not_before=NOW, not_after=NOW + DAY, key="ed25519")
        )
        assert list(x509.load_der_x509_crl(root.crl(this_update=NOW, next_update=NOW + DAY, number=1))) == []

    def test_an_unknown_reason_is_refused(self, root: CertificateAuthority) -> None:
        with pytest.raises(ValueError, match="bad mood"):
            root.revoke(1, NOW, "bad mood")

    def test_reasons_are_those_of_a_complete_crl(self) -> None:
        assert "keyCompromise" in REASONS
        assert "removeFromCRL" not in REASONS


def test_a_certificate_of_every_signer_finds_its_issuer() -> None:
    for kind in ("ec", "rsa:2048", "ed25519", "ed448", "dsa:2048"):
        template = Template(cn=("R",), is_ca=True, not_before=NOW, not_after=NOW + DAY, key=kind)
        root = CertificateAuthority.root(template)
        assert Issuers({"it": [root.issued.der]}).issuer_of(root.issue(ALICE).der) == "it"


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("rsa:2048", SignatureAlgorithmOID.RSASSA_PSS), ("ec", SignatureAlgorithmOID.ECDSA_WITH_SHA384)],
)
def test_pss_is_used_by_rsa_signers_only(kind: str, algorithm: x509.ObjectIdentifier) -> None:
    root = CertificateAuthority.root(replace(CA_TEMPLATE, key=kind))
    issued = root.issue(replace(ALICE, has_pss_signature=True, digest="sha384"))
    assert algorithm == issued.certificate.signature_algorithm_oid
    assert identity_from_der(issued.der).signature_hash == "sha384"


def test_a_certificate_without_key_usage_can_be_had(root: CertificateAuthority) -> None:
    issued = root.issue(replace(ALICE, has_key_usage=False))
    assert [item for item in issued.certificate.extensions if isinstance(item.value, x509.KeyUsage)] == []


def test_a_key_that_may_not_sign_may_agree_on_keys(root: CertificateAuthority) -> None:
    usage = root.issue(replace(ALICE, digital_signature=False)).certificate.extensions.get_extension_for_class(
        x509.KeyUsage
    )
    assert (usage.value.digital_signature, usage.value.key_agreement) == (False, True)
