"""`spoa-authz audit`: check a hash-chained decision log; print the schema of its lines."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.chainaudit import Audit, KeyNeededError, ordered
from spoa.cli.findings import counted
from spoa.cli.logs import lines_of
from spoa.cli.table import printable
from spoa.decision_fields import json_schema
from spoa.logchain import Head
from spoa.logsinks.file import kept_head

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["command"]

_BAD: Final = 1
_SHOWN: Final = 20

_EPILOG: Final = """
\b
Examples:
  spoa-authz audit verify decisions.jsonl*
  spoa-authz audit verify --key-file chain.key decisions.jsonl
  spoa-authz audit verify --head file-9f0c…:1207:b71e… decisions.jsonl

\b
Files are read in the order in which they were written, gzip or not; heads
kept beside them (FILE.chain) are compared too. Without a key whoever may
write the log can compute the chain anew; and only a head noted elsewhere
shows that the last lines are gone; without any head that is said.

\b
Exit status: 0 the log is what was written, 1 it isn't, or is no chain,
2 usage.
"""


class _Head(click.ParamType):  # type: ignore[type-arg] # generic in newer releases only
    name = "head"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the head read; what is none is a usage error."""
        try:
            return Head.from_text(value)
        except ValueError as error:
            return self.fail(str(error), param, ctx)


@click.group("audit", short_help="Check a hash-chained decision log.")
def command() -> None:
    """Check that a decision log is what the agent wrote."""


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of a line of the decision log."""
    click.echo(json.dumps(json_schema(), indent=2))


@command.command("verify", epilog=_EPILOG)
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--key-file",
    "key_files",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Holds the key of the chain; repeatable, where it was changed.",
)
@click.option(
    "--head", "heads", metavar="HEAD", multiple=True, type=_Head(), help="A head noted elsewhere; repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def verify(files: tuple[Path, ...], key_files: tuple[Path, ...], heads: tuple[Head, ...], *, as_json: bool) -> None:
    """Tell whether the lines of a hash-chained log are all there, as they were written and in that order.

    Names the first line that was cut, edited, inserted, reordered or truncated.
    """
    # Heads are read before the logs: what is written meanwhile is behind them.
    logs = [path for path in files if not path.name.endswith(".chain")]
    if not logs:
        raise click.BadParameter("name a log, not only the head of its chain", param_hint="FILE")
    kept = [head for path in logs if (head := _kept_head(path)) is not None]
    audit = Audit([_key(path) for path in key_files], [*heads, *kept])
    names = list(ordered({str(path): next(lines_of(path), b"") for path in logs}))
    try:
        for name in names:
            audit.read(name, lines_of(Path(name)))
    except KeyNeededError:
        raise click.UsageError("the chain was made with a key; give --key-file") from None
    audit.finish(names[-1])
    click.echo(json.dumps(_row(audit, names), indent=2) if as_json else "\n".join(_text(audit)))
    sys.exit(_BAD if audit.findings else 0)


def _key(path: Path) -> bytes:
    key = path.read_bytes().strip()
    if not key:
        raise click.BadParameter(f"{path} is empty", param_hint="--key-file")
    return key


def _kept_head(path: Path) -> Head | None:
    """Return the head that is kept beside a log."""
    try:
        return kept_head(path)
    except OSError as error:
        detail = f"{error.filename} can't be read: {error.strerror}"
        raise click.BadParameter(detail, param_hint="FILE") from None


def _row(audit: Audit, names: Sequence[str]) -> dict[str, Any]:
    return {
        "intact": not audit.findings,
        "files": list(names),
        "lines": audit.lines,
        "chained": audit.chained,
        "uncovered": audit.uncovered,
        "begins": audit.begins,
        "heads": [str(head) for head in audit.heads],
        "compared_heads": [str(head) for head in audit.expected],
        "findings": [finding._asdict() for finding in audit.findings],
        "more_findings": audit.dropped,
    }


def _text(audit: Audit) -> list[str]:
    found = [printable(f"{one.file}:{one.line}: {one.code}: {one.message}") for one in audit.findings[:_SHOWN]]
    more = len(audit.findings) - len(found) + audit.dropped
    if more:
        found.append(f"and {counted(more, 'more finding')}")
    found.append(f"{counted(audit.lines, 'line')}, {audit.chained} of them chained: {'NOT ' * bool(found)}as written")
    if audit.uncovered:
        found.append(f"{counted(audit.uncovered, 'line')} before the chain began, for which it can't speak")
    begins = [(name, first) for name, first in audit.begins.items() if first > 1]
    found += [f"begins with number {first} of {name}: what came before isn't here" for name, first in begins]
    compared = {head.writer for head in audit.expected}
    blind = sum(head.writer not in compared for head in audit.heads)
    if blind:
        what = "lines may be missing at the end"
        found.append(f"no head was there to compare {counted(blind, 'chain')} with: {what}")
    found += [f"head {head}" for head in audit.heads]
    return found
