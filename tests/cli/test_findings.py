from __future__ import annotations

from typing import TYPE_CHECKING

from spoa.cli.findings import counted, print_problems, problem_rows
from spoa.exceptions import Problem

if TYPE_CHECKING:
    import pytest

PROBLEMS = (
    Problem("p.yaml", 1, 2, "rules[0]", "wrong", "a-code"),
    Problem("l.txt", 3, 0, "", "odd \x1b[31m", "b-code", is_warning=True),
)


def test_a_problem_is_one_line_that_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_problems(PROBLEMS)
    assert capsys.readouterr().out == "p.yaml:1:2 rules[0]: wrong\nl.txt:3:0: warning: odd \\u001b[31m\n"
    print_problems(PROBLEMS[:1], err=True)
    assert capsys.readouterr().err == "p.yaml:1:2 rules[0]: wrong\n"


def test_a_row_says_how_bad_it_is() -> None:
    assert [row["severity"] for row in problem_rows(PROBLEMS)] == ["error", "warning"]


def test_numbers_have_their_nouns() -> None:
    assert (counted(1, "error"), counted(2, "error"), counted(0, "error")) == ("1 error", "2 errors", "0 errors")
