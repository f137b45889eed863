"""The text of allowlists becomes digests, with every problem at its line.

A list exists in two forms. The *plain* form is one fingerprint a line, as scanners, spreadsheets and `openssl x509
-fingerprint` write it. The *rich* form is YAML: its rows come here as plain mappings with their places, since documents
are read elsewhere. Both become a `Listing`, which `write_index` turns into what requests are judged by.

Whatever can't be read is an error, never a line skipped: a typo neither drops nor admits a client unseen.
"""

from __future__ import annotations

import binascii
import datetime as dt
import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from spoa.alikelines import alike_digests, pieces
from spoa.exceptions import Problem
from spoa.listindex import NEVER, Kind, serial_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "MAX_REPORTED",
    "Entry",
    "Listing",
    "Row",
    "expiry_warnings",
    "parse_plain",
    "parse_rich",
    "read_fingerprint",
    "read_line",
]

MAX_REPORTED: Final = 100
"""Errors, and as many warnings, that are reported for one list; the rest is only counted."""

_COMMAND: Final = "`spoa-authz fingerprint CERT` prints the SHA-256"
_SERIAL_DIGITS: Final = 128
_SEPARATORS: Final = b": -\t"
_WITHOUT_SEPARATORS: Final = str.maketrans("", "", _SEPARATORS.decode())
_WITHOUT_BLANKS: Final = str.maketrans("", "", ": \t")
# What copying from the Windows certificate dialog, a web page or a spreadsheet brings along unseen.
_INVISIBLE: Final = "\u200b\u200e\u200f\u202a\u202c\ufeff"
_LABEL: Final = re.compile(r"[ \t]*(md5|sha-?(1|224|256|384|512))([ \t]+fingerprint)?[ \t]*[=:]", re.IGNORECASE)
_CLEAN_LINE: Final = re.compile(rb"(?:[Ss][Hh][Aa](1|256) Fingerprint=)?([0-9A-Fa-f:\- \t]*)(?:[#;].*)?")
_LABEL_DIGITS: Final = {b"1": 40, b"256": 64}
_NOT_HEX: Final = re.compile(r"[^0-9A-Fa-f:\- \t]")
_COMMENT: Final = re.compile("[#;]")
_BASE64: Final = re.compile(r"[ \t]*[A-Za-z0-9+/]{43}=?[ \t]*")
_LENGTHS: Final = {64: "SHA256", 40: "SHA1", 32: "MD5", 56: "SHA224", 96: "SHA384", 128: "SHA512"}
_KINDS: Final = {"SHA256": Kind.SHA256, "SHA1": Kind.SHA1}
_SHA256_SIZE: Final = 32
_SHA1_SIZE: Final = 20
_BREAK_SEQUENCES: Final = (b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9")
_HIDDEN_BREAK: Final = re.compile(rb"\r(?!\n|\Z)|\xc2\x85|\xe2\x80[\xa8\xa9]")


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a rich list as it was written.

    Attributes:
        values: `sha256`, `spki_sha256`, `sha1`, `issuer`, `serial`, `owner`, `comment`, `ticket`, `next` as texts,
            `expires` in seconds since the epoch; what was not given is not there.
        places: line and column of each value, and of the row itself under the empty name.
        path: the way to the row inside the document.
    """

    values: Mapping[str, Any]
    places: Mapping[str, tuple[int, int]]
    path: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a rich list, for those who look after it; requests are judged by the listing's sections.

    Attributes:
        kind: by what the entry names a certificate.
        name: the digest in hex, or the issuer and the serial number in hex.
        expires: seconds since the epoch, or `NEVER`.
        issuer: the issuer's name in the policy, of an entry by serial number.
        next: the digest of the successor's certificate, or no bytes.
        line: where the entry stands.
    """

    kind: Kind
    name: str
    expires: int
    line: int
    issuer: str = ""
    owner: str = ""
    comment: str = ""
    ticket: str = ""
    next: bytes = b""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list file says.

    Attributes:
        sections: digest → expiry for each kind; the digest of a serial number is its `serial_key`.
        entries: the rich form's entries in order; a plain list has none, for it says nothing about them.
    """

    sections: dict[Kind, dict[bytes, int]] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()

    def __len__(self) -> int:
        return sum(len(section) for section in self.sections.values())


class _FingerprintError(ValueError):
    """A text that is no fingerprint: what to do, and at which character it shows (counted from 0)."""

    def __init__(self, message: str, code: str, index: int = 0) -> None:
        super().__init__(message, code, index)
        self.message = message
        self.code = code
        self.index = index

    def __str__(self) -> str:
        return self.message


class _Findings:
    """Problems of one file, of which only the first hundred errors and warnings are kept."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._kept: dict[bool, list[Problem]] = {False: [], True: []}
        self._counts = {False: 0, True: 0}

    def add(self, place: tuple[int, int], message: str, code: str, *, path: str = "", is_warning: bool = False) -> None:
        self._counts[is_warning] += 1
        if self._counts[is_warning] <= MAX_REPORTED:
            self._kept[is_warning].append(Problem(self.file, *place, path, message, code, is_warning))

    def problems(self) -> tuple[Problem, ...]:
        found = sorted(self._kept[False] + self._kept[True])
        for is_warning, noun in ((False, "errors"), (True, "warnings")):
            if (more := self._counts[is_warning] - MAX_REPORTED) > 0:
                found.append(Problem(self.file, 0, 0, "", f"and {more} more {noun}", "more-problems", is_warning))
        return tuple(found)


def parse_plain(text: bytes, file: str, *, accept_sha1_until: int | None = None) -> tuple[Listing, tuple[Problem, ...]]:
    """Read a plain list: a fingerprint a line, with comments behind `#` or `;`.

    Colons, hyphens, blanks, either case and labels such as `SHA256 Fingerprint=` are accepted, as are CRLF and a byte
    order mark.

    Args:
        text: the file's bytes.
        file: its name, for problems.
        accept_sha1_until: when entries of 40 digits end, in seconds since the epoch; None makes them errors.
    """
    text = text.removeprefix(b"\xef\xbb\xbf")
    findings = _Findings(file)
    if not _check_encoding(text, findings):
        return Listing(), findings.problems()
    text = text.replace(b"\r\n", b"\n") if b"\r" in text else text
    reader = _PlainReader(findings, accept_sha1_until)
    if not reader.read(text, together=True):  # which lines stand there twice, and where, is seen one by one
        reader = _PlainReader(_Findings(file), accept_sha1_until)
        reader.read(text, together=False)
    return reader.finish()


def _clean_digest(line: bytes) -> bytes:
    """Return the digest of a line that is one beyond doubt; else no bytes."""
    try:
        return binascii.unhexlify(line.translate(None, _SEPARATORS))
    except ValueError:
        match = _CLEAN_LINE.fullmatch(line)
        if match is None:
            return b""
    digits = match[2].translate(None, _SEPARATORS)
    if len(digits) % 2 or (match[1] and _LABEL_DIGITS[match[1]] != len(digits)):
        return b""
    return binascii.unhexlify(digits)


class _PlainReader:
    """Reads a plain list, with its line breaks normalised."""

    def __init__(self, findings: _Findings, accept_sha1_until: int | None) -> None:
        self.sections: dict[Kind, dict[bytes, int]] = {Kind.SHA256: {}, Kind.SHA1: {}}
        self._findings = findings
        self._accept_sha1_until = accept_sha1_until
        self._is_in_pem = False

    def read(self, text: bytes, *, together: bool) -> bool:
        """Read all lines, alike ones *together* or not; False, at once, where one of those stands there twice."""
        long, short = self.sections[Kind.SHA256], self.sections[Kind.SHA1]
        sections, expiries = {_SHA256_SIZE: long}, {_SHA256_SIZE: NEVER}
        if self._accept_sha1_until is not None:
            sections[_SHA1_SIZE], expiries[_SHA1_SIZE] = short, _sha1_expiry(self._accept_sha1_until)
        for number, piece in pieces(text):
            alike = alike_digests(piece) if together else []
            if alike:
                before = len(long)
                long.update(dict.fromkeys(alike, NEVER))
                if len(long) - before != len(alike):
                    return False
                continue
            for at, line in enumerate(piece.split(b"\n"), number):
                digest = _clean_digest(line)
                section = sections.get(len(digest))
                if section is not None and digest not in section:
                    section[digest] = expiries[len(digest)]
                elif line:
                    self._read_closely(at, line)
        return True

    def _read_closely(self, number: int, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        if self._is_in_pem or text.startswith("-----BEGIN"):
            self._skip_pem(number, text)
            return
        value = _COMMENT.split(text, maxsplit=1)[0]
        try:
            found = read_line(text)
            if found is None:
                return
            kind, digest = found
            if any(character in value for character in _INVISIBLE):
                self._findings.add((number, 1), *_INVISIBLE_WARNING, is_warning=True)
            expires = _sha1_expiry(self._accept_sha1_until) if kind is Kind.SHA1 else NEVER
        except _FingerprintError as error:
            self._findings.add((number, error.index + 1), error.message, error.code)
            return
        section = self.sections[kind]
        if digest in section:
            message = "this fingerprint stands further up already; remove one of them"
            self._findings.add((number, 1), message, "duplicate-entry", is_warning=True)
        section[digest] = expires

    def _skip_pem(self, number: int, text: str) -> None:
        if not self._is_in_pem:
            message = f"this is a PEM block; a list holds fingerprints: {_COMMAND}"
            self._findings.add((number, 1), message, "pem")
        self._is_in_pem = not text.startswith("-----END")

    def finish(self) -> tuple[Listing, tuple[Problem, ...]]:
        listing = Listing({kind: section for kind, section in self.sections.items() if section})
        problems = self._findings.problems()
        if not len(listing) and not problems:
            self._findings.add((0, 0), *_EMPTY_WARNING, is_warning=True)
        _warn_of_sha1(listing, self._accept_sha1_until, self._findings)
        return listing, self._findings.problems()


_EMPTY_WARNING: Final = (
    "the list is empty: no certificate is on it; add one, or let no rule depend on it",
    "empty-list",
)
_INVISIBLE_WARNING: Final = ("an invisible character was copied along and is ignored; remove it", "invisible-character")


def _check_encoding(text: bytes, findings: _Findings) -> bool:
    if text.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in text:
        findings.add((1, 1), "the file is UTF-16 or no text at all; save it as UTF-8 or ASCII", "not-utf8")
        return False
    # Looked for one by one first: that is ten times as fast as the expression, and nearly always all.
    is_broken_well = b"\r" not in text or text.count(b"\r") == text.count(b"\r\n")
    if is_broken_well and (text.isascii() or not any(sequence in text for sequence in _BREAK_SEQUENCES)):
        return True
    for match in itertools.islice(_HIDDEN_BREAK.finditer(text), MAX_REPORTED):
        start = match.start()
        place = (text.count(b"\n", 0, start) + 1, start - text.rfind(b"\n", 0, start))
        findings.add(place, "a line break that editors may not show; end lines with LF or CRLF", "strange-character")
    return not findings.problems()


def read_line(text: str) -> tuple[Kind, bytes] | None:
    """Return kind and digest of the fingerprint on a line of a plain list, or None where there is only a comment.

    Raises:
        ValueError: the line holds something else; the sentence says what to do.
    """
    value = _COMMENT.split(text, maxsplit=1)[0]
    return read_fingerprint(value) if value.strip() else None


def read_fingerprint(text: str) -> tuple[Kind, bytes]:
    """Return kind and digest of a certificate's fingerprint; the kind follows from the length.

    Raises:
        ValueError: naming what is wrong, and what to do.
    """
    stripped = text.lstrip(_INVISIBLE + " \t").rstrip(_INVISIBLE + " \t")
    offset = text.index(stripped)
    label = _LABEL.match(stripped)
    value = stripped[label.end() :] if label else stripped
    offset += label.end() if label else 0
    if label and label[2] == "256" and _BASE64.fullmatch(value) and _NOT_HEX.search(value):
        message = f"this looks like base64, as SSH writes fingerprints; a list holds hex digits: {_COMMAND}"
        raise _FingerprintError(message, "not-hex", offset)
    if strange := _NOT_HEX.search(value):
        shown = strange[0] if strange[0].isprintable() else f"U+{ord(strange[0]):04X}"
        message = f'"{shown}" is no hex digit; a line is one fingerprint, and comments stand behind #'
        raise _FingerprintError(message, "not-hex", offset + strange.start())
    digits = value.translate(_WITHOUT_SEPARATORS)
    algorithm = _LENGTHS.get(len(digits))
    named = label[1].upper().replace("-", "") if label else algorithm
    if algorithm is not None and named != algorithm:
        message = f"{len(digits)} hex digits make a {algorithm} fingerprint, yet it is labelled {named}"
        raise _FingerprintError(message, "label-mismatch", offset)
    if algorithm not in _KINDS:
        raise _FingerprintError(_length_message(len(digits), algorithm), "wrong-length", offset)
    return _KINDS[algorithm], bytes.fromhex(digits)


def _length_message(count: int, algorithm: str | None) -> str:
    if algorithm is not None:
        return f"{algorithm} fingerprints are not accepted; {_COMMAND}"
    if count % 2:
        return f"{count} hex digits, an odd number: one is missing or too many (SHA-256 has 64)"
    return f"{count} hex digits; a SHA-256 fingerprint has 64"


def _sha1_expiry(accept_sha1_until: int | None) -> int:
    if accept_sha1_until is None:
        message = f"40 hex digits are a SHA-1 fingerprint; list the SHA-256: {_COMMAND}; or set accept_sha1_until"
        raise _FingerprintError(message, "sha1")
    return max(0, accept_sha1_until)


def _warn_of_sha1(listing: Listing, accept_sha1_until: int | None, findings: _Findings) -> None:
    count = len(listing.sections.get(Kind.SHA1, ()))
    if count and accept_sha1_until is not None:
        message = f"{count} SHA-1 entries, which end at {_instant(accept_sha1_until)}; replace them: {_COMMAND}"
        findings.add((0, 0), message, "sha1", is_warning=True)


def parse_rich(
    rows: Sequence[Row], file: str, *, is_permanent: bool = False, accept_sha1_until: int | None = None
) -> tuple[Listing, tuple[Problem, ...]]:
    """Read the rows of a rich list.

    Args:
        rows: in file order; each names its certificate in one way.
        file: the file's name, for problems.
        is_permanent: entries may do without an expiry.
        accept_sha1_until: when SHA-1 entries end at the latest, in seconds since the epoch; None makes them errors.
    """
    findings = _Findings(file)
    reader = _RichReader(findings, accept_sha1_until, is_permanent)
    for row in rows:
        reader.read_row(row)
    listing = Listing(reader.sections, tuple(reader.entries))
    if not rows:
        findings.add((0, 0), *_EMPTY_WARNING, is_warning=True)
    _warn_of_sha1(listing, accept_sha1_until, findings)
    return listing, findings.problems()


class _RichReader:
    """Gathers the entries of a rich list."""

    def __init__(self, findings: _Findings, accept_sha1_until: int | None, is_permanent: bool) -> None:
        self.sections: dict[Kind, dict[bytes, int]] = {}
        self.entries: list[Entry] = []
        self._seen: set[tuple[Kind, bytes]] = set()
        self._findings = findings
        self._accept_sha1_until = accept_sha1_until
        self._is_permanent = is_permanent

    def read_row(self, row: Row) -> None:
        name = next((kind.value for kind in Kind if kind.value in row.values), None)
        if name is None:
            message = "nothing names a certificate; give sha256, spki_sha256, or issuer and serial"
            self._note(row, "", message, "missing-key")
            return
        kind = Kind(name)
        expires = self._expiry(row)
        digest = self._digest(row, kind)
        successor = self._fingerprint(row, "next", Kind.SHA256) if "next" in row.values else b""
        if digest is None or expires is None or successor is None:
            return
        if kind is Kind.SHA1:
            expires = min(expires, max(0, self._accept_sha1_until or 0))
        if (kind, digest) in self._seen:
            message = "this certificate stands further up already; remove one of them"
            self._note(row, name, message, "duplicate-entry", is_warning=True)
        self._seen.add((kind, digest))
        self._place(kind, digest, expires)
        if successor:
            self._place(Kind.SHA256, successor, expires)
        texts = {key: str(row.values.get(key, "")) for key in ("issuer", "owner", "comment", "ticket")}
        shown = digest.hex() if kind is not Kind.SERIAL else f"{texts['issuer']} {row.values['serial']}"
        self.entries.append(Entry(kind, shown, expires, row.places[""][0], next=successor, **texts))

    def _note(self, row: Row, key: str, message: str, code: str, *, is_warning: bool = False) -> None:
        path = f"{row.path}.{key}" if key else row.path
        self._findings.add(row.places.get(key, row.places[""]), message, code, path=path, is_warning=is_warning)

    def _place(self, kind: Kind, digest: bytes, expires: int) -> None:
        section = self.sections.setdefault(kind, {})
        # Each entry counts for itself: an old one that ends doesn't end a newer one for the same certificate.
        section[digest] = max(expires, section.get(digest, 0))

    def _expiry(self, row: Row) -> int | None:
        expires = row.values.get("expires")
        if expires is not None:
            return max(0, int(expires))
        if self._is_permanent:
            return NEVER
        message = "expires is missing; give a time such as 2026-12-31T00:00:00Z, or permanent: true for the whole list"
        self._note(row, "", message, "missing-expiry")
        return None

    def _digest(self, row: Row, kind: Kind) -> bytes | None:
        if kind is not Kind.SERIAL:
            return self._fingerprint(row, kind.value, kind)
        issuer = row.values.get("issuer")
        if not issuer:
            self._note(row, "serial", "a serial number needs its issuer, by its name in the policy", "missing-key")
            return None
        digits = row.values["serial"].translate(_WITHOUT_BLANKS)
        if not re.fullmatch(f"-?(0[xX])?[0-9A-Fa-f]{{1,{_SERIAL_DIGITS}}}", digits):
            message = f"a serial number is 1 to {_SERIAL_DIGITS} hex digits, as `openssl x509 -serial` prints them"
            self._note(row, "serial", message, "not-hex")
            return None
        return serial_key(issuer, int(digits, 16))

    def _fingerprint(self, row: Row, key: str, wanted: Kind) -> bytes | None:
        text = row.values[key]
        try:
            digest = self._wanted_digest(text, key, wanted)
        except _FingerprintError as error:
            self._note(row, key, error.message, error.code)
            return None
        if any(character in text for character in _INVISIBLE):
            self._note(row, key, *_INVISIBLE_WARNING, is_warning=True)
        return digest

    def _wanted_digest(self, text: str, key: str, wanted: Kind) -> bytes:
        kind, digest = read_fingerprint(text)
        size = _SHA1_SIZE if wanted is Kind.SHA1 else _SHA256_SIZE
        if len(digest) != size:
            message = f"{key} has {2 * size} hex digits, and here are {2 * len(digest)}; {_COMMAND}"
            raise _FingerprintError(message, "wrong-length")
        if kind is Kind.SHA1:
            _sha1_expiry(self._accept_sha1_until)
        return digest


def expiry_warnings(listing: Listing, file: str, now: int, *, ahead: int = 30 * 86_400) -> tuple[Problem, ...]:
    """Warn of entries that have expired, or will within `ahead` seconds; `now` in seconds since the epoch."""
    findings = _Findings(file)
    for entry in listing.entries:
        if entry.expires <= now + ahead:
            verb, code = ("expired", "expired-entry") if entry.expires <= now else ("expires", "expiring-entry")
            owner = f" (owner: {entry.owner})" if entry.owner else ""
            message = f"the entry {entry.name}{owner} {verb} at {_instant(entry.expires)}; renew it or take it out"
            findings.add((entry.line, 1), message, code, is_warning=True)
    sha1 = listing.sections.get(Kind.SHA1, {}) if not listing.entries else {}
    until = min(sha1.values(), default=NEVER)
    if until <= now + ahead:
        verb, code = ("ended", "expired-entry") if until <= now else ("end", "expiring-entry")
        message = f"{len(sha1)} SHA-1 entries {verb} at {_instant(until)}; replace them: {_COMMAND}"
        findings.add((0, 0), message, code, is_warning=True)
    return findings.problems()


def _instant(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
