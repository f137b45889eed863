r"""Where a NOTIFY of the usual form can be cut, so that what recurs is told from what does not, without decoding it.

::

    \x09authorize NB-ARGS \x04cert \x09 LENGTH | DER | before | \x04path \x08 LENGTH | PATH | after | \x02id \x08 …

Theory: decoding depends on nothing but what came before. So if the bytes before a cut are exactly so many whole
arguments, then after the same bytes an argument begins there again, whatever follows. That is looked at once, when an
answer is remembered (`is_cut_at_path`, `is_cut_at_id`); to find an answer again, comparing bytes is enough.
"""

from __future__ import annotations

from typing import Final

from spoa.adapter import MESSAGE
from spoa.exceptions import ProtocolError
from spoa.spop import CONTINUED, FOLLOWED, read_messages, read_varint, write_varint

__all__ = [
    "HEAD",
    "around_path",
    "head_of",
    "id_after",
    "is_cut_at_id",
    "is_cut_at_path",
    "is_id",
    "path_at",
    "path_text",
    "text_end",
    "text_start",
    "without_id",
]

_HEAD: Final = bytes((len(MESSAGE),)) + MESSAGE
_COUNT: Final = len(_HEAD)  # where NB-ARGS stands
_CERT: Final = b"\x04cert\x09"
#: Where the length of the certificate stands in a payload of the usual form, which shows by the bytes before.
HEAD: Final = _COUNT + 1 + len(_CERT)
_PATH: Final = b"\x04path\x08"
_ID: Final = b"\x02id\x08"


# Hot path: these are asked for every request. Places are plain integers, since compiled a pair or None is an object
# that has to be made. Benchmark: benchmarks/hotpath.py.
def text_start(payload: bytes, position: int) -> int:
    """Return where a string whose length is at *position* begins, or -1 where the length is cut off or none."""
    end = len(payload)
    if position >= end:
        return -1
    if payload[position] < FOLLOWED:
        return position + 1
    if position + 1 < end and payload[position + 1] < CONTINUED:  # two bytes, as for most certificates
        return position + 2
    try:
        return read_varint(payload, position)[1]
    except ProtocolError:
        return -1


def text_end(payload: bytes, position: int, start: int) -> int:
    """Return where a string ends whose length is from *position* to *start*, be it beyond the payload."""
    if start == position + 1:
        return start + payload[position]
    if start == position + 2:
        return start + payload[position] + (payload[position + 1] << 4)
    return start + read_varint(payload, position)[0]


def is_id(payload: bytes, at: int, end: int) -> bool:
    """Tell whether from *at* to *end* there is nothing but an `id` of less than 240 bytes."""
    size = end - at - len(_ID) - 1
    return 0 <= size < FOLLOWED and payload[at + 4] == size and payload[at : at + len(_ID)] == _ID


def without_id(arguments: bytes) -> bytes:
    """Return arguments without a trailing `id` of less than 240 bytes, or the same object."""
    before, mark, text = arguments.rpartition(_ID)
    return before if mark and text and text[0] < FOLLOWED and len(text) == 1 + text[0] else arguments


def id_after(payload: bytes, cut: int, end: int) -> bytes:
    """Return the text of the `id` from *cut* to *end*."""
    return payload[cut + len(_ID) + 1 : end]


def path_at(payload: bytes, at: int, start: int, end: int) -> int:
    """Return where from *start* to *end* the argument `path` begins, at *at* if it may; -1 where none does."""
    if at < end and payload[at : at + len(_PATH)] == _PATH:
        return at
    return payload.find(_PATH, start, end)


def path_text(payload: bytes, at: int, end: int) -> tuple[int, int]:
    """Return from where to where the text goes of the argument `path` at *at*; both -1 where it is cut off at *end*."""
    position = at + len(_PATH)
    start = text_start(payload, position)
    if start < 0:
        return -1, -1
    stop = text_end(payload, position, start)
    return (start, stop) if stop <= end else (-1, -1)


def around_path(arguments: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Return what stands before the argument `path`, its text, and what follows; None where none can be cut out."""
    at = path_at(arguments, 0, 0, len(arguments))
    if at < 0:
        return None
    start, stop = path_text(arguments, at, len(arguments))
    return None if start < 0 else (arguments[:at], arguments[start:stop], arguments[stop:])


def head_of(payload: bytes, der: bytes) -> bytes:
    """Return how a payload of the usual form would begin, up to the end of the certificate."""
    return _HEAD + payload[_COUNT : _COUNT + 1] + _CERT + write_varint(len(der)) + der


def is_cut_at_id(payload: bytes, cut: int) -> bool:
    """Tell whether what was cut off at *cut* is the last argument of the only message, or nothing."""
    return cut == len(payload) or _holds_arguments(payload, cut, payload[_COUNT] - 1)


def is_cut_at_path(payload: bytes, at: int) -> bool:
    """Tell whether *at* is where the argument `path` of the only message begins, and not inside another value."""
    messages = read_messages(payload)
    names = [argument.name for argument in messages[0].arguments]
    return len(messages) == 1 and b"path" in names and _holds_arguments(payload, at, names.index(b"path"))


def _holds_arguments(payload: bytes, end: int, count: int) -> bool:
    """Tell whether the bytes before *end* are one message, had it *count* arguments."""
    try:
        return len(read_messages(payload[:_COUNT] + bytes((count,)) + payload[_COUNT + 1 : end])) == 1
    except ProtocolError:
        return False
