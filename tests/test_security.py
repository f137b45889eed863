"""Every row of the threat model names a test, and each of them is in the file that the page says."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = ROOT / "docs" / "explanation" / "security.md"
#: What the model must speak of, as words of its rows.
SUBJECTS: Final = (
    "a header that says who the client is",
    "another way to write the path",
    "resumed session",
    "SNI of one host",
    "another trusted CA",
    "a ticket or session id",
    "frames larger",
    "admin address",
    "log lines that forge",
    "names an address inside the network",
    "YAML that explodes",
    "an expression that takes for ever",
    "a state directory that others can write",
    "how long a look-up in a list takes",
    "a stranger asks the agent",
    "answers in the agent's place",
    "unix socket",
)


class Row(NamedTuple):
    """A threat, and where it is held off: file and test, several of them perhaps."""

    threat: str
    held_by: tuple[tuple[str, str], ...]


def rows() -> Iterator[Row]:
    """Read the tables whose last column is `held by`; a test without a file is in the one named before it."""
    file, is_within = "", False
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells or cells[-1] == "held by" or not is_within:
            is_within = bool(cells) and (is_within or cells[-1] == "held by")
            continue
        if set(line) <= {"|", "-"}:
            continue
        found = []
        for word in re.findall(r"`([^`]+)`", cells[-1]):
            if word.startswith("tests/"):
                file = word
            elif word.startswith("test_"):
                found.append((file, word))
        yield Row(cells[0], tuple(found))


ROWS: Final = tuple(rows())


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of the tests of a file, those of classes too."""
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("row", ROWS, ids=[row.threat for row in ROWS])
def test_each_row_names_tests_that_are_there(row: Row) -> None:
    assert row.held_by
    for file, name in row.held_by:
        assert name in names_in(file), f"{file} has no {name}"


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_model_speaks_of_what_it_must(subject: str) -> None:
    assert any(subject in row.threat for row in ROWS)


def test_no_table_is_passed_over() -> None:
    """Whoever adds a table of threats has it read."""
    tables = PAGE.read_text().count("| held by |")
    assert tables == len(re.findall(r"^\|---\|---\|---\|$", PAGE.read_text(), re.MULTILINE))
    assert len(ROWS) > 10 * (tables - 2)
