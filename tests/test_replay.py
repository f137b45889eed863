"""Replays: what a log tells is judged again; what it doesn't tell is never guessed."""

from __future__ import annotations

import hashlib
import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spoa.allowlist import Listing
from spoa.authorizer import Policy
from spoa.decision_fields import NewerLogError
from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.identity import identity_from_der
from spoa.issuers import Issuers
from spoa.listindex import NEVER, Kind, ListIndex, write_index
from spoa.logline import Entry, LineWriter
from spoa.logreading import read_line
from spoa.masking import MASKABLE, Mask
from spoa.policy.evaluator import Evaluator
from spoa.replay import Replay, Totals
from tests.drawn import documents, model_of, requests
from tests.pki import CA
from tests.policies import NOW, model
from tests.replayed import replay_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spoa.replay import Replayed

CORP = CA("Corp CA", now=NOW)  # the time of these tests: long past, or to come, on the clock of the machine
ALICE = CORP.issue("alice", ["staff"])
HEAD = "issuers: {corp: {ca: a.pem, revocation: {none: x}}}\n"
STAFF = "{id: staff, effect: allow, who: {issuer: corp, ou: staff}}"


def judge(text: str, lists: Mapping[str, Listing] | None = None) -> Policy:
    indexes = {name: ListIndex(write_index(one.sections)) for name, one in (lists or {}).items()}
    return Policy(Evaluator.of(model(HEAD + text)), Issuers({"corp": [CORP.der]}), indexes, "0123456789ab")


def line(**given: Any) -> dict[str, Any]:
    """Return a line of Alice's, allowed by the rule `staff`."""
    certificate = identity_from_der(ALICE.der)
    assert isinstance(certificate.serial, int)
    cert = {
        "sha256": sha256_of(certificate.sha256),
        "subject": certificate.subject_text,
        "issuer": certificate.issuer_text,
        "serial": f"{certificate.serial:x}",
        "not_after": None,
    }
    row = {
        "time": "2026-11-20T09:00:00.000001Z",
        "verdict": "allow",
        "reason": "ok",
        "rule": "staff",
        "cert": cert,
        "src": "10.0.0.1",
        "method": "GET",
        "host": "a.example",
        "path": "/x",
    }
    return {**row, **given}


def sha256_of(digest: object) -> str:
    assert isinstance(digest, bytes)
    return digest.hex()


def replayed(text: str, **given: Any) -> Replayed:
    return judged(Replay(judge(text)), line(**given))


def judged(replay: Replay, row: Mapping[str, Any]) -> Replayed:
    """Return what becomes of a line, read as it stands in a log."""
    return replay.judge(read_line(json.dumps(row).encode()))


def test_what_stays_the_same_is_the_same() -> None:
    assert replayed(f"rules: [{STAFF}]").tag == "same"


def test_a_new_deny_is_told_by_rule_and_client() -> None:
    found = replayed(f"rules: [{STAFF}, {{id: d, effect: deny, request: {{path: /x}}}}]")
    assert found == ("newly_denied", "d", "", "CN=alice,OU=staff")


def test_an_allow_that_went_is_told_by_the_rule_that_went() -> None:
    assert replayed("rules: [{id: other, effect: allow, who: {issuer: corp, ou: ops}}]")[:2] == (
        "newly_denied",
        "staff",
    )


def test_a_new_allow_is_told_with_the_identity() -> None:
    named = "identities: {people: {issuer: corp, ou: staff}}\nrules: [{id: p, effect: allow, who: people}]"
    denied = {"verdict": "deny", "reason": "no_rule_allows", "rule": "", "identity": "old"}
    assert replayed(named, **denied)[:3] == ("newly_allowed", "p", "people")
    assert replayed(f"rules: [{STAFF}]", **denied)[:3] == ("newly_allowed", "staff", "old")


@pytest.mark.parametrize(
    ("logged", "named", "expected"),
    [
        ("people", "staff", "people"),  # renamed
        ("people", "", "people"),  # gone
        ("", "staff", "staff"),  # newly named
        (None, "staff", "staff"),
    ],
)
def test_a_new_deny_is_told_with_the_identity_that_the_log_tells(logged: str | None, named: str, expected: str) -> None:
    who = f"identities: {{{named}: {{issuer: corp, ou: staff}}}}\n" if named else ""
    rule = f"{{id: d, effect: deny, who: {named or 'any_certificate'}, request: {{path: /x}}}}"
    told = {} if logged is None else {"identity": logged}
    assert replayed(f"{who}rules: [{STAFF}, {rule}]", **told)[:3] == ("newly_denied", "d", expected)


def test_an_undetermined_answer_is_told_with_the_identity_that_the_log_tells() -> None:
    text = "rules: [{id: a, effect: allow, who: {issuer: corp}, request: {sni: a.example}}]"
    assert replayed(text, identity="people")[:3] == ("undetermined", "staff", "people")
    assert replayed(f"rules: [{STAFF}]", identity="people", path="masked", masked=["path"])[2] == "people"


@pytest.mark.parametrize(
    "condition",
    ["request: {sni: a.example}", "request: {header: {X-A: b}}", "when: {tls: TLSv1.3}"],
)
def test_what_the_log_does_not_hold_leaves_it_undetermined(condition: str) -> None:
    text = f"rules: [{{id: a, effect: allow, who: {{issuer: corp}}, {condition}}}]"
    assert replayed(text).tag == "undetermined"
    assert replayed(text, path=None, method=None).tag == "undetermined"


@pytest.mark.parametrize(
    ("who", "tag"),
    [
        ("{issuer: corp, dns_san: a.example}", "undetermined"),
        ("[{issuer: corp, dns_san: a.example}, {issuer: corp, ou: staff}]", "same"),
        ("{issuer: corp, dns_san: a.example, ou: ops}", "newly_denied"),
        ("{issuer: corp, min_key_bits: 2048}", "undetermined"),
        ("any_certificate", "same"),
    ],
)
def test_attributes_that_the_log_does_not_hold_count_where_they_decide(who: str, tag: str) -> None:
    assert replayed(f"rules: [{{id: a, effect: allow, who: {who}}}]").tag == tag


def test_what_takes_away_is_undetermined_too() -> None:
    deny = "{id: d, effect: deny, who: {issuer: corp, email_san: a@b.example}}"
    assert replayed(f"rules: [{STAFF}, {deny}]").tag == "undetermined"


@pytest.mark.parametrize(
    ("told", "tag"),
    [
        ({}, "undetermined"),
        ({"break_glass": []}, "newly_denied"),
        ({"break_glass": ["b"]}, "same"),
        ({"break_glass": ["c"]}, "newly_denied"),
    ],
)
def test_switches_are_as_the_log_tells_and_may_have_been_open_where_it_does_not(told: dict[str, Any], tag: str) -> None:
    head = "break_glass: {b: {max_duration: 1h, ticket: x}}\n"
    assert replayed(f"{head}rules: [{STAFF[:-1]}, active_during: b}}]", **told).tag == tag


def test_a_key_counts_where_the_log_names_it() -> None:
    key = "ab" * 32
    rules = f"rules: [{{id: a, effect: allow, who: {{issuer: corp, spki: {key}}}}}]"
    assert replayed(rules).tag == "undetermined"
    given = line()["cert"]
    assert replayed(rules, cert={**given, "spki_sha256": key}).tag == "same"
    assert replayed(rules, cert={**given, "spki_sha256": "cd" * 32}).tag == "newly_denied"


def test_the_same_request_while_a_switch_was_open_and_shut_is_judged_twice() -> None:
    head = "break_glass: {b: {max_duration: 1h, ticket: x}}\n"
    replay = Replay(judge(f"{head}rules: [{STAFF[:-1]}, active_during: b}}]"))
    tags = [judged(replay, line(break_glass=opened)).tag for opened in ([], ["b"], [])]
    assert tags == ["newly_denied", "same", "newly_denied"]


@pytest.mark.parametrize(
    "reason", ["certificate_revoked", "malformed_message", "certificate_unavailable", "internal_error"]
)
def test_gates_that_only_the_agent_saw_deny_as_they_did(reason: str) -> None:
    assert replayed(f"rules: [{STAFF}]", verdict="deny", reason=reason, rule="").tag == "same"


def test_a_certificate_that_could_not_be_read_stays_denied() -> None:
    unread = {"sha256": "ab" * 32, "subject": None, "issuer": None, "serial": None, "not_after": None}
    assert replayed(f"rules: [{STAFF}]", verdict="deny", reason="certificate_unparsable", cert=unread).tag == "same"
    assert replayed(f"rules: [{STAFF}]", verdict="deny", reason="ok", cert=unread).tag == "undetermined", (
        "no gate said so"
    )


def test_gates_of_the_request_are_asked_again() -> None:
    denied = {"verdict": "deny", "reason": "path_not_canonical", "rule": "", "path": "/./x"}
    assert replayed(f"rules: [{STAFF}]", **denied).tag == "same"
    assert replayed(f"defaults: {{path_on_ambiguity: normalise}}\nrules: [{STAFF}]", **denied).tag == "newly_allowed"
    mismatch = {"verdict": "deny", "reason": "sni_mismatch", "rule": ""}
    assert replayed(f"rules: [{STAFF}]", **mismatch).tag == "same"
    assert replayed(f"defaults: {{sni_mismatch: allow}}\nrules: [{STAFF}]", **mismatch).tag == "newly_allowed"


def test_anonymous_requests_are_judged_as_such() -> None:
    nobody = {"verdict": "deny", "reason": "no_certificate", "rule": "", "cert": None}
    text = "rules: [{id: all, effect: allow, who: anonymous}]"
    assert replayed(text, **nobody).tag == "same"
    found = replayed(f"defaults: {{no_certificate: anonymous}}\n{text}", **nobody)
    assert (found.tag, found.client) == ("newly_allowed", "10.0.0.1")
    assert replayed(f"defaults: {{no_certificate: anonymous}}\n{text}", **{**nobody, "src": None}).client == "unknown"


def test_an_issuer_that_is_known_no_longer_denies() -> None:
    other = {**line()["cert"], "issuer": "CN=Another CA"}
    assert replayed(f"rules: [{STAFF}]", cert=other)[:2] == ("newly_denied", "staff")


def test_a_name_alone_makes_no_issuer_known() -> None:
    found = replayed(f"rules: [{STAFF}]", verdict="deny", reason="issuer_unknown", rule="")
    assert found.tag == "undetermined"


def test_a_subject_that_can_not_be_read_back_is_unavailable() -> None:
    strange = {**line()["cert"], "subject": "no name"}
    assert replayed(f"rules: [{STAFF}]", cert=strange).tag == "undetermined"


LISTS = "lists: {good: {file: g}}\nrules: [{id: staff, effect: allow, who: {issuer: corp, in_list: good}}]"


def test_lists_are_asked_at_the_time_of_the_decision() -> None:
    digest = identity_from_der(ALICE.der).sha256
    assert isinstance(digest, bytes)
    replay = Replay(judge(LISTS, {"good": Listing({Kind.SHA256: {digest: NOW + 60}})}))
    assert judged(replay, line()).tag == "same"
    assert judged(replay, line(time="2026-11-20T09:01:00Z")).tag == "newly_denied"
    forever = Replay(judge(LISTS, {"good": Listing({Kind.SHA256: {digest: NEVER}})}))
    assert judged(forever, line(time="2030-11-20T09:01:00Z")).tag == "same"


def test_a_list_that_asks_for_what_the_log_lacks_is_undetermined() -> None:
    assert (
        judged(Replay(judge(LISTS, {"good": Listing({Kind.SPKI_SHA256: {bytes(32): NEVER}})})), line()).tag
        == "undetermined"
    )


def test_windows_of_time_are_judged_at_the_minute() -> None:
    window = 'when: {time: {tz: UTC, hours: "09:00-09:01"}}'
    replay = Replay(judge(f"rules: [{STAFF[:-1]}, {window}}}]"))
    tags = [judged(replay, line(time=f"2026-11-20T09:0{minute}:59Z")).tag for minute in (0, 1, 0)]
    assert tags == ["same", "newly_denied", "same"]


def test_no_more_is_remembered_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.replay.REMEMBERED", 2)
    replay = Replay(judge(f"rules: [{STAFF}]"))
    assert {judged(replay, line(path=f"/{number}")).tag for number in range(5)} == {"same"}


def test_totals_count_what_is_another() -> None:
    totals = Totals()
    for path in ("/x", "/y", "/x"):
        totals.add(replayed(f"rules: [{STAFF}, {{id: d, effect: deny, request: {{path: /x}}}}]", path=path))
    assert (totals.decisions, totals.tags["newly_denied"], totals.tags["same"]) == (3, 2, 1)
    assert totals.rules == {("newly_denied", "d"): 2}
    assert totals.clients == {("newly_denied", "CN=alice,OU=staff"): 2}


def test_a_line_that_is_none_raises() -> None:
    replay = Replay(judge(f"rules: [{STAFF}]"))
    with pytest.raises(ValueError, match="no line of a decision log"):
        judged(replay, {})
    with pytest.raises(ValueError, match="Invalid isoformat"):
        judged(replay, line(time="yesterday"))
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        judged(replay, line(src="nowhere"))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents(), st.lists(requests(), min_size=10, max_size=10))
def test_whatever_was_decided_is_decided_again_or_left_open(document: dict[str, Any], asked: list[Request]) -> None:
    """What the agent logs of its own decisions never comes out otherwise under the same policy."""
    found = Policy(
        Evaluator.of(model_of(document)),
        Issuers({"corp": [CORP.der]}),
        {name: ListIndex(write_index({})) for name in ("good", "old")},
        "0123456789ab",
    )
    replay = Replay(found)
    for number, request in enumerate(asked):
        for cert in (ALICE.der, None):
            if cert is not None:
                request.cert, request.used, request.verify = cert, True, 0
            else:
                request.cert, request.used, request.verify = ABSENT, False, UNAVAILABLE
            judgement = found.judge(request, NOW)
            entry = Entry(NOW, 0, request, judgement, "r")
            row = json.loads(LineWriter().line(entry))
            assert judged(replay, row).tag in {"same", "undetermined"}
            # What is masked is not guessed either.
            name = tuple(MASKABLE)[number % len(MASKABLE)]
            assert judged(replay, Mask((name,), b"key").apply(row)).tag in {"same", "undetermined"}, name


@pytest.mark.parametrize(
    ("reason", "path", "setting"),
    [
        ("path_not_canonical", "/a/../b", "path_on_ambiguity: normalise"),
        ("path_not_canonical", "/a;x=1", "path_parameters: allow"),
        ("sni_mismatch", "/", "sni_mismatch: allow"),
    ],
)
def test_a_gate_before_the_certificate_hides_who_would_pass_without_it(reason: str, path: str, setting: str) -> None:
    cert = {**dict.fromkeys(line()["cert"]), "sha256": "aa" * 32}
    given: dict[str, Any] = {"verdict": "deny", "reason": reason, "rule": "", "path": path, "cert": cert}
    assert replayed(f"rules: [{STAFF}]", **given).tag == "same"
    assert replayed(f"defaults: {{{setting}}}\nrules: [{STAFF}]", **given).tag == "undetermined"
    refused = f"rules: [{STAFF}, {{id: d, effect: deny, request: {{path: /**}}}}]"
    assert replayed(f"defaults: {{{setting}}}\n{refused}", **given).tag == "same"


@pytest.mark.parametrize(("named", "tag"), [("corp", "same"), ("next", "newly_denied"), (None, "undetermined")])
def test_of_two_cas_with_one_name_the_one_counts_that_the_log_names(named: str | None, tag: str) -> None:
    head = HEAD.replace("}}}", "}}, next: {ca: b.pem, revocation: {none: x}}}")
    issuers = Issuers({"corp": [CORP.der], "next": [CA("Corp CA", now=NOW).der]})
    found = Policy(Evaluator.of(model(f"{head}rules: [{STAFF}]")), issuers, {}, "0123456789ab")
    cert = {**line()["cert"], "issuer_name": named}
    assert judged(Replay(found), line(cert=cert)).tag == tag
    denied = judged(Replay(found), line(cert=cert, verdict="deny", reason="no_rule_allows", rule=""))
    assert denied.tag == {"same": "newly_allowed", "newly_denied": "same"}.get(tag, tag)


def masked(*names: str, **given: Any) -> dict[str, Any]:
    return Mask(names).apply(json.loads(json.dumps(line(**given))))


@pytest.mark.parametrize(
    ("names", "text", "tag"),
    [
        (("subject",), "rules: [{id: a, effect: allow, who: any_certificate}]", "same"),
        (("subject",), f"rules: [{STAFF}]", "undetermined"),
        (("sha256", "serial"), f"rules: [{STAFF}]", "same"),
        (("src",), f"rules: [{STAFF.replace('}}', '}, when: {source: 10.0.0.0/8}}')}]", "undetermined"),
        (("src",), f"rules: [{STAFF}]", "same"),
        (("host",), f"rules: [{STAFF}]", "same"),
        (("path",), f"rules: [{STAFF}]", "undetermined"),
    ],
)
def test_what_the_log_masks_is_not_guessed(names: tuple[str, ...], text: str, tag: str) -> None:
    assert judged(Replay(judge(text)), masked(*names)).tag == tag


def test_masked_certificates_are_told_apart_by_what_is_left_of_them() -> None:
    replay = Replay(judge(f"rules: [{STAFF}]"))
    other = masked("sha256")
    other["cert"] = {**other["cert"], "subject": "CN=bob,OU=guests"}
    assert [judged(replay, one).tag for one in (masked("sha256"), other)] == ["same", "newly_denied"]


def test_a_list_that_finds_clients_by_what_is_masked_leaves_it_open() -> None:
    own = bytes.fromhex(line()["cert"]["sha256"])
    listing = {"good": Listing(sections={Kind.SHA256: {own: NEVER}})}
    text = "lists: {good: {file: a.txt}}\nrules: [{id: a, effect: allow, who: {issuer: corp, in_list: good}}]"
    assert judged(Replay(judge(text, listing)), line()).tag == "same"
    assert judged(Replay(judge(text, listing)), masked("sha256")).tag == "undetermined"


def test_no_other_fingerprint_tells_who_a_masked_one_is() -> None:
    spki = identity_from_der(ALICE.der).spki_sha256
    assert isinstance(spki, bytes)
    cert = {**line()["cert"], "spki_sha256": spki.hex()}
    listing = {"good": Listing(sections={Kind.SPKI_SHA256: {spki: NEVER}})}
    text = "lists: {good: {file: a.txt}}\nrules: [{id: a, effect: allow, who: {issuer: corp, in_list: good}}]"
    assert judged(Replay(judge(text, listing)), line(cert=cert)).tag == "same"
    hidden = masked("sha256", cert=cert)
    assert hidden["cert"]["spki_sha256"] == "masked"
    assert judged(Replay(judge(text, listing)), hidden).tag == "undetermined"


def test_a_log_of_a_newer_agent_is_refused() -> None:
    with pytest.raises(NewerLogError):
        replayed(f"rules: [{STAFF}]", schema=2)
    assert replayed(f"rules: [{STAFF}]", schema=1).tag == "same"


def written(found: Policy, asked: list[Request], clients: list[bytes | None], at: list[int]) -> list[dict[str, Any]]:
    """Return what the agent logs of these requests, by each of the clients, at each of the times."""
    rows = []
    for request in asked:
        for cert in clients:
            request.cert, request.used = (ABSENT, False) if cert is None else (cert, True)
            request.verify = UNAVAILABLE if cert is None else 0
            for now in at:
                judgement = found.judge(request, now)
                entry = Entry(now, 0, request, judgement, "r")
                if cert is not None and judgement.certificate is None:
                    entry.sha256 = hashlib.sha256(cert).digest()
                rows.append(json.loads(LineWriter().line(entry)))
    return rows


BOB, STRANGER = CORP.issue("bob-ops", ["ops", "Admins"]), CA("Another CA", now=NOW).issue("eve", ["staff"])


#: One CA, or two of one name.
AUTHORITIES = [Issuers({"corp": [CORP.der]}), Issuers({"corp": [CORP.der], "partners": [CA("Corp CA", now=NOW).der]})]
TO_THE_MINUTE = {"tz": "UTC", "hours": "09:00-09:01"}
#: Rules by what is remembered of a client for a while only, or told of it by few lines.
MORE_RULES: list[dict[str, Any]] = [
    {"id": "listed", "effect": "allow", "who": {"issuer": "corp", "in_list": "good"}},
    {"id": "old", "effect": "deny", "who": {"issuer": "corp", "in_list": "old"}},
    {"id": "keyed", "effect": "allow", "who": {"issuer": "corp", "spki": "aa" * 32}},
    {"id": "named", "effect": "allow", "who": {"issuer": "corp", "cn": "alice"}, "when": {"source": "10.0.0.0/8"}},
    {"id": "timed", "effect": "allow", "who": {"issuer": "corp", "ou": "ops"}, "when": {"time": TO_THE_MINUTE}},
]


#: What a line may say instead.
OTHERWISE: list[tuple[str, Any]] = [
    ("time", "yesterday"),
    ("time", "2026-11-20T14:00:00+05:00"),
    ("src", "nowhere"),
    ("src", None),
    ("host", "no host!"),
    ("path", "/%zz"),
    ("path", "*"),
    ("path", None),
    ("path", "/\udcff"),
    ("id", "\udc80"),
    ("rule", "ü"),
    ("break_glass", ["incident"]),
    ("break_glass", None),
    ("reason", "issuer_unknown"),
    ("reason", "sni_mismatch"),
    ("reason", "certificate_revoked"),
    ("cert", "nobody"),
    ("verdict", "allow"),
]


def spoiled(row: dict[str, Any], chance: Random) -> bytes:
    """Return what may have become of a line: as it was, masked, of an older agent, otherwise laid out, or broken."""
    if chance.random() < 0.3:
        row = Mask(tuple(chance.sample(sorted(MASKABLE), chance.randint(1, 2))), b"key").apply(row)
    if chance.random() < 0.2:
        row.pop(chance.choice(["schema", "masked", "break_glass", "candidate", "path"]), None)
    if chance.random() < 0.2:
        row.update([chance.choice(OTHERWISE)])
    if chance.random() < 0.1 and isinstance(row["cert"], dict):
        row["cert"] = {**row["cert"], chance.choice(["spki_sha256", "sha1", "issuer_name"]): "00"}
    line = json.dumps(row, ensure_ascii=chance.random() < 0.8, separators=chance.choice([(",", ":"), (", ", ": ")]))
    whole = line.encode(errors="surrogatepass")
    return whole[: chance.randrange(len(whole))] if chance.random() < 0.03 else whole


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # what is drawn is large, and what fails is one line of it
)
@given(documents(), documents(), st.lists(requests(), min_size=1, max_size=1), st.integers(0, 1 << 32))
def test_logs_come_out_as_if_each_line_was_judged_by_itself(
    before: dict[str, Any], after: dict[str, Any], asked: list[Request], seed: int
) -> None:
    """What is remembered, grouped and read by halves changes nothing, under whatever policy and in whatever order."""
    chance = Random(seed)
    alice = identity_from_der(ALICE.der).sha256
    assert isinstance(alice, bytes)
    lists = {
        "good": ListIndex(write_index({Kind.SHA256: {alice: NOW + 60}})),
        "old": ListIndex(write_index({Kind.SPKI_SHA256: {bytes(32): NEVER}, Kind.SHA1: {bytes(20): NOW + 30}})),
    }
    more = chance.sample(MORE_RULES, chance.randint(1, 3))
    after["rules"] = more if chance.random() < 0.5 else after["rules"] + more
    after["routes"] = after["routes"] or [{"backend": "b"}]
    old, new = (
        Policy(Evaluator.of(model_of(document)), issuers, lists, "0123456789ab")
        for document, issuers in ((before, Issuers({"corp": [CORP.der]})), (after, chance.choice(AUTHORITIES)))
    )
    plain = Request(source=bytes([10, 0, 0, 1]), method="GET", path="/a/b", host="a.example", sni=ABSENT, tls="TLSv1.3")
    rows = written(old, [plain, *asked], [ALICE.der, BOB.der, STRANGER.der, None], [NOW, NOW + 45, NOW + 90])
    lines = [spoiled(row, chance) for row in chance.sample(rows, len(rows))]
    replay = Replay(new)
    for line in lines:
        assert replay.read([line]) == replay_lines(new, [line]), line
