"""A list file as text: its entries, and the lines on which each of them stands.

Requests are judged by indexes, which know neither lines nor owners; this is for those who look after a list.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from spoa.allowlist import Row, parse_plain, parse_rich, read_fingerprint, read_line
from spoa.blocks import read_target
from spoa.exceptions import ListError
from spoa.listindex import NEVER, Kind, serial_key
from spoa.policy.listfile import MAX_LIST_SIZE, read_list_document
from spoa.policy.reading import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.allowlist import Listing
    from spoa.exceptions import Problem
    from spoa.policy.listfile import ListDocument
    from spoa.policy.reading import Reading

__all__ = ["Key", "ListText", "Listed", "is_rich", "key_of_serial", "read_key", "rows_of"]

#: SHA-1 entries end when the policy that names the list says so; a file alone doesn't know.
_SHA1_UNTIL: Final = int(dt.datetime(9999, 1, 1, tzinfo=dt.UTC).timestamp())
_SHA256_DIGITS: Final = 64
_BLANKS: Final = str.maketrans("", "", ": \t")
_DASH: Final = re.compile(r"( *)-(?:[ \t]|\r?\n|$)")
_COMMENT: Final = re.compile(r"[ \t]*(?:#.*)?\r?\n?")
_TAIL: Final = re.compile(r"[^#;]*[#;]+[ \t]*(.*)")


@dataclass(frozen=True, slots=True)
class Key:
    """By what an entry names certificates; two are equal when they name the same.

    Attributes:
        kind: fingerprint, public key, SHA-1 or serial number.
        digest: of that kind; of a serial number its `serial_key`.
        issuer, serial: of a serial number, the serial in hex; else empty.
    """

    kind: Kind
    digest: bytes
    issuer: str = field(default="", compare=False)
    serial: str = field(default="", compare=False)

    @property
    def text(self) -> str:
        """As the command line takes it: `sha256:HEX`, `spki:HEX`, `sha1:HEX` or `ISSUER/HEX`."""
        word = _WORDS.get(self.kind)
        return f"{self.issuer}/{self.serial}" if word is None else f"{word}:{self.digest.hex()}"


_WORDS: Final = {Kind.SHA256: "sha256", Kind.SPKI_SHA256: "spki", Kind.SHA1: "sha1"}


def key_of_serial(issuer: str, serial: int) -> Key:
    """Return the key of a serial number; *issuer* as the policy names it."""
    return Key(Kind.SERIAL, serial_key(issuer, serial), issuer, f"{serial:x}")


def read_key(text: str) -> Key:
    """Return what `sha256:HEX`, `spki:HEX`, `sha1:HEX`, `ISSUER/HEX` or a fingerprint alone names.

    Raises:
        ValueError: none of these; the sentence says what is.
    """
    word, colon, rest = text.partition(":")
    if colon and word in {"sha256", "sha1"}:
        kind, digest = read_fingerprint(rest)
        if kind.value != word:
            raise ValueError(f"{word}: is followed by {64 if word == 'sha256' else 40} hex digits")
        return Key(kind, digest)
    if (colon and word == "spki") or "/" in text:
        _, value = read_target(text)
        return Key(Kind.SPKI_SHA256, value) if isinstance(value, bytes) else key_of_serial(*value)
    try:
        return Key(*read_fingerprint(text))
    except ValueError:
        raise ValueError("write a certificate file, a fingerprint, spki:HEX or ISSUER/SERIAL-HEX") from None


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a list.

    Attributes:
        key: what it names.
        first, last: the lines that it takes up, counted from 0; comments between entries belong to none.
        owner, comment, ticket: as written; of a plain list, the comment behind the fingerprint.
        expires: seconds since the epoch, or `NEVER`.
        next: the successor's fingerprint, or no bytes.
        row: how a rich entry was read, with its places.
    """

    key: Key
    first: int
    last: int
    owner: str = ""
    comment: str = ""
    ticket: str = ""
    expires: int = NEVER
    next: bytes = b""
    row: Reading | None = None

    @property
    def says(self) -> tuple[object, ...]:
        """All that it says, wherever it stands."""
        return self.key, self.owner, self.comment, self.ticket, self.expires, self.next

    @property
    def keys(self) -> tuple[Key, ...]:
        """What it names: the certificate, and during a rotation its successor."""
        return (self.key, Key(Kind.SHA256, self.next)) if self.next else (self.key,)


def is_rich(file: str) -> bool:
    """Tell by its name whether a list is of the rich form."""
    return file.endswith((".yaml", ".yml"))


def rows_of(document: ListDocument) -> tuple[Row, ...]:
    """Return the entries of a rich list with the places of their values."""
    return tuple(
        Row(
            values=entry.value,
            places={key: (node.line, node.column) for key, node in (*entry.marks.items(), ("", entry.node))},
            path=entry.path,
        )
        for entry in document.entries
    )


class ListText:
    """A list file, read.

    Args:
        text: its bytes.
        file: its name, whose ending tells the form.

    Attributes:
        lines: with their ends.
        entries: in the order of the file.
        is_permanent: entries of the rich form may do without an expiry; so do all of the plain form.
        head: the line of `entries:`, counted from 0; -1 in the plain form.
        warnings: what deserves a look.

    Raises:
        PolicyError: the file is no list; with all problems.
        ListError: its entries aren't written so that lines tell them apart.
    """

    def __init__(self, text: bytes, file: str) -> None:
        self.file = file
        self.is_rich = is_rich(file)
        self.is_permanent = True
        self.head = -1
        report = Report()
        rich = self._read_rich(text, report) if self.is_rich else None
        if not self.is_rich:
            report.add(*parse_plain(text, file, accept_sha1_until=_SHA1_UNTIL)[1])
        report.refuse_errors()
        self.warnings: tuple[Problem, ...] = report.problems
        # A comment may have bytes of another encoding, which are to stay as they are.
        self.lines = text.decode(errors="surrogateescape").split("\n")
        self.lines = [f"{line}\n" for line in self.lines[:-1]] + ([self.lines[-1]] if self.lines[-1] else [])
        self.entries = tuple(self._plain_entries() if rich is None else self._rich_entries(*rich))

    @property
    def line_end(self) -> str:
        """How its lines end."""
        return "\r\n" if self.lines and self.lines[0].endswith("\r\n") else "\n"

    def named(self, key: Key) -> tuple[Listed, ...]:
        """Return the entries that name *key* themselves."""
        return tuple(entry for entry in self.entries if entry.key == key)

    # -- the rich form -----------------------------------------------------------------------------------------

    def _read_rich(self, text: bytes, report: Report) -> tuple[Listing, ListDocument] | None:
        document = read_list_document(text, self.file, report, max_size=MAX_LIST_SIZE)
        if document is None:
            return None
        self.is_permanent = document.is_permanent
        self.head = document.line - 1
        listing, problems = parse_rich(
            rows_of(document), self.file, is_permanent=self.is_permanent, accept_sha1_until=_SHA1_UNTIL
        )
        report.add(*problems)
        return listing, document

    def _rich_entries(self, listing: Listing, document: ListDocument) -> Iterator[Listed]:
        for entry, row in zip(listing.entries, document.entries, strict=True):
            first, last = self._span(row.node.line - 1)
            yield Listed(
                key=_rich_key(entry.kind, entry.name, row),
                first=first,
                last=last,
                owner=entry.owner,
                comment=entry.comment,
                ticket=entry.ticket,
                expires=NEVER if "expires" not in row.value else entry.expires,
                next=entry.next,
                row=row,
            )

    def _span(self, line: int) -> tuple[int, int]:
        """Return the first and last line of the entry of which a key stands on *line*."""
        first = line
        while first > self.head and not _DASH.match(self.lines[first]):
            first -= 1
        dash = _DASH.match(self.lines[first])
        if dash is None or first == self.head:
            message = "this entry shares its line with others; give each its own, beginning with `- `"
            raise ListError(self.file, line + 1, message)
        last = first
        for number in range(first + 1, len(self.lines)):
            text = self.lines[number]
            if _COMMENT.fullmatch(text):
                continue
            if len(text) - len(text.lstrip(" ")) <= len(dash[1]):
                break
            last = number
        return first, last

    # -- the plain form ----------------------------------------------------------------------------------------

    def _plain_entries(self) -> Iterator[Listed]:
        for number, line in enumerate(self.lines):
            text = line.removeprefix("\ufeff").rstrip("\r\n")
            # Hot path: a list may have a million lines, nearly all of them one fingerprint and nothing else.
            if len(text) == _SHA256_DIGITS and text.isalnum():
                yield Listed(Key(Kind.SHA256, bytes.fromhex(text)), number, number)
                continue
            found = read_line(text)
            if found is not None:
                tail = _TAIL.fullmatch(text)
                yield Listed(Key(*found), number, number, comment=_shown(tail[1].strip()) if tail else "")


def _shown(comment: str) -> str:
    """Return a comment with a sign in the place of each byte that is no UTF-8."""
    return comment.encode(errors="surrogateescape").decode(errors="replace")


def _rich_key(kind: Kind, name: str, row: Reading) -> Key:
    if kind is Kind.SERIAL:
        return key_of_serial(row.value["issuer"], int(row.value["serial"].translate(_BLANKS), 16))
    return Key(kind, bytes.fromhex(name))
