"""Rules with their regions and places, as the linter goes through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spoa.lint.regions import Region
from spoa.policy.model import Effect
from spoa.policy.reading import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spoa.policy.model import Rule
    from spoa.policy.reading import Reading

__all__ = ["Entry", "entry_of", "ids_of"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule with its regions.

    Attributes:
        number: its place in the model.
        first: the requests that it is about, with whom where it says so.
        second: on require what must hold, on deny the exception.
    """

    number: int
    rule: Rule
    reading: Reading
    first: Region
    second: Region | None

    @property
    def is_always_on(self) -> bool:
        """It is enforced, whatever switches are open."""
        return not (self.rule.is_shadow or self.rule.overridable_by or self.rule.active_during)

    def outlasts(self, other: Entry) -> bool:
        """Tell whether it is in force whenever the other, of the same kind, is."""
        own, their = self.rule, other.rule
        return (
            own.is_shadow <= their.is_shadow
            and own.overridable_by in {"", their.overridable_by}
            and own.active_during in {"", their.active_during}
        )

    def answers_before(self, other: Entry, deny_status: int) -> bool:
        """Tell whether the client would get the same answer, or that of this rule, where both deny."""
        own, their = ((one.rule.effect, one.rule.status or deny_status, one.rule.reason) for one in (self, other))
        return self.number < other.number or (own[1:] == their[1:] and (own[0] == their[0] or bool(own[2])))


def entry_of(number: int, rule: Rule, reading: Reading) -> Entry:
    """Return a rule with its regions, each with the polarity of its position."""
    if rule.effect is Effect.REQUIRE:
        first = Region.of(None, rule.request, generous=True)
        return Entry(number, rule, reading, first, Region.of(rule.who, rule.required, generous=False))
    first = Region.of(rule.who, rule.request, generous=rule.effect is Effect.DENY)
    second = None if rule.unless is None else Region.of(rule.unless_who, rule.unless, generous=False)
    return Entry(number, rule, reading, first, second)


def ids_of(entries: Iterable[Entry]) -> str:
    """Write the ids of rules as a sentence does."""
    return " and ".join(quoted(entry.rule.id) for entry in entries)
