"""The decision log: one JSON object a line, written by a thread of its own, never waited for.

The event loop only appends to a bounded queue. The thread looks several times a second, hands what it finds to the
sink (`spoa.logsinks`) batch by batch, and counts what a full queue or disk made it lose. What a header or a query said
never gets here: a request's fields are named one by one below, and described in `spoa.decision_fields`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import random
import threading
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from spoa.assurance import NOT_CHECKED
from spoa.decision_fields import SCHEMA
from spoa.facts import ABSENT, Missing
from spoa.logsinks.sink import RetryError, encode
from spoa.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spoa.authorizer import Judgement
    from spoa.facts import Certificate, Request, Unavailable
    from spoa.logsinks.sink import Sink

__all__ = ["MAX_QUEUED_BYTES", "DecisionLog", "Entry", "line_of", "row_of"]

#: Roughly how much memory unwritten decisions may hold, bytes; what comes on top is dropped and counted.
MAX_QUEUED_BYTES: Final = 16 << 20

_log = structlog.get_logger()

_LOOK_INTERVAL: Final = 0.1
#: Seconds between two tries at most, where a sink takes nothing.
_MAX_DELAY: Final = 5.0
_MAX_BATCH: Final = 256
_ENTRY_OVERHEAD: Final = 1024


class Entry(NamedTuple):
    """What a line is made of: not the request itself, which would keep a certificate's bytes alive for each line.

    Attributes:
        now: when it was judged, seconds since the epoch.
        latency: seconds from the frame read to the answer written.
        sha256: of the certificate that was sent, where nothing else is known of it.
        detail: what exactly was malformed, or could not be read; empty for any other reason.
    """

    now: float
    latency: float
    id: str
    source: bytes | Unavailable
    method: str | Unavailable
    host: str | Unavailable
    path: str | Missing
    judgement: Judgement
    revision: str
    sha256: bytes = b""
    detail: str = ""
    switches: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Roughly the memory that it holds, bytes."""
        path, host = self.path, self.host
        texts = len(path) if isinstance(path, str) else 0
        return _ENTRY_OVERHEAD + texts + (len(host) if isinstance(host, str) else 0)


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _instant(seconds: int) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return None


def _path(entry: Entry) -> str | None:
    """Return the path; that of `OPTIONS *`, which HAProxy does not send, is told from one that nobody could see."""
    return "*" if entry.path is ABSENT and entry.method == "OPTIONS" else _text(entry.path)


def _text(value: str | Missing) -> str | None:
    return None if isinstance(value, Missing) else value


def _digits(value: bytes | Missing) -> str | None:
    return None if isinstance(value, Missing) else value.hex()


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


_UNREAD: Final = ("subject", "issuer", "serial", "not_after", "spki_sha256", "sha1", "issuer_name")


def _certificate(certificate: Certificate | None, sha256: bytes, issuer: str | None) -> dict[str, Any] | None:
    if certificate is None:
        return {"sha256": sha256.hex(), **dict.fromkeys(_UNREAD)} if sha256 else None
    serial = certificate.serial
    return {
        "sha256": _digits(certificate.sha256),
        "subject": certificate.subject_text,
        "issuer": certificate.issuer_text,
        "serial": None if isinstance(serial, Missing) else f"{serial:x}",
        "not_after": _instant(certificate.not_after),
        # By these lists find it, too; what names it must be masked with it, as `spoa.masking` says.
        "spki_sha256": _digits(certificate.spki_sha256),
        "sha1": _digits(certificate.sha1),
        "issuer_name": issuer or "",
    }


_DIFFERENCE: Final = ("change", "verdict", "reason", "rule", "route")


def line_of(entry: Entry) -> bytes:
    """Write one decision as a line."""
    return encode(row_of(entry)) + b"\n"


def row_of(entry: Entry) -> dict[str, Any]:
    """Return what the line of a decision holds."""
    decision = entry.judgement.decision
    difference = entry.judgement.difference
    source, standing = entry.source, entry.judgement.standing
    issuer = None if standing is None else standing.issuer
    return {
        "time": _timestamp(entry.now),
        "id": entry.id,
        "verdict": decision.verdict,
        "status": decision.status,
        "reason": decision.log_reason,
        "rule": decision.log_rule,
        "rules": list(decision.rules),
        "identity": decision.identity,
        "route": decision.route,
        "revision": entry.revision,
        "shadow": decision.shadow,
        "revocation": entry.judgement.revocation,
        "cert": _certificate(entry.judgement.certificate, entry.sha256, issuer),
        "src": None if isinstance(source, Missing) else str(ipaddress.ip_address(source)),
        "method": _text(entry.method),
        "host": _text(entry.host),
        "path": _path(entry),
        "latency_us": round(entry.latency * 1e6),
        "detail": entry.detail,
        "break_glass": list(entry.switches),
        "candidate": None if difference is None else dict(zip(_DIFFERENCE, difference, strict=True)),
        "schema": SCHEMA,
        "masked": [],
    }


class DecisionLog:
    """Takes decisions at once, and has them written by a thread of its own.

    Args:
        sink: where they are written; closed in the end.
        allow_share: 0 to 1, the share of allows that is logged; denies all are.
        choose: returns a number below 1; an allow is logged when it is less than the share.
        mask: what is left out of lines.
    """

    def __init__(
        self,
        sink: Sink,
        allow_share: float,
        choose: Callable[[], float] = random.random,
        mask: Mask = Mask(),  # noqa: B008 -- frozen
    ) -> None:
        self._sink = sink
        self.allow_share = allow_share
        self._choose = choose
        self._mask = mask
        self._queue: deque[Entry] = deque()
        # Two counters with one writer each, so neither thread needs a lock.
        self._queued_bytes = 0
        self._taken_bytes = 0
        self._full = 0
        self._failed = 0
        self._written = 0
        self._held: list[dict[str, Any]] = []
        self._delay = _LOOK_INTERVAL
        self._trouble = ""
        self._reopen_wanted = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many decisions were lost: the queue was full, or what takes them could not be written to."""
        return self._full + self._failed

    @property
    def written(self) -> int:
        """How many lines were written."""
        return self._written

    def record(
        self,
        now: float,
        latency: float,
        judged: Iterable[tuple[Request, Judgement]],
        revision: str,
        switches: frozenset[str] = frozenset(),
    ) -> None:
        """Queue what one socket read answered, while these break-glass switches were open; returns at once."""
        for request, judgement in judged:
            is_sampled = judgement.decision.verdict == "allow" and judgement.difference is None and self.allow_share < 1
            if is_sampled and self._choose() >= self.allow_share:
                continue
            entry = Entry(
                now,
                latency,
                request.id,
                request.source,
                request.method,
                request.host,
                request.path,
                judgement,
                revision,
                _digest(request, judgement),
                request.malformed or _detail(judgement),
                tuple(sorted(switches)),
            )
            size = entry.size
            if self._queued_bytes - self._taken_bytes + size > MAX_QUEUED_BYTES:
                self._full += 1
                continue
            self._queued_bytes += size
            self._queue.append(entry)

    def reopen(self) -> None:
        """Open the file by its name again before the next line, as log rotation asks for."""
        self._reopen_wanted = True

    def close(self, timeout: float = 2.0) -> None:
        """Write what is queued and close; a disk that hangs is not waited for longer than `timeout` seconds."""
        self._stop.set()
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self._sink.close()

    def _run(self) -> None:
        while not self._stop.wait(self._delay):
            self._write_queued()
        self._write_queued()
        self._failed += len(self._held) + len(self._queue)

    def _write_queued(self) -> None:
        if self._reopen_wanted:
            self._reopen_wanted = False
            self._sink.reopen()
            self._tell(self._sink.problem)
        while self._held or self._queue:
            if not self._held:
                self._held = self._take()
            try:
                written = self._sink.write(self._held)
            except RetryError as error:
                self._written += error.written
                del self._held[: error.written]
                self._delay = min(2 * self._delay, _MAX_DELAY)
                self._tell(str(error))
                return
            except Exception as error:  # noqa: BLE001 -- whatever a sink does must not end the log
                written = 0
                self._tell(f"{type(error).__name__}: {error}")
            else:
                self._tell(self._sink.problem or ("lines are lost" if written < len(self._held) else ""))
            self._written += written
            self._failed += len(self._held) - written
            self._held = []
            self._delay = _LOOK_INTERVAL

    def _take(self) -> list[dict[str, Any]]:
        """Return the next lines of the queue, masked."""
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), _MAX_BATCH))]
        self._taken_bytes += sum(entry.size for entry in batch)
        rows = []
        for entry in batch:
            try:
                rows.append(self._mask.apply(row_of(entry)))
            except Exception as error:  # noqa: BLE001 -- one line that can't be written must not end the log
                self._failed += 1
                _log.warning("a decision can't be logged", exc_info=error)
        return rows

    def _tell(self, trouble: str) -> None:
        """Tell of trouble when it begins, changes or ends."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            _log.warning("the decision log is in trouble", problem=trouble)
        else:
            _log.info("the decision log is written again")
