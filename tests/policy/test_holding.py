"""Matchers, identities and `who`: how values, absence and unavailability meet polarity."""

from __future__ import annotations

import pytest

from spoa.facts import ABSENT, UNAVAILABLE
from spoa.policy.holding import identity_holds, matcher_holds, who_holds
from spoa.policy.model import Bearer, IdentityPattern, Matcher, Values, Who
from spoa.policy.text import TextPattern


def matcher(*patterns: str, universal: bool = False) -> Matcher:
    return Matcher("ou", "ou", tuple(map(TextPattern, patterns)), universal)


#: patterns, all_of, values, strict, generous.
MEETINGS: list[tuple[list[str], bool, Values, bool, bool]] = [
    (["a"], False, ("a",), True, True),
    (["a"], False, ("b", "a"), True, True),  # any value counts
    (["a"], False, ("b",), False, False),
    (["a", "b"], False, ("b",), True, True),
    (["a"], False, ("A",), False, True),
    (["a"], False, ABSENT, False, False),
    (["a"], False, UNAVAILABLE, False, True),
    (["a"], False, (), False, False),
    (["a", "b"], True, ("a", "b"), True, True),
    (["a", "b"], True, ("a",), True, True),  # every value of the certificate, not every pattern
    (["a", "b"], True, ("a", "c"), False, False),
    (["a", "b"], True, ("a", "B"), False, True),
    (["a"], True, ABSENT, False, False),
    (["a"], True, (), False, False),  # at least one
    (["a"], True, UNAVAILABLE, False, True),
]


@pytest.mark.parametrize(("patterns", "universal", "values", "strict", "generous"), MEETINGS)
def test_absent_never_matches_and_unavailable_only_restricts(
    patterns: list[str], universal: bool, values: Values, strict: bool, generous: bool
) -> None:
    one = matcher(*patterns, universal=universal)
    assert matcher_holds(one, values, generous=False) is strict
    assert matcher_holds(one, values, generous=True) is generous
    assert one.holds(values, generous=False) is strict, "its own method asks the same"


def test_an_identity_is_any_of_its_alternatives_and_all_keys_of_one() -> None:
    cn = Matcher("cn", "cn", (TextPattern("alice"),))
    identity = IdentityPattern("x", ((cn, matcher("a")), (matcher("b"),)))
    assert identity_holds(identity, Bearer({"cn": ("alice",), "ou": ("a",)}), generous=False)
    assert identity_holds(identity, Bearer({"cn": ("bob",), "ou": ("b",)}), generous=False)
    assert not identity_holds(identity, Bearer({"cn": ("bob",), "ou": ("a",)}), generous=True)
    assert not identity_holds(identity, Bearer({"cn": ("alice",)}), generous=False)
    assert identity_holds(identity, Bearer({"cn": ("alice",)}), generous=True)
    assert identity.holds(Bearer({"cn": ("alice",)}), generous=True)


def test_whoever_has_no_certificate_is_nobody_in_particular() -> None:
    anonymous = Bearer(is_anonymous=True)
    identity = IdentityPattern("x", ((matcher("a"),),))
    assert not identity_holds(identity, anonymous, generous=True)
    assert not who_holds(Who((identity,)), anonymous, generous=True)
    assert not who_holds(Who(any_certificate=True), anonymous, generous=True)
    assert who_holds(Who(anonymous=True), anonymous, generous=False)


def test_anonymous_is_nobody_with_a_certificate_and_both_words_are_everyone() -> None:
    somebody, nobody = Bearer({"ou": ("a",)}), Bearer(is_anonymous=True)
    assert not who_holds(Who(anonymous=True), somebody, generous=True)
    assert who_holds(Who(any_certificate=True), somebody, generous=False)
    everyone = Who(anonymous=True, any_certificate=True)
    assert who_holds(everyone, somebody, generous=False)
    assert everyone.holds(nobody, generous=False)
    assert not who_holds(Who(), somebody, generous=True)
