"""Decisions: deny overrides, one allow is needed, routes come last; shadows and switches; all that is reported."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from spoa.facts import ABSENT, UNAVAILABLE
from spoa.policy.evaluator import Evaluator, evaluator_steps
from spoa.policy.model import Bearer, Reason, RequestValues
from tests.policies import HEAD, NOW, ask, holder, judge, model, policy

ALICE = holder("alice", "administrators")
BOB = holder("bob", "staff")
EVIL = holder("alice", "administrators", issuer="partners")

EVERYONE = "- {id: everyone, effect: allow, who: any_certificate}\n"


def rules(*texts: str, head: str = HEAD, tail: str = "") -> Any:
    return policy(head + "rules:\n" + "\n".join(texts) + "\n" + tail)


def outcome(decision: Any) -> tuple[str, int, str, str]:
    return decision.verdict, decision.status, decision.reason, decision.rule


# -- deny overrides ---------------------------------------------------------------------------------------------


def test_without_a_rule_nothing_is_allowed() -> None:
    assert outcome(ask(policy(HEAD), ALICE)) == ("deny", 403, "no_rule_allows", "")


def test_an_allow_that_matches_allows_and_is_named() -> None:
    own = rules("- {id: admins, effect: allow, who: {issuer: corp, ou: administrators}}")
    assert outcome(ask(own, ALICE)) == ("allow", 200, "ok", "admins")
    assert outcome(ask(own, BOB)) == ("deny", 403, "no_rule_allows", "")


def test_an_identity_is_bound_to_its_issuer() -> None:
    own = rules("- {id: admins, effect: allow, who: {issuer: corp, ou: administrators}}")
    assert ask(own, EVIL).verdict == "deny"
    either = rules("- {id: admins, effect: allow, who: {issuer: [corp, partners], ou: administrators}}")
    assert ask(either, EVIL).verdict == "allow"


def test_a_matching_deny_overrides_every_allow_wherever_it_stands() -> None:
    deny = "- {id: no, effect: deny, request: {path: /x}}"
    for order in itertools.permutations([deny, EVERYONE.strip(), "- {id: b, effect: allow, who: any_certificate}"]):
        own = rules(*order)
        assert outcome(ask(own, ALICE, path="/x")) == ("deny", 403, "denied_by_rule", "no")
        assert ask(own, ALICE, path="/y").verdict == "allow"


def test_an_unmet_requirement_denies_and_a_met_one_allows_nothing_by_itself() -> None:
    need = "- {id: need, effect: require, request: {path: /x}, who: {issuer: corp, ou: administrators}}"
    own = rules(need, EVERYONE)
    assert outcome(ask(own, BOB, path="/x")) == ("deny", 403, "requirement_not_met", "need")
    assert outcome(ask(own, ALICE, path="/x")) == ("allow", 200, "ok", "everyone")
    assert outcome(ask(own, BOB, path="/y")) == ("allow", 200, "ok", "everyone")
    assert outcome(ask(rules(need), ALICE, path="/x")) == ("deny", 403, "no_rule_allows", "")


INSIDE = bytes([10, 0, 0, 1])
OUTSIDE = bytes([192, 0, 2, 1])


@pytest.mark.parametrize(
    ("who", "source", "verdict"),
    [(ALICE, INSIDE, "allow"), (ALICE, OUTSIDE, "deny"), (BOB, INSIDE, "deny"), (BOB, OUTSIDE, "deny")],
)
def test_a_requirement_with_who_and_when_needs_both(who: Any, source: bytes, verdict: str) -> None:
    own = rules(
        "- {id: need, effect: require, request: {path: /x}, who: {issuer: corp, ou: administrators},"
        " when: {source: 10.0.0.0/8}}",
        EVERYONE,
    )
    assert ask(own, who, path="/x", source=source).verdict == verdict
    assert ask(own, who, path="/y", source=source).verdict == "allow"


def test_a_requirement_with_when_alone_asks_nobody_who_they_are() -> None:
    own = rules("- {id: need, effect: require, request: {path: /x}, when: {source: 10.0.0.0/8}}", EVERYONE)
    assert ask(own, BOB, path="/x", source=INSIDE).verdict == "allow"
    assert ask(own, BOB, path="/x", source=OUTSIDE).verdict == "deny"
    assert ask(own, BOB, path="/x").rule == "need"  # not sent: unavailable


def test_a_deny_needs_all_of_its_parts() -> None:
    own = rules(
        "- {id: no, effect: deny, who: {issuer: corp, ou: staff}, request: {path: /x, method: write},"
        " when: {source: 10.0.0.0/8}}",
        EVERYONE,
    )
    assert ask(own, BOB, "POST", "/x", source=INSIDE).rule == "no"
    for who, method, path, source in (
        (ALICE, "POST", "/x", INSIDE),
        (BOB, "GET", "/x", INSIDE),
        (BOB, "POST", "/y", INSIDE),
        (BOB, "POST", "/x", OUTSIDE),
    ):
        assert ask(own, who, method, path, source=source).verdict == "allow"


@pytest.mark.parametrize(
    ("unless", "request_", "denied"),
    [
        ("{path: '/a/**'}", {"path": "/a/x"}, False),
        ("{path: '/a/**'}", {"path": "/A/x"}, True),  # an exception grants: strictly
        ("{path: '/a/**'}", {"path": "/b"}, True),
        ("{path: '/a/**', method: GET}", {"path": "/a", "method": "GET"}, False),
        ("{path: '/a/**', method: GET}", {"path": "/a", "method": "POST"}, True),
        ("{source: 10.0.0.0/8}", {"source": INSIDE}, False),
        ("{source: 10.0.0.0/8}", {"source": OUTSIDE}, True),
        ("{source: 10.0.0.0/8}", {}, True),
        ("{who: {issuer: corp, cn: bob}}", {}, False),
        ("{who: {issuer: corp, cn: carol}}", {}, True),
        ("{who: {issuer: corp, cn: bob}, path: /a}", {"path": "/a"}, False),
        ("{who: {issuer: corp, cn: bob}, path: /a}", {"path": "/b"}, True),
        ("{header: {x-break: glass}}", {"headers": {"x-break": "glass"}}, False),
        ("{header: {x-break: glass}}", {"headers": {"x-break": UNAVAILABLE}}, True),
        ("{time: {tz: UTC, hours: '09:00-10:00'}}", {}, False),
        ("{tls: TLSv1.3}", {"tls": "TLSv1.2"}, True),
    ],
)
def test_unless_is_a_flat_exception_to_a_deny(unless: str, request_: dict[str, Any], denied: bool) -> None:
    own = rules(f"- {{id: no, effect: deny, unless: {unless}}}", EVERYONE)
    assert (ask(own, BOB, **request_).rule == "no") is denied


# -- what is reported -------------------------------------------------------------------------------------------


def test_the_first_deciding_rule_in_file_order_is_named_and_all_are_listed() -> None:
    own = rules(
        EVERYONE,
        "- {id: need, effect: require, request: {path: /x}, who: {issuer: partners}, status: 404, reason: not_there}",
        "- {id: no, effect: deny, request: {path: /x}, status: 405}",
        "- {id: other, effect: deny, request: {path: /y}}",
    )
    decision = ask(own, ALICE, path="/x")
    assert outcome(decision) == ("deny", 404, "not_there", "need")
    assert decision.rules == ("everyone", "need", "no")
    assert ask(own, ALICE, path="/z").rules == ("everyone",)


def test_files_are_one_policy_in_byte_order_of_their_names() -> None:
    first = HEAD + "rules: [{id: zz, effect: deny, request: {path: /x}}]"
    second = "apiVersion: authz/v1\nrules: [{id: aa, effect: deny, request: {path: /x}, status: 404}]"
    assert ask(policy(first, second), ALICE, path="/x").rule == "zz"
    assert ask(policy(first, second), ALICE, path="/x").rules == ("zz", "aa")


def test_the_reported_allow_is_the_first_one() -> None:
    own = rules("- {id: one, effect: allow, who: {issuer: corp, cn: bob}}", EVERYONE)
    assert ask(own, BOB).rule == "one"
    assert ask(own, ALICE).rule == "everyone"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 429, 503])
def test_a_rule_brings_its_status_and_else_the_default_holds(status: int) -> None:
    head = HEAD + f"defaults: {{deny_status: {status}}}\n"
    own = rules("- {id: a, effect: deny, request: {path: /a}}", head=head)
    assert ask(own, ALICE, path="/a").status == status
    assert ask(own, ALICE, path="/b").status == status
    assert ask(own, ALICE, path="//").status == 400
    ruled = rules(f"- {{id: a, effect: deny, request: {{path: /a}}, status: {status}}}")
    assert ask(ruled, ALICE, path="/a").status == status
    assert ask(ruled, ALICE, path="/b").status == 403


# -- identity and routes ----------------------------------------------------------------------------------------

NAMED = """
identities:
  admins: {issuer: corp, ou: administrators}
  bob: {issuer: corp, cn: bob}
  everybody: [{issuer: corp, cn: "*"}, {issuer: partners, cn: "*"}]
  both: {issuer: corp, ou: {all_of: [staff, administrators]}}
"""
USES = "- {id: all, effect: allow, who: [bob, both, admins, everybody]}"


@pytest.mark.parametrize(
    ("who", "identity"),
    [
        (ALICE, "admins"),
        (BOB, "bob"),
        (EVIL, "everybody"),
        (holder("carol"), "everybody"),
        (holder("carol", "staff"), "everybody"),
        (holder("carol", "Administrators"), "everybody"),  # strictly
        (holder(), ""),
        (None, ""),
    ],
)
def test_the_identity_is_the_first_named_one_that_matches_strictly(who: Any, identity: str) -> None:
    own = rules(USES, "- {id: any, effect: allow, who: [any_certificate, anonymous]}", head=HEAD + NAMED)
    anonymous = rules(
        USES,
        "- {id: any, effect: allow, who: [any_certificate, anonymous]}",
        head=HEAD + NAMED + "defaults: {no_certificate: anonymous}\n",
    )
    assert ask(anonymous, who).identity == identity
    if who is not None:
        assert ask(own, who).identity == identity


BOTH = "identities: {both: {issuer: corp, ou: {all_of: [staff, administrators]}}}\n"


def test_all_of_means_every_value_and_at_least_one() -> None:
    own = rules("- {id: all, effect: allow, who: both}", head=HEAD + BOTH)
    for ous, verdict in (
        (["staff"], "allow"),
        (["staff", "administrators"], "allow"),
        (["staff", "finance"], "deny"),
        ([], "deny"),
    ):
        assert ask(own, holder("x", ous)).verdict == verdict


ROUTES = """
routes:
  - {who: {issuer: corp, ou: administrators}, request: {path: "/admin/**"}, backend: admin}
  - {request: {method: write}, backend: writes}
  - {who: {issuer: corp}, backend: main}
"""


def test_the_first_route_that_matches_strictly_is_returned_on_allow_only() -> None:
    own = rules(EVERYONE, "- {id: no, effect: deny, request: {path: /no}}", tail=ROUTES)
    assert ask(own, ALICE, path="/admin/x").route == "admin"
    assert ask(own, BOB, path="/admin/x").route == "main"
    assert ask(own, ALICE, "POST", "/x").route == "writes"
    assert ask(own, ALICE, "PROPFIND", "/x").route == "main"
    assert ask(own, ALICE, path="/ADMIN/x").route == "main"
    assert ask(own, EVIL, path="/x").route == ""
    assert ask(own, ALICE, path="/no").route == ""


# -- anonymous --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "somebody", "nobody"),
    [
        ("any_certificate", "allow", "deny"),
        ("anonymous", "deny", "allow"),
        ("[anonymous, any_certificate]", "allow", "allow"),
        ("{issuer: corp}", "allow", "deny"),
    ],
)
def test_anonymous_matches_only_requests_without_a_certificate(who: str, somebody: str, nobody: str) -> None:
    rule = f"- {{id: a, effect: allow, who: {who}}}"
    own = rules(rule, head=HEAD + "defaults: {no_certificate: anonymous}\n")
    assert ask(own, ALICE).verdict == somebody
    assert ask(own, None).verdict == nobody
    closed = rules(rule)
    assert ask(closed, None).reason == "no_certificate"


def test_a_deny_without_who_concerns_anonymous_requests_too() -> None:
    own = rules(
        "- {id: a, effect: allow, who: anonymous}",
        "- {id: no, effect: deny, request: {path: /x}}",
        "- {id: cert, effect: require, request: {path: /y}, who: any_certificate}",
        head=HEAD + "defaults: {no_certificate: anonymous}\n",
    )
    assert ask(own, None).verdict == "allow"
    assert ask(own, None, path="/x").rule == "no"
    assert ask(own, None, path="/y").rule == "cert"


# -- polarity ---------------------------------------------------------------------------------------------------

DENIES = [
    ("request: {path: '/admin/**'}", {"path": "/ADMIN/x"}),
    ("request: {path: '/admin/**'}", {"path": "/%EF%BD%81dmin"}),
    ("request: {path: '/admin'}", {"path": "/admin/"}),
    ("request: {path: {re: '/admin.*'}}", {"path": "/AdminX"}),
    ("request: {method: write}", {"method": "PROPFIND"}),
    ("request: {method: write}", {"method": "get"}),
    ("request: {method: POST}", {"method": "post"}),
    ("request: {host: a.example}", {}),
    ("request: {sni: a.example}", {"sni": UNAVAILABLE}),
    ("request: {header: {x: y}}", {}),
    ("request: {header: {X: y}}", {"headers": {"x": " Y "}}),
    ("when: {source: 10.0.0.0/8}", {}),
    ("when: {tls: TLSv1.2}", {}),
    ("who: {issuer: corp, cn: BOB}", {}),
    ("who: {issuer: corp, cn: {re: 'B.B'}}", {}),
]


@pytest.mark.parametrize(("what", "request_"), DENIES)
def test_what_takes_access_away_matches_generously(what: str, request_: dict[str, Any]) -> None:
    own = rules(f"- {{id: no, effect: deny, {what}}}", EVERYONE)
    assert ask(own, BOB, **request_).rule == "no"
    # The same words grant strictly, and so don't.
    allow = what if what.startswith("who") else f"who: any_certificate, {what}"
    granting = rules(f"- {{id: yes, effect: allow, {allow}}}")
    assert ask(granting, BOB, **request_).verdict == "deny"


NOT_DENIED = [
    ("request: {sni: a.example}", {"sni": ABSENT}),
    ("request: {header: {x: y}}", {"headers": {"x": ABSENT}}),
    ("who: {issuer: corp, o: acme}", {}),
    ("who: {issuer: corp, dns_san: a.example}", {}),
    ("request: {path: '/**'}", {"method": "OPTIONS", "path": ABSENT}),
]


@pytest.mark.parametrize(("what", "request_"), NOT_DENIED)
def test_what_is_absent_matches_nothing_even_generously(what: str, request_: dict[str, Any]) -> None:
    own = rules(f"- {{id: no, effect: deny, {what}}}", EVERYONE)
    assert ask(own, BOB, **request_).verdict == "allow"


def test_in_tcp_mode_restricting_http_matchers_match() -> None:
    for what in ("path: /x", "method: GET", "host: a.example", "header: {a: b}"):
        own = rules(f"- {{id: no, effect: deny, request: {{{what}}}}}", EVERYONE)
        assert ask(own, BOB, None, None).rule == "no"
    plain = rules("- {id: inside, effect: allow, who: {issuer: corp}, when: {source: 10.0.0.0/8}}")
    assert ask(plain, BOB, None, None, source=INSIDE).verdict == "allow"


def test_an_unusable_clock_makes_time_unavailable() -> None:
    window = "time: {tz: Europe/Paris, days: fri, hours: '10:00-11:00'}"
    granting = rules(f"- {{id: yes, effect: allow, who: [anonymous, any_certificate], when: {{{window}}}}}")
    restricting = rules(
        f"- {{id: no, effect: deny, when: {{{window}}}}}",
        "- {id: yes, effect: allow, who: [anonymous, any_certificate]}",
        head=HEAD + "defaults: {no_certificate: anonymous}\n",
    )
    assert ask(granting, BOB).verdict == "allow"
    assert judge(granting, BOB, now=NOW + 3600).decision.verdict == "deny"
    assert judge(restricting, None, now=NOW + 3600).decision.verdict == "allow"
    restricting.clock_usable = granting.clock_usable = False
    assert judge(restricting, None, now=NOW + 3600).decision.rule == "no"
    assert ask(granting, BOB).reason == "certificate_not_yet_valid"


# -- shadows ----------------------------------------------------------------------------------------------------

SHADOW = "mode: shadow, shadow_until: 2020-01-01"


def test_a_shadow_deny_is_told_and_changes_nothing_even_after_its_date() -> None:
    own = rules(f"- {{id: no, effect: deny, request: {{path: /x}}, {SHADOW}}}", EVERYONE)
    decision = ask(own, BOB, path="/x")
    assert outcome(decision) == ("allow", 200, "ok", "everyone")
    assert decision.shadow == "deny"
    assert decision.rules == ("no", "everyone")
    assert ask(own, BOB, path="/y").shadow == ""


def test_a_shadow_requirement_is_told_and_changes_nothing() -> None:
    own = rules(
        f"- {{id: need, effect: require, request: {{path: /x}}, who: {{issuer: partners}}, {SHADOW}}}", EVERYONE
    )
    assert ask(own, BOB, path="/x").verdict == "allow"
    assert ask(own, BOB, path="/x").shadow == "deny"
    assert ask(own, EVIL, path="/x").shadow == ""


def test_a_shadow_allow_grants_nothing() -> None:
    own = rules(f"- {{id: yes, effect: allow, who: any_certificate, {SHADOW}}}")
    decision = ask(own, BOB)
    assert outcome(decision) == ("deny", 403, "no_rule_allows", "")
    assert decision.rules == ("yes",)


IN_SHADOW = HEAD + "defaults: {mode: shadow, deny_status: 404}\n"


def test_shadow_mode_lets_pass_what_rules_would_deny_and_logs_why() -> None:
    own = rules(
        "- {id: no, effect: deny, request: {path: /no}, status: 405, reason: mine}",
        "- {id: some, effect: allow, who: {issuer: corp, cn: bob}}",
        head=IN_SHADOW,
        tail="routes: [{backend: main}]",
    )
    denied = ask(own, BOB, path="/no")
    assert outcome(denied) == ("allow", 200, "ok", "")
    assert (denied.shadow, denied.route, denied.log_reason, denied.log_rule) == ("deny", "main", "mine", "no")
    assert denied.rules == ("no", "some")
    nothing = ask(own, ALICE)
    assert outcome(nothing) == ("allow", 200, "ok", "")
    assert (nothing.shadow, nothing.log_reason, nothing.log_rule) == ("deny", "no_rule_allows", "")
    allowed = ask(own, BOB)
    assert outcome(allowed) == ("allow", 200, "ok", "some")
    assert (allowed.shadow, allowed.log_reason, allowed.log_rule) == ("", "ok", "some")


@pytest.mark.parametrize("reason", [one for one in Reason if one not in {"ok", "path_not_canonical"}])
def test_shadow_mode_softens_no_gate(reason: Reason) -> None:
    decision = policy(IN_SHADOW).deny(reason).decision
    assert outcome(decision) == ("deny", 404, str(reason), "")
    assert (decision.shadow, decision.identity, decision.route, decision.rules) == ("", "", "", ())


def test_shadow_mode_still_refuses_at_the_gates() -> None:
    own = policy(IN_SHADOW)
    assert outcome(ask(own, BOB, path="//")) == ("deny", 400, "path_not_canonical", "")
    assert ask(own, None).reason == "no_certificate"
    assert ask(own, holder("x", is_ca=True)).reason == "not_a_client_certificate"
    assert ask(own, BOB, malformed="x").reason == "malformed_message"


# -- break-glass ------------------------------------------------------------------------------------------------

SWITCHES = HEAD + 'break_glass: {incident: {max_duration: 2h, ticket: "INC-[0-9]+"}}\n'
OPEN = frozenset({"incident"})


def test_an_open_switch_lifts_what_it_may_and_arms_what_waits_for_it() -> None:
    own = rules(
        "- {id: no, effect: deny, request: {path: /x}, overridable_by: incident}",
        "- {id: never, effect: deny, request: {path: /y}}",
        "- {id: need, effect: require, request: {path: /z}, who: {issuer: partners}, overridable_by: incident}",
        "- {id: bob, effect: allow, who: {issuer: corp, cn: bob}}",
        "- {id: all, effect: allow, who: any_certificate, active_during: incident}",
        head=SWITCHES,
    )
    for path, closed, opened in (
        ("/x", "no", "bob"),
        ("/y", "never", "never"),
        ("/z", "need", "bob"),
        ("/", "bob", "bob"),
    ):
        assert ask(own, BOB, path=path).rule == closed
        assert ask(own, BOB, path=path, switches=OPEN).rule == opened
        assert ask(own, BOB, path=path, switches=frozenset({"other"})).rule == closed
    assert ask(own, ALICE).verdict == "deny"
    assert ask(own, ALICE, switches=OPEN).rule == "all"


def test_the_policys_own_switches_hold_unless_others_are_given() -> None:
    own = rules("- {id: all, effect: allow, who: any_certificate, active_during: incident}", head=SWITCHES)
    own.switches = OPEN
    assert ask(own, ALICE).rule == "all"
    assert ask(own, ALICE, switches=frozenset()).verdict == "deny"


# -- memory -----------------------------------------------------------------------------------------------------


def test_equal_answers_are_one_decision_and_one_tally() -> None:
    own = rules(EVERYONE, tail="routes: [{request: {path: /x}, backend: x}]")
    first, again = ask(own, ALICE, path="/a"), ask(own, BOB, path="/b")
    assert first is again
    routed = ask(own, ALICE, path="/x")
    assert routed is not first
    assert routed.tally is first.tally
    first.tally.count += 2
    assert [(tally.rule, tally.count) for tally in own.tallies()] == [("everyone", 2)]
    assert own.deny(Reason.WEAK_KEY).decision is own.deny(Reason.WEAK_KEY).decision


@pytest.mark.interpreted
def test_past_what_is_remembered_decisions_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.policy.evaluator.REMEMBERED", 1)
    own = rules(EVERYONE, "- {id: no, effect: deny, request: {path: /x}}")
    assert ask(own, ALICE) is ask(own, ALICE)
    assert ask(own, ALICE, path="/x") is not ask(own, ALICE, path="/x")
    assert outcome(ask(own, ALICE, path="/x")) == ("deny", 403, "denied_by_rule", "no")


def test_it_knows_what_it_reads() -> None:
    own = Evaluator.of(
        model(
            HEAD,
            "identities: {a: {issuer: corp, cn: x, dns_san: y.z}}\n"
            "rules:\n"
            "- {id: a, effect: allow, who: a, request: {path: /x, header: {X-A: b}}, when: {tls: TLSv1.3}}\n"
            "- {id: b, effect: deny, unless: {who: {issuer: any, email_san: a@b}, sni: a.b}}\n"
            "- {id: c, effect: deny, request: {host: a.b}, when: {time: {tz: UTC, days: mon}}}\n",
        )
    )
    assert own.arguments == {"path", "method", "hdr.x-a", "hdrcnt.x-a", "tls", "sni", "host"}
    assert own.attributes == {"issuer", "subject:2.5.4.3", "dns_san", "email_san"}


def test_a_large_policy_is_made_ready_in_steps() -> None:
    many = HEAD + "rules:\n" + "".join(f"- {{id: r{n}, effect: deny, request: {{path: /p{n}}}}}\n" for n in range(100))
    steps = list(evaluator_steps(model(many)))
    assert steps[:-1] == [None] * (len(steps) - 1)
    assert len(steps) > 3
    evaluator = steps[-1]
    assert evaluator is not None
    assert evaluator.decide(evaluator.table.who(Bearer()), RequestValues({}), "", frozenset()).rule == "r0"
    assert evaluator.identity(Bearer()) == ""
