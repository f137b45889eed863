"""Allowlists: what a list holds, and whether a certificate is on one."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.differential.second_evaluator.times import instant
from tests.differential.second_evaluator.words import UNKNOWN, Certificate, RefusedError
from tests.differential.second_evaluator.yaml_text import read_yaml

ENTRY_KEYS = {"sha256", "spki_sha256", "sha1", "issuer", "serial", "owner", "comment", "ticket", "expires", "next"}


@dataclass(frozen=True)
class Entry:
    """One way onto a list."""

    kind: str
    value: Any
    expires: int | None


@dataclass(frozen=True)
class Allowlist:
    """A list, and until when its SHA-1 entries count."""

    entries: tuple[Entry, ...]
    sha1_until: int | None


def digest(text: Any, length: int) -> str:
    """Read so many hex digits; "Colons, blanks, upper or lower case, an `SHA256 Fingerprint=` prefix are accepted".

    Hyphens, `sha256:` and the invisible mark that Windows puts in front are what is found in the wild.
    """
    if not isinstance(text, str):
        raise RefusedError(f"no digest: {text!r}")
    label = re.match(r"(?i)sha(1|256)(?: fingerprint=|:)", text.strip(" \t\u200e\ufeff"))
    if label and label[1] != {40: "1", 64: "256"}[length]:
        raise RefusedError(f"another kind of digest: {text!r}")
    bare = text.strip(" \t\u200e\ufeff")[label.end() if label else 0 :]
    bare = re.sub(r"[: \t-]", "", bare).lower()
    if not re.fullmatch(f"[0-9a-f]{{{length}}}", bare):
        raise RefusedError(f"no digest: {text!r}")
    return bare


def serial_number(text: Any) -> int:
    """Read hex."""
    bare = re.sub(r"[:\s]", "", text) if isinstance(text, str) else ""
    if not re.fullmatch("-?[0-9a-fA-F]+", bare, re.ASCII):
        raise RefusedError(f"no serial: {text!r}")
    return int(bare, 16)


def read_list(path: Path, sha1_until: int | None, issuers: set[str]) -> Allowlist:
    """Read a list file, rich or plain by its name.

    Raises:
        RefusedError: it isn't one.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RefusedError(str(error)) from None
    read = read_rich if path.suffix == ".yaml" else read_plain
    entries = read(data, issuers)
    if sha1_until is None and any(entry.kind == "sha1" for entry in entries):
        raise RefusedError("40 hex digits without accept_sha1_until")
    return Allowlist(tuple(entries), sha1_until)


def read_plain(data: bytes, _issuers: set[str]) -> list[Entry]:
    """Read the plain form: one fingerprint a line, `#` comments; "length decides the algorithm"."""
    try:
        lines = re.split("\r?\n", data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise RefusedError("no text") from None
    entries = []
    for line in lines:
        text = re.split("[#;]", line, maxsplit=1)[0].strip(" \t\u200e\ufeff")
        if not text:
            continue
        try:
            entries.append(Entry("sha256", digest(text, 64), None))
        except RefusedError:
            entries.append(Entry("sha1", digest(text, 40), None))
    return entries


def read_rich(data: bytes, issuers: set[str]) -> list[Entry]:
    """Read the rich form: "`expires` … compulsory unless the file's top level says `permanent: true`"."""
    node = read_yaml(data)
    if not isinstance(node, dict) or not set(node) <= {"apiVersion", "kind", "permanent", "entries"}:
        raise RefusedError("no list")
    if node.get("apiVersion") != "authz/v1" or node.get("kind") != "list" or not isinstance(node.get("entries"), list):
        raise RefusedError("no list")
    permanent = node.get("permanent", "false")
    if permanent not in {"true", "false"}:
        raise RefusedError("permanent is true or false")
    return [entry for item in node["entries"] for entry in read_entry(item, permanent == "true", issuers)]


def read_entry(item: Any, permanent: bool, issuers: set[str]) -> list[Entry]:
    """Read an entry: it, and its successor."""
    if not isinstance(item, dict) or not set(item) <= ENTRY_KEYS:
        raise RefusedError(f"no entry: {item}")
    ways = set(item) & {"sha256", "spki_sha256", "sha1", "issuer", "serial"}
    if ways not in ({"sha256"}, {"spki_sha256"}, {"sha1"}, {"issuer", "serial"}):
        raise RefusedError(f"one way to name the certificate: {sorted(ways)}")
    if "expires" not in item and not permanent:
        raise RefusedError("expires is compulsory")
    expires = instant(item["expires"]) if "expires" in item else None
    if ways == {"issuer", "serial"}:
        if item["issuer"] not in issuers:
            raise RefusedError(f"unknown issuer: {item['issuer']}")
        entries = [Entry("serial", (item["issuer"], serial_number(item["serial"])), expires)]
    else:
        (way,) = ways
        kind = way.removesuffix("_sha256")
        entries = [Entry(kind, digest(item[way], 40 if way == "sha1" else 64), expires)]
    if "next" in item:
        entries.append(Entry("sha256", digest(item["next"], 64), expires))
    return entries


def is_on(allowlist: Allowlist, certificate: Certificate, now: int, *, generous: bool) -> bool:
    """Whether the certificate is on the list; "an expired entry matches nowhere"."""
    known = {
        "sha256": certificate.fingerprint,
        "sha1": certificate.sha1,
        "spki": certificate.spki,
        "serial": UNKNOWN if certificate.serial is UNKNOWN else (certificate.issuer, certificate.serial),
    }
    for entry in allowlist.entries:
        if entry.expires is not None and now >= entry.expires:
            continue
        if entry.kind == "sha1" and (allowlist.sha1_until is None or now >= allowlist.sha1_until):
            continue
        value = known[entry.kind]
        if (value is UNKNOWN and generous) or value == entry.value:
            return True
    return False
