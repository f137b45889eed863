"""Arguments become a request and judgements become variables, as the contract's tables say."""

from __future__ import annotations

import ipaddress
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa import adapter
from spoa.adapter import ARGUMENTS, VARIABLES, Answers, read_request
from spoa.authorizer import Judgement
from spoa.exceptions import ProtocolError
from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.policy.decision import Decision, Tally
from spoa.policy.model import Reason
from spoa.spop import read_actions
from tests.policies import HEAD, NOW, holder, judge, policy
from tests.wire import item, message, string, varint

NULL = b"\x00"
TRUE, FALSE = b"\x11", b"\x01"
V4 = ipaddress.ip_address("192.0.2.1").packed
V6 = ipaddress.ip_address("2001:db8::1").packed


def text(value: bytes) -> bytes:
    return b"\x08" + string(value)


def binary(value: bytes) -> bytes:
    return b"\x09" + string(value)


def number(value: int, kind: int = 2) -> bytes:
    return bytes([kind]) + varint(value % 2**64)


CERT = [item(b"cert", binary(b"DER")), item(b"verify", number(0))]
NOBODY = [item(b"cert", NULL), item(b"verify", number(0)), item(b"used", FALSE)]


def read(*arguments: bytes) -> Request:
    request = read_request(message(b"authorize", *arguments))
    assert request is not None
    return request


def sent(*arguments: bytes) -> Request:
    """Read a message with a certificate and these arguments, which must be well formed."""
    request = read(*CERT, *arguments)
    assert request.malformed == ""
    return request


# -- arguments --------------------------------------------------------------------------------------------------


def test_what_is_not_in_the_message_is_unavailable() -> None:
    request = sent()
    assert (request.cert, request.verify) == (b"DER", 0)
    for field in ("used", "source", "method", "path", "host", "sni", "tls"):
        assert getattr(request, field) is UNAVAILABLE
    assert request.resumed is False
    assert request.id == ""
    assert request.headers == {}


#: argument, typed value, field, what it becomes.
VALUES: list[tuple[bytes, bytes, str, Any]] = [
    (b"used", TRUE, "used", True),
    (b"used", FALSE, "used", False),
    (b"used", NULL, "used", UNAVAILABLE),
    (b"resumed", TRUE, "resumed", True),
    (b"resumed", FALSE, "resumed", False),
    (b"resumed", NULL, "resumed", False),
    (b"src", b"\x06" + V4, "source", V4),
    (b"src", b"\x07" + V6, "source", V6),
    (b"src", b"\x07" + ipaddress.ip_address("::ffff:192.0.2.1").packed, "source", V4),
    (b"src", NULL, "source", UNAVAILABLE),
    (b"method", text(b"GET"), "method", "GET"),
    (b"method", NULL, "method", UNAVAILABLE),
    (b"path", text(b"/caf\xc3\xa9"), "path", "/caf\xc3\xa9"),  # one character a byte
    (b"path", text(b""), "path", ""),
    (b"path", NULL, "path", ABSENT),
    (b"host", text(b"a.b:80"), "host", "a.b:80"),
    (b"host", NULL, "host", UNAVAILABLE),
    (b"sni", text(b"a.b"), "sni", "a.b"),
    (b"sni", NULL, "sni", ABSENT),
    (b"tls", text(b"TLSv1.3"), "tls", "TLSv1.3"),
    (b"tls", NULL, "tls", UNAVAILABLE),
    (b"id", text(b"\xc3\xa9\xff"), "id", "\u00e9\udcff"),
    (b"id", NULL, "id", ""),
]


@pytest.mark.parametrize(("name", "typed", "field", "expected"), VALUES)
def test_an_argument_becomes_its_field_and_null_means_what_the_contract_says(
    name: bytes, typed: bytes, field: str, expected: Any
) -> None:
    assert getattr(sent(item(name, typed)), field) == expected


@pytest.mark.parametrize("kind", [2, 3, 4, 5])
@pytest.mark.parametrize("value", [0, 1, 18, 70])
def test_any_of_the_four_integer_types_is_an_integer(kind: int, value: int) -> None:
    request = read(item(b"cert", NULL), item(b"verify", number(value, kind)))
    assert (request.verify, request.malformed) == (value, "")


def test_a_null_certificate_is_absent_and_a_null_verify_unavailable() -> None:
    request = read(item(b"cert", NULL), item(b"verify", NULL))
    assert (request.cert, request.verify, request.malformed) == (ABSENT, UNAVAILABLE, "")


def test_flags_on_anything_but_a_boolean_are_ignored() -> None:
    request = sent(item(b"method", b"\x18" + string(b"GET")), item(b"src", b"\xf6" + V4), item(b"sni", b"\x10"))
    assert (request.method, request.source, request.sni) == ("GET", V4, ABSENT)
    flagged = read(item(b"cert", b"\x39" + string(b"DER")), item(b"verify", b"\x12\x00"))
    assert (flagged.cert, flagged.verify, flagged.malformed) == (b"DER", 0, "")


def test_the_order_of_arguments_has_no_meaning() -> None:
    arguments = [*CERT, item(b"used", TRUE), item(b"method", text(b"GET"))]
    assert len({repr(read(*order)) for order in itertools.permutations(arguments)}) == 1


def test_unknown_arguments_are_skipped_even_twice_and_of_any_type() -> None:
    strange = [
        item(b"color", TRUE),
        item(b"color", text(b"red")),
        item(b"", NULL),
        item(b"CERT", TRUE),
        item(b"hdr", TRUE),
    ]
    assert repr(sent(*strange)) == repr(sent())


ALL_TYPES = {
    "null": NULL,
    "bool": TRUE,
    "int32": number(0, 2),
    "uint32": number(0, 3),
    "int64": number(0, 4),
    "uint64": number(0, 5),
    "ipv4": b"\x06" + V4,
    "ipv6": b"\x07" + V6,
    "string": text(b"x"),
    "binary": binary(b"x"),
}
INTEGERS = {"int32", "uint32", "int64", "uint64"}
RIGHT_TYPES = {
    b"cert": {"binary"},
    b"used": {"bool"},
    b"verify": INTEGERS,
    b"resumed": {"bool"},
    b"src": {"ipv4", "ipv6"},
    **{name: {"string"} for name in (b"method", b"path", b"host", b"sni", b"tls", b"id", b"hdr.x")},
    b"hdrcnt.x": INTEGERS,
}


@pytest.mark.parametrize("name", RIGHT_TYPES)
@pytest.mark.parametrize("kind", ALL_TYPES)
def test_a_wrong_type_is_malformed_for_every_argument(name: bytes, kind: str) -> None:
    others = [one for one in CERT if name not in one]
    request = read(*others, item(name, ALL_TYPES[kind]))
    assert (request.malformed == "") is (kind in RIGHT_TYPES[name] | {"null"})


@pytest.mark.parametrize("name", RIGHT_TYPES)
@pytest.mark.parametrize("second", ["the same", "null"])
def test_an_argument_that_stands_twice_is_malformed(name: bytes, second: str) -> None:
    first = ALL_TYPES[next(iter(sorted(RIGHT_TYPES[name])))]
    others = [one for one in CERT if name not in one]
    request = read(*others, item(name, first), item(name, NULL if second == "null" else first))
    assert request.malformed


def test_a_header_argument_is_the_same_in_any_case() -> None:
    assert read(*CERT, item(b"hdr.X-A", text(b"a")), item(b"hdr.x-a", text(b"b"))).malformed


@pytest.mark.parametrize("missing", [0, 1])
def test_cert_and_verify_must_be_in_the_message(missing: int) -> None:
    for arguments in (CERT, NOBODY):
        kept = [one for at, one in enumerate(arguments) if at != missing]
        assert read(*kept).malformed
    assert read().malformed


def test_two_authorize_messages_are_malformed_and_other_messages_skipped() -> None:
    one = message(b"authorize", *CERT)
    other = message(b"something", item(b"cert", TRUE))
    twice = read_request(one + other + one)
    assert twice is not None
    assert twice.malformed == "two authorize messages in one NOTIFY"
    once = read_request(other + one + other)
    assert once is not None
    assert once.malformed == ""
    empty = read_request(one + message(b"authorize"))
    assert empty is not None
    assert empty.malformed


def test_a_notify_without_authorize_asks_for_nothing() -> None:
    assert read_request(b"") is None
    assert read_request(message(b"other", *CERT)) is None
    assert read_request(message(b"Authorize", *CERT)) is None


#: hdr, hdrcnt → the header's value, or None where the request doesn't know it.
HEADERS: list[tuple[bytes | None, bytes | None, Any]] = [
    (text(b"a"), number(1), "a"),
    (text(b""), number(1), ""),
    (text(b"\xff"), number(1), "\udcff"),
    (NULL, number(0), ABSENT),
    (NULL, number(1), ABSENT),
    (text(b"a"), number(2), UNAVAILABLE),
    (text(b"a"), number(0), UNAVAILABLE),
    (text(b"a"), number(2**32 - 1, 3), UNAVAILABLE),
    (text(b"a"), NULL, UNAVAILABLE),
    (text(b"a"), None, UNAVAILABLE),
    (NULL, number(2), UNAVAILABLE),
    (NULL, NULL, UNAVAILABLE),
    (NULL, None, UNAVAILABLE),
    (None, number(0), None),
    (None, number(1), None),
    (None, None, None),
]


@pytest.mark.parametrize(("value", "count", "expected"), HEADERS)
def test_a_header_counts_once_or_not_at_all(value: bytes | None, count: bytes | None, expected: Any) -> None:
    arguments = [item(name, typed) for name, typed in ((b"hdr.X-Team", value), (b"hdrcnt.X-Team", count)) if typed]
    for order in itertools.permutations(arguments):
        assert sent(*order).headers.get("x-team") == expected


def test_headers_are_told_apart() -> None:
    arguments = [item(b"hdr.a", text(b"1")), item(b"hdrcnt.a", number(1)), item(b"hdr.b", text(b"2"))]
    assert sent(*arguments, item(b"hdrcnt.b", number(2))).headers == {"a": "1", "b": UNAVAILABLE}


@given(st.binary(max_size=80))
def test_bytes_are_a_request_nothing_or_a_protocol_error(payload: bytes) -> None:
    try:
        read_request(payload)
    except ProtocolError as error:
        assert error.status == 4  # noqa: PT017 -- the only error there is


TYPED = st.one_of(
    st.sampled_from(sorted(ALL_TYPES.values())),
    st.binary(max_size=6).map(text),
    st.binary(max_size=6).map(binary),
    st.integers(0, 2**64 - 1).map(number),
)
NAMES = st.sampled_from([*sorted(RIGHT_TYPES), b"hdr.", b"hdr.\xff", b"hdrcnt.\xff", b"what"])


@given(st.lists(st.tuples(NAMES, TYPED), max_size=10))
def test_whatever_a_message_holds_the_policy_answers(arguments: list[tuple[bytes, bytes]]) -> None:
    found = read_request(message(b"authorize", *(item(*argument) for argument in arguments)))
    assert found is not None
    decision = EVERYTHING.judge(found, NOW).decision
    assert decision.verdict in {"allow", "deny"}
    names = [name.lower() for name, _ in arguments]
    if any(names.count(name) > 1 for name in names if name != b"what") or not {b"cert", b"verify"} <= set(names):
        assert decision.reason == Reason.MALFORMED_MESSAGE


EVERYTHING = policy(
    HEAD
    + "defaults: {no_certificate: anonymous, path_on_ambiguity: normalise, path_parameters: allow}\n"
    + "rules:\n"
    + "- {id: all, effect: allow, who: [any_certificate, anonymous], request: {path: ['/**', {re: '/.*'}]}}\n"
    + "- {id: no, effect: deny, request: {header: {x: {re: 'a+'}}, sni: a.b}, when: {source: 10.0.0.0/8}}\n"
)


# -- variables --------------------------------------------------------------------------------------------------


def variables(judgement: Judgement, revision: str = "0123456789ab") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for action in read_actions(Answers(revision).actions_for(judgement)):
        scope, name, _, value = action  # type: ignore[misc] # only set-var is sent
        assert scope == 2
        assert name.decode() not in found
        found[name.decode()] = value.decode() if isinstance(value, bytes) else value
    return found


def decision(**fields: Any) -> Decision:
    given: dict[str, Any] = {
        "verdict": "allow",
        "status": 200,
        "reason": "ok",
        "rule": "a",
        "identity": "staff",
        "route": "main",
        "shadow": "",
        "rules": ("a",),
        "log_reason": "ok",
        "log_rule": "a",
        "tally": Tally("allow", "ok", "a", ""),
    }
    return Decision(**{**given, **fields})


def test_an_allow_says_all_it_has_to_say() -> None:
    judgement = Judgement(decision(shadow="deny"))
    judgement.days_left = 30
    judgement.path = "/a"
    found = variables(judgement)
    assert found == {
        "verdict": "allow",
        "status": 200,
        "reason": "ok",
        "rule": "a",
        "identity": "staff",
        "route": "main",
        "shadow": "deny",
        "revision": "0123456789ab",
        "path": "/a",
        "days_left": 30,
    }
    assert tuple(found) == VARIABLES


def test_what_there_is_nothing_to_say_about_is_left_out_or_empty() -> None:
    denied = decision(verdict="deny", status=403, reason="no_certificate", rule="", identity="", route="")
    assert variables(Judgement(denied)) == {
        "verdict": "deny",
        "status": 403,
        "reason": "no_certificate",
        "rule": "",
        "identity": "",
        "revision": "0123456789ab",
    }


def test_types_are_those_of_the_contract() -> None:
    judgement = Judgement(decision())
    judgement.days_left = 0
    kinds = {name: kind for _, name, kind, _ in read_actions(Answers("x").actions_for(judgement))}  # type: ignore[misc] # as above
    assert {name for name, kind in kinds.items() if kind != 8} == {b"status", b"days_left"}
    assert {kinds[b"status"], kinds[b"days_left"]} <= {2, 3, 4, 5}


def test_days_and_paths_are_the_requests_own() -> None:
    shared = decision()
    answers = Answers("x")
    written = []
    for days, path in ((1, "/a"), (2, "/b"), (None, "")):
        judgement = Judgement(shared)
        judgement.days_left, judgement.path = days, path
        written.append(answers.actions_for(judgement))
    assert len(set(written)) == 3
    assert written[0].startswith(written[2])


def test_a_real_judgement_normalises_the_path_it_returns() -> None:
    own = policy(
        HEAD + "defaults: {path_on_ambiguity: normalise}\nrules: [{id: a, effect: allow, who: any_certificate}]\n"
    )
    found = variables(judge(own, holder("x"), method="GET", path="/a//%62"))
    assert (found["path"], found["days_left"]) == ("/a/b", 30)
    plain = policy(HEAD)
    assert "path" not in variables(judge(plain, holder("x"), method="GET", path="/a"))


def test_the_answer_to_a_notify_without_a_question_is_the_revision() -> None:
    (action,) = read_actions(Answers("0123456789ab").actions_for(None))
    assert action == (2, b"revision", 8, b"0123456789ab")


@pytest.mark.interpreted
def test_memory_of_decisions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "REMEMBERED", 3)
    answers = Answers("x")
    for _ in range(10):
        answers.actions_for(Judgement(decision()))
    assert len(answers._written) <= 3


def test_the_tables_are_those_of_the_contract() -> None:
    arguments = "cert used verify resumed src method path host sni tls id"
    assert {name.decode() for name in ARGUMENTS} == set(arguments.split())
    contract = "verdict status reason rule identity route path revision shadow days_left"
    assert set(VARIABLES) == set(contract.split())
    assert adapter.MESSAGE == b"authorize"


def test_no_variable_has_a_name_that_haproxy_would_drop() -> None:
    assert max(len(f"txn.authz.{name}") for name in VARIABLES) <= 63
