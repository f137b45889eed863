"""`spoa-authz rollback`: make a kept revision the active policy again."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

import click

from spoa.cli.asking import UnreachableError, ask, change, find_agent, read_token
from spoa.cli.outcome import conclude
from spoa.cli.table import print_rows
from spoa.exceptions import SettingsError

__all__ = ["command"]

_BAD: Final = 1
_USAGE: Final = 2

_EPILOG: Final = """
\b
Examples:
  spoa-authz rollback
  spoa-authz rollback 3f9c --reason "INC-7: staff locked out"
  spoa-authz rollback --list

\b
The policy directory stays as it is. The rollback holds, over restarts and
reloads too, until the directory holds another good policy than the one that
was rolled back from. Blocks and revocation lists are never rolled back.

\b
Exit status: 0 the revision is active, 1 the agent can't be reached, keeps no
such revision or failed, 2 usage, 3 its policy is not valid any more.
"""


@click.command("rollback", short_help="Make a kept revision the active policy.", epilog=_EPILOG)
@click.argument("revision", metavar="[REV]", default="")
@click.option("--reason", default="", help="Why; for the record of changes.")
@click.option("--list", "is_list", is_flag=True, help="Show the kept revisions, and change nothing.")
@click.option("--admin", metavar="ADDR", help="The agent's admin address, where the state directory does not tell.")
@click.option("--state-dir", metavar="DIR", help="The agent's state directory.")
@click.option("--token-file", metavar="FILE", help="Holds the bearer token that it was given.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(revision: str, *, reason: str, is_list: bool, as_json: bool, **place: str | None) -> None:
    """Have the running agent build, test and activate a revision that was active before.

    REV is a kept revision or the first digits of it; left out, the one before the active one.
    """
    try:
        _, address = find_agent(place["admin"], place["state_dir"], os.environ)
        if is_list:
            _show(ask(address, "GET", "/status")[1], as_json=as_json)
            return
        content = {"revision": revision, "reason": reason}
        outcome = change(address, "/rollback", read_token(place["token_file"]), content)
    except SettingsError as error:
        click.echo(f"spoa-authz rollback: {error}", err=True)
        sys.exit(_USAGE)
    except UnreachableError as error:
        click.echo(f"spoa-authz rollback: {error}", err=True)
        sys.exit(_BAD)
    conclude(outcome, f"revision {outcome['revision'] or 'none'}", as_json=as_json)


def _show(status: dict[str, Any], *, as_json: bool) -> None:
    rollback, revisions = status.get("rollback"), status.get("revisions", [])
    if as_json:
        click.echo(json.dumps({"rollback": rollback, "revisions": revisions}, indent=1))
        return
    marks = {} if rollback is None else {rollback["source"]: "rolled back from", rollback["to"]: "rolled back to"}
    rows = [
        (
            one["revision"],
            datetime.fromtimestamp(one["activated"], UTC).isoformat(timespec="seconds"),
            one["cause"],
            marks.get(one["revision"], ""),
        )
        for one in revisions
    ]
    print_rows(rows, ("revision", "activated", "cause", ""))
