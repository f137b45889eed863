"""What decision logs tell: when each certificate was seen, and nothing where a line is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spoa.decision_fields import NewerLogError
from spoa.facts import ABSENT, UNAVAILABLE
from spoa.listindex import Kind, serial_key
from spoa.masking import MASKABLE, Mask
from spoa.policy import oids
from spoa.recorded import Sightings, certificate_of, read_decision, request_of, time_of
from tests.decisions import row

DIGEST = "ab" * 32


def line(verdict: str = "allow", time: Any = "2026-11-20T09:00:00.5Z", sha256: Any = DIGEST) -> bytes:
    return json.dumps({"time": time, "verdict": verdict, "cert": {"sha256": sha256}}).encode() + b"\n"


def test_a_certificate_is_seen_first_and_last_and_last_allowed() -> None:
    found = Sightings()
    found.read([line(time="2026-11-20T09:00:02Z"), line(), line("deny", "2026-11-20T09:00:09Z")])
    sighting = found.by_key[Kind.SHA256, bytes.fromhex(DIGEST)]
    assert (sighting.first, sighting.last, sighting.allowed) == (1795165200.5, 1795165209, 1795165202)
    assert sighting.admitted == 1795165200.5
    assert (found.since, found.until, found.allows, found.unreadable) == (1795165200.5, 1795165209, 2, 0)


def test_a_certificate_that_was_only_denied_was_never_allowed() -> None:
    found = Sightings()
    found.read([line("deny")])
    sighting = found.by_key[Kind.SHA256, bytes.fromhex(DIGEST)]
    assert (sighting.allowed, sighting.admitted, found.allows) == (0, 0, 0)


def test_a_certificate_is_seen_by_all_that_lists_may_name_it_by() -> None:
    cert = {"sha256": DIGEST, "spki_sha256": "cd" * 32, "sha1": "ef" * 20, "issuer_name": "corp", "serial": "1f"}
    row = {"time": "2026-11-20T09:00:00Z", "verdict": "allow", "cert": cert}
    found = Sightings()
    found.read([json.dumps(row).encode()])
    assert set(found.by_key) == {
        (Kind.SHA256, bytes.fromhex(DIGEST)),
        (Kind.SPKI_SHA256, b"\xcd" * 32),
        (Kind.SHA1, b"\xef" * 20),
        (Kind.SERIAL, serial_key("corp", 0x1F)),
    }
    assert found.kinds == set(Kind)
    older = Sightings()
    for wrong in ({"serial": "xy"}, {"serial": None}, {"issuer_name": ""}, {"sha1": "ef"}, {"spki_sha256": None}):
        older.read(
            [json.dumps({**row, "cert": {**cert, "sha1": None, "spki_sha256": None, "serial": None, **wrong}}).encode()]
        )
    assert older.kinds == {Kind.SHA256}


def test_requests_without_a_certificate_count_for_the_time_alone() -> None:
    found = Sightings()
    found.read(
        [b'{"time": "2026-11-20T09:00:00Z", "verdict": "deny", "cert": null}', line(sha256="xy"), line(sha256=7)]
    )
    assert (found.by_key, found.since) == ({}, 1795165200)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"7", b'{"verdict": 7}', b'{"time": "2026-11-20T09:00:00Z", "verd\n', b"\xff"]
)
def test_what_is_no_decision_is_none(text: bytes) -> None:
    assert read_decision(text) is None


def test_lines_that_are_none_are_counted() -> None:
    found = Sightings()
    found.read([b"\n", b"{\n", line(time="now"), line(time=None), line(time="2026-11-20T09:00:00")])
    assert (found.unreadable, found.since) == (4, None)


def test_the_time_of_a_decision_is_read_with_its_zone() -> None:
    assert time_of({"time": "2026-11-20T10:00:00+01:00"}) == 1795165200
    assert time_of({}) is None


def decision(**fields: Any) -> dict[str, Any]:
    cert = {"sha256": DIGEST, "subject": "CN=alice,OU=a,OU=b", "issuer": "CN=Corp", "serial": "1f"}
    return {"verdict": "deny", "cert": {**cert, "not_after": "2026-11-20T09:00:00Z"}, **fields}


def test_a_request_is_what_the_log_tells() -> None:
    found = request_of(decision(src="10.0.0.1", method="GET", path="/x", host="h", id="7F", reason="no_rule_allows"))
    assert (found.source, found.method, found.path, found.host, found.id) == (
        bytes((10, 0, 0, 1)),
        "GET",
        "/x",
        "h",
        "7F",
    )
    assert (found.sni, found.tls, found.headers, found.malformed) == (UNAVAILABLE, UNAVAILABLE, {}, "")


def test_what_the_log_doesn_t_tell_is_unavailable() -> None:
    found = request_of(decision(src=None, method=None, path=None, host=None))
    assert (found.source, found.method, found.path, found.host) == (UNAVAILABLE,) * 4


def test_the_asterisk_of_options_is_told_from_a_path_that_was_not_sent() -> None:
    assert request_of(decision(method="OPTIONS", path="*")).path is ABSENT
    assert request_of(decision(method="OPTIONS", path=None)).path is UNAVAILABLE
    assert request_of(decision(method="GET", path=None, reason="path_not_canonical")).path is ABSENT
    assert request_of(decision(method="OPTIONS", path="*", reason="path_not_canonical")).path == "*"


def test_a_certificate_that_was_there_and_a_broken_message_stay_what_they_were() -> None:
    assert request_of(decision(reason="certificate_unavailable")).used is True
    assert request_of(decision(reason="malformed_message", detail="cert twice")).malformed == "cert twice"
    assert request_of(decision(reason="malformed_message")).malformed == "malformed_message"


def test_a_certificate_says_what_the_log_tells_of_it() -> None:
    found = certificate_of(decision(), 7)
    assert found is not None
    certificate, issuer = found
    assert (certificate.subject, issuer) == ({oids.CN: ("alice",), oids.OU: ("b", "a")}, "CN=Corp")
    assert (certificate.sha256, certificate.serial) == (bytes.fromhex(DIGEST), 0x1F)
    assert (certificate.not_before, certificate.not_after) == (7, 1795165200)
    assert certificate.spki_sha256 is UNAVAILABLE


@pytest.mark.parametrize(
    "cert",
    [
        None,
        {"sha256": DIGEST, "subject": None},
        {"sha256": DIGEST, "subject": "=", "serial": "1"},
        {"sha256": DIGEST, "subject": "CN=a", "serial": None},
    ],
)
def test_a_certificate_of_which_little_is_known_is_none(cert: Any) -> None:
    assert certificate_of(decision(cert=cert), 0) is None


# -- masked -----------------------------------------------------------------------------------------------------


def test_a_masked_fingerprint_was_seen_by_nobody_and_what_is_not_masked_was() -> None:
    found = Sightings()
    found.read(json.dumps(Mask(("sha256",)).apply(made)).encode() for made in (row(), row(cert=None)))
    assert found.masked == {Kind.SHA256, Kind.SPKI_SHA256, Kind.SHA1}
    assert (found.kinds, found.unreadable) == ({Kind.SERIAL}, 0)


def test_what_is_masked_of_a_request_is_unavailable() -> None:
    request = request_of(Mask(tuple(MASKABLE)).apply(row()))
    assert (request.source, request.host, request.path, request.method) == (UNAVAILABLE,) * 3 + ("GET",)
    assert request_of(Mask(("path",)).apply(row(method="OPTIONS", path="*"))).path is UNAVAILABLE
    refused = Mask(("path",)).apply(row(reason="path_not_canonical", path="/a/../b"))
    assert request_of(refused).path is UNAVAILABLE


def test_what_is_masked_of_a_certificate_is_unavailable_and_without_a_subject_there_is_none() -> None:
    found = certificate_of(Mask(("sha256", "serial")).apply(row()), 0)
    assert found is not None
    one = found[0]
    assert {one.sha256, one.spki_sha256, one.sha1, one.serial} == {UNAVAILABLE}
    assert one.subject_text == "CN=alice,OU=staff"
    assert certificate_of(Mask(("subject",)).apply(row()), 0) is None


def test_a_line_of_a_newer_agent_is_refused() -> None:
    with pytest.raises(NewerLogError):
        read_decision(json.dumps(row(schema=2)).encode())
