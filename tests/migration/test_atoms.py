"""A test of HAProxy's in its place: its patterns, those of files too, and which converters it may have there."""

from __future__ import annotations

import pytest

from spoa.migration.atoms import PlacedTest
from spoa.migration.patterns import text_pattern
from tests.migration.configurations import comparison
from tests.migration.translated import around


def placed(text: str, *, generous: bool = True) -> PlacedTest:
    return PlacedTest(comparison(text), around(), generous=generous, is_route=False)


def test_the_patterns_of_files_stand_behind_those_of_the_line() -> None:
    assert placed("ssl_c_s_dn(cn) -f names.txt -- dave").texts() == ["dave", "alice", "carol"]
    with pytest.raises(ValueError, match=r"gone\.txt, which can't be read"):
        placed("ssl_c_s_dn(cn) -f gone.txt").texts()


def test_converters_that_fold_restrict_and_no_converter_grants() -> None:
    placed("path,lower /x").plain()
    placed("path /x", generous=False).plain()
    with pytest.raises(ValueError, match="the converter md5"):
        placed("path,md5,lower x").plain()
    with pytest.raises(ValueError, match="the converter lower in what grants access"):
        placed("path,lower /x", generous=False).plain()


def test_a_pattern_is_there_once_and_what_ignores_case_grants_as_it_is_written() -> None:
    assert placed("ssl_c_s_dn(cn) a b a").patterns(text_pattern) == ("a", "b")
    strict = placed("ssl_c_s_dn(cn) -i a", generous=False)
    assert strict.patterns(text_pattern) == ("a",)
    assert [note.code for note in strict.around.notes.all] == ["narrowed"]
    folding = placed("ssl_c_s_dn(cn) -i a", generous=False)
    folding.patterns(text_pattern, folds=True)
    assert folding.around.notes.all == ()


def test_another_test_in_the_same_place_is_judged_alike() -> None:
    one = placed("path /x", generous=False)
    other = one.of(comparison("method GET"))
    assert (other.test.fetch, other.generous, other.is_route, other.around) == ("method", False, False, one.around)
