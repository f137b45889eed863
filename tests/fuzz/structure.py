"""Edits of DER that leave it DER: elements are dropped, doubled, moved, replaced and filled anew, and lengths follow.

An edit byte by byte nearly always breaks a length, and the first parser refuses it: what is behind that one is never
asked. The first byte of an input says who signs the rest, see `tests.fuzz.evidence`, and is kept apart.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, TypeAlias

from spoa.identity import read_elements
from tests import der

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["edited"]

_CONSTRUCTED: Final = 0x20
_OCTET_STRING: Final = 0x04
_INTEGER, _OID, _UTC_TIME, _GENERALIZED_TIME = 0x02, 0x06, 0x17, 0x18
_TAGS: Final = (0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A, 0x0C, 0x13, 0x17, 0x18, 0x30, 0x31, 0xA0, 0xA1, 0xA4, 0x86)
_EDITS_AT_ONCE: Final = (1, 1, 1, 2, 3, 5)
_DEEPEST: Final = 12

#: A tag, and the elements inside or the content.
_Node: TypeAlias = "list[int | bytes | list[_Node]]"

_INTEGERS: Final = (b"\x00", b"\x01", b"\xff", b"\x00\xff", b"\x10\x01", b"\x10\x02", b"\x7f" * 20, b"\x7f" * 21, b"")
_TIMES: Final = (
    *(b"261117000000Z", b"491231235959Z", b"500101000000Z", b"000101000000Z", b"991332000000Z"),
    *(b"20261118000000Z", b"20500101000000Z", b"99991231235959Z", b"20261118000000.5Z", b"2611180000Z"),
)


def _extension(oid: str, value: bytes, *, is_critical: bool = False) -> bytes:
    flag = der.element(0x01, b"\xff") if is_critical else b""
    return der.sequence(der.oid(oid), flag, der.element(_OCTET_STRING, value))


def _named(name: bytes) -> bytes:
    return der.sequence(der.element(0xA4, name))


_NAME: Final = der.sequence(der.element(0x31, der.sequence(der.oid("2.5.4.3"), der.text("fuzzed"))))
_OTHER_NAME: Final = der.sequence(der.element(0x31, der.sequence(der.oid("2.5.4.3"), der.text("another"))))
_URL: Final = der.element(0x86, b"u")
#: What fuzzers don't come upon by themselves: extensions of lists and of their entries, and entries with them.
_ENTRY_EXTENSIONS: Final = (
    *(_extension("2.5.29.21", der.element(0x0A, bytes((number,)))) for number in (0, 1, 6, 8, 7, 11, 0xFF)),
    *(_extension("2.5.29.29", _named(name), is_critical=True) for name in (_NAME, _OTHER_NAME)),
    _extension("2.5.29.29", der.sequence(_URL), is_critical=True),
    _extension("2.5.29.24", der.element(_GENERALIZED_TIME, b"20261118000000Z")),
    *(_extension("1.3.6.1.4.1.99999.1", b"\x05\x00", is_critical=flag) for flag in (False, True)),
)
_LIST_EXTENSIONS: Final = (
    *(_extension("2.5.29.20", der.element(_INTEGER, number)) for number in (b"\x01", b"\x02", b"\x7f" * 20)),
    *(_extension("2.5.29.27", der.element(_INTEGER, number), is_critical=True) for number in (b"\x01", b"\x02")),
    *(_extension("2.5.29.28", der.sequence(der.element(tag, b"\xff")), is_critical=True) for tag in (0x81, 0x82, 0x84)),
    _extension("2.5.29.28", der.sequence(der.element(0x83, b"\x01\x7e")), is_critical=True),
    _extension("2.5.29.28", der.sequence(der.element(0xA0, der.element(0xA0, _URL))), is_critical=True),
    _extension("2.5.29.35", der.sequence(der.element(0x80, b"k"))),
)


def _entry(serial: bytes, extension: bytes = b"", time: bytes = _TIMES[0]) -> bytes:
    tag = _UTC_TIME if len(time) <= len(_TIMES[0]) else _GENERALIZED_TIME
    extensions = der.sequence(extension) if extension else b""
    return der.sequence(der.element(_INTEGER, serial), der.element(tag, time), extensions)


_ENTRIES: Final = (
    *(_entry(serial) for serial in _INTEGERS if serial),
    *(_entry(b"\x10\x01", extension) for extension in _ENTRY_EXTENSIONS),
    *(_entry(b"\x10\x01", time=time) for time in _TIMES),
)
_GRAFTS: Final = (*_ENTRY_EXTENSIONS, *_LIST_EXTENSIONS, *_ENTRIES, _NAME, _OTHER_NAME)


def _read(data: bytes, depth: int = 0) -> list[_Node]:
    """Return the elements in *data*.

    Raises:
        ValueError: it isn't made of elements.
    """
    return [_node(tag, content, depth) for tag, _, content in read_elements(data)]


def _node(tag: int, content: bytes, depth: int) -> _Node:
    if depth < _DEEPEST and (tag & _CONSTRUCTED or (tag == _OCTET_STRING and len(content) > 1)):
        try:
            return [tag, _read(content, depth + 1)]
        except ValueError:
            return [tag, content]
    return [tag, content]


def _written(nodes: Sequence[_Node]) -> bytes:
    parts = []
    for tag, inside in nodes:
        assert isinstance(tag, int)
        parts.append(der.element(tag, inside if isinstance(inside, bytes) else _written(inside)))  # type: ignore[arg-type] # an int is no inside
    return b"".join(parts)


def _places(nodes: list[_Node]) -> list[tuple[list[_Node], int]]:
    """Return where an element stands, for all: a list and an index in it."""
    found = []
    for index, (_, inside) in enumerate(nodes):
        found.append((nodes, index))
        if isinstance(inside, list):
            found += _places(inside)
    return found


def _drop(siblings: list[_Node], index: int, _chance: random.Random, _all: list[_Node]) -> None:
    del siblings[index]


def _double(siblings: list[_Node], index: int, chance: random.Random, _all: list[_Node]) -> None:
    siblings[index:index] = _read(_written([siblings[index]])) * chance.choice((1, 1, 2, 40))


def _move(siblings: list[_Node], index: int, chance: random.Random, _all: list[_Node]) -> None:
    siblings.insert(chance.randrange(len(siblings)), siblings.pop(index))


def _replace(siblings: list[_Node], index: int, chance: random.Random, everything: list[_Node]) -> None:
    others, other = chance.choice(_places(everything))
    siblings[index : index + 1] = _read(_written([others[other]]))


def _kind(node: _Node) -> tuple[bytes, ...]:
    """Return what may stand where a node does: entries beside entries, extensions beside extensions."""
    inside = node[1]
    tags = [child[0] for child in inside] if isinstance(inside, list) else []
    if tags[:1] == [_OID] and tags[-1] == _OCTET_STRING:
        return _LIST_EXTENSIONS + _ENTRY_EXTENSIONS
    return _ENTRIES if tags[:1] == [_INTEGER] and len(tags) > 1 and tags[1] in {_UTC_TIME, _GENERALIZED_TIME} else ()


def _graft(siblings: list[_Node], index: int, chance: random.Random, everything: list[_Node]) -> None:
    fitting = [(others, other) for others, other in _places(everything) if _kind(others[other])]
    if fitting:
        siblings, index = chance.choice(fitting)
    grafts = _kind(siblings[index]) or _GRAFTS
    siblings[index : index + chance.choice((0, 0, 1))] = _read(chance.choice(grafts))


def _retag(siblings: list[_Node], index: int, chance: random.Random, _all: list[_Node]) -> None:
    siblings[index][0] = chance.choice(_TAGS)


def _fill(siblings: list[_Node], index: int, chance: random.Random, _all: list[_Node]) -> None:
    tag, inside = siblings[index]
    if tag == _INTEGER:
        siblings[index][1] = chance.choice(_INTEGERS)
    elif tag in {_UTC_TIME, _GENERALIZED_TIME}:
        time = chance.choice(_TIMES)
        siblings[index] = [_UTC_TIME if len(time) == len(_TIMES[0]) else _GENERALIZED_TIME, time]
    elif isinstance(inside, bytes):
        kept = inside[: chance.randrange(len(inside) + 1)]
        siblings[index][1] = kept + chance.randbytes(chance.choice((0, 1, 2, 20)))
    else:
        siblings[index][1] = []


_EDITS: Final[tuple[Callable[[list[_Node], int, random.Random, list[_Node]], None], ...]] = (
    *(_drop, _double, _move, _replace, _retag),
    *(_graft,) * 6,
    *(_fill,) * 3,
)


def edited(data: bytes, longest: int, seed: int) -> bytes | None:
    """Return *data* after a few edits, or None where it isn't made of elements or none of them would fit.

    Args:
        data: a byte that says who signs, and DER.
        longest: bytes that the result may have.
        seed: decides on the edits.
    """
    try:
        nodes = _read(data[1:])
    except ValueError:
        return None
    chance = random.Random(seed)
    for _ in range(chance.choice(_EDITS_AT_ONCE)):
        places = _places(nodes)
        if not places:
            break
        siblings, index = chance.choice(places)
        chance.choice(_EDITS)(siblings, index, chance, nodes)
    kind = bytes((chance.choice((1, 1, 1, data[0] % 4)),))
    result = kind + _written(nodes)
    return result if len(result) <= longest else None
