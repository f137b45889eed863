"""Findings as SARIF 2.1.0, which code hosts and editors show beside the lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from spoa._version import __version__
from spoa.lint.catalogue import FINDINGS, WARNINGS, page_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import PurePath

    from spoa.exceptions import Problem
    from spoa.lint.silences import Judged

__all__ = ["PAGES", "sarif_log"]

#: Where the project says of itself what it is; `helpUri` has to be absolute.
PAGES: Final = "https://pypi.org/project/spoa-authz/"
_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif_log(judged: Judged, directory: PurePath, pages: str = PAGES) -> dict[str, Any]:
    """Return the log of one run of `check`.

    Args:
        judged: what was found; what is silenced stands there as suppressed, with its reason.
        directory: where the files of the findings lie, as their addresses shall begin.
        pages: the absolute address at which findings are explained, each under its code as an anchor.
    """
    codes = sorted({problem.code for problem in (*judged.problems, *(one.problem for one in judged.silenced))})
    results = [_result(problem, codes, directory) for problem in judged.problems]
    for problem, reason in judged.silenced:
        suppression = {"kind": "inSource", "status": "accepted", "justification": reason}
        results.append({**_result(problem, codes, directory), "suppressions": [suppression]})
    driver = {"name": "spoa-authz", "semanticVersion": __version__, "rules": list(_rules(codes, pages))}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rules(codes: Iterable[str], pages: str) -> Iterable[dict[str, Any]]:
    for code in codes:
        meaning, remedy = FINDINGS[code]
        yield {
            "id": code,
            "shortDescription": {"text": meaning},
            "helpUri": f"{pages}#{code}",
            "help": {"text": f"{remedy} See {page_of(code)}.", "markdown": f"{remedy} See `{page_of(code)}`."},
            "defaultConfiguration": {"level": "warning" if code in WARNINGS else "error"},
        }


def _result(problem: Problem, codes: list[str], directory: PurePath) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote((directory / problem.file).as_posix())}}
    if problem.line:
        place["region"] = {"startLine": problem.line, "startColumn": max(problem.column, 1)}
    location: dict[str, Any] = {"physicalLocation": place}
    if problem.path:
        location["logicalLocations"] = [{"fullyQualifiedName": problem.path}]
    return {
        "ruleId": problem.code,
        "ruleIndex": codes.index(problem.code),
        "level": "warning" if problem.is_warning else "error",
        "message": {"text": problem.message},
        "locations": [location],
    }
