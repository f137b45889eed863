"""The decision log: one JSON object a line, written by a thread of its own, never waited for.

The event loop only appends to a bounded queue. The thread looks several times a second, writes what it finds with one
append per batch (so lines of several workers never mix), and counts what a full queue or disk made it lose. What a
header or a query said never gets here: a request's fields are named one by one below.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import random
import select
import stat
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from spoa.assurance import NOT_CHECKED
from spoa.facts import ABSENT, Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from spoa.authorizer import Judgement
    from spoa.facts import Certificate, Request, Unavailable

__all__ = ["MAX_QUEUED_BYTES", "DecisionLog", "Entry", "line_of"]

#: Roughly how much memory unwritten decisions may hold, bytes; what comes on top is dropped and counted.
MAX_QUEUED_BYTES: Final = 16 << 20

_log = structlog.get_logger()

_LOOK_INTERVAL: Final = 0.1
_MAX_BATCH: Final = 256
_ENTRY_OVERHEAD: Final = 1024

_STANDARD_OUTPUT: Final = 1


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
        # By these lists find it, too.
        "spki_sha256": _digits(certificate.spki_sha256),
        "sha1": _digits(certificate.sha1),
        "issuer_name": issuer or "",
    }


_DIFFERENCE: Final = ("change", "verdict", "reason", "rule", "route")


def line_of(entry: Entry) -> bytes:
    """Write one decision as a line.

    JSON escapes every control and non-ASCII character, so whatever a client sent stays on its line.
    """
    decision = entry.judgement.decision
    difference = entry.judgement.difference
    source, standing = entry.source, entry.judgement.standing
    issuer = None if standing is None else standing.issuer
    line = {
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
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


class DecisionLog:
    """Appends decisions to a file, or to the standard output when the target is `-`.

    Args:
        target: path of the file, made with mode 0640 where missing.
        allow_share: 0 to 1, the share of allows that is logged; denies all are.
        choose: returns a number below 1; an allow is logged when it is less than the share.

    Raises:
        OSError: the file can't be opened.
    """

    def __init__(self, target: str, allow_share: float, choose: Callable[[], float] = random.random) -> None:
        self._target = target
        self.allow_share = allow_share
        self._choose = choose
        self._queue: deque[Entry] = deque()
        # Two counters with one writer each, so neither thread needs a lock.
        self._queued_bytes = 0
        self._taken_bytes = 0
        self._full = 0
        self._failed = 0
        self._written = 0
        self._unfinished = False
        self._reopen_wanted = False
        self._stop = threading.Event()
        self._descriptor = self._open()
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many decisions were lost: the queue was full, or the file could not be written."""
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
        if not self._thread.is_alive() and self._descriptor != _STANDARD_OUTPUT:
            os.close(self._descriptor)

    def _open(self) -> int:
        if self._target == "-":
            return _STANDARD_OUTPUT
        return os.open(self._target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_INTERVAL):
            self._write_queued()
        self._write_queued()

    def _write_queued(self) -> None:
        if self._reopen_wanted:
            self._reopen_wanted = False
            self._reopen()
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), _MAX_BATCH))]
            self._taken_bytes += sum(entry.size for entry in batch)
            for chunk in self._chunks(self._lines(batch)):
                self._append(chunk)

    def _lines(self, batch: list[Entry]) -> Iterator[bytes]:
        for entry in batch:
            try:
                yield line_of(entry)
            except Exception as error:  # noqa: BLE001 -- one line that can't be written must not end the log
                self._failed += 1
                _log.warning("a decision can't be logged", exc_info=error)

    def _reopen(self) -> None:
        try:
            descriptor = self._open()
        except OSError:
            return  # the old file takes the lines on: a missing directory must not lose decisions
        if self._descriptor not in {descriptor, _STANDARD_OUTPUT}:
            os.close(self._descriptor)
        self._descriptor = descriptor

    def _chunks(self, lines: Iterable[bytes]) -> Iterator[list[bytes]]:
        """Yield the lines in portions that one write takes whole: pipes mix what is longer than PIPE_BUF."""
        limit = select.PIPE_BUF if stat.S_ISFIFO(os.fstat(self._descriptor).st_mode) else sys.maxsize
        chunk: list[bytes] = []
        size = 0
        for line in lines:
            if chunk and size + len(line) > limit:
                yield chunk
                chunk, size = [], 0
            chunk.append(line)
            size += len(line)
        if chunk:
            yield chunk

    def _append(self, lines: list[bytes]) -> None:
        data = b"".join(lines)
        if self._unfinished:
            data = b"\n" + data  # what a full disk cut off must not swallow this line too
        done = 0
        try:
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
        except OSError:
            whole = data[:done].count(b"\n") - (1 if self._unfinished and done else 0)
            self._unfinished = self._unfinished if not done else not data[:done].endswith(b"\n")
            self._written += whole
            self._failed += len(lines) - whole
        else:
            self._unfinished = False
            self._written += len(lines)
