"""`spoa-authz list show` and `list audit`: what is on a list, and what of it deserves a look."""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.cli.logs import lines_of, logs_of_agent
from spoa.cli.table import print_rows, printable
from spoa.listaudit import audit as findings_of
from spoa.listaudit import sighting_of
from spoa.listindex import NEVER
from spoa.liststore import read_list
from spoa.listtext import ListText
from spoa.recorded import Sightings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spoa.listtext import Listed

__all__ = ["audit", "show"]

_FOUND: Final = 1
_DAY: Final = 86_400
_DAYS: Final = re.compile(r"(\d{1,5})d?")

_LOG = click.option(
    "--log",
    "logs",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="A decision log, for when each client was last seen; repeatable, gzip or not.",
)
_AGENT = click.option("--agent", is_flag=True, help="Read the decision log of the running agent.")
_STATE_DIR = click.option("--state-dir", metavar="DIR", help="State directory of that agent.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def _days(_ctx: click.Context, _parameter: click.Parameter, value: str) -> int:
    match = _DAYS.fullmatch(value)
    if match is None:
        raise click.BadParameter("write a number of days, such as 90 or 90d")
    return int(match[1])


def _instant(seconds: float | None) -> str | None:
    if seconds is None or seconds >= NEVER:
        return None
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _sightings(logs: Sequence[Path], state_dir: str | None, *, of_agent: bool) -> Sightings | None:
    if of_agent:
        logs = (*logs, *logs_of_agent(state_dir))
    if not logs:
        return None
    found = Sightings()
    for path in logs:
        found.read(lines_of(path))
    if found.since is None:
        click.echo("spoa-authz list: the logs hold no decision, so nobody was seen", err=True)
    elif not found.allows:
        click.echo("spoa-authz list: the logs hold no allow, so they can't tell who is unused", err=True)
    elif found.masked:
        names = ", ".join(sorted(kind.value for kind in found.masked))
        click.echo(f"spoa-authz list: the logs mask {names}; of such entries nobody can tell who is unused", err=True)
    if found.unreadable:
        click.echo(f"spoa-authz list: {found.unreadable} lines of the logs are no decisions", err=True)
    return found


# -- show -------------------------------------------------------------------------------------------------------


@click.command(
    "show",
    epilog="\b\nExample:\n  spoa-authz list show lists/docks.yaml --log decisions.jsonl\n\n"
    "\b\nExit status: 0 fine, 2 usage, 3 the file is no list.",
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_LOG
@_AGENT
@_STATE_DIR
@_JSON
def show(file: Path, logs: tuple[Path, ...], state_dir: str | None, *, agent: bool, as_json: bool) -> None:
    """Show the entries of the list FILE: whose they are, until when, and when each was last seen.

    Logs of older agents name certificates by SHA-256 alone, and tell nothing of entries by key, serial number or SHA-1.
    """
    text = ListText(read_list(file), str(file))
    sightings = _sightings(logs, state_dir, of_agent=agent)
    if as_json:
        entries = [_row(entry, sightings) for entry in text.entries]
        click.echo(json.dumps({"file": str(file), "entries": entries}, indent=2, ensure_ascii=False))
        return
    rows = [_cells(entry, sightings) for entry in text.entries]
    if not rows:
        click.echo(f"{printable(str(file))} is empty")
        return
    headers = ("line", "certificate", "owner", "comment", "ticket", "expires", "next", "last seen")
    # A column in which nothing is said is left out.
    kept = [number for number, column in enumerate(zip(*rows, strict=True)) if any(column)]
    print_rows([[row[number] for number in kept] for row in rows], [headers[number] for number in kept])


def _row(entry: Listed, sightings: Sightings | None) -> dict[str, Any]:
    sighting = sighting_of(entry.key, sightings)
    successor = sighting_of(entry.keys[-1], sightings) if entry.next else None
    return {
        "line": entry.first + 1,
        "key": entry.key.text,
        "kind": entry.key.kind.value,
        "owner": entry.owner,
        "comment": entry.comment,
        "ticket": entry.ticket,
        "expires": _instant(entry.expires),
        "next": entry.next.hex() or None,
        "last_seen": _instant(None if sighting is None else sighting.last),
        "last_allowed": _instant(None if sighting is None else sighting.allowed or None),
        "next_last_seen": _instant(None if successor is None else successor.last),
    }


def _cells(entry: Listed, sightings: Sightings | None) -> tuple[str, ...]:
    texts = (str(entry.first + 1), entry.key.text, entry.owner, entry.comment, entry.ticket)
    return (*texts, _instant(entry.expires) or "", entry.next.hex(), _last_seen(entry, sightings))


def _last_seen(entry: Listed, sightings: Sightings | None) -> str:
    if sightings is None:
        return ""
    if entry.key.kind not in sightings.kinds:
        return "unknown"
    sighting = sighting_of(entry.key, sightings)
    return "never" if sighting is None else str(_instant(sighting.last))


# -- audit ------------------------------------------------------------------------------------------------------


@click.command(
    "audit",
    epilog="\b\nExamples:\n"
    "  spoa-authz list audit lists/*.yaml --ahead 14\n"
    "  spoa-authz list audit lists/docks.yaml --log decisions.jsonl --unused 60\n\n"
    "\b\nExit status: 0 nothing found, 1 something deserves a look, 2 usage,\n3 a file is no list.",
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@_LOG
@_AGENT
@_STATE_DIR
@click.option(
    "--unused", metavar="DAYS", default="90", show_default=True, callback=_days, help="Not seen so long is unused."
)
@click.option(
    "--ahead", metavar="DAYS", default="30", show_default=True, callback=_days, help="Ends within is reported."
)
@_JSON
def audit(
    files: tuple[Path, ...],
    logs: tuple[Path, ...],
    state_dir: str | None,
    unused: int,
    ahead: int,
    *,
    agent: bool,
    as_json: bool,
) -> None:
    """Name entries that end or have ended, stand twice, are unused, or could finish their rotation.

    Who is unused or was never seen is told by decision logs; without --log only the lists are looked at. Give logs
    that go back as far as you ask, and have the agent log allows.
    """
    lists = [ListText(read_list(file), str(file)) for file in files]
    sightings = _sightings(logs, state_dir, of_agent=agent)
    now = int(time.time())
    found = findings_of(lists, now, ahead=ahead * _DAY, unused=unused * _DAY, sightings=sightings)
    if as_json:
        since = None if sightings is None else sightings.since
        answer = {
            "entries": sum(len(text.entries) for text in lists),
            "logs_since": _instant(since),
            "findings": [finding._asdict() for finding in found],
        }
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        for finding in found:
            click.echo(printable(f"{finding.file}:{finding.line}: {finding.code} {finding.entry}: {finding.message}"))
        if not found:
            count = sum(len(text.entries) for text in lists)
            click.echo(f"{count} {'entry' if count == 1 else 'entries'}, nothing found")
    sys.exit(_FOUND if found else 0)
