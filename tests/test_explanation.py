"""Explanations: every gate, every rule, what decided, and what was least far from an allow."""

from __future__ import annotations

from typing import Any

from spoa.explanation import Explanation, explain, questions
from spoa.facts import ABSENT, Request
from spoa.policy.model import Reason
from spoa.revocation.crl import read_crl
from tests.pki import CA
from tests.policies import HEAD, NOW, holder, policy

RULES = """
defaults: {no_certificate: anonymous}
break_glass: {incident: {max_duration: 1h, ticket: x}}
identities: {staff: {issuer: corp, ou: [staff, admins]}, sre: {issuer: corp, ou: sre, cn: "oncall-*"}}
rules:
  - {id: admin, effect: require, request: {path: "/admin/**"}, who: {issuer: corp, ou: admins}}
  - {id: frozen, effect: require, request: {path: /frozen}, when: {source: 10.0.0.0/8}, overridable_by: incident}
  - {id: gone, effect: deny, request: {path: /gone}, status: 410, reason: long_gone}
  - {id: lane, effect: deny, request: {path: "/lane/**"}, unless: {method: GET, who: sre}}
  - {id: staff, effect: allow, who: staff, request: {path: "/**"}}
  - {id: incident, effect: allow, who: sre, active_during: incident}
  - {id: open, effect: allow, who: [anonymous, sre], request: {path: /open}}
  - {id: dark, effect: deny, request: {path: /dark}, mode: shadow, shadow_until: 2999-01-01}
routes:
  - {request: {path: /lane/x}, backend: lane}
  - {who: staff, backend: main}
"""


def told(subject: Any, path: Any = "/", *, rules: str = RULES, **given: Any) -> Explanation:
    request = Request(cert=ABSENT, used=False, method="GET", path=path)
    return explain(policy(HEAD + rules), request, NOW, subject=subject, **given)


def outcomes(explanation: Explanation) -> dict[str, str]:
    return {view.rule.id: view.outcome for view in explanation.rules}


def sentence(explanation: Explanation) -> str:
    assert explanation.nearest is not None
    return explanation.nearest.sentence


class TestRules:
    def test_an_allow_names_rule_identity_and_route(self) -> None:
        found = told(holder(ou="staff"))
        assert (found.verdict, found.status, found.reason, found.rule) == ("allow", 200, "ok", "staff")
        assert (found.identity, found.route, found.nearest) == ("staff", "main", None)
        assert found.decisive is not None
        assert found.decisive.rule.id == "staff"

    def test_every_rule_says_what_came_of_it(self) -> None:
        found = told(holder("oncall-1", ["admins", "sre"]), "/lane/x")
        assert outcomes(found) == {
            "admin": "not_matched",
            "frozen": "not_matched",
            "gone": "not_matched",
            "lane": "excepted",
            "staff": "allows",
            "incident": "not_in_force",
            "open": "not_matched",
            "dark": "not_matched",
        }
        assert outcomes(told(holder(ou="admins"), "/admin"))["admin"] == "met"
        assert told(holder("oncall-1", ["admins", "sre"]), "/lane/x").route == "lane"

    def test_a_rule_brings_its_own_reason_and_status(self) -> None:
        found = told(holder(ou="staff"), "/gone")
        assert (found.verdict, found.status, found.reason, found.rule, found.route) == (
            "deny",
            410,
            "long_gone",
            "gone",
            "",
        )

    def test_a_shadow_rule_shows(self) -> None:
        found = told(holder(ou="staff"), "/dark")
        assert (found.verdict, found.shadow, outcomes(found)["dark"]) == ("allow", "deny", "denies")

    def test_shadow_mode_softens_and_names_what_would_have_decided(self) -> None:
        rules = RULES.replace("defaults: {", "defaults: {mode: shadow, ")
        found = told(holder(ou="staff"), "/gone", rules=rules)
        assert (found.verdict, found.status, found.reason, found.rule) == ("allow", 200, "ok", "")
        assert (found.shadow, found.route) == ("deny", "main")
        assert found.decisive is not None
        assert found.decisive.rule.id == "gone"

    def test_a_check_shows_what_was_wanted_and_what_was_seen(self) -> None:
        view = next(view for view in told(holder(ou="staff"), "/admin").rules if view.rule.id == "admin")
        shown = [
            (check.question.part, check.question.key, check.wanted, check.seen, check.holds) for check in view.checks
        ]
        assert shown == [
            ("who", "issuer", "corp", "corp", True),
            ("who", "ou", "admins", "staff", False),
            ("request", "path", "/admin/**", "/admin", True),
        ]

    def test_nobody_has_no_attributes(self) -> None:
        found = told(None, "/open")
        assert found.verdict == "allow"
        view = next(view for view in found.rules if view.rule.id == "open")
        assert {check.seen for check in view.checks if check.question.part == "who"} == {"no certificate"}
        assert [check.holds for check in view.checks] == [True, False, False, False, True]

    def test_everything_that_a_rule_asks_is_a_question(self) -> None:
        model = policy(HEAD + RULES).model
        lane = next(rule for rule in model.rules if rule.id == "lane")
        assert [(one.part, one.identity, one.key, one.generous) for one in questions(lane)] == [
            ("request", "", "path", True),
            ("unless", "sre", "issuer", False),
            ("unless", "sre", "ou", False),
            ("unless", "sre", "cn", False),
            ("unless", "", "method", False),
        ]


class TestNearestMiss:
    def test_the_allow_with_the_fewest_failing_matchers(self) -> None:
        found = told(holder(ou="other"), "/x")
        assert sentence(found) == "would be allowed by staff with ou = staff | admins"

    def test_the_one_rule_that_refuses(self) -> None:
        assert sentence(told(holder(ou="staff"), "/admin")) == (
            "would be allowed, since admin alone refuses, with ou = admins"
        )

    def test_one_of_several_obstacles(self) -> None:
        assert sentence(told(holder(ou="other"), "/frozen")) == (
            "would be allowed with source = 10.0.0.0/8 or the switch incident open (frozen) "
            "and ou = staff | admins (staff)"
        )

    def test_a_deny_by_its_exception(self) -> None:
        found = told(holder(ou=["staff", "sre"]), "/lane/y")
        assert sentence(found) == "would be allowed, since lane alone refuses, with cn = oncall-*"

    def test_a_deny_without_exception_has_none(self) -> None:
        assert told(holder(ou="staff"), "/gone").nearest is None

    def test_a_switch_that_would_do(self) -> None:
        rules = RULES.replace("[anonymous, sre]", "anonymous")
        found = told(holder("oncall-1", "sre"), "/x", rules=rules)
        assert sentence(found) == "rule incident would allow while the switch incident is open"

    def test_a_switch_beside_what_is_missing(self) -> None:
        only = RULES.partition("rules:")[0] + (
            "rules: [{id: i, effect: allow, who: sre, active_during: incident},"
            "{id: s, effect: deny, request: {path: /s}, unless: {who: staff}}]"
        )
        found = told(holder(ou="sre"), "/x", rules=only)
        assert sentence(found) == "would be allowed by i with cn = oncall-*, while the switch incident is open"

    def test_no_rule_could_allow(self) -> None:
        assert told(holder(), rules="rules: [{id: d, effect: deny, request: {path: /x}}]").nearest is None


class TestGates:
    def test_the_gates_after_the_first_failing_one_are_not_asked(self) -> None:
        found = told(holder(ou="staff"), "/a//b")
        assert (found.verdict, found.status, found.reason, found.rule) == ("deny", 400, "path_not_canonical", "")
        assert (found.rules, found.nearest) == ((), None)
        passed = {str(gate.reason): gate.passed for gate in found.gates}
        assert (passed["malformed_message"], passed["path_not_canonical"], passed["sni_mismatch"]) == (
            True,
            False,
            None,
        )

    def test_an_anonymous_request_passes_by_what_is_about_certificates(self) -> None:
        passed = {str(gate.reason): gate.passed for gate in told(None, "/open").gates}
        assert (passed["no_certificate"], passed["certificate_expired"], passed["certificate_revoked"]) == (
            True,
            None,
            None,
        )

    def test_each_gate_of_a_certificate(self) -> None:
        plain = RULES.replace("defaults: {no_certificate: anonymous}", "")
        assert told(None, rules=plain).reason == "no_certificate"
        assert told(holder(issuer="other")).reason == "issuer_unknown"
        assert told(holder(not_before=NOW + 1)).reason == "certificate_not_yet_valid"
        assert told(holder(not_after=NOW - 1)).reason == "certificate_expired"
        assert told(holder(is_ca=True)).reason == "not_a_client_certificate"
        assert told(holder(), revocation="revoked").reason == "certificate_revoked"
        assert told(holder(ou="staff"), revocation="unknown").verdict == "allow"

    def test_an_unusable_clock_denies(self) -> None:
        judge = policy(HEAD + RULES)
        judge.clock_usable = False
        request = Request(cert=ABSENT, used=False, method="GET", path="/")
        assert explain(judge, request, NOW, subject=holder()).reason == "certificate_not_yet_valid"

    def test_a_message_that_breaks_the_contract(self) -> None:
        assert explain(policy(HEAD + RULES), Request(), NOW).reason == "malformed_message"

    def test_a_real_certificate_goes_the_whole_way(self) -> None:
        ca = CA("corp", now=NOW)
        judge = policy(HEAD + RULES, authorities={"corp": [ca.der]})
        request = Request(cert=ca.issue("x", ["staff"]).der, used=True, verify=0, method="GET", path="/")
        found = explain(judge, request, NOW)
        assert (found.verdict, found.subject.issuer if found.subject else "") == ("allow", "corp")
        request.cert = b"no certificate"
        unreadable = explain(judge, request, NOW)
        assert (unreadable.reason, unreadable.subject) == ("certificate_unparsable", None)
        assert "certificate not usable" in unreadable.detail


class TestRevocation:
    RULES = RULES.replace("defaults: {no_certificate: anonymous}", "")
    HEAD = HEAD.replace('{none: "a test"}', "{crl: {files: x.crl}}", 1)

    def explained(self, crls: Any, **given: Any) -> tuple[Explanation, Any]:
        """Return the explanation by evidence and the judgement by the same."""
        ca = CA("corp", now=NOW)
        alice = ca.issue("x", ["staff"])
        judge = policy(self.HEAD + self.RULES, authorities={"corp": [ca.der]}).with_crls({"corp": crls(ca, alice)})
        request = Request(cert=alice.der, used=True, verify=0, method="GET", path="/", sni=ABSENT)
        return explain(judge, request, NOW, revocation="", **given), judge.judge(request, NOW)

    def test_the_evidence_is_asked_where_nobody_says_what_it_says(self) -> None:
        def good(ca: CA, _: Any) -> Any:
            return (read_crl(ca.crl(next_update=NOW + 60)),)

        def revoked(ca: CA, alice: Any) -> Any:
            ca.revoke(alice, "keyCompromise")
            return good(ca, alice)

        for crls, reason in ((good, "ok"), (revoked, "certificate_revoked"), (lambda *_: (), "revocation_not_loaded")):
            found, judgement = self.explained(crls)
            assert found.reason == judgement.decision.reason == reason
            assert found.revocation == judgement.revocation
            assert found.assured is not None
            assert found.assured.state == found.revocation
            shown = next(gate.seen for gate in found.gates if gate.reason == "certificate_revoked")
            assert shown.startswith(found.revocation)

    def test_nothing_is_asked_about_a_certificate_that_is_given_as_what_it_says(self) -> None:
        found = explain(
            policy(self.HEAD + self.RULES), Request(method="GET", path="/"), NOW, subject=holder(), revocation=""
        )
        assert (found.reason, found.revocation, found.assured) == ("revocation_not_loaded", "not_loaded", None)

    def test_an_issuer_that_checks_nothing_passes(self) -> None:
        found = explain(
            policy(HEAD + self.RULES), Request(method="GET", path="/"), NOW, subject=holder(ou="staff"), revocation=""
        )
        assert (found.reason, found.revocation) == ("ok", "not_checked")


def test_an_issuer_without_revocation_is_not_said_to_have_found_a_certificate_good() -> None:
    unchecked = policy(HEAD + "rules: [{id: a, effect: allow, who: any_certificate}]")
    request = Request(cert=ABSENT, used=False, method="GET", path="/x")
    found = explain(unchecked, request, NOW, subject=holder())
    (gate,) = [one for one in found.gates if one.reason is Reason.CERTIFICATE_REVOKED]
    assert (found.verdict, found.revocation, gate.seen) == ("allow", "not_checked", "not_checked")
    assert explain(unchecked, request, NOW, subject=holder(), revocation="revoked").reason == "certificate_revoked"
