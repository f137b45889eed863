"""Keeps the revocation lists of all workers the same as the best that was ever found where the policy looks for them.

A change of a file is followed at once. What can't be used changes nothing: the older list stays, also after a restart,
and is judged by its own dates; the problem is told.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import structlog

from spoa.control import WorkerError
from spoa.evidence_store import (
    Manifest,
    collect_garbage,
    manifest_from_rows,
    manifest_text,
    read_manifest,
    read_sources,
    write_manifest,
)
from spoa.exceptions import StateError
from spoa.jobs import Job
from spoa.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from spoa.evidence_store import Held, Source
    from spoa.metrics import Samples

__all__ = ["BUILD_TIMEOUT", "EvidenceKeeper", "state_of_lists"]

#: Seconds after which the loading of lists is given up.
BUILD_TIMEOUT: Final = 120.0
_BUILDER: Final = ("-P", "-m", "spoa.crl_builder")
_RETRY: Final = 60.0  # seconds until what time alone may mend is tried again
_MENDED_BY_TIME: Final = "not_yet_valid"
_STATES: Final = ("good", "stale", "not_loaded", "undetermined")

_log = structlog.get_logger()


def state_of_lists(source: Source, lists: Sequence[Held], now: float) -> tuple[str, str]:
    """Return what a source can say at best of a certificate that is not revoked, and why not more."""
    complete = [held for held in lists if not held.is_delta]
    if not complete:
        return "not_loaded", "not_loaded"
    fresh_delta = any(held.is_delta and held.next_update is not None and now < held.next_update for held in lists)
    for held in complete:
        if held.problem:
            return "undetermined", held.problem
        if held.next_update is None:
            if now >= held.this_update + source.max_age_without_next_update:
                return "undetermined", "no_next_update"
        elif now >= held.next_update + source.max_stale and not fresh_delta:
            return "stale", "stale"
    is_late = any(held.next_update is not None and now >= held.next_update for held in complete)
    return "good", "late" if is_late else "ok"


class EvidenceKeeper:
    """Loads revocation lists in a process of its own, and has them swapped in.

    Args:
        evidence: the directory of indexes and of the manifest.
        swap: puts a bundle (None: the one in use) and a manifest, as text, to use in all workers or in none; raises
            WorkerError.
    """

    def __init__(self, evidence: Path, swap: Callable[[Path | None, str], Awaitable[None]]) -> None:
        self._evidence = evidence
        self._swap = swap
        self._manifest: Manifest = read_manifest(evidence)
        self._sources: dict[str, Source] = {}
        self._problems: list[dict[str, str]] = []
        self._error = ""
        self._attempted = 0.0
        self._lock = asyncio.Lock()
        self._watcher = Watcher((), quiet=0.05, interval=0.25)
        self._spare: Job | None = None
        self._results: dict[str, int] = {}

    async def swap_bundle(self, bundle: Path) -> None:
        """Put a bundle to use together with the lists that its policy asks for, loaded before anyone judges by it.

        Raises:
            WorkerError: a worker can't open it.
            StateError: the bundle or the state directory can't be used.
        """
        async with self._lock:
            sources = await asyncio.to_thread(read_sources, bundle)
            if sources == self._sources:
                await self._swap(bundle, manifest_text(self._manifest))
                return
            before, self._sources = self._sources, sources
            try:
                await self._load(bundle)
            except BaseException:
                self._sources = before
                raise
        self._watcher.watch([path for source in self._sources.values() for path in source.paths])

    async def update(self) -> None:
        """Load what the sources hold now; where that can't be put to use, all stays as it is."""
        async with self._lock:
            try:
                await self._load(None)
            except (WorkerError, StateError, OSError) as error:
                self._fail(str(error))

    async def watch(self) -> None:
        """Follow the files for ever."""
        await self._prepare_builder()
        async for _ in self._watcher.changes():
            await self.update()
            await self._prepare_builder()

    async def retry(self) -> None:
        """Try again for ever what time alone may mend: a list from the future, a failure of the machine."""
        while True:
            await asyncio.sleep(_RETRY)
            if self._error or any(problem["reason"] == _MENDED_BY_TIME for problem in self._problems):
                await self.update()

    async def close(self) -> None:
        """End the waiting process."""
        if self._spare is not None:
            await self._spare.end()
            self._spare = None

    async def _load(self, bundle: Path | None) -> None:
        report = await self._build() if self._sources else {"manifest": {}, "problems": []}
        self._attempted = time.time()
        manifest = manifest_from_rows(report["manifest"]) if "manifest" in report else self._kept()
        is_new = manifest != self._manifest
        if bundle is not None or is_new:
            await self._swap(bundle, manifest_text(manifest))
        self._manifest = manifest
        if is_new:
            await asyncio.to_thread(write_manifest, self._evidence, manifest)
            await asyncio.to_thread(collect_garbage, self._evidence, manifest)
        if "error" in report:
            self._fail(str(report["error"]))
        elif self._sources:
            self._tell(report["problems"], is_new=is_new)

    def _kept(self) -> Manifest:
        """Return what stays in force when nothing can be loaded: of each issuer, what its sources gave before."""
        return {
            name: tuple(held for held in self._manifest.get(name, ()) if held.source in source.files)
            for name, source in self._sources.items()
        }

    async def _build(self) -> dict[str, Any]:
        job, self._spare = self._spare, None
        if job is None or not job.is_alive:
            job = await Job.start(_BUILDER, "the builder of revocation lists")
        sources = {name: asdict(source) for name, source in self._sources.items()}
        return await job.run({"evidence": str(self._evidence), "sources": sources}, BUILD_TIMEOUT)

    async def _prepare_builder(self) -> None:
        """Have a process wait for the next job, which is then done sooner by the time its imports take."""
        if self._spare is None and self._sources:
            self._spare = await Job.start(_BUILDER, "the builder of revocation lists")

    def _fail(self, error: str) -> None:
        self._count("failed")
        self._error = error
        _log.error("revocation lists could not be loaded; those in force stay", error=error)

    def _tell(self, problems: list[dict[str, str]], *, is_new: bool) -> None:
        self._count("rejected" if problems else "loaded" if is_new else "unchanged")
        self._error = ""
        for problem in problems:
            if problem not in self._problems:
                _log.error("a revocation list can't be used; what was in force stays", **problem)
        self._problems = problems
        if is_new:
            entries = sum(held.entries for lists in self._manifest.values() for held in lists)
            _log.info("revocation lists in force", lists=sum(map(len, self._manifest.values())), entries=entries)

    def _count(self, result: str) -> None:
        self._results[result] = self._results.get(result, 0) + 1

    def describe(self, now: float, soft_fails: Callable[[str], float]) -> dict[str, dict[str, Any]]:
        """Return what `status` shows of each issuer whose lists are read."""
        return {name: self._described(name, source, now, soft_fails(name)) for name, source in self._sources.items()}

    def _described(self, name: str, source: Source, now: float, soft_fails: float) -> dict[str, Any]:
        lists = self._manifest.get(name, ())
        state, reason = state_of_lists(source, lists, now)
        return {
            "state": state,
            "reason": reason,
            "files": list(source.files),
            "entries": sum(held.entries for held in lists),
            "lists": [{**asdict(held), "age": round(now - held.this_update)} for held in lists],
            "last_attempt": self._attempted,
            "error": self._error,
            "problems": [problem for problem in self._problems if problem["issuer"] == name],
            "soft_fails": int(soft_fails),
        }

    def samples(self, now: float) -> Samples:
        """Return the state of each issuer's lists, and the counts of attempts to load them."""
        found: Samples = {("revocation_loads_total", (result,)): count for result, count in self._results.items()}
        for name, source in self._sources.items():
            labels = (name, "crl")
            lists = self._manifest.get(name, ())
            current, _ = state_of_lists(source, lists, now)
            for state in _STATES:
                found["revocation_state", (*labels, state)] = state == current
            found["revocation_entries", labels] = sum(held.entries for held in lists)
            if lists:
                found["revocation_age_seconds", labels] = now - min(held.this_update for held in lists)
            ends = [held.next_update for held in lists if held.next_update is not None]
            if ends:
                found["revocation_expiry_seconds", labels] = min(ends) - now
        return found
