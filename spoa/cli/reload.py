"""`spoa-authz reload`: have the running agent read its policy directory again."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.cli.asking import UnreachableError, ask, change, find_agent, read_token
from spoa.cli.outcome import conclude
from spoa.exceptions import SettingsError
from spoa.state import read_pid

if TYPE_CHECKING:
    from pathlib import Path

    from spoa.addresses import Address

__all__ = ["command"]

_BAD: Final = 1
_USAGE: Final = 2
_WAIT: Final = 150.0  # seconds for a reload that was asked for by a signal
_LOOK_INTERVAL: Final = 0.05

_EPILOG: Final = """
\b
Examples:
  spoa-authz reload
  spoa-authz reload --admin 127.0.0.1:9124 --token-file /etc/spoa-authz/token

\b
Without a unix socket or a token the agent is asked by SIGHUP, which needs
its state directory and the right to signal it.

\b
Exit status: 0 what the directory holds is active, 1 the agent can't be
reached or something failed, 2 usage, 3 the policy is invalid and the old
one stays.
"""


def _by_signal(address: Address, state_dir: Path) -> dict[str, Any]:
    """Send SIGHUP, then look at the status until a reload has ended that began after that.

    One that was under way already may have read what was there before.
    """
    pid = read_pid(state_dir)
    if pid is None:
        raise UnreachableError(address, f"no agent runs on {state_dir}; give --state-dir, or --token-file")
    sent = time.time()
    try:
        os.kill(pid, signal.SIGHUP)
    except OSError as error:
        raise UnreachableError(address, f"process {pid} can't be signalled: {error.strerror}") from error
    deadline = time.monotonic() + _WAIT
    while time.monotonic() < deadline:
        latest: dict[str, Any] | None = ask(address, "GET", "/status")[1].get("last_reload")
        if latest is not None and latest["at"] - latest["seconds"] >= sent:
            return latest
        time.sleep(_LOOK_INTERVAL)
    raise UnreachableError(address, f"it did not end a reload within {_WAIT:g} s")


@click.command(short_help="Have the running agent read its policies again.", epilog=_EPILOG)
@click.option("--admin", metavar="ADDR", help="Its admin address, where the state directory does not tell.")
@click.option("--state-dir", metavar="DIR", help="Its state directory.")
@click.option("--token-file", metavar="FILE", help="Holds the bearer token that it was given.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(admin: str | None, state_dir: str | None, token_file: str | None, *, as_json: bool) -> None:
    """Have the running agent read its policy directory again, and say how that ended."""
    try:
        directory, address = find_agent(admin, state_dir, os.environ)
        token = read_token(token_file)
        outcome = change(address, "/reload", token) if address.path or token else _by_signal(address, directory)
    except SettingsError as error:
        click.echo(f"spoa-authz reload: {error}", err=True)
        sys.exit(_USAGE)
    except UnreachableError as error:
        click.echo(f"spoa-authz reload: {error}", err=True)
        sys.exit(_BAD)
    conclude(outcome, f"revision {outcome['revision']}, {outcome['seconds']:.2f} s", as_json=as_json)
