"""What is remembered is what judging afresh would say, whatever bytes ask for it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoa.loading import load_policy
from spoa.revocation.crl import read_crl
from spoa.revocation.status import Reason
from spoa.spop import Argument, DataType, Message, write_messages
from tests.pki import CA
from tests.recalling import NOW, Asker, http, payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spoa.authorizer import Policy
    from tests.pki import Issued

POLICY = """
apiVersion: authz/v1
defaults: {{path_on_ambiguity: normalise}}
issuers: {{corp: {{ca: ca.pem, revocation: {{none: test}}}}}}
lists: {{some: {{file: some.yaml}}}}
identities: {{listed: {{issuer: corp, in_list: some}}, staff: {{issuer: corp, ou: staff}}}}
rules:
  - {{id: staff, effect: allow, who: staff, request: {{path: "/a/**"}}}}
  - {{id: listed, effect: allow, who: listed}}
  - {{id: no-writes, effect: deny, request: {{method: write}}}}
  {more}
"""


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA("corp", now=NOW)


@pytest.fixture(scope="module")
def policy(ca: CA, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return make_policy(ca, tmp_path_factory.mktemp("policy"))


def make_policy(ca: CA, folder: object, more: str = "", entry: str = "") -> Policy:
    directory = Path(str(folder))
    (directory / "ca.pem").write_bytes(ca.pem)
    (directory / "some.yaml").write_text(f"apiVersion: authz/v1\nkind: list\nentries: [{entry}]\n")
    (directory / "policy.yaml").write_text(POLICY.format(more=more))
    return load_policy(directory, now=NOW)


@pytest.fixture
def asker(policy: Policy) -> Asker:
    return Asker(policy)


@pytest.fixture(scope="module")
def people(ca: CA) -> Sequence[Issued]:
    return [
        ca.issue("alice", ["staff"]),
        ca.issue("bob", ["staff"], not_after=NOW + 86_400 * 3 + 10),
        ca.issue("mallory", ["other"]),
        ca.issue("late", ["staff"], not_after=NOW - 1),
        ca.issue("early", ["staff"], not_before=NOW + 5),
        CA("corp", now=NOW).issue("forged", ["staff"]),
    ]


def test_a_question_is_remembered_from_its_second_time_on(asker: Asker, people: Sequence[Issued]) -> None:
    first, second, third = (http(people[0].der, "/a/b", f"id-{number}") for number in range(3))
    assert asker.from_memory(first) is None
    asker.fresh(first)
    assert asker.from_memory(second) is None
    expected = asker.fresh(second)
    assert asker.from_memory(third) == expected


def test_another_certificate_that_no_rule_tells_apart_shares_the_questions(
    asker: Asker, people: Sequence[Issued]
) -> None:
    for number in range(2):
        asker.fresh(http(people[0].der, "/a/b", str(number)))
    asker.fresh(http(people[1].der, "/a/b", "x"))
    answer = asker.from_memory(http(people[1].der, "/a/b", "y"))
    assert answer == asker.fresh(http(people[1].der, "/a/b", "z"))
    assert answer != asker.from_memory(http(people[0].der, "/a/b", "w")), "days_left differ"


@given(
    who=st.integers(0, 5),
    path=st.sampled_from(["/a/b", "/a/../x", "/b", "/a/%41", "//a", "/%", "*", "/a/\x02id\x08\x01x"]),
    method=st.sampled_from(["GET", "POST", "get"]),
    identifier=st.text(max_size=6) | st.sampled_from(["\x02id\x08\x01", "x" * 239, "x" * 240, "\x02id\x08\x00"]),
    offset=st.sampled_from([0, 1, 60, 86_400, 3 * 86_400, 3 * 86_400 + 11, 40 * 86_400]),
)
@settings(max_examples=400, deadline=None)
def test_memory_never_says_anything_but_what_judging_afresh_says(
    warm: Asker, people: Sequence[Issued], who: int, path: str, method: str, identifier: str, offset: int
) -> None:
    asked = http(people[who].der, path, identifier, method)
    remembered = warm.from_memory(asked, NOW + offset)
    assert remembered in (None, warm.fresh(asked, NOW + offset))


@pytest.fixture(scope="module")
def warm(policy: Policy) -> Asker:
    return Asker(policy)


@pytest.fixture(scope="module")
def reads_headers(ca: CA, tmp_path_factory: pytest.TempPathFactory) -> Asker:
    more = """- {id: exact, effect: deny, request: {path: /a/secret}}
  - {id: folded, effect: deny, request: {path: {re: "/A/[a-z]+[.]txt"}, header: {x-team: red}}}
  - {id: globbed, effect: allow, who: any_certificate, request: {path: "/c/*/d", host: "x.example"}}"""
    return Asker(make_policy(ca, tmp_path_factory.mktemp("headers"), more))


#: Values that could be taken for something else when a payload is cut by its bytes.
TREACHEROUS = [
    b"", b"/a/b", b"red", b"x.example",
    b"\x04path\x08\x04/a/b", b"\x04path\x08", b"\x04path\x08\xf0", b"\x04path", b"\x02id\x08\x01x", b"\x02id\x08",
    b"a\x04path\x08\x02/c" + b"y" * 250, b"z" * 239, b"z" * 240, b"z" * 2300,
]  # fmt: skip
PATHS = [
    b"/a/b", b"/a/secret", b"/A/Secret", b"/a/b.txt", b"/c/1/d", b"/c//d", b"/a/../b", b"/a/%41", b"/%", b"", b"*",
    b"/a/" + b"p" * 236, b"/a/" + b"p" * 237, b"/a/" + b"p" * 2300, b"/a/\x04path\x08\x02/b", b"/\xe9",
]  # fmt: skip


@given(
    who=st.integers(0, 2),
    others=st.lists(
        st.tuples(
            st.sampled_from(["method", "host", "hdr.x-team", "hdrcnt.x-team", "id", "sni", "unknown", "path"]),
            st.sampled_from([DataType.STRING, DataType.STRING, DataType.STRING, DataType.BINARY, DataType.NULL]),
            st.sampled_from(TREACHEROUS),
        ),
        max_size=4,
    ),
    place=st.integers(0, 4),
    paths=st.lists(st.sampled_from(PATHS), min_size=1, max_size=3),
    tail=st.sampled_from([b"", b"", b"", b"\x02id\x08\x01x", b"\x04path\x08\x02/b", b"x"]),
    loss=st.integers(0, 12),
)
@settings(max_examples=500, deadline=None)
def test_a_path_that_was_never_seen_gets_what_judging_afresh_says(
    reads_headers: Asker,
    people: Sequence[Issued],
    who: int,
    others: list[tuple[str, DataType, bytes]],
    place: int,
    paths: list[bytes],
    tail: bytes,
    loss: int,
) -> None:
    """Whatever stands beside the path: what can't be decoded is never answered from memory either."""

    def asked(path: bytes) -> bytes:
        arguments: list[tuple[str, int, object]] = [
            (key, kind, None if kind == 0 else value) for key, kind, value in others
        ]
        arguments.insert(place, ("path", DataType.STRING, path))
        return payload(people[who].der, *arguments)

    for path in paths:
        for _ in range(2):
            reads_headers.fresh(asked(path))
    for path in PATHS:
        whole = asked(path)
        for asked_now in (whole, whole + tail, whole[: len(whole) - loss]):
            remembered = reads_headers.from_memory(asked_now)
            if remembered is not None:
                assert remembered == reads_headers.fresh(asked_now)


@pytest.mark.parametrize("key", ["x", "sni", "hdr.x-team"])
def test_a_path_inside_another_value_is_not_taken_for_the_path(
    asker: Asker, people: Sequence[Issued], key: str
) -> None:
    def asked(inner: bytes) -> bytes:
        value = b"red\x04path\x08" + bytes((len(inner),)) + inner
        method, path = ("method", DataType.STRING, b"GET"), ("path", DataType.STRING, b"/b/c")
        return payload(people[0].der, method, (key, DataType.STRING, value), path)

    for inner in (b"/b/1", b"/b/2", b"/b/3"):
        asker.fresh(asked(inner))
    assert asker.from_memory(asked(b"/a/b")) is None
    assert b"no_rule_allows" in asker.fresh(asked(b"/a/b"))


def test_a_path_that_was_never_seen_is_answered_where_all_else_is_known(asker: Asker, people: Sequence[Issued]) -> None:
    for number in range(3):
        asker.fresh(http(people[0].der, f"/a/{number}", str(number)))
    for path in ("/a/new", "/b/new", "/a/x/../y", "/a/new"):
        assert asker.from_memory(http(people[0].der, path, "x")) == asker.fresh(http(people[0].der, path, "y"))
    assert asker.from_memory(http(people[0].der, "/a/%2F", "x")) is None, "what has no path is judged afresh"


def test_a_gate_answers_for_every_path_that_is_canonical(asker: Asker, people: Sequence[Issued]) -> None:
    for number in range(3):
        asker.fresh(http(people[5].der, f"/a/{number}", str(number)))
    remembered = asker.from_memory(http(people[5].der, "/a/new", "x"))
    assert remembered is not None
    assert b"issuer_unknown" in remembered
    assert asker.from_memory(http(people[5].der, "/a/\x01", "x")) is None


@pytest.mark.interpreted
def test_answers_for_different_paths_are_bounded(
    asker: Asker, people: Sequence[Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoa.recall.OUTCOMES", 1)
    monkeypatch.setattr("spoa.recall.REQUESTS", 1)
    for method in ("GET", "POST", "GET"):
        for path in ("/a/1", "/a/2", "/b/3", "/a/4", "/b/5"):
            fresh = asker.fresh(http(people[0].der, path, "x", method))
            assert asker.from_memory(http(people[0].der, path, "x", method)) in (None, fresh)
    assert len(asker.recall._alike) == 1


def test_an_id_inside_another_value_is_not_taken_for_the_id(asker: Asker, people: Sequence[Issued]) -> None:
    """An unknown argument behind the id may end in bytes that look like one."""

    def asked(tail: bytes) -> bytes:
        return payload(
            people[0].der,
            ("path", DataType.STRING, b"/a/b"),
            ("id", DataType.STRING, b"1"),
            ("x", DataType.BINARY, b"\x02id\x08" + bytes((len(tail),)) + tail),
        )

    for _ in range(3):
        asker.fresh(asked(b"abc"))
    assert asker.from_memory(asked(b"xyz")) is None
    assert asker.from_memory(asked(b"abc")) is None


@pytest.mark.parametrize("tail", [b"", b"\x02", b"\x02id", b"\x02id\x08", b"\x02id\x08\x02x"])
def test_a_payload_that_breaks_off_at_its_id_is_not_taken_for_a_whole_one(
    asker: Asker, people: Sequence[Issued], tail: bytes
) -> None:
    asked = http(people[0].der, "/a/b", "xy")
    for _ in range(3):
        asker.fresh(asked)
    assert asker.from_memory(asked) is not None
    assert asker.from_memory(asked.removesuffix(b"\x02id\x08\x02xy") + tail) is None


@pytest.mark.parametrize(
    "broken",
    [b"", b"\x09authorize", b"\x09authorize\x03\x04cert\x09", b"\x09authorize\x03\x04cert\x09\xf0", b"\x04else\x00"],
)
def test_what_is_cut_off_is_not_known(asker: Asker, broken: bytes) -> None:
    assert asker.from_memory(broken) is None


@pytest.mark.parametrize(
    ("usual", "other"),
    [
        (b"\x09authorize", b"\x09autorizes"),
        (b"\x09authorize", b"\x08uthorizes"),
        (b"\x04cert\x09", b"\x04cerd\x09"),
        (b"\x04cert\x09", b"\x04cert\x08"),
    ],
)
def test_what_does_not_begin_as_usual_is_not_known(
    asker: Asker, people: Sequence[Issued], usual: bytes, other: bytes
) -> None:
    asked = http(people[0].der, "/a/b", "xy")
    for _ in range(2):
        asker.fresh(asked)
    assert asker.from_memory(asked) is not None
    assert asked.index(usual) < 20
    assert asker.from_memory(asked.replace(usual, other, 1)) is None


def test_certificates_of_every_length_are_found(asker: Asker, ca: CA) -> None:
    for size in (0, 600, 1500, 3000):
        der = ca.issue("x" * 60, ["staff"], dns=tuple(f"{'a' * 50}{n}.example" for n in range(size // 60))).der
        for number in range(2):
            asker.fresh(http(der, "/a/b", str(number)))
        assert asker.from_memory(http(der, "/a/b", "n")) == asker.fresh(http(der, "/a/b", "n"))


def test_a_certificate_is_the_one_that_was_judged_octet_for_octet(asker: Asker, people: Sequence[Issued]) -> None:
    messages = [http(one.der, "/a/1", "1") for one in people[:3:2]]
    allow, deny = ([asker.fresh(one) for _ in range(3)][-1] for one in messages)
    for _ in range(3):
        assert [asker.from_memory(one) for one in messages] == [allow, deny]
    whole = asker.recall._whole
    first, second = whole
    whole[first], whole[second] = whole[second], whole[first]
    assert [asker.from_memory(one) for one in messages] == [allow, deny], "found under a mark, and seen to be another"


def test_a_path_is_found_wherever_the_last_one_stood(asker: Asker, people: Sequence[Issued]) -> None:
    path, host = ("path", DataType.STRING), ("host", DataType.STRING, b"h")

    def asked(at: str, text: bytes) -> bytes:
        return payload(people[0].der, *((host, (*path, text)) if at == "behind" else ((*path, text), host)))

    for number in range(3):
        for at in ("behind", "before"):
            asker.fresh(asked(at, b"/a/%d" % number))
    for at in ("behind", "before", "behind"):
        for text in (b"/a/new-" + at.encode(), b"/b/new"):
            assert asker.from_memory(asked(at, text)) == asker.fresh(asked(at, text))


def test_nothing_is_remembered_by_a_clock_that_can_not_be_right(asker: Asker, people: Sequence[Issued]) -> None:
    asker.policy.clock_usable = False
    for _ in range(3):
        asker.fresh(http(people[0].der, "/a/b", "1"))
    assert asker.from_memory(http(people[0].der, "/a/b", "1")) is None
    asker.policy.clock_usable = True
    for _ in range(2):
        asker.fresh(http(people[0].der, "/a/b", "1"))
    assert asker.from_memory(http(people[0].der, "/a/b", "1")) is not None


def test_a_message_in_another_order_is_judged_afresh(asker: Asker, people: Sequence[Issued]) -> None:
    verify, cert = Argument(b"verify", DataType.INT64, 0), Argument(b"cert", DataType.BINARY, people[0].der)
    asked = write_messages([Message(b"authorize", (verify, cert))])
    for _ in range(3):
        asker.fresh(asked)
    assert asker.from_memory(asked) is None


def test_a_malformed_request_is_never_remembered(asker: Asker, people: Sequence[Issued]) -> None:
    asked = payload(people[0].der, ("used", DataType.BOOL, False))
    for _ in range(3):
        asker.fresh(asked)
    assert asker.from_memory(asked) is None


def test_it_is_emptied_step_by_step(asker: Asker, people: Sequence[Issued]) -> None:
    asked = http(people[0].der, "/a/b", "id")
    for _ in range(2):
        asker.fresh(asked)
    assert asker.from_memory(asked) is not None
    assert len(asker.recall) == 1
    assert len(list(asker.recall.empty())) > 1
    assert len(asker.recall) == len(asker.recall._known) == len(asker.recall._requests) == 0
    assert asker.from_memory(asked) is None


def test_an_open_switch_or_an_unusable_clock_forgets(ca: CA, people: Sequence[Issued], tmp_path: object) -> None:
    policy = make_policy(ca, tmp_path)
    asker = Asker(policy)
    asked = http(people[0].der, "/a/b", "1")
    for _ in range(2):
        asker.fresh(asked)
    assert asker.from_memory(asked) is not None
    policy.clock_usable = False
    assert asker.from_memory(asked) is None
    policy.clock_usable = True
    assert asker.from_memory(asked) is None
    for _ in range(2):
        asker.fresh(asked)
    policy.switches = frozenset({"incident"})
    assert asker.from_memory(asked) is None


def test_a_policy_that_reads_the_time_forgets_with_the_minute(
    ca: CA, people: Sequence[Issued], tmp_path: object
) -> None:
    rule = '- {id: hours, effect: require, request: {path: "/a/**"}, when: {time: {tz: UTC, hours: "00:00-24:00"}}}'
    asker = Asker(make_policy(ca, tmp_path, rule))
    asked = http(people[0].der, "/a/b", "1")
    minute = NOW - NOW % 60 + 60
    asker.from_memory(asked, minute)
    for _ in range(2):
        asker.fresh(asked, minute)
    assert asker.from_memory(asked, minute + 59) is not None
    assert asker.from_memory(asked, minute + 60) is None


def test_a_list_entry_that_expires_is_not_outlived(ca: CA, tmp_path: object) -> None:
    scanner = ca.issue("scanner", not_after=NOW + 86_400 + 1000)
    until = datetime.fromtimestamp(NOW + 100, UTC).isoformat()
    entry = f'{{sha256: "{hashlib.sha256(scanner.der).hexdigest()}", expires: "{until}"}}'
    asker = Asker(make_policy(ca, tmp_path, entry=entry))
    asked = http(scanner.der, "/x", "1")
    for _ in range(2):
        asker.fresh(asked)
    assert b"allow" in (asker.from_memory(asked, NOW + 99) or b"")
    assert asker.from_memory(asked, NOW + 100) is None
    assert b"no_rule_allows" in asker.fresh(asked, NOW + 100)


def test_a_certificate_that_comes_once_takes_nobodys_place(asker: Asker, people: Sequence[Issued]) -> None:
    for number in (1, 2):
        asker.fresh(http(people[0].der, "/a/x", str(number)))
    known = asker.recall._known
    assert (len(known), bool(known.younger)) == (1, False)
    assert asker.from_memory(http(people[0].der, "/a/x", "3")) is not None
    assert (len(known), bool(known.younger)) == (1, True)


@pytest.mark.interpreted
def test_questions_asked_once_leave_nothing_but_a_hash(
    asker: Asker, people: Sequence[Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoa.recall.SEEN", 10)
    for number in range(50):
        asker.fresh(http(people[0].der, f"/a/{number}", "1"))
    assert len(asker.recall) == 0
    assert asker.recall.misses == 50


def test_what_is_known_of_a_certificate_ends_with_the_evidence_about_its_revocation(tmp_path: Path) -> None:
    ca = CA("corp", now=NOW)
    alice, bob = (ca.issue(name, ["staff"], not_after=NOW + 30 * 86_400 + 500) for name in ("alice", "bob"))
    ca.revoke(bob)
    checked = POLICY.replace("none: test", "crl: {{files: a.crl}}")
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    (tmp_path / "some.yaml").write_text("apiVersion: authz/v1\nkind: list\nentries: []\n")
    (tmp_path / "policy.yaml").write_text(checked.format(more=""))
    crls = {"corp": (read_crl(ca.crl(next_update=NOW + 100)),)}
    asker = Asker(load_policy(tmp_path, now=NOW).with_crls(crls))
    for der in (alice.der, bob.der) * 2:
        asker.fresh(http(der, "/a/x", "1"))
    allowed, denied = (asker.from_memory(http(one.der, "/a/x", "2")) for one in (alice, bob))
    assert allowed == asker.fresh(http(alice.der, "/a/x", "3"))
    assert denied == asker.fresh(http(bob.der, "/a/x", "3"))
    assert allowed != denied
    found = asker.recall.ask(asked := http(alice.der, "/a/x", "4"), 0, len(asked), NOW)
    assert found is not None
    assert found.known.judgement(found.outcome.decision).revocation == "good"
    assert asker.from_memory(http(alice.der, "/a/x", "5"), NOW + 99) is not None
    assert asker.from_memory(http(alice.der, "/a/x", "5"), NOW + 100) is None


def test_what_passes_without_assurance_is_not_remembered_so_that_each_is_counted(tmp_path: Path) -> None:
    ca = CA("corp", now=NOW)
    checked = POLICY.replace("none: test", "crl: {{files: a.crl, on_failure: allow}}")
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    (tmp_path / "some.yaml").write_text("apiVersion: authz/v1\nkind: list\nentries: []\n")
    (tmp_path / "policy.yaml").write_text(checked.format(more=""))
    asker = Asker(load_policy(tmp_path, now=NOW))
    question = http(ca.issue("alice", ["staff"]).der, "/a/x", "1")
    for _ in range(3):
        asker.fresh(question)
    assert asker.from_memory(question) is None


def test_a_certificate_about_which_something_is_to_be_asked_is_judged_afresh(tmp_path: Path) -> None:
    ca = CA("corp", now=NOW)
    checked = POLICY.replace("none: test", 'ocsp: {{responder: "http://ocsp.test"}}')
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    (tmp_path / "some.yaml").write_text("apiVersion: authz/v1\nkind: list\nentries: []\n")
    (tmp_path / "policy.yaml").write_text(checked.format(more=""))
    policy = load_policy(tmp_path, now=NOW)
    asker, alice = Asker(policy), ca.issue("alice", ["staff"])
    question = http(alice.der, "/a/x", "1")
    for _ in range(3):
        asker.fresh(question)
    assert asker.from_memory(question) is None, "or nobody would ask before the memory ends"
    key = ("corp", hashlib.sha256(alice.der).digest())
    policy.assurance.memory.fail(key, Reason.UNREACHABLE, NOW + 5)
    policy.forget(alice.der)
    for _ in range(3):
        asker.fresh(question)
    assert asker.from_memory(question) is not None


def test_long_requests_are_not_remembered(asker: Asker, people: Sequence[Issued]) -> None:
    long = http(people[0].der, "/a/" + "x" * 2000, "1")
    many = payload(people[0].der, ("hdr.x", DataType.STRING, b"x" * 2000), ("path", DataType.STRING, b"/a/x"))
    for _ in range(3):
        asker.fresh(long)
        asker.fresh(many)
    for _ in range(2):
        assert asker.from_memory(long) is not None, "all but the path is short"
        assert asker.from_memory(many) is None
    assert len(asker.recall) == 0
