"""From the conjunctions that hold to the decision: deny overrides, then one allow is needed, then the routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.policy.conditions import COLUMNS
from spoa.policy.decision import Decision, Tally
from spoa.policy.model import Effect, Reason, Who
from spoa.policy.table import RuleTable, Whos

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.policy.model import Bearer, PolicyModel, RequestValues, Rule

__all__ = ["Evaluator", "evaluator_steps"]

#: Different decisions remembered; past it they are made again, and only cost time.
REMEMBERED: Final = 65536
#: Rules, and identities, entered between two yields.
_AT_ONCE: Final = 128

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

    def __init__(self, model: PolicyModel, table: RuleTable, masks: _Masks, named: Whos) -> None:
        self.model = model
        self.table = table
        self.attributes = table.attributes | named.attributes
        self.arguments = frozenset(name for key in table.columns for name in COLUMNS[key].argument) | frozenset(
            f"{kind}.{name}" for name in table.headers for kind in ("hdr", "hdrcnt")
        )
        self._named = named
        self._count = len(model.rules)
        self._masks = masks
        self._allows = masks.of("allows")
        self._restricts = masks.of("restricts")
        self._shadows = masks.of("shadows")
        self._has_second = masks.of("has_second")
        self._live: dict[frozenset[str], int] = {}
        self._decisions: dict[tuple[int, int, int, str], Decision] = {}
        self._gates: dict[str, Decision] = {}
        self._tallies: dict[tuple[str, str, str, str], Tally] = {}

    @classmethod
    def of(cls, model: PolicyModel) -> Evaluator:
        """Return the evaluator of *model*, made at one go."""
        return next(evaluator for evaluator in evaluator_steps(model) if evaluator is not None)

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
            live = self._live[switches] = self._masks.live(switches)
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

    def pieces(self) -> Iterator[object]:
        """Yield what it is made of; whoever holds all of it can let go of a large policy little by little."""
        yield from self.model.rules
        yield from self.model.identities
        yield from self.model.routes
        yield from self.table.pieces()
        yield from self._named.pieces()
        yield from list(self._decisions)
        yield from list(self._decisions.values())

    def tallies(self) -> Iterator[Tally]:
        """Yield the counts of every (verdict, reason, rule, shadow) answered so far."""
        return iter(tuple(self._tallies.values()))


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1


def _bits(bits: int) -> Iterator[int]:
    while bits:
        yield _lowest(bits)
        bits &= bits - 1


class _Masks:
    """Sets of rules, as bits, that are gathered rule by rule.

    Args:
        count: of the rules.
    """

    def __init__(self, count: int) -> None:
        self._size = count // 8 + 1
        self._sets: dict[str, bytearray] = {}

    def add(self, number: int, rule: Rule) -> None:
        """Enter a rule into the sets that it belongs to."""
        for name in _sets_of(rule):
            bits = self._sets.get(name)
            if bits is None:
                bits = self._sets[name] = bytearray(self._size)
            bits[number >> 3] |= 1 << (number & 7)

    def of(self, name: str) -> int:
        """Return a set, empty where no rule belongs to it."""
        return int.from_bytes(self._sets.get(name, b""), "little")

    def live(self, switches: frozenset[str]) -> int:
        """Return the rules that take part while *switches* are open."""
        during, overridden = 0, 0
        for switch in switches:
            during |= self.of(f"during {switch}")
            overridden |= self.of(f"but during {switch}")
        return (self.of("always") | during) & ~overridden


def _sets_of(rule: Rule) -> list[str]:
    """Return the names of the sets that a rule belongs to."""
    found = ["allows" if rule.effect is Effect.ALLOW else "restricts"]
    if rule.is_shadow:
        found.append("shadows")
    if rule.effect is Effect.REQUIRE or rule.unless is not None:
        found.append("has_second")
    found.append(f"during {rule.active_during}" if rule.active_during else "always")
    if rule.overridable_by:
        found.append(f"but during {rule.overridable_by}")
    return found


def evaluator_steps(model: PolicyModel) -> Iterator[Evaluator | None]:
    """Yield None for each slice of some millisecond's work, and at last the evaluator of *model*."""
    table = RuleTable(model)
    for _ in table.fill():
        yield None
    masks = _Masks(len(model.rules))
    for number, rule in enumerate(model.rules):
        masks.add(number, rule)
        if not number % _AT_ONCE:
            yield None
    named = Whos(0)
    for number, identity in enumerate(model.identities):
        named.add(Who((identity,)), 1 << number, generous=False)
        if not number % _AT_ONCE:
            yield None
    yield Evaluator(model, table, masks, named)
