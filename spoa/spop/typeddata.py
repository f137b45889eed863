"""Typed data: one byte that tells type and flags, then the value (SPOE.txt section 3.1).

The low nibble of the first byte is the type, the high nibble holds flags. The only flag is that of a true boolean; a
boolean with another flag is refused, on every other type flags are ignored.

How an integer of 64 one bits reads: as -1 where the type is signed (`INT32`, `INT64`), as 2**64 - 1 where it is not
(`UINT32`, `UINT64`). The 32 in a name is no limit, as it is none to HAProxy: 2**32 - 1 is that number under all four.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from spoa.exceptions import ProtocolError
from spoa.spop.status import Status
from spoa.spop.varint import LARGEST, read_varint, write_varint

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "TYPES",
    "DataType",
    "TypeRow",
    "Value",
    "read_string",
    "read_typed",
    "skip_typed",
    "write_string",
    "write_typed",
]

Value: TypeAlias = bool | int | bytes | None


class DataType(enum.IntEnum):
    """The types; 10 to 15 are not assigned and refused, since their length is unknown."""

    NULL = 0
    BOOL = 1
    INT32 = 2
    UINT32 = 3
    INT64 = 4
    UINT64 = 5
    IPV4 = 6
    IPV6 = 7
    STRING = 8
    BINARY = 9


_TRUE: Final = 0x10
_SIGN: Final = 2**63


def read_string(buffer: bytes, position: int) -> tuple[bytes, int]:
    """Read a length and as many bytes; no character set is assumed.

    Raises:
        ProtocolError: status 4, when the length reaches past the end of the buffer.
    """
    length, position = read_varint(buffer, position)
    if length > len(buffer) - position:
        raise ProtocolError(Status.INVALID_FRAME, "a string longer than the frame")
    end = position + length
    return buffer[position:end], end


def write_string(value: bytes) -> bytes:
    """Write the length of `value`, then `value`."""
    return write_varint(len(value)) + value


class TypeRow(NamedTuple):
    """One type: how to read and skip what follows the first byte, and how to write all of it.

    `read` and `skip` are given the position after the first byte.
    """

    type: DataType
    read: Callable[[bytes, int], tuple[Value, int]]
    skip: Callable[[bytes, int], int]
    write: Callable[[Value], bytes]


def _read_nothing(_buffer: bytes, position: int) -> tuple[None, int]:
    return None, position


def _read_flag(buffer: bytes, position: int) -> tuple[bool, int]:
    flags = buffer[position - 1] & 0xF0
    if flags & ~_TRUE:
        raise ProtocolError(Status.INVALID_FRAME, "a boolean that is neither true nor false")
    return flags == _TRUE, position


def _read_signed(buffer: bytes, position: int) -> tuple[int, int]:
    value, position = read_varint(buffer, position)
    return (value if value < _SIGN else value - LARGEST - 1), position


def _skip_flag(buffer: bytes, position: int) -> int:
    return _read_flag(buffer, position)[1]


def _skip_integer(buffer: bytes, position: int) -> int:
    return read_varint(buffer, position)[1]


def _skip_string(buffer: bytes, position: int) -> int:
    length, position = read_varint(buffer, position)
    if length > len(buffer) - position:
        raise ProtocolError(Status.INVALID_FRAME, "a string longer than the frame")
    return position + length


def _write_nothing(value: Value) -> bytes:
    if value is not None:
        raise ValueError(f"NULL has no value, so not {value!r}")
    return bytes((DataType.NULL,))


def _write_flag(value: Value) -> bytes:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is no boolean")  # noqa: TRY004  # one exception for every value that can't be written
    return bytes((DataType.BOOL | (_TRUE if value else 0),))


def _integer(data_type: DataType, lowest: int, highest: int) -> TypeRow:
    def write(value: Value) -> bytes:
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise ValueError(f"{value!r} is no {data_type.name}")
        return bytes((data_type,)) + write_varint(value & LARGEST)

    return TypeRow(data_type, _read_signed if lowest < 0 else read_varint, _skip_integer, write)


def _address(data_type: DataType, size: int) -> TypeRow:
    def skip(buffer: bytes, position: int) -> int:
        if size > len(buffer) - position:
            raise ProtocolError(Status.INVALID_FRAME, "the frame ends inside an address")
        return position + size

    def read(buffer: bytes, position: int) -> tuple[bytes, int]:
        end = skip(buffer, position)
        return buffer[position:end], end

    def write(value: Value) -> bytes:
        if not isinstance(value, bytes) or len(value) != size:
            raise ValueError(f"{value!r} is no packed {data_type.name} address")
        return bytes((data_type,)) + value

    return TypeRow(data_type, read, skip, write)


def _string(data_type: DataType) -> TypeRow:
    def write(value: Value) -> bytes:
        if not isinstance(value, bytes):
            raise ValueError(f"{value!r} is not bytes")  # noqa: TRY004  # one exception for every value that can't be written
        return bytes((data_type,)) + write_string(value)

    return TypeRow(data_type, read_string, _skip_string, write)


TYPES: Final[tuple[TypeRow, ...]] = (
    TypeRow(DataType.NULL, _read_nothing, lambda _buffer, position: position, _write_nothing),
    TypeRow(DataType.BOOL, _read_flag, _skip_flag, _write_flag),
    _integer(DataType.INT32, -_SIGN, _SIGN - 1),
    _integer(DataType.UINT32, 0, LARGEST),
    _integer(DataType.INT64, -_SIGN, _SIGN - 1),
    _integer(DataType.UINT64, 0, LARGEST),
    _address(DataType.IPV4, 4),
    _address(DataType.IPV6, 16),
    _string(DataType.STRING),
    _string(DataType.BINARY),
)


def _row(buffer: bytes, position: int) -> TypeRow:
    try:
        return TYPES[buffer[position] & 15]
    except IndexError:
        detail = "a value of no known type" if position < len(buffer) else "the frame ends before a value"
        raise ProtocolError(Status.INVALID_FRAME, detail) from None


def read_typed(buffer: bytes, position: int) -> tuple[int, Value, int]:
    """Read the value at `position`: its type, the value, and the position after it.

    Addresses stay packed and strings stay bytes; the type tells them apart.

    Raises:
        ProtocolError: status 4, when the type is not assigned or the buffer ends too early.
    """
    row = _row(buffer, position)
    value, end = row.read(buffer, position + 1)
    return buffer[position] & 15, value, end


def skip_typed(buffer: bytes, position: int) -> int:
    """Return the position after the value at `position`, checking as much as `read_typed` does.

    Raises:
        ProtocolError: as for `read_typed`.
    """
    return _row(buffer, position).skip(buffer, position + 1)


def write_typed(data_type: int, value: Value) -> bytes:
    """Write a value as the type given.

    Raises:
        ValueError: when the type can't hold the value.
    """
    return TYPES[DataType(data_type)].write(value)
