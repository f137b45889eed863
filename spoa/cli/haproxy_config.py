"""`spoa-authz haproxy-config`: print HAProxy's side of the conversation."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Final

import click

from spoa.exceptions import PolicyError
from spoa.haproxy_config import SAMPLES, VERSIONS, render
from spoa.loading import load_policy

__all__ = ["command"]

_USAGE: Final = 2
_POLICY_INVALID: Final = 3

_EPILOG: Final = """
\b
Examples:
  spoa-authz haproxy-config --version 3.2 --policies policies
  spoa-authz haproxy-config --version 3.2 --policies policies --all
  spoa-authz haproxy-config --version 2.6 --out /etc/haproxy

\b
Exit status: 0 fine, 2 usage, 3 the policy is invalid.
"""


def _print(version: str, policies: Path | None, out: Path | None, *, sends_all: bool, is_json: bool) -> None:
    reads, routes = None, None
    if policies is not None:
        try:
            policy = load_policy(policies)
        except PolicyError as error:
            click.echo(f"spoa-authz haproxy-config: {error}", err=True)
            sys.exit(_POLICY_INVALID)
        reads = {*policy.reads, *SAMPLES} if sends_all else policy.reads
        routes = [route.backend for route in policy.model.routes]
    files = render(version, reads, routes)
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                _write(out / name, text)
        except OSError as error:
            click.echo(f"spoa-authz haproxy-config: {error}", err=True)
            sys.exit(_USAGE)
    elif is_json:
        click.echo(json.dumps({"version": version, "files": files}))
    else:
        click.echo("\n".join(f"# ==== {name} ====\n{text}" for name, text in files.items()), nl=False)


def _write(path: Path, text: str) -> None:
    """Write a file, keep beside it what it said before, and name both.

    Raises:
        OSError: it can't be written.
    """
    if path.exists() and path.read_bytes() != text.encode():
        kept = path.with_name(f"{path.name}~")  # an ending that HAProxy doesn't read of a folder
        shutil.copy2(path, kept)
        click.echo(f"spoa-authz haproxy-config: what {path} was is in {kept} now", err=True)
    path.write_text(text, encoding="utf-8")
    click.echo(path)


command: Final = click.Command(
    "haproxy-config",
    callback=_print,
    params=[
        click.Option(["--version"], type=click.Choice(VERSIONS), required=True, help="HAProxy's version."),
        click.Option(
            ["--policies"],
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            metavar="DIR",
            help="Send just the arguments that this policy reads, and have its routes as backends.",
        ),
        click.Option(
            ["sends_all", "--all"],
            is_flag=True,
            help="With --policies: send all arguments there are, so that no gate and no log field is off.",
        ),
        click.Option(
            ["--out"],
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="Write haproxy.cfg and spoe-authz.conf there; a file that said something else is kept as FILE~.",
        ),
        click.Option(["is_json", "--json"], is_flag=True, help="Print one JSON object: version, and files by name."),
    ],
    short_help="Print haproxy.cfg and the SPOE sections.",
    help=(
        "Print haproxy.cfg and the SPOE sections for a version of HAProxy.\n\n"
        "Requests that the agent has not allowed are denied; what to fill in are certificates, servers and addresses, "
        "each named where the global section presets it."
    ),
    epilog=_EPILOG,
)
