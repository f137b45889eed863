"""What this worker has asked about certificates, and the requests that wait for the answers.

A question goes to the supervisor, which asks the responder once for all workers; the answer comes to all of them. A
request waits no longer than its issuer's `timeout`, nor than its own deadline allows: then it is judged by what is
known, which is that nobody could be reached in time. Other requests are answered meanwhile, also on its connection.
"""

from __future__ import annotations

import asyncio
import base64
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from spoa.cache import BoundedCache
from spoa.revocation.ocsp import read_response
from spoa.revocation.ocsp_memory import OcspKnowledge
from spoa.revocation.status import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from spoa.assurance import Question
    from spoa.facts import Request
    from spoa.metrics import Samples
    from spoa.revocation.ocsp_memory import CertificateKey, OcspMemory
    from spoa.spop import Connection

__all__ = ["MAX_QUESTIONS", "MAX_WAITING", "Client", "Enquiries", "Waiting", "Writer", "answer_row", "question_row"]

MAX_WAITING: Final = 4096
"""Requests of one worker that wait at a time; whatever comes beyond is judged by what is known."""

MAX_QUESTIONS: Final = 4096
"""Questions of one worker that are open at a time."""

_REMEMBERED: Final = 16384  # certificates, in each half of the cache, that answers are taken about
_RETRY: Final = 5  # seconds after which a question without an answer in time may keep a request waiting again


class Writer(Protocol):
    """What takes the answers of one connection."""

    def write(self, data: bytes, /) -> object:
        """Send bytes, or keep them until they can be sent."""

    def abort(self) -> object:
        """Drop the connection."""


class Client(Protocol):
    """Whoever is owed an answer."""

    def owe(self) -> None:
        """Know that an answer will come later."""

    def pay(self, answer: bytes, count: int) -> None:
        """Take so many of them."""


class Waiting:
    """A request that waits.

    Attributes:
        client: who gets the answer, on `connection`, under `ids`.
        payload, request: what was asked.
        started: when it was read, by `perf_counter`.
    """

    __slots__ = ("client", "connection", "enquiries", "ids", "is_done", "payload", "request", "started", "timer")

    def __init__(
        self, client: Client, connection: Connection, ids: bytes, payload: bytes, request: Request, started: float
    ) -> None:
        self.client = client
        self.connection = connection
        self.ids = ids
        self.payload = payload
        self.request = request
        self.started = started
        self.enquiries: Sequence[_Enquiry] = ()
        self.is_done = False
        self.timer: asyncio.TimerHandle | None = None


class _Enquiry:
    __slots__ = ("asked", "certificate", "key", "waiting")

    def __init__(self, key: CertificateKey, certificate: bytes) -> None:
        self.key = key
        self.certificate = certificate
        self.asked = perf_counter()
        self.waiting: dict[Waiting, None] = {}  # in the order in which they came, each once


def question_row(question: Question) -> dict[str, str]:
    """Write a question as the supervisor reads it."""
    return {
        "issuer": question.key[0],
        "certificate": base64.b64encode(question.certificate).decode(),
        "authority": base64.b64encode(question.authority).decode(),
    }


def answer_row(key: CertificateKey, response: bytes | None, failure: Reason | None, ask_again: int) -> dict[str, Any]:
    """Write an answer as the workers read it."""
    return {
        "issuer": key[0],
        "sha256": key[1].hex(),
        "response": None if response is None else base64.b64encode(response).decode(),
        "failure": failure,
        "ask_again": ask_again,
    }


def _knowledge(row: dict[str, Any]) -> OcspKnowledge:
    failure = None if row["failure"] is None else Reason(row["failure"])
    if row["response"] is None:
        return OcspKnowledge(None, failure, row["ask_again"])
    try:
        response = read_response(base64.b64decode(row["response"]))
    except ValueError:
        return OcspKnowledge(None, Reason.PARSE_ERROR, row["ask_again"])
    return OcspKnowledge(response, failure, row["ask_again"])


class Enquiries:
    """The open questions of one worker.

    Args:
        memory: where answers go.
        send: passes questions on, as `question_row` writes them.
        clock: seconds since the epoch.
        forget: told whose certificate is to be judged anew (DER).
        resume: judges requests that have waited.
    """

    def __init__(
        self,
        memory: OcspMemory,
        send: Callable[[list[dict[str, str]]], None],
        clock: Callable[[], float],
        forget: Callable[[bytes], None],
        resume: Callable[[Sequence[Waiting]], None],
    ) -> None:
        self._memory = memory
        self._send = send
        self._clock = clock
        self._forget = forget
        self._resume = resume
        self._open: dict[CertificateKey, _Enquiry] = {}
        self._asked: BoundedCache[CertificateKey, bytes] = BoundedCache(_REMEMBERED)
        self._waiting = 0
        self._waits = {"answered": 0, "timed_out": 0, "refused": 0}

    def put(self, questions: Iterable[Question]) -> None:
        """Ask whatever isn't being asked already."""
        new = [one for one in questions if one.key not in self._open][: MAX_QUESTIONS - len(self._open)]
        if new:
            for one in new:
                self._open[one.key] = _Enquiry(one.key, one.certificate)
                self._asked.put(one.key, one.certificate)
            self._send([question_row(one) for one in new])

    def wait(self, waiting: Waiting, questions: Iterable[Question], patience: float, latest: float) -> bool:
        """Let a request wait for the urgent ones among the questions, which are being asked; False where it can't.

        Args:
            waiting: the request; `resume` gets it when there is more to say, or no more time.
            questions: what `put` was given.
            patience: seconds since a question was asked for which a request waits for it.
            latest: when the request must be answered, by `perf_counter`.
        """
        enquiries = [self._open[one.key] for one in questions if one.is_urgent and one.key in self._open]
        if not enquiries:
            return False
        until = min(latest, *(enquiry.asked + patience for enquiry in enquiries))
        delay = until - perf_counter()
        if delay <= 0 or self._waiting >= MAX_WAITING:
            self._waits["refused"] += 1
            return False
        for enquiry in enquiries:
            enquiry.waiting[waiting] = None
        waiting.enquiries = enquiries
        self._waiting += 1
        waiting.is_done = False
        waiting.timer = asyncio.get_running_loop().call_later(delay, self._give_up, waiting)
        return True

    def take(self, rows: Iterable[dict[str, Any]]) -> None:
        """Learn answers, and have the requests judged that waited for them.

        Raises:
            KeyError, ValueError, TypeError: a row is none.
        """
        freed: list[Waiting] = []
        for row in rows:
            key = (row["issuer"], bytes.fromhex(row["sha256"]))
            enquiry = self._open.pop(key, None)
            certificate = self._asked.get(key) if enquiry is None else enquiry.certificate
            if certificate is None:
                continue  # another worker's question
            self._memory.put(key, _knowledge(row))
            self._forget(certificate)
            if enquiry is not None:
                freed += self._release(enquiry)
        self._waits["answered"] += len(freed)
        if freed:
            self._resume(freed)

    def samples(self) -> Samples:
        """Return how requests that should wait fared."""
        found: Samples = {("revocation_waits_total", (result,)): count for result, count in self._waits.items()}
        found["revocation_waiting", ()] = self._waiting
        return found

    def _release(self, enquiry: _Enquiry) -> list[Waiting]:
        released = [waiting for waiting in enquiry.waiting if not waiting.is_done]
        for waiting in released:
            self._end(waiting)
        return released

    def _end(self, waiting: Waiting) -> None:
        waiting.is_done = True
        self._waiting -= 1
        if waiting.timer is not None:
            waiting.timer.cancel()

    def _give_up(self, waiting: Waiting) -> None:
        """Judge a request whose time is up, and all others that wait for the same: nobody is there to be waited for."""
        now = int(self._clock())
        late: list[Waiting] = []
        for enquiry in waiting.enquiries:
            if self._open.get(enquiry.key) is enquiry:
                self._memory.fail(enquiry.key, Reason.UNREACHABLE, now + _RETRY)
                self._forget(enquiry.certificate)
                late += self._release(enquiry)
                enquiry.waiting.clear()
        self._waits["timed_out"] += len(late)
        self._resume(late)
