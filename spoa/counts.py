"""What a worker counts of its answers beside their verdicts, and the reports that it holds back."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

import structlog

from spoa.histogram import Histogram
from spoa.metrics import REQUEST_BUCKETS, summed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from spoa.authorizer import Judgement, Policy
    from spoa.exceptions import ProtocolError
    from spoa.facts import Request
    from spoa.metrics import Sample, Samples

__all__ = ["Counts", "Decisions"]

_REPORT_INTERVAL: Final = 1.0  # seconds between two tracebacks in the log
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

    def break_glass(self, judged: Iterable[tuple[Request, Judgement]], allowed: int) -> None:
        """Count decisions that were made while a switch was open; `allowed` more than those judged here were allows."""
        verdicts = [judgement.decision.verdict for _, judgement in judged] + ["allow"] * allowed
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
    """What policies have decided, one after the other, and what their caches missed."""

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before: Samples = {}

    def leave(self, policy: Policy) -> None:
        """Keep what a policy has counted, which decides no more."""
        self._before = summed(self.of(policy))

    def of(self, policy: Policy) -> Iterator[Sample]:
        """Yield the counts of all policies so far, of which this one decides now; some twice, to be summed.

        A policy may have thousands of them. So they are yielded one by one, and whoever takes them may pause between:
        when policies change meanwhile, they are those of before.
        """
        before = self._before
        found: set[tuple[str, tuple[str, ...]]] = set()
        for key, count in _counted_by(policy):
            yield key, count if key in found else count + before.get(key, 0)
            found.add(key)
        for key, counted in before.items():
            if key not in found:
                yield key, counted


def _counted_by(policy: Policy) -> Iterator[Sample]:
    for tally in policy.tallies():
        yield ("decisions_total", (tally.verdict, tally.reason, tally.rule)), tally.count
        if tally.shadow:
            yield ("shadow_denies_total", ()), tally.count
    for cache, (_, misses, evictions) in policy.cache_sizes().items():
        yield ("cache_misses_total", (cache,)), misses
        yield ("cache_evictions_total", (cache,)), evictions
