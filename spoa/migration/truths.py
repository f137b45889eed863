"""Tests of samples that are true or false, or a number: which of them ask what they look like.

HAProxy ignores the patterns of a boolean, takes `-m found` for a sample that is there whatever it says, and a converter
makes another sample of it (configuration manual, section 7.1). What is not certain is refused, and so restricts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from spoa.haproxy_config.acl import Comparison

__all__ = ["asks_for_true", "check_boolean", "check_integer", "includes_zero"]

#: Patterns that say of a boolean what HAProxy asks without them.
_TRUE: Final = frozenset({"1", "true", "on", "yes"})
_RANGE: Final = re.compile(r"(-?[0-9]{1,18})(?::(-?[0-9]{1,18}))?")
_OPERATORS: Final[Mapping[str, Callable[[int], bool]]] = {
    "eq": lambda number: number == 0,
    "ge": lambda number: number <= 0,
    "gt": lambda number: number < 0,
    "le": lambda number: number >= 0,
    "lt": lambda number: number > 0,
}


def check_boolean(test: Comparison) -> None:
    """Pass a test that holds where its sample is true.

    Raises:
        ValueError: it asks something else, or looks as if it did.
    """
    _check(test, "bool", "a boolean")
    ignored = [*(text for text in test.patterns if text.lower() not in _TRUE), *(f"-f {file}" for file in test.files)]
    if ignored:
        raise ValueError(f"HAProxy ignores the pattern {ignored[0]} of a boolean, and asks whether it is true")


def asks_for_true(test: Comparison) -> bool:
    """Return whether a test of a boolean holds where it is true, or, as `-m int 0` does, where it is false.

    Raises:
        ValueError: it asks something else, or looks as if it did.
    """
    if test.match == "int" and test.patterns in {("0",), ("1",)} and not (test.converters or test.files):
        return test.patterns == ("1",)
    check_boolean(test)
    return True


def check_integer(test: Comparison) -> None:
    """Pass a test that compares its sample with numbers that stand in it.

    Raises:
        ValueError: it asks something else.
    """
    _check(test, "int", "a number")
    if test.files:
        raise ValueError(f"numbers of the file {test.files[0]}")


def _check(test: Comparison, match: str, what: str) -> None:
    if test.converters:
        raise ValueError(f"the converter {test.converters[0][0]}")
    if test.match != match:
        raise ValueError(f"`-m {test.match}` of {what}")


def includes_zero(words: Iterable[str]) -> bool:
    """Tell whether conditions on an integer hold for 0: numbers, ranges, and words that compare.

    Raises:
        ValueError: one is none of these, or a word compares with nothing or with a range.
    """
    operator, is_open, holds = "eq", False, False
    for word in (one for text in words for one in text.split()):
        if word in _OPERATORS:
            operator, is_open = word, True
            continue
        found = _RANGE.fullmatch(word)
        if found is None or (found[2] and operator != "eq"):
            raise ValueError(f"{word} is no number that HAProxy compares with")
        low, is_open = int(found[1]), False
        holds = holds or (low <= 0 <= int(found[2]) if found[2] else _OPERATORS[operator](low))
    if is_open:
        raise ValueError(f"{operator} without a number")
    return holds
