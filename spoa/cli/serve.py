"""`spoa-authz serve`: run the agent."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from spoa import diagnostics
from spoa.exceptions import SettingsError, StateError
from spoa.sdprotocol import Activation
from spoa.settings import OPTIONS, environment_name, read_settings
from spoa.supervisor import Supervisor

if TYPE_CHECKING:
    from spoa.settings import Option, Settings

__all__ = ["command"]

_USAGE: Final = 2
_FAILED: Final = 1
_JOINTS: Final = {option.name.replace("-", "_"): option.joint for option in OPTIONS}

_EPILOG: Final = """
\b
Examples:
  spoa-authz serve --policies policies --listen 127.0.0.1:9123
  spoa-authz serve --listen unix:/run/spoa-authz/spop.sock --workers 4
  SPOA_AUTHZ_DECISION_LOG=- spoa-authz serve

\b
Started by systemd it says when it is ready, reloading and well; an address
systemd:NAME is a socket that systemd passes under that name.

\b
Signals: SIGTERM finishes what is in flight and ends, SIGHUP reloads,
SIGUSR1 opens the decision log anew.

\b
Exit status: 0 stopped as told, 1 something else failed, 2 usage,
3 the policy is invalid.
"""


def _click_option(option: Option) -> click.Option:
    unit = f" [{option.unit}" if option.unit else " ["
    default = f"; default {option.default}]" if option.default and not option.is_switch else "]"
    ending = (unit + default).replace("[; ", "[") if option.unit or default != "]" else ""
    return click.Option(
        [f"--{option.name}"],
        multiple=option.is_repeatable,
        is_flag=option.is_switch,
        default=None,
        metavar=None if option.is_switch else option.name.rpartition("-")[2].upper(),
        help=option.help + ending,
    )


def _serve(**given: Any) -> None:
    flags: dict[str, str] = {}
    for name, value in given.items():
        if isinstance(value, tuple):
            if value:
                flags[name.replace("_", "-")] = _JOINTS[name].join(value)
        elif value is not None and value is not False:
            flags[name.replace("_", "-")] = "true" if value is True else str(value)
    try:
        settings = read_settings(flags, os.environ)
    except SettingsError as error:
        _complain(error)
        sys.exit(_USAGE)
    diagnostics.configure(settings.log_format, settings.log_level)
    sys.exit(asyncio.run(_run(settings)))


async def _run(settings: Settings) -> int:
    try:
        activation = Activation.from_environment(os.environ, os.getpid())
        supervisor = Supervisor(settings, lambda line: click.echo(line, err=True), activation)
        return await supervisor.run()
    except SettingsError as error:
        _complain(error)
        return _USAGE
    except StateError as error:
        _complain(error)
        return _FAILED


def _complain(error: Exception) -> None:
    for line in str(error).splitlines():
        click.echo(f"spoa-authz serve: {line}", err=True)


command: Final = click.Command(
    "serve",
    callback=_serve,
    params=[
        *(_click_option(option) for option in OPTIONS),
        click.Option(["--config"], metavar="FILE", help="A YAML file with options by these names."),
    ],
    short_help="Run the agent.",
    help=(
        "Run the agent: judge what HAProxy asks, by the policy directory.\n\n"
        f"Every option can also be set by an environment variable ({environment_name('max-frame-size')} and so on) "
        "or in the file that --config names; the command line wins over the environment, that over the file."
    ),
    epilog=_EPILOG,
)
