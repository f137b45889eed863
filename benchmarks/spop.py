"""What the wire costs: nanoseconds per frame, without sockets, policies or certificates.

Run it as `python benchmarks/spop.py` from the top of a clone. Each line is the best of several rounds, which is what is
least disturbed on a shared machine; compare lines of one run only.
"""

from __future__ import annotations

import argparse
import platform
import sys
import timeit
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that a clone is measured without installing it

from spoa.spop import (
    Argument,
    Connection,
    DataType,
    HelloReceived,
    Message,
    Role,
    Scope,
    read_arguments,
    read_messages,
    write_messages,
    write_set_var,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ARGUMENTS: Final = (
    Argument(b"cert", DataType.BINARY, bytes(range(256)) * 4 + bytes(76)),  # 1,100 bytes, a usual certificate
    Argument(b"verify", DataType.INT64, 0),
    Argument(b"used", DataType.BOOL, True),  # noqa: FBT003  # the value of the argument
    Argument(b"src", DataType.IPV4, bytes((192, 0, 2, 7))),
    Argument(b"method", DataType.STRING, b"GET"),
    Argument(b"path", DataType.STRING, b"/orders/4711/items"),
)
WANTED: Final = {argument.name: slot for slot, argument in enumerate(ARGUMENTS)}
ACTIONS: Final = write_set_var(Scope.TRANSACTION, b"verdict", DataType.STRING, b"allow")


def open_pair() -> tuple[Connection, Connection]:
    """Return HAProxy's side and the agent's side of an open connection."""
    proxy, agent = Connection(Role.HAPROXY, max_frame_size=16380), Connection(Role.AGENT)
    for event in agent.receive_data(proxy.send_hello()):
        assert isinstance(event, HelloReceived)
        proxy.receive_data(event.reply)
    return proxy, agent


def best_of(rounds: int, frames: int, once: Callable[[], object]) -> float:
    """Nanoseconds for each of the frames that `once` works on."""
    number = max(1, 10_000 // frames)
    return min(timeit.repeat(once, number=number, repeat=rounds)) / number / frames * 1e9


def answer_all(agent: Connection, data: bytes) -> bytes:
    """Answer each NOTIFY of one read with the same actions."""
    return b"".join([agent.ack(event[0], ACTIONS) for event in agent.receive_data(data) if type(event) is tuple])


def measure(rounds: int) -> list[tuple[str, float]]:
    payload = write_messages([Message(b"authorize", ARGUMENTS)])
    lines: list[tuple[str, float]] = []
    for stream_id in (1, 5001, 1_000_001):
        proxy, agent = open_pair()
        frame = proxy.send_notify(stream_id, 1, payload)
        for frames in (1, 20):
            read = frame * frames
            spent = best_of(rounds, frames, lambda agent=agent, read=read: answer_all(agent, read))  # type: ignore[misc]  # defaults bind the loop's values
            lines.append((f"NOTIFY to ACK, {len(frame)} bytes, stream-id {stream_id}, {frames} in a read", spent))
    proxy, agent = open_pair()
    frame = proxy.send_notify(1, 1, payload)

    def in_halves() -> None:
        agent.receive_data(frame[:700])
        answer_all(agent, frame[700:])

    lines += [
        ("NOTIFY to ACK, in two reads", best_of(rounds, 1, in_halves)),
        ("six arguments, all wanted", best_of(rounds, 1, lambda: read_arguments(payload, b"authorize", WANTED))),
        (
            "six arguments, two wanted",
            best_of(rounds, 1, lambda: read_arguments(payload, b"authorize", {b"cert": 0, b"path": 1})),
        ),
        ("six arguments, as values with names", best_of(rounds, 1, lambda: read_messages(payload))),
        (
            "one set-var",
            best_of(rounds, 1, lambda: write_set_var(Scope.TRANSACTION, b"verdict", DataType.STRING, b"allow")),
        ),
    ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each line, of which the best counts")
    rounds = parser.parse_args().rounds
    print(f"{platform.python_implementation()} {platform.python_version()}, nanoseconds per frame")
    for name, spent in measure(rounds):
        print(f"{spent:10,.0f}  {name}")


if __name__ == "__main__":
    main()
