"""Gates: what must hold before any rule is asked, and in which order it is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.policy import oids
from spoa.policy.conditions import bearer_values
from spoa.policy.gates import (
    CERTIFICATE_GATES,
    REVOCATION_REASONS,
    certificate_gate,
    certificate_presence,
    is_well_typed,
    request_values,
)
from spoa.policy.model import Bearer, Defaults, Issuer, Reason, RequestValues
from spoa.policy.path import ASTERISK
from tests.policies import NOW, certificate

CLOSED = Defaults()


def values_of(defaults: Defaults = CLOSED, now: int | None = NOW, **request: Any) -> dict[str, object]:
    found = request_values(Request(**request), defaults, now)
    assert isinstance(found, RequestValues), found
    return dict(found.values)


def refusal(defaults: Defaults = CLOSED, **request: Any) -> Reason:
    found = request_values(Request(**request), defaults, NOW)
    assert isinstance(found, Reason)
    return found


# -- the request ------------------------------------------------------------------------------------------------


def test_what_was_not_sent_is_unavailable() -> None:
    values = values_of()
    assert {key: values.get(key, UNAVAILABLE) for key in ("path", "method", "host", "sni", "tls", "source")} == (
        dict.fromkeys(("path", "method", "host", "sni", "tls", "source"), UNAVAILABLE)
    )


def test_every_column_gets_its_value() -> None:
    values = values_of(
        path="/a", method="GET", host="API.example.com:80", sni="api.example.com.", tls="TLSv1.3", source=bytes(4)
    )
    assert values["path"][0].text == "/a"  # type: ignore[index] # a tuple of one
    assert values["method"] == ("GET",)
    assert values["host"] == values["sni"] == ("api.example.com",)
    assert values["tls"] == ("TLSv1.3",)
    assert values["source"] == (bytes(4),)
    assert values["time"] == (NOW - NOW % 60,)
    assert values["header"] == ({},)


def test_a_clock_that_can_not_be_trusted_makes_time_unavailable() -> None:
    assert "time" not in values_of(now=None)


@pytest.mark.parametrize("host", ["", "a b", "a,b", "a:99999", "b\xfccher"])
def test_what_is_no_single_host_is_malformed_whether_the_policy_reads_it_or_not(host: str) -> None:
    assert refusal(host=host, path="/a") is Reason.MALFORMED_MESSAGE


#: method, path → the reason, or whether the path is there.
PATHS: list[tuple[Any, Any, object]] = [
    ("GET", "/", "/"),
    ("OPTIONS", ABSENT, ASTERISK.text),
    ("options", ABSENT, Reason.PATH_NOT_CANONICAL),
    ("GET", ABSENT, Reason.PATH_NOT_CANONICAL),
    ("", ABSENT, Reason.PATH_NOT_CANONICAL),
    (UNAVAILABLE, ABSENT, UNAVAILABLE),  # TCP mode
    (UNAVAILABLE, UNAVAILABLE, UNAVAILABLE),
    ("GET", UNAVAILABLE, UNAVAILABLE),
    (UNAVAILABLE, "/a", "/a"),
    ("GET", "", Reason.PATH_NOT_CANONICAL),
    ("OPTIONS", "*", Reason.PATH_NOT_CANONICAL),
    ("GET", "/a//b", Reason.PATH_NOT_CANONICAL),
    (UNAVAILABLE, "/a//b", Reason.PATH_NOT_CANONICAL),
]


@pytest.mark.parametrize(("method", "path", "expected"), PATHS)
def test_the_path_is_canonical_the_asterisk_or_unavailable(method: Any, path: Any, expected: object) -> None:
    found = request_values(Request(method=method, path=path), CLOSED, NOW)
    if isinstance(found, Reason):
        assert found is expected
        return
    path_values: Any = found.values.get("path", UNAVAILABLE)
    assert (path_values if path_values is UNAVAILABLE else path_values[0].text) == expected


def test_defaults_decide_about_normalising_and_parameters() -> None:
    normalising = Defaults(normalises_path=True)
    assert values_of(normalising, path="/a//b", method="GET")["path"][0].text == "/a/b"  # type: ignore[index]
    assert refusal(path="/a;x", method="GET") is Reason.PATH_NOT_CANONICAL
    assert "path" in values_of(Defaults(allows_path_parameters=True), path="/a;x", method="GET")


@pytest.mark.parametrize(
    ("sni", "host", "mismatch"),
    [
        ("a.example", "a.example", False),
        ("A.example.", "a.example:443", False),
        ("a.example", "b.example", True),
        ("", "a.example", True),
        (ABSENT, "a.example", False),
        (UNAVAILABLE, "a.example", False),
        ("a.example", UNAVAILABLE, False),
        ("192.0.2.1", "192.0.2.1", False),
    ],
)
def test_server_name_and_host_must_agree_where_both_are_there(sni: Any, host: Any, mismatch: bool) -> None:
    found = request_values(Request(sni=sni, host=host), CLOSED, NOW)
    assert (found is Reason.SNI_MISMATCH) is mismatch
    assert isinstance(
        request_values(Request(sni=sni, host=host), Defaults(allows_sni_mismatch=True), NOW), RequestValues
    )


def test_an_sni_that_was_null_is_absent() -> None:
    assert values_of(sni=ABSENT)["sni"] is ABSENT


def test_the_gates_of_the_request_are_asked_in_their_order() -> None:
    wrong: dict[str, Any] = {"malformed": "x", "path": "//", "method": "GET", "sni": "a.example", "host": "b.example"}
    assert refusal(**wrong) is Reason.MALFORMED_MESSAGE
    assert refusal(**{**wrong, "malformed": "", "host": "?"}) is Reason.MALFORMED_MESSAGE
    assert refusal(**{**wrong, "malformed": ""}) is Reason.PATH_NOT_CANONICAL
    assert refusal(**{**wrong, "malformed": "", "path": "/"}) is Reason.SNI_MISMATCH


# -- the certificate's presence ---------------------------------------------------------------------------------

DER = b"0"
N = UNAVAILABLE
#: cert, used, verify, resumed → reason where anonymous requests are denied, and where they are not.
PRESENCE: list[tuple[Any, Any, Any, bool, str | None, str | None]] = [
    (DER, True, 0, False, None, None),
    (DER, N, 0, False, None, None),
    (DER, True, 0, True, None, None),
    (DER, False, 0, False, "malformed_message", "malformed_message"),
    (DER, True, N, False, "certificate_not_verified", "certificate_not_verified"),
    (DER, True, 10, False, "certificate_not_verified", "certificate_not_verified"),
    (DER, True, -1, False, "certificate_not_verified", "certificate_not_verified"),
    (ABSENT, False, 0, False, "no_certificate", "ok"),
    (ABSENT, False, 0, True, "no_certificate", "ok"),
    (ABSENT, False, N, False, "no_certificate", "ok"),
    (ABSENT, False, 18, False, "no_certificate", "certificate_not_verified"),
    (ABSENT, True, 0, False, "certificate_unavailable", "certificate_unavailable"),
    (ABSENT, True, 18, True, "certificate_unavailable", "certificate_unavailable"),
    (ABSENT, N, 0, True, "certificate_unavailable", "certificate_unavailable"),
    (ABSENT, N, 0, False, "no_certificate", "no_certificate"),  # never anonymous
    (N, N, N, False, "malformed_message", "malformed_message"),
    (N, False, 0, False, "malformed_message", "malformed_message"),
]


@pytest.mark.parametrize(("cert", "used", "verify", "resumed", "closed", "opened"), PRESENCE)
def test_the_presence_of_a_certificate_is_judged_by_the_table_of_the_contract(
    cert: Any, used: Any, verify: Any, resumed: bool, closed: str | None, opened: str | None
) -> None:
    request = Request(cert=cert, used=used, verify=verify, resumed=resumed)
    assert certificate_presence(request, CLOSED) == closed
    assert certificate_presence(request, Defaults(allows_anonymous=True)) == opened


# -- the certificate --------------------------------------------------------------------------------------------

CORP = Issuer("corp", ("corp.pem",))
SPIRE = replace(CORP, trust_domain="prod.example")
HOUR = 3600


def gate(issuer: Issuer | None = CORP, reads: tuple[str, ...] = (), **fields: Any) -> Reason | None:
    own = certificate(**fields)
    return certificate_gate(own, issuer, Bearer(bearer_values(frozenset(reads), own, "corp", {})))


GATES: list[tuple[Issuer | None, dict[str, Any], str | None]] = [
    (CORP, {}, None),
    (None, {}, "issuer_unknown"),
    (replace(CORP, max_lifetime=HOUR), {"not_before": NOW, "not_after": NOW + HOUR}, None),
    (replace(CORP, max_lifetime=HOUR), {"not_before": NOW, "not_after": NOW + HOUR + 1}, "certificate_too_long_lived"),
    (CORP, {"key_type": "RSA", "key_bits": 2048}, None),
    (CORP, {"key_type": "RSA", "key_bits": 2047}, "weak_key"),
    (CORP, {"key_type": "EC", "key_bits": 255}, "weak_key"),
    (CORP, {"key_type": "EC", "key_bits": 521}, None),
    (CORP, {"key_type": "DSA", "key_bits": 4096}, "weak_key"),
    (CORP, {"key_type": "ED25519", "key_bits": 256, "signature_hash": ""}, None),
    (CORP, {"signature_hash": "sha1"}, "weak_key"),
    (CORP, {"signature_hash": "md5"}, "weak_key"),
    (replace(CORP, allows_weak=True), {"signature_hash": "sha1", "key_type": "DSA"}, None),
    (CORP, {"eku": (oids.CLIENT_AUTH,)}, None),
    (CORP, {"eku": ("1.3.6.1.5.5.7.3.1", oids.CLIENT_AUTH)}, None),
    (CORP, {"eku": ("1.3.6.1.5.5.7.3.1",)}, "not_a_client_certificate"),
    (CORP, {"eku": (oids.ANY_EKU,)}, "not_a_client_certificate"),
    (CORP, {"eku": ()}, "not_a_client_certificate"),
    (CORP, {"eku": UNAVAILABLE}, None),
    (replace(CORP, needs_client_eku=False), {"eku": ("1.3.6.1.5.5.7.3.1",)}, None),
    (replace(CORP, needs_client_eku=False), {"is_ca": True}, "not_a_client_certificate"),
    (CORP, {"is_ca": True}, "not_a_client_certificate"),
    (CORP, {"has_digital_signature": False}, "not_a_client_certificate"),
    (CORP, {"cn": ["a", "b"]}, "ambiguous_subject"),
    (CORP, {"ou": ["a", "b"]}, None),
    (replace(CORP, allows_multiple_cn=True), {"cn": ["a", "b"]}, None),
    (SPIRE, {"uri_san": ("spiffe://prod.example/a",)}, None),
    (SPIRE, {"uri_san": ("spiffe://prod.example",)}, None),
    (SPIRE, {"uri_san": ("SPIFFE://PROD.example/a",)}, None),
    (SPIRE, {}, "unsafe_attribute"),
    (SPIRE, {"uri_san": ("spiffe://prod.example/a", "spiffe://prod.example/b")}, "unsafe_attribute"),
    (SPIRE, {"uri_san": ("spiffe://prod.example.evil/a",)}, "unsafe_attribute"),
    (SPIRE, {"uri_san": ("https://prod.example/a",)}, "unsafe_attribute"),
    (SPIRE, {"uri_san": ("spiffe://prod.example:1/a",)}, "unsafe_attribute"),
    (SPIRE, {"uri_san": ("spiffe://x@prod.example/a",)}, "unsafe_attribute"),
    (SPIRE, {"uri_san": ("spiffe://prod.example/a?b",)}, "unsafe_attribute"),
    (SPIRE, {"uri_san": ("spiffe://prod.example/a/../b",)}, "unsafe_attribute"),
    (SPIRE, {"uri_san": ("",)}, "unsafe_attribute"),
]


@pytest.mark.parametrize(("issuer", "fields", "expected"), GATES)
def test_a_certificate_passes_or_names_its_gate(
    issuer: Issuer | None, fields: dict[str, Any], expected: str | None
) -> None:
    assert gate(issuer, **fields) == expected


@pytest.mark.parametrize("char", ["\0", "\x1b", "\x7f", "\u202e", "\u2066", "\u200f"])
def test_unsafe_characters_deny_in_attributes_that_the_policy_reads(char: str) -> None:
    own = f"alice{char}"
    cn = "subject:" + oids.CN
    assert gate(reads=(cn,), cn=own) is Reason.UNSAFE_ATTRIBUTE
    assert gate(reads=("subject:" + oids.OU,), cn=own) is None
    assert gate(reads=("subject:" + oids.OU,), ou=["fine", own]) is Reason.UNSAFE_ATTRIBUTE
    assert gate(reads=("dns_san",), dns_san=(own,)) is Reason.UNSAFE_ATTRIBUTE
    assert gate(reads=("uri_san",), uri_san=(own,)) is Reason.UNSAFE_ATTRIBUTE


def test_the_first_gate_that_fails_names_the_reason() -> None:
    issuer: Issuer | None = replace(CORP, max_lifetime=1)
    wrong: dict[str, Any] = {"signature_hash": "md5", "is_ca": True, "cn": ["a\0", "b"]}
    healed: list[tuple[Reason | None, dict[str, Any], Issuer]] = [
        (Reason.CERTIFICATE_TOO_LONG_LIVED, {}, replace(CORP, max_lifetime=1)),
        (Reason.WEAK_KEY, {}, CORP),
        (Reason.NOT_A_CLIENT_CERTIFICATE, {"signature_hash": "sha256"}, CORP),
        (Reason.AMBIGUOUS_SUBJECT, {"is_ca": False}, CORP),
        (Reason.UNSAFE_ATTRIBUTE, {"cn": ["a\0"]}, CORP),
        (None, {"cn": ["a"]}, CORP),
    ]
    assert gate(None, **wrong) is Reason.ISSUER_UNKNOWN
    for reason, healing, issuer in healed:
        wrong |= healing
        assert gate(issuer, ("subject:" + oids.CN,), **wrong) is reason
    order = list(Reason)
    assert [reason for reason, _ in CERTIFICATE_GATES] == sorted((one for one, _ in CERTIFICATE_GATES), key=order.index)


def test_every_state_but_good_and_not_checked_has_its_reason() -> None:
    states = {"revoked", "unknown", "stale", "unreachable", "not_loaded", "undetermined"}
    assert REVOCATION_REASONS.keys() == states
    assert REVOCATION_REASONS["revoked"] is Reason.CERTIFICATE_REVOKED


# -- requests that no message was read as -----------------------------------------------------------------------


def test_a_request_of_the_right_types_is_well_typed() -> None:
    assert is_well_typed(Request())
    assert is_well_typed(Request(cert=ABSENT, path=ABSENT, sni=ABSENT, headers={"a": "b", "c": ABSENT}))
    assert is_well_typed(Request(b"", True, 0, True, bytes(16), "GET", "/", "h", "s", "t", {}))  # noqa: FBT003 -- all fields


@pytest.mark.parametrize(
    "fields",
    [
        {"cert": "text"},
        {"cert": None},
        {"cert": bytearray(b"x")},
        {"used": 1},
        {"used": ABSENT},
        {"verify": False},
        {"verify": "0"},
        {"resumed": None},
        {"source": "10.0.0.1"},
        {"source": b"123"},
        {"method": None},
        {"method": b"GET"},
        {"path": b"/"},
        {"host": ABSENT},
        {"sni": None},
        {"tls": 1.3},
        {"headers": None},
        {"headers": {"a": b"b"}},
        {"headers": {b"a": "b"}},
        {"headers": {"a": None}},
    ],
)
def test_a_field_of_another_type_is_found(fields: dict[str, Any]) -> None:
    assert not is_well_typed(Request(**fields))
