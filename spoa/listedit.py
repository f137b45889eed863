"""Edits of a list file that leave every other byte alone: comments, order and layout are other people's work.

Each edit is a matter of lines, and is read again before it is believed: what the new text says must be what was wanted,
entry for entry. Where a layout can't be edited so, the edit is refused with the line that is in the way.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spoa.exceptions import ListError, PolicyError
from spoa.listindex import NEVER, Kind
from spoa.listtext import Key, Listed, ListText, is_rich

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = [
    "Addition",
    "add_entries",
    "check_addition",
    "finish_rotation",
    "instant",
    "new_list",
    "remove_entries",
    "start_rotation",
]

_HEAD: Final = "apiVersion: authz/v1\nkind: list\nentries: []\n"
_EMPTY: Final = re.compile(r"([ \t]*entries[ \t]*:)[ \t]*\[[ \t]*\]")
_ENTRIES: Final = re.compile(r"([ \t]*entries[ \t]*:)")
_DASH: Final = re.compile(r" *-[ \t]+")
_CLOSING: Final = re.compile(r"[ \t]*\}(?=[ \t]*(?:#.*)?\r?\n?$)")
#: A value on one line: in either quotation marks, or plain up to a comment or the end of a pair of braces.
_VALUE: Final = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#,}]+(?:[ \t]+[^\s#,}]+)*)"""
_KEYS: Final = {Kind.SHA256: "sha256", Kind.SPKI_SHA256: "spki_sha256", Kind.SHA1: "sha1"}
_LAST_OF_FIRST_PLANE: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Addition:
    """An entry to be added; `expires` in seconds since the epoch, or `NEVER`."""

    key: Key
    owner: str = ""
    comment: str = ""
    ticket: str = ""
    expires: int = NEVER
    next: bytes = b""

    @property
    def says(self) -> tuple[object, ...]:
        """All that it says."""
        return self.key, self.owner, self.comment, self.ticket, self.expires, self.next


def new_list(file: str) -> bytes:
    """Return the text of a list without entries, of the form that the file's name tells."""
    return _HEAD.encode() if is_rich(file) else b""


def add_entries(text: bytes, file: str, additions: Sequence[Addition]) -> bytes:
    """Return *text* with entries behind the last one.

    Raises:
        PolicyError: *text* is no list.
        ListError: an entry can't stand in this list, or the layout is in the way.
    """
    before = ListText(text, file)
    if not additions:
        return text
    for addition in additions:
        check_addition(before, addition)
    lines = list(before.lines)
    place = before.entries[-1].last + 1 if before.entries else len(lines)
    if before.is_rich and not before.entries:
        place = before.head + 1
        lines[before.head] = _EMPTY.sub(r"\1", lines[before.head])
    _end_line(lines, place - 1, before.line_end)
    dash, indent = _indents(before)
    for addition in reversed(additions):
        if before.is_rich:
            added = [f"{' ' * indent}{field}" for field in _fields(addition)]
            added[0] = f"{' ' * dash}-{' ' * (indent - dash - 1)}{added[0].lstrip()}"
        else:
            added = [_plain_line(addition)]
        lines[place:place] = [f"{line}{before.line_end}" for line in added]
    wanted = [*(entry.says for entry in before.entries), *(_said(before, addition) for addition in additions)]
    return _believed(before, lines, wanted, before.head)


def remove_entries(text: bytes, file: str, keys: Collection[Key]) -> tuple[bytes, tuple[Listed, ...]]:
    """Return *text* in which nothing names one of *keys* any more, and the entries that did.

    An entry of which only the successor is named keeps its certificate and loses its `next`.

    Raises:
        PolicyError: *text* is no list.
        ListError: the layout is in the way.
    """
    before = ListText(text, file)
    lines: list[str | None] = list(before.lines)
    named = tuple(entry for entry in before.entries if not set(keys).isdisjoint(entry.keys))
    for entry in named:
        if entry.key in keys:
            lines[entry.first : entry.last + 1] = [None] * (entry.last + 1 - entry.first)
        else:
            _drop(lines, entry, "next", before.file)
    kept = [entry for entry in before.entries if entry.key not in keys]
    if before.is_rich and not kept:
        lines[before.head] = _ENTRIES.sub(r"\1 []", str(lines[before.head])) if named else lines[before.head]
    wanted = [(*entry.says[:-1], b"" if entry in named else entry.next) for entry in kept]
    left = [line for line in lines if line is not None]
    return (_believed(before, left, wanted, before.head) if named else text), named


def start_rotation(text: bytes, file: str, key: Key, successor: bytes) -> bytes:
    """Return *text* with the certificate of which *successor* is the SHA-256 accepted beside that of *key*.

    In a plain list the successor's line follows; in a rich one it becomes the `next` of the entry.

    Raises:
        PolicyError: *text* is no list.
        ListError: *key* isn't on the list once, has another successor, or the layout is in the way.
    """
    before = ListText(text, file)
    entry = _only(before, key)
    lines: list[str | None] = list(before.lines)
    wanted = [one.says for one in before.entries]
    number = before.entries.index(entry)
    if not before.is_rich:
        added = _plain_line(Addition(Key(Kind.SHA256, successor), comment=f"successor of {key.text}"))
        _end_line(lines, entry.last, before.line_end)
        lines.insert(entry.last + 1, f"{added}{before.line_end}")
        wanted.insert(number + 1, ListText(added.encode(), file).entries[0].says)
        return _believed(before, lines, wanted, before.head)
    if entry.next == successor:
        return text
    if entry.next:
        _drop(lines, entry, "next", file)
    _give(before, lines, entry, "next", _quoted(successor.hex()))
    wanted[number] = (*entry.says[:-1], successor)
    return _believed(before, [line for line in lines if line is not None], wanted, before.head)


def finish_rotation(text: bytes, file: str, key: Key, expires: int | None = None) -> bytes:
    """Return *text* with the entry of *key* naming its successor, and no longer the certificate that it named.

    Args:
        text: the file's bytes.
        file: its name.
        key: what the entry names until now.
        expires: the entry's new end, seconds since the epoch; None leaves it.

    Raises:
        PolicyError: *text* is no list.
        ListError: there is no rotation to finish, or the layout is in the way.
    """
    before = ListText(text, file)
    entry = _only(before, key)
    if not entry.next:
        remedy = "`list remove` the old line" if not before.is_rich else "begin one with `list rotate FILE OLD NEW`"
        raise ListError(file, entry.first + 1, f"this entry has no `next`; {remedy}")
    if key.kind is not Kind.SHA256:
        raise ListError(file, entry.first + 1, "only an entry by sha256 is taken over by its `next`; edit it by hand")
    lines: list[str | None] = list(before.lines)
    _change(lines, entry, "sha256", _quoted(entry.next.hex()), file)
    _drop(lines, entry, "next", file)
    until = entry.expires
    if expires is not None:
        until = expires
        assert entry.row is not None
        if "expires" in entry.row.marks:
            _change(lines, entry, "expires", instant(expires), file)
        else:
            _give(before, lines, entry, "expires", instant(expires))
    wanted = [one.says for one in before.entries]
    renewed = Key(Kind.SHA256, entry.next)
    wanted[before.entries.index(entry)] = (renewed, *entry.says[1:4], until, b"")
    return _believed(before, [line for line in lines if line is not None], wanted, before.head)


# -- lines ------------------------------------------------------------------------------------------------------


def _believed(before: ListText, lines: Iterable[str | None], wanted: list[tuple[object, ...]], head: int) -> bytes:
    """Return the lines when they say what is wanted.

    Raises:
        ListError: they don't.
    """
    text = "".join(line for line in lines if line is not None).encode(errors="surrogateescape")
    try:
        after = ListText(text, before.file)
        found: list[tuple[object, ...]] | None = [entry.says for entry in after.entries]
    except (PolicyError, ListError):
        found = None
    if found != wanted:
        message = "its entries are written in a way that can't be edited line by line; edit it by hand"
        raise ListError(before.file, head + 1, message)
    return text


def _only(text: ListText, key: Key) -> Listed:
    found = text.named(key)
    if len(found) != 1:
        what = f"{len(found)} entries name {key.text}; remove all but one" if found else f"nothing names {key.text}"
        raise ListError(text.file, found[0].first + 1 if found else 0, what)
    return found[0]


def _end_line(lines: list[str] | list[str | None], number: int, end: str) -> None:
    """End the last line of a file as the others end."""
    if number >= 0 and not str(lines[number]).endswith("\n"):
        lines[number] = f"{lines[number]}{end}"


def _indents(text: ListText) -> tuple[int, int]:
    """Return the columns of the dash and of the keys of an entry, as the last one has them."""
    if not text.is_rich or not text.entries:
        return 2, 4
    line = text.lines[text.entries[-1].first]
    dash = len(line) - len(line.lstrip(" "))
    row = text.entries[-1].row
    assert row is not None
    is_block = _DASH.match(line) is not None and not line.lstrip(" -\t").startswith(("{", "&"))
    return dash, row.node.column - 1 if is_block else dash + 2


def _place_of(entry: Listed, key: str) -> int:
    assert entry.row is not None
    return entry.row.keys[key].line - 1


def _change(lines: list[str | None], entry: Listed, key: str, value: str, file: str) -> None:
    """Write another value behind a key of an entry."""
    number = _place_of(entry, key)
    pattern = re.compile(rf"((?:^|[ \t,{{-]){key}[ \t]*:[ \t]+){_VALUE}")
    changed, count = pattern.subn(rf"\g<1>{value}", str(lines[number]), count=1)
    if not count:
        raise ListError(file, number + 1, f"the value of {key} isn't on its line; edit it by hand")
    lines[number] = changed


def _drop(lines: list[str | None], entry: Listed, key: str, file: str) -> None:
    """Take a key and its value out of an entry."""
    number = _place_of(entry, key)
    line = str(lines[number])
    if re.fullmatch(rf"[ \t]+{key}[ \t]*:[ \t]+{_VALUE}[ \t]*(?:#.*)?\r?\n?", line):
        lines[number] = None
        return
    changed, count = re.subn(rf",[ \t]*{key}[ \t]*:[ \t]+{_VALUE}", "", line, count=1)
    if not count:
        raise ListError(file, number + 1, f"{key} shares its line; edit it by hand")
    lines[number] = changed


def _give(text: ListText, lines: list[str | None], entry: Listed, key: str, value: str) -> None:
    """Add a key and its value to an entry that has it not."""
    assert entry.row is not None
    last = max(number for number in range(entry.first, entry.last + 1) if lines[number] is not None)
    line = str(lines[last])
    closing = _CLOSING.search(line)
    if closing is not None:
        lines[last] = f"{line[: closing.start()]}, {key}: {value}{line[closing.start() :]}"
        return
    _end_line(lines, last, text.line_end)
    lines.insert(last + 1, f"{' ' * (entry.row.node.column - 1)}{key}: {value}{text.line_end}")


# -- entries ----------------------------------------------------------------------------------------------------


def check_addition(text: ListText, addition: Addition) -> None:
    """Refuse what the form of the list can't hold.

    Raises:
        ListError: it can't.
    """
    if addition.key.kind is Kind.SHA1:
        raise ListError(text.file, 0, "a SHA-1 fingerprint is not added; `spoa-authz fingerprint CERT` has the SHA-256")
    if text.is_rich:
        if addition.expires == NEVER and not text.is_permanent:
            raise ListError(text.file, 0, f"{addition.key.text} needs an end; give --expires, or a certificate file")
        return
    if addition.key.kind is not Kind.SHA256:
        raise ListError(text.file, 0, f"a plain list holds fingerprints alone, not {addition.key.text}; use a rich one")
    if addition.expires != NEVER:
        raise ListError(text.file, 0, "a plain list knows no expiry; leave --expires out, or use a rich one (.yaml)")


def _said(text: ListText, addition: Addition) -> tuple[object, ...]:
    if text.is_rich:
        return addition.says
    return ListText(_plain_line(addition).encode(), text.file).entries[0].says


def _fields(addition: Addition) -> list[str]:
    key = addition.key
    if key.kind is Kind.SERIAL:
        fields = [f"issuer: {_quoted(key.issuer)}", f"serial: {_quoted(key.serial)}"]
    else:
        fields = [f"{_KEYS[key.kind]}: {_quoted(key.digest.hex())}"]
    notes = {"owner": addition.owner, "comment": addition.comment, "ticket": addition.ticket}
    fields += [f"{name}: {_quoted(text)}" for name, text in notes.items() if text]
    if addition.expires != NEVER:
        fields.append(f"expires: {instant(addition.expires)}")
    if addition.next:
        fields.append(f"next: {_quoted(addition.next.hex())}")
    return fields


def _plain_line(addition: Addition) -> str:
    notes = ", ".join(text for text in (addition.comment, addition.owner, addition.ticket) if text)
    digits = addition.key.digest.hex()
    return f"{digits}  # {_printable(notes)}" if notes else digits


def instant(seconds: int) -> str:
    """Return seconds since the epoch as a list has them."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_printable(escaped)}"'


def _printable(text: str) -> str:
    """Return text on one line: whatever isn't printable becomes an escape as YAML's double quotes read it."""
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number <= _LAST_OF_FIRST_PLANE else f"\\U{number:08x}"
