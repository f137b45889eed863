"""The form of the block list in the state directory: written by `block`, and by hand where that is faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spoa.policy.conditions import digest_pattern, serial_pattern
from spoa.policy.entryfile import read_entries
from spoa.policy.scalars import Choice, Parsed, Text, Timestamp
from spoa.policy.shapes import Field, ListOf, Record

if TYPE_CHECKING:
    from spoa.policy.reading import Reading, Report

__all__ = ["BLOCK_FILE", "MAX_BLOCKS_SIZE", "read_block_entries"]

#: Bytes of a block list.
MAX_BLOCKS_SIZE: Final = 16 << 20

_NOTE: Final = Text(min=0, max=1000)
_BLOCK: Final = Record(
    {
        "sha256": Field(Parsed(digest_pattern), doc="SHA-256 of the certificate, 64 hex digits."),
        "spki": Field(Parsed(digest_pattern), doc="SHA-256 of the public key, 64 hex digits."),
        "serial": Field(Parsed(serial_pattern), doc="Serial number in hex, beside `issuer`."),
        "issuer": Field(Text(max=64), doc="The issuer's name in the policy, beside `serial`."),
        "reason": Field(_NOTE, doc="Why; for people."),
        "ticket": Field(_NOTE, doc="Where it is dealt with."),
        "blocked": Field(Timestamp(), doc="Since when."),
        "expires": Field(Timestamp(), doc="Until when; for good unless given."),
    },
    exactly_one=("sha256", "spki", "serial"),
    noun="block",
)
BLOCK_FILE: Final = Record(
    {
        "apiVersion": Field(Choice(("authz/v1",)), required=True, doc="Version of the language."),
        "kind": Field(Choice(("blocks",)), required=True, doc="This file blocks certificates."),
        "entries": Field(ListOf(_BLOCK, min=0), required=True, doc="What is blocked."),
    },
    noun="block list",
)


def read_block_entries(text: bytes, file: str, report: Report) -> tuple[Reading, ...]:
    """Return the entries of a block list; worth something only when nothing was reported.

    Args:
        text: the file's bytes; an empty file blocks nothing.
        file: its name, for problems.
        report: takes every problem.
    """
    entries = read_entries(BLOCK_FILE, text, file, report, max_size=MAX_BLOCKS_SIZE)
    for entry in entries:
        if ("issuer" in entry.keys) is not ("serial" in entry.keys):
            message = "`serial` and `issuer` stand together or not at all"
            report.problem(entry.node, entry.path, message, "conflicting-keys")
    return entries
