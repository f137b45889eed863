"""Invariants: what is found to break them, what is not, and what is said where the search was not whole."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from spoa.invariants import Search
from spoa.policy.cases import read_cases
from spoa.policy.conditions import bearer_values
from spoa.policy.gates import request_values
from spoa.policy.model import Bearer, RequestValues
from spoa.policy.reading import Report
from spoa.solver import Circuit
from tests.drawn import documents, identities, policy_of, some_of, somebody, something
from tests.policies import HEAD, NOW, policy

if TYPE_CHECKING:
    from spoa.authorizer import Policy
    from spoa.invariants import Outcome
    from spoa.policy.cases import Invariant

STAFF = """
identities: {staff: {issuer: corp, ou: staff}, sre: {issuer: corp, ou: sre}}
break_glass: {incident: {max_duration: 1h, ticket: x}}
"""


def invariant(judge: Policy, keys: str) -> Invariant:
    report = Report()
    text = f"kind: tests\ninvariants:\n- {{name: x, {keys}}}\n".encode()
    found = read_cases(text, "t.yaml", judge.model, report)
    assert found is not None
    assert report.problems == ()
    return found.invariants[0]


def look(rules: str, keys: str) -> Outcome:
    judge = policy(HEAD + rules)
    one = invariant(judge, keys)
    return Search(judge, [one], NOW).look_for(one)


BREAKS = {
    "an allow without conditions": (
        "rules: [{id: r, effect: allow, who: any_certificate}]",
        "never_allow: {path: /admin}",
    ),
    "a deny in strict case of an allow by glob": (
        (
            'rules: [{id: r, effect: allow, who: {issuer: corp, ou: "*"}},'
            "{id: d, effect: deny, who: {issuer: partners, ou: staff}}]"
        ),
        "never_allow: {ou: staff}",
    ),
    "two globs that overlap": (
        "rules: [{id: r, effect: allow, who: any_certificate, request: {path: /a/*}}]",
        'never_allow: {path: "/*/b"}',
    ),
    "a certificate with both of two attributes": (
        STAFF + "rules: [{id: r, effect: allow, who: staff, request: {path: /x}},"
        "{id: q, effect: require, who: sre, request: {path: /**}}]",
        "never_allow: {path: /x}",
    ),
    "a rule that a switch lifts": (
        STAFF + "rules: [{id: r, effect: allow, who: [staff, sre]},"
        "{id: d, effect: deny, request: {path: /x}, overridable_by: incident}]",
        "never_allow: {path: /x}",
    ),
    "a switch that excepts somebody else": (
        STAFF + "rules: [{id: r, effect: allow, who: staff, active_during: incident},"
        "{id: s, effect: allow, who: sre, request: {path: /y}}]",
        "never_allow: {path: /x}, except: [sre@incident]",
    ),
    "an hour of the week": (
        (
            "rules: [{id: r, effect: allow, who: any_certificate, when: {time: {tz: Europe/Paris, days: sun,"
            ' hours: "03:00-03:30"}}}]'
        ),
        'never_allow: {time: {tz: Europe/Paris, days: sun, hours: "03:29-04:00"}}',
    ),
    "the edge of a network": (
        (
            "rules: [{id: r, effect: allow, who: any_certificate, when: {source: 10.0.0.0/8}},"
            "{id: d, effect: deny, when: {source: 10.0.0.0/9}}]"
        ),
        "never_allow: {source: 10.128.0.0/16}",
    ),
    "a header that was not sent": (
        "rules: [{id: r, effect: allow, who: any_certificate, request: {method: GET}}]",
        "never_allow: {header: {X-Debug: 'on'}}",
    ),
    "anonymous requests": (
        "defaults: {no_certificate: anonymous}\nrules: [{id: r, effect: allow, who: anonymous, request: {path: /x}}]",
        "never_allow: {not_path: /y}",
    ),
    "the asterisk of OPTIONS": (
        'rules: [{id: r, effect: allow, who: any_certificate, request: {path: "\\\\*"}}]',
        "never_allow: {method: OPTIONS}",
    ),
    "a name that differs from the host": (
        (
            "defaults: {sni_mismatch: allow}\n"
            "rules: [{id: r, effect: allow, who: any_certificate, request: {host: a.example, sni: b.example}}]"
        ),
        "never_allow: {host: a.example, not_sni: a.example}",
    ),
    "a regular expression": (
        "rules: [{id: r, effect: allow, who: {issuer: corp, cn: {re: 'a[0-9]+b'}}, request: {path: {re: '/x+y'}}}]",
        "never_allow: {cn: {re: 'a.*'}}",
    ),
    "membership of a list": (
        "lists: {good: {file: g}, bad: {file: b}}\nrules: [{id: r, effect: allow, who: {issuer: corp, in_list: good}}]",
        "never_allow: {in_list: bad}",
    ),
    "a SPIFFE ID": (
        (
            "identities: {pay: {issuer: partners, uri_san: 'spiffe://x.example/pay/*'}}\n"
            "rules: [{id: r, effect: allow, who: pay}]"
        ),
        "never_allow: {issuer: partners}",
    ),
    "a key that is long enough": (
        "rules: [{id: r, effect: allow, who: {issuer: corp, min_key_bits: 4096}}]",
        "never_allow: {issuer: corp}",
    ),
    "a purpose beside being a client": (
        "rules: [{id: r, effect: allow, who: {issuer: corp, eku: codeSigning}}]",
        "never_allow: {issuer: corp}",
    ),
}
HOLDS = {
    "a deny of the same": (
        "rules: [{id: r, effect: allow, who: any_certificate}, {id: d, effect: deny, request: {path: /x/**}}]",
        "never_allow: {path: /x/**}",
    ),
    "a require of the excepted": (
        STAFF + "rules: [{id: r, effect: allow, who: any_certificate},"
        "{id: q, effect: require, who: [staff, sre], request: {path: /x}}]",
        "never_allow: {path: /x}, except: [staff, sre]",
    ),
    "an exception while a switch is open": (
        STAFF + "rules: [{id: r, effect: allow, who: staff, active_during: incident},"
        "{id: s, effect: allow, who: sre, request: {path: /y}}]",
        "never_allow: {path: /x}, except: [staff@incident]",
    ),
    "another issuer": (
        "rules: [{id: r, effect: allow, who: {issuer: corp, ou: x}}]",
        "never_allow: {issuer: partners}",
    ),
    "anonymous where it is excepted": (
        "defaults: {no_certificate: anonymous}\nrules: [{id: r, effect: allow, who: anonymous}]",
        "never_allow: {method: GET}, except: [anonymous]",
    ),
    "a shadow rule allows nothing": (
        "rules: [{id: r, effect: allow, who: any_certificate, mode: shadow, shadow_until: 2999-01-01}]",
        "never_allow: {path: /**}",
    ),
    "a condition of identity is not about anonymous requests": (
        "defaults: {no_certificate: anonymous}\nrules: [{id: r, effect: allow, who: anonymous}]",
        "never_allow: {ou: '*'}",
    ),
    "weak keys stop at the gate": (
        (
            "rules: [{id: r, effect: allow, who: any_certificate},"
            "{id: q, effect: deny, who: {issuer: any, min_key_bits: 2048}}]"
        ),
        "never_allow: {method: GET}",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_violation_is_found(what: str) -> None:
    outcome = look(*BREAKS[what])
    assert outcome.witness
    assert outcome.findings == []


@pytest.mark.parametrize("what", HOLDS)
def test_nothing_is_found_where_nothing_is(what: str) -> None:
    assert look(*HOLDS[what]).witness == {}


GUARDED = """
identities: {staff: {issuer: corp, ou: staff}, admins: {issuer: corp, ou: admins}}
break_glass: {incident: {max_duration: 1h, ticket: x}}
rules:
- {id: all, effect: allow, who: [staff, admins]}
- {id: guard, effect: require, request: {path: /admin/**}, who: [admins]}
- {id: office, effect: require, request: {path: /admin/**}, when: {source: 10.0.0.0/8}}
"""
PROMISES = (
    "never_allow: {path: /admin/**}, except: [admins]",
    "never_allow: {path: /admin/**, not_source: 10.0.0.0/8}",
)
GUARD, OFFICE = GUARDED.splitlines()[-2:]
#: A guard with a fault in place of one without.
FAULTS = {
    "one segment is not all below": (GUARD, GUARD.replace("/admin/**", "/admin/*")),
    "the directory is forgotten": (GUARD, GUARD.replace("/admin/**", "/admin/*/**")),
    "two depths are not all": (GUARD, GUARD.replace("/admin/**", "[/admin, /admin/*]")),
    "some methods are not all": (GUARD, GUARD.replace("/admin/**", "/admin/**, method: write")),
    "one host is not all": (OFFICE, OFFICE.replace("/admin/**", "/admin/**, host: a.example")),
    "a header can have another value": (GUARD, GUARD.replace("/admin/**", "/admin/**, header: {X: y}")),
    "an expression with a hole": (GUARD, GUARD.replace("/admin/**", "{re: '/admin(/[a-z]*)*'}")),
    "one address too many": (OFFICE, OFFICE.replace("10.0.0.0/8", "[10.0.0.0/8, 192.0.2.7]")),
    "a network that is twice as large": (OFFICE, OFFICE.replace("10.0.0.0/8", "10.0.0.0/7")),
    "an expression in place of a name": (GUARD, GUARD.replace("admins]", "{issuer: corp, ou: {re: 'adm.*|staf{2}'}}]")),
    "a second CA": (GUARD, GUARD.replace("admins]", "admins, {issuer: [corp, partners], cn: 'a*'}]")),
    "a key that is long enough": (GUARD, GUARD.replace("admins]", "admins, {issuer: corp, min_key_bits: 4096}]")),
    "a list": ("rules:", "lists: {a: {file: a}}\nrules:\n- {id: x, effect: deny, who: {issuer: corp, in_list: a}}"),
    "a switch": (GUARD, GUARD.replace("admins]", "admins], overridable_by: incident")),
    "a shadow": (GUARD, GUARD.replace("admins]", "admins], mode: shadow, shadow_until: 2999-01-01")),
    "an hour": (
        OFFICE,
        OFFICE.replace("source: 10.0.0.0/8", "time: {tz: Europe/Paris, days: sun, hours: '02:30-02:31'}"),
    ),
}
#: Changes that let nobody in.
HARMLESS = ("a list",)


def test_what_is_guarded_is_proved() -> None:
    assert all(look(GUARDED, promise).is_proved for promise in PROMISES)


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_that_was_planted_is_found(what: str) -> None:
    rules = GUARDED.replace(*FAULTS[what])
    assert rules != GUARDED
    outcomes = [look(rules, promise) for promise in PROMISES]
    assert any(outcome.witness for outcome in outcomes) is (what not in HARMLESS)
    assert all(outcome.witness or outcome.is_proved for outcome in outcomes)


def test_a_witness_is_a_test_that_can_be_pasted() -> None:
    rules = STAFF + (
        "rules: [{id: r, effect: allow, who: staff, request: {host: a.example, header: {X-A: b}},"
        "when: {source: 10.0.0.0/8, tls: TLSv1.3}, active_during: incident}, {id: s, effect: allow, who: sre,"
        "request: {path: /y}}]"
    )
    judge = policy(HEAD + rules)
    one = invariant(judge, "never_allow: {path: /x}")
    witness: dict[str, Any] = Search(judge, [one], NOW).look_for(one).witness
    assert witness["cert"] == {"issuer": "corp", "ou": "staff"}
    assert (witness["host"], witness["headers"], witness["source"]) == ("a.example", {"x-a": "b"}, "10.0.0.0")
    assert (witness["open"], witness["rule"], witness["tls"]) == (["incident"], "r", "TLSv1.3")
    assert witness["request"].endswith(" /x")


def test_shadow_mode_is_judged_as_if_it_were_enforced() -> None:
    rules = "defaults: {mode: shadow}\nrules: [{id: r, effect: allow, who: any_certificate, request: {path: /a}}]"
    kept = look(rules, "never_allow: {path: /b}")
    assert (kept.witness, [finding.code for finding in kept.findings]) == ({}, ["invariant-in-shadow"])
    assert look(rules, "never_allow: {path: /a}").witness


def switches(count: int) -> str:
    names = "".join(f"s{number}: {{max_duration: 1h, ticket: x}}, " for number in range(count))
    return f"break_glass: {{{names}}}\nrules: [{{id: r, effect: allow, who: any_certificate, request: {{path: /a}}}}]"


HEADERS = "".join(f"h{number}: v, " for number in range(12))


@pytest.mark.parametrize(
    "rules",
    [
        switches(12),
        f"rules: [{{id: r, effect: allow, who: any_certificate, request: {{path: /a, header: {{{HEADERS}}}}}}}]",
    ],
    ids=["switches", "headers"],
)
def test_what_multiplies_is_proved_all_the_same(rules: str) -> None:
    outcome = look(rules, "never_allow: {method: PURGE, path: /zz}")
    assert outcome.is_proved
    assert outcome.findings == []


def test_a_proof_that_patterns_put_out_of_reach_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.policy.languages.MAX_STATES", 3)
    outcome = look("rules: [{id: r, effect: allow, who: {issuer: corp, ou: abc}}]", "never_allow: {path: /x}")
    assert not outcome.is_proved
    assert {finding.code for finding in outcome.findings} == {"invariant-not-proved"}


def test_a_proof_that_takes_too_long_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Circuit, "can_hold", lambda *_: None)
    outcome = look("rules: [{id: r, effect: allow, who: any_certificate}]", "never_allow: {path: /x}")
    assert (outcome.witness, outcome.is_proved) == ({}, False)
    assert [finding.message for finding in outcome.findings] == ["not proved: given up after 10000 conflicts"]


@st.composite
def statements(draw: st.DrawFn, names: tuple[str, ...]) -> dict[str, Any]:
    """Draw an invariant that speaks of little, so that it may well hold."""
    never: dict[str, Any] = draw(some_of(("path", "method", "source", "tls", "header", "time"), 2, 3))
    for key in draw(st.sets(st.sampled_from(sorted(never)))):
        never[f"not_{key}"] = never.pop(key)
    if draw(st.booleans()):
        never |= {key: value for key, value in draw(identities()).items() if value != "any"}
    chosen = draw(st.lists(st.sampled_from((*names, "anonymous", "any_certificate@audit")), max_size=2, unique=True))
    return {"name": "x", "never_allow": never, **({"except": chosen} if chosen else {})}


def breaks(judge: Policy, one: Invariant, random: Random) -> tuple[bool, bool]:
    """Ask for one thing by chance; tell whether it was allowed, and whether the invariant forbids it."""
    subject = somebody(random) if random.random() < 0.9 else None
    request = something(random)
    now = NOW + random.randrange(7 * 24) * 3600
    switches = frozenset(name for name in ("incident", "audit") if random.random() < 0.5)
    decision = judge.judge(request, now, subject=subject, switches=switches).decision
    if decision.verdict != "allow" or decision.log_reason != "ok":
        return False, False
    values = request_values(request, judge.model.defaults, now)
    assert isinstance(values, RequestValues)
    bearer = Bearer(is_anonymous=True)
    if subject is not None:
        wanted = frozenset(matcher.attribute for matcher in one.identity) | judge.evaluator.attributes
        bearer = Bearer(bearer_values(wanted, subject.certificate, subject.issuer, subject.lists))
    return True, one.forbids(bearer, values, switches)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents(), st.data(), st.integers(0, 2**32))
def test_no_request_found_by_chance_breaks_what_was_found_to_hold(
    document: dict[str, Any], data: st.DataObject, seed: int
) -> None:
    document["rules"].append({"id": "last", "effect": "allow", "who": data.draw(identities())})
    judge = policy_of(document)
    drawn = data.draw(statements(tuple(document["identities"])))
    is_guarded: bool = data.draw(st.booleans())
    guarded = {key: value for key, value in drawn["never_allow"].items() if key in ("path", "method", "header")}
    if guarded and is_guarded:
        document["rules"].append({"id": "guard", "effect": "deny", "request": guarded})
    report = Report()
    found = read_cases(json.dumps({"kind": "tests", "invariants": [drawn]}).encode(), "t.yaml", judge.model, report)
    assert found is not None
    assume(not report.errors and found.invariants)
    (one,) = found.invariants
    outcome = Search(judge, [one], NOW).look_for(one)
    event("broken" if outcome.witness else "holds")
    if outcome.witness:
        return
    assert outcome.is_proved
    random = Random(seed)
    asked = [breaks(judge, one, random) for _ in range(300)]
    event(f"{min(5, sum(allowed for allowed, _ in asked))} or more were allowed")
    assert not any(broken for _, broken in asked)
