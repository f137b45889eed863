"""Problems of a policy directory as verbs print them, and the directory loaded so far that they can be found."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spoa.cli.table import printable
from spoa.loading import load_directory
from spoa.policy.reading import Report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spoa.exceptions import Problem
    from spoa.loading import Loaded

__all__ = ["counted", "load", "print_problems", "problem_rows"]


def load(directory: str) -> tuple[Loaded | None, Report]:
    """Load a policy directory without running its tests; None, and problems in the report, when it is invalid."""
    report = Report()
    return load_directory(Path(directory), report, time.time()), report


def print_problems(problems: Iterable[Problem], *, err: bool = False, with_codes: bool = False) -> None:
    """Print one problem a line: `file:line:col path: message`, a warning marked as one; with its code if asked."""
    for problem in problems:
        where = f"{problem.file}:{problem.line}:{problem.column}" + (f" {problem.path}" if problem.path else "")
        mark = "warning: " if problem.is_warning else ""
        code = f" [{problem.code}]" if with_codes else ""
        click.echo(printable(f"{where}: {mark}{problem.message}{code}"), err=err)


def problem_rows(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Return problems as `--json` gives them."""
    return [
        {
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "path": problem.path,
            "severity": "warning" if problem.is_warning else "error",
            "code": problem.code,
            "message": problem.message,
        }
        for problem in problems
    ]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 error`, `2 errors`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
