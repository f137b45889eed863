"""Rules as a table of bits, so that the cost of a decision doesn't grow with the number of rules.

Theory: every rule states one or two conjunctions. The first decides whether the rule applies: its `who`, `request` and,
on allow and deny, `when`. The second is what a `require` demands, or the `unless` of a deny. Routes state one each.
Number all conjunctions; then the answer of one *column* (path, method, source, …) to one value is a set of numbers,
held as the bits of an integer: those whose matcher for that column holds, and those that have none. The intersection of
the columns' answers is the set of conjunctions that hold::

    bits 0 … n-1        first conjunction of rule 0 … n-1
    bits n … 2n-1       second conjunction of rule 0 … n-1
    bits 2n …           routes

Each matcher is asked under the polarity of its position, so that a column's answer to UNAVAILABLE holds exactly the
conjunctions in restricting positions. What is left is five operations on integers, whatever the number of rules.

Answers are remembered by value; paths, which rarely recur, are looked up in a tree of segments instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spoa.cache import LONGEST, BoundedCache
from spoa.facts import UNAVAILABLE
from spoa.policy.conditions import COLUMNS, HeaderPattern
from spoa.policy.holding import matcher_holds, who_holds
from spoa.policy.model import Effect
from spoa.policy.path import ASTERISK, PathPattern
from spoa.policy.pivots import Pivots, is_globs, is_pivot, pattern_key, value_keys
from spoa.policy.sans import AddressPattern
from spoa.policy.segments import Segment

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping

    from spoa.policy.model import (
        Bearer,
        Conjunction,
        IdentityPattern,
        Matcher,
        Pattern,
        PolicyModel,
        RequestValues,
        Values,
        Who,
    )
    from spoa.policy.path import CanonicalPath

__all__ = ["RuleTable", "Whos", "bit_set", "conjunctions_of"]

#: Answers remembered for each column and half of its cache.
REMEMBERED: Final = 4096
#: Conjunctions looked at, and entered, between two yields.
_LOOKED_AT_AT_ONCE: Final = 512
_FILLED_AT_ONCE: Final = 32


def conjunctions_of(model: PolicyModel) -> Iterator[tuple[int, Who | None, tuple[Matcher, ...], bool]]:
    """Yield (number, who, matchers, generous) of every conjunction in the policy.

    Polarity follows the position: allow, require's conditions, unless and routes grant; the rest restricts.
    """
    count = len(model.rules)
    for number, rule in enumerate(model.rules):
        if rule.effect is Effect.REQUIRE:
            yield number, None, rule.request, True
            yield count + number, rule.who, rule.required, False
        else:
            yield number, rule.who, rule.request, rule.effect is Effect.DENY
            if rule.unless is not None:
                yield count + number, rule.unless_who, rule.unless, False
    for number, route in enumerate(model.routes):
        yield 2 * count + number, route.who, route.request, False


class RuleTable:
    """The conjunctions of a policy, by column; to be filled before it is asked.

    Attributes:
        columns: names of the columns that the policy reads.
        headers: names of the headers that it reads, lower case, sorted.
    """

    def __init__(self, model: PolicyModel) -> None:
        self._model = model
        self.columns: tuple[str, ...] = ()
        self.headers: tuple[str, ...] = ()
        self._everything = 0
        self._whos = Whos(0)
        self._bearers: dict[int, int] = {}
        self._columns: dict[str, _Column] = {}

    @property
    def attributes(self) -> frozenset[str]:
        """What the policy's `who` reads of a certificate, but for identities that no rule names."""
        return frozenset(self._whos.attributes)

    def fill(self) -> Iterator[None]:
        """Enter every conjunction; yields now and then, so that other work may go on between."""
        numbers = bytearray((2 * len(self._model.rules) + len(self._model.routes)) // 8 + 1)
        keys: set[str] = set()
        headers: set[str] = set()
        for at, (number, _, matchers, _) in enumerate(conjunctions_of(self._model)):
            numbers[number >> 3] |= 1 << (number & 7)
            for matcher in matchers:
                keys.add(matcher.key)
                headers.update(_header_names(matcher))
            if not at % _LOOKED_AT_AT_ONCE:
                yield
        self._everything = int.from_bytes(numbers, "little")
        self.columns = tuple(key for key in COLUMNS if key in keys)
        self.headers = tuple(sorted(headers))
        self._whos = Whos(self._everything)
        self._columns = {key: _COLUMN_KINDS.get(key, _Column)(self._everything) for key in self.columns}
        for at, (number, who, matchers, generous) in enumerate(conjunctions_of(self._model)):
            bit = 1 << number
            if who is not None:
                self._whos.add(who, bit, generous=generous)
            for matcher in matchers:
                self._columns[matcher.key].add(matcher, bit, generous=generous)
            if not at % _FILLED_AT_ONCE:
                yield

    def pieces(self) -> Iterator[object]:
        """Yield what it is made of; whoever holds all of it can let go of a large table little by little."""
        yield from self._whos.pieces()
        yield from list(self._bearers)
        for column in self._columns.values():
            yield from column.pieces()

    def who(self, bearer: Bearer) -> int:
        """Return the conjunctions whose `who` holds for *bearer*; to be asked once for a certificate."""
        found = self._whos.answer(bearer)
        if len(self._bearers) >= REMEMBERED:
            self._bearers.clear()
        # One number for all who are alike: where there are many rules, it has kilobytes.
        return self._bearers.setdefault(found, found)

    def answer(self, key: str, values: Values) -> int:
        """Return the conjunctions that hold as far as the column *key* goes; all of them where no rule reads it."""
        column = self._columns.get(key)
        return self._everything if column is None else column.answer(values)

    def request(self, request: RequestValues) -> int:
        """Return the conjunctions whose `request` and `when` matchers hold."""
        found = self._everything
        for key, column in self._columns.items():
            found &= column.answer(request.values.get(key, UNAVAILABLE))
        return found

    def request_but_path(self, request: RequestValues) -> int:
        """Return the conjunctions that hold as far as all columns but the path's go."""
        found = self._everything
        for key, column in self._columns.items():
            if key != "path":
                found &= column.answer(request.values.get(key, UNAVAILABLE))
        return found

    def path(self, path: CanonicalPath) -> int:
        """Return the conjunctions that hold as far as the path goes."""
        column = self._columns.get("path")
        return self._everything if column is None else column.answer((path,))

    def answer_at_best(self, key: str) -> int:
        """Return the conjunctions that would hold if *key*, unavailable, were what the client would like it to be.

        Strict ones hold then, and generous ones don't.
        """
        column = self._columns.get(key)
        return self._everything if column is None else column.answer_at_best()

    def who_at_best(self, bearer: Bearer) -> int:
        """Return the conjunctions whose `who` would hold if the unavailable were as the client would like it to be."""
        return self._whos.answer_at_best(bearer)


def bit_set(numbers: Iterable[int], count: int) -> int:
    """Return the integer with the bits *numbers*, all below *count*, set; linear, unlike setting them one by one."""
    bits = bytearray(count // 8 + 1)
    for number in numbers:
        bits[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(bits, "little")


def _header_names(matcher: Matcher) -> Iterable[str]:
    if matcher.key != "header":
        return ()
    return [one.attribute for pattern in matcher.patterns for one in getattr(pattern, "matchers", ())]


class Whos:
    """The answer of the bearer: each different `who` that could hold is asked once under each polarity that uses it.

    Args:
        everything: the bits of all that will be entered.

    Attributes:
        attributes: that it reads of a certificate.
    """

    def __init__(self, everything: int) -> None:
        self.attributes: set[str] = set()
        self._free = everything
        self._groups: dict[Hashable, int] = {}
        self._whos: list[tuple[Who, bool]] = []
        self._bits: list[int] = []
        self._asked: list[int] = []
        self._pivots: Pivots[int] = Pivots()

    def add(self, who: Who, bit: int, *, generous: bool) -> None:
        """Enter a `who` under a bit; whatever has none holds for everybody."""
        self._free &= ~bit
        key = (tuple(map(_identity_key, who.identities)), who.any_certificate, who.anonymous, generous)
        number = self._groups.get(key)
        if number is None:
            number = self._groups[key] = len(self._whos)
            self._whos.append((who, generous))
            self._bits.append(0)
            self._place(number, who, generous=generous)
        self._bits[number] |= bit

    def _place(self, number: int, who: Who, *, generous: bool) -> None:
        """Enter a `who` under a pivot of each of its alternatives, or where all are asked if one has none."""
        alternatives = [conjunction for identity in who.identities for conjunction in identity.alternatives]
        self.attributes.update([matcher.attribute for conjunction in alternatives for matcher in conjunction])
        pivots = [_pivot(conjunction) for conjunction in alternatives]
        if who.any_certificate or who.anonymous or None in pivots:
            self._asked.append(number)
            return
        for pivot in pivots:
            assert pivot is not None
            self._pivots.add(pivot, number, generous=generous)

    def answer(self, bearer: Bearer) -> int:
        """Return the bits of whatever holds for *bearer*."""
        found = self._free
        numbers = set(self._asked)
        for attribute in self._pivots.attributes:
            numbers.update(self._pivots.candidates(attribute, bearer.values.get(attribute, UNAVAILABLE)))
        for number in numbers:
            who, generous = self._whos[number]
            if who_holds(who, bearer, generous=generous):
                found |= self._bits[number]
        return found

    def pieces(self) -> Iterator[object]:
        """Yield what it is made of."""
        yield from self._groups
        yield from self._whos
        yield from self._bits
        yield from self._pivots.pieces()

    def answer_at_best(self, bearer: Bearer) -> int:
        """Return the bits of whatever would hold if the unavailable were as the client would like it to be."""
        found = self._free
        numbers = set(self._asked)
        for attribute in self._pivots.attributes:
            numbers.update(self._pivots.candidates_at_best(attribute, bearer.values.get(attribute, UNAVAILABLE)))
        for number in numbers:
            who, generous = self._whos[number]
            if _could_be(who, bearer, generous=generous):
                found |= self._bits[number]
        return found


def _could_be(who: Who, bearer: Bearer, *, generous: bool) -> bool:
    """Tell what the client would like to hear: that it may be meant by what grants, and not by what takes away."""
    if bearer.is_anonymous or who.any_certificate:
        return who_holds(who, bearer, generous=generous)
    return any(
        all(_could_hold(one, bearer.values.get(one.attribute, UNAVAILABLE), generous=generous) for one in conjunction)
        for identity in who.identities
        for conjunction in identity.alternatives
    )


def _could_hold(matcher: Matcher, values: Values, *, generous: bool) -> bool:
    if values is UNAVAILABLE:
        return not generous
    if matcher.attribute == "lists" and isinstance(values, tuple) and isinstance(values[0], dict):
        values = ({name: not generous if found is UNAVAILABLE else found for name, found in values[0].items()},)
    return matcher_holds(matcher, values, generous=generous)


def _pivot(conjunction: Conjunction) -> Matcher | None:
    """Return the matcher that few certificates meet: an issuer is met by many, so it comes last, after globs."""
    pivots = [matcher for matcher in conjunction if is_pivot(matcher) or is_globs(matcher)]
    return min(pivots, key=lambda one: (one.attribute == "issuer", not is_pivot(one)), default=None)


class _Column:
    """The answers of one attribute of the request."""

    def __init__(self, everything: int) -> None:
        self._everything = everything
        self._free = everything
        self._groups: dict[Hashable, int] = {}
        self._matchers: list[tuple[Matcher, bool]] = []
        self._bits: list[int] = []
        self._asked: list[int] = []
        self._pivots: Pivots[int] = Pivots()
        self._answers: BoundedCache[Hashable, int] = BoundedCache(REMEMBERED)

    def add(self, matcher: Matcher, bit: int, *, generous: bool) -> None:
        self._free &= ~bit
        key = (tuple(map(_pattern_key, matcher.patterns)), matcher.is_universal, generous)
        number = self._groups.get(key)
        if number is None:
            number = self._groups[key] = len(self._matchers)
            self._matchers.append((matcher, generous))
            self._bits.append(0)
            if is_pivot(matcher):
                self._pivots.add(matcher, number, generous=generous)
            else:
                self._asked.append(number)
        self._bits[number] |= bit

    def answer(self, values: Values) -> int:
        key = _hashable(values)
        found = self._answers.get(key)
        if found is None:
            found = self._ask(values, self._free)
            if _length(values) <= LONGEST:
                self._answers.put(key, found)
        return found

    def pieces(self) -> Iterator[object]:
        yield from self._groups
        yield from self._matchers
        yield from self._bits
        yield from self._pivots.pieces()
        yield from list(self._answers.younger)
        yield from list(self._answers.older)
        yield from self._answers.values()

    def answer_at_best(self) -> int:
        """Return the conjunctions that hold if the unavailable is to the client's liking: all but the generous ones."""
        return self._everything & ~(self.answer(UNAVAILABLE) & ~self._free)

    def _ask(self, values: Values, found: int) -> int:
        """Return *found* and the conjunctions whose matcher holds for *values*."""
        numbers = set(self._asked)
        for attribute in self._pivots.attributes:
            numbers.update(self._pivots.candidates(attribute, values))
        for number in numbers:
            matcher, generous = self._matchers[number]
            if found & self._bits[number] != self._bits[number] and matcher_holds(matcher, values, generous=generous):
                found |= self._bits[number]
        return found


def _pattern_key(pattern: Pattern) -> Hashable:
    """Return what equal patterns have in common; texts of several, joined, could be those of others."""
    if isinstance(pattern, HeaderPattern):
        return tuple((one.attribute, tuple(map(_pattern_key, one.patterns))) for one in pattern.matchers)
    return type(pattern), str(pattern)


def _identity_key(identity: IdentityPattern) -> Hashable:
    """Return what equal identities have in common: rules often write the same one in place."""
    return tuple(
        tuple((one.attribute, one.is_universal, tuple(map(_pattern_key, one.patterns))) for one in conjunction)
        for conjunction in identity.alternatives
    )


def _hashable(values: Values) -> Hashable:
    """Return what the answer to *values* is remembered by; headers are a dictionary."""
    if isinstance(values, tuple) and isinstance(values[0], dict):
        return tuple(sorted((name, value) for name, value in values[0].items() if isinstance(value, str))), tuple(
            sorted((name, value.value) for name, value in values[0].items() if not isinstance(value, str))
        )
    return values


def _length(values: Values) -> int:
    """Return how many characters a client made *values* long."""
    if not isinstance(values, tuple):
        return 0
    texts = values[0].values() if isinstance(values[0], dict) else values
    return sum(len(text) for text in texts if isinstance(text, str))


class _AddressColumn(_Column):
    """The answers of an address: one look-up for each length of prefix that the policy names, whoever asks."""

    def __init__(self, everything: int) -> None:
        super().__init__(everything)
        self._networks: dict[Hashable, int] = {}
        self._lengths: set[int] = set()
        self._restricting = 0

    def add(self, matcher: Matcher, bit: int, *, generous: bool) -> None:
        self._free &= ~bit
        if generous:
            self._restricting |= bit
        for pattern in matcher.patterns:
            assert isinstance(pattern, AddressPattern), "an address is compared with nothing else"
            key = pattern_key(pattern, generous=generous)
            self._networks[key] = self._networks.get(key, 0) | bit
            self._lengths.add(pattern.bits)

    def pieces(self) -> Iterator[object]:
        yield from super().pieces()
        yield from self._networks.items()

    def answer(self, values: Values) -> int:
        if not isinstance(values, tuple):
            return self._free | (self._restricting if values is UNAVAILABLE else 0)
        found = self._free
        for key in value_keys(values[0], generous=False, kinds={"network": self._lengths}):
            found |= self._networks.get(key, 0)
        return found


class _PathColumn(_Column):
    """The answers of the path: trees of segments for patterns, one by one for regular expressions."""

    def __init__(self, everything: int) -> None:
        super().__init__(everything)
        self._strict = Segment()
        self._generous = Segment()
        self._asterisk = 0
        self._restricting = 0

    def add(self, matcher: Matcher, bit: int, *, generous: bool) -> None:
        self._free &= ~bit
        if generous:
            self._restricting |= bit
        for pattern in matcher.patterns:
            if not isinstance(pattern, PathPattern):
                super().add(type(matcher)(matcher.key, matcher.attribute, (pattern,)), bit, generous=generous)
            elif pattern.is_asterisk:
                self._asterisk |= bit
            else:
                # What matches strictly also matches generously, though folding may have lost it; see `Matcher.holds`.
                self._strict.add(pattern.segments(generous=False), bit, below=pattern.covers_below)
                if generous:
                    self._generous.add(pattern.segments(generous=True), bit, below=pattern.covers_below)

    def pieces(self) -> Iterator[object]:
        yield from super().pieces()
        yield from self._strict.places()
        yield from self._generous.places()

    def answer(self, values: Values) -> int:
        if not isinstance(values, tuple):
            return self._free | (self._restricting if values is UNAVAILABLE else 0)
        path: CanonicalPath = values[0]  # type: ignore[assignment] # the path column holds nothing else
        if path is ASTERISK:
            found = self._free | self._asterisk
        else:
            found = self._free | self._strict.find(path.strict) | self._generous.find(path.generous)
        return self._ask(values, found) if self._matchers else found


#: Columns whose answers are found in another way than by asking.
_COLUMN_KINDS: Final[Mapping[str, type[_Column]]] = {"path": _PathColumn, "source": _AddressColumn}
