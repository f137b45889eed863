"""Shapes of single values: texts, numbers, durations, dates.

A scalar of a document is always a text; a scalar shape parses it. An editor, on the other hand, sees `3072` as a
number and `true` as a boolean, so the JSON Schema of each shape admits both ways of writing.
"""

from __future__ import annotations

import abc
import datetime as dt
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from spoa.policy.document import Scalar
from spoa.policy.reading import INVALID, Report, Schema, Shape, quoted, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from spoa.policy.document import Node

__all__ = ["Boolean", "Choice", "Date", "Duration", "Integer", "Parsed", "ScalarShape", "Text", "Timestamp"]

T = TypeVar("T")

_ANY_SCALAR: Final[Schema] = {"type": ["string", "number", "boolean"]}
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_DURATION: Final = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_UNIT_MILLISECONDS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# What editors make of these words, by YAML 1.1 or 1.2.
_EDITOR_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("true", "on", "yes"), True),
    **dict.fromkeys(("false", "off", "no"), False),
    **dict.fromkeys(("null", "~"), None),
}


class ScalarShape(Shape):
    """A value written as one text."""

    __slots__ = ()

    code = "invalid-value"

    @abc.abstractmethod
    def parse(self, text: str) -> Any:
        """Turn the text into the value.

        Raises:
            ValueError: with a sentence that says what is wrong and what would be right.
        """

    def read(self, node: Node, report: Report, path: str) -> Any:
        """Return the parsed text; or report and return `INVALID`."""
        if not isinstance(node, Scalar) or node.is_null:
            return self.mismatch(node, report, path)
        try:
            return self.parse(node.text)
        except ValueError as error:
            report.problem(node, path, str(error), self.code)
            return INVALID

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """Describe the shape; a scalar is never described under a name of its own."""
        del definitions
        return self.described()

    @abc.abstractmethod
    def described(self) -> Schema:
        """Describe the shape as JSON Schema."""

    def unexpected(self, text: str) -> ValueError:
        """Return the error that names what would be right and what was found."""
        return ValueError(f"expected {self.expected}, found {quoted(text)}")


@dataclass(frozen=True, slots=True)
class Text(ScalarShape):
    """A text of `min` to `max` characters that matches `pattern` as a whole.

    `hint` says in words what the pattern demands.
    """

    pattern: str = ""
    hint: str = ""
    min: int = 1
    max: int = 4096

    @property
    def expected(self) -> str:
        """What would be right."""
        return self.hint or (f"a text that matches {self.pattern}" if self.pattern else "a text")

    def parse(self, text: str) -> str:
        """Return the text itself.

        Raises:
            ValueError: too short, too long, or not matching.
        """
        if len(text) < self.min:
            raise ValueError(
                f"expected {self.expected}, found an empty text" if not text else f"shorter than {self.min} characters"
            )
        if len(text) > self.max:
            raise ValueError(f"{len(text)} characters; at most {self.max} are allowed")
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise self.unexpected(text)
        return text

    def described(self) -> Schema:
        """Describe the shape; lengths and pattern bind only what an editor sees as a string."""
        pattern = {"pattern": f"^(?:{self.pattern})$"} if self.pattern else {}
        return {**_ANY_SCALAR, "minLength": self.min, "maxLength": self.max, **pattern}


@dataclass(frozen=True, slots=True)
class Integer(ScalarShape):
    """A whole number from `min` to `max`, written in decimal digits."""

    min: int = 0
    max: int = 2**63 - 1

    @property
    def expected(self) -> str:
        """What would be right."""
        if self.max == Integer().max:
            return "a whole number" if self.min == 0 else f"a whole number, {self.min} or more"
        return f"a whole number from {self.min} to {self.max}"

    def parse(self, text: str) -> int:
        """Return the number.

        Raises:
            ValueError: no whole number, or out of range.
        """
        if not _INTEGER.fullmatch(text) or not self.min <= int(text) <= self.max:
            raise self.unexpected(text)
        return int(text)

    def described(self) -> Schema:
        """Describe the shape."""
        return {
            "type": ["integer", "string"],
            "minimum": self.min,
            "maximum": self.max,
            "pattern": f"^{_INTEGER.pattern}$",
        }


@dataclass(frozen=True, slots=True)
class Boolean(ScalarShape):
    """`true` or `false`, and no other word."""

    @property
    def expected(self) -> str:
        """What would be right."""
        return "true or false"

    def parse(self, text: str) -> bool:
        """Return the truth value.

        Raises:
            ValueError: another word.
        """
        if text not in {"true", "false"}:
            raise self.unexpected(text)
        return text == "true"

    def described(self) -> Schema:
        """Describe the shape."""
        return {"enum": [True, False, "true", "false"]}


@dataclass(frozen=True, slots=True)
class Duration(ScalarShape):
    """A length of time: a whole number with `ms`, `s`, `m`, `h` or `d`, or `0`. The value is in seconds.

    `min` and `max` are in seconds. Whole seconds are an `int`, anything finer a `float`.
    """

    min: float = 0
    max: float = 100 * 366 * 86_400

    @property
    def expected(self) -> str:
        """What would be right."""
        return "a duration such as 300ms, 30s, 5m, 24h or 7d"

    def parse(self, text: str) -> float:
        """Return the seconds.

        Raises:
            ValueError: no number with a unit, or out of range.
        """
        match = _DURATION.fullmatch("0s" if text == "0" else text)
        if match is None:
            raise self.unexpected(text)
        milliseconds = int(match[1]) * _UNIT_MILLISECONDS[match[2]]
        seconds = milliseconds / 1000 if milliseconds % 1000 else milliseconds // 1000
        if not self.min <= seconds <= self.max:
            raise ValueError(f"{text} is out of range: from {_span(self.min)} to {_span(self.max)}")
        return seconds

    def described(self) -> Schema:
        """Describe the shape; a bare `0` is a number to an editor."""
        return {"type": ["string", "integer"], "pattern": f"^(?:0|{_DURATION.pattern})$", "minimum": 0, "maximum": 0}


@dataclass(frozen=True, slots=True)
class Date(ScalarShape):
    """A day, `2027-01-15`. The value is its first second in UTC, in seconds since the epoch."""

    @property
    def expected(self) -> str:
        """What would be right."""
        return "a date such as 2027-01-15"

    def parse(self, text: str) -> int:
        """Return when the day begins in UTC.

        Raises:
            ValueError: not a day of the calendar.
        """
        if not _DATE.fullmatch(text):
            raise self.unexpected(text)
        return _epoch_seconds(text, f"{text}T00:00:00+00:00")

    def described(self) -> Schema:
        """Describe the shape."""
        return {"type": "string", "pattern": f"^{_DATE.pattern}$"}


@dataclass(frozen=True, slots=True)
class Timestamp(ScalarShape):
    """An instant with its zone, `2026-12-31T00:00:00Z` (RFC 3339).

    The value is in seconds since the epoch, rounded down.
    """

    @property
    def expected(self) -> str:
        """What would be right."""
        return "a time with its zone, such as 2026-12-31T00:00:00Z or 2026-12-31T09:00:00+01:00"

    def parse(self, text: str) -> int:
        """Return the instant.

        Raises:
            ValueError: no time of the calendar, or no zone.
        """
        if not _TIMESTAMP.fullmatch(text):
            raise self.unexpected(text)
        return _epoch_seconds(text, text)

    def described(self) -> Schema:
        """Describe the shape."""
        return {"type": "string", "pattern": f"^{_TIMESTAMP.pattern}$"}


@dataclass(frozen=True, slots=True, init=False)
class Choice(ScalarShape):
    """One of several words. Given as a mapping, a word stands for its value; given as a list, for itself."""

    values: Mapping[str, Any]

    def __init__(self, words: Mapping[str, Any] | Sequence[str]) -> None:
        object.__setattr__(self, "values", dict(words) if hasattr(words, "keys") else {word: word for word in words})

    @property
    def expected(self) -> str:
        """What would be right."""
        words = list(self.values)
        return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]

    def parse(self, text: str) -> Any:
        """Return what the word stands for.

        Raises:
            ValueError: another word.
        """
        if text not in self.values:
            hint = suggestion(text, self.values)
            raise ValueError(
                f"expected {self.expected}, found {quoted(text)}" + (hint if "did you mean" in hint else "")
            )
        return self.values[text]

    def described(self) -> Schema:
        """Describe the shape; a word that an editor sees as a number or a boolean is admitted as such."""
        words: list[Any] = list(self.values)
        words += [int(word) for word in self.values if _INTEGER.fullmatch(word)]
        words += [_EDITOR_WORDS[word] for word in self.values if word in _EDITOR_WORDS]
        # By type too, since 1 and true are equal to Python and different to an editor.
        return {"enum": list({(type(word), word): word for word in words}.values())}


@dataclass(frozen=True, slots=True)
class Parsed(ScalarShape):
    """A text that a function turns into the value; its `ValueError` is the problem's sentence.

    `form` is the JSON Schema; by default any scalar.
    """

    function: Callable[[str], Any]
    expected: str = "a text"
    code: str = "invalid-value"
    form: Schema = field(default_factory=lambda: dict(_ANY_SCALAR), hash=False)

    def parse(self, text: str) -> Any:
        """Return what the function makes of the text.

        Raises:
            ValueError: whatever the function says.
        """
        return self.function(text)

    def described(self) -> Schema:
        """Describe the shape."""
        return dict(self.form)


def _span(seconds: float) -> str:
    if seconds % 1:
        return f"{round(seconds * 1000)}ms"
    unit, size = next(
        (unit, size) for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)) if seconds % size == 0
    )
    return f"{int(seconds // size)}{unit}" if seconds else "0"


def _epoch_seconds(text: str, iso: str) -> int:
    try:
        instant = dt.datetime.fromisoformat(iso)
    except ValueError as error:
        raise ValueError(f"{quoted(text)} is not in the calendar: {error}") from None
    return (instant - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(seconds=1)
