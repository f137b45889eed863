"""A file in the state directory that is a list of entries under `apiVersion` and `kind`: how all such are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spoa.policy.document import read_document
from spoa.policy.reading import INVALID, Reading, Report

if TYPE_CHECKING:
    from spoa.policy.shapes import Record

__all__ = ["read_entries"]


def read_entries(form: Record, text: bytes, file: str, report: Report, *, max_size: int) -> tuple[Reading, ...]:
    """Return what stands under `entries`; worth something only when nothing was reported.

    Args:
        form: the whole file's.
        text: the file's bytes; an empty file has no entries.
        file: its name, for problems.
        report: takes every problem.
        max_size: bytes of the file.
    """
    node, problems = read_document(text, file, max_size=max_size)
    report.add(*problems)
    if node is None:
        return ()
    reading = form.read(node, report, "")
    if reading is INVALID or not isinstance(reading, Reading):
        return ()
    entries: tuple[Reading, ...] = reading.value.get("entries", ())
    return entries
