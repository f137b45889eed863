from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.policy.document import Scalar, Sequence
from spoa.policy.reading import INVALID, Report
from spoa.policy.scalars import Boolean, Choice, Date, Duration, Integer, Parsed, ScalarShape, Text, Timestamp

if TYPE_CHECKING:
    from spoa.exceptions import Problem

EPOCH_2027 = int(dt.datetime(2027, 1, 15, tzinfo=dt.UTC).timestamp())


def read(shape: ScalarShape, text: str) -> Any:
    report = Report()
    value = shape.read(Scalar("p.yaml", 3, 7, text, is_quoted=True), report, "key")
    assert report.problems == ()
    return value


def problem_of(shape: ScalarShape, text: str) -> Problem:
    report = Report()
    assert shape.read(Scalar("p.yaml", 3, 7, text, is_quoted=True), report, "key") is INVALID
    (problem,) = report.problems
    assert (problem.line, problem.column, problem.path) == (3, 7, "key")
    return problem


def admits(shape: ScalarShape, value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(shape.schema({})).is_valid(value))


@pytest.mark.parametrize(
    ("shape", "text", "value"),
    [
        (Text(), "on", "on"),
        (Text(pattern="INC-[0-9]+"), "INC-12", "INC-12"),
        (Text(min=0), "", ""),
        (Integer(), "0", 0),
        (Integer(min=1, max=10), "10", 10),
        (Integer(min=-5), "-5", -5),
        (Boolean(), "true", True),
        (Boolean(), "false", False),
        (Duration(), "300ms", 0.3),
        (Duration(), "1000ms", 1),
        (Duration(), "30s", 30),
        (Duration(), "5m", 300),
        (Duration(), "24h", 86_400),
        (Duration(), "7d", 604_800),
        (Duration(), "0", 0),
        (Date(), "2027-01-15", EPOCH_2027),
        (Timestamp(), "2027-01-15T00:00:00Z", EPOCH_2027),
        (Timestamp(), "2027-01-15T01:00:00+01:00", EPOCH_2027),
        (Timestamp(), "2027-01-15 00:00Z", EPOCH_2027),
        (Timestamp(), "2027-01-15T00:00:00.999Z", EPOCH_2027),
        (Choice(["allow", "deny"]), "deny", "deny"),
        (Choice({"403": 403}), "403", 403),
        (Parsed(int), "7", 7),
    ],
)
def test_a_text_becomes_its_value(shape: ScalarShape, text: str, value: object) -> None:
    found = read(shape, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("shape", "text", "message"),
    [
        (Text(), "", "expected a text, found an empty text"),
        (Text(min=3), "ab", "shorter than 3 characters"),
        (Text(max=3), "abcd", "4 characters; at most 3 are allowed"),
        (Text(pattern="[a-z]+"), "a b", 'expected a text that matches [a-z]+, found "a b"'),
        (Text(pattern="[a-z]+", hint="a name"), "a\n", 'expected a name, found "a\\n"'),
        (Integer(), "-1", 'expected a whole number, found "-1"'),
        (Integer(min=1), "0", 'expected a whole number, 1 or more, found "0"'),
        (Integer(min=1, max=9), "10", 'expected a whole number from 1 to 9, found "10"'),
        (Integer(), "١", 'expected a whole number, found "١"'),
        (Integer(), "0x10", 'expected a whole number, found "0x10"'),
        (Integer(), "1" * 5000, 'expected a whole number, found "' + "1" * 59 + '…"'),
        (Boolean(), "yes", 'expected true or false, found "yes"'),
        (Duration(), "5 min", 'expected a duration such as 300ms, 30s, 5m, 24h or 7d, found "5 min"'),
        (Duration(), "300", 'expected a duration such as 300ms, 30s, 5m, 24h or 7d, found "300"'),
        (Duration(min=1, max=60), "2m", "2m is out of range: from 1s to 1m"),
        (Duration(min=0.05, max=3600), "10ms", "10ms is out of range: from 50ms to 1h"),
        (Duration(max=2 * 86_400), "3d", "3d is out of range: from 0 to 2d"),
        (Date(), "15.1.2027", 'expected a date such as 2027-01-15, found "15.1.2027"'),
        (Date(), "2027-02-30", '"2027-02-30" is not in the calendar: day is out of range for month'),
        (Choice(["a"]), "b", 'expected a, found "b"'),
        (
            Choice(["allow", "deny", "require"]),
            "alow",
            'expected allow, deny or require, found "alow"; did you mean "allow"?',
        ),
    ],
)
def test_a_wrong_text_is_a_problem_that_says_what_is_right(shape: ScalarShape, text: str, message: str) -> None:
    problem = problem_of(shape, text)
    assert (problem.message, problem.code) == (message, "invalid-value")


@pytest.mark.parametrize("text", ["2027-01-15", "2027-01-15T00:00:00", "2027-01-15T25:00:00Z", "2027-01-15T00:00:60Z"])
def test_a_time_needs_its_zone_and_a_place_in_the_calendar(text: str) -> None:
    assert problem_of(Timestamp(), text).code == "invalid-value"


def test_a_function_words_its_problem_and_may_name_the_code() -> None:
    def refuse(text: str) -> None:
        raise ValueError(f"no {text} here")

    problem = problem_of(Parsed(refuse, expected="a pattern", code="bad-glob"), "x")
    assert (problem.message, problem.code) == ("no x here", "bad-glob")
    assert Parsed(refuse, expected="a pattern").expected == "a pattern"


def test_no_value_and_a_list_are_no_scalar() -> None:
    report = Report()
    assert Boolean().read(Scalar("f", 1, 1, ""), report, "a") is INVALID
    assert Boolean().read(Sequence("f", 2, 1, ()), report, "b") is INVALID
    assert [problem.message for problem in report.problems] == [
        "expected true or false, found no value",
        "expected true or false, found a list",
    ]
    assert {problem.code for problem in report.problems} == {"wrong-type"}


@pytest.mark.parametrize(
    ("shape", "fits", "fails"),
    [
        (Text(), ["x", 12, 1.5, True], ["", None, [], {}]),
        (Text(pattern="[a-z]+"), ["abc"], ["ab1"]),
        (Integer(min=1, max=5), [3, "3"], [6, "x", 1.5, True]),
        (Boolean(), [True, "false"], ["yes", 1]),
        (Duration(), ["5m", "0", 0], ["5 min", 300, -1]),
        (Date(), ["2027-01-15"], ["soon", 20270115]),
        (Timestamp(), ["2027-01-15T00:00:00Z"], ["2027-01-15"]),
        (Choice(["off", "send", "true", "1"]), ["off", "send", False, True, 1], ["of", None, 2]),
        (Choice({"null": None, "a": 1}), ["null", None, "a"], [1]),
        (Parsed(str), ["x", 1, False], [None, []]),
        (Parsed(str, form={"type": "integer"}), [1], ["x"]),
    ],
)
def test_an_editor_admits_the_same_writings(shape: ScalarShape, fits: list[object], fails: list[object]) -> None:
    assert [value for value in fits if not admits(shape, value)] == []
    assert [value for value in fails if admits(shape, value)] == []


@given(st.datetimes(min_value=dt.datetime(1, 1, 1), max_value=dt.datetime(9999, 12, 31)), st.integers(-1439, 1439))  # noqa: DTZ001 - hypothesis asks for naive bounds
def test_every_instant_is_read_exactly(naive: dt.datetime, minutes: int) -> None:
    zone = dt.timezone(dt.timedelta(minutes=minutes))
    instant = naive.replace(microsecond=0, tzinfo=zone)
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert read(Timestamp(), instant.isoformat()) == (instant - epoch).total_seconds()


@given(st.text())
def test_no_text_makes_a_scalar_raise(text: str) -> None:
    node = Scalar("f", 1, 1, text)
    for shape in (Text(), Integer(), Boolean(), Duration(), Date(), Timestamp(), Choice(["a", "b"])):
        report = Report()
        value = shape.read(node, report, "")
        assert (value is INVALID) == bool(report.problems)
