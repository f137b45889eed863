from __future__ import annotations

import pytest

from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.policy import oids
from spoa.policy.conditions import HeaderPattern
from spoa.policy.model import Matcher, Reason
from spoa.policy.path import canonical_path
from spoa.policy.text import TextPattern
from spoa.transcript import certificate_keys, gate_text, keys_of_test, seen_text, wanted_text
from tests.policies import NOW, holder


def matcher(attribute: str, **given: bool) -> Matcher:
    return Matcher(attribute, attribute, (TextPattern("a"), TextPattern("b")), **given)


def test_a_certificate_is_written_as_a_test_would() -> None:
    subject = holder(
        "c",
        ["x", "y"],
        subject={"2.5.4.7": ("Paris",), "1.2.3": ("z",)},
        dns_san=("d",),
        ip_san=(bytes((10, 0, 0, 1)),),
        eku=(oids.CLIENT_AUTH, "9.9"),
        policy_oids=("2.5.29.32.0",),
        key_type="RSA",
        key_bits=2048,
        serial=255,
        lists={"good": True, "old": False},
    )
    assert certificate_keys(subject) == {
        "issuer": "corp",
        "cn": "c",
        "ou": ["x", "y"],
        "subject": {"L": "Paris", "1.2.3": "z"},
        "dns_san": "d",
        "ip_san": "10.0.0.1",
        "eku": ["clientAuth", "9.9"],
        "policy_oid": "anyPolicy",
        "fingerprint": "00" * 32,
        "spki": "00" * 32,
        "serial": "ff",
        "key": "rsa:2048",
        "in_list": ["good"],
    }


def test_what_is_not_known_is_left_out() -> None:
    subject = holder(issuer="", sha256=UNAVAILABLE, spki_sha256=UNAVAILABLE, serial=UNAVAILABLE)
    assert certificate_keys(subject) == {"issuer": "unknown", "eku": [], "policy_oid": []}
    unknown = holder(sha256=UNAVAILABLE, spki_sha256=UNAVAILABLE, serial=UNAVAILABLE, eku=UNAVAILABLE)
    assert certificate_keys(unknown) == {"issuer": "corp", "policy_oid": []}


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (Request(method="GET", path="/x"), "GET /x"),
        (Request(method="OPTIONS", path=ABSENT), "OPTIONS *"),
        (Request(method="GET"), "GET"),
        (Request(path="/x"), "/x"),
        (Request(), None),
    ],
)
def test_a_request_is_written_as_a_line(request_: Request, line: str | None) -> None:
    keys = keys_of_test(request_, NOW, subject=None, switches=())
    assert keys.get("request") == line
    assert (keys["cert"], keys["now"]) == ("none", "2026-11-20T09:00:00Z")


def test_all_else_of_a_request_is_written_where_it_is_there() -> None:
    request = Request(host="h", sni="s", tls="t", source=bytes(4), headers={"a": "b", "c": ABSENT})
    keys = keys_of_test(request, NOW, subject=holder(), switches={"b", "a"})
    assert (keys["host"], keys["sni"], keys["tls"], keys["source"]) == ("h", "s", "t", "0.0.0.0")
    assert (keys["headers"], keys["open"]) == ({"a": "b"}, ["a", "b"])


def test_patterns_are_written_with_what_joins_them() -> None:
    assert (wanted_text(matcher("x")), wanted_text(matcher("x", is_universal=True))) == ("a | b", "all of a | b")


@pytest.mark.parametrize(
    ("attribute", "value", "text"),
    [
        ("path", canonical_path("/x"), "/x"),
        ("source", bytes(4), "0.0.0.0"),
        ("ip_san", bytes(4), "0.0.0.0"),
        ("time", NOW, "Fri 2026-11-20 09:00 UTC"),
        ("sha256", b"\xab", "ab"),
        ("serial", 255, "ff"),
        ("eku", oids.CLIENT_AUTH, "clientAuth"),
        ("policy_oids", "1.2", "1.2"),
        ("lists", {"a": True, "b": False, "c": UNAVAILABLE}, "a: on it, b: not on it, c: unavailable"),
        ("method", "GET", "GET"),
    ],
)
def test_values_are_written_for_people(attribute: str, value: object, text: str) -> None:
    assert seen_text(matcher(attribute), (value,)) == text


def test_what_is_missing_says_how() -> None:
    assert (seen_text(matcher("x"), ABSENT), seen_text(matcher("x"), UNAVAILABLE)) == ("absent", "unavailable")


def test_only_the_headers_that_were_asked_for_are_written() -> None:
    one = Matcher("header", "header", (HeaderPattern((Matcher("X-A", "x-a", ()), Matcher("X-B", "x-b", ()))),))
    assert seen_text(one, ({"x-a": "1", "x-c": "2"},)) == "X-A: 1, X-B: unavailable"


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.value.startswith(("certificate", "weak"))])
def test_no_gate_looks_at_a_certificate_that_is_not_there(reason: Reason) -> None:
    assert "None" not in gate_text(reason, Request(cert=ABSENT), NOW, None, "good")


@pytest.mark.parametrize(
    "reason", [Reason.NO_CERTIFICATE, Reason.CERTIFICATE_UNAVAILABLE, Reason.CERTIFICATE_NOT_VERIFIED]
)
def test_a_certificate_that_is_given_as_a_map_is_not_said_to_be_absent(reason: Reason) -> None:
    assert gate_text(reason, Request(cert=ABSENT), NOW, holder("c"), "good") == "certificate given by what it says"
    assert "absent" in gate_text(Reason.NO_CERTIFICATE, Request(cert=ABSENT), NOW, None, "good")


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (
            Reason.CERTIFICATE_NOT_YET_VALID,
            "not told when it begins, taken to be in date, now 2026-11-20T09:00:00Z",
        ),
        (Reason.CERTIFICATE_EXPIRED, "not told when it ends, taken to be in date, now 2026-11-20T09:00:00Z"),
        (Reason.CERTIFICATE_TOO_LONG_LIVED, "not told, taken to be short enough"),
        (Reason.WEAK_KEY, "not told, taken for EC 256, sha256"),
        (Reason.NOT_A_CLIENT_CERTIFICATE, "not told, taken to be a client's"),
        (Reason.AMBIGUOUS_SUBJECT, "1 CN"),
    ],
)
def test_what_a_map_leaves_out_is_said_to_be_taken_for_granted(reason: Reason, text: str) -> None:
    subject = holder("c", not_before=NOW, not_after=NOW, eku=UNAVAILABLE)
    assert gate_text(reason, Request(cert=ABSENT), NOW, subject, "good") == text
    if "not told" in text:
        assert "not told" not in gate_text(reason, Request(cert=b"x"), NOW, subject, "good")


def test_what_a_map_or_a_log_does_tell_is_shown() -> None:
    subject = holder("c", eku=(oids.CLIENT_AUTH,), key_type="RSA", key_bits=1024)
    texts = {reason: gate_text(reason, Request(cert=ABSENT), NOW, subject, "good") for reason in Reason}
    assert texts[Reason.CERTIFICATE_EXPIRED] == "ends 2026-12-20T09:00:00Z, now 2026-11-20T09:00:00Z"
    assert texts[Reason.WEAK_KEY] == "RSA 1024, sha256"
    assert texts[Reason.NOT_A_CLIENT_CERTIFICATE] == "eku clientAuth"


def test_gates_say_what_they_look_at() -> None:
    subject = holder("c", eku=(oids.CLIENT_AUTH,), subject_text="CN=c")
    request = Request(cert=b"x", verify=0, path="/x", host="h", sni=ABSENT)
    texts = {reason: gate_text(reason, request, NOW, subject, "stale") for reason in Reason}
    assert texts[Reason.REVOCATION_STALE] == "stale"
    assert texts[Reason.MALFORMED_MESSAGE] == "host h"
    assert texts[Reason.SNI_MISMATCH] == "sni absent, host h"
    assert texts[Reason.NO_CERTIFICATE] == "certificate sent"
    assert texts[Reason.CERTIFICATE_NOT_VERIFIED] == "verify 0"
    assert texts[Reason.CERTIFICATE_EXPIRED] == "2026-11-20T08:00:00Z to 2026-12-20T09:00:00Z, now 2026-11-20T09:00:00Z"
    assert (texts[Reason.ISSUER_UNKNOWN], texts[Reason.WEAK_KEY]) == ("corp", "EC 256, sha256")
    assert texts[Reason.NOT_A_CLIENT_CERTIFICATE] == "eku clientAuth"
    assert gate_text(Reason.NOT_A_CLIENT_CERTIFICATE, request, NOW, holder(), "good") == "eku absent"
    assert (texts[Reason.AMBIGUOUS_SUBJECT], texts[Reason.UNSAFE_ATTRIBUTE]) == ("1 CN", "CN=c")
    assert texts[Reason.CERTIFICATE_TOO_LONG_LIVED] == "30.0 days"
    assert texts[Reason.CERTIFICATE_UNPARSABLE] == ""
