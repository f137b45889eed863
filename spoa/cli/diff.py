"""`spoa-authz diff`: what changes from one policy directory to another."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.cli.findings import counted, load, print_problems, problem_rows
from spoa.cli.table import printable
from spoa.difference import PATIENCE, compare
from spoa.policy.scalars import Timestamp
from spoa.revisions import directory_of

if TYPE_CHECKING:
    from spoa.difference import Change, Difference
    from spoa.loading import Loaded
    from spoa.policy.decision import Decision

__all__ = ["command"]

_INCOMPLETE: Final = 1
_INVALID: Final = 3
_NEWLY_ALLOWED: Final = 6

#: What was proved of the rest; notes say what a refusal is answered with, and where evidence comes from.
_WHOLE: Final = "all else is allowed or denied as before, and sent to the same backends"

_EPILOG: Final = """
\b
Examples:
  spoa-authz diff policies candidate
  spoa-authz diff git:main policies
  spoa-authz diff git:v1.4:edge/policies git:main:edge/policies --json

\b
Exit status: 0 nothing is newly allowed, 1 nothing was found to be, but the
search was not complete, 2 usage, 3 a policy is invalid, 6 something is
newly allowed.
"""

_PATIENCE_HELP: Final = "Conflicts of the solver after which a search is given up, and called incomplete."


@click.command("diff", short_help="Tell what changes between two policy directories.", epilog=_EPILOG)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--now", metavar="TIME", help="From when on changes count; the present unless given.")
@click.option("--patience", type=click.IntRange(1), default=PATIENCE, show_default=True, help=_PATIENCE_HELP)
def command(old: str, new: str, *, as_json: bool, now: str | None, patience: int) -> None:
    """Tell every kind of request that NEW answers otherwise than OLD, each with one request that shows it.

    OLD and NEW are policy directories; `git:REV` stands for the same directory at a git revision, `git:REV:DIR` for
    another one, counted from the top of the repository. Requests are the same kind when the same two rules decide, or,
    where both allow them, when they go to the same two backends. The search is complete: it goes over all classes of
    requests and certificates that the policies tell apart.
    """
    instant = int(time.time()) if now is None else _instant(now)
    with ExitStack() as stack:
        directories = [stack.enter_context(directory_of(*pair)) for pair in ((old, new), (new, old))]
        found = [load(str(directory)) for directory in directories]
    sides = [loaded for loaded, _ in found if loaded is not None]
    invalid = [(name, report.problems) for name, (loaded, report) in zip((old, new), found, strict=True) if not loaded]
    if invalid:
        for name, problems in invalid:
            click.echo(printable(f"{name} is invalid:"), err=True)
            print_problems(problems, err=True)
        if as_json:
            click.echo(json.dumps({"changes": [], "problems": {name: problem_rows(some) for name, some in invalid}}))
        sys.exit(_INVALID)
    before, after = sides
    listings = (before.listings, after.listings)
    difference = compare(before.policy(), after.policy(), instant, listings=listings, patience=patience)
    if as_json:
        click.echo(json.dumps(_answer(difference, before, after), indent=2, ensure_ascii=False))
    else:
        _print_text(difference)
    sys.exit(_NEWLY_ALLOWED if difference.count("newly_allowed") else _INCOMPLETE if difference.findings else 0)


def _instant(text: str) -> int:
    try:
        return int(Timestamp().parse(text))
    except ValueError as error:
        raise click.UsageError(f"--now: {error}") from None


def _answer(difference: Difference, before: Loaded, after: Loaded) -> dict[str, Any]:
    return {
        "old": before.revision,
        "new": after.revision,
        "complete": not difference.findings,
        "newly_allowed": difference.count("newly_allowed"),
        "newly_denied": difference.count("newly_denied"),
        "changes": [_row(change) for change in difference.changes],
        "rerouted": [one._asdict() for one in difference.rerouted],
        "notes": difference.notes,
        "findings": difference.findings,
    }


def _row(change: Change) -> dict[str, Any]:
    return {
        "tag": change.tag,
        "rule": change.rule,
        "before": _decision_row(change.before),
        "after": _decision_row(change.after),
        "witness": change.witness,
        "note": change.note,
    }


def _decision_row(decision: Decision) -> dict[str, object]:
    keys = ("verdict", "status", "reason", "rule")
    return {key: getattr(decision, key) for key in keys}


def _print_text(difference: Difference) -> None:
    for change in difference.changes:
        sign = "+" if change.tag == "newly_allowed" else "-"
        click.echo(printable(f"{sign} {change.tag.replace('_', ' ')}: {_told(change.before)} → {_told(change.after)}"))
        click.echo(printable(f"    {json.dumps(change.witness, ensure_ascii=False)}"))
        if change.note:
            click.echo(printable(f"    note: {change.note}"))
    for one in difference.rerouted:
        click.echo(printable(f"~ goes elsewhere: {one.before or 'no route'} → {one.after or 'no route'}"))
        click.echo(printable(f"    {json.dumps(one.witness, ensure_ascii=False)}"))
        if one.note:
            click.echo(printable(f"    note: {one.note}"))
    for note in difference.notes:
        click.echo(printable(f"note: {note}"))
    for finding in difference.findings:
        click.echo(f"warning: {finding}", err=True)
    counts = f"{difference.count('newly_allowed')} newly allowed, {difference.count('newly_denied')} newly denied"
    counts += f", {len(difference.rerouted)} sent elsewhere" if difference.rerouted else ""
    kinds = counted(len(difference.changes) + len(difference.rerouted), "kind")
    whole = "the search was not complete" if difference.findings else _WHOLE
    is_any = difference.changes or difference.rerouted
    click.echo(f"{kinds} of requests: {counts}; {whole}" if is_any else f"no change; {whole}")


def _told(decision: Decision) -> str:
    rule = f" by {decision.rule}" if decision.rule else ""
    return f"{decision.verdict}{rule} ({decision.reason})"
