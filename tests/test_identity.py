from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import subprocess
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spoa import identity
from spoa.exceptions import CertificateError
from spoa.facts import ABSENT
from spoa.identity import fingerprints, identity_from_der, parts_from_der, read_elements
from tests.der import element, extension, extensions, fields_of, name, oid, rebuilt, replaced, sequence, signed, text
from tests.pki import CA, HOUR

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VERSION, SERIAL, ALGORITHM, ISSUER, VALIDITY, SUBJECT, KEY, EXTENSIONS = range(8)
CN = "2.5.4.3"
SAN = "2.5.29.17"
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA("Corp CA")


@pytest.fixture(scope="module")
def alice(ca: CA) -> bytes:
    return ca.issue("alice", ["administrators"]).der


def edited(ca: CA, der: bytes, *edits: Callable[[list[bytes]], None]) -> bytes:
    fields = fields_of(der)
    for edit in edits:
        edit(fields)
    return signed(fields, ca.key)


def with_extensions(ca: CA, der: bytes, *encoded: bytes) -> bytes:
    return edited(ca, der, replaced(EXTENSIONS, extensions(*encoded)))


class TestWhatACertificateSays:
    def test_every_field_is_read(self, ca: CA) -> None:
        issued = ca.issue(
            "alice",
            ["administrators", "finance"],
            o=["Example"],
            dns=["a.example.com", "*.b.example.com"],
            uri=["spiffe://example.com/alice"],
            email=["Alice@Example.com"],
            ip=["192.0.2.1", "2001:db8::1"],
            eku=[CLIENT_AUTH, "1.2.3.4"],
            policies=["1.3.6.1.4.1.99999.1"],
            serial=4711,
        )
        read = identity_from_der(issued.der)
        spki = issued.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert (hashlib.sha256(issued.der).digest(), hashlib.sha1(issued.der).digest()) == (read.sha256, read.sha1)
        assert hashlib.sha256(spki).digest() == read.spki_sha256
        assert read.serial == 4711
        assert read.subject == {
            "2.5.4.10": ("Example",),
            "2.5.4.11": ("administrators", "finance"),
            CN: ("alice",),
        }
        assert read.dns_san == ("a.example.com", "*.b.example.com")
        assert read.uri_san == ("spiffe://example.com/alice",)
        assert read.email_san == ("Alice@Example.com",)
        assert (bytes([192, 0, 2, 1]), bytes.fromhex("20010db8000000000000000000000001")) == read.ip_san
        assert read.eku == (CLIENT_AUTH, "1.2.3.4")
        assert read.policy_oids == ("1.3.6.1.4.1.99999.1",)
        assert (read.is_ca, read.has_digital_signature) == (False, True)
        assert (read.key_type, read.key_bits, read.signature_hash) == ("EC", 256, "sha256")
        assert (ca.now - HOUR, ca.now + 720 * HOUR) == (read.not_before, read.not_after)
        assert (
            read.issuer_text,
            read.subject_text,
        ) == ("CN=Corp CA", "CN=alice,OU=finance,OU=administrators,O=Example")

    def test_what_is_not_there_is_absent_or_empty(self, ca: CA) -> None:
        read = identity_from_der(ca.issue("alice", eku=None, has_key_usage=False).der)
        assert (read.eku, read.policy_oids) == (ABSENT, ABSENT)
        assert (read.dns_san, read.uri_san, read.email_san, read.ip_san) == ((), (), (), ())
        assert read.has_digital_signature, "no keyUsage restricts nothing"

    def test_a_ca_says_that_it_is_one(self, ca: CA) -> None:
        assert identity_from_der(ca.der).is_ca

    def test_a_key_usage_without_digital_signature_is_seen(self, ca: CA) -> None:
        assert not identity_from_der(ca.issue("alice", digital_signature=False).der).has_digital_signature

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("ec:224", ("EC", 224)),
            ("ec:384", ("EC", 384)),
            ("ec:521", ("EC", 521)),
            ("rsa:1024", ("RSA", 1024)),
            ("rsa:2048", ("RSA", 2048)),
            ("ed25519", ("ED25519", 256)),
            ("ed448", ("ED448", 456)),
            ("dsa:2048", ("DSA", 2048)),
        ],
    )
    def test_the_key_is_named_with_its_size(self, ca: CA, kind: str, expected: tuple[str, int]) -> None:
        read = identity_from_der(ca.issue("alice", key=kind).der)
        assert expected == (read.key_type, read.key_bits)

    @pytest.mark.parametrize("kind", ["ed25519", "ed448"])
    def test_edwards_signatures_have_no_hash_of_their_own(self, kind: str) -> None:
        assert identity_from_der(CA(key=kind).issue("alice").der).signature_hash == ""

    @pytest.mark.parametrize("digest", ["md5", "sha1"])
    def test_a_weak_signature_hash_is_named(self, digest: str) -> None:
        ca = CA(key="rsa")
        assert digest == identity_from_der(rebuilt(ca.issue("alice").der, ca.key, digest=digest)).signature_hash

    def test_the_hash_of_a_pss_signature_is_that_of_its_parameters(self) -> None:
        assert identity_from_der(
            CA(key="rsa").issue("a", has_pss_signature=True, digest="sha384").der
        ).signature_hash == ("sha384")

    def test_an_spki_pin_is_of_the_bytes_as_they_stand(self, ca: CA) -> None:
        """The point of an EC key may be compressed; writing the key again would decompress it."""
        key = ec.generate_private_key(ec.SECP256R1())
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        algorithm = sequence(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7"))
        spki = sequence(algorithm, element(0x03, b"\0", point))
        der = edited(ca, ca.issue("alice").der, replaced(KEY, spki))
        assert hashlib.sha256(spki).digest() == identity_from_der(der).spki_sha256


class TestSubject:
    def test_a_multi_valued_rdn_gives_all_its_values(self, ca: CA, alice: bytes) -> None:
        subject = name([(CN, text("a")), ("2.5.4.11", text("b"))], [(CN, text("c"))])
        assert identity_from_der(edited(ca, alice, replaced(SUBJECT, subject))).subject == {
            CN: ("a", "c"),
            "2.5.4.11": ("b",),
        }

    @pytest.mark.parametrize(
        ("tag", "charset"),
        [(0x13, "ascii"), (0x14, "ascii"), (0x16, "ascii"), (0x1A, "ascii"), (0x1C, "utf-32-be"), (0x1E, "utf-16-be")],
        ids=["Printable", "T61", "IA5", "Visible", "Universal", "BMP"],
    )
    def test_old_string_types_are_text(self, ca: CA, alice: bytes, tag: int, charset: str) -> None:
        subject = name([(CN, text("alice", tag, charset))])
        assert identity_from_der(edited(ca, alice, replaced(SUBJECT, subject))).subject == {CN: ("alice",)}

    def test_control_characters_are_kept_for_the_judge_to_see(self, ca: CA, alice: bytes) -> None:
        subject = name([(CN, text("a\0b"))])
        assert identity_from_der(edited(ca, alice, replaced(SUBJECT, subject))).subject == {CN: ("a\0b",)}

    def test_an_empty_subject_is_legal(self, ca: CA) -> None:
        assert identity_from_der(ca.issue(None, dns=["a.example.com"]).der).subject == {}

    def test_lengths_beyond_the_upper_bounds_of_the_rfc_raise_no_warning(self, ca: CA, alice: bytes) -> None:
        subject = name([(CN, text("a" * 65))], [("2.5.4.6", text("DEU", 0x13))])
        assert identity_from_der(edited(ca, alice, replaced(SUBJECT, subject))).subject[CN] == ("a" * 65,)

    def test_bits_in_place_of_text_are_refused(self, ca: CA, alice: bytes) -> None:
        subject = name([("2.5.4.45", element(0x03, b"\0\x17"))])
        with pytest.raises(CertificateError, match=r"2\.5\.4\.45 holds bits") as caught:
            identity_from_der(edited(ca, alice, replaced(SUBJECT, subject)))
        assert caught.value.stage == "subject"


class TestSerial:
    @pytest.mark.parametrize(
        ("octets", "serial"),
        [(b"\xff", -1), (b"\x00", 0), (b"\x00\xff", 255), (b"\x7f" * 24, int.from_bytes(b"\x7f" * 24, "big"))],
        ids=["negative", "zero", "a byte that looks negative", "24 octets"],
    )
    def test_any_integer_is_a_serial_number(self, ca: CA, alice: bytes, octets: bytes, serial: int) -> None:
        assert serial == identity_from_der(edited(ca, alice, replaced(SERIAL, element(0x02, octets)))).serial

    def test_no_warning_of_the_parser_escapes(self, ca: CA, alice: bytes) -> None:
        der = edited(ca, alice, replaced(SERIAL, element(0x02, b"\xff")))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            identity_from_der(der)
        assert caught == []


class TestAlternativeNames:
    def test_names_of_kinds_that_no_policy_reads_are_passed_over(self, ca: CA, alice: bytes) -> None:
        other = element(0xA0, oid("1.3.6.1.4.1.311.20.2.3"), element(0xA0, text("alice@example.com")))
        directory = element(0xA4, name([(CN, text("mallory"))]))
        registered = element(0x88, oid("1.2.3")[2:])
        dns = element(0x82, b"a.example.com")
        read = identity_from_der(
            with_extensions(ca, alice, extension(SAN, sequence(other, directory, registered, dns)))
        )
        assert (read.dns_san, read.uri_san, read.email_san, read.ip_san) == (("a.example.com",), (), (), ())

    def test_an_empty_list_of_names_is_no_names(self, ca: CA, alice: bytes) -> None:
        assert identity_from_der(with_extensions(ca, alice, extension(SAN, sequence()))).dns_san == ()

    def test_a_thousand_names_are_read_and_one_more_is_refused(self, ca: CA, alice: bytes) -> None:
        def with_names(count: int) -> bytes:
            return with_extensions(ca, alice, extension(SAN, sequence(*([element(0x82, b"a.b")] * count))))

        assert len(identity_from_der(with_names(1000)).dns_san) == 1000
        with pytest.raises(CertificateError, match="more than 1000 names") as caught:
            identity_from_der(with_names(1001))
        assert caught.value.stage == "subject_alternative_name"

    @pytest.mark.parametrize("size", [8, 32])
    def test_an_address_with_a_mask_is_refused(self, ca: CA, alice: bytes, size: int) -> None:
        names = sequence(element(0x87, b"\xff" * size))
        with pytest.raises(CertificateError):
            identity_from_der(with_extensions(ca, alice, extension(SAN, names)))

    def test_a_range_of_addresses_is_no_address(self) -> None:
        with pytest.raises(CertificateError, match="no single address"):
            identity._packed(x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")).value)

    @pytest.mark.parametrize("tag", [0x81, 0x82, 0x86], ids=["email", "dns", "uri"])
    def test_names_beyond_ascii_are_refused(self, ca: CA, alice: bytes, tag: int) -> None:
        names = sequence(element(tag, "é@é.example.com".encode()))
        with pytest.raises(CertificateError):
            identity_from_der(with_extensions(ca, alice, extension(SAN, names)))

    def test_text_beyond_ascii_is_refused_even_if_the_parser_lets_it_pass(self) -> None:
        with pytest.raises(CertificateError, match="is not ASCII"):
            identity._ascii("é.example.com")


def _insert_null(fields: list[bytes]) -> None:
    fields[KEY] = sequence(sequence(oid("1.2.840.10045.2.1"), b"\x05\x00"), element(0x03, b"\0\x04" + bytes(64)))


def _validity(text_of_time: bytes) -> bytes:
    return sequence(element(0x17, text_of_time), element(0x17, b"491231235959Z"))


def _basic_constraints(*content: bytes) -> bytes:
    return extensions(extension("2.5.29.19", sequence(*content), critical=True))


ODD: dict[str, tuple[int, bytes, str]] = {
    "a time without seconds": (VALIDITY, _validity(b"2001010000Z"), "load"),
    "a time with an offset": (VALIDITY, _validity(b"200101000000+0100"), "load"),
    "version 2": (VERSION, element(0xA0, element(0x02, b"\x01")), "version"),
    "version 7": (VERSION, element(0xA0, element(0x02, b"\x06")), "version"),
    "CA:FALSE with a path length": (EXTENSIONS, _basic_constraints(element(0x02, b"\x00")), "extensions"),
    "an empty EKU": (EXTENSIONS, extensions(extension("2.5.29.37", sequence())), "extensions"),
    "a duplicate extension": (
        EXTENSIONS,
        extensions(*[extension("2.5.29.37", sequence(oid(CLIENT_AUTH)))] * 2),
        "extensions",
    ),
    "an x400Address": (EXTENSIONS, extensions(extension(SAN, sequence(element(0xA3)))), "extensions"),
    "an ediPartyName": (EXTENSIONS, extensions(extension(SAN, sequence(element(0xA5)))), "extensions"),
    "a SAN that is no sequence": (EXTENSIONS, extensions(extension(SAN, b"\x05\x00")), "extensions"),
    "a SAN with bytes after it": (EXTENSIONS, extensions(extension(SAN, sequence() + b"\0")), "extensions"),
    "policies that are none": (EXTENSIONS, extensions(extension("2.5.29.32", b"\x04\x01x")), "extensions"),
    "an AIA that is none": (EXTENSIONS, extensions(extension("1.3.6.1.5.5.7.1.1", b"\x04\x01x")), "extensions"),
    "an empty keyUsage element": (EXTENSIONS, extensions(extension("2.5.29.15", b"\x04\x00")), "extensions"),
    "a GOST key": (KEY, sequence(sequence(oid("1.2.643.7.1.1.1.1")), element(0x03, b"\0", bytes(64))), "public_key"),
    "an unknown curve": (
        KEY,
        sequence(sequence(oid("1.2.840.10045.2.1"), oid("1.3.36.3.3.2.8.1.1.99")), element(0x03, b"\0\x04", bytes(64))),
        "public_key",
    ),
    "a point that is not on the curve": (
        KEY,
        sequence(
            sequence(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")), element(0x03, b"\0\x04" + b"\x01" * 64)
        ),
        "public_key",
    ),
    "an RSA exponent of 1": (
        KEY,
        sequence(
            sequence(oid("1.2.840.113549.1.1.1"), b"\x05\x00"),
            element(0x03, b"\0", sequence(element(0x02, b"\0" + b"\xc1" * 256), element(0x02, b"\x01"))),
        ),
        "public_key",
    ),
    "a name that is not UTF-8": (SUBJECT, name([(CN, element(0x0C, b"\xff"))]), "subject"),
    "a BMPString of odd length": (SUBJECT, name([(CN, element(0x1E, b"\0a\0"))]), "load"),
    "an attribute twice in one RDN": (SUBJECT, name([(CN, text("a")), (CN, text("a"))]), "subject"),
    "an issuer that is not UTF-8": (ISSUER, name([(CN, element(0x0C, b"\xff"))]), "issuer"),
}


class TestWhatCantBeRead:
    @pytest.mark.parametrize("case", ODD)
    def test_an_odd_certificate_is_refused_with_the_stage(self, ca: CA, alice: bytes, case: str) -> None:
        index, field, stage = ODD[case]
        der = edited(ca, alice, replaced(index, field))
        with pytest.raises(CertificateError) as caught:
            identity_from_der(der)
        assert stage == caught.value.stage
        assert caught.value.detail

    @pytest.mark.parametrize(
        "case",
        [
            "a time without seconds",
            "version 7",
            "CA:FALSE with a path length",
            "an empty EKU",
            "a duplicate extension",
            "an x400Address",
            "an AIA that is none",
            "a GOST key",
        ],
    )
    def test_openssl_and_so_haproxy_takes_what_is_refused_here(
        self, ca: CA, alice: bytes, case: str, tmp_path: Path
    ) -> None:
        """These are no inventions: a proxy would pass them on."""
        index, field, _ = ODD[case]
        file = tmp_path / "odd.der"
        file.write_bytes(edited(ca, alice, replaced(index, field)))
        command = ["openssl", "x509", "-inform", "DER", "-in", str(file), "-noout", "-fingerprint", "-sha256"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert fingerprints(file.read_bytes())[0].hex() == printed.split("=")[1].strip().replace(":", "").lower()

    def test_ecdsa_parameters_that_are_an_explicit_null_are_refused_at_load_if_at_all(self, alice: bytes) -> None:
        """Releases of the parser differ; none may let a warning or another exception through."""
        algorithm = sequence(oid("1.2.840.10045.4.3.2"), b"\x05\x00")
        fields = fields_of(alice)
        fields[ALGORITHM] = algorithm
        stages = []
        try:
            identity_from_der(sequence(sequence(*fields), algorithm, element(0x03, b"\0", bytes(70))))
        except CertificateError as error:
            stages.append(error.stage)
        assert stages in ([], ["load"])

    def test_an_rsa_exponent_below_three_is_refused_even_if_the_parser_lets_it_pass(self) -> None:
        with pytest.raises(CertificateError, match="an RSA exponent of 1") as caught:
            identity._check_exponent(1)
        assert caught.value.stage == "public_key"

    @pytest.mark.parametrize("dotted", ["1.2.840.113549.1.1.2", "1.2.3.4"], ids=["MD2", "unknown"])
    def test_an_unknown_signature_algorithm_is_refused(self, alice: bytes, dotted: str) -> None:
        algorithm = sequence(oid(dotted), b"\x05\x00")
        fields = fields_of(alice)
        fields[ALGORITHM] = algorithm
        with pytest.raises(CertificateError) as caught:
            identity_from_der(sequence(sequence(*fields), algorithm, element(0x03, b"\0", bytes(70))))
        assert caught.value.stage == "signature_algorithm"

    def test_a_key_that_signs_nothing_is_refused(self, ca: CA, alice: bytes) -> None:
        raw = x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
        spki = sequence(sequence(oid("1.3.101.110")), element(0x03, b"\0", raw))
        with pytest.raises(CertificateError, match="signs nothing") as caught:
            identity_from_der(edited(ca, alice, replaced(KEY, spki)))
        assert caught.value.stage == "public_key"

    @pytest.mark.parametrize("tail", [b"\0", b"\x30\x00", b"\n"])
    def test_bytes_after_the_certificate_are_refused(self, alice: bytes, tail: bytes) -> None:
        with pytest.raises(CertificateError) as caught:
            identity_from_der(alice + tail)
        assert caught.value.stage in {"trailing", "load"}

    def test_more_than_64_kib_are_not_even_parsed(self) -> None:
        with pytest.raises(CertificateError, match="65537 bytes, more than 65536") as caught:
            identity_from_der(bytes(64 * 1024 + 1))
        assert caught.value.stage == "size"

    @pytest.mark.parametrize(
        "der",
        [
            b"",
            b"\x30",
            b"\x30\x80",
            b"\x30\x85\1\1\1\1\1",
            b"\x30\x03\x02\x01",
            b"\x3f\x81\x00\x00",
            sequence(),
            b"\0\0",
        ],
    )
    def test_what_is_no_certificate_is_refused_at_load(self, der: bytes) -> None:
        with pytest.raises(CertificateError) as caught:
            identity_from_der(der)
        assert caught.value.stage == "load"

    def test_a_certificate_in_another_container_is_refused(self, alice: bytes) -> None:
        with pytest.raises(CertificateError, match="not a DER sequence"):
            parts_from_der(b"\x31" + alice[1:])

    def test_a_signature_that_is_no_whole_number_of_octets_is_refused(self, alice: bytes) -> None:
        ((_, _, content),) = read_elements(alice)
        (_, tbs, _), (_, algorithm, _), (_, _, signature) = read_elements(content)
        with pytest.raises(CertificateError, match="whole number of octets"):
            identity_from_der(sequence(tbs, algorithm, element(0x03, b"\4", signature[1:-1], b"\x10")))

    def test_a_number_for_the_version_is_not_taken_for_a_field(self, ca: CA, alice: bytes) -> None:
        with pytest.raises(CertificateError):
            identity_from_der(edited(ca, alice, replaced(VERSION, element(0xA0))))

    @settings(deadline=None, max_examples=300)
    @given(st.data())
    def test_damage_anywhere_gives_a_certificate_or_a_certificate_error(self, ca: CA, data: st.DataObject) -> None:
        der = bytearray(_RICH)
        for _ in range(data.draw(st.integers(1, 3))):
            der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(CertificateError):
            identity_from_der(bytes(der))

    @settings(deadline=None)
    @given(st.binary(max_size=200))
    @example(b"\x30\x82\x00\x00")
    def test_garbage_gives_a_certificate_error(self, der: bytes) -> None:
        with pytest.raises(CertificateError):
            identity_from_der(der)

    @pytest.mark.interpreted
    @pytest.mark.parametrize("kind", [bytearray, memoryview])
    def test_bytes_of_another_type_are_refused_and_leave_nothing_behind(self, alice: bytes, kind: Any) -> None:
        der = bytes(bytearray(alice))
        with pytest.raises(CertificateError, match=f"a {kind.__name__}, not bytes"):
            identity_from_der(kind(der))
        assert identity_from_der(der).serial == identity_from_der(alice).serial


class TestVersionOne:
    def test_a_certificate_without_version_and_extensions_is_readable(self, ca: CA, alice: bytes) -> None:
        read = identity_from_der(signed(fields_of(alice)[SERIAL:EXTENSIONS], ca.key))
        assert read.subject == {CN: ("alice",), "2.5.4.11": ("administrators",)}
        assert (read.eku, read.is_ca, read.has_digital_signature) == (ABSENT, False, True)

    def test_extensions_are_refused_in_it(self, ca: CA, alice: bytes) -> None:
        with pytest.raises(CertificateError, match="version 1") as caught:
            identity_from_der(signed(fields_of(alice)[SERIAL:], ca.key))
        assert caught.value.stage == "version"


class TestLoadable:
    def test_what_was_read_is_loadable_and_what_the_parser_refuses_is_not(self, ca: CA, alice: bytes) -> None:
        identity_from_der(alice)
        for _ in range(2):
            identity.check_loadable(alice)
            with pytest.raises(x509.InvalidVersion):
                identity.check_loadable(edited(ca, alice, replaced(VERSION, element(0xA0, element(0x02, b"\x01")))))


class TestParts:
    def test_the_parts_are_those_that_the_parser_finds(self, ca: CA, alice: bytes) -> None:
        parsed = x509.load_der_x509_certificate(alice)
        parts = parts_from_der(alice)
        assert parsed.tbs_certificate_bytes == parts.tbs
        assert parsed.signature == parts.signature
        assert parsed.issuer.public_bytes() == parts.issuer
        assert parsed.subject.public_bytes() == parts.subject
        assert parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == parts.spki
        assert parts.signature_algorithm == parts.tbs_signature_algorithm

    def test_fingerprints_are_those_of_the_parser(self, alice: bytes) -> None:
        assert (hashlib.sha256(alice).digest(), hashlib.sha1(alice).digest()) == fingerprints(alice)


def test_reading_costs_less_than_a_millisecond(ca: CA) -> None:
    """A loose bound for busy machines; an idle one takes a fifth of it."""
    der = ca.issue("alice", ["a", "b"], dns=["a.example.com"], uri=["spiffe://example.com/alice"]).der
    costs = []
    for _ in range(50):
        begun = time.process_time()
        identity_from_der(der)
        costs.append(time.process_time() - begun)
    assert min(costs) < 0.001


_RICH = CA("Corp CA").issue("alice", ["a"], dns=["a.b"], uri=["spiffe://a/b"], email=["a@b"], ip=["192.0.2.1"]).der


def test_a_subject_in_a_log_is_read_back() -> None:
    certificate = identity_from_der(CA("corp").issue("a, b", ["x", "y+z"]).der)
    found = identity.subject_from_text(certificate.subject_text)
    assert {oid: sorted(values) for oid, values in found.items()} == {
        oid: sorted(values) for oid, values in certificate.subject.items()
    }
    assert identity.subject_from_text("") == {}
    with pytest.raises(ValueError, match="no name as RFC 4514"):
        identity.subject_from_text("no name")
