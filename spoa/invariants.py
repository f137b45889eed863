"""Invariants are proved: there is no request that the policy allows and the invariant forbids, or here is one.

What the policy allows and what the invariant forbids are literals over the same world (`verdicts`): all classes of
requests and certificates that the two tell apart, at all times and under all sets of open switches. Whatever is found
is judged by the policy itself, so that a violation is always a real one. That none is found is a proof; where it was
out of reach, since patterns overlap beyond a bound or the search took too long, a finding says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.solver import FALSE
from spoa.transcript import keys_of_test
from spoa.verdicts import Verdict, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spoa.authorizer import Policy
    from spoa.policy.cases import Invariant
    from spoa.policy.model import Conjunction

__all__ = ["PATIENCE", "Finding", "Outcome", "Search"]

#: Conflicts that the solver may meet for one invariant: well below a second.
PATIENCE: Final = 10_000
_NOT_PROVED: Final = "invariant-not-proved"


class Finding(NamedTuple):
    """A warning about a proof: its stable code, and a sentence."""

    code: str
    message: str


@dataclass(slots=True)
class Outcome:
    """What came of an invariant.

    Attributes:
        witness: keys of a policy test that describe a violation; empty when there is none.
        findings: what the reader should know of how far the proof goes.
    """

    witness: dict[str, object] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_proved(self) -> bool:
        """No request that could break it was left out."""
        return not self.witness and all(finding.code != _NOT_PROVED for finding in self.findings)

    def __str__(self) -> str:
        return json.dumps(self.witness, ensure_ascii=False)


class Search:
    """The world of one policy and several invariants.

    Args:
        policy: to be searched for violations.
        invariants: all that will be asked for.
        now: from which time on, seconds since the epoch.
    """

    def __init__(self, policy: Policy, invariants: Sequence[Invariant], now: int) -> None:
        matchers = [one for invariant in invariants for one in (*invariant.request, *invariant.outside)]
        self._world = World((policy,), now, matchers, chain.from_iterable(map(_conjunctions, invariants)))
        self._verdict = Verdict(self._world, 0)
        self._findings = [
            Finding(_NOT_PROVED, f"not proved: patterns of {what} overlap in more ways than are looked at")
            for what in dict.fromkeys(self._world.missing)
        ]
        if policy.model.defaults.is_shadow:
            message = "`mode: shadow` lets pass what rules deny; the invariant is judged as if they were enforced"
            self._findings.append(Finding("invariant-in-shadow", message))

    def look_for(self, invariant: Invariant) -> Outcome:
        """Return a request that is allowed though the invariant forbids it, if there is one."""
        outcome = Outcome(findings=list(self._findings))
        wanted = (self._verdict.grants, self._forbids(invariant))
        found = self._world.circuit.can_hold(wanted, PATIENCE)
        if found:
            outcome.witness = self._witness(wanted)
        elif found is None:
            outcome.findings.append(Finding(_NOT_PROVED, f"not proved: given up after {PATIENCE} conflicts"))
        return outcome

    def _forbids(self, invariant: Invariant) -> int:
        """Return the literal that holds where an allow would break the invariant."""
        circuit, calls, callers = self._world.circuit, self._world.calls, self._world.callers
        excepted = (
            circuit.all_of((callers.who(0, who, generous=False), self._world.switches.get(switch, -FALSE)))
            for who, switch in invariant.exceptions
        )
        return circuit.all_of(
            (
                -callers.anonymous if invariant.identity else -FALSE,
                callers.who(0, invariant.who, generous=True),
                callers.conjunction(0, invariant.identity, generous=True),
                *(calls.holds(0, one, generous=True) for one in invariant.request),
                *(-calls.holds(0, one, generous=False) for one in invariant.outside),
                -circuit.any_of(excepted),
            )
        )

    def _witness(self, wanted: Sequence[int]) -> dict[str, object]:
        """Return the plainest violation as the keys of a policy test, with the rule that allows it."""
        self._world.make_plain(wanted, PATIENCE)
        occasion = self._world.found()
        (decision,) = self._world.judged(occasion)
        assert decision.log_reason == "ok", "circuit and policy judge differently"
        caller = occasion.caller
        keys = keys_of_test(occasion.request, occasion.now, subject=caller.written, switches=occasion.switches)
        return {**keys, **caller.revocation, "rule": decision.rule}


def _conjunctions(invariant: Invariant) -> Iterator[Conjunction]:
    """Yield every conjunction of an invariant that asks about certificates."""
    yield invariant.identity
    for who in (invariant.who, *(who for who, _ in invariant.exceptions)):
        for identity in who.identities if who is not None else ():
            yield from identity.alternatives
