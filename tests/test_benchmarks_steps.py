"""Machine instructions are counted one by one, and what can't be counted is told."""

from __future__ import annotations

import os

import pytest

from benchmarks.steps import StepError, steps


@pytest.fixture(autouse=True)
def _may_be_traced() -> None:
    try:
        steps(lambda: None)
    except PermissionError as error:
        pytest.skip(str(error))


def _digits(size: int) -> int:
    return steps(lambda: str(10**size))


def test_more_work_takes_more_steps_and_the_same_work_the_same() -> None:
    short, again, long = _digits(1), _digits(1), _digits(400)
    assert 100 < short < 100_000
    assert abs(again - short) < short / 10
    assert long > short + 10_000


def test_work_that_fails_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepError, match="ended itself"):
        steps(lambda: 1 // 0)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_work_that_is_killed_is_told() -> None:
    with pytest.raises(StepError, match="got the signal 6"):
        steps(os.abort)


def test_cores_are_what_they_were_before() -> None:
    before = os.sched_getaffinity(0)
    steps(lambda: None)
    assert os.sched_getaffinity(0) == before
