"""One layout for all documents: blanks, indentation and line breaks are ours, texts and comments the writer's.

The parser's events are written again with every scalar exactly as it stands in the source, so that nothing is quoted,
unquoted, or guessed a number on the way. What the document says, and which comments it has, is compared in the end.

The layout: two blanks an indentation, also for lists; what is written in braces or brackets on one line stays so, with
one blank behind commas and colons; over several lines it is joined where it fits and has no comments inside, else
becomes lines of its own. Comments stand above what they speak of, or two blanks behind it. At most one line is empty.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from spoa.policy.comments import comments_of
from spoa.policy.document import Mapping, Scalar, Sequence, read_document

if TYPE_CHECKING:
    from spoa.exceptions import Problem
    from spoa.policy.comments import Comment
    from spoa.policy.document import Node

__all__ = ["WIDTH", "LayoutError", "formatted"]

#: Columns up to which several lines are joined.
WIDTH: Final = 120
_STEP: Final = 2
# libyaml is ten times as fast; PyYAML may be installed without it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ANCHOR: Final = re.compile(r"&\S+\s*")
_HEADER: Final = re.compile(r"([|>])([0-9+-]*)")


class LayoutError(Exception):
    """The document would not say the same afterwards; it is left as it is."""


def formatted(text: bytes, file: str, *, max_size: int) -> tuple[str | None, tuple[Problem, ...]]:
    """Return a document in the one layout; None, and the problems, where it can't be read.

    Args:
        text: the file's bytes, UTF-8.
        file: its name, for problems.
        max_size: in bytes.

    Raises:
        LayoutError: the result would say something else. That is a defect of this module, and no harm is done.
    """
    before, problems = read_document(text, file, max_size=max_size)
    if problems:
        return None, problems
    source = text.decode().replace("\r\n", "\n")
    written = _Writer(source).write() if before is not None else source.strip("\n") + "\n" * bool(source.strip("\n"))
    after, _ = read_document(written.encode(), file, max_size=2 * max_size)
    if _bare(before) != _bare(after) or _remarks(source) != _remarks(written):
        raise LayoutError(file)
    return written, ()


def _bare(node: Node | None) -> object:
    """Return what a node says, without places."""
    match node:
        case Scalar():
            return node.text, node.is_quoted
        case Sequence():
            return [_bare(item) for item in node.items]
        case Mapping():
            return [(_bare(key), _bare(value)) for key, value in node.pairs]
    return None


def _remarks(text: str) -> list[str]:
    return sorted(comment.text for comment in comments_of(text))


# -- the document as a tree of places ---------------------------------------------------------------------------


@dataclass(slots=True)
class _Part:
    """A scalar, an alias or a collection, with its place in the source.

    Attributes:
        start, end: from its first character, anchor included, to behind its last.
        column: of its first character, counted from 0.
        anchor: its name, or an empty text.
        text: of a scalar or alias as it is written, without anchor.
        value: of a scalar, as it is read.
        children: of a list its items, of a mapping its keys and values in turn; None for a scalar.
        is_mapping, is_flow: the kind of collection; in braces or brackets.
    """

    start: int
    end: int
    column: int
    anchor: str = ""
    text: str = ""
    value: str = ""
    children: list[_Part] | None = None
    is_mapping: bool = False
    is_flow: bool = False

    @property
    def is_block_text(self) -> bool:
        return self.text.startswith(("|", ">"))

    def entries(self) -> list[tuple[_Part | None, _Part]]:
        """Return the entries of a collection: key and value, or no key and the item."""
        assert self.children is not None
        if not self.is_mapping:
            return [(None, item) for item in self.children]
        return list(zip(self.children[::2], self.children[1::2], strict=True))


def _tree(source: str) -> _Part:
    """Read the source into parts."""
    top = _Part(0, len(source), -1, children=[])
    stack = [top]
    for event in yaml.parse(source, Loader=_LOADER):
        holder = stack[-1].children
        assert holder is not None
        if isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
            holder.append(_leaf(event, source))
        elif isinstance(event, yaml.CollectionStartEvent):
            start: Any = event.start_mark
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            part = _Part(start.index, start.index, start.column, event.anchor or "", children=[], is_mapping=is_mapping)
            part.is_flow = bool(event.flow_style)
            holder.append(part)
            stack.append(part)
        elif isinstance(event, yaml.CollectionEndEvent):
            part = stack.pop()
            end: Any = event.end_mark
            assert part.children is not None
            part.end = end.index if part.is_flow else part.children[-1].end
    assert top.children is not None
    return top.children[0]


def _leaf(event: Any, source: str) -> _Part:
    start, end = event.start_mark, event.end_mark
    written = source[start.index : end.index]
    is_alias = isinstance(event, yaml.AliasEvent)
    anchor = "" if is_alias else event.anchor or ""
    text = _ANCHOR.sub("", written, count=1) if anchor else written
    if not text.startswith(("|", ">")) or is_alias or event.style not in {"|", ">"}:
        text = text.rstrip()
    return _Part(start.index, end.index, start.column, anchor, text, "" if is_alias else event.value)


# -- writing ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Remark:
    """A comment of the source, by its place there."""

    index: int
    column: int
    line: int
    text: str
    is_alone: bool
    is_written: bool = field(default=False)


class _Writer:
    """Writes one document; comments are written with what stands next to them."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._breaks = [place for place, char in enumerate(source) if char == "\n"]
        self._remarks = [self._remark(comment) for comment in comments_of(source)]
        self._places = [remark.index for remark in self._remarks]
        self._next = 0
        self._lines: list[str] = []
        self._ends_in_text = self._opens = False

    def _remark(self, comment: Comment) -> _Remark:
        begin = self._breaks[comment.line - 2] + 1 if comment.line > 1 else 0
        index = begin + comment.column - 1
        end = self._source.find("\n", index)
        text = self._source[index : end if end >= 0 else len(self._source)].rstrip()
        return _Remark(index, comment.column - 1, comment.line, text, not self._source[begin:index].strip())

    def write(self) -> str:
        """Return the whole document."""
        root = _tree(self._source)
        limit = len(self._source) + 1
        if root.children is None or self._inline(root, 0) is not None:
            self._write_remarks(root.start, 0)
            self._write_value("", root, 0, limit, root.start)
        else:
            self._write_entries(root, 0, limit, -1)
        self._write_remarks(limit, 0)
        return "\n".join(self._lines) + "\n"

    # -- comments and empty lines ------------------------------------------------------------------------------

    def _line_of(self, index: int) -> int:
        return bisect_right(self._breaks, index - 1) + 1

    def _write_gap(self, index: int) -> None:
        """Write an empty line where there is one above this place, and nothing opens just before."""
        line = self._line_of(index)
        if line < 2 or not self._lines or self._ends_in_text or self._opens:  # noqa: PLR2004 -- the second line
            return
        begin = self._breaks[line - 3] + 1 if line > 2 else 0  # noqa: PLR2004 -- as above
        if not self._source[begin : self._breaks[line - 2]].strip() and self._lines[-1]:
            self._lines.append("")

    def _put(self, line: str) -> None:
        self._lines.append(line)
        self._opens = self._ends_in_text = False

    def _write_remarks(self, before: int, indent: int, *, column: int = -1) -> None:
        """Write the comments that stand before a place, those from a column on."""
        while self._next < len(self._remarks):
            remark = self._remarks[self._next]
            if not remark.is_written:
                if remark.index >= before or (remark.is_alone and remark.column < column):
                    return
                remark.is_written = True
                self._write_gap(remark.index)
                self._put(" " * indent + remark.text)
            self._next += 1

    def _take_behind(self, index: int, before: int) -> str:
        """Return the comment behind a place, on its line and before another place; it is then written."""
        number = bisect_left(self._places, index)
        remark = self._remarks[number] if number < len(self._remarks) else None
        if remark is None or remark.index >= before or remark.is_alone or remark.is_written:
            return ""
        if remark.line != self._line_of(index):
            return ""
        remark.is_written = True
        return remark.text

    def _append_remark(self, index: int, before: int | None = None) -> None:
        remark = self._take_behind(index, len(self._source) if before is None else before)
        if remark:
            self._lines[-1] += f"  {remark}"

    # -- values ------------------------------------------------------------------------------------------------

    def _inline(self, part: _Part, used: int) -> str | None:
        """Return a value on one line, or None where it has several."""
        if part.children is not None:
            if not part.is_flow:
                return None
            is_one_line = "\n" not in self._source[part.start : part.end]
            if not is_one_line and any(part.start < one.index < part.end for one in self._remarks):
                return None
            found = self._joined(part)
            return found if found is None or is_one_line or used + len(found) <= WIDTH else None
        if part.is_block_text or "\n" in part.text:
            return None
        return _anchored(part, part.text)

    def _joined(self, part: _Part) -> str | None:
        words = []
        for key, value in part.entries():
            written = self._joined(value) if value.children is not None else _anchored(value, value.text)
            if written is None or "\n" in written or value.is_block_text:
                return None
            words.append(written if key is None else f"{_key(key)}: {written}")
        text = ", ".join(words)
        return _anchored(part, f"{{{text}}}" if part.is_mapping else f"[{text}]")

    def _write_value(self, prefix: str, part: _Part, indent: int, limit: int, key_end: int) -> None:
        """Write a value behind a key or a dash.

        Args:
            prefix: what stands before it, with its indentation.
            part: the value.
            indent: of the entry.
            limit: where the next entry begins.
            key_end: where the key ends.
        """
        inline = self._inline(part, len(prefix) + 1)
        if inline is not None:
            self._put(f"{prefix} {inline}".rstrip() if prefix else inline)
            self._append_remark(part.end if part.text or part.children is not None else key_end)
        elif part.children is None:
            self._write_text(prefix, part, indent)
        else:
            self._write_below(prefix, part, indent, limit, key_end)

    def _write_below(self, prefix: str, part: _Part, indent: int, limit: int, key_end: int) -> None:
        """Write a collection on lines of its own."""
        column = len(prefix) - len(prefix.lstrip())
        if part.is_flow:
            remark = self._take_behind(part.end, len(self._source))
            if remark:
                self._put(" " * column + remark)
        is_item = prefix.endswith("-") and not part.anchor
        if is_item:
            self._write_entries(part, indent + _STEP, limit, indent, first=f"{prefix} ")
            return
        self._put(prefix + (f" &{part.anchor}" if part.anchor else ""))
        assert part.children is not None
        self._append_remark(key_end, part.children[0].start)
        self._opens = True
        self._write_entries(part, indent + _STEP, limit, indent)

    def _write_entries(self, part: _Part, indent: int, limit: int, parent: int, *, first: str = "") -> None:
        """Write the entries of a collection.

        Args:
            part: the collection.
            indent: of its entries.
            limit: where the next entry of what holds it begins.
            parent: indentation of what holds it.
            first: stands before the first entry, in place of the indentation.
        """
        entries = part.entries()
        starts = [(key or value).start for key, value in entries]
        end = part.end if part.is_flow else limit
        for number, (key, value) in enumerate(entries):
            below = starts[number + 1] if number + 1 < len(entries) else end
            lead = " " * indent
            if number == 0 and first:
                lead = first
                self._write_remarks(starts[0], indent - _STEP)
            else:
                self._write_remarks(starts[number], indent)
                self._write_gap(starts[number])
            if key is None:
                self._write_value(f"{lead}-", value, indent, below, starts[number])
            else:
                self._write_value(f"{lead}{_key(key)}:", value, indent, below, key.end)
        column = 0 if part.is_flow else part.column
        if part.is_flow or parent < 0 or column > 0:
            self._write_remarks(end, indent, column=column)

    def _write_text(self, prefix: str, part: _Part, indent: int) -> None:
        """Write a scalar of several lines."""
        anchor = f" &{part.anchor}" if part.anchor else ""
        deeper = " " * (indent + _STEP)
        head, *rest = part.text.split("\n")
        if not part.is_block_text:
            self._put(
                f"{prefix}{anchor} {head.rstrip()}".lstrip() if not prefix else f"{prefix}{anchor} {head.rstrip()}"
            )
            for line in rest:
                self._put((deeper + line.strip()).rstrip())
            self._append_remark(part.end)
            return
        header = _HEADER.match(head)
        assert header is not None
        if re.search(r"[0-9]", header[2]):
            found, rest = _from_value(part.value)
            head = found + head[header.end() :]
        else:
            rest = _shifted(rest)
            if part.value and not part.value.endswith("\n"):  # the file ends inside its last line
                head = f"{header[1]}-{head[header.end() :]}"
        is_kept = "+" in head.partition("#")[0]
        while rest and not rest[-1].strip() and not is_kept:
            rest.pop()
        if rest and is_kept and not rest[-1]:
            rest.pop()  # what follows the last line break
        self._put(f"{prefix}{anchor} {head.rstrip()}".lstrip() if not prefix else f"{prefix}{anchor} {head.rstrip()}")
        for line in rest:
            self._put(deeper + line if line.strip() else line and deeper + line)
        self._ends_in_text = is_kept


def _key(part: _Part) -> str:
    """Return a key as it is written; an alias needs a blank before the colon."""
    text = _anchored(part, part.text)
    return f"{text} " if text.startswith("*") else text


def _anchored(part: _Part, text: str) -> str:
    return f"&{part.anchor} {text}".rstrip() if part.anchor else text


def _shifted(lines: list[str]) -> list[str]:
    """Return the lines of a block of text without the indentation that they have in common."""
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        return [""] * len(lines)  # blanks on empty lines are no text
    width = len(first) - len(first.lstrip(" "))
    return [line[width:] for line in lines]


def _from_value(value: str) -> tuple[str, list[str]]:
    """Return header and lines of a literal block for a text."""
    chomping = "-" if not value.endswith("\n") else "+" if value.endswith("\n\n") or value == "\n" else ""
    lines = value.split("\n")
    return f"|{_STEP}{chomping}", lines
