r"""Letters that stand for all others: of the characters that no pattern tells apart, one is enough.

A character is known by what strict patterns see of it, itself, and by what generous ones see, its folding. Those that
a pattern names are their own kind; the others differ in the sets (`[a-z]`, `\w`) that they belong to. Since folding
takes thousands of characters for a plain one (full-width letters, ligatures, …), all of them are looked at.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from spoa.policy.languages import Letter
from spoa.policy.path import canonical_path, escapes_as_characters
from spoa.policy.text import fold, fold_afresh, has_unsafe_characters

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from spoa.policy.automaton import CharacterSet
    from spoa.policy.languages import Language

__all__ = ["path_letters", "text_letters"]

#: Where Unicode has characters that fold into others; what lies between are ideographs, syllables and private use.
_FOLDED_BLOCKS: Final = ((0x80, 0x3400), (0xA640, 0xAC00), (0xF900, 0x20000), (0x2F800, 0x2FA20))
_PLAIN: Final = "xabcdefghijklmnopqrstuvwyzXABCDEFGHIJKLMNOPQRSTUVWYZ0123456789-._~ !\"#$%&'()*+,/:;<=>?@[\\]^`{|}"
#: Neither case nor folding, and a letter; and one that is none.
_STRANGERS: Final = "一é€"
#: Stand in a path as they are.
_UNESCAPED: Final = frozenset(_PLAIN) - frozenset(" \\#?%")


@lru_cache(maxsize=1)
def _folding() -> tuple[tuple[str, str], ...]:
    """Return every character that folds into something else, with that; combining ones depend on their neighbours."""
    found: dict[str, str] = {}
    for first, last in _FOLDED_BLOCKS:
        for number in range(first, last):
            char = chr(number)
            if fold_afresh(char) != char and not _joins(char):
                found.setdefault(char, fold_afresh(char))
    return tuple(found.items())


def _joins(char: str) -> bool:
    """Tell whether a character can't stand for itself: it joins others, or is normalised away."""
    return bool(
        unicodedata.combining(char)
        or unicodedata.category(char) in {"Cs", "Cn", "Mn", "Mc"}
        or not unicodedata.is_normalized("NFC", char)
        or has_unsafe_characters(char)
        or not fold_afresh(char)
    )


class _Kinds:
    """How the languages of one reading see a character."""

    def __init__(self, languages: Iterable[Language]) -> None:
        self.named: set[str] = set()
        self.sets: list[CharacterSet] = []
        self._known: dict[str, Hashable] = {}
        for language in languages:
            named, sets = language.letters()
            self.named |= named
            self.sets = list(dict.fromkeys((*self.sets, *sets)))

    def of(self, text: str) -> Hashable:
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = tuple(map(self._of_one, text))
        return found

    def _of_one(self, char: str) -> Hashable:
        return char if char in self.named else (char.isspace(), *(char in letters for letters in self.sets))

    def edges(self) -> Iterator[str]:
        """Yield the characters at the edges of sets, and those just outside."""
        for letters in self.sets:
            for low, high in letters.ranges:
                for number in (ord(low), ord(high), ord(low) - 1, ord(high) + 1):
                    if 0 < number < 0x110000:  # noqa: PLR2004 -- the last code point
                        yield chr(number)


def text_letters(strict: Iterable[Language], folded: Iterable[Language], spared: str = "") -> tuple[Letter, ...]:
    """Return one letter for each kind of character that these languages tell apart.

    Args:
        strict: languages that see characters as they are.
        folded: languages that see what they fold into.
        spared: characters that don't stand for others.
    """
    by_strict, by_folded = _Kinds(strict), _Kinds(folded)
    kinds: dict[Hashable, Letter] = {}
    for char, folding in _candidates(by_strict, by_folded):
        if char not in spared:
            kinds.setdefault((by_strict.of(char), by_folded.of(folding)), Letter(char, char, folding))
    return tuple(kinds.values())


def _candidates(strict: _Kinds, folded: _Kinds) -> Iterator[tuple[str, str]]:
    for char in (*_PLAIN, *_STRANGERS, *sorted(strict.named), *sorted(folded.named), *strict.edges(), *folded.edges()):
        if len(char) == 1 and not _joins(char):
            yield char, fold(char)
    has_sets = bool(strict.sets or folded.sets)
    for char, folding in _folding():
        if has_sets or not folded.named.isdisjoint(folding) or folding.isspace():
            yield char, folding


def path_letters(
    strict: Iterable[Language], written: Iterable[Language], folded: Iterable[Language], *, parameters: bool
) -> tuple[Letter, ...]:
    """Return one letter for each kind of character or escape that these languages tell apart in a path.

    Args:
        strict: languages that see an escape as one private character a byte.
        written: languages that see an escape as its three characters.
        folded: languages that see what escapes stand for, folded.
        parameters: `;` may stand in a segment.
    """
    by_strict, by_written, by_folded = _Kinds(strict), _Kinds(written), _Kinds(folded)
    kinds: dict[Hashable, Letter] = {}

    def enter(letter: Letter) -> None:
        mark = letter.text if letter.text in "/;" else ""
        key = (mark, by_strict.of(letter.strict), by_written.of(letter.text), by_folded.of(letter.folded))
        kinds.setdefault(key, letter)

    enter(Letter("/", "/", "/"))
    if parameters:
        enter(Letter(";", ";", ";"))
    known = _Kinds(())
    known.named, known.sets = by_folded.named, [*by_written.sets, *by_folded.sets]
    for char, folding in _candidates(known, known):
        text = _in_path(char)
        if text:
            enter(Letter(text, escapes_as_characters(text), folding))
    return tuple(kinds.values())


@lru_cache(maxsize=8192)
def _in_path(char: str) -> str:
    """Return how a character is written in a path; nothing where no canonical path can hold it within a segment."""
    text = char if char in _UNESCAPED else "".join(f"%{byte:02X}" for byte in char.encode())
    return text if char not in "/;" and canonical_path(f"/{text}") is not None else ""
