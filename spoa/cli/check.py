"""`spoa-authz check`: whether a policy directory can be activated, and what in it deserves a look."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from spoa.cli.annotations import workflow_commands
from spoa.cli.findings import counted, load, print_problems, problem_rows
from spoa.cli.sarif import PAGES, sarif_log
from spoa.cli.table import printable
from spoa.crl_builder import build
from spoa.evidence_keeper import state_of_lists
from spoa.evidence_store import fitting_deltas, manifest_from_rows, sources_of
from spoa.lint.linter import lint_policy
from spoa.lint.places import mentions_of, places_of
from spoa.lint.silences import Judged, apply_silences
from spoa.policy.casegrammar import tests_schema
from spoa.policy.cases import read_cases
from spoa.policy.grammar import policy_schema
from spoa.policy.listfile import LIST_FILE
from spoa.policy.shapes import document_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spoa.loading import Loaded
    from spoa.policy.reading import Report, Schema

    _Printer = Callable[[str, Loaded | None, int, Judged], None]

__all__ = ["SCHEMAS", "command"]

_INVALID: Final = 3
_NEW_LIST: Final = "put a current one of this issuer there"
_WARNINGS: Final = 5
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]*:[^\s#<>\"]+")

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
  spoa-authz check policies --format sarif > check.sarif
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
        manifest = manifest_from_rows(found.get("manifest", {}))
        fitting = fitting_deltas(Path(folder), manifest)
    for problem in found.get("problems", ()):
        file = os.path.relpath(problem["file"], directory.absolute())
        what = f"this revocation list of {problem['issuer']} can't be used: {problem['reason']} {problem['detail']}"
        report.file_problem(file, f"{what.rstrip()}; {_NEW_LIST}", "bad-crl", is_warning=True)
    for issuer, lists in manifest.items():
        state, reason = state_of_lists(sources[issuer], lists, now, fitting=fitting)
        if lists and state != "good":
            file = os.path.relpath(sources[issuer].files[0], directory.absolute())
            what = f"the revocation lists of {issuer} prove no certificate good: {reason}; {_NEW_LIST}"
            report.file_problem(file, what, "bad-crl", is_warning=True)


def _dead_lists(loaded: Loaded) -> frozenset[str]:
    """Return the lists that no certificate is on now."""
    now = time.time()
    return frozenset(
        name
        for name, listing in loaded.listings.items()
        if not any(expiry > now for section in listing.sections.values() for expiry in section.values())
    )


def _look_at(directory: Path) -> tuple[Loaded | None, Report]:
    """Load a policy directory, and look for all that can be found without running its tests."""
    loaded, report = load(str(directory))
    if loaded is not None:
        for name, text in sorted(loaded.documents.tests.items()):
            read_cases(text, name, loaded.model, report)
        _warn_of_lists(loaded, directory, report)
        lint_policy(loaded.model, loaded.documents.policies, report, dead_lists=_dead_lists(loaded))
    return loaded, report


def _judged(directory: Path, loaded: Loaded | None, report: Report) -> Judged:
    """Return what was found, but for what comments silence."""
    files = {problem.file for problem in report.problems}
    mentions: dict[str, list[tuple[str, int]]] = {}
    if loaded is not None:
        files |= {*loaded.documents.policies, *loaded.documents.tests, *(source.file for source in loaded.model.lists)}
        mentions = mentions_of(places_of(loaded.documents.policies).nodes, files)
    texts = {file: text for file in sorted(files) if (text := _text_of(directory / file)) is not None}
    return apply_silences(report.problems, texts, mentions, is_complete=not report.errors)


def _text_of(path: Path) -> str | None:
    """Return the text of a file that may hold comments; None where it is none."""
    try:
        content = path.read_bytes() if path.is_file() else b""
        return content.decode()
    except (OSError, UnicodeDecodeError):
        return None  # what can't be read holds no comments, and is reported for itself


def _address(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Return an address as SARIF wants it: absolute, and without an anchor of its own."""
    if value is None or (_ADDRESS.fullmatch(value) and value.isascii()):
        return value
    raise click.BadParameter(f"{value} is no absolute address, such as https://docs.example/reference/findings.html")


@click.command("check", short_help="Validate a policy directory.", epilog=_EPILOG)
@click.argument("directory", metavar="DIR", required=False, type=click.Path(exists=True, file_okay=False))
@click.option("--strict", is_flag=True, help="Warnings count: exit 5.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif", "github"]),
    help="`sarif` is SARIF 2.1.0, `github` the annotations of a workflow. [default: text]",
)
@click.option(
    "--pages",
    metavar="URL",
    callback=_address,
    help=f"Where SARIF says that findings are explained: URL#CODE, of your own site perhaps. [default: {PAGES}]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of policy documents, for editors.")
@click.option("--kind", type=click.Choice(list(SCHEMAS)), help="Of which documents --schema prints the schema.")
def command(
    directory: str | None,
    *,
    strict: bool,
    form: str | None,
    pages: str | None,
    as_json: bool,
    schema: bool,
    kind: str | None,
) -> None:
    """Validate and lint the policy directory DIR, without running its tests.

    Every problem is printed as `file:line:col path: message [code]`, the file relative to DIR. A comment silences a
    warning where it stands: `# check: ignore CODE: reason`, at the end of the line or alone above.
    """
    if schema:
        click.echo(json.dumps(SCHEMAS[kind or "policy"](), indent=2))
        return
    if kind is not None:
        raise click.UsageError("--kind says of which documents --schema prints the schema; give both")
    if directory is None:
        raise click.UsageError("Missing argument 'DIR'.")
    if as_json and form not in {None, "json"}:
        raise click.UsageError(f"--json and --format {form} contradict each other; give one of them")
    if pages is not None and form != "sarif":
        raise click.UsageError("--pages goes with --format sarif")
    loaded, report = _look_at(Path(directory))
    judged = _judged(Path(directory), loaded, report)
    warnings = sum(problem.is_warning for problem in judged.problems)
    printers: dict[str, _Printer] = {**_PRINTERS, "sarif": partial(_print_sarif, pages or PAGES)}
    printers["json" if as_json else form or "text"](directory, loaded, report.errors, judged)
    sys.exit(_INVALID if report.errors else _WARNINGS if warnings and strict else 0)


def _print_text(directory: str, _: Loaded | None, errors: int, judged: Judged) -> None:
    print_problems(judged.problems, with_codes=True)
    _print_counts(directory, errors, judged)


def _print_counts(directory: str, errors: int, judged: Judged) -> None:
    warnings = len(judged.problems) - errors
    counts = f"{counted(errors, 'error')}, {counted(warnings, 'warning')}" if judged.problems else "no problems found"
    silenced = f", {len(judged.silenced)} silenced" if judged.silenced else ""
    click.echo(f"{directory}: {counts}{silenced}", err=bool(errors))


def _print_json(_: str, loaded: Loaded | None, errors: int, judged: Judged) -> None:
    rows = problem_rows(one.problem for one in judged.silenced)
    answer = {
        "ok": not errors,
        "revision": loaded.revision if loaded is not None and not errors else None,
        "errors": errors,
        "warnings": len(judged.problems) - errors,
        "silenced": len(judged.silenced),
        "problems": problem_rows(judged.problems),
        "silenced_problems": [{**row, "reason": one.reason} for row, one in zip(rows, judged.silenced, strict=True)],
    }
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def _print_sarif(pages: str, directory: str, _: Loaded | None, __: int, judged: Judged) -> None:
    click.echo(json.dumps(sarif_log(judged, _from_here(directory), pages), indent=2))


def _print_annotations(directory: str, _: Loaded | None, errors: int, judged: Judged) -> None:
    for line in workflow_commands(judged.problems, _from_here(directory)):
        click.echo(printable(line))
    _print_counts(directory, errors, judged)


def _from_here(directory: str) -> Path:
    """Return a directory as code hosts name files: from the working directory, the top of the repository."""
    try:
        return Path(directory).absolute().relative_to(Path.cwd())
    except ValueError:
        return Path(directory)


_PRINTERS: Final[Mapping[str, _Printer]] = {
    "text": _print_text,
    "json": _print_json,
    "github": _print_annotations,
}
