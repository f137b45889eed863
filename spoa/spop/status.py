"""The status codes of SPOP: what a DISCONNECT frame gives as its reason."""

from __future__ import annotations

import enum

__all__ = ["Status"]


class Status(enum.IntEnum):
    """Why a connection ends (SPOE.txt section 3.5).

    A peer may use numbers that are not assigned here; such a number travels as a plain `int`.
    """

    NORMAL = 0
    IO_ERROR = 1
    TIMEOUT = 2
    FRAME_TOO_BIG = 3
    INVALID_FRAME = 4
    NO_VERSION = 5
    NO_FRAME_SIZE = 6
    NO_CAPABILITIES = 7
    UNSUPPORTED_VERSION = 8
    BAD_FRAME_SIZE = 9
    FRAGMENTATION_NOT_SUPPORTED = 10
    INTERLACED_FRAMES = 11
    FRAME_ID_NOT_FOUND = 12
    OUT_OF_RESOURCES = 13
    UNKNOWN = 99

    @property
    def text(self) -> str:
        """The words for a DISCONNECT frame's message, at most 255 bytes of ASCII."""
        return "I/O error" if self is Status.IO_ERROR else self.name.lower().replace("_", " ")
