"""An answering with an open connection, fed by reads and asked for what it wrote."""

from __future__ import annotations

from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from spoa.answering import Answering
from spoa.metrics import summed
from spoa.spop import Connection, Role, payload_start
from tests.agents import OPEN, policy_of, variables

if TYPE_CHECKING:
    from collections.abc import Callable

    from spoa.authorizer import Policy
    from spoa.decision_log import DecisionLog
    from spoa.enquiries import Client
    from spoa.spop import Event

__all__ = ["NOW", "Desk", "raising"]

NOW: Final = 1_800_000_000.0


class Desk:
    """An answering, an open connection, and what HAProxy makes of the answers."""

    def __init__(
        self, text: str = OPEN, log: DecisionLog | None = None, deadline: float = 0.08, policy: Policy | None = None
    ) -> None:
        self.policy = policy or policy_of(text)
        self.answering = Answering(self.policy, deadline, lambda: NOW, log)
        self.agent = Connection(Role.AGENT)
        self.haproxy = Connection(Role.HAPROXY)
        self.writes: list[bytes] = []
        self.client: Client | None = None
        self.give(self.haproxy.send_hello())

    def give(self, data: bytes, ago: float = 0.0) -> tuple[int, bool]:
        """Feed one read that came some seconds ago, as a peer does; return what `answer` does."""
        started, answering, agent = perf_counter() - ago, self.answering, self.agent
        rest = data[answering.answer_known(agent, self, data, started) :]
        stop = agent.notify_end(rest, 0) if rest else -1
        start = payload_start(rest, 0, stop) if stop == len(rest) else -1
        answered = 1, False
        if start > 0:
            answered = 1, answering.answer_one(agent, self, rest, start, started, self.client)
        elif rest:
            self.events = agent.receive_data(rest)
            answered = answering.answer(agent, self, self.events, 0, started, self.client)
        self.answering.finish()
        return answered

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def abort(self) -> None:
        raise AssertionError("nothing is wrong with whom we write to")

    def received(self) -> list[Event]:
        events = self.haproxy.receive_data(b"".join(self.writes))
        self.writes.clear()
        return events

    def ask(self, *payloads: bytes, ago: float = 0.0) -> list[dict[str, Any]]:
        """Send NOTIFYs in one read and return the variables of each ACK."""
        self.received()
        numbers = range(1, len(payloads) + 1)
        self.give(b"".join(map(self.haproxy.send_notify, numbers, [1] * len(payloads), payloads)), ago)
        return [variables(event.ack) for event in self.received()]  # type: ignore[union-attr] # all are ACKs

    def count(self, name: str, *labels: str) -> float:
        return summed(chain(self.answering.samples().items(), *self.answering.decisions())).get((name, labels), 0)


def raising(error: Exception) -> Callable[..., Any]:
    """Return a function that raises an error, whatever it is called with."""

    def function(*_: object) -> Any:
        raise error

    return function
