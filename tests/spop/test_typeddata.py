from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.exceptions import ProtocolError
from spoa.spop.typeddata import (
    TYPES,
    DataType,
    Value,
    read_string,
    read_typed,
    skip_typed,
    write_string,
    write_typed,
)

ALL_ONES = "fff0fefefefefefefe0e"

CASES: list[tuple[DataType, Value, str]] = [
    (DataType.NULL, None, "00"),
    (DataType.BOOL, False, "01"),
    (DataType.BOOL, True, "11"),
    (DataType.INT32, 0, "0200"),
    (DataType.INT32, -1, "02" + ALL_ONES),
    (DataType.INT32, 2**32 - 1, "02fff0fefe7e"),
    (DataType.UINT32, 16380, "03fcf006"),
    (DataType.UINT32, 2**64 - 1, "03" + ALL_ONES),
    (DataType.INT64, -1, "04" + ALL_ONES),
    (DataType.INT64, 18, "0412"),
    (DataType.INT64, 2**63 - 1, "04fff0fefefefefefefe06"),
    (DataType.INT64, -(2**63), "04f0f1fefefefefefefe06"),
    (DataType.UINT64, 2**64 - 1, "05" + ALL_ONES),
    (DataType.IPV4, b"\x7f\0\0\x01", "067f000001"),
    (DataType.IPV6, bytes(15) + b"\x01", "07" + "00" * 15 + "01"),
    (DataType.STRING, b"", "0800"),
    (DataType.STRING, b"GET", "0803474554"),
    (DataType.STRING, b"\0\r\n\xff", "0804000d0aff"),
    (DataType.BINARY, b"\x30\x82", "09023082"),
    (DataType.BINARY, b"x" * 240, "09f000" + "78" * 240),
]

VALUES = st.one_of(
    st.tuples(st.just(DataType.NULL), st.none()),
    st.tuples(st.just(DataType.BOOL), st.booleans()),
    st.tuples(st.sampled_from([DataType.INT32, DataType.INT64]), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.sampled_from([DataType.UINT32, DataType.UINT64]), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(DataType.IPV4), st.binary(min_size=4, max_size=4)),
    st.tuples(st.just(DataType.IPV6), st.binary(min_size=16, max_size=16)),
    st.tuples(st.sampled_from([DataType.STRING, DataType.BINARY]), st.binary(max_size=300)),
)


def test_the_table_is_in_the_order_of_the_types() -> None:
    assert [row.type for row in TYPES] == list(DataType) == list(range(10))


@pytest.mark.parametrize(("data_type", "value", "written"), CASES)
def test_each_case_holds_both_ways(data_type: DataType, value: Value, written: str) -> None:
    octets = bytes.fromhex(written)

    assert write_typed(data_type, value) == octets
    assert read_typed(octets, 0) == (data_type, value, len(octets))
    assert skip_typed(octets, 0) == len(octets)


@pytest.mark.parametrize(("data_type", "value", "written"), CASES)
def test_what_stands_before_and_behind_does_not_matter(data_type: DataType, value: Value, written: str) -> None:
    octets = b"\xff" + bytes.fromhex(written) + b"\xff\xff"

    assert read_typed(octets, 1) == (data_type, value, len(octets) - 2)
    assert skip_typed(octets, 1) == len(octets) - 2


@pytest.mark.parametrize(("data_type", "value", "written"), CASES)
def test_a_value_that_is_cut_short_is_refused_read_or_skipped(data_type: DataType, value: Value, written: str) -> None:
    octets = bytes.fromhex(written)

    for length in range(len(octets)):
        for look in (read_typed, skip_typed):
            with pytest.raises(ProtocolError) as caught:
                look(octets[:length], 0)
            assert caught.value.status == 4


@pytest.mark.parametrize("data_type", range(10, 16))
def test_a_type_that_is_not_assigned_is_refused(data_type: int) -> None:
    for look in (read_typed, skip_typed):
        with pytest.raises(ProtocolError, match="no known type") as caught:
            look(bytes([data_type, 0, 0]), 0)
        assert caught.value.status == 4


@pytest.mark.parametrize(("data_type", "value", "written"), [case for case in CASES if case[0] is not DataType.BOOL])
def test_flags_are_ignored_on_everything_but_a_boolean(data_type: DataType, value: Value, written: str) -> None:
    octets = bytes.fromhex(written)
    flagged = bytes([octets[0] | 0xF0]) + octets[1:]

    assert read_typed(flagged, 0) == (data_type, value, len(octets))
    assert skip_typed(flagged, 0) == len(octets)


@pytest.mark.parametrize("octet", [0x21, 0x31, 0x41, 0x81, 0xF1])
def test_a_boolean_with_an_unknown_flag_is_refused(octet: int) -> None:
    for look in (read_typed, skip_typed):
        with pytest.raises(ProtocolError, match="neither true nor false") as caught:
            look(bytes([octet]), 0)
        assert caught.value.status == 4


def test_a_boolean_is_no_number() -> None:
    assert read_typed(b"\x11", 0)[1] is True
    assert read_typed(b"\x01", 0)[1] is False


@pytest.mark.parametrize("length", ["05", "f000", ALL_ONES])
def test_a_length_past_the_end_is_refused_without_being_allocated(length: str) -> None:
    octets = bytes.fromhex(length) + b"four"

    with pytest.raises(ProtocolError, match="longer than the frame"):
        read_string(octets, 0)
    with pytest.raises(ProtocolError, match="longer than the frame"):
        skip_typed(b"\x08" + octets, 0)


@pytest.mark.parametrize(
    ("data_type", "value"),
    [
        (DataType.NULL, 0),
        (DataType.NULL, False),
        (DataType.BOOL, 1),
        (DataType.BOOL, None),
        (DataType.INT32, 2**63),
        (DataType.INT64, -(2**63) - 1),
        (DataType.INT64, True),
        (DataType.INT64, b"1"),
        (DataType.UINT32, -1),
        (DataType.UINT64, 2**64),
        (DataType.IPV4, b"\x7f\0\0"),
        (DataType.IPV4, bytes(16)),
        (DataType.IPV6, bytes(4)),
        (DataType.IPV6, 1),
        (DataType.STRING, None),
        (DataType.BINARY, 7),
        (10, b""),
        (-1, b""),
    ],
)
def test_what_a_type_can_not_hold_is_not_written(data_type: int, value: Value) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        write_typed(data_type, value)


@given(VALUES, st.binary(max_size=3), st.binary(max_size=3))
def test_every_value_comes_back(typed: tuple[DataType, Value], before: bytes, behind: bytes) -> None:
    data_type, value = typed
    octets = before + write_typed(data_type, value)

    assert read_typed(octets + behind, len(before)) == (data_type, value, len(octets))
    assert skip_typed(octets + behind, len(before)) == len(octets)


@given(st.binary(max_size=40))
def test_skipping_and_reading_agree_on_any_bytes(octets: bytes) -> None:
    try:
        _, _, end = read_typed(octets, 0)
    except ProtocolError as error:
        assert error.status == 4  # noqa: PT017  # garbage may also be refused, and then so by both
        with pytest.raises(ProtocolError):
            skip_typed(octets, 0)
    else:
        assert skip_typed(octets, 0) == end <= len(octets)


@given(st.binary(max_size=300))
def test_a_string_comes_back(value: bytes) -> None:
    octets = write_string(value)

    assert read_string(octets + b"junk", 0) == (value, len(octets))
