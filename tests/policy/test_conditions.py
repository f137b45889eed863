"""Conditions: what each key accepts, what it reads, and how it matches."""

from __future__ import annotations

from typing import Any

import pytest

from spoa.facts import ABSENT, UNAVAILABLE
from spoa.policy import oids
from spoa.policy.conditions import (
    ATTRIBUTES,
    COLUMNS,
    IDENTITY_CONDITIONS,
    AtLeast,
    Exact,
    HeaderPattern,
    InList,
    MethodPattern,
    PathRegex,
    TextRegex,
    bearer_values,
    bits_pattern,
    digest_pattern,
    effective_key_bits,
    read_header_name,
    serial_pattern,
    tls_pattern,
)
from spoa.policy.model import Matcher
from spoa.policy.path import ASTERISK, canonical_path
from spoa.policy.text import TextPattern
from tests.policies import HEAD, ask, certificate, holder, policy

METHODS = [
    ("GET", "GET", True, True),
    ("GET", "get", False, True),
    ("get", "GET", False, True),
    ("GET", "HEAD", False, False),
    ("read", "GET", True, True),
    ("read", "HEAD", True, True),
    ("read", "OPTIONS", True, True),
    ("read", "get", False, True),
    ("read", "POST", False, False),
    ("read", "PROPFIND", False, False),
    ("write", "POST", True, True),
    ("write", "PUT", True, True),
    ("write", "PATCH", True, True),
    ("write", "DELETE", True, True),
    ("write", "post", False, True),
    ("write", "PROPFIND", False, True),
    ("write", "CONNECT", False, True),
    ("write", "GET", False, False),
    ("write", "HEAD", False, False),
    ("write", "OPTIONS", False, False),
    ("write", "get", False, True),  # not exactly one of the three
    ("write", "", False, True),
    ("READ", "GET", False, False),  # a token of its own
    ("PROPFIND", "PROPFIND", True, True),
]


@pytest.mark.parametrize(("pattern", "method", "strict", "generous"), METHODS)
def test_methods_are_exact_to_grant_and_upper_cased_to_restrict(
    pattern: str, method: str, strict: bool, generous: bool
) -> None:
    assert MethodPattern(pattern).matches(method, generous=False) is strict
    assert MethodPattern(pattern).matches(method, generous=True) is generous
    assert str(MethodPattern(pattern)) == pattern


@pytest.mark.parametrize("pattern", ["", "GET POST", "GET,POST", "G\u00cbT", "GET/", "GET\n"])
def test_what_is_no_token_is_no_method(pattern: str) -> None:
    with pytest.raises(ValueError, match="write a method"):
        MethodPattern(pattern)


def test_digests_are_64_hex_digits() -> None:
    digits = "0123456789abcdef" * 4
    expected = bytes.fromhex(digits)
    for text in (digits, digits.upper(), ":".join(digits[at : at + 2] for at in range(0, 64, 2))):
        assert digest_pattern(text).matches(expected, generous=False)
    assert not digest_pattern(digits).matches(bytes(32), generous=True)
    for wrong in ("", "ab", digits[:-1], digits + "0", digits[:-1] + "g", digits[:-2] + " f", digits[:40]):
        with pytest.raises(ValueError, match="64 hex digits"):
            digest_pattern(wrong)


def test_serials_are_hex_and_may_be_negative() -> None:
    for text in ("1F", "1f", "00:1f", "0000000000000000001F"):
        assert serial_pattern(text).value == 31
    assert serial_pattern("-1F").value == -31
    assert serial_pattern("f" * 5000).matches(int("f" * 5000, 16), generous=False)
    for wrong in ("", "-", ":", "xyz", "1_0", "1 0", "\u0661", "--1"):
        with pytest.raises(ValueError, match="serial number in hex"):
            serial_pattern(wrong)


def test_bits_must_be_reached() -> None:
    assert bits_pattern("3072").matches(3072, generous=False)
    assert not bits_pattern("3072").matches(3071, generous=True)
    assert str(bits_pattern("3072")) == str(AtLeast(3072)) == "3072"
    for wrong in ("", "0", "-1", "2048.0", "65537", "many", "\u0662", "9" * 5000):
        with pytest.raises(ValueError, match="number of bits"):
            bits_pattern(wrong)


@pytest.mark.parametrize(
    ("key_type", "bits", "expected"),
    [
        ("RSA", 2048, 2048),
        ("RSA", 1024, 1024),
        ("DSA", 3072, 3072),
        ("EC", 256, 3072),
        ("EC", 384, 7680),
        ("EC", 521, 15360),
        ("EC", 255, 2048),
        ("EC", 224, 2048),
        ("EC", 192, 1024),
        ("EC", 112, 112),
        ("ED25519", 256, 3072),
        ("ED448", 456, 7680),
    ],
)
def test_keys_of_all_kinds_are_measured_by_the_modulus_that_is_as_strong(
    key_type: str, bits: int, expected: int
) -> None:
    assert effective_key_bits(key_type, bits) == expected


def test_tls_versions_are_those_that_haproxy_writes() -> None:
    assert tls_pattern("TLSv1.3").matches("TLSv1.3", generous=True)
    assert not tls_pattern("TLSv1.3").matches("TLSv1.2", generous=True)
    with pytest.raises(ValueError, match=r"TLSv1\.3"):
        tls_pattern("1.3")


def test_an_exact_value_shows_what_was_written() -> None:
    assert str(Exact(1, "one")) == "one"
    assert Exact(1, "one").matches(1, generous=False)


@pytest.mark.parametrize(
    ("known", "strict", "generous"),
    [
        ({"scanners": True}, True, True),
        ({"scanners": False}, False, False),
        ({"scanners": UNAVAILABLE}, False, True),
        ({}, False, True),
    ],
)
def test_an_unknown_membership_restricts_and_never_grants(
    known: dict[str, object], strict: bool, generous: bool
) -> None:
    pattern = InList("scanners")
    assert pattern.matches(known, generous=False) is strict  # type: ignore[arg-type] # a table of both kinds
    assert pattern.matches(known, generous=True) is generous  # type: ignore[arg-type] # the same
    assert str(pattern) == "scanners"


def path_holds(source: str, raw: str, *, generous: bool) -> bool:
    path = ASTERISK if raw == "*" else canonical_path(raw, parameters=True)
    return Matcher("path", "path", (PathRegex(source),)).holds((path,), generous=generous)


@pytest.mark.parametrize(
    ("source", "raw", "strict", "generous"),
    [
        ("/v[0-9]+/.*", "/v1/x", True, True),
        ("/v[0-9]+/.*", "/V1/x", False, True),
        ("/v[0-9]+", "/v1/", False, True),
        ("/v[0-9]+/", "/v1", False, True),
        ("/v[0-9]+/", "/V1/", False, True),
        ("/a", "/a;x", False, True),
        ("/a", "/a/b", False, False),
        ("/caf\u00e9", "/caf%C3%A9", False, True),
        ("/caf%C3%A9", "/caf%C3%A9", True, True),
        ("/", "/", True, True),
        ("/[^/]*/", "/", False, False),
        (r"\*", "*", True, True),
        (r"\*/", "*", False, False),
        ("/[A-Z]", "/A", True, True),
    ],
)
def test_a_path_expression_sees_the_path_as_polarity_has_it(
    source: str, raw: str, strict: bool, generous: bool
) -> None:
    assert path_holds(source, raw, generous=False) is strict
    assert path_holds(source, raw, generous=True) is generous


@pytest.mark.parametrize(
    ("source", "value", "strict", "generous"),
    [
        ("svc-[a-z]+", "svc-a", True, True),
        ("svc-[a-z]+", "SVC-A", False, True),
        ("svc-[a-z]+", " svc-a ", False, True),
        ("svc-[a-z]+", "xsvc-a", False, False),
        ("caf\u00e9", "cafe\u0301", True, True),
        ("a  b", "a  b", True, True),  # folding collapses the blanks, and must lose no match by it
        ("[^a]", "A", True, True),
    ],
)
def test_a_text_expression_is_about_the_whole_value(source: str, value: str, strict: bool, generous: bool) -> None:
    matcher = Matcher("cn", "cn", (TextRegex(source),))
    assert matcher.holds((value,), generous=False) is strict
    assert matcher.holds((value,), generous=True) is generous
    assert str(TextRegex(source)) == f"re: {source}"


#: Two ways to read each letter, which readers that try one after the other do twice as long for every letter more.
STALLING = "(a|a)*b"
STALLED = "a" * 60 + "c"
#: Who asks, and what, by the key whose value the client chose.
STALLERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{key: ({key: STALLED}, {}) for key in ("cn", "ou", "o")},
    **{key: ({key: (STALLED,)}, {}) for key in ("dns_san", "uri_san", "email_san")},
    "path": ({}, {"path": f"/{STALLED}"}),
    "host": ({}, {"host": STALLED}),
    "sni": ({}, {"sni": STALLED}),
    "header": ({}, {"headers": {"tenant": STALLED}}),
}


def test_it_is_known_where_an_expression_may_stand() -> None:
    tables = (IDENTITY_CONDITIONS, COLUMNS)
    assert set(STALLERS) == {key for table in tables for key, row in table.items() if row.regex is not None}


@pytest.mark.parametrize("key", sorted(STALLERS))
def test_an_expression_that_would_stall_others_is_judged_wherever_it_stands(key: str) -> None:
    """Strictly by an allow and generously by a deny; it ends."""
    who, asked = STALLERS[key]
    wanted = f"{{re: '{'/' if key == 'path' else ''}{STALLING}'}}"
    if key in IDENTITY_CONDITIONS:
        head, given = f"identities: {{x: {{issuer: corp, {key}: {wanted}}}}}", "who: x"
        strict = given
    else:
        wanted = f"{{Tenant: {wanted}}}" if key == "header" else wanted
        head, given = "", f"request: {{{key}: {wanted}}}"
        strict = f"who: any_certificate, {given}"
    rules = (
        f"{{id: no, effect: deny, {given}}}",
        f"{{id: yes, effect: allow, {strict}}}",
        "{id: all, effect: allow, who: any_certificate}",
    )
    decision = ask(policy(f"{HEAD}{head}\nrules: [{', '.join(rules)}]\n"), holder(**who), **asked)
    assert (decision.verdict, decision.rule) == ("allow", "all")


@pytest.mark.parametrize(
    "name", ["", "x:y", "x y", "ho\x7fst", "x-\u212a"]
)  # the sign of Kelvin is a `k` in lower case
def test_a_name_that_no_header_has_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="without colon"):
        read_header_name(name)
    assert read_header_name("X-Request_ID") == "x-request_id"


def headers(**wanted: str) -> HeaderPattern:
    return HeaderPattern(tuple(Matcher(name, name.lower(), (TextPattern(value),)) for name, value in wanted.items()))


def test_all_headers_of_a_map_must_match_and_missing_ones_are_unavailable() -> None:
    pattern = headers(Tenant="a", Zone="x*")
    assert pattern.matches({"tenant": "a", "zone": "xy"}, generous=False)
    assert not pattern.matches({"tenant": "a", "zone": "y"}, generous=True)
    assert not pattern.matches({"tenant": "a"}, generous=False)
    assert pattern.matches({"tenant": "a"}, generous=True)
    assert pattern.matches({"tenant": "A", "zone": UNAVAILABLE}, generous=True)
    assert not pattern.matches({"tenant": ABSENT, "zone": "xy"}, generous=True)
    assert str(pattern) == "Tenant: a, Zone: x*"


def test_every_attribute_is_read_from_the_certificate() -> None:
    own = certificate(
        "alice",
        ["a", "b"],
        dns_san=("x",),
        eku=("1.2",),
        policy_oids=("1.3",),
        serial=7,
        key_type="RSA",
        key_bits=2048,
    )
    wanted = frozenset(
        {"subject:" + oids.CN, "subject:" + oids.OU, "subject:" + oids.O, "issuer", "lists", *ATTRIBUTES}
    )
    values = bearer_values(wanted, own, "corp", {"l": True})
    assert values["subject:" + oids.CN] == ("alice",)
    assert values["subject:" + oids.OU] == ("a", "b")
    assert values["subject:" + oids.O] is ABSENT
    assert values["issuer"] == ("corp",)
    assert values["lists"] == ({"l": True},)
    assert values["dns_san"] == ("x",)
    assert values["uri_san"] is values["email_san"] is values["ip_san"] is ABSENT
    assert values["sha256"] == (bytes(32),)
    assert values["serial"] == (7,)
    assert values["eku"] == ("1.2",)
    assert values["policy_oids"] == ("1.3",)
    assert values["key_bits"] == (2048,)
    assert values.keys() == wanted


def test_what_is_unavailable_in_a_certificate_stays_so() -> None:
    own = certificate(sha256=UNAVAILABLE, spki_sha256=UNAVAILABLE, serial=UNAVAILABLE, eku=UNAVAILABLE)
    values = bearer_values(frozenset({"sha256", "spki_sha256", "serial", "eku", "policy_oids"}), own, "corp", {})
    assert [values[name] for name in ("sha256", "spki_sha256", "serial", "eku")] == [UNAVAILABLE] * 4
    assert values["policy_oids"] is ABSENT


def test_the_tables_name_what_the_language_has() -> None:
    identity = "cn ou o dns_san uri_san email_san ip_san fingerprint spki serial in_list eku policy_oid min_key_bits"
    assert set(IDENTITY_CONDITIONS) == set(identity.split())
    assert {key for key, row in COLUMNS.items() if row.block == "request"} == {
        "path",
        "method",
        "host",
        "sni",
        "header",
    }
    assert {key for key, row in COLUMNS.items() if row.block == "when"} == {"source", "time", "tls"}
    docs = [row.doc for row in IDENTITY_CONDITIONS.values()] + [row.doc for row in COLUMNS.values()]
    assert all(doc.endswith(".") for doc in docs)


def test_oids_may_be_written_by_name() -> None:
    read = IDENTITY_CONDITIONS["eku"].pattern
    assert read("clientAuth").matches(oids.CLIENT_AUTH, generous=False)
    assert read("1.2.3").matches("1.2.3", generous=False)
    with pytest.raises(ValueError, match="clientAuth"):
        read("clientauthority")
