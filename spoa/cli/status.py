"""`spoa-authz status`: what the running agent does."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any, Final

import click

from spoa.cli.asking import UnreachableError, ask, find_agent
from spoa.cli.table import print_rows, printable
from spoa.exceptions import SettingsError

__all__ = ["command"]

_BAD: Final = 1
_USAGE: Final = 2
_HTTP_OK: Final = 200

_EPILOG: Final = """
\b
Examples:
  spoa-authz status
  spoa-authz status --json | jq .revision

\b
Exit status: 0 ready, 1 not ready or not reachable, 2 usage.
"""


def _time(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else "never"


def _lists_seen(entry: dict[str, Any]) -> str:
    lists = entry["lists"]
    number = max((held["number"] for held in lists if held["number"] is not None), default="none")
    until = min((held["next_update"] for held in lists if held["next_update"] is not None), default=None)
    return f"{len(lists)} lists, {entry['entries']} entries, number {number}, next update {_time(until)}"


def _answers_seen(entry: dict[str, Any]) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in sorted(entry["certificates"].items())) or "none asked"
    asked = entry["responder"] or f"those that certificates name among {', '.join(entry['hosts'])}"
    return f"{asked}: {counts}, last answer {_time(entry['last_success'])}"


_SEEN: Final = {"crl": _lists_seen, "ocsp": _answers_seen}


def _revocation_rows(issuer: str, revocation: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [(f"issuer {issuer}", f"state: {revocation['state']}, reason: {revocation['reason']}")]
    for source, entry in revocation.get("sources", {}).items():
        soft = f", {entry['soft_fails']} soft fails" if entry["soft_fails"] else ""
        rows.append((f"{source} of {issuer}", _SEEN[source](entry) + soft))
        rows += [("url", _url_text(one)) for one in entry.get("urls", ())]
        rows += [
            ("problem", f"{one['file']}: {one['reason']} {one['detail']}".rstrip()) for one in entry.get("problems", ())
        ]
        rows += [("problem", entry["error"])] if entry["error"] else []
    return rows


def _candidate_rows(candidate: dict[str, Any]) -> list[tuple[str, str]]:
    counts = ", ".join(f"{count} {change.replace('_', ' ')}" for change, count in candidate["decisions"].items())
    rows = [("candidate", f"revision {candidate['revision'] or 'none'}, {candidate['directory']}: {counts}")]
    rows += [
        (
            "difference",
            f"{one['change']}: {one['rule'] or '-'} → {one['candidate_rule'] or '-'}, {one['count']} requests",
        )
        for one in candidate["differences"]
    ]
    rows += [("candidate problem", problem) for problem in candidate["problems"]]
    return rows


def _url_text(entry: dict[str, Any]) -> str:
    fetched = f"fetched {_time(entry['last_success'])}, next look {_time(entry['next_attempt'])}"
    if not entry["problem"]:
        return f"{entry['url']}: {fetched}"
    circuit = "" if entry["circuit"] == "closed" else f", circuit {entry['circuit']}"
    return f"{entry['url']}: {entry['problem']} ({entry['detail']}){circuit}, {fetched}"


def _readiness(status: dict[str, Any]) -> str:
    if status.get("leaves_at"):
        return f"no: it stops, and fails health checks until {_time(status['leaves_at'])}"
    return "yes" if status["ready"] else "no"


def _rows(status: dict[str, Any]) -> list[tuple[str, str]]:
    workers = status["workers"]
    serving = sum(1 for worker in workers if worker["serving"])
    rows = [
        ("ready", _readiness(status)),
        ("revision", status["revision"] or "none"),
        ("since", _time(status["since"])),
        ("policies", status["policies"]),
        ("listening", ", ".join(status["listen"])),
        ("workers", f"{serving} of {len(workers)} serve, {sum(w['connections'] for w in workers)} connections"),
        ("clock", "usable" if status["clock_usable"] else "NOT USABLE: certificate dates deny"),
    ]
    if status.get("rollback"):
        held = status["rollback"]
        reason = f", {held['reason']}" if held["reason"] else ""
        told = f"to {held['to']} from {held['source']}, {_time(held['at'])} by {held['by']}{reason}"
        rows.append(("ROLLED BACK", told))
    rows += _candidate_rows(status["candidate"]) if status.get("candidate") else []
    blocks = status.get("blocks", {})
    if blocks.get("count"):
        rows.append(("blocked", f"{blocks['count']} certificates, keys and serial numbers"))
    rows += [("NOT IN FORCE", found["problem"]) for found in (blocks, status["break_glass"]) if found.get("problem")]
    for entry in status["break_glass"]["entries"]:
        seen = f"refused: {entry['refused']}" if entry["refused"] else f"OPEN until {_time(entry['until'])}"
        rows.append((f"break glass {entry['switch']}", f"{seen}, ticket {entry['ticket']}"))
    for name, entry in status.get("lists", {}).items():
        rows.append((f"list {name}", f"{entry['entries']} entries, next expiry {_time(entry['soonest_expiry'])}"))
    for name, entry in status.get("issuers", {}).items():
        rows += _revocation_rows(name, entry["revocation"])
    last = status["last_reload"]
    if last is not None:
        rows.append(("last reload", f"{last['result']} ({last['cause']}), {_time(last['at'])}"))
        rows += [("problem", problem) for problem in last["problems"]]
        rows += [("warning", warning) for warning in last["warnings"]]
    return rows


@click.command(short_help="Show what the running agent does.", epilog=_EPILOG)
@click.option("--admin", metavar="ADDR", help="Its admin address, where the state directory does not tell.")
@click.option("--state-dir", metavar="DIR", help="Its state directory.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as it is.")
def command(admin: str | None, state_dir: str | None, *, as_json: bool) -> None:
    """Show what the running agent does: its revision, workers, lists, and how the last reload ended."""
    try:
        _, address = find_agent(admin, state_dir, os.environ)
        code, status = ask(address, "GET", "/status")
    except SettingsError as error:
        click.echo(f"spoa-authz status: {error}", err=True)
        sys.exit(_USAGE)
    except UnreachableError as error:
        click.echo(f"spoa-authz status: {error}", err=True)
        sys.exit(_BAD)
    if code != _HTTP_OK:
        click.echo(f"spoa-authz status: the agent answers {code}", err=True)
        sys.exit(_BAD)
    if as_json:
        click.echo(json.dumps(status, indent=1))
    else:
        print_rows([(name, printable(value)) for name, value in _rows(status)])
    sys.exit(0 if status["ready"] else _BAD)
