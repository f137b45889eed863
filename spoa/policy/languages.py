"""Patterns as the languages that they are: words that tell several patterns apart, none of their combinations left out.

Theory: a pattern is a regular language over what a reading makes of the value (strict: as it stands; generous: folded).
All patterns of one reading are one automaton with many ends (`Language`); several readings of the same value run side
by side (`Reader`). The states that can be reached together are searched, and for each set of ends that a word can meet,
the plainest such word is kept (`words`). Letters are representatives: of letters that no reading tells apart one is
enough; see `alphabet`.

States and steps are bounded, since patterns such as `*a*`, `*b*`, … multiply; `words` says whether it met a bound.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from spoa.policy.automaton import DOTLESS_I, CharacterSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from spoa.policy.automaton import Regex

__all__ = ["ANY", "Language", "Letter", "Reader", "Words", "words"]

#: Combined states that are visited for one attribute, and the states that they are made of, counted at each step.
MAX_STATES: Final = 20_000
MAX_WORK: Final = 1_500_000
#: Every character.
ANY: Final = CharacterSet((), is_negated=True)

States = frozenset[int]
Mode = TypeVar("Mode")


class Letter(NamedTuple):
    """One letter of raw values: how it is written, and what it is to each way of reading.

    Attributes:
        text: as it stands in the value.
        strict: what strict patterns see of it.
        folded: what generous patterns see of it.
    """

    text: str
    strict: str
    folded: str


@dataclass(slots=True)
class Language:
    """An automaton without empty moves, whose ends are those of several patterns."""

    start: set[int] = field(default_factory=set)
    ends: set[int] = field(default_factory=set)
    moves: dict[int, list[tuple[CharacterSet, States]]] = field(default_factory=dict)
    literals: dict[int, dict[str, States]] = field(default_factory=dict)
    _count: int = 0
    _shared: dict[tuple[int, object], int] = field(default_factory=dict)
    _steps: dict[tuple[States, str], States] = field(default_factory=dict)

    def state(self) -> int:
        """Return a new state."""
        self._count += 1
        return self._count

    def begin(self) -> int:
        """Return the state from which words are read."""
        state = self._onward(0, "")
        self.start.add(state)
        return state

    def _onward(self, state: int, over: object) -> int:
        """Return the state that is reached from *state* over something; patterns share what they begin with."""
        return self._shared.get((state, over)) or self._shared.setdefault((state, over), self.state())

    def read(self, state: int, text: str, *, ignores_case: bool = False) -> int:
        """Return the state that is reached from *state* over the letters of *text*."""
        for letter in text:
            target = self._onward(state, (letter, ignores_case))
            for one in {letter, letter.upper(), letter.lower()} if ignores_case else {letter}:
                known = self.literals.setdefault(state, {})
                known[one] = known.get(one, States()) | {target}
            state = target
        return state

    def read_some(self, state: int, letters: CharacterSet = ANY) -> int:
        """Return the state that is reached from *state* over one or more of *letters*."""
        if (state, letters) in self._shared:
            return self._shared[state, letters]
        target = self._onward(state, letters)
        for one in (state, target):
            self.moves.setdefault(one, []).append((letters, States({target})))
        return target

    def read_pieces(self, state: int, pieces: Sequence[str], gap: CharacterSet = ANY) -> int:
        """Return the state that is reached over the pieces of a glob, with some of *gap* between them."""
        state = self.read(state, pieces[0])
        for piece in pieces[1:]:
            state = self.read(self.read_some(state, gap), piece)
        return state

    def add_regex(self, regex: Regex) -> None:
        """Enter a regular expression over the whole value."""
        offset = self._count + 1
        highest = max(regex.final, *regex.start)
        for state, moves in regex.moves.items():
            for letters, targets in moves:
                highest = max(highest, state, *targets)
                self._add_move(state + offset, letters, _shifted(targets, offset))
        self._count = offset + highest
        self.start |= _shifted(regex.start, offset)
        self.ends.add(regex.final + offset)

    def _add_move(self, state: int, letters: CharacterSet, targets: States) -> None:
        """Enter a move, over one letter as over a named one: those are found faster than sets are asked."""
        (low, high), *others = letters.ranges or (("", ""),)
        if letters.is_negated or low != high or others:
            self.moves.setdefault(state, []).append((ANY if letters == ANY else letters, targets))
            return
        known = self.literals.setdefault(state, {})
        forms = {low, low.upper(), low.lower(), DOTLESS_I} if letters.ignores_case else {low}
        for one in filter(letters.__contains__, forms):
            known[one] = known.get(one, States()) | targets

    def step(self, states: States, letter: str) -> States:
        """Return the states that are reached from *states* over one letter."""
        found = self._steps.get((states, letter))
        if found is None:
            targets: set[int] = set()
            for state in states:
                targets |= self.literals.get(state, {}).get(letter, States())
                for letters, onward in self.moves.get(state, ()):
                    if letter in letters:
                        targets |= onward
            found = self._steps[states, letter] = States(targets)
        return found

    def over(self, states: States, text: str) -> States:
        """Return the states that are reached from *states* over a text."""
        for letter in text:
            states = self.step(states, letter)
        return states

    def wanted(self, states: States) -> tuple[set[str], bool]:
        """Return the letters that *states* ask for by name, and whether they ask for ranges of letters, too."""
        named: set[str] = set()
        has_ranges = False
        for state in states:
            named |= self.literals.get(state, {}).keys()
            for letters, _ in self.moves.get(state, ()):
                if letters is not ANY:
                    named.update(_named_by(letters))
                    has_ranges = has_ranges or _has_ranges(letters)
        return named, has_ranges

    def letters(self) -> tuple[set[str], list[CharacterSet]]:
        """Return all letters that are asked for by name, and all sets that have ranges."""
        named = {letter for known in self.literals.values() for letter in known}
        sets = {letters: None for moves in self.moves.values() for letters, _ in moves if letters is not ANY}
        for letters in sets:
            named.update(_named_by(letters))
        return named, [letters for letters in sets if _has_ranges(letters)]


def _named_by(letters: CharacterSet) -> Iterable[str]:
    return (low for low, high in letters.ranges if low == high)


def _has_ranges(letters: CharacterSet) -> bool:
    return letters.ignores_case or any(low != high for low, high in letters.ranges)


def _shifted(states: Iterable[int], offset: int) -> States:
    return States(state + offset for state in states)


class Reader(NamedTuple, Generic[Mode]):
    """One way of reading values.

    Attributes:
        language: of the patterns that are read in this way.
        first: how the reader is disposed before the first letter.
        read: (disposition, letter) → (what the language gets to see, disposition), or None where no such value is
            looked for.
        at_end: disposition → whether a value may end here.
        ahead: disposition → what the language gets to see before the next letter, if there is one.
    """

    language: Language
    first: Mode
    read: Callable[[Mode, Letter], tuple[str, Mode] | None]
    at_end: Callable[[Mode], bool] = lambda _: True
    ahead: Callable[[Mode], str] = lambda _: ""


class Words(NamedTuple):
    """Values that patterns tell apart; `is_complete` unless the bound was met."""

    values: tuple[str, ...]
    is_complete: bool


_Place = tuple[tuple[States, object], ...]


def words(readers: Sequence[Reader[Any]], letters: Iterable[Letter], marks: str = "") -> Words:
    """Return the plainest value for each set of ends that values can meet under the readings.

    Args:
        readers: the readings, run side by side.
        letters: representatives; see `alphabet`.
        marks: letters, as they are folded, that a reader takes for more than a letter: they are tried everywhere.
    """
    index = _Index(tuple(letters), marks)
    start: _Place = tuple((States(reader.language.start), reader.first) for reader in readers)
    seen: set[_Place] = set()
    found: dict[object, str] = {}
    waiting: list[tuple[int, int, str, _Place]] = [(0, 0, "", start)]
    entered = itertools.count(1)
    work = 0
    while waiting:
        weight, _, text, place = heapq.heappop(waiting)
        if place in seen:
            continue
        if len(seen) == MAX_STATES or work > MAX_WORK:
            return Words(tuple(found.values()), is_complete=False)
        seen.add(place)
        if all(reader.at_end(mode) for reader, (_, mode) in zip(readers, place, strict=True)):
            ends = tuple(states & reader.language.ends for reader, (states, _) in zip(readers, place, strict=True))
            found.setdefault(ends, text)
        size = 1 + sum(len(states) for states, _ in place)
        for letter in index.wanted(readers, place):
            work += size
            onward = _onward(readers, place, letter)
            if onward is not None and onward not in seen:
                heapq.heappush(waiting, (weight + _weight(letter), next(entered), text + letter.text, onward))
    return Words(tuple(found.values()), is_complete=True)


def _weight(letter: Letter) -> int:
    """Return how little a letter is wanted: people should be able to read what is shown to them."""
    return 1 if letter.text.isascii() and len(letter.text) == 1 else 4 * max(1, len(letter.folded))


def _onward(readers: Sequence[Reader[Any]], place: _Place, letter: Letter) -> _Place | None:
    onward: list[tuple[States, object]] = []
    for reader, (states, mode) in zip(readers, place, strict=True):
        read = reader.read(mode, letter)
        if read is None:
            return None
        onward.append((reader.language.over(states, read[0]), read[1]))
    return tuple(onward)


class _Index:
    """Letters by what they look like to a reading, so that at each place only those are tried that matter there."""

    def __init__(self, letters: tuple[Letter, ...], marks: str) -> None:
        self._letters = letters
        self._strict: dict[str, list[int]] = {}
        self._folded: dict[str, list[int]] = {}
        for number, letter in enumerate(letters):
            self._strict.setdefault(letter.strict[:1], []).append(number)
            self._folded.setdefault(letter.folded[:1], []).append(number)
        self._marks = [n for n, letter in enumerate(letters) if letter.folded and letter.folded in marks]

    def wanted(self, readers: Sequence[Reader[Any]], place: _Place) -> Iterator[Letter]:
        named: set[str] = set()
        for reader, (states, mode) in zip(readers, place, strict=True):
            some, has_ranges = reader.language.wanted(states | reader.language.over(states, reader.ahead(mode)))
            named |= some
            if has_ranges:
                yield from self._letters
                return
        numbers = set(self._marks)
        for letter in named:
            numbers.update(self._strict.get(letter, ()), self._folded.get(letter, ()))
        strangers = (n for n in range(len(self._letters)) if n not in numbers)
        for stranger in strangers:
            if self._is_strange(self._letters[stranger], named):
                numbers.add(stranger)
                break
        yield from (self._letters[number] for number in sorted(numbers))

    def _is_strange(self, letter: Letter, named: set[str]) -> bool:
        return named.isdisjoint(letter.strict) and named.isdisjoint(letter.folded)
