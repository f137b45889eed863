"""YAML text becomes nodes that remember where they stand.

Only what everybody reads the same way is accepted. Scalars stay texts, since YAML would turn `on` into true and `22:00`
into 1320. Tags and merge keys, which change what is read, are refused; so are duplicate keys, of which a reader might
take either, and characters that make an editor show something else than what is read: other line breaks than LF and
CRLF, which end a comment unseen, and bidirectional overrides, which reorder it.

Documents are untrusted as to size: nesting, alias expansion and file size are bounded, and the parser's events are read
with a stack of our own, for libyaml's composer recurses in C.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import yaml

from spoa.exceptions import Problem
from spoa.policy.reading import child_path, quoted, visible

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_DEPTH",
    "MAX_EXPANSION",
    "MAX_SIZE",
    "Mapping",
    "Node",
    "Scalar",
    "Sequence",
    "items_of",
    "read_document",
    "write_scalar",
]

MAX_SIZE: Final = 1 << 20
"""Bytes of a document, unless the caller says otherwise."""
MAX_DEPTH: Final = 32
"""Lists and mappings inside one another."""
MAX_EXPANSION: Final = 10_000
"""Nodes that all aliases of a document may add together."""

_MAX_CHARACTER_PROBLEMS: Final = 10
# libyaml is ten times as fast; PyYAML may be installed without it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text. `on`, `22:00`, `1.0`, `~` and dates are what is written; nothing is guessed from their look.

    Attributes:
        file: the document's name, as problems show it.
        line: counted from 1.
        column: counted from 1, in characters.
        text: the text, without quotation marks and escapes.
        is_quoted: written in quotation marks or as a block; only a plain scalar can be null.
    """

    file: str
    line: int
    column: int
    text: str
    is_quoted: bool = False

    @property
    def is_null(self) -> bool:
        """Nothing is written where a value could stand, as behind `who:` at the end of a line."""
        return not self.text and not self.is_quoted

    @property
    def kind(self) -> str:
        """What the node is, as problems name it."""
        return "no value" if self.is_null else "a text"


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list, in order. `line` and `column` are those of its first item or bracket."""

    file: str
    line: int
    column: int
    items: tuple[Node, ...]

    @property
    def kind(self) -> str:
        """What the node is, as problems name it."""
        return "a list"


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values, in order; no key comes twice. `line` and `column` are those of its first key or brace."""

    file: str
    line: int
    column: int
    pairs: tuple[tuple[Scalar, Node], ...]

    @property
    def kind(self) -> str:
        """What the node is, as problems name it."""
        return "a mapping"

    def get(self, key: str) -> Node | None:
        """Return the value of a key, or None when it is not there."""
        return next((value for name, value in self.pairs if name.text == key), None)


Node: TypeAlias = Scalar | Sequence | Mapping


def items_of(node: Node) -> tuple[Node, ...]:
    """Return a list's items, or the node alone: the way back to the nodes of a value that may be one or many."""
    return node.items if isinstance(node, Sequence) else (node,)


def read_document(text: bytes, file: str, *, max_size: int = MAX_SIZE) -> tuple[Node | None, tuple[Problem, ...]]:
    """Read the one YAML document of a file, with all problems at once.

    The node is None when the file holds no value (then there is no problem), or when a problem leaves nothing to go on
    with. Otherwise it holds what could be read, and is no policy as long as there are problems.

    Args:
        text: the file's bytes, UTF-8.
        file: its name, for problems.
        max_size: in bytes.
    """
    if len(text) > max_size:
        message = f"the file has {len(text)} bytes; at most {max_size} are allowed"
        return None, (Problem(file, 0, 0, "", message, "too-large"),)
    characters = _decode(text, file)
    if isinstance(characters, Problem):
        return None, (characters,)
    if strange := _strange_characters(characters, file):
        return None, strange
    composer = _Composer(file)
    root = composer.compose(characters)
    return root, tuple(sorted(composer.problems))


_UNICODE_MARKS: Final = (
    (b"\xff\xfe", "the file is UTF-16 or UTF-32; save it as UTF-8", "not-utf8"),
    (b"\xfe\xff", "the file is UTF-16; save it as UTF-8", "not-utf8"),
    (b"\x00\x00\xfe\xff", "the file is UTF-32; save it as UTF-8", "not-utf8"),
    (b"\xef\xbb\xbf", "the file starts with a byte order mark; save it as UTF-8 without one", "byte-order-mark"),
)


def write_scalar(text: str) -> str:
    """Write a text as a scalar that reads the same: quoted, on one line, in ASCII; lone surrogates become `?`."""
    whole = text.encode("utf-8", "replace").decode()
    return str(yaml.dump(whole, default_style='"', width=1 << 31)).rstrip("\n")


def _decode(text: bytes, file: str) -> str | Problem:
    for mark, message, code in _UNICODE_MARKS:
        if text.startswith(mark):
            return Problem(file, 1, 1, "", message, code)
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        before = text[: error.start].decode()
        line, column = _place(before, len(before))
        return Problem(
            file, line, column, "", f"byte 0x{text[error.start]:02x} is not UTF-8; save the file as UTF-8", "not-utf8"
        )


# Control characters, surrogates and non-characters; line breaks that only YAML sees; what reorders or hides.
_STRANGE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\r(?!\n)|[\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
_LINE_BREAKS: Final = "\r\x85\u2028\u2029"
_REORDERING: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def _strange_characters(text: str, file: str) -> tuple[Problem, ...]:
    problems: list[Problem] = []
    for match in _STRANGE.finditer(text):
        if len(problems) == _MAX_CHARACTER_PROBLEMS:
            break
        character = match[0]
        if character in _LINE_BREAKS:
            what = "a line break that editors may not show; end lines with LF or CRLF"
        elif character in _REORDERING:
            what = "an invisible character that reorders the line; remove it"
        else:
            what = "a control or invisible character; remove it"
        line, column = _place(text, match.start())
        problems.append(Problem(file, line, column, "", f"U+{ord(character):04X} is {what}", "strange-character"))
    return tuple(problems)


def _place(text: str, index: int) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1


class _Stopped(Exception):  # noqa: N818 - no error of anybody: it leaves the loop over the events
    """The document can't be read any further; the problem is already noted."""


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    line: int
    column: int
    anchor: str | None
    is_mapping: bool
    children: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 0


class _Composer:
    """Builds nodes from the parser's events, with a stack of its own."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self.documents = 0
        self.expansion = 0
        self.open: list[_Open] = []
        # Anchor → node, nodes in it, levels in it; None while the node is still open.
        self.anchors: dict[str, tuple[Node, int, int] | None] = {}

    def compose(self, text: str) -> Node | None:
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                take = self._TAKERS.get(type(event))
                if take is not None:
                    take(self, event)
        except _Stopped:
            return None
        except yaml.YAMLError as error:
            self.problems.append(_syntax_problem(error, self.file))
            return None
        if isinstance(self.root, Scalar) and self.root.is_null:
            return None
        return self.root

    def note(self, line: int, column: int, message: str, code: str) -> None:
        path = ""
        for level in self.open:
            if not level.is_mapping:
                path = child_path(path, len(level.children))
            elif len(level.children) % 2 and isinstance(level.children[-1], Scalar):
                path = child_path(path, level.children[-1].text)
        self.problems.append(Problem(self.file, line, column, path, message, code))

    def stop(self, line: int, column: int, message: str, code: str) -> _Stopped:
        self.note(line, column, message, code)
        return _Stopped()

    def _take_document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            message = "a second document begins here; a file holds one, so put this into a file of its own"
            raise self.stop(*_start(event), message, "several-documents")

    def _take_start(self, event: Any) -> None:
        line, column = _start(event)
        self._check_tag(event)
        self._check_anchor(event)
        if len(self.open) == MAX_DEPTH:
            raise self.stop(line, column, f"nested too deep; at most {MAX_DEPTH} levels are allowed", "too-deep")
        self.open.append(_Open(line, column, event.anchor, isinstance(event, yaml.MappingStartEvent)))

    def _take_end(self, event: Any) -> None:  # noqa: ARG002 - all takers are called alike
        level = self.open.pop()
        node: Node
        if level.is_mapping:
            node = Mapping(self.file, level.line, level.column, self._pairs(level.children))
        else:
            node = Sequence(self.file, level.line, level.column, tuple(level.children))
        self._place_node(node, level.anchor, level.size, level.height + 1)

    def _take_scalar(self, event: Any) -> None:
        self._check_tag(event)
        self._check_anchor(event)
        # A scalar is plain when the parser may guess a type from its look.
        node = Scalar(self.file, *_start(event), event.value, is_quoted=event.style is not None and event.style != "")
        self._place_node(node, event.anchor, 1, 0)

    def _take_alias(self, event: Any) -> None:
        name = event.anchor
        line, column = _start(event)
        if name not in self.anchors:
            message = f"nothing is named &{name} above; a text that begins with * must stand in quotation marks"
            raise self.stop(line, column, message, "unknown-alias")
        named = self.anchors[name]
        if named is None:
            raise self.stop(line, column, f"*{name} stands inside the very value that it repeats", "recursive-alias")
        node, size, height = named
        self.expansion += size
        if self.expansion > MAX_EXPANSION:
            message = f"aliases repeat more than {MAX_EXPANSION} values; write fewer of them"
            raise self.stop(line, column, message, "alias-expansion")
        if len(self.open) + height > MAX_DEPTH:
            message = f"*{name} makes the nesting too deep; at most {MAX_DEPTH} levels are allowed"
            raise self.stop(line, column, message, "too-deep")
        self._place_node(node, None, size, height)

    _TAKERS: Final[dict[type, Callable[[_Composer, Any], None]]] = {
        yaml.DocumentStartEvent: _take_document,
        yaml.MappingStartEvent: _take_start,
        yaml.SequenceStartEvent: _take_start,
        yaml.MappingEndEvent: _take_end,
        yaml.SequenceEndEvent: _take_end,
        yaml.ScalarEvent: _take_scalar,
        yaml.AliasEvent: _take_alias,
    }

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None:
            tag = visible(event.tag.replace("tag:yaml.org,2002:", "!!"))
            message = f"tags such as {tag} are not read here; remove it, and write texts as they are"
            self.note(*_start(event), message, "tag")

    def _check_anchor(self, event: Any) -> None:
        if event.anchor is None:
            return
        if event.anchor in self.anchors:
            self.note(
                *_start(event), f"&{event.anchor} is defined twice; give each value its own name", "duplicate-anchor"
            )
        self.anchors[event.anchor] = None

    def _place_node(self, node: Node, anchor: str | None, size: int, height: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = (node, size, height)
        if not self.open:
            self.root = node
            return
        level = self.open[-1]
        level.children.append(node)
        level.size += size
        level.height = max(level.height, height)

    def _pairs(self, children: list[Node]) -> tuple[tuple[Scalar, Node], ...]:
        pairs: dict[str, tuple[Scalar, Node]] = {}
        for key, value in zip(children[::2], children[1::2], strict=True):
            place = (key.line, key.column)
            if not isinstance(key, Scalar):
                self.note(*place, f"a key must be a text, found {key.kind}", "key-type")
            elif key.is_null:
                self.note(*place, "a key is missing before the colon", "key-type")
            elif key.text == "<<" and not key.is_quoted:
                self.note(
                    *place,
                    "merge keys (<<) are not read here; write the keys out, or repeat a whole value",
                    "merge-key",
                )
            elif key.text in pairs:
                first = pairs[key.text][0].line
                self.note(
                    *place, f"duplicate key {quoted(key.text)}; it stands on line {first} already", "duplicate-key"
                )
            else:
                pairs[key.text] = (key, value)
        return tuple(pairs.values())


def _start(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


# What the two parsers say → what most likely happened.
_HINTS: Final = (
    (
        "that cannot start any token",
        "a text that begins with this character must stand in quotation marks; indent with blanks, not tabs",
    ),
    ("alias", "a text that begins with * must stand in quotation marks"),
    ("anchor", "a text that begins with & must stand in quotation marks"),
    (
        "mapping values are not allowed",
        "a text with a colon must stand in quotation marks; else look at the indentation",
    ),
    ("could not find expected ':'", "a key needs a colon and a blank behind it"),
    ("escape character", "inside double quotes a backslash starts an escape; use single quotes"),
    ("hexadecimal numbers", "inside double quotes a backslash starts an escape; use single quotes"),
    # libyaml's own spelling.
    ("hexdecimal number", "inside double quotes a backslash starts an escape; use single quotes"),
    ("quoted scalar", "a quotation mark is not closed"),
    ("flow sequence", "a bracket is not closed, or a comma is missing"),
    (
        "flow mapping",
        "a brace is not closed, or a comma is missing; a text that begins with { must stand in quotation marks",
    ),
    (
        "block mapping",
        "look at the indentation of this line and of those above; keys of one mapping stand in one column",
    ),
    (
        "block collection",
        "look at the indentation of this line and of those above; items of one list stand in one column",
    ),
    ("tag", "a text that begins with ! must stand in quotation marks"),
)


def _syntax_problem(error: yaml.YAMLError, file: str) -> Problem:
    said = ", ".join(part for part in (getattr(error, "problem", None), getattr(error, "context", None)) if part)
    hint = next((f"; {hint}" for words, hint in _HINTS if words in said), "")
    mark = getattr(error, "problem_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    if "nesting depth" in said:  # libyaml has a bound of its own, and reads ahead of us
        return Problem(file, line, column, "", f"nested too deep; at most {MAX_DEPTH} levels are allowed", "too-deep")
    return Problem(file, line, column, "", f"not YAML: {said or error}{hint}", "syntax")
