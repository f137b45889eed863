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

__all__ = ["COUNT", "certificate_bounds", "head_of", "is_cut_at_id", "is_cut_at_path", "path_bounds", "question_end"]

_HEAD: Final = bytes((len(MESSAGE),)) + MESSAGE
#: Where NB-ARGS stands.
COUNT: Final = len(_HEAD)
_CERT: Final = b"\x04cert\x09"
_LENGTH: Final = COUNT + 1 + len(_CERT)
_SHORTEST: Final = _LENGTH + 2
_PATH: Final = b"\x04path\x08"
_ID: Final = b"\x02id\x08"
_ID_LENGTH: Final = len(_ID)


# Hot path: these three are asked for every request. Benchmark: benchmarks/hotpath.py.
def certificate_bounds(payload: bytes) -> tuple[int, int] | None:
    """Return where the certificate begins and ends, or None for a payload of another form."""
    # The size comes first: compiled, a slice that begins behind the end is an error.
    if len(payload) < _SHORTEST or payload[:COUNT] != _HEAD or payload[COUNT + 1 : _LENGTH] != _CERT:
        return None
    bounds = _string_bounds(payload, _LENGTH)
    return None if bounds is None or bounds[1] > len(payload) else bounds


def _string_bounds(payload: bytes, position: int) -> tuple[int, int] | None:
    """Return where a string whose length is at *position* begins, and where it ends, be it beyond the payload."""
    length = payload[position]
    if length < FOLLOWED:
        return position + 1, position + 1 + length
    if position + 1 < len(payload) and payload[position + 1] < CONTINUED:  # two bytes, as for most certificates
        return position + 2, position + 2 + length + (payload[position + 1] << 4)
    try:
        length, start = read_varint(payload, position)
    except ProtocolError:
        return None
    return start, start + length


def question_end(payload: bytes, start: int) -> int:
    """Return where a trailing `id` of less than 240 bytes begins, or the end of the payload."""
    cut = payload.rfind(_ID, start, -1)
    if (
        cut < 0
        or payload[cut + _ID_LENGTH] >= FOLLOWED
        or cut + _ID_LENGTH + 1 + payload[cut + _ID_LENGTH] != len(payload)
    ):
        return len(payload)
    return cut


def path_bounds(payload: bytes, start: int, end: int) -> tuple[int, int, int] | None:
    """Return where the argument `path`, its text, and what follows begin; None where there is none to be cut out."""
    at = payload.find(_PATH, start, end - 1)
    if at < 0:
        return None
    bounds = _string_bounds(payload, at + len(_PATH))
    if bounds is None or bounds[1] > end:
        return None
    return at, bounds[0], bounds[1]


def head_of(payload: bytes, der: bytes) -> bytes:
    """Return how a payload of the usual form would begin, up to the end of the certificate."""
    return _HEAD + payload[COUNT : COUNT + 1] + _CERT + write_varint(len(der)) + der


def is_cut_at_id(payload: bytes, cut: int) -> bool:
    """Tell whether what was cut off at *cut* is the last argument of the only message, or nothing."""
    return cut == len(payload) or _holds_arguments(payload, cut, payload[COUNT] - 1)


def is_cut_at_path(payload: bytes, at: int) -> bool:
    """Tell whether *at* is where the argument `path` of the only message begins, and not inside another value."""
    (message,) = read_messages(payload)
    before = [argument.name for argument in message.arguments].index(b"path")
    return _holds_arguments(payload, at, before)


def _holds_arguments(payload: bytes, end: int, count: int) -> bool:
    """Tell whether the bytes before *end* are one message, had it *count* arguments."""
    try:
        return len(read_messages(payload[:COUNT] + bytes((count,)) + payload[COUNT + 1 : end])) == 1
    except ProtocolError:
        return False
