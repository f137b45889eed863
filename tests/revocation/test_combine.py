from __future__ import annotations

from itertools import product

import pytest

from spoa.revocation.combine import (
    Combine,
    Source,
    SourceAnswer,
    State,
    any_revoked,
    state_of,
    verdict,
    whole_chain,
)
from spoa.revocation.status import FOREVER, Reason, Result, Status

GOOD = Result(Status.GOOD, Reason.OK, valid_until=100)
REVOKED = Result(Status.REVOKED, "keyCompromise")
UNKNOWN = Result(Status.UNKNOWN, Reason.RESPONDER_UNKNOWN)
NOTHING = Result(Status.UNDETERMINED, Reason.NOT_LOADED)
STALE = Result(Status.UNDETERMINED, Reason.STALE)
FAILURES = (State.STALE, State.UNREACHABLE, State.NOT_LOADED, State.UNDETERMINED)


def ocsp(state: State, **fields: bool) -> SourceAnswer:
    return SourceAnswer(Source.OCSP, state, **fields)


def crl(state: State, **fields: bool) -> SourceAnswer:
    return SourceAnswer(Source.CRL, state, **fields)


class TestResults:
    @pytest.mark.parametrize(
        ("of_crl", "of_ocsp", "expected"),
        [
            (REVOKED, GOOD, REVOKED),
            (GOOD, REVOKED, REVOKED),
            (REVOKED, UNKNOWN, REVOKED),
            (GOOD, UNKNOWN, UNKNOWN),
            (NOTHING, UNKNOWN, UNKNOWN),
            (GOOD, STALE, GOOD),
            (STALE, GOOD, GOOD),
            (NOTHING, STALE, STALE),
            (STALE, NOTHING, STALE),
            (GOOD, GOOD._replace(valid_until=200), GOOD._replace(valid_until=200)),
        ],
    )
    def test_the_first_of_revoked_unknown_good_counts(self, of_crl: Result, of_ocsp: Result, expected: Result) -> None:
        assert expected == any_revoked(of_crl, of_ocsp)

    def test_a_chain_is_as_good_as_its_worst(self) -> None:
        assert whole_chain([GOOD, UNKNOWN, STALE, REVOKED]) == REVOKED
        assert whole_chain([GOOD, UNKNOWN, STALE]) == UNKNOWN
        assert whole_chain([STALE, UNKNOWN]) == STALE
        late = GOOD._replace(valid_until=50, is_late=True)
        assert GOOD._replace(valid_until=50, is_late=True) == whole_chain([GOOD, late])

    @pytest.mark.parametrize(
        ("result", "state"),
        [
            (GOOD, State.GOOD),
            (REVOKED, State.REVOKED),
            (UNKNOWN, State.UNKNOWN),
            (STALE, State.STALE),
            (NOTHING, State.NOT_LOADED),
            (Result(Status.UNDETERMINED, Reason.BAD_SIGNATURE), State.UNDETERMINED),
        ],
    )
    def test_each_result_has_its_word_in_policies(self, result: Result, state: State) -> None:
        assert state is state_of(result)

    def test_what_never_ends_is_later_than_all(self) -> None:
        assert any_revoked(GOOD, GOOD._replace(valid_until=FOREVER)).valid_until == FOREVER


class TestAnyRevoked:
    @pytest.mark.parametrize("other", list(State))
    def test_any_revocation_denies(self, other: State) -> None:
        for answers in (
            [ocsp(State.REVOKED), crl(other, allows_failure=True, allows_unknown=True)],
            [ocsp(other, allows_failure=True, allows_unknown=True), crl(State.REVOKED)],
        ):
            found = verdict(answers, Combine.ANY_REVOKED)
            assert (found.is_allowed, found.state, found.soft_fails) == (False, State.REVOKED, ())

    @pytest.mark.parametrize("other", [State.GOOD, *FAILURES])
    def test_an_unknown_goes_by_its_own_source_whatever_the_other_says(self, other: State) -> None:
        denied = verdict([ocsp(State.UNKNOWN), crl(other, allows_failure=True)], Combine.ANY_REVOKED)
        assert denied[:3] == (False, State.UNKNOWN, (Source.OCSP,))
        allowed = verdict([ocsp(State.UNKNOWN, allows_unknown=True), crl(other)], Combine.ANY_REVOKED)
        assert allowed[:4] == (True, State.UNKNOWN, (Source.OCSP,), (Source.OCSP,))

    @pytest.mark.parametrize("other", FAILURES)
    def test_one_good_is_enough(self, other: State) -> None:
        for answers in ([ocsp(State.GOOD), crl(other)], [ocsp(other), crl(State.GOOD)]):
            found = verdict(answers, Combine.ANY_REVOKED)
            assert (found.is_allowed, found.state, found.soft_fails) == (True, State.GOOD, ())

    def test_when_all_fail_each_must_allow_it(self) -> None:
        for first, second in product((False, True), repeat=2):
            answers = [ocsp(State.UNREACHABLE, allows_failure=first), crl(State.STALE, allows_failure=second)]
            found = verdict(answers, Combine.ANY_REVOKED)
            assert (first and second) == found.is_allowed
            assert ((Source.OCSP, Source.CRL) if first and second else ()) == found.soft_fails

    def test_the_source_that_denies_is_named(self) -> None:
        answers = [ocsp(State.UNREACHABLE, allows_failure=True), crl(State.STALE)]
        assert verdict(answers, Combine.ANY_REVOKED)[:3] == (False, State.STALE, (Source.CRL,))

    def test_without_any_answer_it_is_a_deny(self) -> None:
        for combine in Combine:
            assert verdict([], combine)[:3] == (False, State.NOT_LOADED, ())

    def test_an_answer_is_late_when_no_source_is_in_time(self) -> None:
        late = ocsp(State.GOOD, is_late=True)
        assert verdict([late], Combine.ANY_REVOKED).is_late
        assert not verdict([late, crl(State.GOOD)], Combine.ANY_REVOKED).is_late


class TestFirstAnswer:
    @pytest.mark.parametrize(("first", "allowed"), [(State.GOOD, True), (State.REVOKED, False), (State.UNKNOWN, False)])
    def test_ocsp_decides_if_it_says_anything(self, first: State, *, allowed: bool) -> None:
        for second in State:
            found = verdict([crl(second, allows_failure=True), ocsp(first)], Combine.FIRST_ANSWER)
            assert (allowed, first, (Source.OCSP,)) == found[:3]

    @pytest.mark.parametrize("first", FAILURES)
    def test_else_the_crl_does(self, first: State) -> None:
        good = verdict([ocsp(first), crl(State.GOOD)], Combine.FIRST_ANSWER)
        assert good[:3] == (True, State.GOOD, (Source.CRL,))
        assert not verdict([ocsp(first, allows_failure=True), crl(State.REVOKED)], Combine.FIRST_ANSWER).is_allowed

    def test_when_all_fail_each_must_allow_it(self) -> None:
        answers = [ocsp(State.UNREACHABLE, allows_failure=True), crl(State.NOT_LOADED, allows_failure=True)]
        assert verdict(answers, Combine.FIRST_ANSWER).is_allowed
        assert not verdict([answers[0], crl(State.NOT_LOADED)], Combine.FIRST_ANSWER).is_allowed
