"""What is read of certificates without the parser is what it says, nothing that it refuses is, and the usual is."""

from __future__ import annotations

import random
import warnings
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given, settings
from hypothesis import strategies as st

from spoa import identity
from spoa.exceptions import CertificateError
from spoa.identity import identity_from_der, parts_from_der
from spoa.plaincertificate import cut_certificate, plain_key, plain_serial, plain_validity
from tests.der import element, extension, extensions, fields_of, name, oid, sequence, signed, text
from tests.mutants import mutant
from tests.pki import CA

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION, SERIAL, ALGORITHM, ISSUER, VALIDITY, SUBJECT, KEY, EXTENSIONS = range(8)
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
#: The first second of 2050, and those around it.
MID_CENTURY = 2_524_608_000

_CA = CA("Corp CA")
_NAMES: dict[str, Any] = {
    "o": ["Example Industries"],
    "dns": ["a.example.com"],
    "uri": ["spiffe://a/b"],
    "email": ["a@example.com"],
    "ip": ["192.0.2.1"],
}
#: One of each usual kind.
USUAL = {
    "P-256": _CA.issue("alice", ["a", "b"], **_NAMES).der,
    "P-384": CA("Corp CA 2", key="ec:384", digest="sha384").issue("bob", key="ec:384", digest="sha384").der,
    "RSA-2048": CA("Corp CA 3", key="rsa:2048").issue("carol", ["c"], key="rsa:2048", **_NAMES).der,
    "RSA-3072": _CA.issue("dave", key="rsa:3072", policies=["1.3.6.1.4.1.99999.1"]).der,
    "RSA-4096": _CA.issue("erin", key="rsa:4096", crl_url="http://crl.example/a").der,
    "beyond 2050": _CA.issue("frank", not_after=MID_CENTURY, serial=1).der,
    "a CA": _CA.der,
}


def forget() -> None:
    """Have the parser asked about everything again."""
    for cache in (identity._terms, identity._issuer_texts, identity._signature_hashes):
        cache.younger.clear()
        cache.older.clear()
    identity._parts_from_der.cache_clear()


def plain(der: bytes) -> identity._Said | None:
    """Return what is read of a certificate without the parser, if it is."""
    try:
        parts = parts_from_der(der)
    except CertificateError:
        return None
    return identity._plain(parts) if parts.is_plain else None


def by_the_parser(der: bytes) -> identity._Said:
    """Return what the parser alone says of a certificate.

    Raises:
        Exception: it refuses it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        certificate = x509.load_der_x509_certificate(der)
        found: dict[Any, Any] = dict(identity._extensions(certificate))
        digest = certificate.signature_hash_algorithm
        return identity._Said(
            subject=identity._subject(certificate),
            key=identity._key(certificate),
            validity=identity._validity(certificate),
            terms_and_names=(
                identity._terms_of(found),
                identity._alternative_names(found.get(x509.SubjectAlternativeName)),
            ),
            serial=certificate.serial_number,
            signature_hash="" if digest is None else digest.name,
            issuer_text=certificate.issuer.rfc4514_string(),
        )


def check(der: bytes) -> bool:
    """Compare what is read without the parser with what it says; tell whether anything was."""
    said = plain(der)
    if said is None:
        return False
    assert said == by_the_parser(der)
    return True


def edited(*edits: Callable[[list[bytes]], None]) -> bytes:
    fields = fields_of(USUAL["P-256"])
    for edit in edits:
        edit(fields)
    return signed(fields, _CA.key)


@pytest.fixture(autouse=True)
def _known() -> None:
    """What certificates of these CAs say alike is known, as after the first of each."""
    forget()
    for der in USUAL.values():
        identity_from_der(der)


class TestTheUsualIsReadWithoutTheParser:
    @pytest.mark.parametrize("kind", USUAL)
    def test_one_of_each_kind(self, kind: str) -> None:
        assert check(USUAL[kind])

    @pytest.mark.interpreted
    def test_the_parser_is_not_called(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nor are warnings silenced, which takes as long."""
        others = [_CA.issue(f"alice {number}", ["a"], **_NAMES).der for number in range(3)]
        monkeypatch.setattr(identity, "loaded", None)
        monkeypatch.setattr(warnings, "catch_warnings", None)
        for der in others:
            assert identity_from_der(der).key_bits == 256

    def test_the_first_of_a_ca_is_for_the_parser(self) -> None:
        assert plain(CA("Another CA").issue("alice").der) is None
        forget()
        assert plain(USUAL["P-256"]) is None


#: The prime of P-256, and points on it with a coordinate so small that with p added it still fits.
_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_SMALL_X = (5, 0x459243B9AA581806FE913BCE99817ADE11CA503C64D9A3C533415C083248FBCC)
_SMALL_Y = (0xD7325D7646CD60D80A92738CEB345F844CFFAF35841022CAB176F692DE8DE1D7, 5)


def other_fields(index: int, *fields: bytes) -> bytes:
    return edited(lambda before: before.__setitem__(slice(index, index + 1), list(fields)))


def rsa_key(modulus: bytes, exponent: bytes = b"\x01\x00\x01", parameters: bytes = b"\x05\x00") -> bytes:
    numbers = sequence(element(0x02, modulus), element(0x02, exponent))
    return sequence(sequence(oid("1.2.840.113549.1.1.1"), parameters), element(0x03, b"\0", numbers))


def ec_key(point: bytes, curve: str = "1.2.840.10045.3.1.7") -> bytes:
    return sequence(sequence(oid("1.2.840.10045.2.1"), oid(curve)), element(0x03, b"\0", point))


def point_of(curve: ec.EllipticCurve, form: PublicFormat = PublicFormat.UncompressedPoint) -> bytes:
    return ec.generate_private_key(curve).public_key().public_bytes(Encoding.X962, form)


class TestWhatIsNotOfTheUsualFormIsLeftToTheParser:
    @pytest.mark.parametrize(
        ("index", "fields"),
        [
            (VERSION, ()),
            (VERSION, (element(0xA0, element(0x02, b"\x01")),)),
            (VERSION, (element(0xA0, element(0x02, b"\x00")),)),
            (VERSION, (element(0xA0, element(0x02, b"\x00\x02")),)),
            (SERIAL, (b"\x02\x81\x01\x07",)),
            (EXTENSIONS, ()),
            (EXTENSIONS, (extensions(),)),
            (EXTENSIONS, (element(0xA3),)),
            (EXTENSIONS, (element(0x81, b"\0a"), extensions(extension("2.5.29.14", b"\x04\x01a")))),
            (EXTENSIONS, (element(0x82, b"\0a"), extensions(extension("2.5.29.14", b"\x04\x01a")))),
            (EXTENSIONS, (extensions(extension("2.5.29.14", b"\x04\x01a")), b"\x05\x00")),
            (EXTENSIONS, (element(0xA3, sequence(extension("2.5.29.14", b"\x04\x01a")), b"\x05\x00"),)),
            (ISSUER, (name([("2.5.4.3", text("a"))]), name())),
        ],
    )
    def test_other_fields(self, index: int, fields: tuple[bytes, ...]) -> None:
        der = other_fields(index, *fields)
        assert cut_certificate(der) is None
        assert plain(der) is None

    def test_what_stands_behind_or_between(self) -> None:
        der = USUAL["P-256"]
        tbs = sequence(*fields_of(der))
        algorithm, signature = parts_from_der(der).signature_algorithm, element(0x03, b"\0abc")
        assert cut_certificate(sequence(tbs, algorithm, signature)) is not None
        for odd in (
            *(der + b"\0", der[:-1], der[:3], b"", b"\x31" + der[1:]),
            sequence(tbs, algorithm, signature, b"\x05\x00"),
            *(sequence(tbs, b"\x05\x00", algorithm, signature), sequence(tbs, algorithm), sequence(tbs)),
            *(sequence(tbs, algorithm, element(0x03, bits)) for bits in (b"", b"\1ab", b"\xff")),
            sequence(tbs, algorithm, b"\x03\x81\x02\0a"),
            sequence(b"\x30\x83\0" + tbs[2:], algorithm, signature),
        ):
            assert cut_certificate(odd) is None

    def test_two_algorithms_that_differ(self) -> None:
        der = USUAL["P-256"]
        tbs, signature = sequence(*fields_of(der)), element(0x03, b"\0abc")
        other = parts_from_der(USUAL["P-384"]).signature_algorithm
        assert plain(sequence(tbs, other, signature)) is None

    @pytest.mark.parametrize(
        "serial",
        [
            b"",
            b"\0",
            b"\0\x01",
            b"\0\x7f",
            b"\0\0\x80",
            b"\x80",
            b"\xff",
            b"\xff\x01",
            b"\x01" * 21,
            b"\0" + b"\xff" * 20,
        ],
    )
    def test_a_serial_number(self, serial: bytes) -> None:
        assert plain_serial(element(0x02, serial)) is None

    @pytest.mark.parametrize(
        "serial", [b"\x02", b"\x03\x01\x01", b"\x02\x02\x01", b"\x02\x01\x01\x01", b"\x02\x81\x01\x01"]
    )
    def test_a_serial_number_that_is_no_integer(self, serial: bytes) -> None:
        assert plain_serial(serial) is None

    @pytest.mark.parametrize(
        "time",
        [
            *(b"010229000000Z", b"261117240000Z", b"261117006000Z", b"261117000060Z", b"261117000000z"),
            *(b"+61117000000Z", b" 61117000000Z", b"2_1117000000Z", b"2611170000Z", b"261117000000+0100", b""),
            *(
                b"260017000000Z",
                b"260001000000Z",
                b"261317000000Z",
                b"261100000000Z",
                b"261131000000Z",
                b"\xb261117000000Z",
            ),
            *(b"20491231235959Z", b"19500101000000Z", b"00000101000000Z", b"21000229000000Z", b"20500101000000.0Z"),
        ],
    )
    @pytest.mark.parametrize("tag", [UTC_TIME, GENERALIZED_TIME])
    def test_a_time(self, time: bytes, tag: int) -> None:
        usual = element(UTC_TIME, b"261117000000Z")
        assert plain_validity(sequence(usual, usual)) is not None
        assert plain_validity(sequence(element(tag, time), usual)) is None
        assert plain_validity(sequence(usual, element(tag, time))) is None

    def test_a_validity_of_other_than_two_times(self) -> None:
        usual = element(UTC_TIME, b"261117000000Z")
        for odd in (
            sequence(),
            sequence(usual),
            sequence(usual, usual, usual),
            sequence(usual, usual) + b"\0",
            b"\x30",
        ):
            assert plain_validity(odd) is None
        assert plain_validity(element(0x31, usual, usual)) is None
        assert plain_validity(b"\x30\x81\x1e" + usual + usual) is None

    def test_a_key(self) -> None:
        point, large = point_of(ec.SECP256R1()), point_of(ec.SECP384R1())
        modulus = b"\0\xc1" + b"\x55" * 255
        assert plain_key(ec_key(point)) == ("EC", 256)
        assert plain_key(ec_key(large, "1.3.132.0.34")) == ("EC", 384)
        assert plain_key(rsa_key(modulus)) == ("RSA", 2048)
        for odd in (
            ec_key(b"\x04" + bytes(64)),
            ec_key(b"\x04" + b"\x01" * 64),
            ec_key(b"\x00"),
            ec_key(point + b"\0"),
            ec_key(point[:-1]),
            ec_key(point) + b"\0",
            ec_key(point[:-1] + bytes([point[-1] ^ 1])),
            ec_key(large[:-1] + bytes([large[-1] ^ 1]), "1.3.132.0.34"),
            ec_key(point_of(ec.SECP256R1(), PublicFormat.CompressedPoint)),
            ec_key(large),
            ec_key(point, "1.3.132.0.34"),
            ec_key(point_of(ec.SECP256K1()), "1.3.132.0.10"),
            ec_key(b"\x04" + _P.to_bytes(32) + point[33:]),
            ec_key(b"\x06" + point[1:]),
            *(
                rsa_key(modulus, exponent)
                for exponent in (b"", b"\1", b"\2", b"\3", b"\1\0\0", b"\0\1\0\1", b"\x81\0\1")
            ),
            *(rsa_key(modulus, parameters=one) for one in (b"", b"\x02\x00", b"\x05\x81\x00")),
            rsa_key(modulus[:-1] + b"\x54"),
            rsa_key(modulus[1:]),
            rsa_key(b"\0\x7f" + modulus[2:]),
            rsa_key(b"\1" + modulus[1:]),
            rsa_key(modulus[:-1]),
            b"",
        ):
            assert plain_key(odd) is None

    @pytest.mark.parametrize(("x", "y"), [_SMALL_X, _SMALL_Y])
    def test_a_coordinate_beyond_the_field_is_not_taken_for_the_one_that_it_is_congruent_to(
        self, x: int, y: int
    ) -> None:
        """Both fit into 256 bits, and say the same modulo p."""
        larger = (x + _P, y) if x < y else (x, y + _P)
        spki = [ec_key(b"\x04" + one.to_bytes(32) + other.to_bytes(32)) for one, other in ((x, y), larger)]
        assert [plain_key(one) for one in spki] == [("EC", 256), None]
        with pytest.raises(ValueError, match=r".+"):
            load_der_public_key(spki[1])

    def test_a_coordinate_of_too_many_octets(self) -> None:
        spki = ec_key(point_of(ec.SECP256R1()))
        assert plain_key(spki[:-32] + b"\0" + spki[-32:]) is None


@given(st.binary(max_size=22))
def test_a_serial_number_is_what_the_parser_says(content: bytes) -> None:
    check(other_fields(SERIAL, element(0x02, content)))


@given(st.integers(1, 2**159 - 1))
def test_every_usual_serial_number_is_read(serial: int) -> None:
    assert plain_serial(element(0x02, serial.to_bytes(serial.bit_length() // 8 + 1))) == serial


def written(moment: datetime) -> bytes:
    if moment.year < 2050:
        return element(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())
    return element(GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode())


def test_every_day_of_two_centuries_is_what_the_calendar_says() -> None:
    day = datetime(1950, 1, 1, 23, 59, 58, tzinfo=UTC)
    while day.year < 2150:
        seconds = int(day.timestamp())
        assert plain_validity(sequence(written(day), written(day))) == (seconds, seconds)
        day += timedelta(days=1)


@given(*[st.datetimes(datetime(1950, 1, 1), datetime(9999, 12, 31, 23, 59, 59))] * 2)  # noqa: DTZ001 -- UTC below
def test_every_usual_validity_is_what_the_calendar_says(begin: datetime, end: datetime) -> None:
    moments = [one.replace(microsecond=0, tzinfo=UTC) for one in (begin, end)]
    expected = tuple(int(one.timestamp()) for one in moments)
    assert plain_validity(sequence(*map(written, moments))) == expected


@settings(deadline=None)
@given(
    st.sampled_from([b"%02d" % number for number in range(100)] + [b"20%02d" % number for number in range(100)]),
    st.lists(st.integers(0, 62), min_size=5, max_size=5),
    st.sampled_from([UTC_TIME, GENERALIZED_TIME]),
)
def test_a_time_is_what_the_parser_says(year: bytes, rest: list[int], tag: int) -> None:
    time = element(tag, year + b"".join(b"%02d" % number for number in rest) + b"Z")
    check(other_fields(VALIDITY, sequence(time, element(UTC_TIME, b"491231235959Z"))))


@settings(deadline=None)
@given(st.sampled_from([ec.SECP256R1(), ec.SECP384R1()]), st.data())
def test_a_point_is_taken_where_the_parser_takes_it(curve: ec.EllipticCurve, data: st.DataObject) -> None:
    key = ec.derive_private_key(data.draw(st.integers(1, 2**250)), curve).public_key()
    spki = bytearray(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    assert plain_key(bytes(spki)) == ("EC", curve.key_size)
    spki[data.draw(st.integers(0, len(spki) - 1))] ^= data.draw(st.integers(1, 255))
    if plain_key(bytes(spki)) is not None:
        assert isinstance(load_der_public_key(bytes(spki)), ec.EllipticCurvePublicKey)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([2048, 3072, 4096]), st.data())
def test_a_modulus_is_taken_where_the_parser_takes_it(bits: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(2 ** (bits - 2), 2 ** (bits + 1)))
    found = plain_key(rsa_key(number.to_bytes(number.bit_length() // 8 + 1)))
    assert (found is not None) == (number % 2 == 1 and number.bit_length() == bits)
    if found is not None:
        key = load_der_public_key(rsa_key(number.to_bytes(number.bit_length() // 8 + 1)))
        assert isinstance(key, rsa.RSAPublicKey)
        assert found == ("RSA", key.key_size)


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048", "beyond 2050"])
def test_mutants_are_what_the_parser_says_or_left_to_it(kind: str) -> None:
    chance = random.Random(kind)
    others = list(USUAL.values())
    read = sum(check(mutant(USUAL[kind], chance.choice(others), chance)) for _ in range(4000))
    assert read > 100, "damage to names, numbers and times leaves a certificate of the usual form"


@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_damage_to_any_byte_is_seen(flip: int) -> None:
    der = USUAL["P-256"]
    for at in range(len(der)):
        check(der[:at] + bytes([der[at] ^ flip]) + der[at + 1 :])
        check(der[:at] + der[at + 1 :])
        check(der[: at + 1] + der[at:])


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(USUAL)), st.sampled_from(sorted(USUAL)), st.integers(0, 2**64))
def test_any_mutant_is_what_the_parser_says_or_left_to_it(kind: str, other: str, seed: int) -> None:
    check(mutant(USUAL[kind], USUAL[other], random.Random(seed)))
