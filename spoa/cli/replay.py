"""`spoa-authz replay`: recorded decisions judged again under another policy."""

from __future__ import annotations

import json
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.cli.findings import counted, load, print_problems
from spoa.cli.logs import lines_of
from spoa.cli.table import print_rows, printable
from spoa.readings import untold_of
from spoa.replay import Replay

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from spoa.readings import Untold
    from spoa.replay import Tag, Totals

__all__ = ["command"]

_UNDETERMINED: Final = 1
_INVALID: Final = 3
_NEWLY_ALLOWED: Final = 6
_CHANGED: Final[tuple[Tag, ...]] = ("newly_allowed", "newly_denied", "undetermined")
#: Bytes of the log between two looks at the progress bar.
_STEP: Final = 1 << 20
_SPOKEN: Final = {"header": "headers", "sni": "SNI", "tls": "TLS version"}

_EPILOG: Final = """
\b
Examples:
  spoa-authz replay --log decisions.jsonl candidate
  spoa-authz replay --log decisions.jsonl.1.gz --log decisions.jsonl new
  ssh edge cat decisions.jsonl | spoa-authz replay --log - policies --json

\b
Exit status: 0 nothing is newly allowed, 1 nothing was found to be, but the
log doesn't tell of all decisions, 2 usage, 3 the policy is invalid,
6 something is newly allowed.
"""


@click.command("replay", short_help="Judge recorded decisions again under another policy.", epilog=_EPILOG)
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option(
    "--log",
    "logs",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    required=True,
    help="A decision log, gzip or not, repeatable; `-` is the standard input.",
)
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="How many clients are named.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(directory: str, *, logs: tuple[Path, ...], top: int, as_json: bool) -> None:
    """Judge the decisions of a log again under the policy DIR, and count those that would be others.

    What a log doesn't hold (headers, SNI, TLS version, most of a certificate) is taken at its worst and at its best for
    the client; where these differ, the decision is undetermined. Break-glass switches are as they were, by the log;
    where it doesn't tell, they are open at best.

    Whose answer is another is counted by the identity that the log tells, and who is newly allowed by the one under
    DIR; where that is none, by the other.

    Without the SNI nobody can tell whether the gate `sni_mismatch` would deny: whom it passed is taken to pass. What
    DIR asks for and no log holds is named below the counts; a candidate beside live traffic (`serve --candidate`) sees
    it.
    """
    loaded, report = load(directory)
    if loaded is None:
        print_problems(report.problems, err=True)
        sys.exit(_INVALID)
    policy = loaded.policy()
    totals = Replay(policy).read(_lines(logs))
    untold = untold_of(policy.model)
    if as_json:
        answer = _answer(totals, top, policy.revision) | {"untold": [one._asdict() for one in untold]}
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        _print_text(totals, top)
        for one in untold if totals.decisions else ():
            click.echo(printable(_limit(one)), err=True)
    is_open = bool(totals.tags["undetermined"] or totals.unread)
    sys.exit(_NEWLY_ALLOWED if totals.tags["newly_allowed"] else _UNDETERMINED if is_open else 0)


def _lines(logs: tuple[Path, ...]) -> Iterator[bytes]:
    """Yield the lines of all logs, with a progress bar on a terminal where their size is known."""
    if not sys.stderr.isatty() or Path("-") in logs:
        for log in logs:
            yield from lines_of(log)
        return
    with click.progressbar(length=sum(log.stat().st_size for log in logs), label="judging", file=sys.stderr) as bar:
        passed = 0
        for line in chain.from_iterable(map(lines_of, logs)):
            passed += len(line)
            if passed >= _STEP:
                bar.update(passed)
                passed = 0
            yield line
        bar.update(passed)


def _limit(untold: Untold) -> str:
    """Return in a sentence what could not be judged again."""
    what = _SPOKEN[untold.attribute]
    asking = [f"the gate {untold.gate} is taken to pass whom it passed"] if untold.gate else []
    if untold.rules:
        asking.append(f"what depends on it by {', '.join(untold.rules)} is undetermined")
    return f"note: a decision log holds no {what}: {', and '.join(asking)}"


def _answer(totals: Totals, top: int, revision: str) -> dict[str, Any]:
    return {
        "revision": revision,
        "decisions": totals.decisions,
        "unread": totals.unread,
        **{tag: totals.tags[tag] for tag in _CHANGED},
        "rules": _rows(totals.rules, "rule"),
        "identities": _rows(totals.identities, "identity"),
        "clients": _rows(totals.clients, "client")[:top],
    }


def _rows(counts: Counter[tuple[Tag, str]], key: str) -> list[dict[str, Any]]:
    return [{"tag": tag, key: name, "count": count} for (tag, name), count in counts.most_common()]


def _print_text(totals: Totals, top: int) -> None:
    for title, counts in (("rule", totals.rules), ("identity", totals.identities), ("client", totals.clients)):
        some = counts.most_common(top if title == "client" else None)
        if some:
            rows = [(tag.replace("_", " "), name or "none", str(count)) for (tag, name), count in some]
            print_rows(rows, ("answer", title, "decisions"))
            click.echo()
    changed = ", ".join(f"{totals.tags[tag]} {tag.replace('_', ' ')}" for tag in _CHANGED)
    click.echo(printable(f"{counted(totals.decisions, 'decision')} judged again: {changed}"))
    if totals.unread:
        click.echo(f"warning: {counted(totals.unread, 'line')} could not be read as a decision", err=True)
