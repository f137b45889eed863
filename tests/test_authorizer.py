"""Judging real certificates: gates in their order, lists, clocks, memory; and anything else denies."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from spoa.authorizer import Policy, Subject
from spoa.blocks import BlockList
from spoa.exceptions import CertificateError
from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.identity import fingerprints
from spoa.issuers import Issuers
from spoa.listindex import Kind, ListIndex, write_index
from spoa.policy.evaluator import Evaluator
from spoa.policy.model import Reason
from spoa.revocation.crl import read_crl
from tests.pki import CA, DAY, HOUR
from tests.policies import HEAD, NOW, certificate, holder, judge, model, policy

if TYPE_CHECKING:
    from spoa.cache import SelectiveCache

CORP = CA("Corp", now=NOW)
PARTNERS = CA("Partners", now=NOW)
STRANGER = CA("Corp", now=NOW)  # the same name and another key
ALICE = CORP.issue("alice", ["administrators"])
EVIL = PARTNERS.issue("evil", ["administrators"])

RULES = """
lists: {scanners: {file: lists/scanners.txt}}
identities:
  admins: {issuer: corp, ou: administrators}
  scanners: {issuer: corp, in_list: scanners}
rules:
  - {id: admins, effect: allow, who: admins}
  - {id: scanners, effect: allow, who: scanners, request: {path: /scan}}
"""


def make(
    text: str = RULES, *, head: str = HEAD, listed: dict[bytes, int] | None = None, kind: Kind = Kind.SHA256
) -> Policy:
    own = model(head + text)
    lists = {source.name: ListIndex(write_index({kind: listed or {}})) for source in own.lists}
    issuers = Issuers({"corp": [CORP.der], "partners": [PARTNERS.der]})
    return Policy(Evaluator.of(own), issuers, lists, "0123456789ab")


def ask(own: Policy, cert: Any, now: float = NOW, **request: Any) -> Any:
    given: dict[str, Any] = {"cert": cert, "used": True, "verify": 0, "method": "GET", "path": "/", **request}
    return own.judge(Request(**given), now)


def reason(own: Policy, cert: Any, now: float = NOW, **request: Any) -> str:
    found: str = ask(own, cert, now, **request).decision.reason
    return found


# -- the way of a certificate -----------------------------------------------------------------------------------


def test_a_certificate_is_allowed_by_what_it_says_and_who_signed_it() -> None:
    own = make()
    found = ask(own, ALICE.der)
    assert (found.decision.verdict, found.decision.rule, found.decision.identity) == ("allow", "admins", "admins")
    assert found.days_left == 30
    assert found.revocation == "not_checked"
    assert found.certificate.subject["2.5.4.3"] == ("alice",)
    assert found.standing.issuer == "corp"
    assert reason(own, EVIL.der) == "no_rule_allows"


def test_a_name_alone_proves_nothing() -> None:
    assert reason(make(), STRANGER.issue("alice", ["administrators"]).der) == "issuer_unknown"
    assert reason(make(), CORP.intermediate("Below").issue("alice", ["administrators"]).der) == "issuer_unknown"


@pytest.mark.parametrize("der", [b"", b"x", b"\x30\x00", ALICE.der[:-1], ALICE.der + b"\0", b"\x30" * 70_000])
def test_what_can_not_be_read_is_denied_and_told_why(der: bytes) -> None:
    found = ask(make(), der)
    assert found.decision.reason == "certificate_unparsable"
    assert found.decision.verdict == "deny"
    assert found.certificate is None
    assert found.days_left is None
    assert "certificate not usable" in found.standing.detail


def test_validity_is_inclusive_at_both_ends() -> None:
    short = CORP.issue("alice", ["administrators"], not_before=NOW, not_after=NOW + HOUR)
    own = make()
    for now, expected in (
        (NOW - 1, "certificate_not_yet_valid"),
        (NOW, "ok"),
        (NOW + HOUR, "ok"),
        (NOW + HOUR + 0.9, "ok"),
        (NOW + HOUR + 1, "certificate_expired"),
        (NOW, "ok"),
    ):
        assert reason(own, short.der, now) == expected


@pytest.mark.parametrize(("seconds", "days"), [(0, 0), (DAY - 1, 0), (DAY, 1), (30 * DAY, 30)])
def test_days_left_are_whole_days(seconds: int, days: int) -> None:
    own = make()
    assert ask(own, ALICE.der, NOW + 30 * DAY - seconds).days_left == days


def test_an_unusable_clock_denies_by_date() -> None:
    own = make()
    own.clock_usable = False
    assert reason(own, ALICE.der) == "certificate_not_yet_valid"
    assert reason(own, b"x") == "certificate_unparsable"


def test_the_gates_of_a_certificate_come_in_their_order() -> None:
    head = HEAD.replace(
        '{ca: corp.pem, revocation: {none: "a test"}}', "{ca: c, max_lifetime: 1h, revocation: {none: x}}"
    )
    own = make(head=head)
    late = NOW + 400 * DAY
    odd = CORP.issue(ous=["x\x01"], cn=None, not_after=NOW + DAY)
    assert reason(own, odd.der, late) == "certificate_expired"
    assert reason(own, STRANGER.issue("a", not_after=NOW + DAY).der, late) == "certificate_expired"
    assert reason(own, STRANGER.issue("a").der) == "issuer_unknown"
    assert reason(own, odd.der) == "certificate_too_long_lived"
    assert reason(make(), odd.der) == "unsafe_attribute"


def test_gates_come_before_rules_whatever_the_rules_say() -> None:
    own = make("rules: [{id: all, effect: allow, who: [any_certificate, anonymous]}]\n")
    assert reason(own, ALICE.der) == "ok"
    assert reason(own, CORP.issue("a", eku=("1.3.6.1.5.5.7.3.1",)).der) == "not_a_client_certificate"
    assert reason(own, CORP.intermediate("ca").der) == "not_a_client_certificate"
    assert reason(own, CORP.der) == "not_a_client_certificate"
    weak = CORP.issue("a", with_key=ec.generate_private_key(ec.SECP192R1()))
    assert reason(own, weak.der) == "weak_key"
    assert reason(own, CORP.issue(None, ["a"]).der) == "ok"


def test_the_request_is_looked_at_before_the_certificate() -> None:
    own = make()
    assert reason(own, b"x", path="//") == "path_not_canonical"
    assert reason(own, b"x", sni="a.b", host="c.d") == "sni_mismatch"
    assert reason(own, b"x", malformed="x", path="//") == "malformed_message"
    assert reason(own, ABSENT, used=False, path="//") == "path_not_canonical"
    assert reason(own, ALICE.der, used=False, path="//") == "malformed_message"
    assert reason(own, UNAVAILABLE, path="//") == "malformed_message"
    assert reason(own, ALICE.der, verify=10) == "certificate_not_verified"
    assert reason(own, b"x", verify=UNAVAILABLE) == "certificate_not_verified"


def test_a_gate_names_no_rule_and_no_identity_but_still_the_certificate() -> None:
    found = ask(make(), ALICE.der, NOW + 31 * DAY)
    assert (found.decision.rule, found.decision.identity, found.decision.route) == ("", "", "")
    assert found.certificate is not None
    assert found.days_left == 0


def test_status_and_path_of_a_refused_path() -> None:
    found = ask(
        make(head=HEAD + "defaults: {path_on_ambiguity: normalise, deny_status: 404}\n"), ALICE.der, path="/%2f"
    )
    assert (found.decision.status, found.path) == (400, "")


@pytest.mark.parametrize(("raw", "path"), [("/a//b", "/a/b"), ("/a", "/a"), (UNAVAILABLE, ""), ("/%41", "/A")])
def test_the_canonical_path_is_told_where_the_policy_normalises(raw: Any, path: str) -> None:
    own = make(head=HEAD + "defaults: {path_on_ambiguity: normalise, no_certificate: anonymous}\n")
    assert ask(own, ALICE.der, path=raw).path == path
    assert ask(own, ABSENT, used=False, path=raw).path == path
    assert ask(make(), ALICE.der, path="/a").path == ""


def test_no_attribute_makes_a_denied_request_anonymous() -> None:
    own = make(
        "rules: [{id: all, effect: allow, who: anonymous}]\n", head=HEAD + "defaults: {no_certificate: anonymous}\n"
    )
    assert reason(own, ABSENT, used=False) == "ok"
    assert reason(own, ABSENT, used=UNAVAILABLE) == "no_certificate"
    assert reason(own, ABSENT, used=True) == "certificate_unavailable"
    assert reason(own, ABSENT, used=UNAVAILABLE, resumed=True) == "certificate_unavailable"
    assert reason(own, b"x") == "certificate_unparsable"
    assert reason(own, ALICE.der) == "no_rule_allows"


# -- revocation -------------------------------------------------------------------------------------------------

CHECKED = HEAD.replace('none: "a test"', "crl: {files: a.crl}")
SOFT = HEAD.replace('none: "a test"', "crl: {files: a.crl, on_failure: allow}")


def test_the_evidence_decides_and_other_evidence_makes_another_policy() -> None:
    own = make(head=CHECKED)
    ca = CA("Corp", now=NOW)
    carol = ca.issue("carol", ["administrators"])
    own = Policy(own.evaluator, Issuers({"corp": [ca.der], "partners": []}), own.lists, own.revision)
    found = ask(own, carol.der)
    assert (found.decision.reason, found.revocation) == ("revocation_not_loaded", "not_loaded")
    fresh = own.with_crls({"corp": (read_crl(ca.crl()),)})
    found = ask(fresh, carol.der)
    assert (found.decision.reason, found.revocation) == ("ok", "good")
    ca.revoke(carol)
    newer = fresh.with_crls({"corp": (read_crl(ca.crl()),)})
    found = ask(newer, carol.der)
    assert (found.decision.reason, found.revocation) == ("certificate_revoked", "revoked")
    assert reason(fresh, carol.der) == "ok"
    assert reason(newer.with_blocks(BlockList()), carol.der) == "certificate_revoked"
    assert newer.certificates is own.certificates


def test_an_answer_is_given_up_when_its_evidence_runs_out() -> None:
    own = make(head=CHECKED).with_crls({"corp": (read_crl(CORP.crl(next_update=NOW + 100)),)})
    assert reason(own, ALICE.der, NOW + 99) == "ok"
    assert reason(own, ALICE.der, NOW + 100) == "revocation_stale"


def test_what_passes_without_assurance_says_so() -> None:
    found = ask(make(head=SOFT), ALICE.der)
    assert (found.decision.reason, found.revocation, found.soft_fails) == ("ok", "not_loaded", ("crl",))
    late = ask(make(head=SOFT), ALICE.der, NOW + 40 * DAY)
    assert (late.decision.reason, late.soft_fails) == ("certificate_expired", ())


def test_only_issuers_that_check_nothing_have_their_state_told_by_the_policy() -> None:
    assert make(head=CHECKED).status()["issuers"] == {}


def test_revoked_denies_even_where_nothing_is_checked() -> None:
    own = make()
    request = Request(cert=ALICE.der, used=True, verify=0, method="GET", path="/")
    assert own.judge(request, NOW, revocation="revoked").decision.reason == "certificate_revoked"
    for state in ("good", "unknown", "stale", "unreachable", "not_loaded", "undetermined"):
        found = own.judge(request, NOW, revocation=state)
        assert (found.decision.reason, found.revocation) == ("ok", "not_checked")


def test_every_state_has_its_reason_where_revocation_is_checked() -> None:
    own = make(head=CHECKED)
    request = Request(cert=ALICE.der, used=True, verify=0, method="GET", path="/")
    expected = {
        "good": "ok",
        "revoked": "certificate_revoked",
        "unknown": "revocation_unknown",
        "stale": "revocation_stale",
        "unreachable": "revocation_unreachable",
        "not_loaded": "revocation_not_loaded",
        "undetermined": "revocation_undetermined",
    }
    for state, code in expected.items():
        found = own.judge(request, NOW, revocation=state)
        assert (found.decision.reason, found.revocation) == (code, state)


# -- lists ------------------------------------------------------------------------------------------------------

SCANNER = CORP.issue("dock-4")
SHA256 = fingerprints(SCANNER.der)[0]


def test_an_entry_admits_until_the_second_of_its_expiry() -> None:
    own = make(listed={SHA256: NOW + 60})
    for now, expected in ((NOW, "scanners"), (NOW + 59, "scanners"), (NOW + 60, ""), (NOW + 61, "")):
        assert ask(own, SCANNER.der, now, path="/scan").decision.rule == expected
    assert ask(own, SCANNER.der, path="/other").decision.rule == ""
    assert ask(own, CORP.issue("dock-4").der, path="/scan").decision.rule == ""
    assert own.status()["lists"] == {"scanners": {"entries": 1, "soonest_expiry": NOW + 60}}


def test_an_entry_of_another_issuers_certificate_does_not_help_it() -> None:
    alien = PARTNERS.issue("dock-4")
    digest = fingerprints(alien.der)[0]
    assert ask(make(listed={digest: NOW + 60}), alien.der, path="/scan").decision.verdict == "deny"


def test_a_certificate_given_by_its_attributes_may_be_on_any_list() -> None:
    deny = "lists: {l: {file: l.txt}}\nrules: [{id: no, effect: deny, who: {issuer: corp, in_list: l}},"
    own = make(deny + " {id: all, effect: allow, who: any_certificate}]\n", listed={SHA256: NOW + 60})
    unknown = Subject(certificate(sha256=UNAVAILABLE), "corp", {})
    assert judge(own, unknown).decision.rule == "no"
    assert judge(own, holder()).decision.rule == "all"
    assert judge(own, holder(lists={"l": True})).decision.rule == "no"
    assert judge(own, unknown._replace(lists={"l": False})).decision.rule == "all"
    granting = make(listed={SHA256: NOW + 60})
    assert judge(granting, unknown, method="GET", path="/scan").decision.verdict == "deny"


def test_a_subject_of_nobody_known_has_no_issuer() -> None:
    assert judge(make(), holder("a", issuer="")).decision.reason == "issuer_unknown"
    assert judge(make(), holder("a", issuer="other")).decision.reason == "issuer_unknown"


# -- memory -----------------------------------------------------------------------------------------------------


def test_a_certificate_is_read_once_and_what_it_says_may_be_carried_over() -> None:
    own = make()
    first = ask(own, ALICE.der)
    assert ask(own, ALICE.der).standing is first.standing
    other = Policy(own.evaluator, Issuers({"corp": [PARTNERS.der]}), own.lists, "x", own.certificates)
    second = ask(other, ALICE.der)
    assert second.certificate is first.certificate
    assert second.decision.reason == "issuer_unknown"
    assert own.cache_sizes() == {"certificates": (1, 1, 0), "standings": (1, 1, 0)}


def test_a_certificate_that_comes_once_takes_nobodys_place_in_any_memory() -> None:
    own = make()
    bob = CORP.issue("bob", ["administrators"])
    ask(own, bob.der)
    memories: list[SelectiveCache[bytes, Any]] = [own.certificates, own._standings, own.issuers._known]
    assert [(len(memory), bool(memory.younger)) for memory in memories] == [(1, False)] * 3
    ask(own, bob.der)
    assert bob.der in own._standings.younger


def test_of_a_failure_nothing_is_kept_but_what_it_says() -> None:
    own = make()
    assert reason(own, ALICE.der[:-1]) == "certificate_unparsable"
    (failure,) = own.certificates.values()
    assert isinstance(failure, CertificateError)
    assert (failure.__traceback__, failure.__cause__, failure.__context__) == (None, None, None)


def test_whoever_came_again_is_remembered_at_once_by_another_policy() -> None:
    own = make()
    ask(own, ALICE.der)
    other = own.with_blocks(BlockList())
    ask(other, ALICE.der)
    assert ALICE.der in other._standings.younger


def test_the_memory_of_failures_is_kept_too() -> None:
    own = make()
    assert ask(own, b"x").standing is ask(own, b"x").standing


def test_switches_take_effect_at_once() -> None:
    head = HEAD + "break_glass: {s: {max_duration: 1h, ticket: a}}\n"
    own = make("rules: [{id: a, effect: allow, who: any_certificate, active_during: s}]\n", head=head)
    assert reason(own, ALICE.der) == "no_rule_allows"
    own.switches = frozenset({"s"})
    assert reason(own, ALICE.der) == "ok"
    request = Request(cert=ALICE.der, used=True, verify=0, method="GET", path="/")
    assert own.judge(request, NOW, switches=frozenset()).decision.reason == "no_rule_allows"
    own.switches = frozenset()
    assert own.judge(request, NOW, switches=frozenset({"s"})).decision.reason == "ok"


# -- what others ask --------------------------------------------------------------------------------------------


def test_der_and_subject_are_judged_alike() -> None:
    own = make(listed={SHA256: NOW + 60})
    for der in (ALICE.der, EVIL.der, SCANNER.der, STRANGER.issue("a").der):
        subject = own.subject_of(der, NOW)
        assert isinstance(subject, Subject)
        for path in ("/", "/scan"):
            by_der = ask(own, der, path=path)
            by_subject = judge(own, subject, method="GET", path=path)
            assert by_der.decision is by_subject.decision
    assert isinstance(own.subject_of(b"x", NOW), CertificateError)


def test_a_bearer_has_the_attributes_that_the_policy_reads() -> None:
    own = make()
    values = own.bearer(holder("a", "b", lists={"scanners": True}), NOW).values
    assert values == {"issuer": ("corp",), "subject:2.5.4.11": ("b",), "lists": ({"scanners": True},)}


def test_it_says_what_it_reads_and_how_it_stands() -> None:
    own = make()
    assert own.reads == {"path", "method"}
    status = own.status()
    assert status["revision"] == "0123456789ab"
    assert (status["mode"], status["rules"], status["identities"], status["routes"]) == ("enforce", 2, 2, 0)
    assert status["lists"] == {"scanners": {"entries": 0, "soonest_expiry": None}}
    assert status["issuers"] == {
        name: {"revocation": {"state": "not_checked", "reason": "a test"}} for name in ("corp", "partners")
    }


def test_an_error_is_a_deny() -> None:
    found = make().internal_error.decision
    assert (found.verdict, found.status, found.reason, found.rule) == ("deny", 403, "internal_error", "")
    assert make().deny(Reason.NOT_READY).decision.reason == "not_ready"


def test_decisions_are_counted_by_what_they_say() -> None:
    own = make()
    for der in (ALICE.der, ALICE.der, EVIL.der):
        ask(own, der).decision.tally.count += 1
    found = {(tally.verdict, tally.reason, tally.rule): tally.count for tally in own.tallies()}
    assert found == {("allow", "ok", "admins"): 2, ("deny", "no_rule_allows", ""): 1}


# -- anything else denies ---------------------------------------------------------------------------------------

OPEN = make(
    "rules: [{id: all, effect: allow, who: any_certificate, request: {path: ['/**', {re: '.*'}], host: '*.b', "
    "header: {x: '*'}}, when: {source: '::/0'}}]\n"
)
ODD: Any = st.one_of(
    st.none(),
    st.text(max_size=8),
    st.binary(max_size=20),
    st.sampled_from([ABSENT, UNAVAILABLE, ALICE.der, True, False, 0, 1, -1, 2**70, 1.5, {}, [], {"x": b""}, "\ud800"]),
)
FIELDS = [field.name for field in dataclasses.fields(Request) if field.init and field.name != "malformed"]


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, ODD)))
def test_whatever_an_embedding_program_asks_it_gets_an_answer(fields: dict[str, Any]) -> None:
    found = OPEN.evaluate(Request(**fields), NOW).decision
    assert found.verdict in {"allow", "deny"}
    if found.verdict == "allow":
        assert fields.get("cert") == ALICE.der


LATIN = st.text(alphabet=st.characters(max_codepoint=255), max_size=12)
MISSING = st.sampled_from([ABSENT, UNAVAILABLE])


@given(
    st.builds(
        Request,
        cert=st.one_of(MISSING, st.binary(max_size=8), st.just(ALICE.der)),
        used=st.sampled_from([True, False, UNAVAILABLE]),
        verify=st.sampled_from([0, 18, UNAVAILABLE]),
        resumed=st.booleans(),
        source=st.one_of(st.just(UNAVAILABLE), st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
        method=st.one_of(st.just(UNAVAILABLE), LATIN),
        path=st.one_of(MISSING, LATIN.map("/".__add__), LATIN),
        host=st.one_of(st.just(UNAVAILABLE), LATIN, st.just("a.b")),
        sni=st.one_of(MISSING, LATIN, st.just("a.b")),
        tls=st.one_of(st.just(UNAVAILABLE), LATIN),
        headers=st.dictionaries(st.sampled_from(["x", "y"]), st.one_of(MISSING, st.text(max_size=5))),
    )
)
def test_whatever_can_be_sent_is_answered_by_both_doors_alike(request: Request) -> None:
    assert OPEN.judge(request, NOW).decision is OPEN.evaluate(request, NOW).decision


def test_a_request_of_a_wrong_type_is_malformed() -> None:
    assert OPEN.evaluate(Request(cert="text"), NOW).decision.reason == "malformed_message"  # type: ignore[arg-type] # on purpose


def test_a_policy_needs_no_lists_and_no_authorities() -> None:
    assert judge(policy(HEAD), holder("a")).decision.reason == "no_rule_allows"


def test_a_certificate_whose_revocation_nobody_looked_at_is_denied() -> None:
    own = make(head=CHECKED)
    request = Request(cert=ABSENT, method="GET", path="/")
    asked = Subject(certificate("alice", "administrators"), "corp", {})
    assert own.judge(request, NOW, subject=asked).decision.reason == "revocation_not_loaded"
    assert own.judge(request, NOW, subject=asked, revocation="good").decision.reason == "ok"


def test_news_of_a_client_concern_nobody_else_and_news_of_a_ca_everybody() -> None:
    own = make()
    bob = CORP.issue("bob")
    for der in (ALICE.der, bob.der):
        ask(own, der)
    for _ in range(2):
        assert own.forget(ALICE.der)
        assert own.cache_sizes()["standings"][0] == 1
    assert not own.forget(CORP.der)
    assert own.cache_sizes()["standings"][0] == 0


def test_a_clock_that_was_ahead_for_a_while_leaves_nothing_behind() -> None:
    own = make(listed={SHA256: NOW + 60})
    assert reason(own, SCANNER.der, NOW + 60, path="/scan") == "no_rule_allows"
    assert reason(own, SCANNER.der, NOW, path="/scan") == "ok"
