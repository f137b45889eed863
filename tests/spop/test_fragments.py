from __future__ import annotations

import pytest

from spoa.exceptions import ProtocolError
from spoa.spop.fragments import Reassembly
from spoa.spop.frames import ABRT, FIN, FrameType, Header

IDS = b"\x01\x01"


def first(ids: bytes = IDS) -> Header:
    return Header(FrameType.NOTIFY, 0, ids, 11)


def rest(flags: int = 0, ids: bytes = IDS) -> Header:
    return Header(FrameType.UNSET, flags, ids, 11)


def test_the_pieces_become_one_payload_when_the_last_one_came() -> None:
    reassembly = Reassembly(10)
    reassembly.begin(first(), b"abc")

    assert reassembly.go_on(rest(), b"") is None
    assert reassembly.go_on(rest(), b"def") is None
    assert (reassembly.ids, len(reassembly)) == (IDS, 6)
    assert reassembly.go_on(rest(FIN), b"ghij") == b"abcdefghij"
    assert (reassembly.ids, len(reassembly)) == (b"", 0)


def test_what_is_given_up_leaves_nothing_behind() -> None:
    reassembly = Reassembly(10)
    reassembly.begin(first(), b"abc")

    assert reassembly.go_on(rest(FIN | ABRT), b"") is None
    assert (reassembly.ids, len(reassembly)) == (b"", 0)

    reassembly.begin(first(b"\x03\x01"), b"x")
    assert reassembly.go_on(rest(FIN, b"\x03\x01"), b"y") == b"xy"


@pytest.mark.parametrize("flags", [0, FIN, FIN | ABRT])
def test_a_fragment_of_nothing_is_an_orphan(flags: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        Reassembly(10).go_on(rest(flags), b"x")

    assert caught.value.status == 12


@pytest.mark.parametrize("flags", [0, FIN, FIN | ABRT])
@pytest.mark.parametrize("ids", [b"\x03\x01", b"\x01\x02", b"\xf1\0\x01"])
def test_a_fragment_of_another_notify_is_interlaced(ids: bytes, flags: int) -> None:
    reassembly = Reassembly(10)
    reassembly.begin(first(), b"abc")

    with pytest.raises(ProtocolError) as caught:
        reassembly.go_on(rest(flags, ids), b"x")

    assert caught.value.status == 11


def test_the_bound_counts_all_pieces_and_is_inclusive() -> None:
    reassembly = Reassembly(4)

    with pytest.raises(ProtocolError) as caught:
        reassembly.begin(first(), b"abcde")
    assert caught.value.status == 3

    reassembly.begin(first(), b"abcd")
    with pytest.raises(ProtocolError) as caught:
        reassembly.go_on(rest(FIN), b"e")
    assert caught.value.status == 3
    assert len(reassembly) == 4
    assert reassembly.go_on(rest(FIN), b"") == b"abcd"
