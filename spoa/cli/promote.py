"""`spoa-authz promote`: make the candidate the active policy."""

from __future__ import annotations

import os
import sys
from typing import Final

import click

from spoa.cli.asking import UnreachableError, change, find_agent, read_token
from spoa.cli.outcome import conclude
from spoa.exceptions import SettingsError

__all__ = ["command"]

_BAD: Final = 1
_USAGE: Final = 2

_EPILOG: Final = """
\b
Examples:
  spoa-authz promote
  spoa-authz promote --admin 127.0.0.1:9124 --token-file /etc/spoa-authz/token

\b
The policy directory becomes a copy of the candidate's; the old one is kept
beside it as NAME.before.

\b
Exit status: 0 the candidate is active, 1 the agent can't be reached, has no
candidate or can't replace the directory, 2 usage, 3 the candidate is invalid.
"""


@click.command("promote", short_help="Make the candidate the active policy.", epilog=_EPILOG)
@click.option("--admin", metavar="ADDR", help="The agent's admin address, where the state directory does not tell.")
@click.option("--state-dir", metavar="DIR", help="The agent's state directory.")
@click.option("--token-file", metavar="FILE", help="Holds the bearer token that it was given.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(admin: str | None, state_dir: str | None, token_file: str | None, *, as_json: bool) -> None:
    """Make the policy that the running agent judges under as a candidate the one that it answers by."""
    try:
        _, address = find_agent(admin, state_dir, os.environ)
        outcome = change(address, "/promote", read_token(token_file))
    except SettingsError as error:
        click.echo(f"spoa-authz promote: {error}", err=True)
        sys.exit(_USAGE)
    except UnreachableError as error:
        click.echo(f"spoa-authz promote: {error}", err=True)
        sys.exit(_BAD)
    conclude(outcome, f"revision {outcome['revision'] or 'none'}", as_json=as_json)
