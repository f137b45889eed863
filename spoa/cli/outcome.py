"""How a change that the agent was asked for ended: told on the terminal, and as an exit status."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["conclude"]

_STATUS: Final = {"activated": 0, "unchanged": 0, "rejected": 3}
_FAILED: Final = 1


def conclude(outcome: Mapping[str, Any], summary: str, *, as_json: bool) -> NoReturn:
    """Print an outcome, problems and warnings to standard error, and exit with the status that its result has.

    The status is 0 for what is active now, 3 for an invalid policy, 1 for every other result.
    """
    if as_json:
        click.echo(json.dumps(outcome, indent=1))
    else:
        click.echo(f"{outcome['result']}: {summary}")
        for line in (*outcome["problems"], *outcome["warnings"]):
            click.echo(line, err=True)
    sys.exit(_STATUS.get(outcome["result"], _FAILED))
