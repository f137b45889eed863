"""SPOE files: the engines, what each sends, when, and how long it waits (SPOE.txt, section 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from spoa.haproxy_config.reading import Unreadable, read_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spoa.haproxy_config.reading import Line

__all__ = ["Engine", "Message", "read_engine"]

_BEGINNINGS: Final = frozenset({"spoe-agent", "spoe-message", "spoe-group"})


@dataclass(slots=True)
class Message:
    """A message: what is sent, and on which event.

    Attributes:
        arguments: name → sample expression; an argument without a name has the sample's place as one.
        event: the name of the event; empty where it has none.
        condition: the words behind the event.
    """

    line: Line
    arguments: dict[str, str] = field(default_factory=dict)
    event: str = ""
    condition: tuple[str, ...] = ()
    lines: dict[str, Line] = field(default_factory=dict)


@dataclass(slots=True)
class Engine:
    """One engine of a SPOE file.

    Attributes:
        agent: name of its agent; empty where it has none.
        line: the agent's line, or None.
        settings: lines of the agent's section.
        messages: all messages by name.
        groups: group → its messages; a rule sends them, by `send-spoe-group`.
    """

    name: str
    agent: str = ""
    line: Line | None = None
    settings: list[Line] = field(default_factory=list)
    messages: dict[str, Message] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def setting(self, *keyword: str) -> Line | None:
        """Return the last line of the agent's section that begins with these words."""
        found = [line for line in self.settings if line.texts[: len(keyword)] == keyword]
        return found[-1] if found else None

    def words(self, *keyword: str) -> tuple[str, ...]:
        """Return what follows these words on all lines that begin with them."""
        lines = (line.texts for line in self.settings)
        return tuple(word for line in lines if line[: len(keyword)] == keyword for word in line[len(keyword) :])

    @property
    def prefix(self) -> str:
        """What variables begin with behind their scope."""
        line = self.setting("option", "var-prefix")
        return line.texts[2] if line is not None and len(line.texts) > 2 else self.agent  # noqa: PLR2004

    @property
    def sent(self) -> list[Message]:
        """The messages that the agent's section names, by themselves or in a group, and the file has."""
        grouped = (name for group in self.words("groups") for name in self.groups.get(group, ()))
        names = dict.fromkeys((*self.words("messages"), *grouped))
        return [self.messages[name] for name in names if name in self.messages]


def read_engine(
    file: str, text: str, name: str, environment: Mapping[str, str], problems: list[Unreadable]
) -> Engine | None:
    """Return an engine of a SPOE file, or None where the file has none of that name.

    Args:
        file: the file's name.
        text: its content.
        name: behind `engine` on the filter's line; empty means the file's lines before any `[name]`.
        environment: variables that HAProxy has set.
        problems: takes what can't be read.
    """
    scope, found = "", None if name else Engine("")
    part = ("", "")
    for line in read_lines(file, text, environment, problems):
        words = line.texts
        if words[0].startswith("[") and words[0].endswith("]"):
            scope, part = words[0][1:-1], ("", "")
            if scope == name:
                found = Engine(name)
        elif scope == name and found is not None:
            if words[0] in _BEGINNINGS:
                part = (words[0], "".join(words[1:2]))
                _begin(found, part[1], line)
            else:
                _read(found, *part, line)
    return found


def _begin(engine: Engine, name: str, line: Line) -> None:
    if line.texts[0] == "spoe-agent":
        engine.agent, engine.line = name, line
    elif line.texts[0] == "spoe-message":
        engine.messages[name] = Message(line)


def _read(engine: Engine, part: str, name: str, line: Line) -> None:
    """Read a line of a part of an engine."""
    words = line.texts
    if part == "spoe-agent":
        engine.settings.append(line)
    elif part == "spoe-message":
        _read_message(engine.messages[name], line)
    elif part == "spoe-group" and words[0] == "messages":
        engine.groups[name] = (*engine.groups.get(name, ()), *words[1:])


def _read_message(message: Message, line: Line) -> None:
    words = line.texts
    message.lines[words[0]] = line
    if words[0] == "args":
        for position, word in enumerate(words[1:]):
            name, equals, sample = word.partition("=")
            message.arguments[name if equals else f"#{position}"] = sample if equals else word
    elif words[0] == "event":
        message.event, message.condition = "".join(words[1:2]), words[2:]
