"""From what is on disk to one swap in all workers, or to the reasons why not.

A bundle is built in a process of its own and handed over. The road is the same for an editor's save, a rename, a
flipped symbolic link, a signal and a request: whatever fails on it, the policy in use stays.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from spoa.control import WorkerError
from spoa.exceptions import Problem, StateError
from spoa.jobs import Job
from spoa.metrics import RELOAD_BUCKETS, Histogram

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from spoa.metrics import Samples
    from spoa.state import StateDirectory

__all__ = ["BUILD_TIMEOUT", "Outcome", "Reloader", "sentence", "tell"]

#: Seconds after which a build is given up.
BUILD_TIMEOUT: Final = 120

_BUILDER: Final = ("-P", "-m", "spoa.builder")
_BUILDER_NAME: Final = "the builder"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt to activate the policy directory ended.

    Attributes:
        result: `activated`; `unchanged` (the same bytes came out); `rejected` (the policy has problems); `failed` (a
            process or disk has).
        cause: what asked for it: `start`, `change`, `signal`, `request`, `promote`.
        revision: the revision active afterwards; empty when there is none.
        at: when it ended, seconds since the epoch.
        seconds: how long it took.
        problems: why not, as the builder reports them; with `warnings` the ones that do not stop an activation.
    """

    result: str
    cause: str
    revision: str
    at: float
    seconds: float
    problems: tuple[dict[str, Any], ...] = ()
    warnings: tuple[dict[str, Any], ...] = ()

    @property
    def is_fine(self) -> bool:
        """What the directory holds is active now."""
        return self.result in {"activated", "unchanged"}


@dataclass(slots=True)
class Reloader:
    """Builds what the policy directory holds and hands it to `swap`, one attempt at a time.

    Args:
        directory: the policy directory.
        state: where bundles are kept.
        swap: puts a bundle to use in every worker, or in none; raises WorkerError.
        build_timeout: seconds.
    """

    directory: Path
    state: StateDirectory
    swap: Callable[[Path], Awaitable[None]]
    build_timeout: float = BUILD_TIMEOUT
    active: Path | None = None
    digest: str = ""
    since: float = 0.0
    files: tuple[Path, ...] = ()
    last: Outcome | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _spare: Job | None = None
    _results: dict[str, int] = field(default_factory=dict)
    _seconds: Histogram = field(default_factory=lambda: Histogram(RELOAD_BUCKETS))

    @property
    def revision(self) -> str:
        """The active revision, 12 hex digits; empty before the first activation."""
        return self.active.name.rpartition("-")[2] if self.active is not None else ""

    @property
    def watched(self) -> tuple[Path, ...]:
        """What to watch: the directory, and the files elsewhere that the last good build read."""
        elsewhere = (path for path in self.files if not path.is_relative_to(self.directory))
        return (self.directory, *elsewhere)

    async def reload(self, cause: str) -> Outcome:
        """Try to activate what is on disk now; one that is under way is waited for first."""
        async with self._lock:
            began, started = time.time(), time.monotonic()
            try:
                outcome = await self._attempt(cause)
            except (WorkerError, StateError, OSError) as error:
                outcome = self._outcome("failed", cause, ({"message": str(error)},))
            seconds = time.monotonic() - started
            # Whoever asked for it tells by these two when it began, and whether that was before he asked.
            outcome = replace(outcome, at=began + seconds, seconds=seconds)
            self._results[outcome.result] = self._results.get(outcome.result, 0) + 1
            self._seconds.observe(outcome.seconds)
            self.last = outcome
        return outcome

    async def resume(self) -> bool:
        """Activate the bundle that was in use when an earlier run ended; False when there is none.

        Raises:
            WorkerError: it can't be opened either.
        """
        bundle = self.state.last_good()
        if bundle is None:
            return False
        await self.swap(bundle)
        self.active = bundle
        self.since = time.time()
        _log.warning("the last good policy is used, since the policy directory has a bad one", revision=self.revision)
        return True

    async def prepare_builder(self) -> None:
        """Have a builder process wait for the next job, which is then done sooner by the time its imports take."""
        if self._spare is None:
            self._spare = await Job.start(_BUILDER, _BUILDER_NAME)

    async def close(self) -> None:
        """End the waiting builder process."""
        if self._spare is not None:
            await self._spare.end()
            self._spare = None

    def samples(self) -> Samples:
        """Return the counts of attempts and their durations."""
        found: Samples = {("reload_total", (result,)): count for result, count in self._results.items()}
        found.update(self._seconds.samples("reload_duration_seconds"))
        return found

    async def _attempt(self, cause: str) -> Outcome:
        with self.state.draft() as draft:
            # Whatever changes while this is built is another edit, and makes another attempt; the builder itself makes
            # sure that what it read was there at one time.
            return await self._activate(cause, draft, await self._build(draft))

    async def _activate(self, cause: str, draft: Path, report: dict[str, Any]) -> Outcome:
        if "problems" in report:
            return self._outcome("rejected", cause, tuple(report["problems"]))
        if "error" in report:
            return self._outcome("failed", cause, ({"message": report["error"]},))
        warnings = tuple(report["warnings"])
        self.files = _normal(report["files"])
        if self.active is not None and report["digest"] == self.digest:
            return self._outcome("unchanged", cause, warnings=warnings)
        bundle = self.state.keep(draft, report["revision"])
        try:
            await self.swap(bundle)
        except BaseException:
            self.state.discard(bundle)
            raise
        self.active = bundle
        self.since = time.time()
        self.digest = report["digest"]
        self.state.activate(bundle)
        return self._outcome("activated", cause, warnings=warnings)

    async def _build(self, draft: Path) -> dict[str, Any]:
        builder, self._spare = self._spare, None
        if builder is None or not builder.is_alive:
            builder = await Job.start(_BUILDER, _BUILDER_NAME)
        job = {"directory": str(self.directory), "bundle": str(draft), "state": str(self.state.path)}
        return await builder.run(job, self.build_timeout)

    def failed(self, cause: str, message: str) -> Outcome:
        """Return the outcome of what was not even tried."""
        return self._outcome("failed", cause, ({"message": message},))

    def _outcome(
        self,
        result: str,
        cause: str,
        problems: tuple[dict[str, Any], ...] = (),
        warnings: tuple[dict[str, Any], ...] = (),
    ) -> Outcome:
        return Outcome(result, cause, self.revision, time.time(), 0.0, problems, warnings)


def _normal(names: list[str]) -> tuple[Path, ...]:
    return tuple(Path(os.path.normpath(name)) for name in names)


def sentence(problem: dict[str, Any]) -> str:
    """Write a reported problem as `file:line:col path: message`."""
    if not problem.get("file"):
        return str(problem["message"])
    return str(Problem(**problem))


def tell(outcome: Outcome) -> None:
    """Log how an attempt ended, and every problem with its position."""
    seconds = round(outcome.seconds, 3)
    if outcome.is_fine:
        _log.info("policy " + outcome.result, revision=outcome.revision, cause=outcome.cause, seconds=seconds)
    else:
        _log.error("policy " + outcome.result, active_revision=outcome.revision, cause=outcome.cause, seconds=seconds)
    for problem in outcome.problems:
        _log.error("policy problem", problem=sentence(problem))
    for problem in outcome.warnings:
        _log.warning("policy warning", problem=sentence(problem))
