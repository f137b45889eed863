"""Differences: what is told changes, all of it is told, and each witness is a policy test that shows it."""

from __future__ import annotations

import json
import os
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from spoa import difference as module
from spoa.allowlist import Entry, Listing
from spoa.difference import compare
from spoa.listindex import NEVER, Kind, serial_key
from spoa.policy.reading import Report
from spoa.rehearsal import rehearse
from spoa.solver import Circuit
from tests.drawn import SWITCHES, pairs, policy_of, somebody, something
from tests.pki import CA
from tests.policies import HEAD, NOW, policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spoa.authorizer import Policy
    from spoa.difference import Difference

#: Pairs of policies that are drawn; `make proofs` draws ten thousand.
PAIRS = int(os.environ.get("SPOA_AUTHZ_DIFF_PAIRS", "60"))
#: Requests that are made up by chance for each pair.
REQUESTS = 120


def diff(old: str, new: str, head: str = HEAD) -> Difference:
    found = compare(policy(head + old), policy(head + new), NOW)
    assert found.findings == []
    return found


def told(found: Difference) -> list[tuple[str, str]]:
    return sorted((change.tag, change.rule) for change in found.changes)


STAFF = "{id: staff, effect: allow, who: {issuer: corp, ou: staff}}"
ANYBODY = "{id: all, effect: allow, who: any_certificate}"
EXPRESSION = "rules: [{id: a, effect: allow, who: any_certificate, request: {path: {re: '/.*/x'}}}]"
SWITCH = "break_glass: {b: {max_duration: 1h, ticket: x}}\n"


# -- examples ---------------------------------------------------------------------------------------------------

EDITS: Mapping[str, tuple[str, str, list[tuple[str, str]]]] = {
    "nothing but the order": (
        f"rules: [{STAFF}, {{id: d, effect: deny, request: {{path: /x}}}}]",
        f"rules: [{{id: d, effect: deny, request: {{path: /x}}}}, {STAFF}]",
        [],
    ),
    "the same in other words": (
        "rules: [{id: a, effect: allow, who: any_certificate, request: {method: [GET, HEAD, OPTIONS]}}]",
        "rules: [{id: a, effect: allow, who: any_certificate, request: {method: read}}]",
        [],
    ),
    "two globs that overlap nowhere else": (
        "rules: [{id: a, effect: allow, who: any_certificate, request: {path: [/a/*, /*/b]}}]",
        "rules: [{id: a, effect: allow, who: any_certificate, request: {path: [/a/*, /*/b, /a/b]}}]",
        [],
    ),
    "a rule that was added": (
        f"rules: [{STAFF}]",
        f"rules: [{STAFF}, {{id: ops, effect: allow, who: {{issuer: corp, ou: ops}}}}]",
        [("newly_allowed", "ops")],
    ),
    "a deny that was taken away": (
        f"rules: [{STAFF}, {{id: d, effect: deny, request: {{path: /x}}}}]",
        f"rules: [{STAFF}]",
        [("newly_allowed", "staff")],
    ),
    "a deny that was narrowed at one end and widened at the other": (
        f"rules: [{ANYBODY}, {{id: d, effect: deny, when: {{source: 10.0.0.0/9}}}}]",
        f"rules: [{ANYBODY}, {{id: d, effect: deny, when: {{source: 10.64.0.0/10}}}}]",
        [("newly_allowed", "all")],
    ),
    "a require for both methods": (
        f"rules: [{ANYBODY}]",
        f"rules: [{ANYBODY}, {{id: q, effect: require, request: {{method: PUT}}, who: {{issuer: corp, ou: ops}}}}]",
        [("newly_denied", "q")],
    ),
    "an allow that nothing takes the place of": (
        f"rules: [{STAFF}, {{id: p, effect: allow, who: {{issuer: partners}}}}]",
        f"rules: [{STAFF}]",
        [("newly_denied", "p")],
    ),
    "an exception of a deny": (
        f"rules: [{ANYBODY}, {{id: d, effect: deny, request: {{path: /x/**}}}}]",
        f"rules: [{ANYBODY}, {{id: d, effect: deny, request: {{path: /x/**}}, unless: {{path: /x/y}}}}]",
        [("newly_allowed", "all")],
    ),
    "a shadow that became a rule": (
        f"rules: [{ANYBODY}, {{id: d, effect: deny, request: {{path: /x}}, mode: shadow, shadow_until: 2999-01-01}}]",
        f"rules: [{ANYBODY}, {{id: d, effect: deny, request: {{path: /x}}}}]",
        [("newly_denied", "d")],
    ),
    "a switch": (
        f"{SWITCH}rules: [{STAFF}, {{id: q, effect: allow, who: {{issuer: corp, ou: sre}}, active_during: b}}]",
        f"{SWITCH}rules: [{STAFF}, {{id: q, effect: allow, who: {{issuer: corp, ou: [sre, dev]}}, active_during: b}}]",
        [("newly_allowed", "q")],
    ),
    "a minute of the week": (
        'rules: [{id: a, effect: allow, who: any_certificate, when: {time: {tz: Europe/Paris, hours: "08:00-19:00"}}}]',
        'rules: [{id: a, effect: allow, who: any_certificate, when: {time: {tz: Europe/Paris, hours: "08:00-19:01"}}}]',
        [("newly_allowed", "a")],
    ),
    "a zone that is the same in winter": (
        'rules: [{id: a, effect: allow, who: any_certificate, when: {time: {tz: Africa/Tunis, hours: "08:00-19:00"}}}]',
        'rules: [{id: a, effect: allow, who: any_certificate, when: {time: {tz: Europe/Paris, hours: "08:00-19:00"}}}]',
        [("newly_allowed", "a"), ("newly_denied", "a")],
    ),
    "anonymous requests": (
        "rules: [{id: a, effect: allow, who: [anonymous, any_certificate]}]",
        "defaults: {no_certificate: anonymous}\nrules: [{id: a, effect: allow, who: [anonymous, any_certificate]}]",
        [("newly_allowed", "a")],
    ),
    "shadow mode": (f"rules: [{STAFF}]", f"defaults: {{mode: shadow}}\nrules: [{STAFF}]", [("newly_allowed", "")]),
    "another writing of a path": (
        f"rules: [{ANYBODY}]",
        f"defaults: {{path_on_ambiguity: normalise}}\nrules: [{ANYBODY}]",
        [("newly_allowed", "all")],
    ),
    "parameters of a path": (
        f"rules: [{ANYBODY}]",
        f"defaults: {{path_parameters: allow}}\nrules: [{ANYBODY}]",
        [("newly_allowed", "all")],
    ),
    "parameters of a path within an expression": (
        f"defaults: {{path_parameters: allow}}\n{EXPRESSION}",
        EXPRESSION,
        [("newly_denied", "a")],
    ),
    "names that differ": (
        f"rules: [{ANYBODY}]",
        f"defaults: {{sni_mismatch: allow}}\nrules: [{ANYBODY}]",
        [("newly_allowed", "all")],
    ),
    "an attribute that nobody read": (
        f"rules: [{ANYBODY}]",
        f"rules: [{ANYBODY}, {{id: d, effect: deny, who: {{issuer: corp, o: Evil}}}}]",
        [("newly_denied", "d")],
    ),
    "case, of one reading only": (
        f"rules: [{ANYBODY}, {{id: d, effect: deny, unless: {{path: /a}}}}]",
        f"rules: [{ANYBODY}, {{id: d, effect: deny, unless: {{path: [/a, /A]}}}}]",
        [("newly_allowed", "all")],
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_is_told_and_nothing_else(what: str) -> None:
    old, new, expected = EDITS[what]
    assert told(diff(old, new)) == expected


SETTINGS: Mapping[str, tuple[str, str, list[str]]] = {
    "weak keys": ("{}", "{allow_weak: true}", ["newly_allowed"]),
    "several names": ("{}", "{allow_multiple_cn: true}", ["newly_allowed"]),
    "certificates for other ends": ("{eku: client}", "{eku: any}", ["newly_allowed"]),
    "long lives": ("{max_lifetime: 2h}", "{max_lifetime: 1h}", ["newly_denied"]),
    "any life": ("{max_lifetime: 2h}", "{}", ["newly_allowed"]),
    "a trust domain": ("{}", "{trust_domain: a.example}", ["newly_denied"]),
    "another trust domain": (
        "{trust_domain: b.example}",
        "{trust_domain: a.example}",
        ["newly_allowed", "newly_denied"],
    ),
    "soft failure": (
        "{revocation: {crl: {files: [a.crl]}}}",
        "{revocation: {crl: {files: [a.crl], on_failure: allow}}}",
        ["newly_allowed"] * 4,
    ),
    "no revocation": ("{revocation: {none: x}}", "{revocation: {crl: {files: [a.crl]}}}", ["newly_denied"] * 6),
    "older lists": (
        "{revocation: {crl: {files: [a.crl]}}}",
        "{revocation: {crl: {files: [a.crl], max_stale: 1d}}}",
        ["newly_allowed"],
    ),
    "an unknown that only OCSP is let off": (
        "{revocation: {ocsp: {responder: 'http://o.example'}, crl: {files: [a.crl]}}}",
        "{revocation: {ocsp: {responder: 'http://o.example', on_unknown: allow}, crl: {files: [a.crl]}}}",
        ["newly_allowed"],
    ),
    "who answers first": (
        "{revocation: {ocsp: {responder: 'http://o.example'}, crl: {files: [a.crl]}}}",
        "{revocation: {ocsp: {responder: 'http://o.example'}, crl: {files: [a.crl]}, combine: first_answer}}",
        ["newly_allowed"] * 2,
    ),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_what_an_issuer_is_let_off_is_told(what: str) -> None:
    old, new, expected = SETTINGS[what]
    heads = []
    for settings_of_issuer in (old, new):
        issuer = {"ca": "a.pem", "revocation": "{none: x}"}
        inner = settings_of_issuer[1:-1]
        keys = f"ca: {issuer['ca']}" + ("" if "revocation" in inner else f", revocation: {issuer['revocation']}")
        heads.append(f"issuers: {{corp: {{{keys}{', ' + inner if inner else ''}}}}}\nrules: [{ANYBODY}]")
    found = compare(policy(heads[0]), policy(heads[1]), NOW)
    assert (found.findings, [change.tag for change in found.changes]) == ([], expected)


def test_evidence_that_counts_no_longer_is_noted_since_no_test_can_state_it() -> None:
    head = "issuers: {{corp: {{ca: a.pem, revocation: {{crl: {{files: [a.crl], max_stale: {}}}}}}}}}\n"
    (change,) = diff(head.format("2h") + f"rules: [{ANYBODY}]", head.format("1h") + f"rules: [{ANYBODY}]", "").changes
    assert (change.tag, change.after.reason) == ("newly_denied", "revocation_stale")
    assert change.note == "an older list counts no longer, which no test can state"
    assert "revocation" not in change.witness


ROUTES = (
    "routes: [{who: {issuer: partners}, backend: partner_api}, {request: {path: '/x/**'}, backend: x}, {backend: web}]"
)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (ROUTES, ROUTES, []),
        (ROUTES, ROUTES.replace("partner_api", "admin_api"), [("partner_api", "admin_api", "partners")]),
        (
            ROUTES,
            ROUTES.replace("{issuer: partners}", "{issuer: partners, ou: a}"),
            [("partner_api", "web", "partners"), ("partner_api", "x", "partners")],
        ),
        (ROUTES, "", [("partner_api", "", "partners"), ("web", "", "corp"), ("x", "", "corp")]),
        ("", "routes: [{request: {path: /y}, backend: y}]", [("", "y", "corp")]),
    ],
)
def test_what_goes_to_another_backend_is_told_once_for_each_pair(
    old: str, new: str, expected: list[tuple[str, str, str]]
) -> None:
    found = diff(f"rules: [{ANYBODY}]\n{old}", f"rules: [{ANYBODY}]\n{new}")
    assert found.changes == []
    for one in found.rerouted:
        assert one.note == ""
        for routes, route in ((old, one.before), (new, one.after)):
            judge = policy(HEAD + f"rules: [{ANYBODY}]\n{routes}")
            assert rehearsed(judge, {**one.witness, "route": route}, "allow") == []
    told = [(one.before, one.after, one.witness["cert"]["issuer"]) for one in found.rerouted]  # type: ignore[index]
    assert sorted(told) == expected


def test_other_answers_to_refusals_and_other_bounds_of_switches_are_notes() -> None:
    old = f"{SWITCH}rules: [{ANYBODY}, {{id: d, effect: deny, request: {{path: /x}}, reason: gone, status: 410}}]"
    new = (
        "defaults: {deny_status: 404}\nbreak_glass: {b: {max_duration: 2h, ticket: '.*'}}\n"
        f"rules: [{ANYBODY}, {{id: d, effect: deny, request: {{path: /x}}}}]"
    )
    found = diff(old, new)
    assert (found.changes, found.rerouted) == ([], [])
    assert found.notes == [
        "what no rule gives another status is refused with 404 instead of 403",
        "d refuses with the status 404 instead of 410",
        "d refuses with no reason of its own instead of gone",
        "the switch b may be open for 7200 s instead of 3600 s",
        "a ticket for the switch b looks like '.*' instead of 'x'",
    ]


def test_a_length_of_life_is_noted_since_no_test_can_state_it() -> None:
    head = "issuers: {{corp: {{ca: a.pem, revocation: {{none: x}}, max_lifetime: {}}}}}\n"
    (change,) = diff(head.format("2h") + f"rules: [{ANYBODY}]", head.format("1h") + f"rules: [{ANYBODY}]", "").changes
    assert change.note == "the certificate is valid for 3601 seconds in all, which no test can state"


def signed_by(ca: CA, name: str = "corp") -> Policy:
    text = f"issuers: {{{name}: {{ca: a.pem, revocation: {{none: x}}}}}}\nrules: [{ANYBODY}]"
    return policy(text, authorities={name: [ca.der]})


def test_another_ca_under_the_same_name_is_another_issuer() -> None:
    found = compare(signed_by(CA("A")), signed_by(CA("B")), NOW)
    assert told(found) == [("newly_allowed", "all"), ("newly_denied", "all")]
    assert [change.note for change in found.changes] == [
        "the CA certificate is another: unknown → corp",
        "the CA certificate is another: corp → unknown",
    ]


def test_another_name_for_the_same_ca_is_no_change() -> None:
    ca = CA("A")
    assert compare(signed_by(ca), signed_by(ca, name="corporate"), NOW).changes == []


def test_certificates_that_no_ca_should_issue_are_a_note() -> None:
    reading = f"rules: [{ANYBODY}, {{id: d, effect: deny, who: {{issuer: corp, o: Evil}}}}]"
    assert diff(f"rules: [{ANYBODY}]", reading).notes == [
        "subject attribute O is now read, so that control characters in it are now refused"
    ]
    assert diff(reading, f"rules: [{ANYBODY}]").notes == [
        "subject attribute O is no longer read, so that control characters in it are no longer refused"
    ]


# -- lists ------------------------------------------------------------------------------------------------------

LISTS = (
    "lists: {good: {file: good.txt}, old: {file: old.txt}}\n"
    "rules: [{id: good, effect: allow, who: {issuer: corp, in_list: good}},"
    " {id: old, effect: deny, who: {issuer: corp, in_list: old}}]"
)
A, B = bytes([1]) * 32, bytes([2]) * 32


def lists_of(good: Any, old: Any = ()) -> dict[str, Listing]:
    def listing(some: Any) -> Listing:
        return Listing({Kind.SHA256: dict(some)}) if some else Listing({})

    return {"good": listing(good), "old": listing(old)}


def diff_lists(before: dict[str, Listing], after: dict[str, Listing]) -> Difference:
    return compare(policy(HEAD + LISTS), policy(HEAD + LISTS), NOW, listings=(before, after))


def test_lists_that_hold_the_same_change_nothing() -> None:
    assert diff_lists(lists_of({A: NEVER}), lists_of({A: NEVER})).changes == []


def test_an_entry_that_was_added_is_shown_by_its_fingerprint() -> None:
    (change,) = diff_lists(lists_of({A: NEVER}), lists_of({A: NEVER, B: NEVER})).changes
    assert (change.tag, change.rule) == ("newly_allowed", "good")
    certificate: Any = change.witness["cert"]
    assert (certificate["fingerprint"], "in_list" in certificate) == (B.hex(), False)


def test_an_entry_that_takes_away_is_newly_denied() -> None:
    before, after = lists_of({A: NEVER, B: NEVER}), lists_of({A: NEVER, B: NEVER}, {B: NEVER})
    assert told(diff_lists(before, after)) == [("newly_denied", "old")]


def test_an_entry_that_moved_to_a_list_with_another_name_changes_nothing() -> None:
    renamed = LISTS.replace("good: {file", "better: {file").replace("in_list: good", "in_list: better")
    both = ({**lists_of({A: NEVER})}, {"better": Listing({Kind.SHA256: {A: NEVER}}), "old": Listing({})})
    assert compare(policy(HEAD + LISTS), policy(HEAD + renamed), NOW, listings=both).changes == []


def test_an_expiry_that_was_put_off_is_told_by_a_request_after_the_old_one() -> None:
    (change,) = diff_lists(lists_of({A: NOW + 3600}), lists_of({A: NOW + 7200})).changes
    assert (change.tag, change.witness["now"]) == ("newly_allowed", "2026-11-20T10:00:00Z")


def test_entries_by_serial_number_and_by_sha1_are_told_too() -> None:
    by_serial = Listing({Kind.SERIAL: {serial_key("corp", 0xAB): NEVER}}, (entry_of("corp", "ab"),))
    (change,) = diff_lists(lists_of(()), {**lists_of(()), "good": by_serial}).changes
    certificate: Any = change.witness["cert"]
    assert (certificate["issuer"], certificate["serial"]) == ("corp", "ab")
    by_sha1 = Listing({Kind.SHA1: {bytes(20): NEVER}})
    (change,) = diff_lists(lists_of(()), {**lists_of(()), "good": by_sha1}).changes
    assert change.note == "the certificate is known by its SHA-1 only, which no test can state"


def entry_of(issuer: str, serial: str) -> Entry:
    return Entry(Kind.SERIAL, f"{issuer} {serial}", NEVER, 1, issuer=issuer)


# -- bounds -----------------------------------------------------------------------------------------------------


def test_what_patterns_put_out_of_reach_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.policy.languages.MAX_STATES", 3)
    found = compare(policy(HEAD + f"rules: [{STAFF}]"), policy(HEAD + f"rules: [{STAFF}]"), NOW)
    assert found.changes == []
    assert found.findings[0].startswith("patterns of subject:2.5.4.11 overlap in more ways than are looked at")


def test_a_search_that_is_given_up_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Circuit, "can_hold", lambda *_: None)
    found = compare(policy(HEAD + f"rules: [{STAFF}]"), policy(HEAD + f"rules: [{ANYBODY}]"), NOW)
    assert set(found.findings) == {
        "the search for what is newly allowed was given up",
        "the search for what is newly denied was given up",
        "the search for what goes to another backend was given up",
    }


def test_more_changes_than_anybody_reads_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHANGES", 1)
    found = compare(
        policy(HEAD + f"rules: [{ANYBODY}]"),
        policy(HEAD + "rules: [{id: x, effect: allow, who: any_certificate, request: {method: PURGE}}]"),
        NOW,
    )
    assert (len(found.changes), found.findings) == (1, [])
    two = "rules: [{id: x, effect: allow, who: {issuer: corp}}, {id: y, effect: allow, who: {issuer: partners}}]"
    found = compare(policy(HEAD + two), policy(HEAD + two.replace("allow", "deny")), NOW)
    assert (len(found.changes), found.findings) == (1, ["there are more than 1 changes"])


# -- everything that can be drawn -------------------------------------------------------------------------------


def rehearsed(judge: Policy, witness: dict[str, object], verdict: str) -> list[str]:
    """Run a witness as a policy test; return what is wrong."""
    test = {**witness, "name": "witness", "cert": "c", "expect": verdict}
    document: dict[str, Any] = {"kind": "tests", "tests": [test]}
    if witness["cert"] == "none":
        test["cert"] = "none"
    else:
        document["certs"] = {"c": witness["cert"]}
    report = Report()
    rehearse(judge, {"tests/t.yaml": json.dumps(document).encode()}, lambda _: None, report, now=NOW)
    return [str(problem) for problem in report.problems]


@settings(max_examples=PAIRS, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs(), st.integers(0, 2**32))
def test_what_is_told_is_what_brute_force_finds(pair: tuple[dict[str, Any], dict[str, Any]], seed: int) -> None:
    old, new = policy_of(pair[0]), policy_of(pair[1])
    found = compare(old, new, NOW)
    assert found.findings == []
    kinds = {
        (change.tag, change.before.log_reason, change.before.log_rule, change.after.log_reason, change.after.log_rule)
        for change in found.changes
    }
    assert len(kinds) == len(found.changes), "a class is told once"
    for change in found.changes:
        assert (change.after.verdict == "allow") == (change.tag == "newly_allowed")
        if not change.note:
            assert rehearsed(old, change.witness, change.before.verdict) == []
            assert rehearsed(new, change.witness, change.after.verdict) == []
    rerouted = [(one.before, one.after) for one in found.rerouted]
    assert len(set(rerouted)) == len(rerouted), "a pair of backends is told once"
    for one in found.rerouted:
        for judge, route in ((old, one.before), (new, one.after)):
            assert one.note or rehearsed(judge, {**one.witness, "route": route}, "allow") == []
    event(f"{min(5, len(found.changes))} or more changes")
    random = Random(seed)
    for _ in range(REQUESTS):
        subject = somebody(random) if random.random() < 0.9 else None
        request, now = something(random), NOW + random.randrange(7 * 24) * 3600
        switches = frozenset(name for name in SWITCHES if random.random() < 0.5)
        before, after = (judge.judge(request, now, subject=subject, switches=switches).decision for judge in (old, new))
        if before.verdict != after.verdict:
            tag = "newly_allowed" if after.verdict == "allow" else "newly_denied"
            assert (tag, before.log_reason, before.log_rule, after.log_reason, after.log_rule) in kinds
        elif before.verdict == "allow" and before.route != after.route:
            assert (before.route, after.route) in rerouted
