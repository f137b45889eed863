"""A host that fails is left alone, and asked again with care."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.circuit import MAX_FAILURES, OPEN_SECONDS, Circuit, CircuitState, backoff, refresh_delay


def failed(times: int, now: float = 100.0) -> Circuit:
    circuit = Circuit()
    for _ in range(times):
        assert circuit.try_enter(now)
        circuit.fail(now)
    return circuit


def test_a_circuit_is_closed_until_one_failure_too_many() -> None:
    assert failed(MAX_FAILURES - 1).state(100) is CircuitState.CLOSED
    assert failed(MAX_FAILURES - 1).try_enter(100)


def test_an_open_circuit_lets_nothing_through() -> None:
    circuit = failed(MAX_FAILURES)
    assert circuit.state(100) is CircuitState.OPEN
    assert circuit.refuses(100)
    assert not circuit.try_enter(100 + OPEN_SECONDS - 0.001)


def test_one_request_at_a_time_probes_a_circuit_that_was_open_for_long_enough() -> None:
    circuit = failed(MAX_FAILURES)
    later = 100 + OPEN_SECONDS
    assert circuit.state(later) is CircuitState.HALF_OPEN
    assert not circuit.refuses(later)
    assert circuit.try_enter(later)
    assert circuit.refuses(later)
    assert not circuit.try_enter(later)


def test_a_probe_that_succeeds_closes_the_circuit_for_good() -> None:
    circuit = failed(MAX_FAILURES)
    assert circuit.try_enter(200)
    circuit.succeed()
    assert circuit.state(200) is CircuitState.CLOSED
    circuit.fail(200)
    assert circuit.state(200) is CircuitState.CLOSED


def test_a_probe_that_fails_opens_the_circuit_anew() -> None:
    circuit = failed(MAX_FAILURES)
    assert circuit.try_enter(200)
    circuit.fail(210)
    assert not circuit.try_enter(210 + OPEN_SECONDS - 0.001)
    assert circuit.try_enter(210 + OPEN_SECONDS)


def test_a_probe_that_is_given_up_leaves_its_place_to_the_next() -> None:
    circuit = failed(MAX_FAILURES)
    assert circuit.try_enter(200)
    circuit.abandon()
    assert circuit.state(200) is CircuitState.HALF_OPEN
    assert circuit.try_enter(200)


def test_a_success_between_failures_keeps_the_circuit_closed() -> None:
    circuit = failed(MAX_FAILURES - 1)
    circuit.succeed()
    circuit.fail(100)
    assert circuit.state(100) is CircuitState.CLOSED


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_backoff_lies_between_its_bounds(failures: int, chance: float) -> None:
    assert 5 <= backoff(failures, chance) <= 300


@pytest.mark.parametrize(("failures", "first", "last"), [(1, 5, 10), (2, 10, 20), (3, 20, 40), (9, 150, 300)])
def test_a_backoff_doubles_and_is_spread_by_half(failures: int, first: float, last: float) -> None:
    assert backoff(failures, 0.0) == first
    assert backoff(failures, 0.999_999) == pytest.approx(last, rel=0.001)


@pytest.mark.parametrize(
    ("refresh", "left", "first", "last"),
    [
        (300, None, 300, 270),  # the usual rhythm, or a little sooner
        (300, 10_000, 300, 270),
        (300, 100, 50, 90),  # in the second half of the validity, but for the last tenth
        (300, 1, 5, 5),  # and no more often than every few seconds
        (300, -1000, 5, 5),
        (1, None, 1, 1),  # but where that is wanted
    ],
)
def test_a_document_is_asked_for_again_in_time(refresh: float, left: float | None, first: float, last: float) -> None:
    assert refresh_delay(refresh, left, 0.0) == pytest.approx(first)
    assert refresh_delay(refresh, left, 0.999_999) == pytest.approx(last, rel=0.001)
