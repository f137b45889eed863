"""`spoa-authz check`: whether a policy directory can be activated, and what in it deserves a look."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

import click

from spoa.cli.findings import counted, load, print_problems, problem_rows
from spoa.policy.casegrammar import tests_schema
from spoa.policy.cases import read_cases
from spoa.policy.grammar import policy_schema
from spoa.policy.listfile import LIST_FILE
from spoa.policy.shapes import document_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spoa.policy.reading import Schema

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
