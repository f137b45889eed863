r"""The texts that a pattern matches, as an automaton, so that two patterns can be compared for all texts at once.

Globs, paths, names and regular expressions of the policy language all are regular, so whether one matches nothing that
others don't, or whether two can match the same, is decided by walking their automata side by side: the first text that
tells them apart is found, or there is none. Characters that none of the sets in question tells apart are walked once.

Each attribute has two readings (see `policy.text` and `policy.path`), hence each pattern two languages: the strict one
is over the text as it is compared strictly, the generous one over the folded text. Paths are texts with their escapes.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from spoa.policy.automaton import DOTLESS_I, CharacterSet, Regex
from spoa.policy.conditions import PathRegex, TextRegex
from spoa.policy.hosts import HostPattern
from spoa.policy.path import PathPattern
from spoa.policy.sans import DnsPattern, EmailPattern, UriPattern
from spoa.policy.text import TextPattern, fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from spoa.policy.model import Pattern

__all__ = ["Language", "UndecidedError", "canonical_paths", "language_of", "lower_case", "text_within"]

Moves: TypeAlias = "dict[int, list[tuple[CharacterSet, frozenset[int]]]]"

#: Combined states that are walked through for one question.
MAX_STATES: Final = 20_000
_ASCII: Final = 0x7F
_LAST: Final = 0x10FFFF
_SURROGATES: Final = (0xD800, 0xE000)
_URI: Final = re.compile(r"([^:]+):(?://(?:([^/]*)@)?([^/]*))?(.*)", re.DOTALL)

_ANY: Final = CharacterSet((), is_negated=True)
_NO_SLASH: Final = CharacterSet((("/", "/"),), is_negated=True)
_NO_DOT: Final = CharacterSet(((".", "."),), is_negated=True)
#: A character of a segment that is no escape, and the digits of an escape.
_PLAIN: Final = CharacterSet((("/", "/"), ("%", "%")), is_negated=True)
_HEX: Final = CharacterSet((("0", "9"), ("A", "F")))


class UndecidedError(Exception):
    """The question is too large, or speaks of characters whose case can't be followed."""


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """An automaton: from each state, the characters that lead on, and all the states that they lead to.

    Compared by identity, which makes it a cheap key. `prefix` is what all the texts begin with, as far as known.
    """

    moves: Mapping[int, Sequence[tuple[CharacterSet, frozenset[int]]]]
    start: frozenset[int]
    final: frozenset[int]
    prefix: str = ""

    def may_meet(self, other: Language) -> bool:
        """Tell whether the beginnings leave room for a text that is in both; most languages have none."""
        return self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix)

    def step(self, states: frozenset[int], char: str) -> frozenset[int]:
        """Return the states that *char* leads to."""
        found: set[int] = set()
        for state in states:
            for wanted, onward in self.moves.get(state, ()):
                if char in wanted:
                    found |= onward
        return frozenset(found)

    def has(self, text: str) -> bool:
        """Tell whether the text is one of them."""
        states = self.start
        for char in text:
            states = self.step(states, char)
            if not states:
                return False
        return not states.isdisjoint(self.final)


def text_within(all_of: Sequence[Language], none_of: Sequence[Language] = ()) -> str | None:
    """Return a shortest text that is in each of *all_of* and in none of *none_of*; None when there is none.

    Raises:
        UndecidedError: after `MAX_STATES` states, or where case can't be followed.
    """
    languages = (*all_of, *none_of)
    count = len(all_of)
    start = tuple(language.start for language in languages)
    seen = {start}
    found: list[tuple[tuple[frozenset[int], ...], str]] = [(start, "")]
    for states, text in found:
        ends = [not own.isdisjoint(one.final) for own, one in zip(states, languages, strict=True)]
        if all(ends[:count]) and not any(ends[count:]):
            return text
        for char in _characters(languages, states):
            onward = tuple(one.step(own, char) for own, one in zip(states, languages, strict=True))
            if all(onward[:count]) and onward not in seen:
                if len(seen) == MAX_STATES:
                    raise UndecidedError
                seen.add(onward)
                found.append((onward, text + char))
    return None


def _characters(languages: Sequence[Language], states: Sequence[frozenset[int]]) -> Iterator[str]:
    """Yield one character of each kind that the sets leading on from here tell apart."""
    sets = {
        wanted
        for language, own in zip(languages, states, strict=True)
        for state in own
        for wanted, _ in language.moves.get(state, ())
    }
    cuts = {0}
    for wanted in sets:
        for low, high in wanted.ranges:
            cuts |= {ord(low), ord(high) + 1}
            if wanted.ignores_case:
                cuts |= _other_case(ord(low), ord(high)) | {ord(DOTLESS_I), ord(DOTLESS_I) + 1}
    for cut in sorted(cuts):
        if cut <= _LAST:
            # A lone surrogate stands in no text; the next kind begins behind them.
            yield chr(_SURROGATES[1] if _SURROGATES[0] <= cut < _SURROGATES[1] else cut)


def _other_case(low: int, high: int) -> set[int]:
    """Return where the other case of a range begins and ends."""
    if low == high:
        forms = {chr(low).upper(), chr(low).lower()}
        return {ord(form) + more for form in forms if len(form) == 1 for more in (0, 1)}
    if high > _ASCII:
        raise UndecidedError
    cuts: set[int] = set()
    for first, last, shift in ((ord("A"), ord("Z"), 32), (ord("a"), ord("z"), -32)):
        begin, end = max(low, first), min(high, last)
        if begin <= end:
            cuts |= {begin + shift, end + shift + 1}
    return cuts


# -- from patterns ----------------------------------------------------------------------------------------------


class _Builder:
    """A chain of states that texts and gaps are appended to."""

    def __init__(self) -> None:
        self._moves: Moves = {}
        self._end = 0
        self._count = 1
        self._prefix = ""
        self._is_literal = True

    def literal(self, text: str, *, any_case: bool = False) -> _Builder:
        """Append a text; in any ASCII case if asked."""
        for char in text:
            forms = {char.lower(), char.upper()} if any_case and char.isascii() else {char}
            self._is_literal = self._is_literal and len(forms) == 1
            self._prefix += char if self._is_literal else ""
            target = self._state()
            self._add(self._end, CharacterSet(tuple((form, form) for form in sorted(forms))), target)
            self._end = target
        return self

    def optional(self, char: str) -> Language:
        """Return the language, with a character that may follow."""
        before, self._is_literal = self._end, False
        found = self.literal(char).finish()
        return Language(found.moves, found.start, found.final | {before}, found.prefix)

    def some(self, wanted: CharacterSet) -> _Builder:
        """Append one or more characters of a set."""
        target = self._state()
        self._add(self._end, wanted, target)
        self._add(target, wanted, target)
        self._end, self._is_literal = target, False
        return self

    def segment_part(self) -> _Builder:
        """Append one or more characters of a path's segment, an escape counting as one."""
        target = self._state()
        for source in (self._end, target):
            self._add(source, _PLAIN, target)
            first, second = self._state(), self._state()
            self._add(source, CharacterSet((("%", "%"),)), first)
            self._add(first, _HEX, second)
            self._add(second, _HEX, target)
        self._end, self._is_literal = target, False
        return self

    def finish(self, *, below: bool = False, must_go_on: bool = False) -> Language:
        """Return the language; with `below`, a slash and anything may follow, or must."""
        final = set() if must_go_on else {self._end}
        if below:
            target = self._state()
            self._add(self._end, CharacterSet((("/", "/"),)), target)
            self._add(target, _ANY, target)
            final.add(target)
        return Language(self._moves, frozenset({0}), frozenset(final), self._prefix)

    def _state(self) -> int:
        self._count += 1
        return self._count - 1

    def _add(self, source: int, wanted: CharacterSet, target: int) -> None:
        self._moves.setdefault(source, []).append((wanted, frozenset({target})))


def _of_regex(regex: Regex) -> Language:
    moves, start, final = regex.moves, regex.start, regex.final
    return Language(moves, start, frozenset({final}))


def _of_path_regex(source: str, *, generous: bool) -> Language:
    found = _of_regex(Regex(source, generous=generous))
    if not generous:
        return found
    # A trailing slash that the expression demands was folded away.
    before = {
        state
        for state, moves in found.moves.items()
        for wanted, onward in moves
        if "/" in wanted and not onward.isdisjoint(found.final)
    }
    return Language(found.moves, found.start, found.final | before)


def _of_path(builder: _Builder, pattern: PathPattern, *, generous: bool, is_rooted: bool = True) -> Language:
    if pattern.is_asterisk:
        return builder.literal("*").finish()
    segments = _path_segments(pattern, generous=generous)
    for number, pieces in enumerate(segments):
        builder.literal("/" if number or is_rooted else "")
        for place, piece in enumerate(pieces):
            if place:
                builder = builder.some(_NO_SLASH) if generous else builder.segment_part()
            builder.literal(piece)
    if not segments and pattern.covers_below:
        return builder.finish(below=True, must_go_on=True)
    return builder.literal("" if segments else "/").finish(below=pattern.covers_below)


def _path_segments(pattern: PathPattern, *, generous: bool) -> list[tuple[str, ...]]:
    """Return the pieces of each segment, with escapes as they are written: of three characters."""
    if generous:
        return list(pattern.segments(generous=True))
    return [
        tuple("".join(_written(char) for char in piece) for piece in pieces)
        for pieces in pattern.segments(generous=False)
    ]


def _written(char: str) -> str:
    """Return an escape, which patterns hold as one private character, as it is written."""
    return f"%{ord(char) - 0xE000:02X}" if "\ue000" <= char <= "\ue0ff" else char


def _append_text(builder: _Builder, pattern: TextPattern, *, generous: bool) -> _Builder:
    for place, piece in enumerate(pattern.pieces(generous=generous)):
        if place:
            builder.some(_ANY)
        builder.literal(piece)
    return builder


def _append_host(builder: _Builder, pattern: HostPattern, *, any_case: bool) -> _Builder:
    if pattern.suffix:
        return builder.some(_NO_DOT).literal(pattern.suffix, any_case=any_case)
    return builder.literal(pattern.name, any_case=any_case)


def _of_uri(pattern: UriPattern, *, generous: bool) -> Language:
    found = _URI.fullmatch(pattern.source)
    assert found is not None
    scheme, user, host, path = found.groups()
    builder = _Builder().literal(scheme.lower(), any_case=not generous).literal(":")
    if host is not None:
        builder.literal("//")
        if user is not None:
            builder.literal(fold(user) if generous else user).literal("@")
        builder.literal(host.lower(), any_case=not generous)
    if not path:
        return builder.finish()
    if path in {"/", "/**"}:  # the root of a URI may be left out
        return builder.finish(below=True) if path == "/**" else builder.optional("/")
    is_rooted = path.startswith("/")
    return _of_path(builder, PathPattern(path if is_rooted else f"/{path}"), generous=generous, is_rooted=is_rooted)


@functools.lru_cache(maxsize=8192)
def language_of(pattern: Pattern, *, generous: bool) -> Language | None:
    """Return the texts that *pattern* matches under one reading; None for a pattern that is not over texts."""
    match pattern:
        case PathRegex():
            return _of_path_regex(pattern.source, generous=generous)
        case TextRegex():
            return _of_regex(Regex(pattern.source, generous=generous))
        case PathPattern():
            return _of_path(_Builder(), pattern, generous=generous)
        case TextPattern():
            return _append_text(_Builder(), pattern, generous=generous).finish()
        case DnsPattern():
            return _append_host(_Builder(), pattern, any_case=not generous).finish()
        case HostPattern():
            return _append_host(_Builder(), pattern, any_case=False).finish()
        case EmailPattern():
            local, _, domain = pattern.source.rpartition("@")
            builder = _append_text(_Builder(), TextPattern(local), generous=generous).literal("@")
            return _append_host(builder, HostPattern(domain), any_case=not generous).finish()
        case UriPattern():
            return _of_uri(pattern, generous=generous)
    return None


@functools.cache
def lower_case() -> Language:
    """Return the language of texts without upper-case ASCII, as hosts and server names are compared."""
    return _of_regex(Regex("[^A-Z]*"))


@functools.cache
def canonical_paths(*, generous: bool, parameters: bool = False) -> tuple[Language, ...]:
    """Return languages whose common texts are the paths that get past the gate, as strict or generous matching sees it.

    Some paths more may be among them: those with escapes that are not UTF-8.
    """
    if generous:
        return (_of_regex(Regex(r"\*|/.*")),)
    plain = r"!$&-+,\-.0-:<-Z\[\]^-~" + (";" if parameters else "")
    # No unreserved character, no control, none of `/ \ % ;`.
    escape = "%(?:2[0-46-9A-C]|3[AC-F]|40|5[BDE]|60|7[B-D]|[89A-F][0-9A-F])"
    characters = Regex(rf"\*|/|(?:/(?:[{plain}]|{escape})+)+/?")
    no_dot_segments = Regex(r"\*|(?:/(?:[^./][^/]*|\.[^./][^/]*|\.\.[^/]+))*/?")
    return _of_regex(characters), _of_regex(no_dot_segments)
