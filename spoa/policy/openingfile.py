"""The form of the file that says which break-glass switches are open: written by `breakglass`, and by hand in need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spoa.policy.entryfile import read_entries
from spoa.policy.scalars import Choice, Text, Timestamp
from spoa.policy.shapes import Field, ListOf, Record

if TYPE_CHECKING:
    from spoa.policy.reading import Reading, Report

__all__ = ["MAX_OPENINGS_SIZE", "OPENING_FILE", "read_opening_entries"]

#: Bytes of the file.
MAX_OPENINGS_SIZE: Final = 1 << 20

_OPENING: Final = Record(
    {
        "switch": Field(Text(max=64), required=True, doc="Its name in the policy."),
        "ticket": Field(Text(max=1000), required=True, doc="Where it is dealt with, as the policy wants it."),
        "opened": Field(Timestamp(), required=True, doc="Since when."),
        "until": Field(Timestamp(), required=True, doc="Until when; never longer than the policy allows."),
        "by": Field(Text(min=0, max=1000), doc="Who opened it; for people."),
    },
    noun="opening",
)
OPENING_FILE: Final = Record(
    {
        "apiVersion": Field(Choice(("authz/v1",)), required=True, doc="Version of the language."),
        "kind": Field(Choice(("openings",)), required=True, doc="This file opens break-glass switches."),
        "entries": Field(ListOf(_OPENING, min=0), required=True, doc="What is open."),
    },
    noun="file of openings",
)


def read_opening_entries(text: bytes, file: str, report: Report) -> tuple[Reading, ...]:
    """Return the entries of the file; worth something only when nothing was reported.

    Args:
        text: the file's bytes; an empty file opens nothing.
        file: its name, for problems.
        report: takes every problem.
    """
    return read_entries(OPENING_FILE, text, file, report, max_size=MAX_OPENINGS_SIZE)
