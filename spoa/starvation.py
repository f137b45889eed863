"""How long a process waited for a processor: by that one that is slow is told from one that is stuck.

Linux counts for each thread how long it was ready to run and did not. A process that is stopped, or sleeps for ever, is
never ready; one that goes round in circles runs; one that others keep from running waits.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Waits"]

_NANO: Final = 1e-9
_READY: Final = "R"


class _Thread(NamedTuple):
    """What the kernel says of a thread: seconds that it ran, seconds that it waited to, and its state."""

    ran: float
    waited: float
    state: str


class Waits:
    """Looks at a process again and again.

    Args:
        pid: of the process.
        clock: seconds that never go back.
        proc: where the kernel tells of processes.
    """

    def __init__(self, pid: int, clock: Callable[[], float] = time.monotonic, proc: Path = Path("/proc")) -> None:
        self._tasks = proc / str(pid) / "task"
        self._clock = clock
        self._seen: dict[str, _Thread] = {}
        self._looked = clock()

    def since_last(self) -> float:
        """Return the seconds since the last look in which a thread was ready and kept from running; 0 at the first.

        Of several threads the one that waited longest counts: the others may have waited for it. It is 0 where the
        kernel doesn't count, or the process is gone.
        """
        now = self._clock()
        seconds, self._looked = now - self._looked, now
        before, self._seen = self._seen, self._look()
        waits = [0.0]
        for name, thread in self._seen.items():
            earlier = before.get(name)
            if earlier is None:
                continue
            # A wait is counted when it is over: one that lasts for the whole time shows by nothing else.
            is_kept = thread.state == _READY and thread.ran == earlier.ran
            waits.append(seconds if is_kept else min(thread.waited - earlier.waited, seconds))
        return max(waits)

    def _look(self) -> dict[str, _Thread]:
        found = {}
        try:
            for task in self._tasks.iterdir():
                ran, waited, _ = (task / "schedstat").read_text().split()
                state = (task / "stat").read_text().rpartition(")")[2].split()[0]
                found[task.name] = _Thread(int(ran) * _NANO, int(waited) * _NANO, state)
        except (OSError, ValueError):
            return {}
        return found
