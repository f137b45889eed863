"""Entries for a list from what others keep: PEM certificates, `openssl` output, HAProxy acl files, CSV.

Whatever can't be taken is named with its line and the reason; nothing is guessed and nothing is passed over.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from spoa.allowlist import read_fingerprint
from spoa.exceptions import CertificateError
from spoa.identity import fingerprints, identity_from_der
from spoa.listedit import Addition
from spoa.listindex import NEVER, Kind
from spoa.listtext import Key, key_of_serial
from spoa.pem import read_blocks
from spoa.policy.scalars import Date, Timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["FORMATS", "Imported", "Refusal", "detect_format", "read_entries"]

_BEGIN: Final = b"-----BEGIN "
#: How the first lines of blocks end that are certificates, or naturally none.
_PASSED_BY: Final = (b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----", b"PARAMETERS-----")
_DER: Final = b"\x30"
#: Column of a CSV file (lower case, letters and digits alone) → what stands there.
_COLUMNS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("sha256", "fingerprint", "sha256fingerprint", "fingerprintsha256", "thumbprint"), "fingerprint"),
    **dict.fromkeys(("certificate", "cert", "certsha256", "hash", "sha256thumbprint", "digest"), "fingerprint"),
    **dict.fromkeys(("sha1", "sha1fingerprint", "fingerprintsha1"), "fingerprint"),
    **dict.fromkeys(("spki", "spkisha256", "pubkeysha256", "keysha256"), "spki"),
    **dict.fromkeys(("serial", "serialnumber"), "serial"),
    **dict.fromkeys(("issuer", "ca"), "issuer"),
    **dict.fromkeys(("owner", "contact", "team", "responsible"), "owner"),
    **dict.fromkeys(("comment", "name", "description", "cn", "commonname", "device", "subject", "note"), "comment"),
    **dict.fromkeys(("ticket", "request", "case", "reference"), "ticket"),
    **dict.fromkeys(("expires", "expiry", "notafter", "validuntil", "validto", "until", "end"), "expires"),
}
_NAMING: Final = frozenset({"fingerprint", "spki", "serial"})
_NOT_WORD: Final = re.compile(r"[^a-z0-9]")
#: What `openssl x509` prints beside a fingerprint; a line of it is no failed fingerprint.
_OPENSSL: Final = re.compile(r"[ \t]*(subject|issuer|serial|notBefore|notAfter)[ \t]*=(.*)")
_OPENSSL_DATE: Final = re.compile(r"([A-Z][a-z]{2}) +(\d{1,2}) (\d\d:\d\d:\d\d) (\d{4}) GMT")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_COMMENT: Final = re.compile(r"[ \t]+#[ \t]*(.*)$")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that can't be taken, counted from 1 (0: the file as a whole), and why."""

    line: int
    why: str


@dataclass(slots=True)
class Imported:
    """What came of a file: entries with the line of each, and refusals."""

    entries: list[tuple[int, Addition]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def refuse(self, line: int, why: str) -> None:
        """Name a line that can't be taken."""
        self.refusals.append(Refusal(line, why))


def detect_format(content: bytes) -> str:
    """Return which of `FORMATS` a file looks like."""
    if content.startswith(_DER) or _BEGIN in content:
        return "pem"
    first = next((line for line in content.decode(errors="replace").splitlines() if _is_said(line)), "")
    is_table = any(separator in first for separator in ",;\t") and not _is_fingerprint(first)
    return "csv" if is_table else "lines"


def read_entries(content: bytes, kind: str = "") -> Imported:
    """Return the entries of a file.

    Args:
        content: its bytes.
        kind: one of `FORMATS`; by what it looks like unless given.
    """
    found = Imported()
    content = content.removeprefix(b"\xef\xbb\xbf")
    FORMATS[kind or detect_format(content)](content, found)
    if not found.entries and not found.refusals:
        found.refuse(0, "there is nothing in it that names a certificate")
    return found


def _is_said(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _is_fingerprint(text: str) -> bool:
    try:
        read_fingerprint(text)
    except ValueError:
        return False
    return True


def _is_sha256(text: str) -> bool:
    return _is_fingerprint(text) and read_fingerprint(text)[0] is Kind.SHA256


def _fingerprint(text: str) -> Key:
    kind, digest = read_fingerprint(text)
    if kind is Kind.SHA1:
        raise ValueError("a SHA-1 fingerprint says too little; get the certificate, or its SHA-256")
    return Key(kind, digest)


# -- certificates -----------------------------------------------------------------------------------------------


def _read_pem(content: bytes, found: Imported) -> None:
    """Take every certificate; text around the blocks is what openssl prints, and keys lie beside certificates often."""
    for block in read_blocks(content, "CERTIFICATE"):
        if block.problem:
            found.refuse(block.line, block.problem)
            continue
        sha256, _ = fingerprints(block.der)
        try:
            certificate = identity_from_der(block.der)
        except CertificateError as error:
            found.refuse(block.line, str(error))
            continue
        if certificate.is_ca:
            found.refuse(block.line, f"a CA's certificate ({certificate.subject_text}) is no client's")
            continue
        key = Key(Kind.SHA256, sha256)
        addition = Addition(key, comment=certificate.subject_text, expires=certificate.not_after)
        found.entries.append((block.line, addition))
    for number, line in enumerate(content.splitlines(), start=1):
        if line.startswith(_BEGIN) and not line.rstrip().endswith(_PASSED_BY):
            found.refuse(number, f"{line.strip().decode(errors='replace')} is no certificate")


# -- lines ------------------------------------------------------------------------------------------------------


def _read_lines(content: bytes, found: Imported) -> None:
    """Take a fingerprint a line: HAProxy's acl and map files, plain lists, and the output of `openssl x509`."""
    group: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        if not _is_said(line):
            continue
        said = _OPENSSL.fullmatch(line)
        name, value = (said[1], said[2].strip()) if said else ("fingerprint", line)
        if name in group:  # what openssl says of the next certificate begins with a word that was said already
            _close(group, found)
            group = {}
        group[name] = (number, value)
    _close(group, found)


def _close(group: Mapping[str, tuple[int, str]], found: Imported) -> None:
    """Take what was said of one certificate."""
    if "fingerprint" not in group:
        if group:
            number, value = next(iter(group.values()))
            found.refuse(number, f"no fingerprint beside {value!r}; have openssl print it: -fingerprint -sha256")
        return
    number, line = group["fingerprint"]
    comment = _COMMENT.search(line)
    text = line[: comment.start()] if comment else line
    word, _, rest = text.strip().partition(" ")
    try:
        key, note = (_fingerprint(word), rest.strip()) if rest and _is_fingerprint(word) else (_fingerprint(text), "")
    except ValueError as error:
        found.refuse(number, str(error))
        return
    note = comment[1].strip() if comment else note or group.get("subject", (0, ""))[1]
    expires = _openssl_date(group.get("notAfter", (0, ""))[1])
    found.entries.append((number, Addition(key, comment=note, expires=expires)))


def _openssl_date(text: str) -> int:
    date = _OPENSSL_DATE.fullmatch(text)
    if date is None or date[1] not in _MONTHS:
        return NEVER
    return Timestamp().parse(f"{date[4]}-{_MONTHS.index(date[1]) + 1:02}-{int(date[2]):02}T{date[3]}Z")


# -- tables -----------------------------------------------------------------------------------------------------


def _read_table(content: bytes, found: Imported) -> None:
    """Take a row of a CSV file, by the names in its first line; or without those, by the cell that is a fingerprint."""
    text = content.decode(errors="replace")
    first = next((line for line in text.splitlines() if _is_said(line)), "")
    separator = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator)
    columns: list[str] | None = None
    try:
        for row in reader:
            if not any(map(str.strip, row)) or row[0].lstrip().startswith("#"):
                continue
            if columns is None:
                columns = [_COLUMNS.get(_NOT_WORD.sub("", cell.lower()), "") for cell in row]
                if not _NAMING.isdisjoint(columns):
                    continue
                columns = []
            _take_row(reader.line_num, row, columns, found)
    except csv.Error as error:
        found.refuse(reader.line_num, f"no CSV: {error}")


def _take_row(line: int, row: Sequence[str], columns: Sequence[str], found: Imported) -> None:
    cells = [cell.strip() for cell in row]
    said: dict[str, str] = {}
    if columns:
        for name, cell in zip(columns, cells, strict=False):
            # A SHA-1 beside a SHA-256, as some registers keep both, is passed by.
            if name and cell and (name not in said or (name == "fingerprint" and not _is_sha256(said[name]))):
                said[name] = cell
    else:
        named = next((cell for cell in cells if _is_fingerprint(cell)), "")
        said = {"comment": ", ".join(cell for cell in cells if cell and cell != named)}
        if named:
            said["fingerprint"] = named
    try:
        key = _named(said)
        expires = _end(said.get("expires", ""))
    except ValueError as error:
        found.refuse(line, str(error))
        return
    owner, comment, ticket = (said.get(name, "") for name in ("owner", "comment", "ticket"))
    found.entries.append((line, Addition(key, owner, comment, ticket, expires)))


def _named(said: Mapping[str, str]) -> Key:
    """Return what a row names a certificate by: its fingerprint before its key, that before its serial number."""
    if "fingerprint" in said:
        return _fingerprint(said["fingerprint"])
    if "spki" in said:
        return Key(Kind.SPKI_SHA256, _fingerprint(said["spki"]).digest)
    if "serial" in said and "issuer" in said:
        digits = said["serial"].replace(":", "").replace(" ", "")
        try:
            return key_of_serial(said["issuer"], int(digits, 16))
        except ValueError:
            raise ValueError(f"the serial number {said['serial']!r} is not hex") from None
    raise ValueError("no cell holds a SHA-256 fingerprint, a key, or a serial number with its issuer")


def _end(text: str) -> int:
    if not text:
        return NEVER
    for shape in (Timestamp(), Date()):
        try:
            return shape.parse(text)
        except ValueError:
            continue
    expires = _openssl_date(text)
    if expires == NEVER:
        raise ValueError(f"the end {text!r} is no time; write 2027-12-31 or 2027-12-31T00:00:00Z")
    return expires


#: Format → how it is read.
FORMATS: Final[Mapping[str, Callable[[bytes, Imported], None]]] = {
    "pem": _read_pem,
    "lines": _read_lines,
    "csv": _read_table,
}
