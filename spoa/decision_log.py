"""The decision log: one JSON object a line, written by a thread for each place, never waited for.

The event loop appends to bounded queues. Each thread looks several times a second, hands what it finds to the sink
(`spoa.logsinks`) batch by batch, and counts what a full queue or disk made it lose.

Theory: a line is put together from parts that recur in less time than two threads take to hand the interpreter to each
other. So the event loop does that, behind its answers, and the threads have little left but to wait for the disk. What
isn't wanted as that line, masked or for a sink that has to know what it holds, is made by the thread.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

import structlog

from spoa.assurance import NOT_CHECKED
from spoa.logline import Entry, LineWriter, row_of
from spoa.logsinks.sink import RetryError, Text, rest_of
from spoa.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spoa.authorizer import Judgement
    from spoa.facts import Request
    from spoa.logsinks.sink import Line, Sink
    from spoa.metrics import Samples
    from spoa.recall import Judged

__all__ = ["MAX_QUEUED_BYTES", "DecisionLog", "Outlet"]

#: Roughly how much memory unwritten decisions of one place may hold, bytes; what comes on top is dropped and counted.
MAX_QUEUED_BYTES: Final = 16 << 20

_log = structlog.get_logger()

_LOOK_INTERVAL: Final = 0.1
_TEXT_OVERHEAD: Final = 256  # bytes that what is queued of a turn takes beside its own
#: Seconds between two tries at most, where a sink takes nothing.
_MAX_DELAY: Final = 5.0
_MAX_BATCH: Final = 1024
#: Lines that are written before it is time to look: what waits longer has left the caches, and takes fresh memory.
_MANY: Final = 512


def _digest(request: Request, judgement: Judgement) -> bytes:
    """Return the fingerprint of a certificate that wasn't read, so that whoever sent it can be found."""
    if judgement.certificate is not None or not isinstance(request.cert, bytes):
        return b""
    return hashlib.sha256(request.cert).digest()


def _detail(judgement: Judgement) -> str:
    """Return at which stage a certificate couldn't be read, or why revocation says what it says."""
    standing = judgement.standing
    if standing is None:
        return ""
    if standing.assured is None or judgement.revocation in {"", "good", NOT_CHECKED}:
        return standing.detail
    return standing.assured.detail


class DecisionLog:
    """Takes decisions at once, and has them written by threads of their own.

    Args:
        sink: where they are written; closed in the end.
        allow_share: 0 to 1, the share of allows that is logged; denies all are.
        choose: returns a number below 1; an allow is logged when it is less than the share.
        mask: what is left out of lines.
        name: of the sink, for the metrics and the agent's own log.
        beside: other places for the same decisions.
    """

    def __init__(
        self,
        sink: Sink,
        allow_share: float,
        choose: Callable[[], float] = random.random,
        mask: Mask = Mask(),  # noqa: B008 -- frozen
        name: str = "",
        beside: Iterable[Outlet] = (),
    ) -> None:
        self.allow_share = allow_share
        self._choose = choose
        self._outlets = (Outlet(sink, mask, name), *beside)
        self._writer = LineWriter()
        self._wants_lines = not all(outlet.takes_entries for outlet in self._outlets)
        self._wants_entries = any(outlet.takes_entries for outlet in self._outlets)

    @property
    def dropped(self) -> int:
        """How many lines were lost: a queue was full, or what takes them could not be written to."""
        return sum(outlet.dropped for outlet in self._outlets)

    @property
    def written(self) -> int:
        """How many lines were written."""
        return sum(outlet.written for outlet in self._outlets)

    def samples(self) -> Samples:
        """Return what was written and lost, in all and by place."""
        found: Samples = {
            ("decision_log_lines_total", ()): self.written,
            ("decision_log_dropped_total", ()): self.dropped,
        }
        for outlet in self._outlets:
            found["decision_log_target_lines_total", (outlet.name,)] = outlet.written
            found["decision_log_target_dropped_total", (outlet.name,)] = outlet.dropped
        return found

    def record(
        self,
        now: float,
        latency: float,
        judged: Iterable[Judged],
        revision: str,
        switches: frozenset[str] = frozenset(),
    ) -> None:
        """Queue what one turn answered, while these break-glass switches were open; waits for nothing."""
        opened = tuple(sorted(switches)) if switches else ()
        is_plain = not opened and not self._wants_entries
        pieces: list[bytes] = []
        entries: list[Entry] = []
        lines = lost = entries_size = 0
        for request, judgement, identifier in judged:
            is_sampled = self.allow_share < 1 and judgement.decision.verdict == "allow" and judgement.difference is None
            if is_sampled and self._choose() >= self.allow_share:
                continue
            # Hot path: what was written before is written again, and all of a turn becomes one text. Benchmark:
            # benchmarks/agent.py, the part "logging".
            if judgement.line and is_plain:
                is_written = self._again(pieces, now, latency, judgement, identifier or request.id)
                lines += is_written
                lost += not is_written
                continue
            detail = request.malformed or _detail(judgement)
            entry = Entry(now, latency, request, judgement, revision, _digest(request, judgement), detail, opened)
            if identifier:
                entry.id = identifier
            if self._wants_lines:
                line = self._line(entry, is_plain=is_plain)
                lines += bool(line)
                lost += not line
                pieces += (line, b"\n") if line else ()
            if self._wants_entries:
                entries_size += entry.keep()
                entries.append(entry)
        text = b"".join(pieces)
        for outlet in self._outlets:
            if outlet.takes_entries:
                outlet.put(entries, len(entries), entries_size)
            else:
                outlet.put(text, lines, _TEXT_OVERHEAD + len(text))
                outlet.lose(lost)

    def _line(self, entry: Entry, *, is_plain: bool) -> bytes:
        """Return the line of a decision; empty where it can't be written, which must not end the log."""
        try:
            return self._writer.line(entry, keep=is_plain)
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with one line
            _log.warning("a decision can't be logged", exc_info=error)
            return b""

    def _again(self, pieces: list[bytes], now: float, latency: float, judgement: Judgement, identifier: str) -> bool:
        """Append the pieces of a line that was written before; tell whether that could be done."""
        try:
            self._writer.again(pieces, now, latency, judgement, identifier)
        except Exception as error:  # noqa: BLE001 -- the same
            _log.warning("a decision can't be logged", exc_info=error)
            return False
        return True

    def reopen(self) -> None:
        """Open files by their names again before the next line, as log rotation asks for."""
        for outlet in self._outlets:
            outlet.reopen()

    def close(self, timeout: float = 2.0) -> None:
        """Write what is queued and close; a disk that hangs is not waited for longer than `timeout` seconds."""
        until = time.monotonic() + timeout
        for outlet in self._outlets:
            outlet.stop()
        for outlet in self._outlets:
            outlet.join(max(0.0, until - time.monotonic()))


class Outlet:
    """One place for decisions, with a queue and a thread of its own, so that none waits for another.

    Args:
        sink: the place; closed in the end.
        mask: what is left out of lines.
        name: of the place, for the metrics and the agent's own log.

    Attributes:
        takes_entries: lines are of no use to it.
    """

    def __init__(self, sink: Sink, mask: Mask = Mask(), name: str = "") -> None:  # noqa: B008 -- frozen
        self.name = name
        self._sink = sink
        self._mask = mask
        self.takes_entries = bool(sink.reads_rows or mask.fields)
        self._queue: deque[tuple[list[Entry] | bytes, int, int]] = deque()
        self._queued = 0
        # Two counters with one writer each, so neither thread needs a lock.
        self._queued_bytes = 0
        self._taken_bytes = 0
        self._lost = 0
        self._failed = 0
        self._written = 0
        self._held: list[Line] = []
        self._held_lines = 0
        self._delay = _LOOK_INTERVAL
        self._trouble = ""
        self._reopen_wanted = False
        self._is_stopping = False
        self._wake = threading.Event()
        self._runner = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._runner.start()

    @property
    def dropped(self) -> int:
        """How many lines were lost here."""
        return self._lost + self._failed

    @property
    def written(self) -> int:
        """How many lines were written here."""
        return self._written

    def put(self, decisions: list[Entry] | bytes, count: int, size: int) -> None:
        """Queue so many decisions, or their lines as they are written, each with its end; or lose them without room.

        They take *size* bytes of memory.
        """
        if not count:
            return
        if self._queued_bytes - self._taken_bytes + size > MAX_QUEUED_BYTES:
            self._lost += count
            return
        self._queued_bytes += size
        self._queue.append((decisions, count, size))
        self._queued += count
        if self._queued >= _MANY and self._delay == _LOOK_INTERVAL:  # who takes nothing is left alone for a while
            self._queued = 0
            self._wake.set()

    def lose(self, count: int) -> None:
        """Count lines that could not be written at all."""
        self._lost += count

    def reopen(self) -> None:
        """Open by its name again before the next line what has one."""
        self._reopen_wanted = True

    def stop(self) -> None:
        """Write what is queued, and no more."""
        self._is_stopping = True
        self._wake.set()

    def join(self, timeout: float) -> None:
        """Wait until that is done, at most `timeout` seconds, and close."""
        self._runner.join(timeout)
        if not self._runner.is_alive():
            self._sink.close()

    def _run(self) -> None:
        while not self._is_stopping:
            self._wake.wait(self._delay)
            self._wake.clear()
            self._write_queued()
        self._write_queued()
        self._failed += self._held_lines + sum(count for _, count, _ in self._queue)

    def _write_queued(self) -> None:
        if self._reopen_wanted:
            self._reopen_wanted = False
            self._sink.reopen()
            self._tell(self._sink.problem)
        while self._held or self._queue:
            if not self._held:
                self._take()
            try:
                written = self._sink.write(self._held)
            except RetryError as error:
                self._written += error.written
                self._held_lines -= error.written
                self._held = rest_of(self._held, error.written)
                self._delay = min(2 * self._delay, _MAX_DELAY)
                self._tell(str(error))
                return
            except Exception as error:  # noqa: BLE001 -- whatever a sink does must not end the log
                written = 0
                self._tell(f"{type(error).__name__}: {error}")
            else:
                self._tell(self._sink.problem or ("lines are lost" if written < self._held_lines else ""))
            self._written += written
            self._failed += self._held_lines - written
            self._held, self._held_lines = [], 0
            self._delay = _LOOK_INTERVAL

    def _take(self) -> None:
        """Hold the next lines of the queue, masked, or written already."""
        taken = 0
        while self._queue and taken < _MAX_BATCH:
            decisions, count, size = self._queue.popleft()
            self._taken_bytes += size
            taken += count
            if isinstance(decisions, bytes):
                self._held.append(Text(decisions, count))
                self._held_lines += count
                continue
            for entry in decisions:
                try:
                    self._held.append(self._mask.apply(row_of(entry)))
                    self._held_lines += 1
                except Exception as error:  # noqa: BLE001 -- one line that can't be written must not end the log
                    self._failed += 1
                    _log.warning("a decision can't be logged", exc_info=error)

    def _tell(self, trouble: str) -> None:
        """Tell of trouble when it begins, changes or ends."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        named = {"target": self.name} if self.name else {}
        if trouble:
            _log.warning("the decision log is in trouble", problem=trouble, **named)
        else:
            _log.info("the decision log is written again", **named)
