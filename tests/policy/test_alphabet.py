"""Letters: whatever no pattern tells apart is stood for by one, and nothing else is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from spoa.policy.alphabet import path_letters, text_letters
from spoa.policy.automaton import Regex
from spoa.policy.languages import Language
from spoa.policy.path import canonical_path
from spoa.policy.text import fold


def literal(text: str) -> Language:
    language = Language()
    language.ends.add(language.read(language.begin(), text))
    return language


def expression(source: str) -> Language:
    language = Language()
    language.add_regex(Regex(source))
    return language


def test_a_letter_has_one_that_only_folds_to_it() -> None:
    letters = text_letters([literal("a")], [literal("a")])
    kinds = {(letter.strict == "a", letter.folded == "a") for letter in letters}
    assert kinds == {(True, True), (False, True), (False, False)}


def test_ligatures_stand_for_what_they_fold_to() -> None:
    letters = text_letters([literal("fi")], [literal("fi")])
    assert any(letter.text == "ﬁ" and letter.folded == "fi" for letter in letters)


@settings(deadline=None)
@given(st.characters(codec="utf-8", exclude_categories=("Cs", "Cn", "Cc", "Mn", "Mc", "Me")))
def test_every_character_is_stood_for_by_one_that_is_seen_alike(char: str) -> None:
    language, folded = expression("[a-fk]x|[^0-9]y"), literal("ab ")
    named = {"a", "b", " "}

    def seen(one: str, folding: str) -> object:
        in_sets = (("a" <= one <= "f") or one == "k", "0" <= one <= "9", one if one in "xy" else "")
        return in_sets, tuple((c if c in named else "") or c.isspace() for c in folding)

    letters = text_letters([language], [folded])
    kinds = {seen(letter.strict, letter.folded) for letter in letters}
    folding = fold(char)
    if len(folding) == 1:
        assert seen(char, folding) in kinds


def test_a_path_is_written_with_escapes_where_it_must_be() -> None:
    letters = path_letters([literal("é")], [Language()], [literal("é")], parameters=False)
    written = {letter.text for letter in letters}
    assert "%C3%A9" in written
    assert ";" not in written
    for letter in letters:
        if letter.text != "/":
            assert canonical_path(f"/x{letter.text}") is not None, letter


def test_parameters_begin_where_they_are_allowed() -> None:
    assert ";" in {letter.text for letter in path_letters([Language()], [Language()], [Language()], parameters=True)}
