"""Break-glass: which of a policy's switches are open, by what was written into the state directory and by when.

An opening counts only as far as the active policy lets it: for a switch that it declares, with a ticket that looks like
one, from the instant it was opened, and never longer than `max_duration`, whatever the file says. It ends by itself.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spoa.listindex import NEVER
from spoa.policy.automaton import Regex
from spoa.policy.document import write_scalar
from spoa.policy.openingfile import read_opening_entries
from spoa.policy.reading import Report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spoa.policy.model import Switch

__all__ = ["FILE", "Opening", "Openings", "refusal"]

FILE: Final = "breakglass.yaml"
"""Name of the file in the state directory."""

_HEAD: Final = (
    "# Break-glass switches that are open. Written by `spoa-authz breakglass`; taking an entry out closes its switch\n"
    "# within a second.\n"
    "apiVersion: authz/v1\n"
    "kind: openings\n"
    "entries:"
)


@dataclass(frozen=True, slots=True)
class Opening:
    """One switch, opened for a time; `opened` and `until` count seconds since the epoch, `until` is exclusive."""

    switch: str
    ticket: str
    opened: int
    until: int
    by: str = ""


def refusal(opening: Opening, switches: Iterable[Switch]) -> str:
    """Return why a policy with these switches does not let an opening count; empty when it does."""
    switch = next((one for one in switches if one.name == opening.switch), None)
    if switch is None:
        declared = ", ".join(sorted(one.name for one in switches)) or "none"
        return f"the policy declares no break-glass switch {opening.switch!r}; it declares: {declared}"
    if not Regex(switch.ticket).matches(opening.ticket):
        return f"the ticket {opening.ticket!r} does not look like {switch.ticket!r}, which the policy asks for"
    if opening.until - opening.opened > switch.max_duration:
        return f"{switch.name} may be open for {int(switch.max_duration)} s at once, no longer"
    return ""


class Openings:
    """What was opened.

    Attributes:
        openings: in the order of the file.
    """

    def __init__(self, openings: Iterable[Opening] = ()) -> None:
        self.openings = tuple(openings)

    @classmethod
    def from_text(cls, text: bytes, file: str = FILE) -> Openings:
        """Read the file.

        Raises:
            PolicyError: with every problem found; nothing is opened halfway.
        """
        report = Report()
        entries = read_opening_entries(text, file, report)
        report.refuse_errors()
        return cls(Opening(**entry.value) for entry in entries)

    def to_text(self) -> bytes:
        """Write the file."""
        return (_HEAD + ("".join(map(_entry, self.openings)) or " []") + "\n").encode()

    def __len__(self) -> int:
        return len(self.openings)

    def with_opening(self, opening: Opening) -> Openings:
        """Return these with one more, which takes the place of an earlier one of the same switch."""
        return Openings([*self.without(opening.switch).openings, opening])

    def without(self, switch: str, now: int = NEVER) -> Openings:
        """Return these without a switch, and without what is over at `now`."""
        return Openings(one for one in self.openings if one.switch != switch and (now == NEVER or now < one.until))

    def in_force(self, switches: tuple[Switch, ...], now: int) -> tuple[frozenset[str], int]:
        """Return the switches that are open at `now`, and the instant before which that doesn't change."""
        allowed = [one for one in self.openings if not refusal(one, switches)]
        opened = [one for one in allowed if one.opened <= now < one.until]
        edges = [edge for one in allowed for edge in (one.opened, one.until) if edge > now]
        return frozenset(one.switch for one in opened), min(edges, default=NEVER)


def _entry(opening: Opening) -> str:
    fields = [f"switch: {write_scalar(opening.switch)}", f"ticket: {write_scalar(opening.ticket)}"]
    fields += [f"opened: {_instant(opening.opened)}", f"until: {_instant(opening.until)}"]
    fields += [f"by: {write_scalar(opening.by)}"] if opening.by else []
    return "\n  - " + "\n    ".join(fields)


def _instant(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
