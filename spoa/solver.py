"""Conditions as a circuit of true and false, and the question whether it can be made to say something.

A literal is a number: positive for something, negative for its opposite, as in DIMACS. Gates that say the same are one.
The question is answered by a SAT solver, completely, unless it takes more conflicts than the caller allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pysat.solvers import Glucose4

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["FALSE", "TRUE", "Circuit"]

TRUE: Final = 1
FALSE: Final = -TRUE
#: So many literals are preferred one by one, before steps grow.
_FINE: Final = 16


class Circuit:
    """Literals, what connects them, and the last assignment that was found."""

    def __init__(self) -> None:
        self._solver = Glucose4()
        self._solver.add_clause([TRUE])
        self._count = TRUE
        self._gates: dict[frozenset[int], int] = {}
        self._assigned: set[int] = set()

    def literal(self) -> int:
        """Return a new literal."""
        self._count += 1
        return self._count

    def demand(self, literals: Iterable[int]) -> None:
        """Demand that one of the literals holds."""
        self._solver.add_clause(list(literals))

    def all_of(self, literals: Iterable[int]) -> int:
        """Return the literal that holds when all of them do."""
        inputs = frozenset(literals) - {TRUE}
        if FALSE in inputs or any(-literal in inputs for literal in inputs):
            return FALSE
        if len(inputs) <= 1:
            return next(iter(inputs), TRUE)
        gate = self._gates.get(inputs)
        if gate is None:
            gate = self._gates[inputs] = self.literal()
            for literal in inputs:
                self.demand((-gate, literal))
            self.demand((gate, *(-literal for literal in inputs)))
        return gate

    def any_of(self, literals: Iterable[int]) -> int:
        """Return the literal that holds when one of them does."""
        return -self.all_of(-literal for literal in literals)

    def demand_at_most_one(self, literals: Sequence[int], unless: int = FALSE) -> list[int]:
        """Demand that no two of the literals hold, unless another does; return which of them have been passed."""
        passed = FALSE
        ladder = []
        for literal in literals:
            self.demand((unless, -literal, -passed))
            onward = self.literal()
            self.demand((-passed, onward))
            self.demand((-literal, onward))
            passed = onward
            ladder.append(onward)
        return ladder

    def choice(self, count: int) -> list[int]:
        """Return so many new literals, of which exactly one holds; the first is preferred."""
        literals = [TRUE] if count == 1 else [self.literal() for _ in range(count)]
        if count > 1:
            self.demand(literals)
            ladder = self.demand_at_most_one(literals)
            self._solver.set_phases([literals[0], *ladder, *(-literal for literal in literals[1:])])
        return literals

    def flags(self, count: int) -> list[int]:
        """Return so many new literals that hold or not; not is preferred."""
        literals = [self.literal() for _ in range(count)]
        self._solver.set_phases([-literal for literal in literals])
        return literals

    def preferences(self, literals: Sequence[int]) -> Iterator[int]:
        """Yield literals that hold where one of the first few of some does, from the first alone to all."""
        count = 1
        while count < len(literals):
            yield self.any_of(literals[:count])
            count += max(1, count // _FINE)

    def can_hold(self, literals: Iterable[int], patience: int) -> bool | None:
        """Tell whether all the literals can hold at once; None after `patience` conflicts without an answer."""
        self._solver.conf_budget(patience)
        found: bool | None = self._solver.solve_limited(assumptions=list(literals))
        if found:
            self._assigned = set(self._solver.get_model())
        return found

    def holds(self, literal: int) -> bool:
        """Tell whether a literal holds in the assignment that was found last."""
        return literal == TRUE or literal in self._assigned

    def close(self) -> None:
        """Give the solver's memory back."""
        self._solver.delete()
