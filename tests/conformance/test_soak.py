"""What is left after hours of clients that come, go wrong and leave: case 50, shorter unless told otherwise."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from benchmarks.memory import anonymous_size
from tests import wire
from tests.agents import authorize, until
from tests.conformance.line import ALLOWED, HELLO, SHUT, Line, agent_hello

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agents import Agent

#: How long it shall last; `make soak-day` says a day.
HOURS: Final = float(os.environ.get("SPOA_AUTHZ_SOAK_HOURS", "0"))
#: Rounds of some 600 requests each that there are at least, and after how many memory has settled.
ROUNDS: Final = 30
SETTLED: Final = 10
LINES: Final = 6
PER_LINE: Final = 100
#: By how much memory may grow after that.
FLAT: Final = 1.05
_RESET: Final = struct.pack("ii", 1, 0)

pytestmark = pytest.mark.timeout(0 if HOURS else 300)


def go_round(connect: Callable[[], Line], chance: random.Random) -> None:
    """Four clients whose every answer is compared, one request in a hundred slow; one that resets; one that leaves."""
    with contextlib.ExitStack() as lines:
        opened = [lines.enter_context(connect()) for _ in range(LINES)]
        for line in opened:
            line.socket.sendall(HELLO)
            line.must_answer(agent_hello())
        *steady, hasty, lost = opened
        for line in steady:
            asked = [(number, chance.choice((ALLOWED, SHUT))) for number in range(PER_LINE)]
            frames = [
                wire.notify(number, 1, authorize("/open/x" if said is ALLOWED else "/shut")) for number, said in asked
            ]
            slow = chance.randrange(PER_LINE)  # it comes in two pieces, and what is behind it waits
            before, behind = b"".join(frames[:slow]), b"".join(frames[slow:])
            cut = chance.randrange(1, len(frames[slow]))
            line.socket.sendall(before + behind[:cut])
            line.must_answer(b"".join(line.ack(wire.varint(number) + b"\x01", said) for number, said in asked[:slow]))
            line.socket.sendall(behind[cut:])
            line.must_answer(b"".join(line.ack(wire.varint(number) + b"\x01", said) for number, said in asked[slow:]))
        burst = wire.notify(1, 1, authorize()) * PER_LINE
        for line in (hasty, lost):
            line.socket.sendall(burst + burst[: chance.randrange(1, 50)])
        hasty.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def test_after_many_clients_that_break_off_and_dawdle_memory_and_descriptors_are_what_they_were(
    conforming_with: Callable[..., Agent],
) -> None:
    """Case 50: the same descriptors, threads and connections, and memory within 5 % of what it was early on."""
    agent = conforming_with()
    address, revision = agent.address(), agent.status()["revision"]
    pid = agent.process.pid
    (worker,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[:1])
    chance = random.Random(50)

    def held() -> tuple[int, int]:
        until(lambda: agent.metric("connections ") == 0)
        return len(list(Path(f"/proc/{worker}/fd").iterdir())), len(list(Path(f"/proc/{worker}/task").iterdir()))

    began, early = time.monotonic(), (0, 0)
    for number in itertools.count(1):
        go_round(lambda: Line(address, revision), chance)
        if number == SETTLED:
            early, size = held(), anonymous_size(worker)
        if number >= ROUNDS and time.monotonic() - began >= HOURS * 3600:
            break
    assert held() == early
    assert anonymous_size(worker) <= FLAT * size
    assert agent.metric("protocol_errors_total") == 0
