"""Messages of the usual form, and somebody who remembers the answers to them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from spoa.adapter import Answers, read_request
from spoa.recall import Recall
from spoa.spop import Argument, DataType, Message, write_messages

if TYPE_CHECKING:
    from spoa.authorizer import Policy

__all__ = ["NOW", "Asker", "http", "payload"]

NOW = int(time.time())


def payload(der: bytes, *others: tuple[str, int, object], name: str = "authorize") -> bytes:
    arguments = [Argument(b"cert", DataType.BINARY, der), Argument(b"verify", DataType.INT64, 0)]
    arguments += [Argument(key.encode(), kind, value) for key, kind, value in others]  # type: ignore[arg-type]
    return write_messages([Message(name.encode(), tuple(arguments))])


def http(der: bytes, path: str, identifier: str, method: str = "GET") -> bytes:
    return payload(
        der,
        ("method", DataType.STRING, method.encode()),
        ("path", DataType.STRING, path.encode()),
        ("id", DataType.STRING, identifier.encode()),
    )


_BEFORE = b"\0\0\x04\x8e\x03\0\0\0\x01\x05\x01"
_BEHIND = b"\x02id\x08\x01z"  # would be an argument more


class Asker:
    """Judges as the agent does: from memory where there is one, else afresh, and then remembers."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.answers = Answers(policy.revision)
        self.recall = Recall(policy, self.answers)

    def fresh(self, payload: bytes, now: int = NOW) -> bytes:
        self.recall.look_around(now)
        request = read_request(payload)
        assert request is not None
        judgement = self.policy.judge(request, now)
        self.recall.remember(payload, request, judgement, now)
        return self.answers.actions_for(judgement)

    def asked_once(self, payload: bytes) -> bytes | None:
        found = self.recall.ask(payload, 0, len(payload), NOW)
        return None if found is None else found.said

    def from_memory(self, payload: bytes, now: int = NOW) -> bytes | None:
        self.recall.look_around(now)
        hits, size = self.recall.hits, self.recall._id_size
        found = self.recall.ask(payload, 0, len(payload), now)
        self.recall.hits, self.recall._id_size = hits, size
        # In a read, something stands before it, and behind.
        for before, behind in ((_BEFORE, b""), (_BEFORE, _BEHIND), (b"", payload)):
            begin = len(before)
            again = self.recall.ask(before + payload + behind, begin, begin + len(payload), now)
            assert (None if again is None else again.said) == (None if found is None else found.said)
        if found is None:
            return None
        assert found.said == found.outcome.actions + found.known.days_left
        return found.said
