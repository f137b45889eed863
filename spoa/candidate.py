"""A second policy directory, judged under beside the active one; and how it becomes the active one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from spoa.comparison import CHANGES, SAME
from spoa.promotion import replace_directory
from spoa.reload import Reloader, sentence
from spoa.state import StateDirectory
from spoa.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from spoa.metrics import Samples

__all__ = ["Candidate"]

_METRIC: Final = "candidate_decisions_total"
_MOST: Final = 20  # differences that `status` lists

_log = structlog.get_logger()


class Candidate:
    """Builds the candidate whenever it changes, and has every worker judge under it too.

    A candidate that can't be built is told of; the one before stays in comparison, and the active policy is untouched.

    Args:
        directory: its policy directory.
        state: where its bundles are kept.
        propose: has the workers judge under a bundle; raises WorkerError.
    """

    def __init__(self, directory: Path, state: Path, propose: Callable[[Path], Awaitable[None]]) -> None:
        self._directory = directory
        self._state = StateDirectory(state)
        self._state.sweep()
        self._reloader = Reloader(directory, self._state, propose)
        self._watcher = Watcher(self._reloader.watched)
        self._looked = asyncio.Event()

    async def update(self, cause: str) -> None:
        """Build what the directory holds now, and judge under it."""
        try:
            outcome = await self._reloader.reload(cause)
        finally:  # whoever waits for a look must not do so for ever
            self._looked.set()
        self._watcher.watch(self._reloader.watched)
        if outcome.is_fine:
            _log.info("candidate " + outcome.result, revision=outcome.revision, cause=cause)
            return
        _log.error("candidate " + outcome.result, cause=cause)
        for problem in outcome.problems:
            _log.error("candidate problem", problem=sentence(problem))

    async def watch(self) -> None:
        """Follow the directory for ever."""
        await self.update("start")
        async for _ in self._watcher.changes():
            await self.update("change")

    async def close(self) -> None:
        """End the waiting builder."""
        await self._reloader.builder.close()

    async def promote(self, policies: Path) -> None:
        """Put what the candidate's directory holds in the place of the active policy directory.

        Raises:
            StateError: that can't be done, or the candidate has problems; nothing has changed then.
        """
        kept = await asyncio.to_thread(replace_directory, self._directory, policies)
        _log.info("candidate promoted", candidate=str(self._directory), kept=None if kept is None else str(kept))

    async def is_good(self) -> bool:
        """Tell whether what the directory held at the last look is judged under; waits for the first look."""
        await self._looked.wait()
        return self._reloader.last is not None and self._reloader.last.is_fine

    def describe(self, counts: Samples) -> dict[str, Any]:
        """Return what `status` shows, given the counts of all workers."""
        last = self._reloader.last
        own = {labels: int(count) for (name, labels), count in counts.items() if name == _METRIC}
        by_change = dict.fromkeys((SAME, *CHANGES), 0)
        for (change, _, _), count in own.items():
            by_change[change] = by_change.get(change, 0) + count
        largest = sorted(((key, n) for key, n in own.items() if key[0] != SAME), key=lambda item: (-item[1], item[0]))
        return {
            "directory": str(self._directory),
            "revision": self._reloader.revision,
            "since": self._reloader.since,
            "result": "" if last is None else last.result,
            "problems": [] if last is None else [sentence(problem) for problem in last.problems],
            "decisions": by_change,
            "differences": [
                {"change": change, "rule": rule, "candidate_rule": theirs, "count": count}
                for (change, rule, theirs), count in largest[:_MOST]
            ],
        }

    def samples(self) -> Samples:
        """Return the revision that is judged under."""
        return {("candidate_info", (self._reloader.revision,)): 1} if self._reloader.revision else {}
