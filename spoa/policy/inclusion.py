"""What one pattern of a request's attribute tells of another: that it holds wherever that does, or nowhere.

Both answers are proofs. Where nothing can be proved, neither is given: for globs that overlap in part, and for regular
expressions beside anything but a single value.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from spoa.policy.conditions import Exact, PathRegex
from spoa.policy.hosts import HostPattern
from spoa.policy.path import ASTERISK, CanonicalPath, PathPattern, canonical_path
from spoa.policy.sans import AddressPattern
from spoa.policy.text import glob_matches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spoa.policy.model import Matcher, Pattern

__all__ = ["Relation", "path_relation", "relation"]

#: Patterns of which the text says all: two with the same text match the same.
_SAYS_ALL = (Exact, HostPattern, AddressPattern, PathPattern, PathRegex)


class Relation(enum.Enum):
    """What is known of a matcher where another one holds strictly."""

    IMPLIED = "holds as well"
    EXCLUDED = "doesn't hold"
    OPEN = "may hold or not"


def relation(given: Matcher, asked: Matcher, *, generous: bool) -> Relation:
    """Return what is known of *asked* under a polarity for every value that *given* matches strictly."""
    if given.is_universal or asked.is_universal:
        return Relation.OPEN
    return _all([_any(pattern, asked.patterns, generous=generous) for pattern in given.patterns])


def path_relation(given: PathPattern | PathRegex, asked: Iterable[Pattern], *, generous: bool) -> Relation:
    """Return what is known of several path patterns, any of which suffices, wherever *given* matches strictly."""
    return _any(given, asked, generous=generous)


def _all(found: list[Relation]) -> Relation:
    """Return what holds of all values when this is what holds of their parts."""
    return found[0] if len(set(found)) == 1 else Relation.OPEN


def _any(given: Pattern, asked: Iterable[Pattern], *, generous: bool) -> Relation:
    found = {_one(given, pattern, generous=generous) for pattern in asked}
    if Relation.IMPLIED in found:
        return Relation.IMPLIED
    return Relation.EXCLUDED if found == {Relation.EXCLUDED} else Relation.OPEN


def _one(given: Pattern, asked: Pattern, *, generous: bool) -> Relation:
    if isinstance(given, _SAYS_ALL) and type(given) is type(asked) and str(given) == str(asked):
        return Relation.IMPLIED
    if isinstance(given, PathPattern | PathRegex):
        return _paths(given, asked, generous=generous)
    if isinstance(given, AddressPattern) and isinstance(asked, AddressPattern):
        return _networks(given, asked)
    value = _only_value(given)
    if value is None:
        return Relation.OPEN
    return Relation.IMPLIED if _meets(asked, value, generous=generous) else Relation.EXCLUDED


def _only_value(pattern: Pattern) -> object | None:
    """Return the one value that a pattern matches strictly; None where there are several, or nobody knows."""
    if isinstance(pattern, Exact):
        return pattern.value
    return pattern.name if isinstance(pattern, HostPattern) and not pattern.suffix else None


def _meets(pattern: Pattern, value: object, *, generous: bool) -> bool:
    return pattern.matches(value, generous=False) or (generous and pattern.matches(value, generous=True))


def _networks(given: AddressPattern, asked: AddressPattern) -> Relation:
    if given.width != asked.width:
        return Relation.EXCLUDED
    bits = min(given.bits, asked.bits)
    if given.network >> (given.bits - bits) != asked.network >> (asked.bits - bits):
        return Relation.EXCLUDED
    return Relation.IMPLIED if given.bits >= asked.bits else Relation.OPEN


# -- paths ------------------------------------------------------------------------------------------------------


def _paths(given: PathPattern | PathRegex, asked: Pattern, *, generous: bool) -> Relation:
    path = _only_path(given)
    if path is not None:
        return Relation.IMPLIED if _meets(asked, path, generous=generous) else Relation.EXCLUDED
    matches_asterisk = given.matches(ASTERISK, generous=False)
    if not isinstance(asked, PathPattern):
        return Relation.OPEN
    if asked.is_asterisk:
        return Relation.OPEN if matches_asterisk else Relation.EXCLUDED
    if not asked.segments(generous=False) and asked.covers_below and not matches_asterisk:
        return Relation.IMPLIED
    if not isinstance(given, PathPattern):
        return Relation.OPEN
    if _covers(given, asked) or (generous and _covers_folded(given, asked)):
        return Relation.IMPLIED
    if _is_apart(given, asked, generous=False) and (not generous or _is_apart(given, asked, generous=True)):
        return Relation.EXCLUDED
    return Relation.OPEN


def _only_path(pattern: PathPattern | PathRegex) -> CanonicalPath | None:
    if not isinstance(pattern, PathPattern):
        return None
    if pattern.is_asterisk:
        return ASTERISK
    is_literal = not pattern.covers_below and all(len(pieces) == 1 for pieces in pattern.segments(generous=False))
    return canonical_path(_unescaped(pattern.source), parameters=True) if is_literal else None


def _unescaped(source: str) -> str:
    return source.replace("\\", "")


def _covers(given: PathPattern, asked: PathPattern) -> bool:
    """Tell whether each path of *given* surely matches *asked* strictly."""
    ours, theirs = given.segments(generous=False), asked.segments(generous=False)
    fits = len(ours) >= len(theirs) if asked.covers_below else len(ours) == len(theirs) and not given.covers_below
    return fits and all(map(_covers_segment, ours, theirs))


def _covers_segment(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    if len(ours) == 1:
        return glob_matches(theirs, ours[0])
    return theirs in {ours, ("", "")}


def _covers_folded(given: PathPattern, asked: PathPattern) -> bool:
    """Tell whether each path of *given* surely matches *asked* generously: below literal segments that fold alike."""
    theirs = asked.segments(generous=True)
    ours = given.segments(generous=False)[: len(theirs)]
    if not asked.covers_below or len(ours) < len(theirs) or any(len(pieces) != 1 for pieces in ours):
        return False
    folded = given.segments(generous=True)[: len(theirs)]
    return len(folded) == len(theirs) and all(
        glob_matches(pieces, literal[0]) for pieces, literal in zip(theirs, folded, strict=True)
    )


def _is_apart(given: PathPattern, asked: PathPattern, *, generous: bool) -> bool:
    """Tell whether surely no path of *given* matches *asked*, in this form of segments."""
    ours, theirs = given.segments(generous=generous), asked.segments(generous=generous)
    if not given.covers_below and not asked.covers_below and len(ours) != len(theirs):
        return True
    if given.covers_below and not asked.covers_below and len(theirs) < len(ours):
        return True
    if asked.covers_below and not given.covers_below and len(ours) < len(theirs):
        return True
    return any(map(_is_apart_segment, ours, theirs))


def _is_apart_segment(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Tell whether two segments have no value in common; of a glob of ours only its first letters are looked at.

    What folding makes of the letters that a star stands for may join those beside it, but for ASCII at the start.
    """
    if len(ours) == 1:
        return not glob_matches(theirs, ours[0])
    if len(theirs) == 1:
        start, literal = ours[0], theirs[0]
        return literal.isascii() and start.isascii() and ";" not in start and not literal.startswith(start)
    return False
