"""`spoa-authz learn`: propose list entries or identities from recorded traffic, for review."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from spoa.cli import POLICY_INVALID
from spoa.cli.asking import usual_policies
from spoa.cli.findings import load, print_problems
from spoa.cli.logs import Unread, decisions_of, logs_of_agent
from spoa.identity import identity_from_der
from spoa.learning import Lessons, identities_text, list_text

if TYPE_CHECKING:
    from spoa.issuers import Issuers

__all__ = ["command"]

_EPILOG: Final = """
\b
Examples:
  spoa-authz learn --log decisions.jsonl > review.yaml
  spoa-authz learn --log decisions.jsonl --as identities --policies policies

\b
Without --log the running agent's own log is read. Nothing is changed: what
is printed is for review.

\b
Exit status: 0 something is proposed, 1 nothing is, 2 usage or a file that is
no decision log, 3 the policy is invalid.
"""


@click.command("learn", short_help="Propose entries from traffic, for review.", epilog=_EPILOG)
@click.option("--log", "logs", multiple=True, type=click.Path(path_type=Path), help="A decision log; may be repeated.")
@click.option("--state-dir", help="State directory of the agent whose log is read without --log.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(("list", "identities")),
    default="list",
    show_default=True,
    help="What to propose.",
)
@click.option(
    "--policies",
    metavar="DIR",
    default=usual_policies,
    help="Where issuers have their names from; unless given `policies`, or where there is none the running agent's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was learnt as JSON.")
def command(logs: tuple[Path, ...], state_dir: str | None, kind: str, policies: str, *, as_json: bool) -> None:
    """Propose what would let those in whom no rule allows, by the decisions of a log."""
    lessons, unread = Lessons(), Unread()
    lessons.read(decisions_of(logs or logs_of_agent(state_dir), unread))
    unread.tell("learn")
    if lessons.masked:
        click.echo(
            f"spoa-authz learn: {lessons.masked} decisions are masked, so nobody can tell whose they are", err=True
        )
    if as_json:
        click.echo(json.dumps(_rows(lessons) | {"unread": unread.count}, indent=1))
    elif kind == "list":
        click.echo(list_text(lessons), nl=False)
    else:
        loaded, report = load(policies)
        if loaded is None:
            print_problems(report.problems, err=True)
            raise SystemExit(POLICY_INVALID)
        click.echo(identities_text(lessons, _issuer_names(loaded.issuers)), nl=False)
    raise SystemExit(0 if lessons.clients else 1)


def _issuer_names(issuers: Issuers) -> dict[str, str]:
    """Return an issuer's name as certificates have it → its name in the policy."""
    return {identity_from_der(der).subject_text: name for name in issuers.names for der in issuers.certificates(name)}


def _rows(lessons: Lessons) -> dict[str, object]:
    return {
        "skipped": lessons.skipped,
        "masked": lessons.masked,
        "clients": [
            {
                "sha256": client.sha256,
                "subject": client.subject,
                "issuer": client.issuer,
                "ou": list(client.units),
                "not_after": client.not_after,
                "requests": client.requests,
                "first": client.first,
                "last": client.last,
                "wanted": [{"method": method, "path": path} for method, path in sorted(client.wanted)],
            }
            for client in lessons.clients.values()
        ],
    }
