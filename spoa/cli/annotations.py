"""Findings as commands of a GitHub workflow, which shows them beside the lines of a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import PurePath

    from spoa.exceptions import Problem

__all__ = ["workflow_commands"]


def workflow_commands(problems: Iterable[Problem], directory: PurePath) -> Iterator[str]:
    """Yield one line for each finding.

    Args:
        problems: what was found.
        directory: where the files of the findings lie, from the top of the repository.
    """
    for problem in problems:
        properties = {"file": (directory / problem.file).as_posix()}
        if problem.line:
            properties |= {"line": str(problem.line), "col": str(max(problem.column, 1))}
        properties["title"] = problem.code
        listed = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
        message = f"{problem.path}: {problem.message}" if problem.path else problem.message
        yield f"::{'warning' if problem.is_warning else 'error'} {listed}::{_escaped(message)}"


def _escaped(text: str, more: str = "") -> str:
    """Return text in which nothing ends the line or the property early."""
    return "".join(f"%{ord(char):02X}" if char in f"%\r\n{more}" else char for char in text)
