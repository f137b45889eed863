"""Decision logs as verbs read them."""

from __future__ import annotations

import gzip
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.cli.asking import UnreachableError, ask, find_admin, find_state_dir
from spoa.cli.findings import counted
from spoa.cli.table import printable
from spoa.exceptions import SettingsError
from spoa.logsinks.file import rotated_files
from spoa.logsinks.opening import file_of
from spoa.recorded import read_decision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Unread", "decisions_of", "lines_of", "logs_of_agent"]

_GZIP: Final = b"\x1f\x8b"


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a decision log, as it is or compressed by log rotation; `-` is standard input.

    Raises:
        click.BadParameter: the file can't be read.
    """
    if str(path) == "-":
        yield from sys.stdin.buffer
        return
    try:
        with path.open("rb") as file:
            is_compressed = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            yield from gzip.GzipFile(fileobj=file) if is_compressed else file
    except (OSError, EOFError) as error:
        raise click.BadParameter(f"{path} can't be read: {error}", param_hint="--log") from None


@dataclass(slots=True)
class Unread:
    """Lines of decision logs that are no decisions.

    Attributes:
        count: how many.
        first: the first one, as FILE:LINE; empty for none.
    """

    count: int = 0
    first: str = ""

    def add(self, path: Path, number: int) -> None:
        """Count a line, by its number in its file from 1."""
        self.count += 1
        self.first = self.first or f"{path}:{number}"

    def tell(self, verb: str) -> None:
        """Say how many there are, and where, on the standard error; nothing for none."""
        if self.count:
            message = f"{counted(self.count, 'line')} can't be read as a decision, the first is {self.first}"
            click.echo(printable(f"spoa-authz {verb}: {message}"), err=True)


def decisions_of(logs: Iterable[Path], unread: Unread, *, holding: bytes = b"") -> Iterator[dict[str, Any]]:
    """Yield the decisions of logs, or those of them whose lines hold some bytes.

    Args:
        logs: files as `lines_of` takes them; one without any line is a log in which nothing happened.
        unread: counts the lines that are none; of those without *holding* only such as stand before any decision.
        holding: looked for first, since to read a line costs twenty times as much.

    Raises:
        click.BadParameter: a file can't be read, or has lines of which none is a decision.
        NewerLogError: a newer agent wrote one.
    """
    for path in logs:
        is_log, before = False, unread.count
        for number, line in enumerate(lines_of(path), 1):
            is_wanted = holding in line
            if is_log and not is_wanted:
                continue
            decision = read_decision(line)
            if decision is not None:
                is_log = True
                if is_wanted:
                    yield decision
            elif line.strip():
                unread.add(path, number)
        if unread.count > before and not is_log:
            raise click.BadParameter(f"{path} holds no decisions: it is no decision log", param_hint="--log")


def logs_of_agent(state_dir: str | None) -> tuple[Path, ...]:
    """Return where the running agent writes its decisions: files that it has rotated, the oldest first, and its own.

    Raises:
        click.UsageError: nobody answers, or it writes none to a file.
    """
    try:
        _, status = ask(find_admin(None, find_state_dir(state_dir, os.environ), os.environ), "GET", "/status")
    except (SettingsError, UnreachableError) as error:
        raise click.UsageError(f"{error}; name the decision log: --log FILE") from None
    place = status.get("decision_log")
    path = file_of(place) if isinstance(place, str) else None
    if path is None:
        raise click.UsageError("the running agent writes no decision log to a file; name one: --log FILE")
    return *rotated_files(path), path
