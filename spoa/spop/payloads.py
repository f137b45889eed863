"""The three composite payloads: lists of items, of messages and of actions (SPOE.txt sections 3.2.4 to 3.2.9).

A payload is read as a whole or refused as a whole: nothing is returned from one that ends in rubbish.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias, TypeVar

from spoa.exceptions import ProtocolError
from spoa.spop.status import Status
from spoa.spop.typeddata import TYPES, DataType, Value, read_string, read_typed, write_string, write_typed
from spoa.spop.varint import FOLLOWED, read_varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "Action",
    "Argument",
    "Message",
    "Scope",
    "SetVar",
    "UnsetVar",
    "Wanted",
    "read_actions",
    "read_arguments",
    "read_items",
    "read_messages",
    "write_actions",
    "write_items",
    "write_messages",
    "write_set_var",
    "write_unset_var",
]

Slot = TypeVar("Slot")
Slot_co = TypeVar("Slot_co", covariant=True)


class Wanted(Protocol[Slot_co]):
    """Says what to call an argument, or None where it doesn't matter; a dictionary will do."""

    def get(self, name: bytes, /) -> Slot_co | None:
        """Return what the argument *name* is called."""


class Scope(enum.IntEnum):
    """How long a variable lives (SPOE.txt section 3.4)."""

    PROCESS = 0
    SESSION = 1
    TRANSACTION = 2
    REQUEST = 3
    RESPONSE = 4


class Argument(NamedTuple):
    """One argument of a message; its name is empty where the configuration gives none."""

    name: bytes
    type: int
    value: Value


class Message(NamedTuple):
    """One message of a NOTIFY: its name and at most 255 arguments, in the order of the configuration."""

    name: bytes
    arguments: tuple[Argument, ...]


class SetVar(NamedTuple):
    """The action that sets a variable; HAProxy puts its prefix before the name."""

    scope: Scope
    name: bytes
    type: int
    value: Value


class UnsetVar(NamedTuple):
    """The action that removes a variable."""

    scope: Scope
    name: bytes


Action: TypeAlias = SetVar | UnsetVar

_SET_VAR: Final = 1
_UNSET_VAR: Final = 2
_STRINGS: Final = frozenset({int(DataType.STRING), int(DataType.BINARY)})
_MOST_ARGUMENTS: Final = 255  # their number is one byte


def read_items(payload: bytes) -> dict[bytes, tuple[int, Value]]:
    """Read the KV-LIST of a HELLO or DISCONNECT: key → type and value; of a key that comes twice the last one counts.

    Raises:
        ProtocolError: status 4, when a key is empty or the payload can't be decoded to its end.
    """
    items: dict[bytes, tuple[int, Value]] = {}
    position = 0
    while position < len(payload):
        key, position = read_string(payload, position)
        if not key:
            raise ProtocolError(Status.INVALID_FRAME, "an item without a key")
        data_type, value, position = read_typed(payload, position)
        items[key] = (data_type, value)
    return items


def write_items(items: Iterable[tuple[bytes, int, Value]]) -> bytes:
    """Write a KV-LIST from keys, types and values."""
    return b"".join(write_string(key) + write_typed(data_type, value) for key, data_type, value in items)


def read_messages(payload: bytes) -> list[Message]:
    """Read the LIST-OF-MESSAGES of a NOTIFY, which may be empty.

    Raises:
        ProtocolError: status 4, when the payload can't be decoded to its end.
    """
    messages: list[Message] = []
    position = 0
    while position < len(payload):
        name, position = read_string(payload, position)
        count, position = _read_byte(payload, position)
        arguments: list[Argument] = []
        for _ in range(count):
            key, position = read_string(payload, position)
            data_type, value, position = read_typed(payload, position)
            arguments.append(Argument(key, data_type, value))
        messages.append(Message(name, tuple(arguments)))
    return messages


def write_messages(messages: Iterable[Message]) -> bytes:
    """Write a LIST-OF-MESSAGES.

    Raises:
        ValueError: when a message has more than 255 arguments, or a value does not fit its type.
    """
    parts: list[bytes] = []
    for name, arguments in messages:
        if len(arguments) > _MOST_ARGUMENTS:
            raise ValueError(f"{len(arguments)} arguments are more than a message can have")
        parts.append(write_string(name) + bytes((len(arguments),)))
        parts.extend(write_string(key) + write_typed(data_type, value) for key, data_type, value in arguments)
    return b"".join(parts)


def read_arguments(payload: bytes, message: bytes, wanted: Wanted[Slot]) -> tuple[int, list[tuple[Slot, int, Value]]]:
    """Read only what is wanted from a LIST-OF-MESSAGES, but check all of it.

    Args:
        payload: the payload of a NOTIFY.
        message: the name of the message whose arguments are looked at; others are skipped.
        wanted: what to call the arguments that matter; others are skipped, which saves making their values.

    Returns:
        How many messages had that name, and (what `wanted` calls it, type, value) of each of their wanted arguments,
        in order of appearance: one that came twice stands there twice.

    Raises:
        ProtocolError: status 4, when the payload can't be decoded to its end, exactly as `read_messages` does.
    """
    nothing: dict[bytes, Slot] = {}
    found: list[tuple[Slot, int, Value]] = []
    messages = position = 0
    end = len(payload)
    while position < end:
        name, position = read_string(payload, position)
        if name == message:
            messages += 1
            position = _read_wanted(payload, position, wanted, found)
        else:
            position = _read_wanted(payload, position, nothing, found)
    return messages, found


# Hot path: strings and binaries, where the bytes are, are read in place; what is rarer and shorter goes through the
# table. A slice that reaches past the end is cut short in silence: the byte behind it is what proves a name whole.
# See benchmarks/spop.py.
def _read_wanted(payload: bytes, position: int, wanted: Wanted[Slot], found: list[tuple[Slot, int, Value]]) -> int:
    find = wanted.get
    end = len(payload)
    try:
        count = payload[position]
        position += 1
        for _ in range(count):
            length = payload[position]
            position += 1
            if length >= FOLLOWED:
                length, position = read_varint(payload, position - 1)
                if length > end - position:
                    break
            stop = position + length
            slot = find(payload[position:stop])
            data_type = payload[stop] & 15
            position = stop + 1
            if data_type in _STRINGS:
                length = payload[position]
                position += 1
                if length >= FOLLOWED:
                    length, position = read_varint(payload, position - 1)
                stop = position + length
                if stop > end:
                    break
                if slot is not None:
                    found.append((slot, data_type, payload[position:stop]))
                position = stop
            else:
                value, position = TYPES[data_type].read(payload, position)
                if slot is not None:
                    found.append((slot, data_type, value))
        else:
            return position
    except IndexError as error:
        raise ProtocolError(Status.INVALID_FRAME, "a message that breaks off") from error
    raise ProtocolError(Status.INVALID_FRAME, "a message that can't be decoded")


def _read_byte(payload: bytes, position: int) -> tuple[int, int]:
    if position >= len(payload):
        raise ProtocolError(Status.INVALID_FRAME, "the frame ends inside a message or an action")
    return payload[position], position + 1


def _read_scope(payload: bytes, position: int) -> tuple[Scope, int]:
    scope, position = _read_byte(payload, position)
    if scope > Scope.RESPONSE:
        raise ProtocolError(Status.INVALID_FRAME, "a variable of no known scope")
    return Scope(scope), position


def _read_set_var(payload: bytes, position: int) -> tuple[SetVar, int]:
    scope, position = _read_scope(payload, position)
    name, position = read_string(payload, position)
    data_type, value, position = read_typed(payload, position)
    return SetVar(scope, name, data_type, value), position


def _read_unset_var(payload: bytes, position: int) -> tuple[UnsetVar, int]:
    scope, position = _read_scope(payload, position)
    name, position = read_string(payload, position)
    return UnsetVar(scope, name), position


_ACTIONS: Final[dict[tuple[int, int], Callable[[bytes, int], tuple[Action, int]]]] = {
    (_SET_VAR, 3): _read_set_var,  # by type and number of arguments
    (_UNSET_VAR, 2): _read_unset_var,
}


def read_actions(payload: bytes) -> tuple[Action, ...]:
    """Read the LIST-OF-ACTIONS of an ACK, which may be empty.

    Raises:
        ProtocolError: status 4, when the payload can't be decoded to its end. HAProxy is less strict: it executes what
            stands before the fault and drops the rest without a word.
    """
    actions: list[Action] = []
    position = 0
    while position < len(payload):
        action_type, position = _read_byte(payload, position)
        count, position = _read_byte(payload, position)
        if (action_type, count) not in _ACTIONS:
            raise ProtocolError(Status.INVALID_FRAME, f"an action of type {action_type} with {count} arguments")
        action, position = _ACTIONS[action_type, count](payload, position)
        actions.append(action)
    return tuple(actions)


def write_set_var(scope: Scope, name: bytes, data_type: int, value: Value) -> bytes:
    """Write the action that sets a variable.

    Raises:
        ValueError: when the type can't hold the value.
    """
    return bytes((_SET_VAR, 3, scope)) + write_string(name) + write_typed(data_type, value)


def write_unset_var(scope: Scope, name: bytes) -> bytes:
    """Write the action that removes a variable."""
    return bytes((_UNSET_VAR, 2, scope)) + write_string(name)


def write_actions(actions: Iterable[Action]) -> bytes:
    """Write a LIST-OF-ACTIONS; it may be written in pieces and concatenated."""
    return b"".join(
        write_set_var(*action) if isinstance(action, SetVar) else write_unset_var(*action) for action in actions
    )
