"""Languages: what words they tell apart, however several patterns lie over each other."""

from __future__ import annotations

import pytest

from spoa.policy import languages as module
from spoa.policy.automaton import CharacterSet, Regex
from spoa.policy.languages import ANY, Language, Letter, Reader, words

LETTERS = [Letter(char, char, char.lower()) for char in "abcABC"]


def read(mode: int, letter: Letter) -> tuple[str, int]:
    return letter.strict, mode


def globs(*several: tuple[str, ...]) -> Language:
    language = Language()
    for pieces in several:
        language.ends.add(language.read_pieces(language.begin(), pieces))
    return language


def test_a_literal_is_met_and_missed() -> None:
    assert set(words([Reader(globs(("ab",)), 0, read)], LETTERS).values) == {"", "ab"}


def test_globs_are_met_alone_and_together() -> None:
    found = words([Reader(globs(("a", ""), ("", "b")), 0, read)], LETTERS)
    assert found.is_complete
    assert set(found.values) == {"", "aa", "ab", "bb"}


def test_a_star_is_one_letter_at_least() -> None:
    language = globs(("a", "a"))
    assert not language.over(frozenset(language.start), "aa") & language.ends
    assert language.over(frozenset(language.start), "aba") & language.ends


def test_two_readings_of_the_same_value_are_told_apart() -> None:
    folded = Reader(globs(("ab",)), 0, lambda mode, letter: (letter.folded, mode))
    found = words([Reader(globs(("ab",)), 0, read), folded], LETTERS)
    assert set(found.values) == {"", "ab", "aB"}


@pytest.mark.parametrize("source", ["a|bc", "[ab]{2}", "a.c", "(ab)+", "[^a]b?"])
def test_an_expression_means_the_same_as_where_it_came_from(source: str) -> None:
    language, regex = Language(), Regex(source)
    language.begin()
    language.add_regex(regex)
    for value in ("", "a", "b", "bc", "ab", "abc", "aab", "abab", "bb", "cb"):
        assert bool(language.over(frozenset(language.start), value) & language.ends) == regex.matches(value), value


@pytest.mark.parametrize("source", ["i", "I", "[a-z]", "[^i]", "a"])
def test_case_is_ignored_as_by_the_expression_itself(source: str) -> None:
    language, regex = Language(), Regex(source, generous=True)
    language.begin()
    language.add_regex(regex)
    for value in ("i", "I", "\u0131", "a", "A"):
        assert bool(language.over(frozenset(language.start), value) & language.ends) == regex.matches(value), value


def test_expressions_and_globs_share_an_automaton() -> None:
    language = globs(("a", ""))
    language.add_regex(Regex("[ab]c", generous=True))
    language.add_regex(Regex("B", generous=True))
    found = words([Reader(language, 0, read)], LETTERS)
    assert {bool(language.over(frozenset(language.start), word) & language.ends) for word in found.values} == {
        True,
        False,
    }
    assert {"ac", "b"} <= {word.lower() for word in found.values}


def test_a_reader_may_refuse_to_go_on_and_to_end() -> None:
    def once(mode: bool, letter: Letter) -> tuple[str, bool] | None:
        return None if mode else (letter.strict, True)

    found = words([Reader(globs(("", "")), first=False, read=once, at_end=lambda mode: mode)], LETTERS)
    assert [len(word) for word in found.values] == [1]


def test_sets_with_ranges_are_asked_about_every_letter() -> None:
    language = Language()
    language.ends.add(language.read_some(language.begin(), CharacterSet((("b", "c"),))))
    assert language.wanted(frozenset(language.start)) == ({*()}, True)
    assert set(words([Reader(language, 0, read)], LETTERS).values) == {"", "b"}


def test_any_letter_is_no_set_to_be_asked() -> None:
    language = globs(("", ""))
    language.read_some(language.begin(), ANY)
    assert language.letters() == (set(), [])


def test_case_may_be_ignored() -> None:
    language = Language()
    language.ends.add(language.read(language.begin(), "ab", ignores_case=True))
    assert language.over(frozenset(language.start), "aB") & language.ends


def test_the_plainest_word_is_kept() -> None:
    letters = [Letter("ａ", "ａ", "a"), Letter("a", "a", "a")]
    folded = Reader(globs(("aaa",)), 0, lambda mode, letter: (letter.folded, mode))
    assert set(words([folded], letters).values) == {"", "aaa"}


def test_a_bound_that_was_met_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    several = [("", letter, "") for letter in "abc"]
    assert words([Reader(globs(*several), 0, read)], LETTERS).is_complete
    monkeypatch.setattr(module, "MAX_STATES", 4)
    assert not words([Reader(globs(*several), 0, read)], LETTERS).is_complete
