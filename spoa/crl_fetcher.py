"""Keeps copies of the revocation lists that policies name by URL.

Each URL is looked at by a task of its own, for as long as a policy names it. What fails, or is no list, takes nothing
away: the copy is not what answers requests, and what was accepted from it before stays in force.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from spoa.circuit import CircuitState, backoff, refresh_delay
from spoa.download import Copy, Draft, download_path, read_copy, sweep, write_copy
from spoa.egress import read_target
from spoa.exceptions import StateError
from spoa.fetch import FetchError, Limits
from spoa.revocation.crl_index import MAX_CRL_SIZE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from pathlib import Path

    from spoa.egress import Target
    from spoa.evidence_store import Source
    from spoa.fetch import Fetcher
    from spoa.metrics import Samples

__all__ = ["CRL_LIMITS", "CrlFetcher", "Looked"]

#: What a list must keep to on its way.
CRL_LIMITS: Final = Limits(total=60.0, max_size=MAX_CRL_SIZE, min_rate=1024.0, grace=10.0)
#: A problem that is ours: the copy can't be written.
_DISK: Final = "disk"
_DEFECT: Final = "defect"

_log = structlog.get_logger()


class Looked(Protocol):
    """Is told after each look at a URL; `is_new` says that another body came than the one before."""

    def __call__(self, url: str, *, is_new: bool) -> Awaitable[None]:
        """Take note; the next look waits for this."""


@dataclass(slots=True)
class _Url:
    """One URL, and how it went so far. Times in seconds since the epoch, None for never.

    Attributes:
        failures: in a row.
        vain: looks in a row after which the list was still past its nextUpdate, or none.
        is_distrusted: what the copy holds is no list that could be used, so no condition is stated.
    """

    target: Target
    path: Path
    issuers: tuple[str, ...] = ()
    refresh: int = 300
    copy: Copy | None = None
    last_attempt: float | None = None
    last_success: float | None = None
    next_attempt: float | None = None
    status: int | None = None
    problem: str = ""
    detail: str = ""
    failures: int = 0
    vain: int = 0
    is_distrusted: bool = False
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class CrlFetcher:
    """Looks at URLs again and again.

    Args:
        fetcher: does the asking; started by whoever owns it before `follow` is called.
        downloads: the directory of copies.
        next_update: returns when the list in force from a URL runs out, seconds since the epoch; None for never.
        looked: is told after each look.
    """

    def __init__(
        self, fetcher: Fetcher, downloads: Path, next_update: Callable[[str], float | None], looked: Looked
    ) -> None:
        self._fetcher = fetcher
        self._downloads = downloads
        self._next_update = next_update
        self._looked = looked
        self._urls: dict[str, _Url] = {}
        self._ended: set[asyncio.Task[None]] = set()
        self._counts: dict[tuple[str, str], int] = {}

    def follow(self, *policies: Mapping[str, Source]) -> None:
        """Look at the URLs that the issuers of these policies name, and at no others, from now on."""
        wanted: dict[str, list[tuple[str, int]]] = {}
        for sources in policies:
            for issuer, source in sources.items():
                for url in source.urls:
                    wanted.setdefault(url, []).append((issuer, source.refresh))
        for url in self._urls.keys() - wanted.keys():
            self._end(self._urls.pop(url))
        for url, users in wanted.items():
            one = self._urls.get(url)
            if one is None:
                one = self._urls[url] = _Url(read_target(url), download_path(self._downloads, url))
                one.task = asyncio.create_task(self._keep(one))
            refresh = min(refresh for _, refresh in users)
            if refresh < one.refresh:
                one.changed.set()
            one.issuers, one.refresh = tuple(dict.fromkeys(issuer for issuer, _ in users)), refresh

    async def wait_for(self, urls: Collection[str], seconds: float) -> None:
        """Wait until the first look at each of these URLs has ended, well or not, but no longer than this."""
        events = [asyncio.create_task(self._urls[url].looked.wait()) for url in urls if url in self._urls]
        if events:
            _, pending = await asyncio.wait(events, timeout=seconds)
            for event in pending:
                event.cancel()

    async def sweep(self) -> None:
        """Remove the copies of URLs that nobody names any more."""
        if self._ended:
            await asyncio.wait(self._ended)
        await asyncio.to_thread(sweep, self._downloads, {one.path.name for one in self._urls.values()})

    async def close(self) -> None:
        """End all looks."""
        self.follow({})
        if self._ended:
            await asyncio.wait(self._ended)

    def has_copy(self, url: str) -> bool:
        """Tell whether something that a URL sent is on disk."""
        return download_path(self._downloads, url).exists()

    def is_failing(self, url: str) -> bool:
        """Tell whether the last look at a URL failed."""
        return url in self._urls and self._urls[url].failures > 0

    def distrust(self, urls: Collection[str]) -> None:
        """Take note of which copies hold nothing that could be used, and which do."""
        for url, one in self._urls.items():
            one.is_distrusted = url in urls

    def describe(self, url: str) -> dict[str, Any]:
        """Return what `/status` shows of a URL."""
        one = self._urls.get(url)
        if one is None:
            return {"url": url}
        return {
            "url": url,
            "last_attempt": one.last_attempt,
            "last_success": one.last_success,
            "next_attempt": one.next_attempt,
            "status": one.status,
            "problem": one.problem or None,
            "detail": one.detail,
            "failures": one.failures,
            "etag": one.copy.etag if one.copy else "",
            "circuit": str(self._fetcher.circuits().get(one.target.authority, CircuitState.CLOSED)),
        }

    def samples(self) -> Samples:
        """Return the counts of looks, by issuer and result."""
        return {
            ("revocation_fetches_total", (issuer, "crl", result)): count
            for (issuer, result), count in self._counts.items()
        }

    def _end(self, one: _Url) -> None:
        assert one.task is not None
        one.task.cancel()
        self._ended.add(one.task)
        one.task.add_done_callback(self._ended.discard)

    async def _keep(self, one: _Url) -> None:
        one.copy = await asyncio.to_thread(read_copy, one.path)
        while True:
            is_new = await self._look(one)
            one.looked.set()
            await self._tell(one, is_new=is_new)
            delay = self._delay(one)
            one.next_attempt = time.time() + delay
            one.changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(one.changed.wait(), delay)

    async def _look(self, one: _Url) -> bool:
        """Fetch a URL once; tell whether another body came."""
        one.last_attempt = time.time()
        try:
            is_new = await self._fetch(one)
        except FetchError as error:
            self._failed(one, str(error.kind), error.detail, error.status)
        except (OSError, StateError) as error:
            self._failed(one, _DISK, f"the copy can't be written: {error}", 0)
        except Exception as error:  # noqa: BLE001 -- a defect must not end the looks
            _log.exception("a revocation list could not be fetched", url=str(one.target))
            self._failed(one, _DEFECT, f"{type(error).__name__}: {error}", 0)
        else:
            self._succeeded(one, "new" if is_new else "unchanged")
            return is_new
        return False

    async def _fetch(self, one: _Url) -> bool:
        conditions = one.copy.conditions if one.copy is not None and not one.is_distrusted else {}
        headers = {"Accept": "application/pkix-crl, */*;q=0.5", **conditions}
        with Draft(one.path) as draft:

            async def take(piece: bytes) -> None:
                await asyncio.to_thread(draft.write, piece)  # a disk may be slow, and others wait for this loop

            answer = await self._fetcher.fetch(one.target, limits=CRL_LIMITS, headers=headers, sink=take)
            one.status = answer.status
            if answer.status == 304:  # noqa: PLR2004 -- not modified
                return False
            copy = Copy(draft.digest, answer.etag, answer.last_modified)
            is_new = one.copy is None or copy.digest != one.copy.digest
            # In this order a crash between the two leaves validators whose digest tells that they aren't the copy's.
            if copy != one.copy:
                await asyncio.to_thread(write_copy, one.path, copy)
            if is_new:
                await asyncio.to_thread(draft.keep)
            one.copy = copy
            return is_new

    async def _tell(self, one: _Url, *, is_new: bool) -> None:
        try:
            await self._looked(one.target.url, is_new=is_new)
        except Exception:  # noqa: BLE001 -- the same
            _log.exception("what was fetched could not be put to use", url=str(one.target))

    def _failed(self, one: _Url, problem: str, detail: str, status: int) -> None:
        one.problem, one.detail, one.status = problem, detail, status or None
        one.failures += 1
        self._count(one, problem)
        if one.failures == 1:
            _log.error(
                "a revocation list can't be fetched; what was in force stays",
                url=str(one.target),
                problem=problem,
                detail=detail,
            )

    def _succeeded(self, one: _Url, result: str) -> None:
        self._count(one, result)
        if one.failures:
            _log.info("a revocation list can be fetched again", url=str(one.target), failures=one.failures)
        one.problem, one.detail, one.failures = "", "", 0
        one.last_success = time.time()

    def _count(self, one: _Url, result: str) -> None:
        for issuer in one.issuers:
            self._counts[issuer, result] = self._counts.get((issuer, result), 0) + 1

    def _delay(self, one: _Url) -> float:
        """Return the seconds until the next look."""
        chance = random.random()  # noqa: S311 -- spreads load, guards nothing
        if one.failures:
            return backoff(one.failures, chance)
        end = self._next_update(one.target.url)
        left = None if end is None else end - time.time()
        one.vain = one.vain + 1 if one.is_distrusted or (left is not None and left <= 0) else 0
        if one.vain:
            return min(float(one.refresh), backoff(one.vain, chance))
        return refresh_delay(one.refresh, left, chance)
