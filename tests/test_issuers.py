from __future__ import annotations

import pickle
import warnings
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from spoa import identity
from spoa.exceptions import CertificateError, PolicyError
from spoa.identity import check_loadable, identity_from_der
from spoa.issuers import Issuers, canonical_name
from spoa.pem import write_block
from tests.der import element, fields_of, name, oid, rebuilt, replaced, sequence, signed, text
from tests.pki import CA

VERSION, SERIAL, ALGORITHM, ISSUER, VALIDITY, SUBJECT, KEY, EXTENSIONS = range(8)
CN, ORGANIZATION, OU = "2.5.4.3", "2.5.4.10", "2.5.4.11"


@pytest.fixture(scope="module")
def corp() -> CA:
    return CA("Corp CA")


@pytest.fixture(scope="module")
def partners() -> CA:
    return CA("Partners CA")


@pytest.fixture(scope="module")
def issuers(corp: CA, partners: CA) -> Issuers:
    return Issuers({"corp": [corp.der], "partners": [partners.der]})


class TestIssuerOf:
    def test_the_issuer_is_the_one_that_signed(self, issuers: Issuers, corp: CA, partners: CA) -> None:
        assert issuers.issuer_of(corp.issue("alice").der) == "corp"
        assert issuers.issuer_of(partners.issue("alice").der) == "partners"

    def test_a_name_alone_proves_nothing(self, issuers: Issuers) -> None:
        assert issuers.issuer_of(CA("Corp CA").issue("alice").der) is None

    def test_a_key_alone_proves_nothing(self, issuers: Issuers, corp: CA) -> None:
        renamed = rebuilt(corp.issue("alice").der, corp.key, replaced(ISSUER, name([(CN, text("Partners CA"))])))
        assert issuers.issuer_of(renamed) is None

    def test_an_issuer_that_is_not_named_is_none(self, issuers: Issuers) -> None:
        assert issuers.issuer_of(CA("Another CA").issue("alice").der) is None

    def test_a_ca_above_the_signer_is_not_the_issuer(self, corp: CA) -> None:
        leaf = corp.intermediate().issue("alice")
        assert Issuers({"corp": [corp.der]}).issuer_of(leaf.der) is None

    def test_an_intermediate_can_be_the_issuer(self, corp: CA) -> None:
        below = corp.intermediate("Issuing CA")
        issuers = Issuers({"root": [corp.der], "issuing": [below.der]})
        assert issuers.issuer_of(below.issue("alice").der) == "issuing"
        assert issuers.issuer_of(below.der) == "root"

    def test_any_changed_bit_of_what_was_signed_is_noticed(self, issuers: Issuers, corp: CA) -> None:
        der = corp.issue("alice").der
        position = der.index(b"alice")
        assert issuers.issuer_of(der[:position] + b"alicf" + der[position + 5 :]) is None

    def test_the_certificate_of_the_signer_is_to_be_had(self, issuers: Issuers, corp: CA) -> None:
        authority = issuers.authority_of(corp.issue("alice").der)
        assert authority is not None
        assert ("corp", corp.der) == (authority.issuer, authority.der)

    @pytest.mark.parametrize(
        "fields",
        [
            {"key": "ec:256"},
            {"key": "ec:384", "digest": "sha384"},
            {"key": "ec:521", "digest": "sha512"},
            {"key": "rsa:2048"},
            {"key": "rsa:2048", "digest": "sha512"},
            {"key": "rsa:2048", "has_pss_signature": True},
            {"key": "rsa:2048", "has_pss_signature": True, "digest": "sha384"},
            {"key": "ed25519"},
            {"key": "ed448"},
            {"key": "dsa:2048"},
        ],
        ids=lambda fields: " ".join(map(str, fields.values())),
    )
    def test_every_kind_of_signature_is_verified(self, fields: dict[str, Any]) -> None:
        ca = CA("Signer", **fields)
        issuers = Issuers({"it": [ca.der]})
        signing = {name: value for name, value in fields.items() if name != "key"}
        leaf = ca.issue("alice", **signing).der
        assert issuers.issuer_of(leaf) == "it"
        assert Issuers({"it": [CA("Signer", key=fields["key"]).der]}).issuer_of(leaf) is None
        assert issuers.issuer_of(leaf[:-3] + bytes([leaf[-3] ^ 1]) + leaf[-2:]) is None

    @pytest.mark.parametrize("digest", ["md5", "sha1"])
    def test_a_weak_hash_does_not_hide_the_issuer(self, digest: str) -> None:
        """Whether it is good enough is another gate's question, and an issuer may allow it."""
        ca = CA("Old CA", key="rsa")
        assert Issuers({"old": [ca.der]}).issuer_of(rebuilt(ca.issue("a").der, ca.key, digest=digest)) == "old"

    def test_an_intermediate_of_another_key_kind_than_the_algorithm_verifies_nothing(self) -> None:
        for ours, theirs in [("rsa", "ec"), ("ec", "rsa"), ("ed25519", "ec"), ("ec", "ed25519"), ("dsa:2048", "ec")]:
            leaf = CA("Signer", key=theirs).issue("alice").der
            assert Issuers({"it": [CA("Signer", key=ours).der]}).issuer_of(leaf) is None

    def test_inner_and_outer_algorithm_must_agree(self, corp: CA, issuers: Issuers) -> None:
        leaf = corp.issue("alice").der
        fields = fields_of(leaf)
        fields[ALGORITHM] = sequence(oid("1.2.840.10045.4.3.3"))
        tbs = sequence(*fields)
        signature = _ecdsa_sha256(corp, tbs)
        algorithm = sequence(oid("1.2.840.10045.4.3.2"))
        assert issuers.issuer_of(sequence(tbs, algorithm, element(0x03, b"\0", signature))) is None

    def test_bytes_that_follow_are_not_part_of_any_certificate(self, corp: CA, issuers: Issuers) -> None:
        assert issuers.issuer_of(corp.issue("alice").der + b"\x30\x00") is None


def _ecdsa_sha256(ca: CA, tbs: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    assert isinstance(ca.key, ec.EllipticCurvePrivateKey)
    return ca.key.sign(tbs, ec.ECDSA(hashes.SHA256()))


class TestOddLeaves:
    """Whatever the bytes are: no issuer, and no exception."""

    @pytest.mark.parametrize("der", [b"", b"\0", b"\x30\x00", b"junk", b"\x30\x80\x00\x00"])
    def test_what_is_no_certificate_has_no_issuer(self, issuers: Issuers, der: bytes) -> None:
        assert issuers.issuer_of(der) is None

    @settings(deadline=None, max_examples=200)
    @given(st.data())
    def test_a_damaged_certificate_has_no_issuer(self, data: st.DataObject) -> None:
        der = bytearray(_LEAF)
        position = data.draw(st.integers(0, len(der) - 1))
        der[position] ^= data.draw(st.integers(1, 255))
        assert _ISSUERS.issuer_of(bytes(der)) is None

    def test_a_certificate_that_the_parser_refuses_has_no_issuer(self, issuers: Issuers, corp: CA) -> None:
        version_7 = element(0xA0, element(0x02, b"\x06"))
        assert issuers.issuer_of(rebuilt(corp.issue("alice").der, corp.key, replaced(VERSION, version_7))) is None

    @pytest.mark.parametrize("is_known", [False, True])
    def test_what_only_the_parser_sees_is_refused_though_its_like_was_read(
        self, issuers: Issuers, corp: CA, is_known: bool
    ) -> None:
        """A genuine signature over a time that is none: all of the usual form, until it is looked at."""
        leaf = corp.issue("alice").der
        if is_known:
            identity_from_der(leaf)
        time = element(0x17, b"269999000000Z")
        odd = rebuilt(leaf, corp.key, replaced(VALIDITY, sequence(time, time)))
        with pytest.raises(CertificateError):
            identity_from_der(odd)
        assert issuers.issuer_of(odd) is None

    def test_a_serial_below_one_is_no_hindrance(self, issuers: Issuers, corp: CA) -> None:
        negative = rebuilt(corp.issue("alice").der, corp.key, replaced(SERIAL, element(0x02, b"\xff")))
        assert issuers.issuer_of(negative) == "corp"

    def test_an_unknown_signature_algorithm_has_no_issuer(self, issuers: Issuers, corp: CA) -> None:
        algorithm = sequence(oid("1.2.3.4"))
        fields = fields_of(corp.issue("alice").der)
        fields[ALGORITHM] = algorithm
        assert issuers.issuer_of(sequence(sequence(*fields), algorithm, element(0x03, b"\0", bytes(70)))) is None


class TestNames:
    """Names are folded as OpenSSL folds them, or a chain that the proxy accepts would have no issuer here."""

    @pytest.mark.parametrize(
        ("authority", "leaf"),
        [
            (text("Corp CA"), text("CORP ca")),
            (text("Corp CA"), text("  Corp   CA ")),
            (text("Corp CA"), text("Corp\t\n CA")),
            (text("Corp CA", 0x13), text("Corp CA", 0x0C)),
            (text("Corp CA", 0x16), text("corp ca", 0x1E, "utf-16-be")),
            (text("Corp CA", 0x1C, "utf-32-be"), text("Corp CA", 0x1A)),
            (text("Käse", 0x14, "latin-1"), text("Käse")),
        ],
        ids=["case", "blanks", "white space", "Printable to UTF8", "IA5 to BMP", "Universal to Visible", "T61 to UTF8"],
    )
    def test_names_that_differ_in_writing_only_are_equal(self, corp: CA, authority: bytes, leaf: bytes) -> None:
        der = rebuilt(corp.der, corp.key, replaced(SUBJECT, name([(CN, authority)])))
        issuers = Issuers({"corp": [der]})
        assert (
            issuers.issuer_of(rebuilt(corp.issue("alice").der, corp.key, replaced(ISSUER, name([(CN, leaf)]))))
            == "corp"
        )

    @pytest.mark.parametrize(
        "other",
        [
            name([(CN, text("Corp C A"))]),
            name([(CN, text("CorpCA"))]),
            name([(ORGANIZATION, text("Corp CA"))]),
            name([(CN, text("Corp CA"))], [(CN, text("Corp CA"))]),
            name([(CN, text("Corp CA")), (OU, text("x"))]),
            name([(CN, element(0x12, b"Corp CA"))]),
            name(),
        ],
        ids=["another blank", "no blank", "another type", "twice", "one more", "a type that is not folded", "empty"],
    )
    def test_other_names_are_not_equal(self, corp: CA, other: bytes) -> None:
        leaf = rebuilt(corp.issue("alice").der, corp.key, replaced(ISSUER, other))
        assert Issuers({"corp": [corp.der]}).issuer_of(leaf) is None

    def test_letters_beyond_ascii_keep_their_case(self) -> None:
        assert canonical_name(name([(CN, text("Ä"))])) != canonical_name(name([(CN, text("ä"))]))

    def test_the_order_within_an_rdn_does_not_matter_and_that_of_rdns_does(self) -> None:
        one, two = (CN, text("a")), (OU, text("b"))
        assert canonical_name(name([one, two])) == canonical_name(name([two, one]))
        assert canonical_name(name([one], [two])) != canonical_name(name([two], [one]))

    @pytest.mark.parametrize(
        "der",
        [
            b"",
            b"\x30\x01",
            sequence() * 2,
            sequence(element(0x31, sequence(oid(CN)))),
            name([(CN, element(0x0C, b"\xff"))]),
        ],
    )
    def test_what_is_no_name_is_a_value_error(self, der: bytes) -> None:
        with pytest.raises(ValueError, match=r".+"):
            canonical_name(der)


class TestThatTheParserIsSpared:
    @pytest.mark.interpreted
    def test_what_was_just_read_is_not_loaded_again_where_one_authority_has_the_name(
        self, issuers: Issuers, corp: CA, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[bytes] = []
        monkeypatch.setattr(identity, "loaded", asked.append)
        fresh, read = corp.issue("alice").der, corp.issue("bob").der
        assert issuers.issuer_of(fresh) == "corp"
        assert asked == [fresh], "nobody says yet that it can be read"
        monkeypatch.undo()
        identity_from_der(read)
        monkeypatch.setattr(identity, "loaded", None)
        assert issuers.issuer_of(read) == "corp"

    def test_silencing_its_warnings_leaves_those_of_others_alone(self, corp: CA) -> None:
        """A serial number below 1 is one that the parser warns of."""
        odd = rebuilt(corp.issue("alice").der, corp.key, replaced(SERIAL, element(0x02, b"\xff")))
        twins = Issuers({"one": [corp.der], "two": [CA("Corp CA").der]})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert twins.issuer_of(odd) == "one"
            check_loadable(odd)
        assert caught == []


class TestSeveralKeysUnderOneName:
    def test_the_key_that_signed_is_found_among_twins(self) -> None:
        twins = [CA("Twin") for _ in range(3)]
        issuers = Issuers({f"twin-{number}": [ca.der] for number, ca in enumerate(twins)})
        assert [issuers.issuer_of(ca.issue("a").der) for ca in twins] == ["twin-0", "twin-1", "twin-2"]

    def test_a_leaf_without_an_authority_key_identifier_finds_its_signer(self) -> None:
        twins = [CA("Twin") for _ in range(2)]
        issuers = Issuers({"one": [twins[0].der], "two": [twins[1].der]})
        bare = [signed(fields_of(ca.issue("a").der)[SERIAL:EXTENSIONS], ca.key) for ca in twins]
        assert [issuers.issuer_of(der) for der in bare] == ["one", "two"]

    def test_a_wrong_authority_key_identifier_does_not_outweigh_the_signature(self) -> None:
        twins = [CA("Twin") for _ in range(2)]
        issuers = Issuers({"one": [twins[0].der], "two": [twins[1].der]})
        assert issuers.issuer_of(rebuilt(twins[0].issue("a").der, twins[1].key)) == "two"

    def test_old_and_new_certificate_of_one_issuer_may_share_a_key(self, corp: CA) -> None:
        renewed = rebuilt(corp.der, corp.key, replaced(SERIAL, element(0x02, b"\x07")))
        issuers = Issuers({"corp": [corp.der, renewed]})
        assert issuers.issuer_of(corp.issue("alice").der) == "corp"
        assert (corp.der, renewed) == issuers.certificates("corp")


class TestWhatMayIssue:
    def test_a_leaf_may_not(self, corp: CA) -> None:
        with pytest.raises(CertificateError, match="does not say CA:TRUE") as caught:
            Issuers({"corp": [corp.issue("alice").der]})
        assert caught.value.stage == "authority"

    def test_nor_a_version_3_certificate_without_basic_constraints(self, corp: CA) -> None:
        der = signed([*fields_of(corp.der)[:EXTENSIONS]], corp.key)
        with pytest.raises(CertificateError, match="does not say CA:TRUE"):
            Issuers({"corp": [der]})

    def test_nor_a_ca_whose_key_usage_lacks_cert_sign(self) -> None:
        usage = x509.KeyUsage(
            digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
            key_agreement=False, key_cert_sign=False, crl_sign=True, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        with pytest.raises(CertificateError, match="lacks keyCertSign") as caught:
            Issuers({"corp": [CA(has_key_usage=False, extensions=((usage, True),)).der]})
        assert caught.value.stage == "authority"

    def test_a_ca_without_key_usage_may(self) -> None:
        ca = CA(has_key_usage=False)
        assert Issuers({"corp": [ca.der]}).issuer_of(ca.issue("alice").der) == "corp"

    def test_a_version_1_root_may(self, corp: CA) -> None:
        old = signed(fields_of(corp.der)[SERIAL:EXTENSIONS], corp.key)
        assert Issuers({"corp": [old]}).issuer_of(corp.issue("alice").der) == "corp"

    def test_a_key_that_signs_nothing_may_not(self, corp: CA) -> None:
        spki = sequence(sequence(oid("1.3.101.110")), element(0x03, b"\0", b"\x09" + bytes(31)))
        with pytest.raises(CertificateError, match="signs no certificates"):
            Issuers({"corp": [rebuilt(corp.der, corp.key, replaced(KEY, spki))]})

    def test_what_cannot_be_read_may_not(self, corp: CA) -> None:
        version_7 = element(0xA0, element(0x02, b"\x06"))
        for der in (b"junk", rebuilt(corp.der, corp.key, replaced(VERSION, version_7))):
            with pytest.raises(CertificateError) as caught:
                Issuers({"corp": [der]})
            assert caught.value.stage == "load"


class TestSharedKeys:
    def test_one_key_under_two_names_is_refused(self, corp: CA) -> None:
        with pytest.raises(CertificateError, match="the issuers a and b have one key") as caught:
            Issuers({"a": [corp.der], "b": [corp.der]})
        assert caught.value.stage == "shared_key"

    def test_another_encoding_of_the_key_does_not_hide_it(self) -> None:
        """An rsaEncryption key may leave out the NULL of its parameters."""
        ca = CA(key="rsa")
        assert isinstance(ca.key, rsa.RSAPrivateKey)
        bits = ca.key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
        spki = sequence(sequence(oid("1.2.840.113549.1.1.1")), element(0x03, b"\0", bits))
        twin = rebuilt(ca.der, ca.key, replaced(KEY, spki))
        with pytest.raises(CertificateError):
            Issuers({"a": [ca.der], "b": [twin]})


class TestFromFiles:
    def test_pem_with_several_blocks_and_der_are_read(self, corp: CA, partners: CA) -> None:
        below = corp.intermediate("Issuing CA")
        issuers = Issuers.from_files(
            {
                "corp": [("trust/corp.pem", b"# our CAs\n" + corp.pem + below.pem)],
                "partners": [("trust/partners.der", partners.der)],
            }
        )
        assert issuers.names == ("corp", "partners")
        assert (corp.der, below.der) == issuers.certificates("corp")
        assert issuers.certificates("nobody") == ()
        assert issuers.issuer_of(partners.issue("a").der) == "partners"

    def test_all_problems_are_told_at_once_with_file_and_line(self, corp: CA, partners: CA) -> None:
        leaf = corp.issue("alice")
        broken = write_block("CERTIFICATE", b"\x30\x03abc")
        with pytest.raises(PolicyError) as caught:
            Issuers.from_files(
                {
                    "corp": [("a.pem", corp.pem + leaf.pem), ("b.pem", broken + partners.pem[:90]), ("c.pem", b"")],
                    "partners": [("d.pem", b"\n" + corp.pem), ("e.der", b"\x30\x00")],
                }
            )
        found = [(p.file, p.line, p.code) for p in caught.value.problems]
        second = corp.pem.count(b"\n") + 1
        assert [
            ("a.pem", second, "not-an-authority"),
            ("b.pem", 1, "bad-certificate"),
            ("b.pem", 4, "bad-certificate"),
            ("c.pem", 0, "no-certificate"),
            ("d.pem", 2, "shared-key"),
            ("e.der", 0, "bad-certificate"),
        ] == found

    def test_a_shared_key_names_both_issuers_and_the_first_file(self, corp: CA) -> None:
        with pytest.raises(PolicyError, match=r"issuer b is also that of issuer a \(a.pem\)"):
            Issuers.from_files({"a": [("a.pem", corp.pem)], "b": [("b.pem", corp.pem)]})


def test_issuers_survive_the_way_to_another_process(issuers: Issuers, corp: CA) -> None:
    copy = pickle.loads(pickle.dumps(issuers))
    assert issuers.names == copy.names
    assert copy.issuer_of(corp.issue("alice").der) == "corp"


_SIGNER = CA("Corp CA")
_LEAF = _SIGNER.issue("alice").der
_ISSUERS = Issuers({"corp": [_SIGNER.der]})


def test_who_signed_what_is_remembered_and_the_same_authorities_are_known_as_such() -> None:
    corp, other = CA("Corp"), CA("Corp")
    alice = corp.issue("alice")
    issuers = Issuers({"corp": [corp.der]})
    assert [issuers.issuer_of(alice.der) for _ in range(2)] == ["corp", "corp"]
    assert [issuers.issuer_of(other.issue("alice").der) for _ in range(2)] == [None, None]
    assert issuers.is_same(Issuers({"corp": [corp.der]}))
    assert not issuers.is_same(Issuers({"corp": [other.der]}))
    assert not issuers.is_same(Issuers({"partners": [corp.der]}))


def test_the_first_ca_certificate_to_expire_is_told() -> None:
    early, late = CA("early", not_after=1_900_000_000), CA("late", not_after=2_000_000_000)
    issuers = Issuers({"corp": [late.der, early.der], "none": []})
    assert issuers.soonest_expiry("corp") == 1_900_000_000
    assert issuers.soonest_expiry("none") is None
