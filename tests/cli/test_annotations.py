from __future__ import annotations

from pathlib import PurePosixPath

from spoa.cli.annotations import workflow_commands
from spoa.exceptions import Problem


def test_each_finding_is_one_command_with_its_place() -> None:
    found = [
        Problem("a.yaml", 3, 5, "rules[0].who", "too wide", "wide-allow", is_warning=True),
        Problem("lists/x.txt", 0, 0, "", "can't be read", "unreadable"),
    ]
    assert list(workflow_commands(found, PurePosixPath("policies"))) == [
        "::warning file=policies/a.yaml,line=3,col=5,title=wide-allow::rules[0].who: too wide",
        "::error file=policies/lists/x.txt,title=unreadable::can't be read",
    ]


def test_nothing_in_a_finding_ends_the_command_early() -> None:
    problem = Problem("a,b:c.yaml", 1, 1, "", "100%\r\n::error::x", "invalid")
    line = next(iter(workflow_commands([problem], PurePosixPath())))
    assert line == "::error file=a%2Cb%3Ac.yaml,line=1,col=1,title=invalid::100%25%0D%0A::error::x"
