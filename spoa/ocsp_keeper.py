"""Asks OCSP responders on behalf of all workers, and keeps what they say fresh while it is in use.

Each certificate is asked about once at a time, whoever wants to know. An answer is asked for anew after half of the
time that it holds, as long as a worker has had a use for it since the last; after a failure nobody is asked for a while
that grows. What is known survives a restart. The workers judge: here an answer is looked at only to know whether it
takes the place of the last one, and when to ask again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import structlog

from spoa.circuit import backoff
from spoa.egress import read_target
from spoa.enquiries import answer_row
from spoa.exceptions import CertificateError, StateError
from spoa.fetch import FetchError, FetchProblem, Limits
from spoa.ocsp_records import Failure, Record, Records, Source
from spoa.ocsp_store import OcspStore, StoredAnswer
from spoa.revocation.certificates import Certified
from spoa.revocation.combine import State, state_of
from spoa.revocation.ocsp import MAX_RESPONSE_SIZE, read_response, write_request
from spoa.revocation.ocsp_memory import LONGEST_WAIT, Pupil
from spoa.revocation.status import Reason, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

    from spoa.egress import Target
    from spoa.fetch import Fetcher
    from spoa.metrics import Samples
    from spoa.ocsp_store import Responder
    from spoa.revocation.ocsp import OcspResponse
    from spoa.revocation.ocsp_memory import CertificateKey

__all__ = ["MAX_FLIGHTS", "OcspKeeper"]

MAX_FLIGHTS: Final = 2048
"""Certificates that are being asked about at a time; a further one is answered that nobody could be reached."""

_REMEMBERED: Final = 20_000  # certificates in memory; the others lie on disk
_MAX_AUTHORITIES: Final = 256  # CA certificates that stay read
_MAX_GET: Final = 255  # octets of the last part of a URL (RFC 5019 section 5)
_NONCE_SIZE: Final = 32  # octets (RFC 9654 section 2.1)
_LIMITS: Final = Limits(total=3.0, max_size=MAX_RESPONSE_SIZE, connect=2.0, silence=3.0)
_HEADERS: Final = {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}
_BUSY_RETRY: Final = 1  # seconds
_STATIC_RETRY: Final = 300  # seconds until what only a change of settings can mend is looked at again
_IDLE: Final = 300  # seconds after which a certificate is left alone that might be asked about after a failure
_REFUSED_FLOOR: Final = 60.0  # seconds that a responder is left alone that says no
_TRY_LATER_FLOOR: Final = 30.0
_TRY_LATER: Final = "try_later"
_REPORT_INTERVAL: Final = 60.0  # seconds between two lines about one issuer and reason
_USE_SHARE: Final = 0.6  # of the time until the next look, after which workers tell that a certificate is in use
_STATES: Final = (State.GOOD, State.UNREACHABLE, State.NOT_LOADED, State.UNDETERMINED)

_log = structlog.get_logger()


class OcspKeeper:
    """Asks for all workers.

    Args:
        path: where answers are kept.
        fetcher: asks the responders.
        push: passes rows of answers to every worker; must not raise.
        clock: seconds since the epoch.
        chance: drawn from [0, 1), so that many don't do the same at the same time.

    Raises:
        StateError: the file can't be used.
    """

    def __init__(
        self,
        path: Path,
        fetcher: Fetcher,
        push: Callable[[list[dict[str, Any]]], Awaitable[None]],
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = OcspStore(path)
        self._fetcher = fetcher
        self._push = push
        self._clock = clock
        self._chance = chance
        # SQLite waits for the disk, which the loop must not; one thread, so that writes keep their order.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="ocsp-store")
        self._sources: dict[str, Source] = {}
        self._records = Records(_REMEMBERED)
        self._flights: dict[CertificateKey, asyncio.Task[None]] = {}
        self._outbox: list[dict[str, Any]] = []
        self._pushes: set[asyncio.Task[None]] = set()
        self._fetches: dict[tuple[str, str], int] = {}
        self._failing: dict[str, set[CertificateKey]] = {}  # host → of whose certificates it told nothing
        self._next_report: dict[tuple[str, Reason], float] = {}
        self._read_issuer = lru_cache(_MAX_AUTHORITIES)(Certified.from_der)

    def use(self, responders: Mapping[str, Responder]) -> None:
        """Ask these from now on; what other ones failed to say is no longer held against anybody."""
        before = {name: source.responder for name, source in self._sources.items()}
        self._sources = {
            name: self._sources[name] if before.get(name) == responder else Source(responder)
            for name, responder in responders.items()
        }
        for record in list(self._records.values()):
            if before.get(record.key[0]) != responders.get(record.key[0]):
                record.drop()
                self._records.pop(record.key)

    @property
    def responders(self) -> dict[str, Responder]:
        """Whom it asks, by issuer."""
        return {name: source.responder for name, source in self._sources.items()}

    def ask(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Take questions of a worker, as `spoa.enquiries` writes them; each is answered by a push, soon or later."""
        for row in rows:
            try:
                self._ask(row)
            except (CertificateError, KeyError, ValueError) as error:
                _log.error("a question about a certificate can't be read", error=str(error))

    async def close(self) -> None:
        """Ask no more, and write what is left."""
        for record in self._records.values():
            record.drop()
        tasks = (*self._flights.values(), *self._pushes)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(self._disk, self._store.close)
        self._disk.shutdown()

    # -- one certificate ---------------------------------------------------------------------------------------

    def _ask(self, row: Mapping[str, str]) -> None:
        now = int(self._clock())
        der = base64.b64decode(row["certificate"])
        key = (row["issuer"], hashlib.sha256(der).digest())
        record = self._records.get(key)
        if record is None:
            issuer = self._read_issuer(base64.b64decode(row["authority"]))
            record = self._records[key] = Record(key, Certified.from_der(der), issuer)
        record.is_used = True
        if key[0] not in self._sources:
            self._tell(record, Reason.NOT_LOADED, now + _BUSY_RETRY)  # the policy is being replaced
        elif key in self._flights:
            return
        elif record.look_at - LONGEST_WAIT <= now < record.look_at:
            # Once told of its use in this period, there is no need to hear of it again.
            self._tell(record, None, record.look_at + 1)
        elif len(self._flights) >= MAX_FLIGHTS:
            self._tell(record, Reason.UNREACHABLE, now + _BUSY_RETRY)
        else:
            record.look_at = 0
            self._fly(record)

    def _fly(self, record: Record) -> None:
        task = asyncio.get_running_loop().create_task(self._look(record))
        self._flights[record.key] = task
        task.add_done_callback(lambda _: self._flights.pop(record.key, None))

    async def _look(self, record: Record) -> None:
        """Find out about a certificate: from disk when it is new here, else from its responder."""
        try:
            is_recollected = record.response is None and await self._recollect(record)
            if int(self._clock()) >= record.look_at:
                if is_recollected:
                    self._announce(record)  # it may do until there is more
                await self._fetch(record)
        except Exception as error:  # noqa: BLE001 -- a worker waits for an answer, whatever happens
            _log.exception("a certificate's status could not be asked for", issuer=record.key[0])
            self._failed(record, Failure(Reason.UNREACHABLE, f"{type(error).__name__}: {error}"))
        self._announce(record)

    async def _recollect(self, record: Record) -> bool:
        """Take over what an earlier run knew; tell whether that says something now."""
        loop = asyncio.get_running_loop()
        try:
            der = await loop.run_in_executor(self._disk, self._store.get, record.key)
            response = None if der is None else read_response(der)
        except (StateError, ValueError) as error:
            _log.error("a kept OCSP answer can't be read", error=str(error))
            return False
        source = self._sources.get(record.key[0])
        if response is None or source is None:
            return False
        now = int(self._clock())
        pupil = Pupil(record.subject, record.issuer, source.rules, source.pinned)
        result = pupil.result(response, now)
        if result.status is Status.UNDETERMINED and state_of(result) is not State.STALE:
            return False  # it was for another issuer, or its signer is out of date
        self._know(record, response, der, pupil, now)
        if record.status is None:
            return False
        source.has_kept = True
        if pupil.is_due(response, now):
            record.look_at = now
        else:
            self._schedule(record)
        return True

    async def _fetch(self, record: Record) -> None:
        source = self._sources.get(record.key[0])
        if source is None:
            return
        source.attempted = self._clock()
        failure = Failure(Reason.NO_RESPONDER, "it names no responder that may be asked", _STATIC_RETRY)
        for target in source.targets(record.subject):
            found = await self._fetch_from(target, source, record)
            if found is None:
                self._succeeded(record, source, target)
                return
            failure = found
        self._failed(record, failure)
        source.fail(record, failure)

    async def _fetch_from(self, target: Target, source: Source, record: Record) -> Failure | None:
        """Ask one responder, and learn; return why nothing came of it, or None."""
        nonce = None if source.responder.nonce == "off" else secrets.token_bytes(_NONCE_SIZE)
        question = write_request(record.subject.der, record.issuer.der, nonce=nonce)
        body: bytes | None = question
        if source.responder.uses_get:
            target, body = _as_get(target, question)
        try:
            answer = await self._fetcher.fetch(
                target, limits=_LIMITS, body=body, headers=_HEADERS, permit=source.permit
            )
        except FetchError as error:
            self._count(record, str(error.kind))
            floor = _BUSY_RETRY if error.kind is FetchProblem.QUEUE_FULL else 5.0
            return Failure(Reason.UNREACHABLE, str(error), floor, target.authority)
        try:
            response = read_response(answer.body)
        except ValueError as error:
            self._count(record, "unusable")
            detail = f"{target} answers what is no OCSP response: {error}"
            return Failure(Reason.PARSE_ERROR, detail, _REFUSED_FLOOR, target.authority)
        now = int(self._clock())
        pupil = Pupil(record.subject, record.issuer, source.rules, source.pinned)
        lesson = pupil.learn(record.response, response, now, nonce)
        if lesson.failure is not None:
            self._count(record, "unusable")
            detail = f"{target}: {response.error or lesson.failure}"
            if response.error == _TRY_LATER:
                return Failure(lesson.failure, detail, _TRY_LATER_FLOOR, target.authority)
            return Failure(lesson.failure, detail, _REFUSED_FLOOR)
        self._count(record, "answered")
        self._know(record, response, answer.body, pupil, now)
        await self._keep(StoredAnswer(record.key, answer.body, now))
        return None

    async def _keep(self, answer: StoredAnswer) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._disk, self._store.put, [answer])
        except StateError as error:
            _log.error("an OCSP answer can't be kept, and would be lost with a restart", error=str(error))

    def _know(self, record: Record, response: OcspResponse, der: bytes | None, pupil: Pupil, now: int) -> None:
        result = pupil.result(response, now)
        record.response, record.der = response, der
        record.status = None if result.status is Status.UNDETERMINED else result.status
        record.valid_from, record.valid_until = pupil.since(response), result.valid_until
        record.look_at = now if record.status is None else pupil.refresh_at(response, now, self._chance())

    def _succeeded(self, record: Record, source: Source, target: Target) -> None:
        if source.outage is not None or record.failure is not None:
            _log.info("the OCSP responder answers again", issuer=record.key[0], responder=str(target))
        source.succeed(self._clock())
        record.failure, record.failures, record.is_used = None, 0, False
        self._schedule(record)
        for key in self._failing.pop(target.authority, ()):
            other = self._records.get(key)
            if other is not None and other.failure is not None:
                other.failure, other.look_at = None, 0
                self._tell(other, None, 0)  # it is asked about again when it is next used

    def _schedule(self, record: Record) -> None:
        record.drop()
        delay = record.look_at - self._clock()
        record.timer = asyncio.get_running_loop().call_later(delay, self._refresh, record)

    def _failed(self, record: Record, failure: Failure) -> None:
        self._report(record, failure)
        record.fail(failure, self._clock())
        if failure.host and len(failing := self._failing.setdefault(failure.host, set())) < _REMEMBERED:
            failing.add(record.key)
        ceiling = max(_STATIC_RETRY, failure.floor)
        wait = backoff(record.failures, self._chance(), floor=failure.floor, ceiling=ceiling)
        record.look_at = int(self._clock() + wait) + 1
        record.drop()
        record.timer = asyncio.get_running_loop().call_later(wait + _IDLE, self._forget, record)

    def _report(self, record: Record, failure: Failure) -> None:
        """Log a failure when it is new, and of those with one issuer and reason one a minute: outages concern many."""
        if record.failure is not None and record.failure.reason is failure.reason:
            return
        now = asyncio.get_running_loop().time()
        kind = (record.key[0], failure.reason)
        if now >= self._next_report.get(kind, 0.0):
            self._next_report[kind] = now + _REPORT_INTERVAL
            _log.warning("no OCSP answer that counts", issuer=kind[0], reason=str(kind[1]), detail=failure.detail)

    def _refresh(self, record: Record) -> None:
        """Look anew after half of an answer's time; of no use to anybody, it is left to lie on disk."""
        if self._records.get(record.key) is not record or record.key in self._flights:
            return
        if record.is_used:
            record.look_at = 0  # whatever the clock says by now
            self._fly(record)
        else:
            self._records.pop(record.key)

    def _forget(self, record: Record) -> None:
        """Leave what nobody asked about again after a failure: it is of no use, and must alarm nobody when it ends."""
        if self._records.get(record.key) is record and record.key not in self._flights:
            self._records.pop(record.key)

    # -- telling -----------------------------------------------------------------------------------------------

    def _announce(self, record: Record) -> None:
        now = self._clock()
        if record.failure is not None:
            self._tell(record, record.failure.reason, record.look_at)
        else:
            self._tell(record, None, int(now + (record.look_at - now) * _USE_SHARE))

    def _tell(self, record: Record, failure: Reason | None, ask_again: int) -> None:
        if failure is None and record.failure is not None:
            failure = record.failure.reason
        self._outbox.append(answer_row(record.key, record.der, failure, ask_again))
        if len(self._outbox) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        rows, self._outbox = self._outbox, []
        task = asyncio.ensure_future(self._push(rows))
        self._pushes.add(task)
        task.add_done_callback(self._pushes.discard)

    def _count(self, record: Record, result: str) -> None:
        key = (record.key[0], result)
        self._fetches[key] = self._fetches.get(key, 0) + 1

    def describe(self, now: float, soft_fails: Callable[[str], float]) -> dict[str, dict[str, Any]]:
        """Return what `status` shows of each issuer whose certificates are asked about."""
        counts, standings = self._counts(now), self._standings()
        found = {}
        for name, source in self._sources.items():
            state, reason = source.state(*standings[name])
            blamed = source.blamed(*standings[name])
            found[name] = {
                "state": str(state),
                "reason": reason,
                "responder": source.responder.url,
                "hosts": list(source.responder.hosts),
                "certificates": {str(one): count for one, count in counts.get(name, {}).items()},
                "last_attempt": source.attempted,
                "last_success": source.succeeded,
                "error": "" if blamed is None else blamed.detail,
                "soft_fails": int(soft_fails(name)),
            }
        return found

    def _standings(self) -> dict[str, tuple[list[Failure], int]]:
        """Return for each issuer why certificates lack a new answer, and how many of it are known."""
        own: dict[str, list[Failure | None]] = {name: [] for name in self._sources}
        for record in self._records.values():
            own.setdefault(record.key[0], []).append(record.failure)
        return {name: ([one for one in rows if one is not None], len(rows)) for name, rows in own.items()}

    def samples(self, now: float) -> Samples:
        """Return the state of each issuer's responder, of its answers, and the counts of questions."""
        found: Samples = {
            ("revocation_fetches_total", (name, "ocsp", result)): count
            for (name, result), count in self._fetches.items()
        }
        counts, standings = self._counts(now), self._standings()
        for name, source in self._sources.items():
            labels = (name, "ocsp")
            current, _ = source.state(*standings[name])
            for state in _STATES:
                # Of a responder that nobody has had a question for nothing is wrong.
                found["revocation_state", (*labels, str(state))] = source.is_tried and current is state
            found["revocation_entries", labels] = sum(counts.get(name, {}).values())
            if source.succeeded:
                found["revocation_age_seconds", labels] = now - source.succeeded
            ends = [
                (record.valid_until, record.valid_from)
                for record in self._records.values()
                if record.key[0] == name and record.status is Status.GOOD
            ]
            if ends:
                until, since = min(ends)
                found["revocation_expiry_seconds", labels] = until - now
                found["revocation_life_seconds", labels] = until - since
        return found

    def _counts(self, now: float) -> dict[str, dict[State, int]]:
        counts: dict[str, dict[State, int]] = {}
        for record in self._records.values():
            own = counts.setdefault(record.key[0], {})
            state = record.state(now)
            own[state] = own.get(state, 0) + 1
        return counts


def _as_get(target: Target, question: bytes) -> tuple[Target, bytes | None]:
    """Put a question in the URL (RFC 6960 appendix A.1), where it stays short enough for caches to take it."""
    encoded = quote(base64.b64encode(question).decode(), safe="")
    if len(encoded) > _MAX_GET:
        return target, question
    return read_target(f"{target.url.removesuffix('/')}/{encoded}"), None
