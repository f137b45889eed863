"""`spoa-authz unblock`: lift a block."""

from __future__ import annotations

import json
import os

import click

from spoa.blockedit import remove_blocks, target_text
from spoa.blockstore import edit_blocks
from spoa.cli.asking import find_state_dir
from spoa.cli.target import read_target_or_file, tell_restored

__all__ = ["command"]

_EPILOG = """
\b
Example:
  spoa-authz unblock corp/1f03a2

\b
Exit status: 0 lifted, 1 nothing blocked it, 2 usage, 3 the block list is broken.
"""


@click.command("unblock", epilog=_EPILOG)
@click.argument("target")
@click.option("--state-dir", help="State directory of the agent; by default as for `serve`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(target: str, state_dir: str | None, *, as_json: bool) -> None:
    """Lift the block of TARGET, written as for `block`; others that name the same certificate stay."""
    wanted = read_target_or_file(target)
    directory = find_state_dir(state_dir, os.environ)
    count, restored = edit_blocks(directory, lambda text: remove_blocks(text, wanted))
    tell_restored(directory, restored)
    name = target_text(wanted)
    if as_json:
        click.echo(json.dumps({"target": name, "lifted": count}, indent=2))
    else:
        click.echo(f"unblocked {name}" if count else f"{name} was not blocked")
    raise SystemExit(0 if count else 1)
