"""What rules ask: every question in order, with the polarity of its position, and the answer in words."""

from __future__ import annotations

from spoa.facts import UNAVAILABLE
from spoa.policy.conditions import MethodPattern
from spoa.policy.model import Bearer, RequestValues
from spoa.questions import RuleView, questions
from tests.policies import HEAD, NOW, holder, policy

JUDGE = policy(
    HEAD
    + """
defaults: {no_certificate: anonymous}
identities: {sre: {issuer: corp, ou: sre, cn: "oncall-*"}}
rules:
  - {id: lane, effect: deny, request: {path: "/lane/**"}, unless: {method: GET, who: sre}}
  - {id: need, effect: require, request: {method: POST}, who: sre, when: {source: 10.0.0.0/8}}
  - {id: open, effect: allow, who: [anonymous, any_certificate, sre]}
"""
)
LANE, NEED, OPEN = JUDGE.model.rules


def test_everything_that_a_rule_asks_is_a_question() -> None:
    assert [(one.part, one.identity, one.key, one.generous) for one in questions(LANE)] == [
        ("request", "", "path", True),
        ("unless", "sre", "issuer", False),
        ("unless", "sre", "ou", False),
        ("unless", "sre", "cn", False),
        ("unless", "", "method", False),
    ]
    assert [(one.part, one.key, one.generous) for one in questions(NEED)] == [
        ("who", "issuer", False),
        ("who", "ou", False),
        ("who", "cn", False),
        ("request", "method", True),
        ("when", "source", False),
    ]


def test_words_are_questions_too() -> None:
    nobody, request = Bearer(is_anonymous=True), RequestValues({})
    found = [question.ask(nobody, request) for question in questions(OPEN)]
    assert [(check.wanted, check.holds, check.seen) for check in found[:3]] == [
        ("any_certificate", False, "no certificate"),
        ("anonymous", True, "no certificate"),
        ("corp", False, "no certificate"),
    ]


def test_what_is_unavailable_holds_where_it_restricts() -> None:
    bearer = JUDGE.bearer(holder("oncall-1", "sre"), NOW)
    found = [question.ask(bearer, RequestValues({"method": UNAVAILABLE})) for question in questions(NEED)]
    assert [(check.question.key, check.holds, check.seen) for check in found] == [
        ("issuer", True, "corp"),
        ("ou", True, "sre"),
        ("cn", True, "oncall-1"),
        ("method", True, "unavailable"),
        ("source", False, "unavailable"),
    ]


def test_a_view_tells_whether_its_rule_refuses() -> None:
    outcomes = ("denies", "not_met", "met", "excepted", "not_matched")
    refusing = [outcome for outcome in outcomes if RuleView(LANE, outcome, applies=True, checks=()).refuses]
    assert refusing == ["denies", "not_met"]


def test_the_same_can_be_asked_otherwise_and_is_not_met() -> None:
    (method,) = [one for one in questions(NEED) if one.key == "method"]
    check = method.ask(Bearer({}), RequestValues({"method": ("POST",)}))
    assert method.matcher is not None
    other = check.otherwise((MethodPattern("GET"), MethodPattern("HEAD")))
    assert (other.holds, other.wanted, other.seen) == (False, "GET | HEAD", check.seen)
    assert (other.question.key, other.question.generous) == ("method", False)
