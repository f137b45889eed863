"""Whether the patterns of one matcher match nothing that those of another don't, and whether both can match one value.

Answers are certain one way only: `within` and `apart` say yes where it is so for all values, and no where it isn't or
can't be told. Either reading counts: what matches strictly also matches generously (see `Matcher.holds`).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from spoa.lint.languages import Language, UndecidedError, language_of, text_within
from spoa.policy.conditions import (
    READ_METHODS,
    WRITE_METHODS,
    AtLeast,
    Exact,
    HeaderPattern,
    InList,
    MethodPattern,
    PathRegex,
)
from spoa.policy.sans import AddressPattern
from spoa.policy.schedule import TimeWindow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spoa.policy.model import Matcher, Pattern

__all__ = ["apart", "matcher_apart", "matcher_within", "within"]

_DAY: Final = 24 * 60
_WEEK: Final = (1 << (7 * _DAY)) - 1
#: A method that no policy names.
_STRANGE_METHOD: Final = "X-STRANGER"


def matcher_within(
    small: Matcher,
    big: Matcher,
    *,
    small_generous: bool,
    big_generous: bool,
    is_single: bool = True,
    domain: tuple[Language, ...] = (),
) -> bool:
    """Tell whether *big* holds wherever *small* does.

    Args:
        small: the one that may hold for less.
        big: of the same attribute.
        small_generous: the polarity of the first one's position.
        big_generous: that of the other.
        is_single: the attribute has no more than one value.
        domain: texts that the attribute can have; all of them unless given.
    """
    if small_generous and not big_generous:
        return False  # the unavailable meets only one of them
    if big.is_universal and not (small.is_universal or is_single):
        return False
    return within(small.patterns, big.patterns, small_generous=small_generous, big_generous=big_generous, domain=domain)


def within(
    small: Sequence[Pattern],
    big: Sequence[Pattern],
    *,
    small_generous: bool,
    big_generous: bool,
    domain: tuple[Language, ...] = (),
) -> bool:
    """Tell whether each value that a pattern of *small* matches is matched by one of *big*."""
    return all(
        _is_within(one, tuple(big), small_generous=small_generous, big_generous=big_generous, domain=domain)
        for one in small
    )


def matcher_apart(one: Matcher, other: Matcher, *, generous: tuple[bool, bool], is_single: bool = True) -> bool:
    """Tell whether no certificate or request can meet both matchers, of the same attribute.

    Args:
        one: a matcher.
        other: another.
        generous: the polarity of their positions.
        is_single: the attribute has no more than one value; of several, each matcher may mean another.
    """
    if not (is_single or one.is_universal or other.is_universal):
        return False
    return apart(one.patterns, other.patterns, generous=generous)


def apart(some: Iterable[Pattern], others: Sequence[Pattern], *, generous: tuple[bool, bool]) -> bool:
    """Tell whether no value matches both one of *some* and one of *others*."""
    return all(_are_apart(one, other, generous) for one in some for other in others)


@functools.lru_cache(maxsize=1 << 16)
def _is_within(
    one: Pattern, big: tuple[Pattern, ...], *, small_generous: bool, big_generous: bool, domain: tuple[Language, ...]
) -> bool:
    match one:
        case MethodPattern():
            return all(
                any(other.matches(value, generous=big_generous) for other in big)
                for value in _methods(one, generous=small_generous)
            )
        case Exact():
            return any(isinstance(other, Exact) and other.value == one.value for other in big)
        case AtLeast():
            return any(isinstance(other, AtLeast) and other.least <= one.least for other in big)
        case InList():
            return any(isinstance(other, InList) and other.name == one.name for other in big)
        case AddressPattern():
            return _is_network_within(one, big)
        case TimeWindow():
            own = [_minutes(other) for other in big if isinstance(other, TimeWindow) and _is_comparable(one, other)]
            return not _minutes(one) & ~functools.reduce(int.__or__, own, 0)
        case HeaderPattern():
            return any(_is_header_within(one, other, small_generous, big_generous) for other in big)
    readings = (True,) if small_generous else (False, True) if big_generous else (False,)
    return any(_is_language_within(one, big, domain, generous=generous) for generous in readings)


def _is_language_within(
    one: Pattern, big: tuple[Pattern, ...], domain: tuple[Language, ...], *, generous: bool
) -> bool:
    own = language_of(one, generous=generous)
    others = [found for other in big if (found := language_of(other, generous=generous)) is not None]
    if own is None:
        return False
    others = [other for other in others if own.may_meet(other)]
    if generous or not any(isinstance(pattern, PathRegex) for pattern in (one, *big)):
        domain = ()  # what patterns without expressions match is canonical
    if not others:
        return False
    try:
        example = _example(own, domain)
        if example is not None and not any(other.has(example) for other in others):
            return False  # most patterns have nothing to do with one another
        return text_within((own, *domain), others) is None
    except UndecidedError:
        return False


@functools.lru_cache(maxsize=1 << 14)
def _example(own: Language, domain: tuple[Language, ...]) -> str | None:
    """Return a shortest text of a language, which is looked for once."""
    return text_within((own, *domain))


def _is_network_within(one: AddressPattern, big: Iterable[Pattern]) -> bool:
    """Tell whether networks cover one together."""
    first, last = _span(one)
    spans = sorted(_span(other) for other in big if isinstance(other, AddressPattern) and other.width == one.width)
    for begin, end in spans:
        if begin > first:
            break
        first = max(first, end + 1)
    return first > last


def _span(network: AddressPattern) -> tuple[int, int]:
    host_bits = network.width * 8 - network.bits
    first = network.network << host_bits
    return first, first + (1 << host_bits) - 1


def _is_comparable(one: TimeWindow, other: TimeWindow) -> bool:
    return one.zone.key == other.zone.key or _minutes(other) == _WEEK


@functools.lru_cache(maxsize=4096)
def _minutes(window: TimeWindow) -> int:
    """Return the minutes of the week, by its zone's clock, as bits."""
    begin, end = window.hours
    length = end - begin if begin < end else end - begin + _DAY
    found = 0
    for day in window.days:
        found |= ((1 << length) - 1) << (day * _DAY + begin)
    return (found | found >> (7 * _DAY)) & _WEEK


def _is_header_within(one: HeaderPattern, other: Pattern, small_generous: bool, big_generous: bool) -> bool:
    return isinstance(other, HeaderPattern) and all(
        any(
            matcher_within(own, wanted, small_generous=small_generous, big_generous=big_generous)
            for own in one.matchers
            if own.attribute == wanted.attribute
        )
        for wanted in other.matchers
    )


def _methods(pattern: MethodPattern, *, generous: bool) -> Iterable[str]:
    """Return methods that stand for all that the pattern matches."""
    if pattern.source == "read":
        return {*READ_METHODS, *(method.lower() for method in READ_METHODS)} if generous else READ_METHODS
    if pattern.source == "write":
        # Generously, all that is not exactly one of the three.
        return (
            {*WRITE_METHODS, *(method.lower() for method in READ_METHODS), _STRANGE_METHOD}
            if generous
            else WRITE_METHODS
        )
    return {pattern.source.upper(), pattern.source.lower()} if generous else {pattern.source}


@functools.lru_cache(maxsize=1 << 16)
def _are_apart(one: Pattern, other: Pattern, generous: tuple[bool, bool]) -> bool:
    match one, other:
        case MethodPattern(), MethodPattern():
            return not any(
                one.matches(value, generous=generous[0]) and other.matches(value, generous=generous[1])
                for value in {*_methods(one, generous=generous[0]), *_methods(other, generous=generous[1])}
            )
        case Exact(), Exact():
            return one.value != other.value
        case AddressPattern(), AddressPattern():
            (first, last), (begin, end) = _span(one), _span(other)
            return one.width != other.width or last < begin or end < first
        case TimeWindow(), TimeWindow():
            return one.zone.key == other.zone.key and not _minutes(one) & _minutes(other)
        case HeaderPattern(), HeaderPattern():
            return any(
                matcher_apart(own, wanted, generous=generous)
                for own in one.matchers
                for wanted in other.matchers
                if own.attribute == wanted.attribute
            )
    return all(_is_language_apart(one, other, generous=reading) for reading in {False, any(generous)})


def _is_language_apart(one: Pattern, other: Pattern, *, generous: bool) -> bool:
    own, wanted = language_of(one, generous=generous), language_of(other, generous=generous)
    if own is None or wanted is None:
        return False
    if not own.may_meet(wanted):
        return True
    try:
        return text_within((own, wanted)) is None
    except UndecidedError:
        return False
