"""A worker with some connections whose turns a test takes itself."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from spoa.answering import Answering
from spoa.loading import load_policy
from spoa.peer import Peer
from spoa.spop import Connection, DataType, Role
from spoa.turn import Patience, Turn
from tests.agents import authorize, variables
from tests.answering_desk import NOW
from tests.pki import CA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spoa.authorizer import Policy
    from spoa.decision_log import DecisionLog

__all__ = ["ALICE", "PATIENT", "Loop", "Room", "answer_alike"]

STAFF: Final = """\
apiVersion: authz/v1
defaults: {no_certificate: anonymous}
issuers: {corp: {ca: ca.pem, revocation: {none: test}}}
identities: {staff: {issuer: corp, ou: staff}}
rules: [{id: staff, effect: allow, who: staff, request: {path: "/open/**"}}]
"""
CORP: Final = CA("corp", now=int(NOW))
PEOPLE: Final = {name: CORP.issue(name, [unit]).der for name, unit in (("alice", "staff"), ("bob", "sales"))}
#: No turn ends for want of time, however slow the machine is, and no read comes alone.
PATIENT: Final = Patience(apart=float("inf"), held=float("inf"), afresh=float("inf"))
#: Arguments of a request of hers, as HAProxy would send them.
ALICE: Final = {"cert": (DataType.BINARY, PEOPLE["alice"]), "used": (DataType.BOOL, True)}


@cache
def _folder() -> TemporaryDirectory[str]:
    folder: TemporaryDirectory[str] = TemporaryDirectory()
    Path(folder.name, "ca.pem").write_bytes(CORP.pem)
    Path(folder.name, "policy.yaml").write_text(STAFF)
    return folder


def policy() -> Policy:
    return load_policy(Path(_folder().name))


class Transport:
    """What is written goes to a list that all transports share, with the number of the transport."""

    def __init__(self, number: int, writes: list[tuple[int, bytes]]) -> None:
        self.number = number
        self.writes = writes
        self.error: Exception | None = None
        self.looks: Callable[[], None] = lambda: None
        self.is_aborted = False
        self.is_read = True

    def set_write_buffer_limits(self, *, high: int) -> None:
        assert high

    def write(self, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.looks()
        self.writes.append((self.number, data))

    def abort(self) -> None:
        self.is_aborted = True

    def pause_reading(self) -> None:
        assert self.is_read
        self.is_read = False

    def resume_reading(self) -> None:
        assert not self.is_read
        self.is_read = True


class Loop:
    """A running loop that is asked for nothing but a timer, which never rings."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        assert delay
        self.callback = callback


class Room:
    """A worker with some connections that said HELLO, and what was put off to the end of the turn."""

    def __init__(self, connections: int, log: DecisionLog | None = None, patience: Patience = PATIENT) -> None:
        self.now = NOW
        self.answering = Answering(policy(), 60.0, lambda: self.now, log)
        self.later: list[Callable[[], None]] = []
        self.turn = Turn(self.answering, self.later.append, patience)
        self.writes: list[tuple[int, bytes]] = []
        self.transports = [Transport(number, self.writes) for number in range(connections)]
        self.peers = [Peer(self.answering, self.turn, 65532, lambda _: None, lambda _: None) for _ in self.transports]
        self.proxies = [Connection(Role.HAPROXY) for _ in self.transports]
        for peer, transport, proxy in zip(self.peers, self.transports, self.proxies, strict=True):
            peer.connection_made(transport)  # type: ignore[arg-type] # all of a transport that is used
            peer.data_received(proxy.send_hello())
        self.end_turn()
        self.answers()

    def end_turn(self) -> None:
        """Do what was put off."""
        later, self.later[:] = self.later[:], []
        for run in later:
            run()

    def end_turns(self) -> None:
        """Do all that was put off, and what is put off by that."""
        while self.later:
            self.end_turn()

    def read(self, number: int, *paths: str, who: str = "alice", leaves: bool = False) -> None:
        """Let a connection read some requests at once, and perhaps HAProxy's goodbye."""
        cert, used = (DataType.BINARY, PEOPLE[who]), (DataType.BOOL, True)
        payloads = [authorize(path, cert=cert, used=used) for path in paths]
        frames = [self.proxies[number].send_notify(n, 1, payload) for n, payload in enumerate(payloads, 1)]
        self.peers[number].data_received(b"".join(frames) + (self.proxies[number].send_disconnect() if leaves else b""))

    def meet(self, *paths: str) -> None:
        """Have these paths asked for until that is remembered."""
        for path in paths * 3:
            self.read(0, path)
            self.end_turn()
        self.answers()

    def answers(self) -> list[tuple[int, Any]]:
        """Return what was written since the last look: the connection's number, and what is told about each request."""
        found: list[tuple[int, Any]] = []
        for number, data in self.writes:
            for event in self.proxies[number].receive_data(data):
                ack = getattr(event, "ack", None)
                found.append((number, type(event).__name__ if ack is None else variables(ack)))
        self.writes.clear()
        return found

    def verdicts(self) -> list[tuple[int, str]]:
        return [(number, told["verdict"]) for number, told in self.answers()]

    def count(self) -> float:
        """Return how many requests were counted."""
        return self.answering.samples()["frames_total", ("notify",)]

    def silent(self) -> Peer:
        """Return a connection that has read nothing."""
        return Peer(self.answering, self.turn, 65532, lambda _: None, lambda _: None)


def answer_alike(people: Sequence[str], drawn: st.DataObject, patience: Patience = PATIENT) -> None:
    """See that reads of some connections are answered as they are where nobody else reads in their turn."""
    path = st.sampled_from(["/open/a", "/open/b", "/shut", "/open/%", "/open/../shut"])
    read = st.tuples(st.integers(0, 3), st.lists(path, min_size=1, max_size=4), st.sampled_from(people), st.booleans())
    room, alone = Room(4, patience=patience), Room(4)
    for number, paths, who, is_end in drawn.draw(st.lists(read, max_size=20)):
        room.read(number, *paths, who=who)
        alone.read(number, *paths, who=who)
        alone.end_turns()
        if is_end:
            room.end_turn()
    room.end_turns()
    together, apart = room.answers(), alone.answers()
    for number in range(4):
        assert [told for at, told in together if at == number] == [told for at, told in apart if at == number]
    assert room.count() == alone.count()
