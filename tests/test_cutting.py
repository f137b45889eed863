"""A payload is cut where its arguments begin and end, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.cutting import (
    HEAD,
    around_path,
    head_of,
    is_cut_at_id,
    is_cut_at_path,
    text_end,
    text_start,
    without_id,
)
from spoa.spop import Argument, DataType, Message, write_messages


def payload(*others: tuple[bytes, bytes], der: bytes = b"DER") -> bytes:
    arguments = [Argument(name, DataType.STRING, value) for name, value in others]
    return write_messages([Message(b"authorize", (Argument(b"cert", DataType.BINARY, der), *arguments))])


@pytest.mark.parametrize("size", [0, 1, 239, 240, 2287, 2288, 70_000])
def test_a_certificate_of_any_length_is_found(size: int) -> None:
    der = b"d" * size
    asked = payload((b"path", b"/"), der=der)
    start = text_start(asked, HEAD)
    end = text_end(asked, HEAD, start)
    assert asked[start:end] == der
    assert asked[:end] == head_of(asked, der)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x09authorize",
        b"\x09authorize\x01\x04cert\x09",
        b"\x09authorize\x01\x04cert\x09\x05DER",
        b"\x09authorize\x01\x04cert\x09" + b"\xff" * 10,
    ],
)
def test_a_certificate_that_is_cut_off_does_not_end_inside_the_payload(broken: bytes) -> None:
    start = text_start(broken, HEAD)
    assert start < 0 or text_end(broken, HEAD, start) > len(broken)


@pytest.mark.parametrize("size", [0, 1, 239, 240, 2287, 2288, 3000])
def test_a_path_of_any_length_is_found(size: int) -> None:
    asked = payload((b"method", b"GET"), (b"path", b"p" * size), (b"host", b"h"))
    before, text, after = around_path(asked) or (b"", b"", b"")
    assert (asked[len(before) :][:5], text, after[:5]) == (b"\x04path", b"p" * size, b"\x04host")
    assert is_cut_at_path(asked, len(before))


@pytest.mark.parametrize("tail", [b"", b"\x04path", b"\x04path\x08", b"\x04path\x08\x05/abc", b"\x04path\x08\xf0\x80"])
def test_a_path_that_is_cut_off_is_not_found(tail: bytes) -> None:
    asked = payload() + tail
    assert around_path(asked) is None


def test_a_path_inside_another_value_is_no_place_to_cut() -> None:
    asked = payload((b"host", b"\x04path\x08\x01/"), (b"path", b"/real"))
    before, *_ = around_path(asked) or (b"",)
    at = len(before)
    assert at < asked.index(b"/real")
    assert not is_cut_at_path(asked, at)
    assert is_cut_at_path(asked, asked.rindex(b"\x04path"))


@given(st.lists(st.tuples(st.sampled_from([b"host", b"sni", b"id"]), st.binary(max_size=300)), max_size=4))
def test_what_is_cut_off_at_the_id_is_the_last_argument_or_nothing(others: list[tuple[bytes, bytes]]) -> None:
    asked = payload(*others)
    cut = len(without_id(asked))
    if is_cut_at_id(asked, cut) and cut < len(asked):
        name, value = others[-1]
        assert (name, asked[cut:]) == (b"id", b"\x02id\x08" + bytes((len(value),)) + value)
