"""`spoa-authz block`: refuse a certificate here and now."""

from __future__ import annotations

import json
import os
import time

import click

from spoa.blockedit import add_block, target_text
from spoa.blocks import Block
from spoa.blockstore import edit_blocks
from spoa.cli.asking import find_state_dir
from spoa.cli.target import read_target_or_file, tell_restored
from spoa.listindex import NEVER
from spoa.policy.scalars import Duration

__all__ = ["command"]

_EPILOG = """
\b
Examples:
  spoa-authz block laptop.crt --reason "stolen" --ticket INC-7
  spoa-authz block sha256:9f0c… --ttl 24h
  spoa-authz block corp/1f03a2 --reason "key compromise"

\b
In force in a running agent within a second, and after a restart.
Exit status: 0 blocked, 2 usage, 3 the block list is broken.
"""


def _ttl(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return Duration(min=1).parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("block", epilog=_EPILOG)
@click.argument("target")
@click.option("--reason", default="", help="Why; for people.")
@click.option("--ticket", default="", help="Where it is dealt with.")
@click.option("--ttl", callback=_ttl, help="How long: 30m, 24h, 7d; for good unless given.")
@click.option("--state-dir", help="State directory of the agent; by default as for `serve`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(target: str, reason: str, ticket: str, ttl: float | None, state_dir: str | None, *, as_json: bool) -> None:
    """Refuse a certificate from now on, whatever the policy says.

    TARGET is a certificate file, sha256:HEX, spki:HEX or ISSUER/SERIAL-HEX (ISSUER as the policy names it). Works
    without a running agent, and without CA, network and policy repository.
    """
    now = int(time.time())
    expires = NEVER if ttl is None else now + int(ttl)
    block = Block(read_target_or_file(target), reason, ticket, now, expires)
    directory = find_state_dir(state_dir, os.environ)
    _, restored = edit_blocks(directory, lambda text: (add_block(text, block), None))
    tell_restored(directory, restored)
    name = target_text(block.target)
    if as_json:
        found = {"target": name, "reason": reason, "ticket": ticket, "blocked": now}
        click.echo(json.dumps({**found, "expires": None if expires == NEVER else expires}, indent=2))
    else:
        until = "for good" if ttl is None else f"for {int(ttl)} s"
        click.echo(f"blocked {name} {until} in {directory}")
