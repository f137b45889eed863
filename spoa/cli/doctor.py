"""`spoa-authz doctor`: prove that HAProxy's side fails closed, or say where it doesn't."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.agentprobe import probe, server_address
from spoa.cli.findings import counted, load, print_problems
from spoa.cli.table import printable
from spoa.doctor import Finding, Needs, Severity, examine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spoa.doctor import Examination

__all__ = ["command"]

_OPEN: Final = 1
_INVALID: Final = 3
_WARNINGS: Final = 5
_SECONDS_TO_ANSWER: Final = 2.0
_VERSION: Final = re.compile(r"\d+\.\d+(\.\d+)?")

_EPILOG: Final = """
\b
Examples:
  spoa-authz doctor /etc/haproxy/haproxy.cfg
  spoa-authz doctor haproxy/authz.cfg haproxy/examples/tcp.cfg --version 2.8
  spoa-authz doctor haproxy.cfg --policies policies --strict --json

\b
Exit status: 0 fine, 1 something is open or broken, 2 usage, 3 the policy
is invalid, 5 there are warnings under --strict.
"""


def _version(context: click.Context, parameter: click.Parameter, value: str) -> str:
    del context, parameter
    if not _VERSION.fullmatch(value):
        raise click.BadParameter(f"write a version of HAProxy such as 3.2, not {value!r}")
    return value


def _texts(files: Iterable[str]) -> list[tuple[str, str]]:
    """Read configuration files; a directory stands for its *.cfg files in the order of their names."""
    found = []
    for name in files:
        path = Path(name)
        for file in sorted(path.glob("*.cfg")) if path.is_dir() else [path]:
            try:
                found.append((str(file), file.read_text(encoding="utf-8", errors="surrogateescape")))
            except OSError as error:
                raise click.UsageError(f"{file} can't be read: {error.strerror}") from error
    return found


def _read_engine(name: str, named_by: str) -> tuple[str, str] | None:
    """Read a SPOE file: beside the file that names it, as `default-path config` says, or from here."""
    for path in (Path(named_by).parent / name, Path(name)):
        if path.is_file():
            return str(path), path.read_text(encoding="utf-8", errors="surrogateescape")
    return None


def _needs(policies: str | None) -> Needs | None:
    if policies is None:
        return None
    loaded, report = load(policies)
    if loaded is None:
        print_problems((problem for problem in report.problems if not problem.is_warning), err=True)
        sys.exit(_INVALID)
    policy = loaded.policy()
    routes = tuple(dict.fromkeys(route.backend for route in policy.model.routes))
    defaults = policy.model.defaults
    return Needs(frozenset(policy.reads), routes, defaults.normalises_path, defaults.allows_anonymous)


def _unreachable(examination: Examination) -> list[Finding]:
    found = []
    for agent in examination.agents:
        if "ssl" in agent.line.texts:
            continue  # it wants a certificate that is HAProxy's alone
        try:
            why = probe(server_address(agent.address), _SECONDS_TO_ANSWER)
        except ValueError as error:
            why = f"not asked: {error}"
        if why:
            message = f"no agent answers at {agent.address}: {why}"
            found.append(Finding(agent.line.file, agent.line.number, "agent-unreachable", message))
    return found


@click.command("doctor", short_help="Prove that HAProxy's side fails closed.", epilog=_EPILOG)
@click.argument("files", metavar="HAPROXY_CFG...", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--version", metavar="V", default="3.2", show_default=True, callback=_version, help="HAProxy's version.")
@click.option(
    "--policies",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Look also whether this policy gets what it needs.",
)
@click.option("--offline", is_flag=True, help="Don't ask the agents whether they are there.")
@click.option("--strict", is_flag=True, help="Warnings count: exit 5.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(
    files: Sequence[str], *, version: str, policies: str | None, offline: bool, strict: bool, as_json: bool
) -> None:
    """Prove that HAPROXY_CFG lets through what the agent allowed and nothing else, or say where it doesn't.

    Several files are read in the order given, as HAProxy does with -f. Each finding has a code, which the reference
    lists; `open` lets something through, `broken` denies or misjudges what should pass, a `warning` does neither today
    and says what it costs.
    """
    needs = _needs(policies)
    examination = examine(_texts(files), _read_engine, version=version, environment=os.environ, needs=needs)
    findings = examination.findings
    if not offline:
        findings = sorted([*findings, *_unreachable(examination)])
    warnings = sum(finding.kind.severity is Severity.WARNING for finding in findings)
    errors = len(findings) - warnings
    if as_json:
        click.echo(json.dumps(_answer(examination, findings, errors, warnings), indent=2, ensure_ascii=False))
    else:
        _print(examination, findings, errors, warnings)
    sys.exit(_OPEN if errors else _WARNINGS if warnings and strict else 0)


def _answer(examination: Examination, findings: Iterable[Finding], errors: int, warnings: int) -> dict[str, Any]:
    return {
        "ok": not errors,
        "errors": errors,
        "warnings": warnings,
        "frontends": examination.frontends,
        "unjudged": examination.unjudged,
        "agents": [agent.address for agent in examination.agents],
        "findings": [
            {
                "code": finding.code,
                "severity": str(finding.kind.severity),
                "file": finding.file,
                "line": finding.line,
                "message": finding.message,
                "happens": finding.kind.happens,
                "remedy": finding.kind.remedy,
            }
            for finding in findings
        ],
    }


def _print(examination: Examination, findings: Iterable[Finding], errors: int, warnings: int) -> None:
    for finding in findings:
        click.echo(printable(str(finding)))
        click.echo(f"    {finding.kind.happens}")
        click.echo(f"    To do: {finding.kind.remedy}")
    asking = ", ".join(examination.frontends) or "none is declared here"
    click.echo(printable(f"frontends that ask the agent: {asking}"))
    for name, backends in examination.unjudged.items():
        click.echo(printable(f"for everyone, without asking: {name}, which leads to {', '.join(backends)}"))
    if errors or warnings:
        click.echo(f"{counted(errors, 'error')}, {counted(warnings, 'warning')}", err=bool(errors))
    else:
        where = f" {', '.join(examination.frontends)}" if examination.unjudged else ""
        click.echo(printable(f"fails closed: nothing gets through{where} that the agent has not allowed"))
