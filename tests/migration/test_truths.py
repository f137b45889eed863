"""Tests of booleans and numbers: those that ask what they look like, and the refusal of all others."""

from __future__ import annotations

import pytest
import yaml

from spoa.migration.truths import asks_for_true, check_boolean, check_integer, includes_zero
from tests.migration.configurations import comparison, draft_of, frontend


@pytest.mark.parametrize("words", ["", "1", "true", "-m bool", "-m bool YES on"])
def test_a_boolean_is_asked_whether_it_is_true(words: str) -> None:
    check_boolean(comparison(f"ssl_c_used {words}"))
    assert asks_for_true(comparison(f"ssl_c_used {words}"))


@pytest.mark.parametrize(("number", "is_true"), [("0", False), ("1", True)])
def test_a_boolean_that_is_taken_for_a_number_can_be_asked_whether_it_is_false(number: str, is_true: bool) -> None:
    assert asks_for_true(comparison(f"ssl_c_used -m int {number}")) is is_true


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ssl_c_used,not", "the converter not"),
        ("ssl_c_used,add(1) 1", "the converter add"),
        ("ssl_c_used 0", "ignores the pattern 0"),
        ("ssl_c_used 1 false", "ignores the pattern false"),
        ("ssl_c_used -m bool 0", "ignores the pattern 0"),
        ("ssl_fc_has_crt 0", "ignores the pattern 0"),
        ("ssl_c_used -f flags.txt", "ignores the pattern -f flags.txt"),
        ("ssl_c_used -m found", "`-m found` of a boolean"),
        ("ssl_c_used -m int lt 1", "`-m int` of a boolean"),
        ("ssl_c_used,not -m int 0", "the converter not"),
        ("ssl_c_used -m int -f numbers.txt 0", "`-m int` of a boolean"),
    ],
)
def test_whatever_else_is_asked_of_a_boolean_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        asks_for_true(comparison(text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ssl_c_verify,not", "the converter not"),
        ("ssl_c_verify -m found", "`-m found` of a number"),
        ("ssl_c_verify -m bool 0", "`-m bool` of a number"),
        ("ssl_c_verify -f codes.txt", r"numbers of the file codes\.txt"),
    ],
)
def test_whatever_else_is_asked_of_a_number_is_refused(text: str, why: str) -> None:
    check_integer(comparison("ssl_c_verify 0"))
    with pytest.raises(ValueError, match=why):
        check_integer(comparison(text))


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        ((), False),
        (("10", "18"), False),
        (("10", "0"), True),
        (("ge", "0"), True),
        (("gt 0",), False),
        (("gt", "-1"), True),
        (("lt", "1"), True),
        (("le", "-1"), False),
        (("1:9",), False),
        (("-1:9",), True),
        (("gt", "5", "eq", "0"), True),
    ],
)
def test_numbers_hold_for_zero_or_not(words: tuple[str, ...], holds: bool) -> None:
    assert includes_zero(words) is holds


@pytest.mark.parametrize("words", [("ne", "0"), ("0:",), (":0",), ("gt",), ("0", "gt"), ("gt", "1:3"), ("0x0",)])
def test_what_is_no_condition_on_a_number_is_an_error(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="number"):
        includes_zero(words)


@pytest.mark.parametrize(
    "test",
    [
        *("ssl_c_used,not", "ssl_c_used,add(1) gt 1", "ssl_c_used 0", "ssl_c_used false", "ssl_c_used -m bool 0"),
        *("ssl_fc_has_crt 0", "ssl_fc_has_crt,not", "ssl_c_used -m found", "ssl_c_verify,not", "ssl_c_verify -m found"),
        *("ssl_c_verify ne 0", "ssl_fc,not", "always_true,not", "always_false 1,not"),
    ],
)
@pytest.mark.parametrize("keyword", ["if", "unless"])
def test_a_draft_denies_all_without_what_it_cannot_say_of_a_boolean_or_number(keyword: str, test: str) -> None:
    """The note shows the test as it is written."""
    draft = draft_of(frontend(f"http-request deny {keyword} {{ {test} }}", verify="optional"))
    first = yaml.safe_load(draft.files["policy.yaml"])["rules"][0]
    assert {key: value for key, value in first.items() if key != "id"} == {"effect": "deny"}
    (note,) = [note for note in draft.notes if note.code == "untranslated"]
    assert (note.file, note.line) == ("edge.cfg", 5)
    assert note.text.startswith(f"{test}: ")
