from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from spoa.exceptions import PolicyError, Problem
from spoa.policy.document import Mapping, Scalar
from spoa.policy.reading import INVALID, Reading, Report, Schema, Shape, child_path, quoted, suggestion, visible

if TYPE_CHECKING:
    from spoa.policy.document import Node


def test_a_path_is_written_as_one_would_say_it() -> None:
    assert child_path("", "rules") == "rules"
    assert child_path(child_path("rules", 3), "request") == "rules[3].request"
    assert child_path("identities", "team-payments") == "identities.team-payments"
    assert child_path("header", "a.b") == 'header["a.b"]'
    assert child_path("header", "") == 'header[""]'


def test_texts_are_quoted_on_one_line_and_cut() -> None:
    assert quoted('a"b\n') == '"a\\"b\\n"'
    assert quoted("é") == '"é"'
    assert len(quoted("x" * 100)) == 62


def test_what_can_not_be_seen_is_shown_as_an_escape() -> None:
    assert quoted("a\u202eb\x9b\x7f\u2028") == '"a\\u202eb\\u009b\\u007f\\u2028"'
    assert visible("\x1b[31mé") == "\\u001b[31mé"


def test_a_near_word_is_suggested_whatever_its_case_or_hyphens() -> None:
    assert suggestion("efect", ["id", "effect"]) == '; did you mean "effect"?'
    assert suggestion("No-Certificate", ["no_certificate"]) == '; did you mean "no_certificate"?'
    assert suggestion("apiversion", ["apiVersion"]) == '; did you mean "apiVersion"?'


def test_without_a_near_word_the_known_ones_are_listed() -> None:
    assert suggestion("zzz", ["id", "effect"]) == '; known here: "id", "effect"'
    assert suggestion("zzz", [f"word{n}" for n in range(14)]).endswith('"word11" and 2 more')
    assert suggestion("zzz", []) == ""
    assert "did you mean" not in suggestion("a" * 65, ["a" * 64])


def test_a_report_refuses_what_is_wrong_and_no_mere_warnings() -> None:
    report = Report()
    report.file_problem("b.yaml", "late", "expired", is_warning=True)
    report.refuse_errors()
    report.file_problem("a.yaml", "wrong", "invalid-value")
    with pytest.raises(PolicyError) as caught:
        report.refuse_errors()
    assert [problem.file for problem in caught.value.problems] == ["a.yaml"]


def test_a_report_is_sorted_without_repetition_and_counts_errors() -> None:
    report = Report()
    late, early = Scalar("b.yaml", 9, 1, "x"), Scalar("b.yaml", 2, 5, "y")
    report.problem(late, "k", "late", "c")
    report.problem(late, "k", "late", "c")
    report.problem(early, "j", "early", "c", is_warning=True)
    report.file_problem("a.yaml", "whole", "c")
    report.file_problem("z.yaml", "unsure", "c", is_warning=True)
    assert report.errors == 3
    assert [str(problem) for problem in report.problems] == [
        "a.yaml:0:0: whole",
        "b.yaml:2:5 j: early",
        "b.yaml:9:1 k: late",
        "z.yaml:0:0: unsure",
    ]
    report.add(Problem("a.yaml", 1, 1, "", "more"), Problem("a.yaml", 1, 2, "", "hint", is_warning=True))
    assert report.errors == 4


def test_a_reading_places_a_problem_at_the_value_or_at_the_whole() -> None:
    key, value = Scalar("f", 1, 1, "who"), Scalar("f", 1, 6, "bob")
    node = Mapping("f", 1, 1, ((key, value),))
    reading = Reading(node, "rules[0]", {"who": "bob"}, {"who": key}, {"who": value}, is_complete=True)
    assert reading.at("who") is value
    assert reading.at("when") is node
    assert reading.path_of("who") == "rules[0].who"


def test_a_node_of_the_wrong_kind_is_reported_with_what_would_be_right() -> None:
    class Nothing(Shape):
        expected = "a list"

        def read(self, node: Node, report: Report, path: str) -> Any:
            return self.mismatch(node, report, path)

        def schema(self, definitions: dict[str, Schema]) -> Schema:
            return definitions

    report = Report()
    assert Nothing().read(Scalar("f", 1, 2, "x"), report, "who") is INVALID
    assert [str(problem) for problem in report.problems] == ["f:1:2 who: expected a list, found a text"]


def test_invalid_says_so() -> None:
    assert repr(INVALID) == "INVALID"
