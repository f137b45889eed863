"""Keeps the revocation lists of all workers the same as the best that was ever found where the policy looks for them.

A change of a file is followed at once, and what URLs send as soon as it has come. What can't be used changes nothing:
the older list stays, also after a restart, and is judged by its own dates; the problem is told.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import structlog

from spoa.control import WorkerError
from spoa.crl_fetcher import CrlFetcher
from spoa.evidence_store import (
    Manifest,
    collect_garbage,
    evidence_text,
    fitting_deltas,
    manifest_from_rows,
    read_manifest,
    read_sources,
    write_manifest,
)
from spoa.exceptions import StateError
from spoa.jobs import Workshop
from spoa.revocation.combine import State
from spoa.revocation.status import Reason, most_specific
from spoa.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from spoa.evidence_store import Held, Source
    from spoa.fetch import Fetcher
    from spoa.metrics import Samples

__all__ = ["BUILD_TIMEOUT", "FIRST_FETCH_TIMEOUT", "EvidenceKeeper", "state_of_lists"]

#: Seconds after which the loading of lists is given up.
BUILD_TIMEOUT: Final = 120.0
#: Seconds for which a policy waits at most for the first answers of URLs that have left no usable list yet.
FIRST_FETCH_TIMEOUT: Final = 10.0
_BUILDER: Final = ("-P", "-m", "spoa.crl_builder")
_RETRY: Final = 60.0  # seconds until what time alone may mend is tried again
_MENDED_BY_TIME: Final = Reason.NOT_YET_VALID
_STATES: Final = (State.GOOD, State.STALE, State.UNREACHABLE, State.NOT_LOADED, State.UNDETERMINED)
#: Problems of a download that say nothing against the copy of it: it is what the CA signed.
_AUTHENTIC: Final = frozenset({Reason.ROLLBACK, Reason.NOT_YET_VALID})

#: Which deltas may be applied to which complete list, as `fitting_deltas` tells.
Fitting: TypeAlias = "Mapping[str, frozenset[str]]"
_NONE_FITS: Final[Fitting] = MappingProxyType({})

_log = structlog.get_logger()


def state_of_lists(
    source: Source, lists: Sequence[Held], now: float, outage: str = "", fitting: Fitting = _NONE_FITS
) -> tuple[str, str]:
    """Return what a source can say at best of a certificate that is not revoked, and why not more.

    `outage` is why there is no list, where there is none; `fitting` tells which deltas may be applied to which list.
    """
    complete = [held for held in lists if not held.is_delta]
    if not complete:
        return "unreachable" if outage == State.UNREACHABLE else "not_loaded", outage or "not_loaded"
    for held in complete:
        if held.problem:
            return "undetermined", held.problem
        if now >= _used_until(source, held, lists, fitting):
            return ("undetermined", "no_next_update") if held.next_update is None else ("stale", "stale")
    is_late = any(_is_late(source, held, lists, fitting, now) for held in complete)
    return "good", "late" if is_late else "ok"


def _used_until(source: Source, held: Held, lists: Sequence[Held], fitting: Fitting) -> int:
    """Return the instant until which a complete list counts: a delta that fits keeps one with a nextUpdate fresh."""
    if held.next_update is None:
        return _counts_until(source, held)
    return max(_counts_until(source, one) for one in (held, *_deltas(held, lists, fitting)))


def _is_late(source: Source, held: Held, lists: Sequence[Held], fitting: Fitting, now: float) -> bool:
    """Tell whether a list that counts, together with its newest delta, is past its nextUpdate."""
    deltas = [one for one in _deltas(held, lists, fitting) if now < _counts_until(source, one)]
    newest = max(deltas, key=lambda one: one.number or 0, default=held)
    return newest.next_update is not None and now >= newest.next_update


def _deltas(held: Held, lists: Sequence[Held], fitting: Fitting) -> list[Held]:
    digests = fitting.get(held.digest, frozenset())
    return [one for one in lists if one.is_delta and not one.problem and one.digest in digests]


def _counts_until(source: Source, held: Held) -> int:
    """Return the instant until which a list counts by its own dates."""
    if held.next_update is None:
        return held.this_update + source.max_age_without_next_update
    return held.next_update + (source.max_stale if held.next_update > held.this_update else 0)


class EvidenceKeeper:
    """Loads revocation lists in a process of its own, and has them swapped in.

    Args:
        evidence: the directory of indexes and of the manifest.
        downloads: the directory of copies of what URLs sent.
        fetcher: asks for them.
        swap: puts a bundle (None: the one in use) and evidence, as text, to use in all workers or in none; raises
            WorkerError.
    """

    def __init__(
        self,
        evidence: Path,
        downloads: Path,
        fetcher: Fetcher,
        swap: Callable[[Path | None, str], Awaitable[None]],
    ) -> None:
        self._evidence = evidence
        self._downloads = downloads
        self._swap = swap
        self._urls = CrlFetcher(fetcher, downloads, self._next_update, self._take)
        self._manifest: Manifest = read_manifest(evidence)
        self._fitting: Fitting | None = None
        self._sources: dict[str, Source] = {}
        self._outages: dict[str, str] = {}
        self._problems: list[dict[str, str]] = []
        self._error = ""
        self._attempted = 0.0
        self._lock = asyncio.Lock()
        self._asked = 0
        self._served = 0
        self._watcher = Watcher((), quiet=0.05, interval=0.25)
        self._builder = Workshop(_BUILDER, "the builder of revocation lists")
        self._results: dict[str, int] = {}

    async def swap_bundle(self, bundle: Path) -> None:
        """Put a bundle to use together with the lists that its policy asks for, loaded before anyone judges by it.

        Raises:
            WorkerError: a worker can't open it.
            StateError: the bundle or the state directory can't be used.
        """
        sources = await asyncio.to_thread(read_sources, bundle)
        try:
            self._urls.follow(self._sources, sources)
            # Outside the lock, since files may change meanwhile. Whoever was looked at before is not waited for.
            await self._urls.wait_for(self._bare_urls(sources), FIRST_FETCH_TIMEOUT)
            async with self._lock:
                await self._adopt(bundle, sources)
        finally:
            self._urls.follow(self._sources)
        await self._urls.sweep()
        self._watcher.watch([path for source in self._sources.values() for path in source.paths])

    async def _adopt(self, bundle: Path, sources: dict[str, Source]) -> None:
        if sources == self._sources:
            await self._swap(bundle, evidence_text(self._manifest, self._outages))
            return
        before, self._sources = self._sources, sources
        try:
            await self._load(bundle)
        except BaseException:
            self._sources = before
            raise

    def _bare_urls(self, sources: Mapping[str, Source]) -> list[str]:
        """Return the URLs that have left nothing in force that has not run out."""
        now = time.time()
        found: list[str] = []
        for name, source in sources.items():
            fresh = {
                held.source
                for held in self._manifest.get(name, ())
                if not held.is_delta and (held.next_update is None or now < held.next_update)
            }
            # A copy of the same list, from another place, is in force for both.
            found += [url for url in source.urls if url not in fresh and not (fresh and self._urls.has_copy(url))]
        return found

    async def update(self) -> None:
        """Load what the sources hold now; where that can't be put to use, all stays as it is.

        Those who call while others wait for their turn share one load.
        """
        self._asked += 1
        mine = self._asked
        async with self._lock:
            if self._served >= mine:
                return
            self._served = self._asked
            try:
                await self._load(None)
            except (WorkerError, StateError, OSError) as error:
                self._fail(str(error))
            await self._prepare_builder()

    async def _take(self, url: str, *, is_new: bool) -> None:
        """Load what a URL sent; tell the workers where it is the reason that an issuer has no list, or no more."""
        if not any(url in source.urls for source in self._sources.values()):
            return  # of a policy that is yet to be put to use, which loads it then
        if is_new:
            await self.update()
            return
        async with self._lock:
            outages = self._current_outages(self._manifest, self._problems)
            if outages == self._outages:
                return
            try:
                await self._swap(None, evidence_text(self._manifest, outages))
            except WorkerError as error:
                self._fail(str(error))
            else:
                self._outages = outages

    def _current_outages(self, manifest: Manifest, problems: Iterable[dict[str, str]]) -> dict[str, str]:
        """Return which issuers have no list, and why: their URLs can't be fetched, or what there is was refused."""
        found: dict[str, str] = {}
        for name, source in self._sources.items():
            if not all(held.is_delta for held in manifest.get(name, ())):
                continue
            refused = most_specific(*(Reason(one["reason"]) for one in problems if one["issuer"] == name))
            if any(map(self._urls.is_failing, source.urls)):
                found[name] = str(Reason.UNREACHABLE)
            elif refused is not Reason.NOT_LOADED:
                found[name] = str(refused)
        return found

    def _next_update(self, url: str) -> float | None:
        ends = [held.next_update for lists in self._manifest.values() for held in lists if held.source == url]
        return min((end for end in ends if end is not None), default=None)

    async def watch(self) -> None:
        """Follow the files for ever."""
        async with self._lock:
            await self._prepare_builder()
        async for _ in self._watcher.changes():
            await self.update()

    async def retry(self) -> None:
        """Try again for ever what time alone may mend: a list from the future, a failure of the machine."""
        while True:
            await asyncio.sleep(_RETRY)
            if self._error or any(problem["reason"] == _MENDED_BY_TIME for problem in self._problems):
                await self.update()

    async def close(self) -> None:
        """End the looks at URLs, and the waiting process."""
        await self._urls.close()
        await self._builder.close()

    async def _load(self, bundle: Path | None) -> None:
        report = await self._build() if self._sources else {"manifest": {}, "problems": []}
        self._attempted = time.time()
        manifest = manifest_from_rows(report["manifest"]) if "manifest" in report else self._kept()
        is_new = manifest != self._manifest
        outages = self._current_outages(manifest, report.get("problems", self._problems))
        if bundle is not None or is_new or outages != self._outages:
            await self._swap(bundle, evidence_text(manifest, outages))
        if is_new or self._fitting is None:
            self._fitting = await asyncio.to_thread(fitting_deltas, self._evidence, manifest)
        self._manifest, self._outages = manifest, outages
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
            name: tuple(held for held in self._manifest.get(name, ()) if held.source in source.places)
            for name, source in self._sources.items()
        }

    async def _build(self) -> dict[str, Any]:
        sources = {name: asdict(source) for name, source in self._sources.items()}
        order = {"evidence": str(self._evidence), "downloads": str(self._downloads), "sources": sources}
        return await self._builder.run(order, BUILD_TIMEOUT)

    async def _prepare_builder(self) -> None:
        """Have a process wait for the next job, which is then done sooner by the time its imports take."""
        if self._sources:
            await self._builder.prepare()

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
        self._urls.distrust({problem["file"] for problem in problems if self._is_worthless(problem)})
        if is_new:
            entries = sum(held.entries for lists in self._manifest.values() for held in lists)
            _log.info("revocation lists in force", lists=sum(map(len, self._manifest.values())), entries=entries)

    def _is_worthless(self, problem: dict[str, str]) -> bool:
        """Tell whether a copy is none of a list: cut off, or something else altogether."""
        if problem["reason"] in _AUTHENTIC:
            return False
        held = {one.source for lists in self._manifest.values() for one in lists}
        return problem["reason"] == Reason.PARSE_ERROR or problem["file"] not in held

    def _count(self, result: str) -> None:
        self._results[result] = self._results.get(result, 0) + 1

    def describe(self, now: float, soft_fails: Callable[[str], float]) -> dict[str, dict[str, Any]]:
        """Return what `status` shows of each issuer whose lists are read."""
        return {name: self._described(name, source, now, soft_fails(name)) for name, source in self._sources.items()}

    def _described(self, name: str, source: Source, now: float, soft_fails: float) -> dict[str, Any]:
        lists = self._manifest.get(name, ())
        state, reason = state_of_lists(source, lists, now, self._outages.get(name, ""), self._fitting or _NONE_FITS)
        return {
            "state": state,
            "reason": reason,
            "files": list(source.files),
            "urls": [self._urls.describe(url) for url in source.urls],
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
        found.update(self._urls.samples())
        for name, source in self._sources.items():
            labels = (name, "crl")
            for problem in self._problems:
                if problem["issuer"] == name:
                    key = ("revocation_problems", (*labels, problem["reason"]))
                    found[key] = found.get(key, 0) + 1
            lists = self._manifest.get(name, ())
            fitting = self._fitting or _NONE_FITS
            current, _ = state_of_lists(source, lists, now, self._outages.get(name, ""), fitting)
            for state in _STATES:
                found["revocation_state", (*labels, state)] = state == current
            found["revocation_entries", labels] = sum(held.entries for held in lists)
            if lists:
                found["revocation_age_seconds", labels] = now - min(held.this_update for held in lists)
            complete = [held for held in lists if not held.is_delta]
            ends = [(_used_until(source, held, lists, fitting), held.this_update) for held in complete]
            if ends:
                until, since = min(ends)
                found["revocation_expiry_seconds", labels] = until - now
                found["revocation_life_seconds", labels] = until - since
        return found
