"""What a certificate may reach is what is allowed to it, no more and no less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.listindex import NEVER
from spoa.policy.model import Bearer, RequestValues
from spoa.policy.path import canonical_path
from spoa.reach import OTHER_METHODS, Methods, Reach, reach_of
from tests.drawn import HOLDERS, OPEN, TIMES, documents, facts_of, policy_of, requests
from tests.policies import HEAD, NOW, holder, model, policy

if TYPE_CHECKING:
    from spoa.authorizer import Subject

RULES = """
break_glass: {incident: {max_duration: 1h, ticket: x}}
lists: {docks: {file: d.txt}, yard: {file: y.txt}}
identities: {staff: {issuer: corp, ou: [staff, admins]}, listed: {issuer: corp, in_list: [docks, yard]}}
rules:
  - {id: staff, effect: allow, who: staff}
  - {id: admin, effect: require, request: {path: "/admin/**"}, who: {issuer: corp, ou: admins}}
  - {id: office, effect: require, request: {path: "/office/**"}, when: {source: 10.0.0.0/8}, overridable_by: incident}
  - {id: gone, effect: deny, request: {path: /gone}}
  - {id: frozen, effect: deny, request: {path: "/lane/**", method: write}, unless: {method: POST, source: 10.0.0.0/8}}
  - {id: lane, effect: allow, who: {issuer: corp, cn: lane}, request: {path: ["/lane/**", /gone], method: [GET, POST]}}
  - {id: dock, effect: allow, who: listed, request: {path: /scan, method: POST, host: a.example}}
  - {id: other, effect: deny, request: {path: /scan, host: b.example}}
  - {id: glass, effect: allow, who: {issuer: corp, cn: sre}, active_during: incident, request: {path: /x}}
  - {id: void, effect: allow, who: {issuer: corp, cn: void}, request: {path: [/gone, /admin/x]}}
  - {id: dark, effect: deny, mode: shadow, shadow_until: 2999-01-01}
"""


def reach(subject: Subject | None, rules: str = RULES, **given: Any) -> Reach:
    judge = policy(HEAD + rules)
    bearer = Bearer(is_anonymous=True) if subject is None else judge.bearer(subject, NOW)
    return reach_of(judge, bearer, **given)


def told(found: Reach) -> list[tuple[str, str, str, list[str]]]:
    """Return rule, paths, methods and the rules that limit, of each grant."""
    return [
        (
            grant.rule.id,
            " ".join(map(str, grant.paths)),
            "any" if OTHER_METHODS in grant.methods else " ".join(grant.methods),
            [limit.rule.id for limit in grant.limits],
        )
        for grant in found.grants
    ]


def test_a_rule_without_conditions_grants_all_but_what_others_take() -> None:
    found = reach(holder(ou="admins"))
    assert found.identities == ("staff",)
    assert told(found) == [
        ("staff", "/**", "GET HEAD OPTIONS", ["office", "gone", "other"]),
        ("staff", "/**", "any", ["office", "gone", "frozen", "other"]),
        ("staff", "/**", "POST", ["office", "gone", "frozen", "other"]),
        ("staff", r"\*", "OPTIONS", []),
    ]


def test_what_the_switch_lifts_that_an_allow_waits_for_is_no_limit_to_it() -> None:
    subject, rules = holder("sre"), RULES.replace("request: {path: /x}}", 'request: {path: "/office/**"}}')
    assert told(reach(subject, rules)) == [("glass", "/office/**", "any", [])]
    always = rules.replace(", active_during: incident", "")
    assert told(reach(subject, always)) == [("glass", "/office/**", "any", ["office"])]


def test_each_path_and_method_has_what_is_left_of_it() -> None:
    found = reach(holder("lane"))
    assert told(found) == [("lane", "/lane/**", "GET", []), ("lane", "/lane/**", "POST", ["frozen"])]
    (limit,) = found.grants[1].conditions
    assert limit.unless is not None
    assert [(one.key, str(one.patterns[0])) for one in limit.unless] == [("source", "10.0.0.0/8")]


def test_an_allow_that_others_take_whole_is_void() -> None:
    found = reach(holder("void"))
    assert found.grants == ()
    assert [(rule.id, [one.id for one in by]) for rule, by in found.void] == [("void", ["gone", "admin"])]


def test_a_limit_about_another_host_says_nothing() -> None:
    (grant,) = reach(holder(lists={"docks": True, "yard": False})).grants
    assert (grant.identities, grant.limits, [one.key for one in grant.needs]) == (("listed",), (), ["host"])


def test_a_grant_ends_with_the_certificate_or_the_entry_on_the_list() -> None:
    subject = holder(lists={"docks": True, "yard": True})
    ends = {"docks": NOW + 1, "yard": NOW + 2}
    assert [one.until for one in reach(subject, until=NOW + 9, lists=ends).grants] == [NOW + 2]
    assert [one.until for one in reach(subject, until=NOW, lists=ends).grants] == [NOW]
    assert [one.until for one in reach(subject).grants] == [NEVER]
    assert [one.until for one in reach(holder("sre"), until=NOW).grants] == [NOW]
    several = (
        "lists: {docks: {file: d.txt}}\nidentities: {dock: [{issuer: corp, in_list: docks}, {issuer: corp, ou: b}]}\n"
    )
    rules = several + "rules: [{id: a, effect: allow, who: dock}]"
    assert reach(holder(lists={"docks": True}), rules, lists={"docks": NOW + 1}).grants[0].until == NOW + 1
    assert reach(holder(ou="b", lists={"docks": True}), rules, lists={"docks": NOW + 1}).grants[0].until == NEVER


def test_a_switch_arms_or_lifts() -> None:
    (grant,) = reach(holder("sre")).grants
    values = RequestValues({"path": (canonical_path("/x"),), "method": ("GET",)})
    assert [grant.admits(values, switches) for switches in (frozenset(), frozenset({"incident"}))] == [False, True]
    staff = reach(holder(ou="staff")).grants[0]
    office = RequestValues({"path": (canonical_path("/office"),), "method": ("GET",)})
    assert [staff.admits(office, switches) for switches in (frozenset(), frozenset({"incident"}))] == [False, True]


def test_what_isn_t_known_of_a_request_is_not_admitted() -> None:
    grant = reach(holder(ou="staff")).grants[0]
    assert not grant.admits(RequestValues({"method": ("GET",)}), frozenset())
    assert not grant.admits(RequestValues({"path": (canonical_path("/x"),)}), frozenset())


def test_nobody_reaches_what_is_for_nobody() -> None:
    head = "defaults: {no_certificate: anonymous}\n"
    rules = "rules: [{id: open, effect: allow, who: anonymous, request: {path: /x}}]"
    assert told(reach(None, head + rules)) == [("open", "/x", "any", [])]
    assert reach(None, "rules: [{id: all, effect: allow, who: any_certificate}]").grants == ()


def test_shadow_mode_is_told() -> None:
    assert reach(
        holder(), "defaults: {mode: shadow}\nrules: [{id: all, effect: allow, who: any_certificate}]"
    ).is_shadow


def test_methods_are_told_apart_as_rules_tell_them() -> None:
    rules = (
        'rules: [{id: d, effect: deny, request: {method: [purge, GET, write]}, unless: {method: X, source: "::/0"}}]'
    )
    methods = Methods(model(HEAD + rules))
    assert [methods.class_of(one) for one in ("GET", "purge", "x", "BREW")] == ["GET", "purge", "x", OTHER_METHODS]
    assert methods.class_of("gEt") == methods.class_of("get") == "get"
    assert methods.class_of("PURGE") not in {"purge", OTHER_METHODS}


FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@FEW
@given(
    documents(),
    st.lists(st.tuples(HOLDERS, st.lists(requests(), min_size=2, max_size=6), TIMES, OPEN), min_size=2, max_size=4),
)
def test_a_request_is_allowed_exactly_where_a_grant_admits_it(
    document: dict[str, Any], asked: list[tuple[Subject | None, list[Request], int, frozenset[str]]]
) -> None:
    judge = policy_of(document)
    for subject, some, now, switches in asked:
        for request in some:
            request.path = ABSENT if request.method == "OPTIONS" and request.path is UNAVAILABLE else request.path
            found = facts_of(judge, subject, request, now)
            if found is None or not {"path", "method"} <= found[1].values.keys() or request.method is UNAVAILABLE:
                continue
            bearer, values = found
            decision = judge.evaluator.decide(judge.evaluator.table.who(bearer), values, "", switches)
            admitted = [grant for grant in reach_of(judge, bearer).grants if grant.admits(values, switches)]
            event(f"{decision.log_reason} {bool(admitted)}")
            assert bool(admitted) is (decision.log_reason == "ok")
            if admitted:
                assert admitted[0].rule.id == decision.log_rule
