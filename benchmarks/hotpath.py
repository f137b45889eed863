"""What a decision costs inside a worker, without sockets: nanoseconds, bytecode instructions, or machine instructions.

Run it as `python benchmarks/hotpath.py` from the top of a clone. The pieces are put together as in a worker,
from the bytes of a read to the bytes of the write. Nanoseconds are the best of several rounds, and so are `--count
bytecode`, which are the same on every machine with the same Python but for what the clock causes now and then; what is
compiled to C, and what C does by itself, counts as nothing.
`--count machine` are the processor's, for a tree that is compiled. `tests/test_hotpath.py` guards both.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import platform
import sys
import tempfile
import time
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that a clone is measured without installing it

from benchmarks.certificates import make_certificates
from benchmarks.policies import SERIAL, write_policy, write_requests
from benchmarks.steps import steps
from spoa.answering import Answering
from spoa.loading import load_policy
from spoa.peer import Peer
from spoa.revocation.crl import read_crl
from spoa.spop import Argument, Connection, DataType, Message, Role, write_messages
from spoa.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

_CERTIFICATES: Final = 40
_REVOKED: Final = 100
#: One in so many requests of the other shapes is measured where each needs a certificate of its own.
_NEWCOMERS: Final = 10
_PEERS: Final = 10
_ID: Final = "7f000001-01bb-4f7b-0a69-"
_DEADLINE: Final = 60.0  # seconds
#: Rounds in which bytecode is counted.
_COUNTED: Final = 3


class Shape(NamedTuple):
    """One way to ask: its requests as `write_requests` knows them, how many come in a read, and what else differs.

    In a turn of the loop, so many connections are read.
    """

    name: str
    requests: str
    in_a_read: int = 1
    in_a_turn: int = 10
    all_arguments: bool = False

    @property
    def is_new(self) -> bool:
        """No certificate comes twice."""
        return self.requests == "newcomers"

    def count(self, requests: int) -> int:
        """Return how many requests are measured where the recurring ones are so many."""
        return requests // _NEWCOMERS if self.is_new else requests


SHAPES: Final = (
    Shape("recurring", "recurring"),
    Shape("recurring, alone in a turn", "recurring", in_a_turn=1),
    Shape("recurring, 10 in a read", "recurring", 10),
    Shape("recurring, unique id", "recurring", all_arguments=True),
    Shape("path never seen", "paths"),
    Shape("path never seen, 10 in a read", "paths", 10),
    Shape("certificate never seen", "newcomers"),
)


class _Transport:
    """What a peer writes to; keeps the last answers only."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written = data

    def set_write_buffer_limits(self, *, high: int) -> None:
        del high


class Desk:
    """A worker's peers and judge, and HAProxy's side of the connections.

    Args:
        scratch: for the policy and its certificates.
        newcomers: how many certificates are never seen before.
    """

    def __init__(self, scratch: Path, newcomers: int) -> None:
        certificates = make_certificates(scratch, _CERTIFICATES, newcomers)
        write_policy(scratch / "policies", certificates, 200, 1000, _REVOKED)
        self._ders = list(_items(certificates.usual.read_bytes()))
        self._fresh = _items(certificates.fresh.read_bytes())
        self._scratch = scratch
        self._serial = count()
        self._proxy = Connection(Role.HAPROXY, max_frame_size=16380)
        crl = read_crl((scratch / "policies" / "crl" / "bench.crl").read_bytes())
        policy = load_policy(scratch / "policies").with_crls({"bench": (crl,)})
        answering = Answering(policy, _DEADLINE, time.time, None)
        self._turn = Turn(answering, lambda _: None)
        self._peers = [Peer(answering, self._turn, 65532, lambda _: None, lambda _: None) for _ in range(_PEERS)]
        hello = self._proxy.send_hello()
        for peer in self._peers:
            transport = _Transport()
            peer.connection_made(transport)  # type: ignore[arg-type] # all of a transport that is used
        self.receive([hello] * _PEERS)
        self._proxy.receive_data(transport.written)

    def receive(self, turn: list[bytes]) -> None:
        """Have as many connections read as there are reads, and answer them, as in one turn of the loop."""
        for peer, data in zip(self._peers, turn, strict=False):
            peer.data_received(data)
        self._turn.run()

    def turns(self, shape: Shape, requests: int) -> list[list[bytes]]:
        """Return so many requests, as the reads that they come in, turn by turn."""
        file = self._scratch / f"{shape.requests}.txt"
        write_requests(
            file,
            _CERTIFICATES,
            200,
            requests,
            fresh_paths=shape.requests == "paths",
            fresh_every=1 if shape.is_new else 0,
            is_revoking=True,
        )
        frames = [
            self._proxy.send_notify(number, 1, self._payload(line.split(), all_arguments=shape.all_arguments))
            for number, line in enumerate(file.read_text().splitlines(), 1)
        ]
        reads = [b"".join(frames[at : at + shape.in_a_read]) for at in range(0, len(frames), shape.in_a_read)]
        return [reads[at : at + shape.in_a_turn] for at in range(0, len(reads), shape.in_a_turn)]

    def meet(self, shape: Shape, requests: int) -> None:
        """Ask until all that recurs is remembered, one by one: what is new takes longer than the turn of a read."""
        for _ in range(0 if shape.is_new else 3):
            for turn in self.turns(shape._replace(in_a_read=1), requests):
                self.receive(turn)

    def _der(self, number: str) -> bytes:
        return next(self._fresh) if number == "*" else self._ders[int(number)]

    def _payload(self, request: list[str], *, all_arguments: bool) -> bytes:
        certificate, method, path, source, _ = request
        serial = f"{next(self._serial):012x}"
        texts = [("method", method), ("path", path.replace(SERIAL, serial))]
        if all_arguments:
            texts += [("host", "bench.example.test"), ("sni", "bench.example.test"), ("tls", "TLSv1.3")]
            texts += [("id", _ID + serial)]
        arguments = (
            Argument(b"cert", DataType.BINARY, self._der(certificate)),
            Argument(b"used", DataType.BOOL, True),  # noqa: FBT003 -- the value of the argument
            Argument(b"verify", DataType.INT64, 0),
            Argument(b"src", DataType.IPV4, ipaddress.ip_address(source).packed),
            *(Argument(name.encode(), DataType.STRING, text.encode()) for name, text in texts),
        )
        return write_messages([Message(b"authorize", arguments)])


def _items(pack: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(pack):
        end = position + 4 + int.from_bytes(pack[position : position + 4])
        yield pack[position + 4 : end]
        position = end


def nanoseconds(desk: Desk, shape: Shape, requests: int, rounds: int) -> float:
    """Return the best time for one decision of several rounds; what recurs was seen before."""
    best, requests = float("inf"), shape.count(requests)
    desk.meet(shape, requests)
    for _ in range(rounds):
        turns = desk.turns(shape, requests)
        receive = desk.receive
        began = time.process_time_ns()
        for turn in turns:
            receive(turn)
        best = min(best, (time.process_time_ns() - began) / requests)
    return best


def instructions(desk: Desk, shape: Shape, requests: int) -> float:
    """Return how many bytecode instructions the interpreter executes for one decision, in the best of a few rounds.

    A slow machine's clock goes on by more in a round, and causes more of what it causes.
    """
    requests = shape.count(requests)
    desk.meet(shape, requests)
    return min(_executed(desk, desk.turns(shape, requests)) for _ in range(_COUNTED)) / requests


def _executed(desk: Desk, turns: list[list[bytes]]) -> int:
    executed = 0

    def trace(frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        nonlocal executed
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        executed += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        for turn in turns:
            desk.receive(turn)
    finally:
        sys.settrace(None)
    return executed


def machine_instructions(desk: Desk, shape: Shape, requests: int) -> float:
    """Return how many instructions the processor executes for one decision."""
    requests = shape.count(requests)
    desk.meet(shape, requests)
    turns = desk.turns(shape, requests)

    def work() -> None:
        for turn in turns:
            desk.receive(turn)

    return steps(work) / requests


#: What can be counted → how many requests tell it, how it is counted, what it is called.
COUNTS: Final[Mapping[str, tuple[int, Callable[[Desk, Shape, int], float], str]]] = {
    "bytecode": (200, instructions, "bytecode instructions"),
    "machine": (20, machine_instructions, "machine instructions"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--count", choices=COUNTS, help="count instructions instead of time")
    parser.add_argument("--requests", type=int, help="in each round; 2000 unless something is counted")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each shape, of which the best counts")
    parser.add_argument("--json", action="store_true", help="print an object: shape to figure")
    arguments = parser.parse_args()
    rounds = _COUNTED if arguments.count else arguments.rounds
    time_it: Callable[[Desk, Shape, int], float] = partial(nanoseconds, rounds=rounds)
    requests, measure, unit = COUNTS.get(arguments.count, (2000, time_it, "nanoseconds"))
    requests = arguments.requests or requests
    with tempfile.TemporaryDirectory(prefix="spoa-hotpath-") as scratch:
        desk = Desk(Path(scratch), rounds * sum(shape.count(requests) for shape in SHAPES if shape.is_new))
        # Of a new certificate the processor's instructions are OpenSSL's, and stepping through them takes a minute.
        shapes = [shape for shape in SHAPES if not (shape.is_new and arguments.count == "machine")]
        found = {shape.name: measure(desk, shape, requests) for shape in shapes}
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"{platform.python_implementation()} {platform.python_version()}, {unit} per decision")
    for name, figure in found.items():
        print(f"{figure:10,.0f}  {name}")


if __name__ == "__main__":
    main()
