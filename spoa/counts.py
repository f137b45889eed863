"""What a worker counts of its answers beside their verdicts, and the reports that it holds back."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

import structlog

from spoa.histogram import Histogram
from spoa.metrics import REQUEST_BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from spoa.authorizer import Judgement, Policy
    from spoa.exceptions import ProtocolError
    from spoa.metrics import Sample, Samples
    from spoa.policy.decision import Tally
    from spoa.recall import Judged

__all__ = ["Counts", "Decisions"]

_REPORT_INTERVAL: Final = 1.0  # seconds between two tracebacks in the log
_AT_ONCE: Final = 512  # counts of policies that are told or added up without a break
_SOFT_FAIL_INTERVAL: Final = 60.0  # seconds between two warnings about one issuer

_log = structlog.get_logger()


class Counts:
    """Frames, errors, times, and what was let pass although something was wrong.

    Args:
        clock: seconds since whenever, for what is held back.

    Attributes:
        hellos: so many HELLOs came.
        notifies: and so many NOTIFYs, each of which had an ACK.
    """

    __slots__ = (
        "_break_glass", "_broken", "_clock", "_internal", "_next_report", "_next_soft_fail_report", "_seconds",
        "_unassured", "_unreported", "hellos", "notifies",
    )  # fmt: skip

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self.hellos = 0
        self.notifies = 0
        self._broken: dict[int, int] = {}
        self._internal: dict[str, int] = {}
        self._seconds = Histogram(REQUEST_BUCKETS)
        self._unassured: Samples = {}
        self._break_glass: Samples = {}
        self._next_soft_fail_report: dict[str, float] = {}
        self._next_report = 0.0
        self._unreported = 0

    def answered(self, latency: float, count: int) -> None:
        """Count NOTIFYs that were answered so many seconds after they were read."""
        self.notifies += count
        self._seconds.observe(latency, count)

    def internal_error(self, cause: str) -> None:
        """Count a request that was denied because it could not be judged."""
        self._internal[cause] = self._internal.get(cause, 0) + 1

    def broken(self, error: ProtocolError) -> None:
        """Count and report a breach of the protocol."""
        status = int(error.status)
        self._broken[status] = self._broken.get(status, 0) + 1
        self.report("a peer broke the protocol", status=status, detail=error.detail)

    def failure(self, judgement: Judgement) -> None:
        """Count a judgement for which revocation could not be settled."""
        standing = judgement.standing
        if standing is not None and standing.issuer is not None and standing.assured is not None:
            labels = standing.issuer, judgement.revocation, standing.assured.detail
            key = ("revocation_failures_total", labels)
            self._unassured[key] = self._unassured.get(key, 0) + 1

    def soft_fails(self, judgement: Judgement) -> None:
        """Count what passed without assurance about its revocation; such answers are never recalled, so none is missed.

        The log is told once a minute for each issuer, since an outage concerns every request.
        """
        standing = judgement.standing
        issuer = "" if standing is None or standing.issuer is None else standing.issuer
        for source in judgement.soft_fails:
            key = ("revocation_soft_fails_total", (issuer, source))
            self._unassured[key] = self._unassured.get(key, 0) + 1
        now = self._clock()
        if now >= self._next_soft_fail_report.get(issuer, 0.0):
            self._next_soft_fail_report[issuer] = now + _SOFT_FAIL_INTERVAL
            _log.warning("a certificate passed unchecked for revocation", issuer=issuer, state=judgement.revocation)

    def break_glass(self, judged: Iterable[Judged], allowed: int) -> None:
        """Count decisions that were made while a switch was open; `allowed` more than those judged here were allows."""
        verdicts = [judgement.decision.verdict for _, judgement, _ in judged] + ["allow"] * allowed
        for verdict in ("allow", "deny"):
            key = ("break_glass_decisions_total", (verdict,))
            self._break_glass[key] = self._break_glass.get(key, 0) + verdicts.count(verdict)

    def report(self, event: str, **details: object) -> None:
        """Log one event a second at most: a flood of broken requests must not become a flood of tracebacks."""
        now = self._clock()
        if now < self._next_report:
            self._unreported += 1
            return
        _log.warning(event, **details, unreported_before=self._unreported)
        self._next_report = now + _REPORT_INTERVAL
        self._unreported = 0

    def samples(self) -> Samples:
        """Return all of it."""
        found = {**self._unassured, **self._break_glass}
        found.update(self._seconds.samples("request_duration_seconds"))
        found["frames_total", ("hello",)] = self.hellos
        found["frames_total", ("notify",)] = self.notifies
        found["frames_total", ("ack",)] = self.notifies
        found.update({("protocol_errors_total", (str(status),)): n for status, n in self._broken.items()})
        found.update({("internal_errors_total", (cause,)): n for cause, n in self._internal.items()})
        return found


class Decisions:
    """What policies have decided, one after the other, and what their caches missed.

    A policy may have thousands of counts. So they are told and added up some at a time, and whoever does that may do
    other work between.
    """

    __slots__ = ("_before", "_left")

    def __init__(self) -> None:
        self._before: Samples = {}
        self._left: tuple[_Counters, ...] = ()

    def leave(self, policy: Policy, successor: Policy) -> Iterator[None]:
        """Keep what a policy has counted that its successor does not count on.

        What is returned adds it up; it is told already.
        """
        left = _Counters(policy, successor)
        self._left += (left,)
        return self._settle(left)

    def _settle(self, left: _Counters) -> Iterator[None]:
        added: Samples = {}
        for number, (key, count) in enumerate(left.samples(), 1):
            added[key] = added.get(key, 0) + count
            if not number % _AT_ONCE:
                yield
        before: Samples | None = None
        total: Samples = {}
        while before is not self._before:  # another policy may have left meanwhile, and be added up sooner
            before = self._before
            total = dict(before)
            for number, (key, count) in enumerate(added.items(), 1):
                total[key] = total.get(key, 0) + count
                if not number % _AT_ONCE:
                    yield
        self._before, self._left = total, tuple(one for one in self._left if one is not left)

    def of(self, policy: Policy) -> Iterator[list[Sample]]:
        """Yield the counts of all policies so far, of which this one decides now; some several times, to be summed.

        They are those of now, also when policies change while they are told.
        """
        return _in_parts(_each(_Counters(policy), self._before, self._left))


def _in_parts(samples: Iterator[Sample | None]) -> Iterator[list[Sample]]:
    some: list[Sample] = []
    for number, sample in enumerate(samples, 1):
        if sample is not None:
            some.append(sample)
        if not number % _AT_ONCE:
            yield some
            some = []
    yield some


def _each(counters: _Counters, before: Samples, left: tuple[_Counters, ...]) -> Iterator[Sample | None]:
    told: set[tuple[str, tuple[str, ...]]] = set()
    for key, count in counters.samples():
        yield key, count if key in told else count + before.get(key, 0)
        told.add(key)
    for key, counted in before.items():
        yield None if key in told else (key, counted)
    for one in left:
        yield from one.samples()


class _Counters:
    """The counts of one policy, but for those that its successor counts on."""

    __slots__ = ("_caches", "_tallies")

    def __init__(self, policy: Policy, successor: Policy | None = None) -> None:
        self._tallies: tuple[Tally, ...] = ()
        self._caches = policy.cache_sizes()
        if successor is None or successor.evaluator is not policy.evaluator:
            self._tallies = tuple(policy.tallies())
        if successor is not None and successor.certificates is policy.certificates:
            del self._caches["certificates"]

    def samples(self) -> Iterator[Sample]:
        for tally in self._tallies:
            yield ("decisions_total", (tally.verdict, tally.reason, tally.rule)), tally.count
            if tally.shadow:
                yield ("shadow_denies_total", ()), tally.count
        for cache, (_, misses, evictions) in self._caches.items():
            yield ("cache_misses_total", (cache,)), misses
            yield ("cache_evictions_total", (cache,)), evictions
