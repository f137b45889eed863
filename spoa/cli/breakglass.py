"""`spoa-authz breakglass`: open a switch that the policy declares, for a bounded time, and close it again."""

from __future__ import annotations

import getpass
import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from spoa.bundle import read_switches
from spoa.cli.asking import find_state_dir
from spoa.cli.table import print_rows
from spoa.exceptions import StateError
from spoa.openings import FILE, Opening, Openings, refusal
from spoa.policy.scalars import Duration
from spoa.state import StateDirectory
from spoa.statefile import edit_text, read_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spoa.policy.model import Switch

__all__ = ["command"]

_EPILOG = """
\b
Examples:
  spoa-authz breakglass open incident --ticket INC-7 --for 1h
  spoa-authz breakglass close incident
  spoa-authz breakglass status

\b
In force in a running agent within a second, and after a restart; closed by itself when the time is over.
Exit status: 0 done, 1 refused or nothing to close, 2 usage, 3 the file of openings is broken.
"""


def _duration(_ctx: click.Context, _parameter: click.Parameter, value: str) -> int:
    try:
        return int(Duration(min=1).parse(value))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _options(function: Callable[..., None]) -> Callable[..., None]:
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text."),
        click.option("--state-dir", help="State directory of the agent; by default as for `serve`."),
    ):
        function = decorate(function)
    return function


@click.group("breakglass", epilog=_EPILOG, short_help="Open a declared switch for a bounded time.")
def command() -> None:
    """Open a break-glass switch that the policy declares: for a bounded time, with a ticket, and loudly."""


@command.command("open", epilog="\b\nExample:\n  spoa-authz breakglass open incident --ticket INC-7 --for 1h")
@click.argument("switch")
@click.option("--ticket", required=True, help="Where it is dealt with, as the policy wants it.")
@click.option("--for", "seconds", required=True, callback=_duration, metavar="TIME", help="How long: 30m, 1h.")
@click.option("--by", default="", help="Who opens it; the user's name unless given.")
@_options
def open_switch(switch: str, ticket: str, seconds: int, by: str, state_dir: str | None, *, as_json: bool) -> None:
    """Open SWITCH; an opening of it that is in force is replaced."""
    directory = find_state_dir(state_dir, os.environ)
    now = int(time.time())
    opening = Opening(switch, ticket, now, now + seconds, by or _user())
    refused = refusal(opening, _declared(directory))
    if refused:
        click.echo(f"not opened: {refused}", err=True)
        raise SystemExit(1)

    def edit(text: bytes) -> tuple[bytes, None]:
        return Openings.from_text(text).without("", now).with_opening(opening).to_text(), None

    edit_text(directory / FILE, edit)
    if as_json:
        click.echo(json.dumps(_row(opening, ""), indent=2))
    else:
        click.echo(f"opened {switch} until {_instant(opening.until)} in {directory}")


@command.command("close", epilog="\b\nExample:\n  spoa-authz breakglass close incident")
@click.argument("switch")
@_options
def close_switch(switch: str, state_dir: str | None, *, as_json: bool) -> None:
    """Close SWITCH before its time is over."""
    now = int(time.time())

    def edit(text: bytes) -> tuple[bytes, bool]:
        before = Openings.from_text(text)
        was_open = any(one.switch == switch and now < one.until for one in before.openings)
        return before.without(switch, now).to_text(), was_open

    closed = edit_text(find_state_dir(state_dir, os.environ) / FILE, edit)
    if as_json:
        click.echo(json.dumps({"switch": switch, "closed": closed}, indent=2))
    else:
        click.echo(f"closed {switch}" if closed else f"{switch} was not open")
    raise SystemExit(0 if closed else 1)


@command.command("status", epilog="\b\nExample:\n  spoa-authz breakglass status --json")
@_options
def show_switches(state_dir: str | None, *, as_json: bool) -> None:
    """Show which switches are open, until when, and which could be."""
    directory = find_state_dir(state_dir, os.environ)
    now = int(time.time())
    switches = _declared(directory)
    openings = Openings.from_text(read_text(directory / FILE))
    open_now, _ = openings.in_force(switches, now)
    entries = [_row(one, refusal(one, switches)) for one in openings.openings if now < one.until]
    if as_json:
        declared = {one.name: {"max_duration": one.max_duration, "ticket": one.ticket} for one in switches}
        click.echo(json.dumps({"open": sorted(open_now), "switches": declared, "entries": entries}, indent=2))
        return
    rows = [(one.name, _described(one, openings, open_now)) for one in switches]
    rows += [(str(entry["switch"]), f"refused: {entry['refused']}") for entry in entries if entry["refused"]]
    print_rows(rows or [("break glass", "the policy declares no switches")])


def _described(switch: Switch, openings: Openings, open_now: frozenset[str]) -> str:
    if switch.name not in open_now:
        return f"closed; may be open for {int(switch.max_duration)} s with a ticket like {switch.ticket}"
    opening = next(one for one in reversed(openings.openings) if one.switch == switch.name)
    return f"OPEN until {_instant(opening.until)}, ticket {opening.ticket}, by {opening.by or 'nobody says'}"


def _declared(directory: Path) -> tuple[Switch, ...]:
    """Return the switches of the policy that is active, or was when the agent ran last.

    Raises:
        StateError: there is none.
    """
    bundle = StateDirectory(directory).last_good() if directory.is_dir() else None
    if bundle is None:
        raise StateError(str(directory), "holds no active policy; start the agent on it, or name its --state-dir")
    return read_switches(bundle)


def _row(opening: Opening, refused: str) -> dict[str, Any]:
    return {
        "switch": opening.switch,
        "ticket": opening.ticket,
        "opened": opening.opened,
        "until": opening.until,
        "by": opening.by,
        "refused": refused,
    }


def _user() -> str:
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return str(os.getuid())


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
