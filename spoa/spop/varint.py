"""The variable-length integer of SPOP, 0 to 2**64 - 1 in one to ten bytes (SPOE.txt section 3.1).

Below 240 a number is its own byte. Otherwise the first byte holds the four lowest bits above 240, and each further
byte seven more, with 128 added where another byte follows. What was added is subtracted before shifting, so every
number has exactly one form: there are no over-long ones, and bytes that were read may be echoed as they were.
"""

from __future__ import annotations

from typing import Final

from spoa.exceptions import ProtocolError
from spoa.spop.status import Status

__all__ = ["CONTINUED", "FOLLOWED", "LARGEST", "LONGEST", "read_varint", "write_varint"]

LARGEST: Final = 2**64 - 1
LONGEST: Final = 10  # bytes

FOLLOWED: Final = 240  # a first byte from here on is followed by another one
CONTINUED: Final = 128  # the same for a later byte


def read_varint(buffer: bytes, position: int) -> tuple[int, int]:
    """Read the integer at `position` and return it with the position after it.

    Reads `LONGEST` bytes at most, whatever they hold.

    Raises:
        ProtocolError: status 4, when the buffer ends inside the integer or the integer is above `LARGEST`.
    """
    try:
        value = buffer[position]
        position += 1
        if value < FOLLOWED:
            return value, position
        for shift in range(4, 4 + 7 * (LONGEST - 1), 7):
            byte = buffer[position]
            position += 1
            value += byte << shift
            if byte < CONTINUED:
                break
        else:
            raise ProtocolError(Status.INVALID_FRAME, "an integer of more than ten bytes")
    except IndexError:
        raise ProtocolError(Status.INVALID_FRAME, "the frame ends inside an integer") from None
    if value > LARGEST:
        raise ProtocolError(Status.INVALID_FRAME, "an integer above 2**64 - 1")
    return value, position


def write_varint(value: int) -> bytes:
    """Write an integer.

    Raises:
        ValueError: when `value` is negative or above `LARGEST`.
    """
    if 0 <= value < FOLLOWED:
        return bytes((value,))
    if not 0 <= value <= LARGEST:
        raise ValueError(f"{value} does not fit into 64 bits")
    written = bytearray((value & 15 | FOLLOWED,))
    value = (value - FOLLOWED) >> 4
    while value >= CONTINUED:
        written.append(value & 127 | CONTINUED)
        value = (value - CONTINUED) >> 7
    written.append(value)
    return bytes(written)
