"""The frames of one read become one write, those of one turn are written together: decode, judge, encode, then count.

Failure is an answer. A request that can't be judged, whatever is raised, or whose time is up, is denied as
`internal_error`; a frame that can't be decoded ends its connection with a status; nothing here lets one pass.
"""

from __future__ import annotations

from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from spoa.adapter import Answers, read_for_log, read_request
from spoa.comparison import Comparisons
from spoa.counts import Counts, Decisions
from spoa.disposal import let_go
from spoa.enquiries import Enquiries, Waiting
from spoa.exceptions import ProtocolError
from spoa.facts import Request
from spoa.policy.model import Reason
from spoa.recall import Judged, Recall
from spoa.spop import ConnectionBroken, HealthCheckReceived, HelloReceived, Status, payload_start
from spoa.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from spoa.authorizer import Judgement, Policy
    from spoa.decision_log import DecisionLog
    from spoa.enquiries import Client, Writer
    from spoa.metrics import Sample, Samples
    from spoa.remembered import Recalled
    from spoa.spop import Connection, Event

__all__ = ["Answering"]

_TURN: Final = 0.004  # seconds of judging before other connections get their turn
_LOOK: Final = 16  # requests judged between two looks at the clock
_TOGETHER: Final = 64  # reads that are answered before any of the answers is written
_SETTLED: Final = frozenset({"", "good", "revoked", "not_checked"})  # revocation was not asked, or has an answer
_RESERVE: Final = 0.01  # seconds before the deadline at which a request waits no more

#: Stands for a request of which nothing is known.
_UNREAD: Final = Request()


class Answering:
    """Judges for all connections of a worker, and counts.

    Args:
        policy: the policy in use; `swap` replaces it between two reads.
        deadline: seconds within which a request must be answered.
        clock: seconds since the epoch.
        decision_log: where decisions go after their answer is out; None for nowhere.
        send: passes questions about certificates on, whose answers come to `take`; None where there is nobody to ask,
            and requests are judged by what is known.
        tracing: is told of requests that waited.
    """

    def __init__(
        self,
        policy: Policy,
        deadline: float,
        clock: Callable[[], float],
        decision_log: DecisionLog | None,
        send: Callable[[list[dict[str, str]]], None] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._policy = policy
        self._answers = Answers(policy.revision)
        self._recall = Recall(policy, self._answers)
        self._deadline = deadline
        self._patience = deadline - min(_RESERVE, deadline / 4)
        self._clock = clock
        self._floor = 0.0
        self._turned: Callable[[], object] | None = None
        self._decision_log = decision_log
        self._tracing = tracing or Tracing()
        self._is_leaving = False
        self._checked: float | None = None
        self._unlogged = 0
        self._logs_allows = decision_log is not None and decision_log.allow_share > 0
        #: How many were answered, among others.
        self.counts = Counts()
        self._decided = Decisions()
        self._comparisons = Comparisons()
        self._is_comparing = False  # the same as whether there are comparisons now, which isn't compiled
        self._written: list[tuple[Writer, bytes]] = []
        self._judged: list[Judged] = []
        self._started = 0.0
        self._begun = 0.0
        self._now = 0.0
        self._seconds = 0
        memory = policy.assurance.memory
        self._enquiries = None if send is None else Enquiries(memory, send, clock, self._forget, self._resume)

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

    def swap(self, policy: Policy) -> Iterator[None]:
        """Judge by another policy from the next read on; what the old one counted is kept.

        What is returned lets go of the old one, little by little, while it is walked through.
        """
        is_last = policy.evaluator is not self._policy.evaluator
        counted = self._decided.leave(self._policy, policy)
        old = chain(counted, let_go(self._policy, self._recall, is_last=is_last))
        self._policy = policy
        self._answers = Answers(policy.revision)
        self._recall = Recall(policy, self._answers)
        compared = self._comparisons.now
        if compared is not None and compared.candidate.blocks is not policy.blocks:
            old = chain(old, self.compare_with(compared.candidate))
        return old

    def watch_clock(self, floor: float, turned: Callable[[], object]) -> None:
        """Have `turned` called before anything is judged by a clock that has passed *floor*, whichever way it went."""
        self._floor = floor
        self._turned = turned

    def compare_with(self, candidate: Policy | None) -> Iterator[None]:
        """Judge every request under a candidate too, and recall none meanwhile; None ends that.

        What was counted is kept. What is returned lets go of the candidate before, as that of `swap` does.
        """
        before = self._comparisons.begin(None if candidate is None else candidate.with_blocks(self._policy.blocks))
        self._is_comparing = candidate is not None
        if before is None:
            return iter(())
        is_last = candidate is None or candidate.evaluator is not before.evaluator
        return let_go(before, None, is_last=is_last)

    def take(self, rows: Iterable[dict[str, Any]]) -> None:
        """Learn answers to questions about certificates; requests that waited for them are answered.

        Raises:
            KeyError, ValueError, TypeError: a row is none.
        """
        if self._enquiries is not None:
            self._enquiries.take(rows)

    # Trick: writing is put off to the end of a turn, so that reading, judging and writing each run in warm caches, and
    # HAProxy is woken for many answers at once. Benchmark: benchmarks/agent.py, the shapes of 50 connections.
    def answer(
        self,
        connection: Connection,
        writer: Writer,
        events: list[Event],
        at: int,
        started: float,
        client: Client | None,
    ) -> tuple[int, bool]:
        """Answer the events from index `at` on, of which there is one, as many as one turn allows, with one `write`.

        It comes with `finish`, or sooner. `started` says when they were read, by `perf_counter`. A `client` may be owed
        answers that have to wait. Returns the index to go on from, and whether the connection's last word is said.
        """
        self._begin(started)
        passed = begun = self._begun
        answers: list[bytes] = []
        total = len(events)
        while True:
            portion = events if total <= _LOOK else events[at : at + _LOOK]
            is_last = self._answer_all(connection, portion, answers, client, is_late=passed - started > self._deadline)
            at += len(portion)
            if is_last or at >= total:
                break
            self._begun = 0.0
            passed = perf_counter()
            if passed - begun > _TURN:
                break
        if answers:
            self._written.append((writer, b"".join(answers)))
        return at, is_last

    # Trick: a read of NOTIFYs that are remembered, as most are, is answered from where it lies: no events, no copies.
    # Benchmark: benchmarks/hotpath.py.
    def answer_known(self, connection: Connection, writer: Writer, data: bytes, started: float) -> int:
        """Do what `answer` does for the NOTIFYs that a read begins with, as far as they are remembered.

        A read is 64 KiB at most, so that this takes less than a turn. Returns where the rest of it begins.
        """
        self._begin(started)
        if self._begun - started > self._deadline:
            return 0
        stop = connection.notify_end(data, 0)
        answer = self._known(connection, data, 0, stop)
        if not answer:
            return 0
        if stop < len(data):
            answers = [answer]
            while stop < len(data):
                end = connection.notify_end(data, stop)
                answer = self._known(connection, data, stop, end)
                if not answer:
                    break
                answers.append(answer)
                stop = end
            answer = b"".join(answers)
        self._written.append((writer, answer))
        return stop

    def _known(self, connection: Connection, data: bytes, position: int, stop: int) -> bytes:
        """Return the ACK to a frame of a read; empty if it is no usual NOTIFY, or not remembered."""
        start = payload_start(data, position, stop) if stop > 0 else -1
        if start < 0:
            return b""
        return self._recalled(connection, connection.ids_of(data, position, start), data, start, stop)

    def answer_one(
        self, connection: Connection, writer: Writer, data: bytes, start: int, started: float, client: Client | None
    ) -> bool:
        """Do what `answer` does for a read that is one NOTIFY and isn't remembered; its payload is from `start` on."""
        self._begin(started)
        ids, is_last = connection.ids_of(data, 0, start), False
        if self._begun - started > self._deadline:
            answer = self._refuse(connection, ids, _UNREAD, self._judged, "deadline")
        else:
            try:
                answer = self._judge_afresh(connection, ids, data[start:], client)
            except ProtocolError as error:
                answer, is_last = self._break(connection, error), True
        if answer:
            self._written.append((writer, answer))
        return is_last

    def _note_recalled(self, recalled: Recalled, data: bytes, begin: int, stop: int) -> None:
        """Count and log what was recalled for a payload, `data` from `begin` to `stop`, once its ACK is there."""
        outcome = recalled.outcome
        if outcome.is_allow and not self._logs_allows:
            self._unlogged += 1
        else:
            asked, identifier = self._recall.request_of(data, begin, stop, recalled)
            self._judged.append((asked, recalled.judgement or recalled.judged(), identifier))
        outcome.tally.count += 1

    def _begin(self, started: float) -> None:
        """Begin what is judged together, where that was not begun yet."""
        if started != self._started or self._begun == 0.0:
            self.finish()  # by the clock, and under the circumstances, by which it was judged
            self._started = started
            self._look_around()

    def has_enough(self) -> bool:
        """Tell whether it is time for `finish`: that is much together, or what was judged last took long."""
        return self._begun == 0.0 or len(self._written) >= _TOGETHER

    def finish(self) -> None:
        """Write all that is answered, each to its writer, then count and log it; raises nothing."""
        self._begun = 0.0
        try:
            if self._written:
                self._write()
            self._account()
        except Exception as error:  # noqa: BLE001 -- what can't be counted or logged is answered nevertheless
            self.counts.report("what was answered could not be counted or logged", exc_info=error)

    def _account(self) -> None:
        judged = self._judged
        count = len(judged) + self._unlogged
        if not count:
            return
        policy = self._policy
        if policy.switches:
            self.counts.break_glass(judged, self._unlogged)
        self._unlogged = 0
        latency = perf_counter() - self._started
        self.counts.answered(latency, count)
        if judged:
            self._judged = []
            if self._decision_log is not None:
                self._decision_log.record(self._now, latency, judged, policy.revision, policy.switches)

    def _write(self) -> None:
        written = self._written
        self._written = []
        broken: list[tuple[Writer, Exception]] = []
        for writer, data in written:
            try:
                writer.write(data)
            except Exception as error:  # noqa: BLE001 -- whatever is wrong with one connection, others get their answers
                broken.append((writer, error))
        for writer, _ in broken:
            writer.abort()
        for _, raised in broken:
            self.counts.report("a connection took no answer and is dropped", exc_info=raised)

    def _look_around(self) -> None:
        """Look at the clocks, once for all that is judged together."""
        begun = perf_counter()
        self._now = self._time()
        self._seconds = int(self._now)
        self._recall.look_around(self._seconds)
        self._begun = begun  # only now: whoever comes next must not go by what could not be looked at

    def refuse_rest(self, connection: Connection, events: list[Event], started: float) -> tuple[bytes, bool]:
        """Deny what is left of a connection that is closed; return what to write, and whether it is its last word."""
        self.finish()
        self._started, self._now = started, self._clock()
        answers: list[bytes] = []
        is_last = self._answer_all(connection, events, answers, None, is_late=True)
        return b"".join(answers), is_last

    def decisions(self) -> Iterator[list[Sample]]:
        """Yield how often what was decided, some at a time, of thousands maybe; see `Decisions.of`."""
        return self._decided.of(self._policy)

    def samples(self) -> Samples:
        """Return all other counts."""
        found = self.counts.samples()
        found.update({("candidate_decisions_total", key): n for key, n in self._comparisons.counts().items()})
        for cache, (entries, _, _) in self._policy.cache_sizes().items():
            found["cache_entries", (cache,)] = entries
        if self._enquiries is not None:
            found.update(self._enquiries.samples())
        if self._decision_log is not None:
            found.update(self._decision_log.samples())
        return found

    def _time(self) -> float:
        now = self._clock()
        # A clock that is set back must not make one expired certificate good again, also not until the next sweep.
        if self._turned is not None and (now >= self._floor) != self._policy.clock_usable:
            self._turned()
        return now

    def _answer_all(
        self, connection: Connection, events: list[Event], answers: list[bytes], client: Client | None, *, is_late: bool
    ) -> bool:
        """Answer events, without a look at requests if it is too late; return whether the last word is said."""
        for event in events:
            if type(event) is not tuple:
                answers.append(self._other(connection, event))
                if not isinstance(event, HelloReceived):
                    return True
                continue
            ids, payload = event
            if is_late:
                answers.append(self._refuse(connection, ids, _UNREAD, self._judged, "deadline"))
                continue
            answer = self._recalled(connection, ids, payload, 0, len(payload))
            if not answer:
                # Nobody waits for what takes long; answers of this read are counted with the others' when they are out.
                self._write() if answers else self.finish()
                self._begun = 0.0
                try:
                    answer = self._judge_afresh(connection, ids, payload, client)
                except ProtocolError as error:
                    answers.append(self._break(connection, error))
                    return True
            if answer:
                answers.append(answer)
        return False

    # Hot path: this runs for each request. Counting, logging and looking at the clock are done for many at a time.
    def _recalled(self, connection: Connection, ids: bytes, data: bytes, begin: int, stop: int) -> bytes:
        """Return the ACK to one NOTIFY, whose payload is `data` from `begin` to `stop`; empty if it is not known."""
        if self._is_comparing:
            return b""
        try:
            recalled = self._recall.ask(data, begin, stop, self._seconds)
            if recalled is None:
                return b""
            answer = connection.ack(ids, recalled.said)
            self._note_recalled(recalled, data, begin, stop)
        except Exception as error:  # noqa: BLE001 -- fail closed: whatever it is, the answer is deny
            return self._fail(connection, ids, read_for_log(data[begin:stop]), error)
        return answer

    def _judge_afresh(self, connection: Connection, ids: bytes, payload: bytes, client: Client | None) -> bytes:
        """Return the ACK to one NOTIFY that isn't remembered; empty where it has to wait.

        Raises ProtocolError where it can't be decoded.
        """
        request: Request | None = None
        try:
            request = read_request(payload)
            judgement = None if request is None else self._policy.judge(request, self._now)
            if judgement is not None and client is not None and _asks(judgement):
                waiting = Waiting(client, connection, ids, payload, request or _UNREAD, self._started)
                if self._waits(waiting, judgement):
                    client.owe()
                    return b""
            answer = connection.ack(ids, self._answers.actions_for(judgement))
            self._take_note(payload, request, judgement, self._now, self._judged)
        except Exception as error:  # fail closed: whatever it is, the answer is deny
            if isinstance(error, ProtocolError) and error.status == Status.INVALID_FRAME:
                raise
            return self._fail(connection, ids, request or read_for_log(payload), error)
        return answer

    def _take_note(
        self, payload: bytes, request: Request | None, judgement: Judgement | None, now: float, judged: list[Judged]
    ) -> None:
        """Count, remember and log a judgement that was not remembered, once its ACK can be written."""
        if request is None or judgement is None:
            self.counts.notifies += 1
            return
        self._recall.remember(payload, request, judgement, int(now))
        judgement.decision.tally.count += 1
        judged.append((request, judgement, ""))
        if judgement.revocation not in _SETTLED:
            self.counts.failure(judgement)
        if judgement.soft_fails:
            self.counts.soft_fails(judgement)
        if self._comparisons.now is not None:
            self._comparisons.now.take_note(request, now, judgement, self._policy, self.counts.report)

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
            judged: list[Judged] = []
            try:
                judgement = self._policy.judge(one.request, now)
                if _asks(judgement) and self._waits(one, judgement):
                    continue
                answer = one.connection.ack(one.ids, self._answers.actions_for(judgement))
                self._take_note(one.payload, one.request, judgement, now, judged)
            except Exception as error:  # noqa: BLE001 -- fail closed: whatever it is, the answer is deny
                self.counts.report("a request was denied as internal_error", exc_info=error)
                answer = self._refuse(one.connection, one.ids, one.request, judged, "exception")
            owed.setdefault(one.client, []).append(answer)
            if self._policy.switches:
                self.counts.break_glass(judged, 0)
            latency = perf_counter() - one.started
            self.counts.answered(latency, 1)
            self._tracing.waited(one.request.id, latency, judged[0][1] if judged else None)
            if self._decision_log is not None:
                self._decision_log.record(now, latency, judged, self._policy.revision, self._policy.switches)
        for client, answers in owed.items():
            try:
                client.pay(b"".join(answers), len(answers))
            except Exception as error:  # noqa: BLE001 -- whatever is wrong with one client, others get their answers
                self.counts.report("a connection took no answer that it had waited for", exc_info=error)

    def _other(self, connection: Connection, event: Event) -> bytes:
        """Take note of what is no NOTIFY, and return what is to be said to it."""
        if isinstance(event, HelloReceived | HealthCheckReceived):
            self.counts.hellos += 1
            if isinstance(event, HealthCheckReceived):
                self._checked = perf_counter()
                if self._is_leaving:
                    return connection.send_disconnect()
        elif isinstance(event, ConnectionBroken):
            self.counts.broken(event.error)
        return event.reply if not isinstance(event, tuple) else b""

    def _break(self, connection: Connection, error: ProtocolError) -> bytes:
        self.counts.broken(error)
        return connection.send_disconnect(error.status)

    def _fail(self, connection: Connection, ids: bytes, request: Request, error: Exception) -> bytes:
        """Deny one request about which something unforeseen was raised."""
        self.counts.report("a request was denied as internal_error", exc_info=error)
        return self._refuse(connection, ids, request, self._judged, "exception")

    def _refuse(self, connection: Connection, ids: bytes, request: Request, judged: list[Judged], cause: str) -> bytes:
        """Deny one request as `internal_error`."""
        self.counts.internal_error(cause)
        judgement = self._policy.deny(Reason.INTERNAL_ERROR)
        answer = connection.ack(ids, self._answers.actions_for(judgement))
        judgement.decision.tally.count += 1
        judged.append((request, judgement, ""))
        return answer


def _asks(judgement: Judgement) -> bool:
    """Tell whether the judgement rests on revocation, about which somebody else is to be asked first, or anew."""
    standing = judgement.standing
    return standing is not None and bool(judgement.revocation and standing.questions)
