"""A file in the state directory that is a list of entries under `apiVersion` and `kind`: how all such are read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from spoa.policy.document import Mapping, Scalar, read_document
from spoa.policy.reading import INVALID, Reading, Report

if TYPE_CHECKING:
    from spoa.policy.document import Node
    from spoa.policy.shapes import Record

__all__ = ["read_entries"]

_NEWER: Final = re.compile(r"authz/v(?!1$)\S+")  # also what no version has been called yet, as `authz/v1.1`


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
    if node is None or _is_newer(node, report):
        return ()
    reading = form.read(node, report, "")
    if reading is INVALID or not isinstance(reading, Reading):
        return ()
    entries: tuple[Reading, ...] = reading.value.get("entries", ())
    return entries


def _is_newer(node: Node, report: Report) -> bool:
    """Report a file that a newer agent wrote; nobody should mend that by hand."""
    for key, value in node.pairs if isinstance(node, Mapping) else ():
        if key.text == "apiVersion" and isinstance(value, Scalar) and _NEWER.fullmatch(value.text):
            message = f"this agent reads authz/v1, not {value.text}; start the version of the agent that wrote the file"
            report.problem(value, "apiVersion", message, "invalid-value")
            return True
    return False
