"""What must hold for every policy and every request, whatever they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from spoa.explanation import explain
from spoa.policy.conditions import COLUMNS, IDENTITY_CONDITIONS
from spoa.policy.model import Bearer, RequestValues
from tests.drawn import HOLDERS, OPEN, PATTERNS, TIMES, documents, facts_of, model_of, policy_of, requests, rules
from tests.policies import said

if TYPE_CHECKING:
    from spoa.authorizer import Policy, Subject
    from spoa.facts import Request

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def is_allowed(policy: Policy, bearer: Bearer, values: RequestValues, switches: frozenset[str]) -> bool:
    """Tell whether the rules allow, shadow mode or not."""
    evaluator = policy.evaluator
    return evaluator.decide(evaluator.table.who(bearer), values, "", switches).log_reason == "ok"


@FEW
@given(documents(), st.lists(st.tuples(HOLDERS, requests(), TIMES, OPEN), min_size=4, max_size=8))
def test_the_explanation_is_the_decision(
    document: dict[str, Any], asked: list[tuple[Subject | None, Request, int, frozenset[str]]]
) -> None:
    policy = policy_of(document)
    for subject, request, now, switches in asked:
        explained = explain(policy, request, now, subject=subject, switches=switches)
        decision = policy.judge(request, now, subject=subject, switches=switches).decision
        fields = ("verdict", "status", "reason", "rule", "identity", "route", "shadow")
        event(f"{decision.verdict} {decision.log_reason}")
        assert {name: getattr(explained, name) for name in fields} == {name: getattr(decision, name) for name in fields}
        assert explained.matched == decision.rules


@FEW
@given(documents(), st.lists(st.tuples(HOLDERS, requests(), TIMES, OPEN), min_size=4, max_size=8))
def test_what_is_remembered_changes_nothing(
    document: dict[str, Any], asked: list[tuple[Subject | None, Request, int, frozenset[str]]]
) -> None:
    model = model_of(document)
    warm = policy_of(model)
    for subject, request, now, switches in [*asked, *asked]:
        decision = warm.judge(request, now, subject=subject, switches=switches).decision
        fresh = policy_of(model).judge(request, now, subject=subject, switches=switches).decision
        assert said(decision) == said(fresh)


@FEW
@given(documents(), st.randoms(use_true_random=False), HOLDERS, requests(), TIMES, OPEN)
def test_order_of_rules_means_nothing(
    document: dict[str, Any], random: Any, subject: Subject | None, request: Request, now: int, switches: frozenset[str]
) -> None:
    model = model_of(document)
    rows = list(model.rules)
    random.shuffle(rows)
    first = policy_of(model).judge(request, now, subject=subject, switches=switches).decision
    second = (
        policy_of(replace(model, rules=tuple(rows))).judge(request, now, subject=subject, switches=switches).decision
    )
    assert (first.verdict, first.route, first.shadow) == (second.verdict, second.route, second.shadow)
    assert set(first.rules) == set(second.rules)


@FEW
@given(documents(), st.lists(st.tuples(HOLDERS, requests(), TIMES, OPEN), min_size=4, max_size=8))
def test_hiding_an_attribute_never_turns_a_deny_into_an_allow(
    document: dict[str, Any], asked: list[tuple[Subject | None, Request, int, frozenset[str]]]
) -> None:
    policy = policy_of(document)
    for subject, request, now, switches in asked:
        facts = facts_of(policy, subject, request, now)
        if facts is None or is_allowed(policy, *facts, switches):
            continue
        bearer, values = facts
        event("a deny by the rules")
        for hidden in list(values.values):
            less = RequestValues({key: value for key, value in values.values.items() if key != hidden})
            assert not is_allowed(policy, bearer, less, switches), hidden
        for hidden in list(bearer.values):
            poorer = Bearer({key: value for key, value in bearer.values.items() if key != hidden}, bearer.is_anonymous)
            assert not is_allowed(policy, poorer, values, switches), hidden
        for hidden in request.headers:
            headers = {name: value for name, value in request.headers.items() if name != hidden}
            less = RequestValues({**values.values, "header": (headers,)})
            assert not is_allowed(policy, bearer, less, switches), hidden
        assert not is_allowed(policy, bearer, RequestValues({}), switches)


@FEW
@given(documents(), st.data(), HOLDERS, requests(), TIMES, OPEN)
def test_adding_a_deny_or_a_require_never_turns_a_deny_into_an_allow(
    document: dict[str, Any],
    data: st.DataObject,
    subject: Subject | None,
    request: Request,
    now: int,
    switches: frozenset[str],
) -> None:
    more = data.draw(rules(99, tuple(document["identities"]), ("deny", "require")))
    before = policy_of(document)
    facts = facts_of(before, subject, request, now)
    assume(facts is not None)
    assert facts is not None
    after = policy_of({**document, "rules": [more, *document["rules"]]})
    bearer, values = facts
    if subject is not None:
        bearer = after.bearer(subject, now)  # the new rule may read more of the certificate
    assert is_allowed(before, *facts, switches) or not is_allowed(after, bearer, values, switches)


@pytest.mark.parametrize("key", [*IDENTITY_CONDITIONS, *COLUMNS])
def test_the_vocabulary_has_every_key(key: str) -> None:
    assert PATTERNS[key]


@FEW
@given(documents(), st.lists(HOLDERS, min_size=4, max_size=8), TIMES)
def test_the_identity_that_is_looked_up_is_the_first_one_that_holds(
    document: dict[str, Any], holders: list[Subject | None], now: int
) -> None:
    policy = policy_of(document)
    for subject in holders:
        bearer = Bearer(is_anonymous=True) if subject is None else policy.bearer(subject, now)
        holding = [one.name for one in policy.model.identities if one.holds(bearer, generous=False)]
        event(f"{len(holding)} of {len(policy.model.identities)}")
        assert policy.evaluator.identity(bearer) == next(iter(holding), "")
