"""The circuit: what gates mean, what choices demand, and that a question may be given up."""

from __future__ import annotations

from itertools import product

from spoa.solver import FALSE, TRUE, Circuit

PATIENCE = 1000


def test_gates_mean_what_they_say() -> None:
    circuit = Circuit()
    a, b = circuit.literal(), circuit.literal()
    both, one = circuit.all_of((a, b)), circuit.any_of((a, b))
    for first, second in product((a, -a), (b, -b)):
        assert circuit.can_hold((first, second, both), PATIENCE) is (first > 0 and second > 0)
        assert circuit.can_hold((first, second, one), PATIENCE) is (first > 0 or second > 0)
    circuit.close()


def test_gates_that_say_the_same_are_one() -> None:
    circuit = Circuit()
    a, b = circuit.literal(), circuit.literal()
    assert circuit.all_of((a, b)) == circuit.all_of((b, a, TRUE, b))
    assert circuit.all_of(()) == TRUE
    assert circuit.any_of(()) == FALSE
    assert circuit.all_of((a,)) == a
    assert circuit.all_of((a, -a)) == FALSE
    assert circuit.any_of((a, -FALSE)) == TRUE


def test_of_a_choice_exactly_one_holds_and_the_first_rather_than_others() -> None:
    circuit = Circuit()
    literals = circuit.choice(4)
    assert circuit.can_hold((), PATIENCE)
    assert [circuit.holds(literal) for literal in literals] == [True, False, False, False]
    assert circuit.can_hold([-literal for literal in literals], PATIENCE) is False
    assert circuit.can_hold(literals[1:3], PATIENCE) is False
    assert circuit.can_hold(literals[3:], PATIENCE) is True
    assert circuit.choice(1) == [TRUE]


def test_flags_hold_or_not_and_rather_not() -> None:
    circuit = Circuit()
    flags = circuit.flags(3)
    assert circuit.can_hold((), PATIENCE)
    assert not any(map(circuit.holds, flags))
    assert circuit.can_hold(flags, PATIENCE)
    assert circuit.holds(TRUE)


def test_at_most_one_holds_unless_an_exception_does() -> None:
    circuit = Circuit()
    flags, exception = circuit.flags(3), circuit.literal()
    circuit.demand_at_most_one(flags, unless=exception)
    assert circuit.can_hold(flags[:2], PATIENCE)
    assert circuit.can_hold((*flags[:2], -exception), PATIENCE) is False


def test_what_was_demanded_can_not_be_otherwise() -> None:
    circuit = Circuit()
    a, b = circuit.flags(2)
    circuit.demand((a, b))
    assert circuit.can_hold((-a, -b), PATIENCE) is False


def test_a_question_that_takes_too_long_is_given_up() -> None:
    circuit = Circuit()
    holes = [[circuit.literal() for _ in range(9)] for _ in range(10)]
    for pigeon in holes:
        circuit.demand(pigeon)
    for hole in zip(*holes, strict=True):
        circuit.demand_at_most_one(hole)
    assert circuit.can_hold((), 50) is None
