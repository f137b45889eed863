"""Certificates with damage of every sort, most of which leaves all lengths around it right.

A byte that is changed blindly nearly always breaks a length, and shows only that lengths are looked at. What is changed
here is a content, a tag, one length or an element, anywhere, within bit and octet strings too; the elements around it
are written again to fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spoa.identity import read_elements
from tests import der

if TYPE_CHECKING:
    import random

__all__ = ["mutant"]

_CONSTRUCTED: Final = 0x20
_BIT_STRING, _OCTET_STRING = 0x03, 0x04
_INTERESTING: Final = (0, 1, 2, 3, 4, 5, 6, 0x17, 0x18, 0x30, 0x31, 0x7F, 0x80, 0x81, 0x82, 0xA0, 0xA3, 0xFF)
_TIMES: Final = (
    *(b"491231235959Z", b"500101000000Z", b"000229000000Z", b"010229000000Z", b"991301000000Z", b"260230000000Z"),
    *(b"261117240000Z", b"261117006000Z", b"261117000060Z", b"261117000000z", b"+61117000000Z", b"26111700000Z"),
    *(b"2611170000Z", b"261117000000+0100", b"20500101000000Z", b"20491231235959Z", b"19500101000000Z"),
    *(b"21000229000000Z", b"24000229000000Z", b"99991231235959Z", b"00000101000000Z", b"20500101000000.0Z", b""),
)
_NUMBERS: Final = (b"", b"\0", b"\0\0", b"\0\1", b"\0\x80", b"\xff", b"\1\0\1", b"\3", b"\x7f" * 20, b"\1" * 21)


class _Element:
    """An element with the elements inside, where it has some, and as many octets of length more than it needs."""

    def __init__(self, tag: int, content: bytes) -> None:
        self.tag, self.content, self.padding = tag, content, 0
        self.inside: list[_Element] = []
        self.head = b""
        if tag == _BIT_STRING and content[:1] == b"\0":
            self.head, content = b"\0", content[1:]
        if tag & _CONSTRUCTED or tag in {_BIT_STRING, _OCTET_STRING}:
            try:
                self.inside = [_Element(tag, content) for tag, _, content in read_elements(content)]
            except ValueError:
                self.inside = []

    def written(self) -> bytes:
        content = self.head + b"".join(one.written() for one in self.inside) if self.inside else self.content
        if not self.padding:
            return der.element(self.tag, content)
        octets = (len(content).bit_length() + 7) // 8 or 1
        more = octets + self.padding - (1 if len(content) < 0x80 else 0)
        return bytes([self.tag, 0x80 + more]) + len(content).to_bytes(more, "big") + content

    def all(self) -> list[_Element]:
        return [self, *(below for one in self.inside for below in one.all())]


def _scratched(octets: bytes, chance: random.Random) -> bytes:
    """Change, insert, drop or double some octets."""
    at = chance.randrange(len(octets) + 1)
    end = min(len(octets), at + chance.choice((1, 1, 1, 2, 5)))
    some = chance.choice(
        (
            bytes([chance.choice(_INTERESTING)]),
            bytes([chance.randrange(256)]),
            octets[at:end] * 2,
            b"",
            bytes(one ^ 1 << chance.randrange(8) for one in octets[at:end]),
        )
    )
    return octets[:at] + some + octets[chance.choice((at, end, end)) :]


def _edit(whole: _Element, other: _Element, chance: random.Random) -> None:
    every = whole.all()
    one, another = chance.choice(every), chance.choice(chance.choice((every, other.all())))
    match chance.randrange(8):
        case 0:
            one.tag = chance.choice((*_INTERESTING, one.tag ^ _CONSTRUCTED))
        case 1:
            one.padding = chance.choice((1, 1, 2, 3))
        case 2 | 3:
            one = chance.choice([leaf for leaf in every if not leaf.inside])
            one.content = _scratched(one.content, chance)
        case 4:
            one = chance.choice([leaf for leaf in every if leaf.tag in {0x02, 0x17, 0x18}] or every)
            one.inside, one.content = [], chance.choice(_NUMBERS if one.tag == 0x02 else _TIMES)
            if one.tag != 0x02:
                one.tag = chance.choice((one.tag, 0x17 if len(one.content) <= 13 else 0x18))
        case 5 if another is not whole and whole not in another.all() and one not in another.all():
            one.tag, one.content, one.inside, one.head = another.tag, another.content, another.inside, another.head
        case 6 if one.inside:
            chance.shuffle(one.inside)
        case _ if one.inside:
            at = chance.randrange(len(one.inside))
            one.inside[at : at + 1] = [one.inside[at]] * chance.choice((0, 2))
            one.content = one.content if one.inside else one.head


def mutant(certificate: bytes, other: bytes, chance: random.Random) -> bytes:
    """Return a certificate with a few changes, into which elements of another may have come."""
    if chance.randrange(4) == 0:
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            certificate = _scratched(certificate, chance)
        return certificate
    ((tag, _, content),) = read_elements(certificate)
    ((other_tag, _, other_content),) = read_elements(other)
    whole, source = _Element(tag, content), _Element(other_tag, other_content)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        _edit(whole, source, chance)
    return whole.written()
