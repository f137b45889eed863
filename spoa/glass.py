"""Keeps the open break-glass switches of all workers the same as the file in the state directory, and is loud."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from spoa.followed import Followed
from spoa.openings import FILE, Openings, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from spoa.metrics import Samples
    from spoa.policy.model import Switch

__all__ = ["Glass"]

_REMINDER: Final = 60.0  # seconds between two lines of the log while a switch is open
_LOOK: Final = 0.5  # seconds between two looks at whether a switch has closed

_log = structlog.get_logger()


class Glass(Followed[Openings]):
    """Follows the openings, and tells about them.

    Args:
        state_dir: where the file is.
        swap: puts openings, as text, to use in every worker; raises WorkerError.
        changed: told of openings that came and went.

    Attributes:
        switches: those of the active policy.
    """

    def __init__(
        self,
        state_dir: Path,
        swap: Callable[[str], Awaitable[None]],
        changed: Callable[[str, set[str], set[str]], object] = lambda *_: None,
    ) -> None:
        super().__init__(state_dir / FILE, Openings.from_text, swap, "break-glass file", changed)
        self.switches: tuple[Switch, ...] = ()
        self._open: frozenset[str] = frozenset()
        self._opened = 0
        self._reminded = 0.0

    def names(self, value: Openings) -> set[str]:
        """Return what was opened, by whom and for which ticket."""
        return {f"{one.switch}, ticket {one.ticket}, by {one.by or 'nobody says'}" for one in value.openings}

    def use(self, switches: tuple[Switch, ...]) -> None:
        """Let the switches of another policy be opened from now on, and no others."""
        self.switches = switches
        self._look()

    def told(self, *, is_first: bool) -> None:
        """Tell the log what is open now, also at the start."""
        del is_first
        self._look()

    async def remind(self) -> None:
        """Tell the log of what opens, closes and stays open, for ever."""
        while True:
            await asyncio.sleep(_LOOK)
            self._look()

    def _look(self) -> None:
        now, steady = int(time.time()), time.monotonic()
        open_now, _ = self.value.in_force(self.switches, now)
        for name in sorted(open_now - self._open):
            self._opened += 1
            self._reminded = steady
            _log.warning("BREAK GLASS: a switch is open", **self._entry(name))
        for name in sorted(self._open - open_now):
            _log.warning("break glass: a switch is closed", switch=name)
        if open_now and steady - self._reminded >= _REMINDER:
            self._reminded = steady
            _log.warning("BREAK GLASS: switches are open", switches=sorted(open_now))
        self._open = open_now

    def _entry(self, name: str) -> dict[str, Any]:
        opening = next(one for one in self.value.openings if one.switch == name)
        return {"switch": name, "ticket": opening.ticket, "until": opening.until, "by": opening.by}

    def describe(self, now: int) -> dict[str, Any]:
        """Return what `status` shows: each opening, whether it counts and why not, and the problem of the file."""
        return {
            "open": sorted(self.value.in_force(self.switches, now)[0]),
            "switches": _declared(self.switches),
            "entries": [
                {
                    "switch": one.switch,
                    "ticket": one.ticket,
                    "opened": one.opened,
                    "until": one.until,
                    "by": one.by,
                    "refused": refusal(one, self.switches),
                }
                for one in self.value.openings
                if now < one.until
            ],
            "problem": self.problem,
        }

    def samples(self, now: int) -> Samples:
        """Return which switches are open, and how often one was."""
        open_now, _ = self.value.in_force(self.switches, now)
        found: Samples = {("break_glass_open", (one.name,)): one.name in open_now for one in self.switches}
        found["break_glass_opened_total", ()] = self._opened
        return found


def _declared(switches: Sequence[Switch]) -> dict[str, dict[str, Any]]:
    return {one.name: {"max_duration": one.max_duration, "ticket": one.ticket} for one in switches}
