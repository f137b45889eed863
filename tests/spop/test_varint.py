from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.exceptions import ProtocolError
from spoa.spop.varint import LARGEST, LONGEST, read_varint, write_varint
from tests import wire

# The table of HAProxy's own examples, then both sides of every length.
CASES = {
    0: "00",
    239: "ef",
    240: "f000",
    241: "f100",
    255: "ff00",
    256: "f001",
    500: "f410",
    2287: "ff7f",
    2288: "f08000",
    16380: "fcf006",
    65535: "fff01e",
    264431: "ffff7f",
    264432: "f0808000",
    33818863: "ffffff7f",
    33818864: "f080808000",
    4294967295: "fff0fefe7e",
    4328786159: "ffffffff7f",
    4328786160: "f08080808000",
    2**64 - 1: "fff0fefefefefefefe0e",
}


@pytest.mark.parametrize(("value", "written"), CASES.items())
def test_each_case_holds_both_ways(value: int, written: str) -> None:
    octets = bytes.fromhex(written)

    assert write_varint(value) == octets
    assert read_varint(octets, 0) == (value, len(octets))


@pytest.mark.parametrize(("value", "written"), CASES.items())
def test_what_stands_before_and_behind_does_not_matter(value: int, written: str) -> None:
    octets = bytes.fromhex(written)

    assert read_varint(b"\xff\xff" + octets + b"\xff", 2) == (value, 2 + len(octets))


@pytest.mark.parametrize("written", CASES.values())
def test_an_integer_that_is_cut_short_is_refused(written: str) -> None:
    octets = bytes.fromhex(written)

    for length in range(len(octets)):
        with pytest.raises(ProtocolError) as caught:
            read_varint(octets[:length], 0)
        assert caught.value.status == 4


@pytest.mark.parametrize(
    "written",
    [
        "fff0fefefefefefefe0f",  # 2**64 + 2**60 - 1
        "f0f1fefefefefefefe0e",  # 2**64
        "ffffffffffffffffff7f",
        "ffffffffffffffffffff00",  # eleven bytes
        "ff" * 1000,
    ],
)
def test_what_is_above_64_bits_or_longer_than_ten_bytes_is_refused(written: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_varint(bytes.fromhex(written), 0)

    assert caught.value.status == 4


@pytest.mark.parametrize("value", [-1, LARGEST + 1, -(2**63)])
def test_what_does_not_fit_is_not_written(value: int) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        write_varint(value)


@given(st.integers(0, LARGEST))
def test_every_integer_comes_back_and_is_written_as_haproxy_writes_it(value: int) -> None:
    octets = write_varint(value)

    assert octets == wire.varint(value)
    assert len(octets) <= LONGEST
    assert read_varint(octets, 0) == (value, len(octets))


@given(st.binary(max_size=12))
def test_an_integer_has_one_form_only(octets: bytes) -> None:
    try:
        value, end = read_varint(octets, 0)
    except ProtocolError as error:
        assert error.status == 4  # noqa: PT017  # garbage may also be refused, and then so
    else:
        assert write_varint(value) == octets[:end]
