"""From the conjunctions that hold to the decision: deny overrides, then one allow is needed, then the routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.policy.conditions import COLUMNS
from spoa.policy.decision import Decision, Tally
from spoa.policy.model import Effect, Reason, Who
from spoa.policy.table import RuleTable, Whos, bit_set, conjunctions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spoa.policy.model import Bearer, PolicyModel, RequestValues, Rule

__all__ = ["Evaluator", "evaluator_steps"]

#: Different decisions remembered; past it they are made again, and only cost time.
REMEMBERED: Final = 65536

_DEFAULT_REASON: Final = {Effect.DENY: Reason.DENIED_BY_RULE, Effect.REQUIRE: Reason.REQUIREMENT_NOT_MET}


class _Answer(NamedTuple):
    """A decision before shadow mode has softened it."""

    is_allow: bool
    status: int
    reason: str
    rule: str = ""
    identity: str = ""
    shadow: str = ""
    rules: tuple[str, ...] = ()
    route: str = ""
    is_gate: bool = False


class Evaluator:
    """A policy made ready to decide; immutable but for what it remembers and counts.

    Attributes:
        model: the policy.
        attributes: what it reads of a certificate; see `conditions.bearer_values`.
        arguments: which arguments of the message it reads, for `haproxy-config`.
    """

    def __init__(self, model: PolicyModel, table: RuleTable) -> None:
        self.model = model
        self.table = table
        self.attributes = frozenset(_attributes(model))
        self.arguments = frozenset(name for key in table.columns for name in COLUMNS[key].argument) | frozenset(
            f"{kind}.{name}" for name in table.headers for kind in ("hdr", "hdrcnt")
        )
        self._named = Whos(0)
        for number, identity in enumerate(model.identities):
            self._named.add(Who((identity,)), 1 << number, generous=False)
        self._count = len(model.rules)
        self._allows = self._mask(lambda rule: rule.effect is Effect.ALLOW)
        self._restricts = self._mask(lambda rule: rule.effect is not Effect.ALLOW)
        self._shadows = self._mask(lambda rule: rule.is_shadow)
        self._has_second = self._mask(lambda rule: rule.effect is Effect.REQUIRE or rule.unless is not None)
        self._live: dict[frozenset[str], int] = {}
        self._decisions: dict[tuple[int, int, int, str], Decision] = {}
        self._gates: dict[str, Decision] = {}
        self._tallies: dict[tuple[str, str, str, str], Tally] = {}

    @classmethod
    def of(cls, model: PolicyModel) -> Evaluator:
        """Return the evaluator of *model*, made at one go."""
        return next(evaluator for evaluator in evaluator_steps(model) if evaluator is not None)

    def _mask(self, holds: Callable[[Rule], bool]) -> int:
        return bit_set((number for number, rule in enumerate(self.model.rules) if holds(rule)), self._count)

    def identity(self, bearer: Bearer) -> str:
        """Return the first named identity that holds strictly, or an empty text."""
        holding = self._named.answer(bearer)
        return self.model.identities[_lowest(holding)].name if holding else ""

    def decide(self, who: int, request: RequestValues, identity: str, switches: frozenset[str]) -> Decision:
        """Return the decision of the rules.

        Args:
            who: what `table.who` answered for the bearer.
            request: past the gates.
            identity: what `identity` answered for the bearer.
            switches: names of the break-glass switches that are open.
        """
        return self.answer(who & self.table.request(request), identity, switches)

    def answer(self, holding: int, identity: str, switches: frozenset[str]) -> Decision:
        """Return the decision where these conjunctions hold; the rest is as for `decide`."""
        first = holding & self._live_rules(switches)
        second = (holding >> self._count) & self._has_second
        refused = first & self._restricts & ~second
        allowed = first & self._allows
        key = (refused, allowed, holding >> (2 * self._count), identity)
        decision = self._decisions.get(key)
        if decision is None:
            decision = self._make(refused, allowed, key[2], identity)
            if len(self._decisions) < REMEMBERED:
                self._decisions[key] = decision
        return decision

    def _live_rules(self, switches: frozenset[str]) -> int:
        """Return the rules that take part while *switches* are open."""
        live = self._live.get(switches)
        if live is None:
            live = self._mask(
                lambda rule: (
                    rule.overridable_by not in switches and (not rule.active_during or rule.active_during in switches)
                )
            )
            self._live[switches] = live
        return live

    def _make(self, refused: int, allowed: int, routes: int, identity: str) -> Decision:
        rules = self.model.rules
        enforced = refused & ~self._shadows
        granted = allowed & ~self._shadows
        shadow = "deny" if refused & self._shadows else ""
        matched = tuple(rules[number].id for number in _bits(refused | allowed))
        deciding: Rule | None = None
        status, reason = self.model.defaults.deny_status, str(Reason.NO_RULE_ALLOWS)
        if enforced:
            deciding = rules[_lowest(enforced)]
            status = deciding.status or status
            reason = deciding.reason or _DEFAULT_REASON[deciding.effect]
        elif granted:
            deciding = rules[_lowest(granted)]
            status, reason = 200, str(Reason.OK)
        rule = deciding.id if deciding is not None else ""
        is_allow = bool(granted) and not enforced
        answer = _Answer(is_allow, status, str(reason), rule, identity, shadow, matched)
        if is_allow or self.model.defaults.is_shadow:
            answer = answer._replace(route=self.model.routes[_lowest(routes)].backend if routes else "")
        return self._decision(answer)

    def gate(self, reason: Reason) -> Decision:
        """Return the deny of a gate or an error; `rule` and `identity` are empty."""
        decision = self._gates.get(reason)
        if decision is None:
            status = 400 if reason is Reason.PATH_NOT_CANONICAL else self.model.defaults.deny_status
            decision = self._decision(_Answer(is_allow=False, status=status, reason=str(reason), is_gate=True))
            self._gates[reason] = decision
        return decision

    def _decision(self, answer: _Answer) -> Decision:
        """Return the decision that gives *answer*, softened in shadow mode when a rule denied."""
        is_softened = self.model.defaults.is_shadow and not answer.is_allow and not answer.is_gate
        verdict = "allow" if answer.is_allow or is_softened else "deny"
        status = 200 if is_softened else answer.status
        reason, rule = (str(Reason.OK), "") if is_softened else (answer.reason, answer.rule)
        shadow = "deny" if is_softened else answer.shadow
        key = (verdict, reason, rule, shadow)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(*key)
        return Decision(
            verdict=verdict,
            status=status,
            reason=reason,
            rule=rule,
            identity=answer.identity,
            route=answer.route,
            shadow=shadow,
            rules=answer.rules,
            log_reason=answer.reason,
            log_rule=answer.rule,
            tally=tally,
        )

    def tallies(self) -> Iterator[Tally]:
        """Yield the counts of every (verdict, reason, rule, shadow) answered so far."""
        return iter(tuple(self._tallies.values()))


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


def _bits(bits: int) -> Iterator[int]:
    while bits:
        yield _lowest(bits)
        bits &= bits - 1


def _attributes(model: PolicyModel) -> Iterator[str]:
    inline = (who.identities for _, who, _, _ in conjunctions_of(model) if who is not None)
    for identity in {id(one): one for some in (*inline, model.identities) for one in some}.values():
        for conjunction in identity.alternatives:
            for matcher in conjunction:
                yield matcher.attribute


def evaluator_steps(model: PolicyModel) -> Iterator[Evaluator | None]:
    """Yield None for each slice of some millisecond's work, and at last the evaluator of *model*."""
    table = RuleTable(model)
    for _ in table.fill():
        yield None
    yield Evaluator(model, table)
