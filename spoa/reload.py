"""From what is on disk to one swap in all workers, or to the reasons why not.

A bundle is built in a process of its own and handed over. The road is the same for an editor's save, a rename, a
flipped symbolic link, a signal, a request and an earlier revision: whatever fails on it, the policy in use stays.

A rollback holds as long as the directory holds what was rolled back from, over restarts too. The first good policy in
it that is another one takes its place.

Threads wait for the disk, one after the other: while it is slow, the loop goes on asking responders and answering the
watchdog.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from spoa.bundle import is_of_this_version
from spoa.control import WorkerError
from spoa.exceptions import Problem, StateError
from spoa.histogram import Histogram
from spoa.history import History, Kept, Rollback
from spoa.jobs import Workshop
from spoa.metrics import RELOAD_BUCKETS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

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
        cause: what asked for it: `start`, `change`, `signal`, `request`, `promote`, `rollback`.
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

    def describe(self) -> dict[str, Any]:
        """Return what `status` shows of it."""
        return {
            "result": self.result,
            "cause": self.cause,
            "revision": self.revision,
            "at": self.at,
            "seconds": self.seconds,
            "problems": [sentence(problem) for problem in self.problems],
            "warnings": [sentence(problem) for problem in self.warnings],
        }


@dataclass(slots=True)
class Reloader:
    """Builds what the policy directory holds and hands it to `swap`, one attempt at a time.

    Args:
        directory: the policy directory.
        state: where bundles are kept.
        swap: puts a bundle to use in every worker, or in none; raises WorkerError.
        build_timeout: seconds.
        history: where revisions are kept, to go back to; None for nowhere.

    Attributes:
        rollback: the rollback in force, or None.
        builder: what builds; whoever has a reloader closes it, and may prepare it.
        is_directory_good: what the directory held at the last look was activated, or is what was rolled back from.
    """

    directory: Path
    state: StateDirectory
    swap: Callable[[Path], Awaitable[None]]
    build_timeout: float = BUILD_TIMEOUT
    history: History | None = None
    rollback: Rollback | None = None
    is_directory_good: bool = False
    active: Path | None = None
    digest: str = ""
    since: float = 0.0
    files: tuple[Path, ...] = ()
    last: Outcome | None = None
    builder: Workshop = field(default_factory=lambda: Workshop(_BUILDER, _BUILDER_NAME))
    _of_directory: str = ""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
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
        outcome = await self._tried(cause, lambda: self._attempt(cause))
        self.is_directory_good = outcome.is_fine
        return outcome

    async def roll_back(self, revision: str, by: str, reason: str) -> Outcome:
        """Try to activate a kept revision, by the same road, and hold it; or to go forward to the directory's again.

        Args:
            revision: it, or what it begins with; empty for the one before the active one.
            by: who asked.
            reason: why; for people.
        """
        return await self._tried("rollback", lambda: self._attempt_rollback(revision, by, reason))

    async def _tried(self, cause: str, attempt: Callable[[], Awaitable[Outcome]]) -> Outcome:
        async with self._lock:
            began, started = time.time(), time.monotonic()
            try:
                outcome = await attempt()
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

        One that another version of the agent built is built anew from the files that were kept of it.

        Raises:
            WorkerError: it can't be opened either.
        """
        bundle = await asyncio.to_thread(self.state.last_good)
        if bundle is None:
            return False
        if await asyncio.to_thread(is_of_this_version, bundle):
            await self.swap(bundle)
            self.active = bundle
        elif not await self._rebuild(bundle.name.rpartition("-")[2]):
            return False
        self.since = time.time()
        _log.warning("the last good policy is used, since the policy directory has a bad one", revision=self.revision)
        return True

    async def _rebuild(self, revision: str) -> bool:
        """Build the last good policy anew from its kept files, where another version of the agent has built it."""
        try:
            if self.history is None:
                return False
            outcome = await self._go_back(await asyncio.to_thread(self.history.find, revision), "start")
        except StateError as error:
            _log.error("the last good policy was built by another version, and can't be built anew", error=str(error))
            return False
        tell(outcome)
        return outcome.is_fine

    def samples(self) -> Samples:
        """Return the counts of attempts and their durations."""
        found: Samples = {("reload_total", (result,)): count for result, count in self._results.items()}
        found.update(self._seconds.samples("reload_duration_seconds"))
        return found

    async def _attempt(self, cause: str) -> Outcome:
        await asyncio.to_thread(self._read_rollback)
        async with _draft(self.state) as draft:
            # Whatever changes while this is built is another edit, and makes another attempt; the builder itself makes
            # sure that what it read was there at one time.
            return await self._activate(cause, draft, await self._build(draft, self.directory))

    def _read_rollback(self) -> None:
        """Take up the rollback that an earlier run left; done once, before anything is active."""
        if self.history is not None and self.active is None:
            self.rollback = self.history.rollback()

    async def _activate(self, cause: str, draft: Path, report: dict[str, Any]) -> Outcome:
        refused = self._refused(cause, report)
        if refused is not None:
            return refused
        warnings = tuple(report["warnings"])
        self.files = _normal(report["files"])
        self._of_directory = report["revision"]
        if self.rollback is not None and cause != "promote" and report["revision"] == self.rollback.source:
            return await self._hold(cause, self.rollback, warnings)
        if self.active is not None and report["digest"] == self.digest:
            await asyncio.to_thread(self._keep, report, cause, is_new=False)
            return self._outcome("unchanged", cause, warnings=warnings)
        await self._swap_in(draft, report)
        await asyncio.to_thread(self._keep, report, cause, is_new=True)
        return self._outcome("activated", cause, warnings=warnings)

    def _refused(self, cause: str, report: dict[str, Any]) -> Outcome | None:
        if "problems" in report:
            return self._outcome("rejected", cause, tuple(report["problems"]))
        if "error" in report:
            return self._outcome("failed", cause, ({"message": report["error"]},))
        return None

    async def _swap_in(self, draft: Path, report: dict[str, Any]) -> None:
        bundle = await asyncio.to_thread(self.state.keep, draft, report["revision"])
        try:
            await self.swap(bundle)
        except BaseException:
            await asyncio.to_thread(self.state.discard, bundle)
            raise
        self.active = bundle
        self.since = time.time()
        self.digest = report["digest"]
        await asyncio.to_thread(self.state.activate, bundle)

    async def _build(self, draft: Path, directory: Path) -> dict[str, Any]:
        job = {"directory": str(directory), "bundle": str(draft), "live": str(self.directory)}
        if self.history is not None:
            job["keep"] = str(self.history.files)
        return await self.builder.run(job, self.build_timeout)

    # -- going back -------------------------------------------------------------------------------------------------

    def _keep(self, report: dict[str, Any], cause: str, *, is_new: bool) -> None:
        """Keep what the directory holds, which is active now, and end the rollback that it takes the place of."""
        if self.history is None:
            return
        was, self.rollback = self.rollback, None
        if was is not None:
            self.history.release()
        revision = report["revision"]
        now = Kept(revision, self.since, cause, report["kept"])
        before = next((one for one in self.history.revisions() if one.revision == revision), now)
        # The same policy may have other tests by now, which are those that it is to be kept with.
        self.history.keep(now if is_new else replace(before, files=now.files), self._needed())
        if is_new or was is not None:
            ended = {} if was is None else {"ends_rollback_to": was.to}
            self.history.note(at=time.time(), what="activated", revision=revision, cause=cause, **ended)

    def _needed(self) -> tuple[str, ...]:
        return () if self.rollback is None else (self.rollback.source, self.rollback.to)

    async def _hold(self, cause: str, rollback: Rollback, warnings: tuple[dict[str, Any], ...]) -> Outcome:
        """Leave what was rolled back to active, or at a start make it so."""
        held = {
            "message": f"rolled back to {rollback.to} by {rollback.by}; the directory still holds {rollback.source}, "
            f"which comes back by `spoa-authz rollback {rollback.source}`, another policy by a change of the directory"
        }
        if self.revision == rollback.to:
            return self._outcome("unchanged", cause, warnings=(*warnings, held))
        assert self.history is not None
        try:
            kept = await asyncio.to_thread(self.history.find, rollback.to)
        except StateError as error:
            raise StateError(error.path, f"{error.detail}; {self.history.way_out}") from error
        outcome = await self._go_back(kept, cause)
        return replace(outcome, warnings=(*outcome.warnings, held))

    async def _attempt_rollback(self, revision: str, by: str, reason: str) -> Outcome:
        history = self.history
        if history is None or self.active is None:
            return self._outcome("failed", "rollback", ({"message": "nothing is active yet"},))
        before = self.revision
        kept = await asyncio.to_thread(lambda: history.find(revision) if revision else history.before(before))
        source = self._of_directory or (self.rollback.source if self.rollback is not None else before)
        if kept.revision == before:
            return self._outcome("unchanged", "rollback")
        at = time.time()
        # Written first: an agent that dies in between starts with what it was told to go back to.
        was, self.rollback = self.rollback, None
        try:
            if kept.revision == source:
                outcome = await self._go_back(kept, "rollback")
            else:
                self.rollback = Rollback(source, kept.revision, by, at, reason)
                await asyncio.to_thread(history.roll_back, self.rollback)
                outcome = await self._go_back(kept, "rollback")
        except BaseException:
            await asyncio.to_thread(self._restore, was)
            raise
        if not outcome.is_fine:
            await asyncio.to_thread(self._restore, was)
            return outcome
        if self.rollback is None:
            await asyncio.to_thread(history.release)
        change = {"revision": kept.revision, "from": before, "by": by, "reason": reason}
        await asyncio.to_thread(partial(history.note, at=at, what="rolled_back", cause="rollback", **change))
        _log.warning("rolled back", **change)
        return outcome

    def _restore(self, rollback: Rollback | None) -> None:
        """Be where one was before a rollback that failed."""
        assert self.history is not None
        self.rollback = rollback
        if rollback is None:
            self.history.release()
        else:
            self.history.roll_back(rollback)

    async def _go_back(self, kept: Kept, cause: str) -> Outcome:
        """Build, check and test a kept revision, and put it to use."""
        assert self.history is not None
        async with _draft(self.state) as draft, _draft(self.state) as place:
            directory = await asyncio.to_thread(self.history.write_out, kept, place)
            report = await self._build(draft, directory)
            refused = self._refused(cause, report)
            if refused is not None:
                return refused
            if report["revision"] != kept.revision:
                raise StateError(
                    kept.revision,
                    f"its files give revision {report['revision']} now, since one that its policies name by an "
                    "absolute path has changed; choose another revision",
                )
            await self._swap_in(draft, report)
        return self._outcome("activated", cause, warnings=tuple(report["warnings"]))

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


@contextlib.asynccontextmanager
async def _draft(state: StateDirectory) -> AsyncGenerator[Path, None]:
    """Yield a draft of the state directory; whoever waits for the disk is a thread."""
    draft = state.draft()
    path = await asyncio.to_thread(draft.__enter__)
    try:
        yield path
    finally:
        await asyncio.to_thread(draft.__exit__, None, None, None)


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
