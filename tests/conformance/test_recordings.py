"""What HAProxy 2.6 to 3.4 sent once, sent to the running agent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests import wire
from tests.conformance.line import FEEDS, Expected, agent_disconnect, agent_hello

if TYPE_CHECKING:
    from tests.conformance.line import Line

pytestmark = pytest.mark.timeout(300)  # agents start slowly on a busy machine

RECORDINGS: Final = sorted(path.stem for path in wire.CORPUS.glob("haproxy-[0-9]*.hex"))
BRANCHES: Final = {"2.6", "2.8", "3.0", "3.2", "3.4"}
#: The message of all recordings has no certificate, and does not know whether one was used.
ANSWER: Final = Expected(reason="no_certificate")
HELLO, DISCONNECT, NOTIFY, UNSET = 1, 2, 3, 0


def ids_of(frame: bytes) -> bytes:
    """Return the ids of a frame, each of which has one byte in the recordings."""
    assert max(frame[9:11]) < 240
    return frame[9:11]


def answers(line: Line, frames: list[bytes]) -> bytes:
    """Return what the agent must say to these frames, one after the other."""
    said = b""
    for frame in frames:
        kind, is_last = frame[4], frame[8] & 1
        if kind == HELLO:
            said += agent_hello(_size(frame))
        elif kind == DISCONNECT:
            said += agent_disconnect(0)
        elif kind in {NOTIFY, UNSET} and is_last:
            said += line.ack(ids_of(frame), ANSWER)
    return said


def _size(hello: bytes) -> int:
    """Return the frame size of a recorded HELLO, which is one of two."""
    key = wire.string(b"max-frame-size") + b"\x03"
    (size,) = (number for number in (256, 16380) if key + wire.varint(number) in hello)
    return size


def test_every_branch_is_recorded() -> None:
    assert {name.split("-")[1].rpartition(".")[0] for name in RECORDINGS} == BRANCHES


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_is_answered_frame_by_frame(line: Line, name: str, feed: Any) -> None:
    frames = wire.recorded(name)
    feed(line.socket, b"".join(frames))
    line.must_answer(answers(line, frames))
    line.must_end()


@pytest.mark.parametrize("name", [name for name in RECORDINGS if not name.endswith("check")])
def test_a_recorded_connection_that_lives_on_serves(line: Line, name: str) -> None:
    frames = [frame for frame in wire.recorded(name) if frame[4] != DISCONNECT]
    line.socket.sendall(b"".join(frames))
    line.must_answer(answers(line, frames))
    line.must_serve()
