"""The frames of one read become one write: decode, judge, encode, and only then count and log.

Failure is an answer. A request that can't be judged, whatever is raised, or whose time is up, is denied as
`internal_error`; a frame that can't be decoded ends its connection with a status; nothing here lets one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import structlog

from spoa.adapter import Answers, no_verdict_actions, read_for_log, read_request
from spoa.comparison import Comparison
from spoa.enquiries import Enquiries, Waiting
from spoa.exceptions import ProtocolError
from spoa.facts import Request
from spoa.histogram import Histogram
from spoa.metrics import REQUEST_BUCKETS
from spoa.policy.model import Reason
from spoa.recall import Recall
from spoa.spop import ConnectionBroken, HealthCheckReceived, HelloReceived, Status
from spoa.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from spoa.authorizer import Judgement, Policy
    from spoa.decision_log import DecisionLog
    from spoa.enquiries import Client, Writer
    from spoa.metrics import Samples
    from spoa.spop import Connection, Event

__all__ = ["Answering", "Limits"]

_TURN: Final = 0.004  # seconds of judging before other connections get their turn
_FAILED: Final = ("failed", "", "")  # the count of comparisons that raised
_LOOK: Final = 16  # requests judged between two looks at the clock
_REPORT_INTERVAL: Final = 1.0  # seconds between two tracebacks in the log
_SETTLED: Final = frozenset({"", "good", "revoked", "not_checked"})  # revocation was not asked, or has an answer
_RESERVE: Final = 0.01  # seconds before the deadline at which a request waits no more
_SOFT_FAIL_INTERVAL: Final = 60.0  # seconds between two warnings about one issuer

#: Stands for a request of which nothing is known.
_UNREAD: Final = Request()

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a connection may ask for; times in seconds, sizes in bytes, `max_connections` per worker."""

    max_frame_size: int = 65532
    deadline: float = 0.08
    max_connections: int = 4096
    hello_timeout: float = 10.0
    idle_timeout: float = 300.0


class Answering:
    """Judges for all connections of a worker, and counts.

    Args:
        policy: the policy in use; `swap` replaces it between two reads.
        limits: only the deadline matters here.
        clock: seconds since the epoch.
        decision_log: where decisions go after their answer is out; None for nowhere.
        send: passes questions about certificates on, whose answers come to `take`; None where there is nobody to ask,
            and requests are judged by what is known.
        tracing: is told of requests that waited.
    """

    def __init__(
        self,
        policy: Policy,
        limits: Limits,
        clock: Callable[[], float],
        decision_log: DecisionLog | None,
        send: Callable[[list[dict[str, str]]], None] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._policy = policy
        self._answers = Answers(policy.revision)
        self._recall = Recall(policy, self._answers)
        self._deadline = limits.deadline
        self._patience = limits.deadline - min(_RESERVE, limits.deadline / 4)
        self._clock = clock
        self._floor = 0.0
        self._turned: Callable[[], object] | None = None
        self._decision_log = decision_log
        self._tracing = tracing or Tracing()
        self._hellos = 0
        self._is_leaving = False
        self._checked: float | None = None
        self._notifies = 0
        self._without_verdict = 0
        self._unlogged = 0
        self._logs_allows = decision_log is not None and decision_log.allow_share > 0
        self._unreported = 0
        self._broken: dict[int, int] = {}
        self._internal: dict[str, int] = {}
        self._seconds = Histogram(REQUEST_BUCKETS)
        self._decided: Samples = {}
        self._next_report = 0.0
        self._unassured: Samples = {}
        self._break_glass: Samples = {}
        self._next_soft_fail_report: dict[str, float] = {}
        self._comparison: Comparison | None = None
        self._compared: Samples = {}
        self._enquiries: Enquiries | None = None
        if send is not None:
            self._enquiries = Enquiries(policy.assurance.memory, send, clock, self._forget, self._resume)

    @property
    def policy(self) -> Policy:
        """The policy in use."""
        return self._policy

    @property
    def since_check(self) -> float | None:
        """Seconds since the last health check; None where there was none."""
        return None if self._checked is None else perf_counter() - self._checked

    def fail_checks(self) -> None:
        """Say DISCONNECT to health checks from now on, so that HAProxy takes this agent for one that is down."""
        self._is_leaving = True

    def swap(self, policy: Policy) -> None:
        """Judge by another policy from the next read on; what the old one counted is kept."""
        if policy.evaluator is not self._policy.evaluator:  # which counts on under another block list
            self._decided = self._decisions()
        self._policy = policy
        self._answers = Answers(policy.revision)
        self._recall = Recall(policy, self._answers)
        if self._comparison is not None and self._comparison.candidate.blocks is not policy.blocks:
            self.compare_with(self._comparison.candidate)

    def watch_clock(self, floor: float, turned: Callable[[], object]) -> None:
        """Have `turned` called before anything is judged by a clock that has passed *floor*, whichever way it went."""
        self._floor = floor
        self._turned = turned

    def compare_with(self, candidate: Policy | None) -> None:
        """Judge every request under a candidate too, from the next read on; None ends that. What was counted is kept.

        Nothing is recalled meanwhile, so that each request is compared.
        """
        self._compared = self._comparisons()
        self._comparison = None if candidate is None else Comparison(candidate.with_blocks(self._policy.blocks))

    def take(self, rows: Iterable[dict[str, Any]]) -> None:
        """Learn answers to questions about certificates; requests that waited for them are answered.

        Raises:
            KeyError, ValueError, TypeError: a row is none.
        """
        if self._enquiries is not None:
            self._enquiries.take(rows)

    def answer(
        self,
        connection: Connection,
        writer: Writer,
        events: list[Event],
        at: int,
        started: float,
        begun: float,
        client: Client | None = None,
    ) -> tuple[int, bool]:
        """Answer the events from index `at` on, of which there is one, as many as one turn allows, with one `write`.

        `started` says when they were read, by `perf_counter`, and `begun` what it is now. A `client` may be owed
        answers that have to wait. Returns the index to go on from, and whether the connection's last word was written.
        """
        now = self._time()
        passed = begun
        policy = self._policy
        answers: list[bytes] = []
        judged: list[tuple[Request, Judgement]] = []
        total = len(events)
        while True:
            portion = events if total <= _LOOK else events[at : at + _LOOK]
            if passed - started > self._deadline:
                is_last = self._refuse_all(connection, portion, answers, judged)
            else:
                is_last = self._judge(connection, portion, now, answers, judged, client, started)
            at += len(portion)
            if is_last or at >= total:
                break
            passed = perf_counter()
            if passed - begun > _TURN:
                break
        writer.write(b"".join(answers))
        count = len(judged) + self._unlogged
        if policy.switches:
            self._count_break_glass(judged, self._unlogged)
        self._unlogged = 0
        self._notifies += count
        if count:
            latency = perf_counter() - started
            self._seconds.observe(latency, count)
            if judged and self._decision_log is not None:
                self._decision_log.record(now, latency, judged, policy.revision, policy.switches)
        return at, is_last

    def refuse_rest(self, connection: Connection, events: list[Event], at: int) -> bytes:
        """Deny what is left of a connection that is about to be closed."""
        judged: list[tuple[Request, Judgement]] = []
        answers: list[bytes] = []
        self._refuse_all(connection, events[at:], answers, judged)
        self._notifies += len(judged)
        return b"".join(answers)

    def samples(self) -> Samples:
        """Return all counts."""
        found = self._decisions()
        found.update(self._unassured)
        found.update(self._break_glass)
        found.update(self._comparisons())
        for cache, (entries, _, _) in self._policy.cache_sizes().items():
            found["cache_entries", (cache,)] = entries
        found.update(self._seconds.samples("request_duration_seconds"))
        found["frames_total", ("hello",)] = self._hellos
        found["frames_total", ("notify",)] = self._notifies + self._without_verdict
        found["frames_total", ("ack",)] = self._notifies + self._without_verdict
        found.update({("protocol_errors_total", (str(status),)): n for status, n in self._broken.items()})
        found.update({("internal_errors_total", (cause,)): n for cause, n in self._internal.items()})
        if self._enquiries is not None:
            found.update(self._enquiries.samples())
        if self._decision_log is not None:
            found["decision_log_lines_total", ()] = self._decision_log.written
            found["decision_log_dropped_total", ()] = self._decision_log.dropped
        return found

    def _time(self) -> float:
        now = self._clock()
        # A clock that is set back must not make one expired certificate good again, also not until the next sweep.
        if self._turned is not None and (now >= self._floor) != self._policy.clock_usable:
            self._turned()
        return now

    def _judge(
        self,
        connection: Connection,
        events: list[Event],
        now: float,
        answers: list[bytes],
        judged: list[tuple[Request, Judgement]],
        client: Client | None,
        started: float,
    ) -> bool:
        # Hot path: this loop runs for each request. Counting, logging and the look at the clock are done for many
        # requests at a time.
        recall = self._recall
        comparison = self._comparison
        logs_allows = self._logs_allows
        seconds = int(now)
        recall.look_around(seconds)
        for event in events:
            if type(event) is not tuple:
                answers.append(self._other(connection, event))
                if not isinstance(event, HelloReceived):
                    return True
                continue
            ids, payload = event
            request: Request | None = None
            try:
                recalled = recall.ask(payload, seconds) if comparison is None else None
                if recalled is None:
                    request = read_request(payload)
                    judgement = None if request is None else self._policy.judge(request, now)
                    if judgement is not None and client is not None and _asks(judgement):
                        waiting = Waiting(client, connection, ids, payload, request or _UNREAD, started)
                        if self._waits(waiting, judgement):
                            client.owe()
                            continue
                    answer = connection.ack(ids, self._actions(judgement))
                    self._take_note(payload, request, judgement, now, judged)
                    answers.append(answer)
                else:
                    known, outcome = recalled
                    if outcome.is_allow and not logs_allows:
                        connection.put_ack(answers, ids, outcome.actions, known.days_left)
                        self._unlogged += 1
                    else:
                        asked, identifier = recall.request_of(payload)
                        judgement = known.judgement(outcome.decision)
                        judgement.id = identifier
                        connection.put_ack(answers, ids, outcome.actions, known.days_left)
                        judged.append((asked, judgement))
                    outcome.tally.count += 1
            except Exception as error:  # noqa: BLE001 -- fail closed: whatever it is, the answer is deny
                if isinstance(error, ProtocolError) and error.status == Status.INVALID_FRAME:
                    answers.append(self._break(connection, error))
                    return True
                self._report("a request was denied as internal_error", exc_info=error)
                answers.append(self._refuse(connection, ids, request or read_for_log(payload), judged, "exception"))
        return False

    def _actions(self, judgement: Judgement | None) -> bytes:
        """Return what the ACK says."""
        revision = self._policy.revision
        return no_verdict_actions(revision) if judgement is None else self._answers.actions_for(judgement)

    def _take_note(
        self,
        payload: bytes,
        request: Request | None,
        judgement: Judgement | None,
        now: float,
        judged: list[tuple[Request, Judgement]],
    ) -> None:
        """Count, remember and log a judgement that was not remembered, once its ACK can be written."""
        if request is None or judgement is None:
            self._without_verdict += 1
            return
        self._recall.remember(payload, request, judgement, int(now))
        judgement.decision.tally.count += 1
        judged.append((request, judgement))
        if judgement.revocation not in _SETTLED:
            self._count_failure(judgement)
        if judgement.soft_fails:
            self._count_soft_fails(judgement)
        if self._comparison is not None:
            self._compare(self._comparison, request, judgement, now)

    def _compare(self, comparison: Comparison, request: Request, judgement: Judgement, now: float) -> None:
        try:
            judgement.difference = comparison.compare(request, now, judgement, self._policy)
        except Exception as error:  # noqa: BLE001 -- a defect in judging the candidate is no reason to deny
            self._report("a request could not be judged under the candidate", exc_info=error)
            comparison.counts[_FAILED] = comparison.counts.get(_FAILED, 0) + 1

    def _comparisons(self) -> Samples:
        """Return how the answers of all candidates so far compared."""
        found = dict(self._compared)
        for key, count in ({} if self._comparison is None else self._comparison.counts).items():
            found["candidate_decisions_total", key] = found.get(("candidate_decisions_total", key), 0) + count
        return found

    def _waits(self, waiting: Waiting, judgement: Judgement) -> bool:
        """Have asked what is to be asked; tell whether the request waits for it, and is not to be answered yet."""
        standing = judgement.standing
        ocsp = None if standing is None or standing.settings is None else standing.settings.revocation.ocsp
        if self._enquiries is None or standing is None or ocsp is None:
            return False
        self._enquiries.put(standing.questions)
        return self._enquiries.wait(waiting, standing.questions, ocsp.timeout, waiting.started + self._patience)

    def _forget(self, certificate: bytes) -> None:
        """Judge anew whatever depends on a certificate."""
        if self._policy.forget(certificate):
            self._recall.forget(certificate)
        else:
            self._recall.forget_all()

    def _resume(self, waiting: Sequence[Waiting]) -> None:
        """Judge requests that have waited; the answers for one client go out in one write."""
        now = self._time()
        self._recall.look_around(int(now))  # a switch that moved since the last read would taint what is remembered
        owed: dict[Client, list[bytes]] = {}
        for one in waiting:
            judged: list[tuple[Request, Judgement]] = []
            try:
                judgement = self._policy.judge(one.request, now)
                if _asks(judgement) and self._waits(one, judgement):
                    continue
                answer = one.connection.ack(one.ids, self._actions(judgement))
                self._take_note(one.payload, one.request, judgement, now, judged)
            except Exception as error:  # noqa: BLE001 -- fail closed: whatever it is, the answer is deny
                self._report("a request was denied as internal_error", exc_info=error)
                answer = self._refuse(one.connection, one.ids, one.request, judged, "exception")
            owed.setdefault(one.client, []).append(answer)
            if self._policy.switches:
                self._count_break_glass(judged, 0)
            latency = perf_counter() - one.started
            self._notifies += 1
            self._seconds.observe(latency)
            self._tracing.waited(one.request.id, latency, judged[0][1] if judged else None)
            if self._decision_log is not None:
                self._decision_log.record(now, latency, judged, self._policy.revision, self._policy.switches)
        for client, answers in owed.items():
            client.pay(b"".join(answers), len(answers))

    def _count_failure(self, judgement: Judgement) -> None:
        standing = judgement.standing
        if standing is not None and standing.issuer is not None and standing.assured is not None:
            labels = standing.issuer, judgement.revocation, standing.assured.detail
            key = ("revocation_failures_total", labels)
            self._unassured[key] = self._unassured.get(key, 0) + 1

    def _count_soft_fails(self, judgement: Judgement) -> None:
        """Count what passed without assurance about its revocation; such answers are never recalled, so none is missed.

        The log is told once a minute for each issuer, since an outage concerns every request.
        """
        standing = judgement.standing
        issuer = "" if standing is None or standing.issuer is None else standing.issuer
        for source in judgement.soft_fails:
            key = ("revocation_soft_fails_total", (issuer, source))
            self._unassured[key] = self._unassured.get(key, 0) + 1
        now = perf_counter()
        if now >= self._next_soft_fail_report.get(issuer, 0.0):
            self._next_soft_fail_report[issuer] = now + _SOFT_FAIL_INTERVAL
            _log.warning("a certificate passed unchecked for revocation", issuer=issuer, state=judgement.revocation)

    def _count_break_glass(self, judged: Iterable[tuple[Request, Judgement]], allowed: int) -> None:
        """Count decisions that were made while a switch was open; `allowed` more than those judged here were allows."""
        verdicts = [judgement.decision.verdict for _, judgement in judged] + ["allow"] * allowed
        for verdict in ("allow", "deny"):
            key = ("break_glass_decisions_total", (verdict,))
            self._break_glass[key] = self._break_glass.get(key, 0) + verdicts.count(verdict)

    def _refuse_all(
        self,
        connection: Connection,
        events: list[Event],
        answers: list[bytes],
        judged: list[tuple[Request, Judgement]],
    ) -> bool:
        """Deny requests whose time is up without a look at them, which is how a backlog is worked off."""
        for event in events:
            if type(event) is tuple:
                answers.append(self._refuse(connection, event[0], _UNREAD, judged, "deadline"))
            else:
                answers.append(self._other(connection, event))
                if not isinstance(event, HelloReceived):
                    return True
        return False

    def _other(self, connection: Connection, event: Event) -> bytes:
        """Take note of what is no NOTIFY, and return what is to be said to it."""
        if isinstance(event, HelloReceived | HealthCheckReceived):
            self._hellos += 1
            if isinstance(event, HealthCheckReceived):
                self._checked = perf_counter()
                if self._is_leaving:
                    return connection.send_disconnect()
        elif isinstance(event, ConnectionBroken):
            self._count_broken(event.error)
        return event.reply if not isinstance(event, tuple) else b""

    def _break(self, connection: Connection, error: ProtocolError) -> bytes:
        self._count_broken(error)
        return connection.send_disconnect(error.status)

    def _count_broken(self, error: ProtocolError) -> None:
        status = int(error.status)
        self._broken[status] = self._broken.get(status, 0) + 1
        self._report("a peer broke the protocol", status=status, detail=error.detail)

    def _refuse(
        self,
        connection: Connection,
        ids: bytes,
        request: Request,
        judged: list[tuple[Request, Judgement]],
        cause: str,
    ) -> bytes:
        """Deny one request as `internal_error`."""
        self._internal[cause] = self._internal.get(cause, 0) + 1
        judgement = self._policy.deny(Reason.INTERNAL_ERROR)
        answer = connection.ack(ids, self._answers.actions_for(judgement))
        judgement.decision.tally.count += 1
        judged.append((request, judgement))
        return answer

    def _report(self, event: str, **details: object) -> None:
        """Log one event a second at most: a flood of broken requests must not become a flood of tracebacks."""
        now = perf_counter()
        if now < self._next_report:
            self._unreported += 1
            return
        _log.warning(event, **details, unreported_before=self._unreported)
        self._next_report = now + _REPORT_INTERVAL
        self._unreported = 0

    def _decisions(self) -> Samples:
        """Return what all policies so far have counted; the caches' entries are those of the one in use."""
        found = dict(self._decided)
        for tally in self._policy.tallies():
            keys: list[tuple[str, tuple[str, ...]]] = [("decisions_total", (tally.verdict, tally.reason, tally.rule))]
            if tally.shadow:
                keys.append(("shadow_denies_total", ()))
            for key in keys:
                found[key] = found.get(key, 0) + tally.count
        for cache, (_, misses, evictions) in self._policy.cache_sizes().items():
            for name, count in (("cache_misses_total", misses), ("cache_evictions_total", evictions)):
                found[name, (cache,)] = found.get((name, (cache,)), 0) + count
        return found


def _asks(judgement: Judgement) -> bool:
    """Tell whether the judgement rests on revocation, about which somebody else is to be asked first, or anew."""
    standing = judgement.standing
    return standing is not None and bool(judgement.revocation and standing.questions)
