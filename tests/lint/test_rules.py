from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from spoa.facts import UNAVAILABLE
from spoa.lint.linter import lint_policy
from spoa.policy.gates import request_values
from spoa.policy.model import RequestValues
from spoa.policy.reading import Report
from tests.drawn import HOLDERS, OPEN, TIMES, documents, model_of, policy_of, requests

if TYPE_CHECKING:
    from spoa.authorizer import Policy, Subject
    from spoa.facts import Request

SETTINGS = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
Asked = tuple["Subject | None", "Request", int, frozenset[str]]


def found_in(document: dict[str, Any]) -> list[tuple[str, int]]:
    """Return code and place of what is found among the rules of a document, or its routes."""
    report = Report()
    lint_policy(model_of(document), {"policy.yaml": json.dumps(document).encode()}, report)
    return [
        (problem.code, int(problem.path.split("[")[1].split("]")[0]))
        for problem in report.problems
        if problem.path.startswith(("rules[", "routes["))
    ]


def answers(policy: Policy, asked: list[Asked]) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for subject, request, now, switches in asked:
        decision = policy.judge(request, now, subject=subject, switches=switches).decision
        found.append((decision.verdict, decision.log_reason, decision.route, decision.status))
    return found


ASKED = st.lists(st.tuples(HOLDERS, requests(), TIMES, OPEN), min_size=10, max_size=20)


@SETTINGS
@given(documents(), ASKED)
def test_rules_that_are_said_to_do_nothing_can_be_taken_out_together(
    document: dict[str, Any], asked: list[Asked]
) -> None:
    useless = {"shadowed-rule", "dead-allow", "never-matches"}
    numbers = {number for code, number in found_in(document) if code in useless}
    routes = {number for code, number in found_in(document) if code == "unreachable-route"}
    event(f"{len(numbers)} rules, {len(routes)} routes")
    if not numbers | routes:
        return
    without = copy.deepcopy(document)
    without["rules"] = [rule for number, rule in enumerate(document["rules"]) if number not in numbers]
    without["routes"] = [route for number, route in enumerate(document["routes"]) if number not in routes]
    without["identities"] = {}
    without = {**without, "rules": [_inlined(rule, document) for rule in without["rules"]]}
    without["routes"] = [_inlined(route, document) for route in without["routes"]]
    assert answers(policy_of(without), asked) == answers(policy_of(document), asked)


def _inlined(part: Any, document: dict[str, Any]) -> Any:
    """Return a rule with the identities that it names written in place, lest some be unused."""
    part = copy.deepcopy(part)
    for holder in (part, part.get("unless", {})):
        if "who" in holder:
            items = holder["who"] if isinstance(holder["who"], list) else [holder["who"]]
            holder["who"] = [
                document["identities"].get(item, item) if isinstance(item, str) else item for item in items
            ]
    return part


@SETTINGS
@given(documents(), ASKED)
def test_what_is_said_to_be_unmeetable_lets_nobody_pass(document: dict[str, Any], asked: list[Asked]) -> None:
    document["rules"].append({"id": "last", "effect": "require", "request": {"path": "/a/**"}, "who": "anonymous"})
    policy = policy_of(document)
    numbers = {number for code, number in found_in(document) if code == "unmeetable-require"}
    requires = [rule for number, rule in enumerate(policy.model.rules) if number in numbers and not rule.is_shadow]
    event(f"{len(requires)} requires")
    for subject, request, now, switches in asked:
        values = request_values(request, policy.model.defaults, now)
        if not isinstance(values, RequestValues):
            continue
        decision = policy.judge(request, now, subject=subject, switches=switches).decision
        for rule in requires:
            is_about = all(one.holds(values.values.get(one.key, UNAVAILABLE), generous=True) for one in rule.request)
            if is_about and rule.overridable_by not in switches:
                assert decision.log_reason != "ok"
