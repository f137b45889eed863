"""Search for requests that break an invariant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Outcome:
    witness: str = ""
    warnings: tuple[str, ...] = ()


class Search:
    def __init__(self, policy: object, invariants: object, now: int) -> None:
        pass

    def look_for(self, invariant: object) -> Outcome:
        return Outcome(warnings=("not searched yet",))
