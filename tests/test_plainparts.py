"""What is read without the parser is what the parser says, and the usual is read without it."""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import Any

import pytest
from cryptography import x509
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spoa import identity
from spoa.exceptions import CertificateError
from spoa.facts import Certificate
from spoa.identity import identity_from_der, loaded, parts_from_der, read_elements
from spoa.plainparts import cut_extensions, element_at, plain_alternative_names, plain_subject, plain_subject_from_text
from tests.der import element, extension, extensions, fields_of, name, oid, replaced, sequence, signed, text
from tests.pki import CA

SUBJECT, EXTENSIONS = 5, 7
CN, ORG, OU, C, DC, UID = (
    "2.5.4.3",
    "2.5.4.10",
    "2.5.4.11",
    "2.5.4.6",
    "0.9.2342.19200300.100.1.25",
    "0.9.2342.19200300.100.1.1",
)
SAN, SKI = "2.5.29.17", "2.5.29.14"

_CA = CA("Corp CA")
_RICH = _CA.issue(
    "alice",
    ["a", "b"],
    o=["Example Industries"],
    dns=["a.example.com", "b.example.com"],
    uri=["spiffe://a/b"],
    email=["a@example.com"],
    ip=["192.0.2.1", "2001:db8::1"],
    policies=["1.3.6.1.4.1.99999.1"],
).der
_POOR = _CA.issue("bob").der


def forget() -> None:
    """Have the parser asked about extensions again."""
    identity._terms.younger.clear()
    identity._terms.older.clear()


def outcome(der: bytes) -> Any:
    """Return all that is read of a certificate, or where reading failed."""
    try:
        certificate = identity_from_der(der)
    except CertificateError as error:
        return error.stage
    return [getattr(certificate, field.name) for field in fields(Certificate)]


def by_the_parser(der: bytes) -> tuple[dict[str, tuple[str, ...]], str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subject = loaded(der).subject
    values: dict[str, tuple[str, ...]] = {}
    for attribute in subject:
        values[attribute.oid.dotted_string] = (*values.get(attribute.oid.dotted_string, ()), str(attribute.value))
    return values, subject.rfc4514_string()


def check(der: bytes, *known: bytes) -> None:
    """Compare what is read after certificates like it are *known* with what the parser says."""
    forget()
    expected = outcome(der)
    forget()
    for one in known:
        outcome(one)
    assert expected == outcome(der)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            certificate, parts = loaded(der), parts_from_der(der)
    except (CertificateError, ValueError, x509.InvalidVersion):
        return  # of what can't be loaded nothing is promised
    found = plain_subject(parts.subject)
    assert found is None or found == by_the_parser(der), certificate


def with_subject(subject: bytes) -> bytes:
    fields = fields_of(_POOR)
    fields[SUBJECT] = subject
    return signed(fields, _CA.key)


def with_extensions(*encoded: bytes) -> bytes:
    fields = fields_of(_POOR)
    replaced(EXTENSIONS, extensions(*encoded))(fields)
    return signed(fields, _CA.key)


def own_extensions(der: bytes) -> list[bytes]:
    return [whole for _, whole, _ in read_elements(parts_from_der(der).extensions)]


class TestTheUsualIsReadWithoutTheParser:
    def test_a_subject_of_all_usual_types(self) -> None:
        kinds = [
            (C, text("DE", 0x13)),
            (ORG, text("Example (GmbH)")),
            (OU, text("a-b", 0x13)),
            (DC, text("corp", 0x16)),
        ]
        subject = name(*([kind] for kind in kinds), [(UID, text("u1"))], [(CN, text("alice"))], [(OU, text("x"))])
        found = plain_subject(subject)
        assert found == by_the_parser(with_subject(subject))
        assert found is not None
        assert found[0][OU] == ("a-b", "x")

    def test_an_empty_subject(self) -> None:
        assert plain_subject(name()) == ({}, "")

    def test_alternative_names_and_extensions(self) -> None:
        cut = cut_extensions(parts_from_der(_RICH).extensions)
        assert cut is not None
        names = plain_alternative_names(cut[1])
        assert names is not None
        read = identity_from_der(_RICH)
        assert (tuple(names.dns), tuple(names.uri), tuple(names.email), tuple(names.ip)) == (
            *(read.dns_san, read.uri_san, read.email_san),
            read.ip_san,
        )

    def test_clients_of_one_ca_share_what_their_extensions_say(self) -> None:
        forget()
        for cn in ("a", "b", "c"):
            identity_from_der(_CA.issue(cn, dns=[f"{cn * 200}.example.com"[-60:]]).der)
        assert len(identity._terms) == 1

    def test_a_subject_alternative_name_that_is_critical_is_another_extension(self) -> None:
        value = sequence(element(0x82, b"a.example.com"))
        plain, critical = (extension(SAN, value, critical=critical) for critical in (False, True))
        cuts = [cut_extensions(one) for one in (plain, critical)]
        assert all(cut is not None and cut[1] == value for cut in cuts)
        assert cuts[0] != cuts[1]


class TestWhatIsNotSurelyPlainIsLeftToTheParser:
    @pytest.mark.parametrize(
        "value",
        [
            *(text("a", tag, "utf-8") for tag in (0x14, 0x1A)),
            text("a", 0x1E, "utf-16-be"),
            *(
                text(one)
                for one in ("", " a", "a ", "#a", "a,b", "a+b", 'a"', "a\\", "a;", "<", "ü", "a\0", "a\n", "a" * 65)
            ),
            *(text(one, 0x13) for one in ("a*", "a@b", "a_b")),
            element(0x03, b"\0\x17"),
        ],
    )
    def test_a_value(self, value: bytes) -> None:
        subject = name([(CN, value)])
        assert plain_subject(subject) is None
        check(with_subject(subject), _POOR)

    @pytest.mark.parametrize(
        "subject",
        [
            name([(C, text("DEU", 0x13))]),
            name([("2.5.4.5", text("a"))]),
            name([(CN, text("a")), (OU, text("b"))]),
            name([]),
            b"\x30\x81\x0c" + name([(CN, text("a"))])[2:],
            name([(CN, text("a"))])[:-1],
            name([(CN, text("a"))]) + b"\0",
            b"\x30\x01\x31",
            b"\x31\x00",
            b"\x30",
            b"",
        ],
    )
    def test_a_subject(self, subject: bytes) -> None:
        assert plain_subject(subject) is None

    @pytest.mark.parametrize("at", [1, 3, 5, 10])
    def test_an_rdn_whose_lengths_do_not_add_up(self, at: int) -> None:
        subject = bytearray(name([(CN, text("alice"))]))
        subject[2 + at] += 1
        assert plain_subject(bytes(subject)) is None

    @pytest.mark.parametrize(
        "names",
        [
            sequence(),
            sequence(element(0x82, b"\xc3\xa4")),
            sequence(element(0x87, bytes(8))),
            sequence(element(0xA4, name([(CN, text("a"))]))),
            sequence(element(0x82, b"a" * 128)),
            sequence(*[element(0x82, b"a")] * 65),
            sequence(element(0x82, b"abc"))[:-1],
            sequence(b"\x82\x05abc"),
            sequence(b"\x82"),
            b"\x30\x81\x03\x82\x01a",
        ],
    )
    def test_alternative_names(self, names: bytes) -> None:
        assert plain_alternative_names(names) is None

    @pytest.mark.parametrize(
        "encoded",
        [
            extension(SAN, sequence(element(0x82, b"a"))) * 2,
            extension(SAN, b""),
            extension(SAN, b"", critical=True),
            extension(SAN, b"") + extension(SAN, sequence(element(0x82, b"a"))),
            extension(SKI, b"\x04\x02a"),
            extension(SKI, b"\x04\x01ab"),
            extension(SKI, b"\x04\x81\x01a"),
            extension(SKI, b"\x30\x01a"),
            extension(SKI, b""),
            sequence(oid(SAN), b"\x01\x01\x00", element(0x04, b"a")),
            sequence(oid(SAN), element(0x04, b"a"), b"\x05\x00"),
            sequence(oid(SAN)),
            b"\x30\x81\x02\x06\x00",
            b"\x30\x82\x00\x02\x06\x00",
            b"\x30\x83\x00\x00\x02\x06\x00",
            b"\x30\x81",
            b"\x30\x82\x01",
            b"\x30\x05\x06",
            b"\x31\x00",
        ],
    )
    def test_extensions(self, encoded: bytes) -> None:
        assert cut_extensions(encoded) is None

    def test_a_name_twice_is_refused_though_the_rest_is_known(self) -> None:
        one = extension(SAN, sequence(element(0x82, b"a.example.com")))
        check(with_extensions(one, one), with_extensions(one))
        identifier = extension(SKI, element(0x04, b"a"))
        check(with_extensions(identifier, identifier), with_extensions(identifier))

    @pytest.mark.parametrize("critical", [False, True])
    def test_a_subject_alternative_name_of_nothing_is_refused_though_the_rest_is_known(self, *, critical: bool) -> None:
        usual = extension(SAN, sequence(element(0x82, b"a.example.com")), critical=critical)
        for known in (with_extensions(usual), _POOR, _RICH):
            check(with_extensions(extension(SAN, b"", critical=critical)), known)
        assert outcome(with_extensions(extension(SAN, b"", critical=critical))) == "extensions"

    def test_extensions_in_version_one_are_refused_though_they_are_known(self) -> None:
        der = signed(fields_of(_RICH)[1:], _CA.key)
        check(der, _RICH)
        assert outcome(der) == "version"


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535])
def test_an_element_is_found_where_its_length_is_as_short_as_it_can_be(size: int) -> None:
    der = b"\0" + element(0x30, bytes(size))
    assert element_at(der, 1, 0x30) == (len(der) - size, len(der))
    assert element_at(der + b"\0", 1, 0x30) == (len(der) - size, len(der))
    assert element_at(der, 1, 0x31) == element_at(der[:-1], 1, 0x30) == (-1, -1)
    octets = (size.bit_length() + 7) // 8 or 1
    more = octets + (size >= 0x80)
    assert element_at(b"\x30" + bytes([0x80 + more]) + size.to_bytes(more) + bytes(size), 0, 0x30) == (-1, -1)


@pytest.mark.parametrize(
    "der", [b"", b"\0", b"\x30", b"\x30\x80", b"\x30\x81", b"\x30\x82\x01", b"\x30\x83\1\0\0", b"\x30\xff"]
)
def test_there_is_no_element_in_a_part_of_one_nor_before_the_first(der: bytes) -> None:
    assert element_at(der, 0, 0x30) == (-1, -1)
    assert element_at(der + b"\x30", -1, 0x30) == (-1, -1)


_VALUES = st.text(alphabet="abzAZ09 .-*@_=#,+\"\\;<>()'/:?&\x00\x1fäß\u202e", max_size=6) | st.sampled_from(
    ["DE", "a" * 64, "a" * 65]
)
_ENCODED = st.one_of(
    st.tuples(_VALUES, st.sampled_from([0x0C, 0x0C, 0x13, 0x14, 0x16, 0x1A])).map(
        lambda one: element(one[1], one[0].encode())
    ),
    _VALUES.map(lambda value: text(value, 0x1E, "utf-16-be")),
    st.binary(max_size=4).map(lambda octets: element(0x03, b"\0", octets)),
)
_RDNS = st.lists(
    st.tuples(
        st.sampled_from([CN, ORG, OU, C, DC, UID, "2.5.4.7", "2.5.4.8", "2.5.4.9", "2.5.4.5", "1.2.3"]), _ENCODED
    ),
    min_size=1,
    max_size=2,
)


@settings(deadline=None, max_examples=400)
@given(st.lists(_RDNS, max_size=4))
def test_a_subject_is_what_the_parser_says(rdns: list[list[tuple[str, bytes]]]) -> None:
    check(with_subject(name(*rdns)), _POOR)


_NAMES = st.tuples(
    st.sampled_from([0x80, 0x81, 0x82, 0x82, 0x86, 0x87, 0x88, 0xA0, 0xA4]),
    st.sampled_from([b"a.example.com", b"", b"\xff", bytes(4), bytes(16), bytes(8), b"a\0b", b"x" * 130])
    | st.binary(max_size=4),
).map(lambda one: element(*one))
_EXTENSIONS = st.one_of(
    st.lists(_NAMES, max_size=3).map(lambda names: extension(SAN, sequence(*names))),
    st.binary(max_size=4).map(lambda value: extension(SAN, value)),
    st.binary(max_size=4).map(lambda value: extension(SKI, value)),
    st.binary(max_size=4).map(lambda value: extension(SKI, element(0x04, value))),
    st.sampled_from([*own_extensions(_RICH), *own_extensions(_POOR), *own_extensions(_CA.der)]),
)


@settings(deadline=None, max_examples=400)
@given(st.lists(_EXTENSIONS, max_size=5), st.lists(_EXTENSIONS, max_size=2), st.randoms(use_true_random=False))
def test_extensions_are_what_the_parser_says_whatever_is_known(
    some: list[bytes], others: list[bytes], random: Any
) -> None:
    shuffled = random.sample(some, len(some))
    check(with_extensions(*some), with_extensions(*shuffled), with_extensions(*some[1:], *others), _RICH)


@pytest.mark.parametrize("flip", [0x01, 0x02, 0x80, 0xFF])
def test_damage_to_any_byte_is_seen_though_the_undamaged_is_known(flip: int) -> None:
    for at in range(len(_RICH)):
        check(_RICH[:at] + bytes([_RICH[at] ^ flip]) + _RICH[at + 1 :], _RICH)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damage_in_several_places_is_seen_though_the_undamaged_is_known(data: st.DataObject) -> None:
    der = bytearray(_RICH)
    for _ in range(data.draw(st.integers(2, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(
            st.sampled_from([0, 1, 4, 6, 0x30, 0x31, 0x80, 0x81, 0x82, 0xFF])
        )
    check(bytes(der), _RICH, _POOR)


_ATTRIBUTES = st.tuples(
    st.sampled_from(["CN", "OU", "O", "C", "UID", "DC", "2.5.4.5", "1.2.3", "SN", "cn", ""]),
    st.text(alphabet='ab C=-.@#+;<>\\"\x00\x7fü', max_size=5) | st.sampled_from(["a" * 64, "a" * 65, "DE"]),
)


@given(st.lists(_ATTRIBUTES.map("=".join), max_size=4).map(",".join))
@example("CN=a,OU=x,OU=y,C=DE")
@example("C=D")
@example("CN=a,")
def test_the_text_of_a_plain_subject_is_read_as_the_parser_reads_it(subject: str) -> None:
    found = plain_subject_from_text(subject)
    if found is None:
        return
    values: dict[str, list[str]] = {}
    for attribute in x509.Name.from_rfc4514_string(subject):
        values.setdefault(attribute.oid.dotted_string, []).append(str(attribute.value))
    assert found == {oid: tuple(several) for oid, several in values.items()}
