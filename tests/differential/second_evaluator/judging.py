"""A policy, a request and the world become a verdict."""

from tests.differential.second_evaluator.conditions import Facts
from tests.differential.second_evaluator.gates import DeniedError, through_gates
from tests.differential.second_evaluator.loading import Policy, Rule
from tests.differential.second_evaluator.paths import hex_upper
from tests.differential.second_evaluator.words import GENEROUSLY, STRICTLY, Request, Verdict, World

GATE_STATUS = {"path_not_canonical": 400}


def judge(policy: Policy, request: Request, world: World) -> Verdict:
    """Judge one request."""
    try:
        facts = through_gates(policy, request, world)
    except DeniedError as gate:
        return Verdict("deny", gate.reason, "", GATE_STATUS.get(gate.reason), "", None, None, None)
    identity = first_identity(policy, facts)
    path = (
        hex_upper(facts.path)
        if policy.defaults["path_on_ambiguity"] == "normalise" and isinstance(facts.path, str) and facts.path != "*"
        else None
    )
    denying = [rule for rule in policy.rules if denies(rule, facts, world)]
    hard = [rule for rule in denying if not rule.shadow]
    allowing = [rule for rule in policy.rules if allows(rule, facts, world)]
    names = tuple(rule.id for rule in hard)
    shadowed = len(hard) < len(denying)
    if (hard or not allowing) and policy.defaults["mode"] == "shadow":
        return Verdict("allow", "ok", "", 200, route_of(policy, facts), identity, "deny", path, names)
    if hard:
        rule = hard[0]
        reason = rule.reason or ("denied_by_rule" if rule.effect == "deny" else "requirement_not_met")
        status = rule.status or int(policy.defaults["deny_status"])
        return Verdict("deny", reason, rule.id, status, "", identity, None, path, names)
    if not allowing:
        return Verdict("deny", "no_rule_allows", "", int(policy.defaults["deny_status"]), "", identity, None, path)
    return Verdict(
        "allow", "ok", allowing[0].id, 200, route_of(policy, facts), identity, "deny" if shadowed else "", path
    )


def denies(rule: Rule, facts: Facts, world: World) -> bool:
    """Whether a rule denies: a `deny` that matches, or a `require` whose condition is not met."""
    if rule.effect == "allow" or rule.overridable_by in world.open:
        return False
    if rule.effect == "require":
        return rule.request(facts, GENEROUSLY) and not (rule.who(facts, STRICTLY) and rule.when(facts, STRICTLY))
    applies = rule.who(facts, GENEROUSLY) and rule.request(facts, GENEROUSLY) and rule.when(facts, GENEROUSLY)
    excepted = rule.unless is not None and rule.unless(facts, STRICTLY)
    return applies and not excepted


def allows(rule: Rule, facts: Facts, world: World) -> bool:
    """Whether an allow rule that is in force, and armed, matches strictly."""
    if rule.effect != "allow" or rule.shadow:
        return False
    if rule.active_during is not None and rule.active_during not in world.open:
        return False
    return rule.who(facts, STRICTLY) and rule.request(facts, STRICTLY) and rule.when(facts, STRICTLY)


def route_of(policy: Policy, facts: Facts) -> str:
    """The specification: "After an allow, `routes` (first match) picks the backend"."""
    for route in policy.routes:
        if route.who(facts, STRICTLY) and route.request(facts, STRICTLY):
            return route.backend
    return ""


def first_identity(policy: Policy, facts: Facts) -> str:
    """The specification: "`identity`, as returned, is the first in file order, matched strictly"."""
    if facts.certificate is None:
        return ""
    for name, identity in policy.identities.items():
        if identity.matches(facts.certificate, generous=False, now=facts.now):
            return name
    return ""
