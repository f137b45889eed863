from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.exceptions import ProtocolError
from spoa.spop.frames import (
    Ack,
    Frame,
    FrameType,
    Notify,
    frame_bytes,
    read_frame,
    read_header,
    read_ids,
    read_length,
    write_frame,
    write_ids,
)
from spoa.spop.handshake import AgentDisconnect, AgentHello, HaproxyDisconnect, HaproxyHello
from spoa.spop.payloads import Argument, Message, Scope, SetVar, UnsetVar
from spoa.spop.typeddata import DataType
from tests import wire

CHECK = Message(
    b"check",
    (
        Argument(b"method", DataType.STRING, b"GET"),
        Argument(b"path", DataType.STRING, b"/"),
        Argument(b"src", DataType.IPV4, b"\x7f\0\0\x01"),
    ),
)
ALLOW = SetVar(Scope.TRANSACTION, b"verdict", DataType.STRING, b"allow")

#: File of the corpus → the only frame in it.
FRAMES: dict[str, Frame] = {
    "haproxy-hello-healthcheck": HaproxyHello(16380, is_healthcheck=True),
    "agent-hello": AgentHello(16380, ("pipelining",)),
    "notify": Notify(1, 1, (CHECK,)),
    "ack-set-var": Ack(1, 1, (ALLOW,)),
    "ack-unset-var": Ack(1, 1, (UnsetVar(Scope.TRANSACTION, b"verdict"),)),
    "ack-empty": Ack(1, 1),
    "agent-disconnect": AgentDisconnect(0, b"normal"),
}

#: Why a frame can't be read → the frame and the status.
BROKEN = {
    "no bytes": (b"", 4),
    "a length alone": (b"\0\0\0\x07", 4),
    "longer than it says": (wire.frame(103, ids=b"\x01\x01") + b"\0", 4),
    "shorter than it says": (wire.frame(103, ids=b"\x01\x01", length=8), 4),
    "too short for ids": (wire.frame(103, ids=b"\x01"), 4),
    "ids past the end": (wire.frame(103, ids=b"\x01\xff"), 4),
    "a type that is not assigned": (wire.frame(4), 4),
    "a rest of something": (wire.frame(0, ids=b"\x01\x01"), 4),
    "a fragment": (wire.frame(3, flags=0, ids=b"\x01\x01"), 10),
    "a hello in fragments": (wire.hello(flags=0), 10),
    "a hello of a stream": (wire.hello(ids=b"\x01\0"), 4),
    "a hello of a frame": (wire.hello(ids=b"\0\x01"), 4),
    "a disconnect of a stream": (wire.frame(102, ids=b"\x01\0"), 4),
    "a payload that can't be decoded": (wire.frame(3, b"\x05", ids=b"\x01\x01"), 4),
}


@pytest.mark.parametrize("name", FRAMES)
def test_each_frame_of_the_corpus_holds_both_ways(name: str) -> None:
    (written,) = wire.recorded(name)

    assert write_frame(FRAMES[name]) == written
    assert read_frame(written) == FRAMES[name]


def test_haproxy_s_disconnect_holds_both_ways() -> None:
    frame = HaproxyDisconnect(2, b"a timeout occurred")

    assert write_frame(frame) == wire.disconnect(2, b"a timeout occurred")
    assert read_frame(write_frame(frame)) == frame


@pytest.mark.parametrize(("written", "status"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_frame_is_refused_with_its_status(written: bytes, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_frame(written)

    assert caught.value.status == status


def test_reserved_flags_and_an_abort_do_not_spoil_a_frame_that_is_complete() -> None:
    assert read_frame(wire.frame(103, flags=0xFFFFFFFF, ids=b"\x01\x01")) == Ack(1, 1)


@pytest.mark.parametrize("length", range(7))
def test_a_length_below_seven_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError, match=f"a frame of {length} bytes"):
        read_length(length.to_bytes(4, "big"), 0)


def test_a_length_is_read_where_it_stands() -> None:
    assert read_length(b"\xff\0\0\0\x07", 1) == 7
    assert read_length(b"\xff\xff\xff\xff", 0) == 2**32 - 1


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=20), st.integers(0, 2**32 - 1))
def test_a_header_is_read_as_it_was_written(stream_id: int, frame_id: int, payload: bytes, flags: int) -> None:
    ids = write_ids(stream_id, frame_id)
    frame = frame_bytes(FrameType.NOTIFY, flags, ids, payload)
    header = read_header(frame)

    assert frame == wire.notify(stream_id, frame_id, payload, flags=flags)
    assert (header.type, header.flags, header.ids, frame[header.size :]) == (3, flags, ids, payload)
    assert read_ids(ids) == (stream_id, frame_id)
    assert read_length(frame, 0) == len(frame) - 4


@given(st.one_of(st.binary(max_size=60), st.builds(wire.frame, st.sampled_from(FrameType), st.binary(max_size=60))))
def test_garbage_gives_a_frame_or_a_status(octets: bytes) -> None:
    try:
        frame = read_frame(octets)
    except ProtocolError as error:
        assert error.status in {4, 5, 6, 8, 9, 10}  # noqa: PT017  # garbage may also be refused, and then so
    else:
        assert read_frame(write_frame(frame)) == frame
