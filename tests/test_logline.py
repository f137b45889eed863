"""A line holds what the schema lists and nothing else, in ASCII, and is written the same in one go or out of parts."""

from __future__ import annotations

import json
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spoa.authorizer import Judgement, Standing
from spoa.facts import ABSENT, UNAVAILABLE, Certificate, Missing, Request
from spoa.logline import Entry, LineWriter, _rounded, _timestamp, row_of
from spoa.logsinks.sink import encode
from spoa.policy.decision import Decision, Tally

NOW = 1_800_000_000.25


def judgement(verdict: str = "deny", certificate: Certificate | None = None, **changes: Any) -> Judgement:
    values: dict[str, Any] = {
        "verdict": verdict, "status": 403, "reason": "no_rule_allows", "rule": "", "identity": "", "route": "",
        "shadow": "", "rules": ("a", "b"), "log_reason": "no_rule_allows", "log_rule": "",
    }  # fmt: skip
    made = Judgement(Decision(**{**values, **changes}, tally=Tally(verdict, "no_rule_allows", "", "")))
    if certificate is not None:
        made.standing = Standing(certificate, "corp", None)
    return made


def entry(path: str | Missing = "/x", request: Request | None = None, made: Judgement | None = None) -> Entry:
    one = request or Request()
    one.path = path
    return Entry(NOW, 0.000123, one, made or judgement(), "0123456789ab")


def certificate(**changes: Any) -> Certificate:
    values: dict[str, Any] = dict.fromkeys(("dns_san", "uri_san", "email_san", "ip_san"), ())
    values |= {"subject": {}, "eku": ABSENT, "policy_oids": ABSENT, "is_ca": False, "has_digital_signature": True}
    values |= {"key_type": "EC", "key_bits": 256, "signature_hash": "sha256", "not_before": 0, "not_after": 86400}
    values |= {"sha256": b"\x01" * 32, "sha1": b"\x02" * 20, "spki_sha256": b"\x03" * 32, "serial": 255}
    return Certificate(**{**values, "issuer_text": "CN=CA", "subject_text": "CN=\u202ealice", **changes})


def written(one: Entry) -> bytes:
    return LineWriter().line(one)


def test_the_path_of_options_with_an_asterisk_is_told_from_one_that_was_not_sent() -> None:
    asked = [entry(raw, Request(method="OPTIONS")) for raw in (ABSENT, UNAVAILABLE)]
    assert [json.loads(written(one))["path"] for one in asked] == ["*", None]


def test_it_holds_what_the_contract_lists_in_that_order() -> None:
    request = Request(source=bytes((10, 0, 0, 1)), method="GET", host="api", id="id-1")
    line = json.loads(written(entry("/a", request, judgement(certificate=certificate()))))
    assert line == {
        "time": "2027-01-15T08:00:00.250000Z",
        "id": "id-1",
        "verdict": "deny",
        "status": 403,
        "reason": "no_rule_allows",
        "rule": "",
        "rules": ["a", "b"],
        "identity": "",
        "route": "",
        "revision": "0123456789ab",
        "shadow": "",
        "revocation": "",
        "cert": {
            "sha256": "01" * 32,
            "subject": "CN=\u202ealice",
            "issuer": "CN=CA",
            "serial": "ff",
            "not_after": "1970-01-02T00:00:00Z",
            "spki_sha256": "03" * 32,
            "sha1": "02" * 20,
            "issuer_name": "corp",
        },
        "src": "10.0.0.1",
        "method": "GET",
        "host": "api",
        "path": "/a",
        "latency_us": 123,
        "detail": "",
        "break_glass": [],
        "candidate": None,
        "schema": 1,
        "masked": [],
    }


def test_what_is_not_known_is_null() -> None:
    unknown = certificate(sha256=UNAVAILABLE, serial=UNAVAILABLE, not_after=1 << 60)
    line = json.loads(written(entry(ABSENT, made=judgement(certificate=unknown))))
    assert [line[key] for key in ("src", "method", "host", "path")] == [None] * 4
    assert [line["cert"][key] for key in ("sha256", "serial", "not_after")] == [None] * 3
    assert json.loads(written(entry()))["cert"] is None


def test_whatever_a_client_sends_stays_on_its_line() -> None:
    line = written(entry("/\x00\r\n\x1b[2J\x85\u2028\xff\udcff"))
    assert line.isascii()
    assert b"\n" not in line
    assert not any(byte < 0x20 for byte in line)
    assert json.loads(line)["path"] == "/\x00\r\n\x1b[2J\x85\u2028\xff\udcff"


def test_shadow_mode_logs_the_rule_and_reason_that_would_have_denied() -> None:
    made = judgement("allow", reason="ok", shadow="deny", log_reason="denied_by_rule", log_rule="r")
    line = json.loads(written(entry(made=made)))
    assert (line["verdict"], line["reason"], line["rule"], line["shadow"]) == (
        "allow",
        "denied_by_rule",
        "r",
        "deny",
    )


TEXTS = st.text(st.characters(codec=None), max_size=12)
MAYBE: st.SearchStrategy[Any] = TEXTS | st.just(UNAVAILABLE)
DECISIONS = [
    judgement(verdict, identity=name, route=route, rules=rules).decision
    for verdict in ("allow", "deny")
    for name, route, rules in (("", "", ()), ('"\n\u2028', "be", ("a", "\\")), ("\udcff", "", ("x",)))
]
CERTIFICATES = [
    certificate(),
    certificate(subject_text='"\x00\udc80', serial=-1),
    certificate(sha256=UNAVAILABLE, sha1=UNAVAILABLE, spki_sha256=UNAVAILABLE, serial=UNAVAILABLE, not_after=1 << 60),
]
#: Those of a policy, each asked about again and again.
STANDINGS = [None, *(Standing(one, issuer, None) for one in CERTIFICATES for issuer in ("corp", "", None))]
WRITER = LineWriter()


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    made = Judgement(draw(st.sampled_from(DECISIONS)))
    made.standing = draw(st.sampled_from(STANDINGS))
    made.revocation = draw(st.sampled_from(["", "good", "not_checked"]))
    made.difference = draw(st.none() | st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS))
    one = Entry(
        now=draw(st.floats(0, 4e9) | st.integers(0, 3).map(lambda half: 1_800_000_000 + half / 2)),
        latency=draw(st.floats(0, 100)),
        request=Request(
            id=draw(TEXTS),
            source=draw(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16) | st.just(UNAVAILABLE)),
            method=draw(MAYBE | st.just("OPTIONS")),
            host=draw(MAYBE),
            path=draw(MAYBE | st.just(ABSENT)),
        ),
        judgement=made,
        revision=draw(st.sampled_from(["0123456789ab", "ba9876543210"])),
        sha256=draw(st.sampled_from([b"", b"\x05" * 32])),
        detail=draw(TEXTS),
        switches=draw(st.sampled_from([(), ("incident",), ("a", "b")])),
    )
    one.id = draw(st.just(one.id) | TEXTS)
    return one


@given(st.floats(-1e9, 4e9) | st.integers(0, 40_000).map(lambda part: 1_800_000_000 + part / 20_000 - 2e-7))
def test_the_time_is_the_same_whether_its_second_is_known_or_not(seconds: float) -> None:
    assert WRITER._timestamp(seconds) == _timestamp(seconds)


@given(st.floats(0, 1e9) | st.integers(0, 10**6).map(lambda half: half / 2))
def test_numbers_are_rounded_as_everywhere_halves_to_the_even_one(number: float) -> None:
    assert _rounded(number) == round(number)


@given(entries())
def test_a_line_out_of_remembered_parts_is_what_its_row_says(one: Entry) -> None:
    """One writer for all examples, so that parts of earlier lines are in use."""
    assert WRITER.line(one) == encode(row_of(one))


@given(entries(), st.floats(0, 4e9), st.floats(0, 100), TEXTS)
def test_a_line_is_written_again_as_it_would_be_written_anew(
    one: Entry, now: float, latency: float, identifier: str
) -> None:
    WRITER.line(one)
    says_more = bool(one.detail or one.switches or one.judgement.difference)
    assert bool(one.judgement.line) == (not says_more)
    if one.judgement.line:
        pieces: list[bytes] = []
        WRITER.again(pieces, now, latency, one.judgement, identifier)
        one.now, one.latency, one.id = now, latency, identifier
        assert b"".join(pieces) == encode(row_of(one)) + b"\n"


def test_what_a_line_needs_of_a_request_is_all_that_it_keeps() -> None:
    asked = Request(
        cert=b"DER", headers={"cookie": "secret"}, source=bytes(4), method="GET", path="/p", host="h", id="i"
    )
    one = entry("/p", asked)
    line = written(one)
    assert one.keep() > 1000
    assert (one.request.cert, one.request.headers, one.request.id) == (UNAVAILABLE, {}, "")
    assert written(one) == line
    assert json.loads(line)["id"] == "i"


def test_whoever_asks_the_same_shares_what_lines_tell_of_it() -> None:
    asked = Request(source=bytes(4), method="GET", path="/p", host="h")
    first, second = entry("/p", asked), entry("/p", asked)
    assert first.request is second.request is asked
    assert written(first) == written(second) == encode(row_of(second))
    assert asked.line in written(second).decode()


@given(st.text(max_size=3000))
def test_what_is_long_is_not_kept_for_the_next_line(path: str) -> None:
    """An entry that waits in another queue has its size counted before it grows."""
    one = entry(path, Request(source=bytes(4), method="GET", host="h"))
    assert written(one) == written(one) == encode(row_of(one))
    assert len(one.request.line) <= 512
    assert len(one.judgement.line) <= 2048


def test_of_a_certificate_that_says_much_no_line_is_kept() -> None:
    """There are many requests for each certificate, whose issuer decides how long its subject is."""
    one = entry("/p", made=judgement(certificate=certificate(subject_text="CN=" + "\x01" * 900)))
    assert len(written(one)) > 5000
    assert one.judgement.line == b""
    two = entry("/p", made=judgement(certificate=certificate()))
    LineWriter().line(two, keep=False)
    assert two.judgement.line == b""


def test_no_certificate_is_kept_for_the_lines_about_it() -> None:
    """The memories of certificates are bounded together; one more of them would keep what all others have dropped."""
    writer, one = LineWriter(), entry(made=judgement(certificate=certificate()))
    kept = one.judgement.certificate
    before = sys.getrefcount(kept)
    writer.line(one)
    assert sys.getrefcount(kept) == before
