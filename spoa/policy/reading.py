"""What happens while a document is read: problems are gathered, values keep their places.

A shape (see `shapes` and `scalars`) reads a node into a value and never raises: what is wrong goes into a `Report`,
and reading continues, so that a writer sees everything at once. A mapping becomes a `Reading`, which knows where
each of its values stands; what a loader finds out later (an identity that does not exist) is reported there too.
"""

from __future__ import annotations

import abc
import difflib
import enum
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from spoa.exceptions import PolicyError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spoa.policy.document import Mapping, Node, Scalar

__all__ = [
    "INVALID",
    "Invalid",
    "Reading",
    "Report",
    "Schema",
    "Shape",
    "child_path",
    "quoted",
    "suggestion",
    "visible",
]

Schema: TypeAlias = dict[str, Any]

_QUOTED_LENGTH: Final = 60
_SUGGESTED_LENGTH: Final = 64
_LISTED_WORDS: Final = 12
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


class _Invalid(enum.Enum):
    INVALID = "invalid"

    def __repr__(self) -> str:
        return self.name


INVALID: Final = _Invalid.INVALID
"""What a shape returns for a node that has no value; the report says why."""
Invalid: TypeAlias = Literal[_Invalid.INVALID]


def quoted(text: str) -> str:
    """Write a text as a problem shows it: in quotation marks, control characters escaped, at most 60 characters."""
    if len(text) > _QUOTED_LENGTH:
        text = text[: _QUOTED_LENGTH - 1] + "…"
    return visible(json.dumps(text, ensure_ascii=False))


def visible(text: str) -> str:
    r"""Write what can't be seen as `\u` escapes: controls, other line breaks, and what reorders text on a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def suggestion(word: str, known: Iterable[str]) -> str:
    """End a sentence about an unknown word: `; did you mean "effect"?`, or which words are known; may be empty."""
    words = list(known)
    if len(word) <= _SUGGESTED_LENGTH:
        # Folded first: a wrong case or hyphen is the likeliest slip, and difflib rates it like any other letter.
        folded = {_folded(candidate): candidate for candidate in reversed(words)}
        close = difflib.get_close_matches(_folded(word), folded, n=1)
        if close:
            return f"; did you mean {quoted(folded[close[0]])}?"
    if not words:
        return ""
    more = f" and {len(words) - _LISTED_WORDS} more" if len(words) > _LISTED_WORDS else ""
    return "; known here: " + ", ".join(quoted(candidate) for candidate in words[:_LISTED_WORDS]) + more


def _folded(word: str) -> str:
    return word.casefold().replace("-", "_")


def child_path(path: str, key: str | int) -> str:
    """Extend the way to a value by a key or an index: `rules[3].request.path`; unusual keys stand as `["a.b"]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{quoted(key)}]"
    return f"{path}.{key}" if path else key


class Report:
    """Gathers the problems of any number of documents."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._errors = 0

    def problem(self, node: Node, path: str, message: str, code: str, *, is_warning: bool = False) -> None:
        """Add a problem at a node; `path` is the way to it inside its document."""
        self.add(Problem(node.file, node.line, node.column, path, message, code, is_warning))

    def file_problem(self, file: str, message: str, code: str, *, is_warning: bool = False) -> None:
        """Add a problem of a file as a whole."""
        self.add(Problem(file, 0, 0, "", message, code, is_warning))

    def add(self, *problems: Problem) -> None:
        """Add problems found elsewhere."""
        self._problems.extend(problems)
        self._errors += sum(not problem.is_warning for problem in problems)

    @property
    def errors(self) -> int:
        """How many problems are no mere warnings."""
        return self._errors

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, each once, sorted by file, line and column."""
        return tuple(sorted(set(self._problems)))

    def refuse_errors(self) -> None:
        """Refuse what was read where anything is wrong with it.

        Raises:
            PolicyError: with all problems that are no mere warnings.
        """
        if self._errors:
            raise PolicyError(tuple(problem for problem in self.problems if not problem.is_warning))


@dataclass(frozen=True, slots=True)
class Reading:
    """A mapping as it was read.

    Attributes:
        node: where the mapping stands.
        path: the way to it.
        value: key → value; only keys that were given and could be read, and the defaults of those not given.
        keys: key → the key's own node, of all keys that were given and are known.
        marks: key → the value's node, of the same keys.
        is_complete: nothing was wrong with the mapping or anything inside it.
    """

    node: Mapping
    path: str
    value: dict[str, Any]
    keys: dict[str, Scalar]
    marks: dict[str, Node]
    is_complete: bool

    def at(self, key: str) -> Node:
        """Return the node of a value, or of the whole mapping when the key was not given."""
        return self.marks.get(key, self.node)

    def path_of(self, key: str) -> str:
        """Return the way to a value."""
        return child_path(self.path, key)


class Shape(abc.ABC):
    """What a value must look like: how a node becomes it, and how an editor is told."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def expected(self) -> str:
        """What would be right, to stand behind `expected`: `a list`, `true or false`."""

    @abc.abstractmethod
    def read(self, node: Node, report: Report, path: str) -> Any:
        """Return the node's value; or report what is wrong with it and return `INVALID`. Never raises."""

    @abc.abstractmethod
    def schema(self, definitions: dict[str, Schema]) -> Schema:
        """Describe the shape as JSON Schema (draft 2020-12); shapes with a name go into `definitions`."""

    def mismatch(self, node: Node, report: Report, path: str) -> Invalid:
        """Report a node of a kind that this shape can't read."""
        report.problem(node, path, f"expected {self.expected}, found {node.kind}", "wrong-type")
        return INVALID
