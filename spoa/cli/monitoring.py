"""`spoa-authz monitoring`: print what Prometheus and Grafana need to watch the agent."""

from __future__ import annotations

from typing import Final

import click

from spoa.monitoring import write_dashboard, write_rules
from spoa.monitoring.alerts import JOB
from spoa.monitoring.panels import TIMEOUT
from spoa.monitoring.rules import RUNBOOKS

__all__ = ["command"]

_MILLISECONDS: Final = 1000
_TIMEOUTS: Final = click.IntRange(1, 60_000)
_EPILOG: Final = """
\b
Examples:
  spoa-authz monitoring rules > /etc/prometheus/rules/spoa-authz.yaml
  spoa-authz monitoring dashboard > spoa-authz.json
"""


@click.group("monitoring", epilog=_EPILOG, short_help="Print alerts for Prometheus, a dashboard for Grafana.")
def command() -> None:
    """Print what Prometheus and Grafana need to watch the agent, written from its own definitions of metrics."""


@command.command("rules", epilog="\b\nExample:\n  spoa-authz monitoring rules --job edge-authz > spoa-authz.yaml")
@click.option("--job", metavar="NAME", default=JOB, show_default=True, help="The scrape job of the agents.")
@click.option("--runbooks", metavar="URL", default=RUNBOOKS, show_default=True, help="Where the runbooks are read.")
@click.option(
    "--spoe-timeout",
    "timeout",
    metavar="MS",
    type=_TIMEOUTS,
    help="HAProxy's `timeout processing`, milliseconds, where an agent's --deadline may be longer.",
)
def rules(job: str, runbooks: str, timeout: int | None) -> None:
    """Print the recording and alerting rules."""
    seconds = None if timeout is None else timeout / _MILLISECONDS
    click.echo(write_rules(job=job, timeout=seconds, runbooks=runbooks), nl=False)


@command.command("dashboard", epilog="\b\nExample:\n  spoa-authz monitoring dashboard > spoa-authz.json")
@click.option(
    "--spoe-timeout",
    "timeout",
    metavar="MS",
    type=_TIMEOUTS,
    default=int(TIMEOUT * _MILLISECONDS),
    show_default=True,
    help="HAProxy's `timeout processing` in the SPOE section, milliseconds.",
)
def dashboard(timeout: int) -> None:
    """Print the dashboard, to be imported."""
    click.echo(write_dashboard(timeout=timeout / _MILLISECONDS), nl=False)
