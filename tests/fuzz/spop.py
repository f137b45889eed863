"""SPOP: frames, the connection, and the judgement of what a NOTIFY holds."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from spoa.adapter import Answers, read_request
from spoa.exceptions import ProtocolError
from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.spop import (
    Ack,
    Connection,
    ConnectionBroken,
    DataType,
    Role,
    Scope,
    read_actions,
    read_frame,
    read_messages,
    write_frame,
    write_set_var,
)
from spoa.spop.connection import ANNOUNCED_SIZE, HELLO_SIZE, REASSEMBLED_SIZE
from tests import wire
from tests.fuzz.authority import ALICE, AUTHORITY, BOB, unremembering
from tests.fuzz.target import Target
from tests.policies import NOW, policy

if TYPE_CHECKING:
    from spoa.spop import Event

__all__ = ["CONNECTION", "FRAMES", "JUDGEMENT"]

_ACTIONS: Final = write_set_var(Scope.TRANSACTION, b"verdict", DataType.STRING, b"deny")
_WORDS: Final = (
    *(b"authorize", b"cert", b"used", b"verify", b"resumed", b"src", b"method", b"path", b"host", b"sni", b"tls"),
    *(b"id", b"hdr.x-team", b"hdrcnt.x-team", b"supported-versions", b"max-frame-size", b"capabilities"),
    *(b"healthcheck", b"status-code", b"message", b"\x08\x032.0", b"\x03\xfc\xf0\x06", b"\xff" * 10),
)


def _read_frame(data: bytes) -> None:
    """A frame that is read is the same when it is written and read again."""
    frame = read_frame(data)
    assert read_frame(write_frame(frame)) == frame


def _events(connection: Connection, pieces: list[bytes]) -> list[Event]:
    events: list[Event] = []
    for piece in pieces:
        events += connection.receive_data(piece)
        assert connection.held_size <= max(HELLO_SIZE, ANNOUNCED_SIZE) + 4 + REASSEMBLED_SIZE
    return events


def _pieces(data: bytes, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    pieces = []
    while data:
        size = chance.choice((1, 2, 5, 64, 1000))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def _receive(data: bytes) -> None:
    """Bytes at once and in pieces give a connection the same events, for either side, before and after the HELLO.

    The first byte says which side, and whether it greeted.
    """
    if not data:
        return
    kind, stream = data[0], data[1:]
    role = Role.HAPROXY if kind & 1 else Role.AGENT
    connections = Connection(role), Connection(role)
    for connection in connections:
        if role is Role.HAPROXY:
            connection.send_hello()
        if kind & 2:
            connection.receive_data(wire.recorded("agent-hello")[0] if role is Role.HAPROXY else wire.hello())
    at_once, in_pieces = (
        _events(connection, pieces)
        for connection, pieces in zip(connections, ([stream], _pieces(stream, kind)), strict=True)
    )
    assert wire.comparable(at_once) == wire.comparable(in_pieces)
    assert connections[0].state is connections[1].state
    for event in at_once:
        if isinstance(event, tuple):
            answer = connections[0].ack(event[0], _ACTIONS)
            assert isinstance(read_frame(answer), Ack)
            _judge_payload(event[1])
        elif isinstance(event, ConnectionBroken):
            assert event is at_once[-1]
            assert event.error.detail.isprintable()


#: Reads everything that a request can have, and allows one client two places.
_POLICY: Final = """
apiVersion: authz/v1
defaults: {path_on_ambiguity: normalise, path_parameters: allow, no_certificate: anonymous}
issuers: {corp: {ca: ca.pem, revocation: {none: "a test"}, allow_multiple_cn: true}}
identities:
  alice: {issuer: corp, cn: alice}
rules:
  - {id: open, effect: allow, who: any_certificate, request: {path: "/open/**", method: GET, host: a.example}}
  - {id: named, effect: allow, who: alice, request: {path: "/named/**", header: {x-team: blue}}}
  - {id: tls, effect: require, request: {path: "/named/**"}, when: {tls: TLSv1.3}}
  - {id: shut, effect: deny, request: {path: "/open/shut/**"}, unless: {source: 10.0.0.0/8}}
  - {id: sni, effect: deny, request: {sni: "*.evil.example"}}
routes:
  - {who: alice, request: {path: "/named/**"}, backend: named}
"""

_JUDGE: Final = policy(_POLICY, authorities={"corp": [AUTHORITY.issued.der]})
_ANSWERS: Final = Answers(_JUDGE.revision)
_CLIENTS: Final = {ALICE.der, BOB.der}
_KNOWN: Final = {*_CLIENTS, ABSENT, UNAVAILABLE}


def _judge_payload(payload: bytes) -> None:
    """Whatever a NOTIFY holds, it is refused as a whole or judged, and allowed only as the policy says."""
    try:
        messages = read_messages(payload)
    except ProtocolError:
        messages = None
    try:
        request = read_request(payload)
    except ProtocolError:
        assert messages is None, "two readers of one payload differ"
        return
    assert messages is not None, "two readers of one payload differ"
    if request is None:
        assert all(message.name != b"authorize" for message in messages)
        return
    judge = _JUDGE if request.cert in _KNOWN else unremembering(_JUDGE)
    judgement = judge.judge(request, NOW)
    decision = judgement.decision
    assert read_actions(_ANSWERS.actions_for(judgement))
    assert decision.verdict in {"allow", "deny"}
    if decision.verdict == "allow":
        _assert_allowed(request, decision.rule, judgement.path)


def _assert_allowed(request: Request, rule: str, path: str) -> None:
    assert not request.malformed
    assert request.cert in _CLIENTS, "a certificate that nobody issued"
    assert request.verify == 0
    assert rule in {"open", "named"}
    assert f"{path or request.path}/".startswith(f"/{rule}/"), (path, request.path)


FRAMES: Final = Target("frames", _read_frame, (ProtocolError,), words=_WORDS)
CONNECTION: Final = Target("connection", _receive, longest=2048, words=_WORDS)
JUDGEMENT: Final = Target("judgement", _judge_payload, longest=2048, words=_WORDS)
