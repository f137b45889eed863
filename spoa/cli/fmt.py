"""`spoa-authz fmt`: one layout for all documents of a policy."""

from __future__ import annotations

import difflib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from spoa.cli.findings import counted, print_problems, problem_rows
from spoa.cli.table import printable
from spoa.policy.layout import LayoutError, formatted
from spoa.policy.load import MAX_POLICY_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spoa.exceptions import Problem

__all__ = ["command"]

_WOULD_CHANGE: Final = 1
_INVALID: Final = 3
_ENDINGS: Final = (".yaml", ".yml")

_EPILOG: Final = """
\b
Examples:
  spoa-authz fmt policies
  spoa-authz fmt --check policies
  spoa-authz fmt --diff policies/rules.yaml

\b
Exit status: 0 fine, 1 something would change under --check,
2 usage, 3 a file can't be read as YAML.
"""


class _Outcome(NamedTuple):
    """A file, its text before and after, and why there is no after."""

    path: Path
    before: str
    after: str | None
    problems: tuple[Problem, ...] = ()

    @property
    def changes(self) -> bool:
        return self.after is not None and self.after != self.before


@click.command("fmt", short_help="Write policies in one layout.", epilog=_EPILOG)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--check", "is_check", is_flag=True, help="Write nothing; exit 1 if anything would change.")
@click.option("--diff", "is_diff", is_flag=True, help="Write nothing; print what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(paths: tuple[Path, ...], *, is_check: bool, is_diff: bool, as_json: bool) -> None:
    """Write YAML files, and those below directories, in one layout.

    Comments, the order of keys, and every value stay exactly as they are written; blanks, indentation and line breaks
    become those of the layout. A file that can't be read is left as it is.
    """
    outcomes = [_look_at(path) for path in _files(paths)]
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    changing = [outcome for outcome in outcomes if outcome.changes]
    is_written = not (is_check or is_diff)
    if is_written:
        for outcome in changing:
            _replace(outcome)
    if as_json:
        answer = {
            "ok": not problems and (is_written or not changing),
            "files": len(outcomes),
            "changed" if is_written else "would_change": [str(outcome.path) for outcome in changing],
            "problems": problem_rows(problems),
        }
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        _print(changing, problems, len(outcomes), is_diff=is_diff, is_written=is_written)
    sys.exit(_INVALID if problems else _WOULD_CHANGE if is_check and changing else 0)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that are named, and the YAML files below directories that aren't hidden, each once."""
    seen: set[Path] = set()
    for path in paths:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in found:
            inside = file.relative_to(path).parts
            is_meant = not path.is_dir() or (
                file.suffix in _ENDINGS and file.is_file() and not any(part.startswith(".") for part in inside)
            )
            if is_meant and file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _look_at(path: Path) -> _Outcome:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{path} can't be read: {error.strerror}") from error
    try:
        after, problems = formatted(content, str(path), max_size=MAX_POLICY_SIZE)
    except LayoutError:
        message = f"{path} was left as it is: it would say something else in the layout, which is a defect; report it"
        raise click.ClickException(message) from None
    return _Outcome(path, content.decode(errors="replace"), after, problems)


def _replace(outcome: _Outcome) -> None:
    """Write a file anew in one step, so that nobody reads half of it; a link keeps leading to it."""
    assert outcome.after is not None
    target = outcome.path.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".fmt-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(outcome.after.encode())
        Path(name).chmod(target.stat().st_mode & 0o7777)
        Path(name).replace(target)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise click.ClickException(f"{outcome.path} can't be written: {error.strerror}") from error


def _print(
    changing: Sequence[_Outcome], problems: Sequence[Problem], count: int, *, is_diff: bool, is_written: bool
) -> None:
    print_problems(problems, err=True)
    for outcome in changing:
        if is_diff:
            click.echo("\n".join(map(printable, _diff(outcome))))
        else:
            click.echo(f"{outcome.path}: {'written' if is_written else 'would change'}")
    if not is_diff:
        what = "changed" if is_written else "would change"
        click.echo(f"{counted(count, 'file')}, {len(changing)} {what}")


def _diff(outcome: _Outcome) -> Iterator[str]:
    after: Any = outcome.after
    name = str(outcome.path)
    yield from difflib.unified_diff(
        outcome.before.splitlines(), after.splitlines(), f"a/{name}", f"b/{name}", lineterm=""
    )
