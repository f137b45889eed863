"""A load under which something goes wrong: every answer is compared with what is right, and its time is kept.

with Load.running(lambda: Spop(address), QUESTIONS, askers=8) as load:
    load.wait_for(100)
    kill(worker)
    load.recovery(since=time.monotonic(), bound=10)
assert load.count(Outcome.WRONG_ALLOW) == 0
"""

from __future__ import annotations

import enum
import itertools
import socket
import threading
import time
from bisect import bisect_left
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self

from spoa.spop import AckReceived, Connection, HelloReceived, Role
from tests.agents import OPEN, authorize, variables
from tests.haproxy import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spoa.addresses import Address
    from spoa.spop import DataType
    from tests.client import Client

__all__ = ["WIDER", "Answer", "Asker", "Http", "Load", "Outcome", "Question", "Spop", "judged"]

#: Another policy than `OPEN`, under which the same questions have the same right answers, and /other is allowed too.
WIDER: Final = OPEN.replace('"/open/**"', '["/open/**", "/other/**"]')

#: Seconds after which an answer counts as lost; HAProxy would have given up long before.
_PATIENCE: Final = 5.0
#: Seconds between two attempts to connect.
_PAUSE: Final = 0.01


class Outcome(enum.Enum):
    """What an answer was, beside what is right."""

    ALLOWED = "allowed, rightly"
    DENIED = "denied, rightly"
    WRONG_ALLOW = "allowed, wrongly"
    REFUSED = "denied, wrongly"
    LOST = "no answer"


class Question(NamedTuple):
    """A request, and what is right: `what` is a path over HTTP and a NOTIFY's payload over SPOP."""

    what: bytes
    is_allowed: bool


class Answer(NamedTuple):
    """When a question was asked and answered, by `time.monotonic`, and how."""

    began: float
    ended: float
    outcome: Outcome
    asker: int


class Asker(Protocol):
    """One connection; raises OSError where no answer comes."""

    def ask(self, what: bytes) -> bool:
        """Say whether the answer is allow."""

    def close(self) -> None:
        """Close the connection."""


def judged(path: str, *, is_allowed: bool, **others: tuple[DataType, Any]) -> Question:
    """Make a question for an agent."""
    return Question(authorize(path, **others), is_allowed)


class Spop:
    """Asks an agent as HAProxy does, one request at a time."""

    def __init__(self, address: Address) -> None:
        family, name = (
            (socket.AF_UNIX, address.path) if address.path else (socket.AF_INET, (address.host, address.port))
        )
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._connection = Connection(Role.HAPROXY)
        self._stream = 0
        try:
            self._socket.settimeout(_PATIENCE)
            self._socket.connect(name)
            self._socket.sendall(self._connection.send_hello())
            self._receive(HelloReceived)
        except BaseException:
            self._socket.close()
            raise

    def ask(self, what: bytes) -> bool:
        """Say whether the verdict is allow."""
        self._stream += 1
        self._socket.sendall(self._connection.send_notify(self._stream, 1, what))
        return bool(variables(self._receive(AckReceived).ack)["verdict"] == "allow")

    def close(self) -> None:
        """Close the connection, without a word."""
        self._socket.close()

    def _receive(self, kind: type) -> Any:
        while True:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the agent closed the connection")
            for event in self._connection.receive_data(data):
                if isinstance(event, kind):
                    return event
                raise ConnectionError(f"the agent says {event}")


class Http:
    """Asks through HAProxy over HTTP/1.1 and TLS; a status of 200 is an allow."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._opened = client.tls(["http/1.1"])
        self._socket = self._opened.__enter__()
        self._held = b""

    def ask(self, what: bytes) -> bool:
        """Say whether the status is 200."""
        self._socket.sendall(b"GET " + what + b" HTTP/1.1\r\nHost: " + self._client.host.encode() + b"\r\n\r\n")
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            self._read()
        head = self._held[:end].lower()
        size = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        while len(self._held) < end + 4 + size:
            self._read()
        self._held = self._held[end + 4 + size :]
        return head.split(b" ", 2)[1] == b"200"

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self._opened.__exit__(None, None, None)

    def _read(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("HAProxy closed the connection")
        self._held += data


_OUTCOMES: Final = {
    (True, True): Outcome.ALLOWED,
    (True, False): Outcome.REFUSED,
    (False, True): Outcome.WRONG_ALLOW,
    (False, False): Outcome.DENIED,
}


@dataclass
class Load:
    """Questions that are asked again and again, on `askers` connections, each of which is made anew when it is lost."""

    make: Callable[[], Asker]
    questions: Sequence[Question]
    askers: int
    rate: float

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._answers: list[list[Answer]] = [[] for _ in range(self.askers)]
        self._threads = [threading.Thread(target=self._run, args=[number]) for number in range(self.askers)]
        self._failures: list[BaseException] = []

    @classmethod
    @contextmanager
    def running(
        cls, make: Callable[[], Asker], questions: Sequence[Question], *, askers: int = 8, rate: float = 0
    ) -> Iterator[Self]:
        """Ask until the block ends: `rate` questions a second in all, or as fast as answers come."""
        load = cls(make, questions, askers, rate)
        for thread in load._threads:
            thread.start()
        try:
            yield load
        finally:
            load.stop()

    def stop(self) -> None:
        """End, and wait for the last answers."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        assert not self._failures, self._failures

    def answers(self) -> list[Answer]:
        """Return every answer so far, in the order in which they ended."""
        return sorted(itertools.chain(*map(tuple, self._answers)), key=lambda answer: answer.ended)

    def count(self, *outcomes: Outcome, since: float = 0, until: float = float("inf")) -> int:
        """Return how many questions that began and ended in a time were answered so."""
        return len([a for a in self.answers() if a.outcome in outcomes and a.began >= since and a.ended <= until])

    def wait_for(self, count: int, seconds: float = 60, *outcomes: Outcome) -> None:
        """Wait until so many questions that begin from now on are answered, so where outcomes are given."""
        wanted, now = outcomes or tuple(Outcome), time.monotonic()
        wait_until(lambda: self.count(*wanted, since=now) >= count, seconds, f"{count} answers", self.report)

    def recovery(self, since: float, bound: float) -> float:
        """Wait until each connection has had something allowed that it asked since then; return the seconds it took.

        Raises:
            AssertionError: one has not within `bound` seconds.
        """

        def first(answers: list[Answer]) -> float | None:
            begin = bisect_left(answers, since, key=lambda answer: answer.began)
            return next((a.ended for a in answers[begin:] if a.outcome is Outcome.ALLOWED), None)

        remaining = since + bound - time.monotonic()
        wait_until(
            lambda: all(first(each) is not None for each in self._answers), remaining, "all recover", self.report
        )
        return max(first(each) or 0.0 for each in self._answers) - since

    def report(self) -> str:
        """Return how many answers of each kind there are, and the last few."""
        answers = self.answers()
        counts = {outcome.value: len([a for a in answers if a.outcome is outcome]) for outcome in Outcome}
        return f"{counts}\n" + "\n".join(map(str, answers[-10:]))

    @property
    def per_second(self) -> float:
        """How many answers came in a second."""
        answers = self.answers()
        return len(answers) / (answers[-1].ended - answers[0].began) if len(answers) > 1 else 0.0

    def _run(self, number: int) -> None:
        asker: Asker | None = None
        interval = self.askers / self.rate if self.rate else 0.0
        due = time.monotonic() + interval * number / self.askers
        try:
            for question in itertools.islice(itertools.cycle(self.questions), number % len(self.questions), None):
                if self._stopping.wait(max(0.0, due - time.monotonic())) if interval else self._stopping.is_set():
                    return
                due += interval
                began = time.monotonic()
                try:
                    asker = asker or self.make()
                    outcome = _OUTCOMES[question.is_allowed, asker.ask(question.what)]
                except OSError:
                    outcome = Outcome.LOST
                    if asker is not None:
                        asker.close()
                    asker = None
                self._answers[number].append(Answer(began, time.monotonic(), outcome, number))
                if outcome is Outcome.LOST:
                    self._stopping.wait(_PAUSE)
        except BaseException as error:  # noqa: BLE001  # told by `stop`, in the thread that fails the test
            self._failures.append(error)
        finally:
            if asker is not None:
                asker.close()
