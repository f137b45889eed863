"""The verdict of a policy as a literal, over all calls and callers."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.callers import Caller, Callers, certificate_conjunctions
from spoa.calls import Calls
from spoa.memberships import lists_of
from spoa.policy.model import Effect, Reason
from spoa.policy.table import conjunctions_of
from spoa.solver import FALSE, Circuit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spoa.authorizer import Policy
    from spoa.facts import Request
    from spoa.memberships import Listings
    from spoa.policy.decision import Decision
    from spoa.policy.model import Conjunction, Matcher, Rule

__all__ = ["Occasion", "Verdict", "World"]


_ORDER: Final = tuple(Reason)


class Occasion(NamedTuple):
    """One request that was found, and all that is given beside.

    Attributes:
        request: without its certificate.
        now: when it comes, seconds since the epoch.
        caller: who sends it.
        switches: break-glass switches that are open.
        is_stated: a policy test can state all of it, for each of the policies.
    """

    request: Request
    now: int
    caller: Caller
    switches: frozenset[str]
    is_stated: bool


class World:
    """All calls by all callers at all times, as far as some policies and what is asked about them can tell.

    Args:
        policies: to be judged side by side.
        now: from which time on, seconds since the epoch.
        matchers, conjunctions: of requests and of certificates, beside those of the policies.
        listings: what the lists of each policy hold; left out, a list is known by its name alone.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        now: int,
        matchers: Iterable[Matcher] = (),
        conjunctions: Iterable[Conjunction] = (),
        listings: Sequence[Listings] = (),
    ) -> None:
        self.circuit = Circuit()
        self.policies = policies
        several = list(conjunctions)
        lists = lists_of(listings, _list_names(policies, several), now)
        self.calls = Calls(self.circuit, policies, matchers, (now, *(entry.first for entry in lists.entries)))
        self.callers = Callers(self.circuit, policies, several, lists, self.calls)
        names = dict.fromkeys(switch.name for policy in policies for switch in policy.model.switches)
        self.switches = dict(zip(names, self.circuit.flags(len(names)), strict=True))

    @property
    def missing(self) -> list[str]:
        """What classes may be missing of: patterns multiplied beyond a bound."""
        return [*self.calls.missing, *self.callers.missing]

    def found(self) -> Occasion:
        """Return what was found last."""
        request, now = self.calls.found()
        caller = self.callers.found(now)
        opened = frozenset(name for name, literal in self.switches.items() if self.circuit.holds(literal))
        return Occasion(request, now, caller, opened, caller.is_stated and self.circuit.holds(self.calls.is_stated))

    def judged(self, occasion: Occasion) -> list[Decision]:
        """Return what each policy decides on an occasion."""
        return [
            policy.judge(
                occasion.request,
                occasion.now,
                subject=subject,
                revocation=state,
                switches=occasion.switches,
            ).decision
            for policy, subject, state in zip(
                self.policies, occasion.caller.subjects, occasion.caller.circumstance.states, strict=True
            )
        ]

    def make_plain(self, literals: Sequence[int], patience: int) -> None:
        """Look for the plainest occasion on which all the literals hold; there must be one."""
        wanted = list(literals)
        self.circuit.can_hold(wanted, patience)
        wishes = [self.calls.is_stated, *(-one for one in self.switches.values())]
        for wish in (*wishes, *self.callers.wishes(), *self.calls.wishes()):
            if self.circuit.holds(wish) or self.circuit.can_hold([*wanted, wish], patience):
                wanted.append(wish)


def _list_names(policies: Sequence[Policy], others: Iterable[Conjunction]) -> Iterator[str]:
    """Yield the names of all lists that are asked about."""
    for conjunction in chain(certificate_conjunctions(policies), others):
        for matcher in conjunction:
            if matcher.attribute == "lists":
                yield from map(str, matcher.patterns)


class Verdict:
    """What one policy of a world says.

    Attributes:
        passes: literal: no gate denies.
        grants: literal: the rules allow, and no gate denies.
        allows: literal: the answer is `allow`, be it for shadow mode.
        routes: backend → literal: what is allowed goes there; empty where no route takes it.
    """

    def __init__(self, world: World, side: int) -> None:
        self._circuit = world.circuit
        policy = world.policies[side]
        self._rules = policy.model.rules
        self._gates = [*world.calls.gates(side), *world.callers.gates(side)]
        self._gates.sort(key=lambda gate: _ORDER.index(gate[0]))
        conjunctions = {
            number: self._circuit.all_of(
                (
                    world.callers.who(side, who, generous=generous),
                    world.calls.conjunction(side, number, matchers, generous=generous),
                )
            )
            for number, who, matchers, generous in conjunctions_of(policy.model)
        }
        self._allowing: dict[str, int] = {}
        self._refusing: dict[str, int] = {}
        for number, rule in enumerate(self._rules):
            if not rule.is_shadow:
                applies = self._circuit.all_of((self._is_live(world, rule), conjunctions[number]))
                second = conjunctions.get(len(self._rules) + number, FALSE)
                if rule.effect is Effect.ALLOW:
                    self._allowing[rule.id] = applies
                else:
                    self._refusing[rule.id] = self._circuit.all_of((applies, -second))
        self.passes = -self._circuit.any_of(literal for _, literal in self._gates)
        self._refuses = self._circuit.any_of(self._refusing.values())
        self.grants = self._circuit.all_of((self.passes, -self._refuses, self._circuit.any_of(self._allowing.values())))
        self.allows = self.passes if policy.model.defaults.is_shadow else self.grants
        self.routes = self._routes(policy, conjunctions)

    def _routes(self, policy: Policy, conjunctions: Mapping[int, int]) -> dict[str, int]:
        taken: dict[str, list[int]] = {}
        before = FALSE
        for number, route in enumerate(policy.model.routes, 2 * len(self._rules)):
            taken.setdefault(route.backend, []).append(self._circuit.all_of((conjunctions[number], -before)))
            before = self._circuit.any_of((before, conjunctions[number]))
        return {**{backend: self._circuit.any_of(some) for backend, some in taken.items()}, "": -before}

    def _is_live(self, world: World, rule: Rule) -> int:
        lifted = world.switches.get(rule.overridable_by, FALSE)
        return self._circuit.all_of((-lifted, world.switches[rule.active_during] if rule.active_during else -FALSE))

    def outcome(self, decision: Decision) -> int:
        """Return the literal that holds wherever the policy answers with the same rule, or the same gate."""
        if not decision.log_rule and self._is_gate(decision.log_reason):
            return self._first(dict(self._grouped_gates()), decision.log_reason)
        if decision.log_rule in self._refusing:
            return self._circuit.all_of((self.passes, self._first(self._refusing, decision.log_rule)))
        if decision.log_rule:
            return self._circuit.all_of((self.grants, self._first(self._allowing, decision.log_rule)))
        return self._circuit.all_of((self.passes, -self._refuses, -self.grants))

    def _is_gate(self, reason: str) -> bool:
        return any(reason == one for one, _ in self._gates)

    def _grouped_gates(self) -> list[tuple[str, int]]:
        grouped: dict[str, list[int]] = {}
        for reason, literal in self._gates:
            grouped.setdefault(reason, []).append(literal)
        return [(reason, self._circuit.any_of(literals)) for reason, literals in grouped.items()]

    def _first(self, named: dict[str, int], name: str) -> int:
        """Return the literal that holds where *name* is the first that does."""
        before: list[int] = []
        for one, literal in named.items():
            if one == name:
                return self._circuit.all_of((literal, *before))
            before.append(-literal)
        raise AssertionError(name)
