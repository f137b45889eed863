from __future__ import annotations

import pytest

from spoa.exceptions import Problem
from spoa.lint.silences import Judged, apply_silences

POLICY = """apiVersion: authz/v1  # check: ignore empty-list: it is early
rules:
  # A comment that is none of ours.
  # check: ignore wide-allow, prefix-path: see OPS-17

  - id: a
    request:
      path: /x
  - id: b
    who: c   # check: ignore any-issuer: meant
"""


def problem(line: int, code: str, file: str = "p.yaml", *, is_warning: bool = True) -> Problem:
    return Problem(file, line, 1, "x", "a message", code, is_warning)


def judged(*problems: Problem, text: str = POLICY, **more: object) -> Judged:
    return apply_silences(problems, {"p.yaml": text}, {}, **more)  # type: ignore[arg-type]


def codes(found: Judged) -> list[tuple[int, str]]:
    return [(one.line, one.code) for one in found.problems]


def test_a_comment_behind_something_speaks_of_its_line() -> None:
    found = judged(problem(10, "any-issuer"), problem(9, "any-issuer"), is_complete=False)
    assert codes(found) == [(9, "any-issuer")]
    assert [(one.problem.line, one.reason) for one in found.silenced] == [(10, "meant")]


def test_a_comment_alone_speaks_of_all_that_begins_below_it() -> None:
    given = [problem(line, code) for line in (6, 8, 9) for code in ("wide-allow", "prefix-path", "dead-allow")]
    found = judged(*given, is_complete=False)
    assert codes(found) == [
        (6, "dead-allow"),
        (8, "dead-allow"),
        (9, "dead-allow"),
        (9, "prefix-path"),
        (9, "wide-allow"),
    ]
    assert len(found.silenced) == 4


def test_a_comment_at_the_head_speaks_of_the_file_too() -> None:
    text = "\n# check: ignore missing-api-version: all files are v1 here\nrules: []\n"
    assert judged(problem(0, "missing-api-version"), text=text).problems == ()
    assert judged(problem(3, "missing-api-version"), text=text).problems == ()


def test_an_error_is_not_silenced_and_the_comment_is_a_finding() -> None:
    text = "a: b  # check: ignore unknown-key: please\n"
    found = judged(problem(1, "unknown-key", is_warning=False), text=text, is_complete=False)
    assert codes(found) == [(1, "unknown-key"), (1, "useless-silence")]


def test_a_comment_that_silences_nothing_is_a_finding_where_all_was_looked_at() -> None:
    found = judged(problem(10, "any-issuer"), problem(6, "wide-allow"))
    assert codes(found) == [(1, "useless-silence"), (4, "useless-silence")]
    assert '"prefix-path"' in found.problems[1].message
    assert codes(judged(problem(10, "any-issuer"), is_complete=False)) == []


@pytest.mark.parametrize(
    ("comment", "says"),
    [
        ("check: ignore wide-allow", "with a reason"),
        ("check: ignore wide-allow:", "with a reason"),
        ("check: ignore: because", "with a reason"),
        ("check: ignore wide-alow: because", 'did you mean "wide-allow"'),
        ("check: ignored wide-allow: because", "silences nothing"),
        ("check: disable wide-allow", "silences nothing"),
    ],
)
def test_a_comment_that_is_not_well_formed_silences_nothing_and_is_a_finding(comment: str, says: str) -> None:
    found = judged(problem(1, "wide-allow"), text=f"a: b # {comment}\n")
    assert {one.code for one in found.problems} == {"bad-silence", "wide-allow"}
    assert says in next(one.message for one in found.problems if one.code == "bad-silence")
    assert found.silenced == ()


@pytest.mark.parametrize("comment", ["check: this later", "see check: ignore it", "ignore any-issuer: x"])
def test_other_comments_are_none(comment: str) -> None:
    assert judged(text=f"a: b # {comment}\n").problems == ()


def test_a_text_that_looks_like_a_comment_is_none() -> None:
    assert codes(judged(problem(1, "any-issuer"), text="a: 'b # check: ignore any-issuer: no'\n")) == [
        (1, "any-issuer")
    ]


def test_lines_of_a_plain_list_are_silenced_too() -> None:
    text = "# check: ignore sha1: until spring\nAA  ; check: ignore duplicate-entry: twice on purpose\n"
    given = [problem(0, "sha1", "l.txt"), problem(2, "duplicate-entry", "l.txt")]
    found = apply_silences(given, {"l.txt": text}, {})
    assert found.problems == ()
    assert [one.reason for one in found.silenced] == ["until spring", "twice on purpose"]


def test_what_can_hold_no_comment_is_silenced_where_it_is_named() -> None:
    text = "a:\n  # check: ignore bad-crl: comes next week\n  crl: x.crl\n"
    found = apply_silences([problem(0, "bad-crl", "x.crl")], {"p.yaml": text}, {"x.crl": [("p.yaml", 3)]})
    assert (found.problems, len(found.silenced)) == ((), 1)
