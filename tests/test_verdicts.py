"""Verdicts: the circuit and the policy never disagree, whatever is found."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spoa.verdicts import Verdict, World
from tests.drawn import documents, policy_of
from tests.policies import HEAD, NOW, policy

PATIENCE = 100_000


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents(), st.data())
def test_whatever_is_found_is_judged_alike(document: dict[str, Any], data: st.DataObject) -> None:
    judge = policy_of(document)
    world = World((judge,), NOW)
    verdict = Verdict(world, 0)
    for literal, is_allowed in ((verdict.allows, True), (-verdict.allows, False)):
        for _ in range(3):
            if not world.circuit.can_hold((literal,), PATIENCE):
                break
            (decision,) = world.judged(world.found())
            assert (decision.verdict == "allow") is is_allowed
            outcome = verdict.outcome(decision)
            assert world.circuit.can_hold((literal, outcome), PATIENCE)
            (again,) = world.judged(world.found())
            assert (again.log_reason, again.log_rule) == (decision.log_reason, decision.log_rule)
            world.circuit.demand((-outcome,))
    world.circuit.close()


def test_the_plainest_occasion_is_the_one_that_is_shown() -> None:
    rules = (
        "break_glass: {b: {max_duration: 1h, ticket: x}}\n"
        "rules: [{id: a, effect: allow, who: {issuer: corp, ou: ['a', 'b*']}, request: {header: {X-A: b}}},"
        " {id: c, effect: allow, who: {issuer: partners}, when: {source: 10.0.0.0/8}, active_during: b}]"
    )
    world = World((policy(HEAD + rules),), NOW)
    verdict = Verdict(world, 0)
    world.make_plain((verdict.grants,), PATIENCE)
    occasion = world.found()
    assert occasion.switches == frozenset()
    assert occasion.is_stated
    assert world.judged(occasion)[0].rule == "a"
    subject = occasion.caller.written
    assert subject is not None
    assert list(subject.certificate.subject.values()) == [("a",)]


def test_shadow_mode_allows_what_rules_deny_and_no_gate() -> None:
    world = World(
        (policy(HEAD + "defaults: {mode: shadow}\nrules: [{id: a, effect: deny, request: {method: GET}}]"),), NOW
    )
    verdict = Verdict(world, 0)
    assert verdict.allows == verdict.passes
    assert world.circuit.can_hold((verdict.grants,), PATIENCE) is False
    assert world.circuit.can_hold((verdict.allows,), PATIENCE)
