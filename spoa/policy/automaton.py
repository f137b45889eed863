r"""Regular expressions of the policy language: a subset that always runs in time linear in the value.

Python's own `re` backtracks, so that a certificate field could stall the agent. Here an expression becomes a Thompson
NFA, whose sets of states are followed character by character and remembered (a lazy DFA). Matching is always over the
whole value.

Supported: literals, `.`, `[…]` and `[^…]` with ranges, `\d \w \s` and their capitals, `\` before punctuation,
`( )`, `(?: )`, `|`, `* + ? {m} {m,} {m,n}`. `^` at the start and `$` at the end are redundant and allowed.
Not supported, since not regular or not whole-value: back-references, look-around, anchors elsewhere, lazy quantifiers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from spoa.policy.text import fold

__all__ = ["DOTLESS_I", "MAX_LENGTH", "CharacterSet", "Regex"]

#: Longest expression, in characters.
MAX_LENGTH: Final = 256
#: Most states an expression may unfold into; `{m,n}` copies what it repeats.
MAX_STATES: Final = 2000
#: Most groups inside one another.
MAX_DEPTH: Final = 32
#: Most remembered transitions of one expression; past it all are forgotten, lest strangers fill the memory for good.
MAX_MEMO: Final = 4096

#: The one letter that folding leaves and whose capital is another one's: where case is ignored, `i` is it, and all but
#: `i` is it too, since only restrictions ignore case.
DOTLESS_I: Final = "\N{LATIN SMALL LETTER DOTLESS I}"

_DIGITS: Final = (("0", "9"),)
_WORD: Final = (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))
_SPACE: Final = ((" ", " "), ("\t", "\r"))
_CLASSES: Final = {"d": _DIGITS, "w": _WORD, "s": _SPACE}


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """Ranges of characters, or all but them."""

    ranges: tuple[tuple[str, str], ...]
    is_negated: bool = False
    ignores_case: bool = False

    def __contains__(self, char: str) -> bool:
        found = self._has(char) or (self.ignores_case and (self._has(char.upper()) or self._has(char.lower())))
        if not found and self.ignores_case and char == DOTLESS_I and not self.is_negated:
            found = self._has("i")
        return found is not self.is_negated

    def example(self) -> str:
        """Return one of the characters, a plain one where there is one; empty if none of those tried is among them."""
        tried = ("x", "0", "-", "a", ".", "/", "@", " ", *(low for low, _ in self.ranges))
        return next((char for char in tried if char in self), "")

    def _has(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges)


class Regex:
    """A compiled expression; `generous` ones ignore case and are meant for folded values.

    Attributes:
        source: as it was written.
        moves: state → (letters, the states that they lead to).
        start, final: the states in which reading begins, and the one in which it must end.

    Raises:
        ValueError: with the position, when the expression is outside the subset, too long or too large.
    """

    __slots__ = ("_memo", "final", "moves", "source", "start")

    def __init__(self, source: str, *, generous: bool = False) -> None:
        self.source = source
        parser = _Parser(source, generous=generous)
        start, end = parser.parse()
        self.moves = parser.moves
        self.final = end
        self._memo: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        self.start = parser.closure({start})

    def matches(self, value: str) -> bool:
        """Tell whether the whole of *value* matches; linear in its length."""
        # Hot path: a step that is known costs one look-up and no call.
        states, memo = self.start, self._memo
        for char in value:
            onward = memo.get((states, char))
            states = self._step(states, char) if onward is None else onward
            if not states:
                return False
        return self.final in states

    def _step(self, states: frozenset[int], char: str) -> frozenset[int]:
        found = self._memo.get((states, char))
        if found is None:
            targets: set[int] = set()
            for state in states:
                for wanted, closure in self.moves.get(state, ()):
                    if char in wanted:
                        targets |= closure
            found = frozenset(targets)
            if len(self._memo) >= MAX_MEMO:
                self._memo.clear()
            self._memo[states, char] = found
        return found

    def example(self) -> str | None:
        """Return a shortest text that matches, made of plain characters where that will do; None if none was found."""
        seen = {self.start}
        found: list[tuple[frozenset[int], str]] = [(self.start, "")]
        for states, text in found:
            if self.final in states:
                return text
            for wanted in {wanted for state in states for wanted, _ in self.moves.get(state, ())}:
                char = wanted.example()
                onward = self._step(states, char) if char else frozenset[int]()
                if onward and onward not in seen and len(seen) < MAX_MEMO:
                    seen.add(onward)
                    found.append((onward, text + char))
        return None

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.source, self.moves, self.final, self.start)

    def __str__(self) -> str:
        return self.source


def _rebuild(
    source: str,
    moves: dict[int, tuple[tuple[CharacterSet, frozenset[int]], ...]],
    final: int,
    start: frozenset[int],
) -> Regex:
    regex = Regex.__new__(Regex)
    regex.source, regex.moves, regex.final, regex.start = source, moves, final, start
    regex._memo = {}  # noqa: SLF001 -- its own constructor
    return regex


class _Parser:
    """Recursive descent over the expression, building NFA fragments (start, end)."""

    def __init__(self, source: str, *, generous: bool) -> None:
        if not source:
            raise ValueError("the expression is empty")
        if len(source) > MAX_LENGTH:
            raise ValueError(f"the expression has {len(source)} characters; {MAX_LENGTH} is the most")
        self._text = source
        self._position = 0
        self._generous = generous
        self._depth = 0
        self._epsilon: list[list[int]] = []
        self._edges: list[tuple[CharacterSet, int] | None] = []
        self.moves: dict[int, tuple[tuple[CharacterSet, frozenset[int]], ...]] = {}

    def parse(self) -> tuple[int, int]:
        self._take("^")
        start, end = self._alternation()
        if self._position < len(self._text):
            raise self._error("unbalanced `)`" if self._peek() == ")" else f"`{self._peek()}` can't stand here")
        for state, edge in enumerate(self._edges):
            if edge is not None:
                wanted, target = edge
                self.moves[state] = ((wanted, self.closure({target})),)
        return start, end

    def closure(self, states: set[int]) -> frozenset[int]:
        """Return *states* with all that can be reached from them without a character."""
        reached = set(states)
        todo = list(states)
        while todo:
            for target in self._epsilon[todo.pop()]:
                if target not in reached:
                    reached.add(target)
                    todo.append(target)
        return frozenset(reached)

    # -- fragments ---------------------------------------------------------------------------------------------

    def _state(self) -> int:
        if len(self._edges) >= MAX_STATES:
            raise ValueError(f"the expression unfolds into more than {MAX_STATES} states; shorten its repetitions")
        self._epsilon.append([])
        self._edges.append(None)
        return len(self._edges) - 1

    def _one(self, wanted: CharacterSet) -> tuple[int, int]:
        start, end = self._state(), self._state()
        self._edges[start] = (wanted, end)
        return start, end

    def _alternation(self) -> tuple[int, int]:
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        if len(branches) == 1:
            return branches[0]
        start, end = self._state(), self._state()
        for first, last in branches:
            self._epsilon[start].append(first)
            self._epsilon[last].append(end)
        return start, end

    def _sequence(self) -> tuple[int, int]:
        start = end = self._state()
        while self._peek() not in {"", "|", ")"}:
            if self._peek() == "$" and self._position == len(self._text) - 1:
                self._position += 1
                break
            first, last = self._repetition()
            self._epsilon[end].append(first)
            end = last
        return start, end

    def _repetition(self) -> tuple[int, int]:
        begin = self._position
        fragment = self._atom()
        after = self._position
        low, high = self._quantifier()
        if (low, high) == (1, 1):
            return fragment
        if self._peek() in {"*", "+", "?"}:
            raise self._error("lazy, possessive and doubled quantifiers are not supported")
        resume = self._position
        start = end = self._state()
        # One way out for all that may be left away, since a chain of them would be followed to its end at each step.
        way_out = self._state()
        for count in range(max(low, 1) if high is None else high):
            # Repetition copies its atom by reading it again: fragments can't be shared.
            self._position = begin
            first, last = self._atom() if count else fragment
            self._epsilon[end].append(first)
            if count >= low:
                self._epsilon[end].append(way_out)
            if high is None and count == max(low, 1) - 1:
                self._epsilon[last].append(first)
            end = last
        self._epsilon[end].append(way_out)
        self._position = max(after, resume)
        return start, way_out

    def _quantifier(self) -> tuple[int, int | None]:
        for char, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(char):
                return bounds
        if not self._take("{"):
            return 1, 1
        closing = self._text.find("}", self._position)
        body = self._text[self._position : closing] if closing > 0 else ""
        low, comma, high = body.partition(",")
        if not low.isdecimal() or (high and not high.isdecimal()):
            raise self._error("a repetition is {m}, {m,} or {m,n}; escape a literal `{`")
        self._position = closing + 1
        least = int(low)
        most = (int(high) if high else None) if comma else least
        if most is not None and (most < least or most == 0):
            raise self._error("a repetition needs 0 <= m <= n and n >= 1")
        return least, most

    def _atom(self) -> tuple[int, int]:
        char = self._peek()
        self._position += 1
        if char == "(":
            if self._text.startswith("?:", self._position):
                self._position += 2
            elif self._peek() == "?":
                raise self._error("look-around, flags and named groups are not supported")
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise self._error(f"more than {MAX_DEPTH} groups inside one another")
            fragment = self._alternation()
            if not self._take(")"):
                raise self._error("unbalanced `(`")
            self._depth -= 1
            return fragment
        if char == "[":
            return self._one(self._bracket())
        if char == ".":
            return self._one(CharacterSet((), is_negated=True))
        if char == "\\":
            return self._one(found) if isinstance(found := self._escape(), CharacterSet) else self._literal(found)
        if char in "*+?{}])^$":
            self._position -= 1
            raise self._error(f"`{char}` can't stand here; escape it with a backslash")
        return self._literal(char)

    def _literal(self, char: str) -> tuple[int, int]:
        start = end = self._state()
        for folded in fold(char) if self._generous else char:
            first, last = self._one(CharacterSet(((folded, folded),), ignores_case=self._generous))
            self._epsilon[end].append(first)
            end = last
        return start, end

    def _escape(self) -> CharacterSet | str:
        char = self._peek()
        self._position += 1
        if char.lower() in _CLASSES and char:
            return CharacterSet(_CLASSES[char.lower()], is_negated=char.isupper())
        if not char or char.isalnum():
            raise self._error(rf"`\{char}` is not supported")
        return char

    def _bracket(self) -> CharacterSet:
        is_negated = self._take("^")
        ranges: list[tuple[str, str]] = []
        while self._peek() != "]" or not ranges:
            low = self._member()
            if isinstance(low, CharacterSet):
                if low.is_negated:
                    raise self._error("a negated class can't stand inside brackets")
                ranges += low.ranges
                continue
            high: CharacterSet | str = low
            if self._peek() == "-" and self._text[self._position + 1 : self._position + 2] not in {"]", ""}:
                self._position += 1
                high = self._member()
            if isinstance(high, CharacterSet) or high < low:
                raise self._error("a range needs two characters, the lower first")
            ranges.append((low, high))
        self._position += 1
        return CharacterSet(tuple(ranges), is_negated, self._generous)

    def _member(self) -> CharacterSet | str:
        char = self._peek()
        self._position += 1
        if not char:
            raise self._error("unbalanced `[`")
        return self._escape() if char == "\\" else char

    # -- reading -----------------------------------------------------------------------------------------------

    def _peek(self) -> str:
        return self._text[self._position : self._position + 1]

    def _take(self, wanted: str) -> bool:
        if self._peek() != wanted:
            return False
        self._position += 1
        return True

    def _error(self, what: str) -> ValueError:
        return ValueError(f"at character {self._position + 1} of the expression: {what}")
