"""HAProxy's configuration read into sections and lines, with conditions decided and variables in place.

What is read is what one HAProxy would: of one version, in one environment. `spoa.haproxy_config.proxies` knows what the
lines mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from spoa.haproxy_config.words import split_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from spoa.haproxy_config.words import Word

__all__ = ["Configuration", "Line", "Section", "Unreadable", "number_of", "read_configuration", "read_lines"]

#: First words of a line that begins a section.
SECTIONS: Final = frozenset(
    (
        *("global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "mailers", "cache"),
        *("program", "http-errors", "ring", "log-forward", "log-profile", "fcgi-app", "crt-store", "traces", "acme"),
    )
)
_NAMELESS: Final = "global"
_SETTERS: Final = frozenset({"setenv", "presetenv"})
#: What a condition can ask that this reader can't know; it takes the answer to be yes.
_PREDICATE: Final = re.compile(r"(\w+)\(([^()]*)\)|([01])|(&&|\|\||!|\(|\))|(\s+)")


@dataclass(frozen=True, slots=True)
class Line:
    """One line that means something.

    Attributes:
        file, number: where it stands; the first of several lines that are joined.
        words: never empty.
    """

    file: str
    number: int
    words: tuple[Word, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The words without their places."""
        return tuple(word.text for word in self.words)

    def __str__(self) -> str:
        return " ".join(self.texts)


@dataclass(slots=True)
class Section:
    """A section with its lines.

    Attributes:
        kind, name: `frontend`, `mtls_api`; a name may be empty for `defaults`.
        parent: what it says it is `from`; empty where it doesn't say.
        line: the line that begins it.
    """

    kind: str
    name: str
    parent: str
    line: Line
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What could not be read, and why."""

    file: str
    number: int
    why: str


@dataclass(slots=True)
class Configuration:
    """All sections in order.

    Attributes:
        environment: variables as they stand at the end.
        problems: what could not be read.
        joined: lines that end with a backslash, which HAProxy itself does not join.
    """

    sections: list[Section] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    problems: list[Unreadable] = field(default_factory=list)
    joined: list[Line] = field(default_factory=list)

    def settings(self, *keyword: str) -> list[Line]:
        """Return the lines of the global sections that begin with these words."""
        return [
            line
            for section in self.sections
            if section.kind == _NAMELESS
            for line in section.lines
            if line.texts[: len(keyword)] == keyword
        ]


def number_of(version: str) -> tuple[int, ...]:
    """Return a version as numbers that compare: `3.2` is (3, 2).

    Raises:
        ValueError: it is no version.
    """
    return tuple(int(part) for part in re.split(r"[.-]", version)[:3] if part.isdigit() or not part.startswith("dev"))


def read_configuration(
    files: Iterable[tuple[str, str]], *, version: str, environment: Mapping[str, str]
) -> Configuration:
    """Read files in the order in which HAProxy is given them.

    Args:
        files: name and text of each.
        version: of HAProxy, which decides `.if version_atleast(…)`.
        environment: variables that HAProxy would be started with.
    """
    found = Configuration(environment=dict(environment))
    reader = _Reader(found, version)
    for name, text in files:
        reader.read(name, text)
    return found


def read_lines(name: str, text: str, environment: Mapping[str, str], problems: list[Unreadable]) -> list[Line]:
    """Return the lines of a file that has no sections of HAProxy's, such as a SPOE file."""
    lines = []
    for number, raw, _ in _joined(text):
        try:
            words = split_words(raw, environment)
        except ValueError as error:
            problems.append(Unreadable(name, number, str(error)))
            continue
        if words:
            lines.append(Line(name, number, words))
    return lines


def _joined(text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield first line number, text and whether lines were joined, as they are where one ends with a backslash."""
    waiting: list[str] = []
    begin = 0
    for number, raw in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not waiting:
            begin = number
        body = raw.rstrip()
        is_open = body.endswith("\\") and not body.endswith("\\\\") and not body.lstrip().startswith("#")
        waiting.append(body[:-1] if is_open else raw)
        if not is_open:
            yield begin, " ".join(waiting), len(waiting) > 1
            waiting = []
    if waiting:
        yield begin, " ".join(waiting), True


class _Reader:
    def __init__(self, found: Configuration, version: str) -> None:
        self._found = found
        self._version = number_of(version)
        #: Of each `.if` around: whether its lines count now, and whether a branch of it has counted.
        self._branches: list[tuple[bool, bool]] = []

    def read(self, file: str, text: str) -> None:
        self._branches = []
        section: Section | None = None
        for number, raw, is_joined in _joined(text):
            if raw.lstrip().startswith("."):
                self._directive(file, number, raw.strip())
                continue
            if not all(counts for counts, _ in self._branches):
                continue
            try:
                words = split_words(raw, self._found.environment)
            except ValueError as error:
                self._problem(file, number, str(error))
                continue
            if not words:
                continue
            line = Line(file, number, words)
            if is_joined:
                self._found.joined.append(line)
            if words[0].text in SECTIONS:
                section = _section(line)
                self._found.sections.append(section)
            elif section is None:
                self._problem(file, number, f"{words[0].text} stands in no section")
            else:
                section.lines.append(line)
                self._set_variable(section, line.texts)
        if self._branches:
            self._problem(file, text.count("\n") + 1, "an .if has no .endif")

    def _problem(self, file: str, number: int, why: str) -> None:
        self._found.problems.append(Unreadable(file, number, why))

    def _set_variable(self, section: Section, words: tuple[str, ...]) -> None:
        if section.kind != _NAMELESS:
            return
        environment = self._found.environment
        if words[0] in _SETTERS and len(words) > 2:  # noqa: PLR2004 -- keyword, name, value
            if words[0] == "setenv" or words[1] not in environment:
                environment[words[1]] = words[2]
        elif words[0] == "unsetenv":
            for name in words[1:]:
                environment.pop(name, None)
        elif words[0] == "resetenv":
            for name in environment.keys() - set(words[1:]):
                del environment[name]

    # -- .if ---------------------------------------------------------------------------------------------------

    def _directive(self, file: str, number: int, text: str) -> None:
        word, _, rest = text.partition(" ")
        if word == ".if":
            holds = self._holds(file, number, rest)
            self._branches.append((holds, holds))
        elif word in {".elif", ".else", ".endif"} and not self._branches:
            self._problem(file, number, f"{word} without .if")
        elif word == ".elif":
            _, was = self._branches.pop()
            holds = not was and self._holds(file, number, rest)
            self._branches.append((holds, was or holds))
        elif word == ".else":
            _, was = self._branches.pop()
            self._branches.append((not was, True))
        elif word == ".endif":
            self._branches.pop()
        elif word not in {".notice", ".warning", ".alert", ".diag"}:
            self._problem(file, number, f"{word} is no directive")

    def _holds(self, file: str, number: int, text: str) -> bool:
        try:
            return _Expression(text, self._answer).value()
        except ValueError:
            self._problem(file, number, f"the condition {text!r} can't be read; its lines are taken to count")
            return True

    def _answer(self, name: str, text: str) -> bool:
        arguments = [word.strip().strip("\"'") for word in text.split(",")]
        first, last = arguments[0], arguments[-1]
        match name:
            case "defined":
                return first in self._found.environment
            case "version_atleast":
                return self._version >= number_of(first)
            case "version_before":
                return self._version < number_of(first)
            case "streq" | "strneq":
                return (self._expanded(first) == self._expanded(last)) is (name == "streq")
            case "strstr":
                return self._expanded(last) in self._expanded(first)
        return True

    def _expanded(self, text: str) -> str:
        return "".join(word.text for word in split_words(f'"{text}"', self._found.environment))


class _Expression:
    """The expression behind `.if`: predicates, `!`, `&&`, `||` and parentheses."""

    def __init__(self, text: str, answer: Callable[[str, str], bool]) -> None:
        self._answer = answer
        self._tokens: list[bool | str] = []
        position = 0
        text = text.partition(" #")[0].strip()
        while position < len(text):
            found = _PREDICATE.match(text, position)
            if found is None:
                raise ValueError(text)
            position = found.end()
            if found[1]:
                self._tokens.append(answer(found[1], found[2]))
            elif found[3]:
                self._tokens.append(found[3] == "1")
            elif found[4]:
                self._tokens.append(found[4])
        self._tokens.reverse()

    def value(self) -> bool:
        if not self._tokens:
            return False
        held = self._any()
        if self._tokens:
            raise ValueError(self._tokens)
        return held

    def _next_is(self, token: str) -> bool:
        if self._tokens and self._tokens[-1] == token:
            self._tokens.pop()
            return True
        return False

    def _any(self) -> bool:
        held = self._all()
        while self._next_is("||"):
            held = self._all() or held
        return held

    def _all(self) -> bool:
        held = self._one()
        while self._next_is("&&"):
            held = self._one() and held
        return held

    def _one(self) -> bool:
        if self._next_is("!"):
            return not self._one()
        if self._next_is("("):
            held = self._any()
            if not self._next_is(")"):
                raise ValueError(self._tokens)
            return held
        if not self._tokens or not isinstance(self._tokens[-1], bool):
            raise ValueError(self._tokens)
        return bool(self._tokens.pop())


def _section(line: Line) -> Section:
    words = line.texts
    rest = list(words[1:])
    parent = ""
    if "from" in rest:
        position = rest.index("from")
        parent = "".join(rest[position + 1 : position + 2])
        rest = rest[:position]
    return Section(words[0], "".join(rest[:1]), parent, line)
