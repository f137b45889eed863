"""What a draft can't say, or says otherwise than HAProxy did: by code, file, line and reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spoa.haproxy_config.acl import Comparison
    from spoa.haproxy_config.reading import Line

__all__ = ["NOTES", "Note", "Notes", "as_utf8", "is_utf8"]

#: Code → what it means. `untranslated` and `unsafe-…` count as warnings, others are for reading.
NOTES: Final[Mapping[str, str]] = {
    "untranslated": "The policy language has no word for it; where it restricted, the draft denies without it.",
    "undrafted": "A backend refuses more than the draft, since nothing tells what is sent there; its rules must stay.",
    "unsafe-prefix": "A prefix of text is none of a path: /admin is also that of /administrator, and not of /Admin.",
    "unsafe-substring": "Whoever gets a certificate with the text anywhere in its name is matched.",
    "unsafe-first-ou": "HAProxy looks at the first value only; what stands behind it is neither granted nor denied.",
    "unsafe-verb-list": "A list of denied methods lets all others through, those that are not known yet included.",
    "unsafe-issuer": "Any CA of the bind line can issue a certificate with this name.",
    "unsafe-certificate-test": "The sample is not what it looks like: see the line's reason.",
    "unsafe-header": "Clients write headers themselves.",
    "unsafe-fingerprint": "SHA-1 no longer tells certificates apart; the list takes such lines until a date.",
    "unsafe-url": "A URL may be absolute, and then begins with a scheme; the draft judges the path.",
    "host-spelling": "Host names are judged in lower case, without a port and without a dot at the end.",
    "unmatched": "Nothing fits it: what it excepts is denied, and a refusal or a route that asks for it is left out.",
    "folded": "HAProxy ignored case; the draft does too where it restricts, and never where it grants.",
    "narrowed": "The draft grants less than HAProxy did.",
    "kept": "It is no authorization, and stays in HAProxy.",
    "placeholder": "A file could not be read; the draft has something in its place that lets nobody in.",
    "not-joined": "HAProxy refuses a continued line; it was read as one.",
    "unreadable": "The line can't be read.",
}


_FOR_READING: Final = frozenset({"folded", "host-spelling", "kept", "narrowed"})


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """One remark.

    Attributes:
        file, line: where the original stands.
        code: a key of `NOTES`.
        text: what stands there, and the reason.
    """

    file: str
    line: int
    code: str
    text: str

    @property
    def is_warning(self) -> bool:
        """Whether somebody has to decide something."""
        return self.code not in _FOR_READING

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.code}: {self.text}"


def is_utf8(text: str) -> bool:
    """Tell whether a text was UTF-8; bytes that weren't are read as halves of surrogate pairs (PEP 383)."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def as_utf8(text: str) -> str:
    """Return a text with a backslash and digits for each byte that wasn't UTF-8, for people to read."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class Notes:
    """Notes as they are taken; each is there once."""

    def __init__(self) -> None:
        self._all: dict[Note, None] = {}

    def add(self, line: Line, code: str, text: str) -> None:
        """Take a note of a line."""
        self.take(Note(line.file, line.number, code, text))

    def take(self, note: Note) -> None:
        """Take a note."""
        assert note.code in NOTES, note
        self._all[replace(note, text=as_utf8(note.text))] = None

    @property
    def all(self) -> tuple[Note, ...]:
        """All notes, by file and line."""
        return tuple(sorted(self._all))


def note_unmatched(test: Comparison, notes: Notes, why: str, *, generous: bool, is_route: bool) -> None:
    """Note a test that nothing fits, with what the draft makes of it.

    Args:
        test: of HAProxy's.
        notes: take the note.
        why: nothing fits it.
        generous: it stands where a refusal restricts.
        is_route: it chooses a backend.
    """
    outcome = "has no route for it" if is_route else "denies nothing for it" if generous else "excepts nobody for it"
    notes.add(test.line, "unmatched", f"{test}: {why}; the draft {outcome}")
