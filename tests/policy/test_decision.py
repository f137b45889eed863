"""A decision is made once for each different answer, and counted where it is kept."""

from __future__ import annotations

from spoa.policy.decision import Decision
from tests.policies import HEAD, ask, holder, policy, said

RULES = """
rules:
  - {id: staff, effect: allow, who: {issuer: corp, ou: staff}}
  - {id: other, effect: allow, who: {issuer: partners}}
"""


def test_equal_answers_are_one_decision_and_different_ones_share_a_count_where_metrics_tell_no_difference() -> None:
    judge = policy(HEAD + RULES)
    first, again = (ask(judge, holder(ou="staff"), path=path) for path in ("/a", "/b"))
    assert first is again
    assert ask(judge, holder(issuer="partners"), path="/a").tally is not first.tally
    refused = [ask(judge, holder(ou=unit), path="/a") for unit in ("x", "y")]
    assert refused[0].tally is refused[1].tally


def test_decisions_that_say_the_same_are_two_keys() -> None:
    decision = ask(policy(HEAD + RULES), holder(ou="staff"), path="/a")
    other = Decision(**said(decision), tally=decision.tally)  # type: ignore[arg-type] # they are its fields
    assert said(other) == said(decision)
    assert {decision: 1, other: 2}[decision] == 1
