from __future__ import annotations

from spoa.coverage import Coverage
from spoa.facts import ABSENT, Request
from tests.policies import HEAD, NOW, holder, policy

RULES = """
break_glass: {incident: {max_duration: 1h, ticket: x}}
rules:
  - {id: a, effect: allow, who: {issuer: corp, ou: x}, request: {path: /a}}
  - {id: b, effect: deny, who: any_certificate, request: {path: /b}, overridable_by: incident}
"""


def request(path: str) -> Request:
    return Request(cert=ABSENT, used=False, method="GET", path=path)


def test_nothing_is_covered_before_anything_was_seen() -> None:
    coverage = Coverage(policy(HEAD + RULES))
    assert (coverage.covered, coverage.total, coverage.percent) == (0, 12, 0)
    assert len(list(coverage.gaps())) == 12


def test_both_outcomes_of_everything_are_counted() -> None:
    coverage = Coverage(policy(HEAD + RULES))
    coverage.see(request("/a"), NOW, subject=holder(ou="x"))
    coverage.see(request("/b"), NOW, subject=holder(ou="y"))
    assert [str(gap) for gap in coverage.gaps()] == ["0.yaml:9 a: who: issuer = corp never failed"]
    coverage.see(request("/a"), NOW, subject=holder(ou="x", issuer="partners"))
    assert (coverage.percent, list(coverage.gaps())) == (100, [])


def test_a_rule_that_a_switch_lifts_is_not_seen_to_match() -> None:
    coverage = Coverage(policy(HEAD + RULES))
    coverage.see(request("/b"), NOW, subject=holder(ou="y"), switches=frozenset({"incident"}))
    gaps = [str(gap) for gap in coverage.gaps()]
    assert "0.yaml:10 b: never matched" in gaps
    assert "0.yaml:10 b: never left unmatched" in gaps


def test_what_can_never_be_otherwise_is_not_asked_for() -> None:
    one = HEAD.partition("  partners")[0]
    coverage = Coverage(policy(one + "rules: [{id: a, effect: allow, who: {issuer: corp}}]"))
    assert coverage.total == 2
    words = "rules: [{id: a, effect: allow, who: [anonymous, any_certificate]}]"
    assert Coverage(policy(HEAD + words)).total == 2
    both = Coverage(policy(HEAD + "defaults: {no_certificate: anonymous}\n" + words))
    assert both.total == 6
    assert str(next(gap for gap in both.gaps() if gap.what)) == "0.yaml:7 a: who: any_certificate never held"


def test_a_policy_without_rules_is_covered() -> None:
    assert Coverage(policy(HEAD + "rules: []")).percent == 100
