"""`spoa-authz test`: run the tests of a policy directory."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import click

from spoa.cli.findings import counted, load, print_problems, problem_rows
from spoa.cli.table import printable
from spoa.coverage import Coverage
from spoa.loading import fixtures
from spoa.rehearsal import Rehearsal, rehearse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spoa.exceptions import Problem
    from spoa.loading import Loaded
    from spoa.rehearsal import Result

__all__ = ["command"]

_UNTESTED: Final = 1
_INVALID: Final = 3
_FAILED: Final = 4

_EPILOG: Final = """
\b
Examples:
  spoa-authz test policies
  spoa-authz test policies --coverage
  spoa-authz test policies --junit results.xml

\b
Exit status: 0 all passed, 1 there are no tests, 2 usage, 3 the policy or
a tests document is invalid, 4 a test failed.
"""


@click.command("test", short_help="Run the tests of a policy directory.", epilog=_EPILOG)
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--coverage", "with_coverage", is_flag=True, help="List what the tests have not seen of the rules.")
@click.option("--junit", metavar="FILE", type=click.Path(dir_okay=False), help="Write the results as JUnit XML.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@click.option("--verbose", is_flag=True, help="Name the tests that passed, too.")
def command(directory: str, *, with_coverage: bool, junit: str | None, as_json: bool, verbose: bool) -> None:
    """Run the policy tests of DIR: tests, matrices and invariants.

    They stand in DIR/tests/*.yaml. Where there are none nothing was tested, which is no success: the exit status is 1.
    """
    loaded, report = load(directory)
    rehearsal, coverage, revision = Rehearsal(), None, None
    if loaded is not None:
        policy = loaded.policy()
        revision = policy.revision
        coverage = Coverage(policy) if with_coverage else None
        read_fixture = fixtures(Path(directory))
        rehearsal = rehearse(
            policy,
            loaded.documents.tests,
            read_fixture,
            report,
            now=time.time(),
            clock=time.perf_counter,
            coverage=coverage,
        )
    others = [problem for problem in report.problems if problem.code != "test-failed"]
    invalid = [problem for problem in others if not problem.is_warning]
    untested = "" if invalid or rehearsal.results else _untested(directory, loaded)
    if junit is not None:
        _write_junit(junit, rehearsal.results, invalid, untested)
    if as_json:
        answer = {
            "ok": not report.errors and not untested,
            "revision": revision,
            "passed": len(rehearsal.results) - rehearsal.failed,
            "failed": rehearsal.failed,
            "results": [result._asdict() for result in rehearsal.results],
            "problems": problem_rows(others),
            "coverage": None if coverage is None else _coverage_row(coverage),
        }
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        print_problems(others, err=True)
        _print_text(rehearsal, coverage, verbose=verbose)
    if untested:
        click.echo(printable(f"spoa-authz test: {untested}"), err=True)
    sys.exit(_INVALID if invalid else _FAILED if rehearsal.failed else _UNTESTED if untested else 0)


def _untested(directory: str, loaded: Loaded | None) -> str:
    """Return why nothing was tested."""
    files = loaded.documents.tests if loaded is not None else {}
    if files:
        return f"nothing was tested, since {', '.join(sorted(files))} state no test"
    return f"nothing was tested, since there is no {Path(directory) / 'tests'}/*.yaml"


def _coverage_row(coverage: Coverage) -> dict[str, Any]:
    return {
        "percent": coverage.percent,
        "covered": coverage.covered,
        "total": coverage.total,
        "gaps": [gap._asdict() for gap in coverage.gaps()],
    }


def _print_text(rehearsal: Rehearsal, coverage: Coverage | None, *, verbose: bool) -> None:
    for result in rehearsal.results:
        if not result.passed:
            click.echo(printable(f"FAIL {result.file}:{result.line}: {result.message}"))
        elif verbose:
            click.echo(printable(f"ok   {result.file}:{result.line}: {result.name}"))
    if coverage is not None:
        gaps = list(coverage.gaps())
        for gap in gaps:
            click.echo(printable(f"not covered {gap}"))
        click.echo(f"coverage {coverage.percent:g} % ({coverage.covered} of {coverage.total} outcomes)")
    passed = len(rehearsal.results) - rehearsal.failed
    seconds = sum(result.seconds for result in rehearsal.results)
    if rehearsal.results:
        click.echo(f"{counted(passed, 'test')} passed, {rehearsal.failed} failed in {seconds:.2f} s")
    else:
        click.echo("no tests were run")


def _write_junit(file: str, results: Sequence[Result], invalid: Sequence[Problem], untested: str) -> None:
    """Write one testcase a test, and one with an error for each problem that kept tests from being read or there."""
    failed = sum(not result.passed for result in results)
    total = {
        "name": "spoa-authz test",
        "tests": str(len(results) + len(invalid) + bool(untested)),
        "failures": str(failed),
        "errors": str(len(invalid) + bool(untested)),
        "time": f"{sum(result.seconds for result in results):.6f}",
    }
    suites = ET.Element("testsuites", total)
    suite = ET.SubElement(suites, "testsuite", total)
    for result in results:
        place = {"classname": result.file, "file": result.file, "line": str(result.line)}
        case = ET.SubElement(suite, "testcase", {"name": result.name, **place, "time": f"{result.seconds:.6f}"})
        if not result.passed:
            ET.SubElement(
                case, "failure", {"message": result.message}
            ).text = f"{result.file}:{result.line}\nexpected: {result.expected}\ngot: {result.got}"
    for problem in invalid:
        case = ET.SubElement(suite, "testcase", {"name": str(problem), "classname": problem.file, "time": "0"})
        ET.SubElement(case, "error", {"message": problem.message, "type": problem.code})
    if untested:
        case = ET.SubElement(suite, "testcase", {"name": "there are tests", "classname": "tests", "time": "0"})
        ET.SubElement(case, "error", {"message": untested, "type": "no-tests"})
    ET.indent(suites)
    try:
        ET.ElementTree(suites).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise click.UsageError(f"--junit: {file} can't be written: {error.strerror}") from error
