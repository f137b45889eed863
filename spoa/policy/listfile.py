"""The rich form of an allowlist: its shape, and its rows with their places.

What the digests in it mean is no matter of the policy language; whoever builds the list reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from spoa.policy.document import read_document
from spoa.policy.reading import INVALID
from spoa.policy.scalars import Boolean, Choice, Text, Timestamp
from spoa.policy.shapes import Field, ListOf, Record

if TYPE_CHECKING:
    from spoa.policy.reading import Reading, Report

__all__ = ["LIST_ENTRY", "LIST_FILE", "MAX_LIST_SIZE", "ListDocument", "read_list_document"]

MAX_LIST_SIZE: Final = 64 << 20
"""Bytes of a rich list."""

_DIGEST: Final = Text(max=256)
_NOTE: Final = Text(min=0)

LIST_ENTRY: Final = Record(
    {
        "sha256": Field(_DIGEST, doc="SHA-256 of the certificate, 64 hex digits."),
        "spki_sha256": Field(_DIGEST, doc="SHA-256 of the certificate's public key, 64 hex digits."),
        "sha1": Field(_DIGEST, doc="SHA-1 of the certificate, 40 hex digits; only where the list accepts them."),
        "serial": Field(_DIGEST, doc="Serial number in hex, beside `issuer`."),
        "issuer": Field(_DIGEST, doc="The issuer's name in the policy, beside `serial`."),
        "owner": Field(_NOTE, doc="Who answers for the client."),
        "comment": Field(_NOTE, doc="What the client is."),
        "ticket": Field(_NOTE, doc="Where it was asked for."),
        "expires": Field(Timestamp(), doc="When the entry ends; compulsory unless the list is permanent."),
        "next": Field(_DIGEST, doc="SHA-256 of the successor's certificate, accepted beside this one."),
    },
    exactly_one=("sha256", "spki_sha256", "sha1", "serial"),
    noun="a list entry",
)

LIST_FILE: Final = Record(
    {
        "apiVersion": Field(Choice(["authz/v1"]), required=True, doc="Version of the language."),
        "kind": Field(Choice(["list"]), required=True, doc="This file is a list."),
        "permanent": Field(Boolean(), default=False, doc="Entries may do without `expires`."),
        "entries": Field(ListOf(LIST_ENTRY, min=0), required=True, doc="The certificates on the list."),
    },
    noun="a list file",
)


@dataclass(frozen=True, slots=True)
class ListDocument:
    """A rich list as it was written; entries that can't be read are left out, and reported.

    Attributes:
        is_permanent: entries may do without an expiry.
        entries: in the order of the file.
        line: where the key `entries` stands, counted from 1.
    """

    is_permanent: bool
    entries: tuple[Reading, ...]
    line: int = field(default=0, compare=False)


def read_list_document(text: bytes, file: str, report: Report, *, max_size: int = MAX_LIST_SIZE) -> ListDocument | None:
    """Read a rich list; None when it is beyond reading. All problems go into the report.

    Args:
        text: the file's bytes, UTF-8.
        file: its name, for problems.
        report: gathers the problems.
        max_size: in bytes.
    """
    node, problems = read_document(text, file, max_size=max_size)
    report.add(*problems)
    if node is None:
        if not problems:
            report.file_problem(
                file, "the file is empty; a list begins with apiVersion, kind and entries", "empty-file"
            )
        return None
    reading = LIST_FILE.read(node, report, "")
    if reading is INVALID:
        return None
    given: tuple[Reading, ...] = reading.value.get("entries", ())
    complete = tuple(entry for entry in given if entry.is_complete and not _report_idle_issuer(entry, report))
    return ListDocument(bool(reading.value.get("permanent")), complete, reading.keys.get("entries", reading.node).line)


def _report_idle_issuer(entry: Reading, report: Report) -> bool:
    is_idle = "issuer" in entry.keys and "serial" not in entry.keys
    if is_idle:
        message = "issuer stands only beside serial; remove it"
        report.problem(entry.keys["issuer"], entry.path_of("issuer"), message, "conflicting-keys")
    return is_idle
