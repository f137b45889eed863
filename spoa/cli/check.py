"""`spoa-authz check`: whether a policy directory can be activated, and what in it deserves a look."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from spoa.cli.findings import counted, load, print_problems, problem_rows
from spoa.crl_builder import build
from spoa.evidence_keeper import state_of_lists
from spoa.evidence_store import manifest_from_rows, sources_of
from spoa.policy.casegrammar import tests_schema
from spoa.policy.cases import read_cases
from spoa.policy.grammar import policy_schema
from spoa.policy.listfile import LIST_FILE
from spoa.policy.shapes import document_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spoa.loading import Loaded
    from spoa.policy.reading import Report, Schema

__all__ = ["SCHEMAS", "command"]

_INVALID: Final = 3
_WARNINGS: Final = 5

#: JSON Schemas by the `kind` of the document that they describe.
SCHEMAS: Final[Mapping[str, Callable[[], Schema]]] = {
    "policy": policy_schema,
    "tests": tests_schema,
    "list": lambda: document_schema(LIST_FILE, "spoa-authz list"),
}

_EPILOG: Final = """
\b
Examples:
  spoa-authz check policies
  spoa-authz check policies --strict --json
  spoa-authz check --schema > policy.schema.json

\b
Exit status: 0 fine, 2 usage, 3 there are errors,
5 there are warnings under --strict.
"""


def _warn_of_lists(loaded: Loaded, directory: Path, report: Report) -> None:
    """Warn of revocation lists that an agent started now could not use; they are data, so none is an error."""
    now = time.time()
    sources = sources_of(loaded.model, loaded.issuers, directory)
    if not sources:
        return
    with tempfile.TemporaryDirectory() as folder:
        found = build(Path(folder), sources, now)
    for problem in found.get("problems", ()):
        file = os.path.relpath(problem["file"], directory.absolute())
        what = f"this revocation list of {problem['issuer']} can't be used: {problem['reason']} {problem['detail']}"
        report.file_problem(file, what.rstrip(), "bad-crl", is_warning=True)
    for issuer, lists in manifest_from_rows(found.get("manifest", {})).items():
        state, reason = state_of_lists(sources[issuer], lists, now)
        if lists and state != "good":
            file = os.path.relpath(sources[issuer].files[0], directory.absolute())
            what = f"the revocation lists of {issuer} prove no certificate good: {reason}"
            report.file_problem(file, what, "bad-crl", is_warning=True)


@click.command("check", short_help="Validate a policy directory.", epilog=_EPILOG)
@click.argument("directory", metavar="DIR", required=False, type=click.Path(exists=True, file_okay=False))
@click.option("--strict", is_flag=True, help="Warnings count: exit 5.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of policy documents, for editors.")
@click.option("--kind", type=click.Choice(list(SCHEMAS)), help="Of which documents --schema prints the schema.")
def command(directory: str | None, *, strict: bool, as_json: bool, schema: bool, kind: str | None) -> None:
    """Validate and lint the policy directory DIR, without running its tests.

    Every problem is printed as `file:line:col path: message`, the file relative to DIR.
    """
    if schema:
        click.echo(json.dumps(SCHEMAS[kind or "policy"](), indent=2))
        return
    if kind is not None:
        raise click.UsageError("--kind says of which documents --schema prints the schema; give both")
    if directory is None:
        raise click.UsageError("Missing argument 'DIR'.")
    loaded, report = load(directory)
    if loaded is not None:
        for name, text in sorted(loaded.documents.tests.items()):
            read_cases(text, name, loaded.model, report)
        _warn_of_lists(loaded, Path(directory), report)
    problems = report.problems
    warnings = len(problems) - report.errors
    if as_json:
        answer = {
            "ok": not report.errors,
            "revision": loaded.revision if loaded is not None and not report.errors else None,
            "errors": report.errors,
            "warnings": warnings,
            "problems": problem_rows(problems),
        }
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        print_problems(problems)
        counts = f"{counted(report.errors, 'error')}, {counted(warnings, 'warning')}"
        click.echo(f"{directory}: {counts}" if problems else f"{directory}: no problems found", err=bool(report.errors))
    sys.exit(_INVALID if report.errors else _WARNINGS if warnings and strict else 0)
