from __future__ import annotations

import pytest

from spoa.lint.entries import Entry, entry_of, ids_of
from spoa.lint.places import places_of
from tests.policies import HEAD, model


def entries(*rules: str) -> list[Entry]:
    listed = "".join(f"  - {{id: r{number}, {rule}}}\n" for number, rule in enumerate(rules))
    text = f"{HEAD}break_glass: {{i: {{max_duration: 1h, ticket: x}}}}\nrules:\n{listed}"
    readings = places_of({"0.yaml": text.encode()}).rules
    rows = zip(model(text).rules, readings, strict=True)
    return [entry_of(number, rule, reading) for number, (rule, reading) in enumerate(rows)]


DENY = "effect: deny, request: {path: /a}"
SHADOW = ", mode: shadow, shadow_until: 2999-01-01"


def test_regions_have_the_polarity_of_their_position() -> None:
    allow, deny, require = entries(
        "effect: allow, who: any_certificate, when: {tls: TLSv1.3}",
        "effect: deny, who: any_certificate, unless: {path: /a, who: {issuer: corp}}",
        "effect: require, request: {path: /a}, who: any_certificate, when: {tls: TLSv1.3}",
    )
    assert allow.second is None
    assert not allow.first.who_generous
    assert deny.first.who_generous
    assert deny.second is not None
    assert deny.second.who is not None
    assert not deny.second.who_generous
    assert require.first.who is None
    assert require.first.columns["path"][1]
    assert require.second is not None
    assert set(require.second.columns) == {"tls"}
    assert not require.second.columns["tls"][1]


@pytest.mark.parametrize(
    ("one", "other", "outlasts"),
    [
        (DENY, DENY, True),
        (DENY, DENY + SHADOW, True),
        (DENY + SHADOW, DENY, False),
        (DENY + ", overridable_by: i", DENY, False),
        (DENY + ", overridable_by: i", DENY + ", overridable_by: i", True),
        (DENY, DENY + ", overridable_by: i", True),
    ],
)
def test_a_rule_outlasts_another_where_it_is_in_force_whenever_that_is(one: str, other: str, outlasts: bool) -> None:
    first, second = entries(one, other)
    assert first.outlasts(second) is outlasts
    assert first.is_always_on is (one == DENY)


@pytest.mark.parametrize(
    ("later", "earlier", "answers"),
    [
        (DENY, DENY, True),
        (DENY, DENY + ", status: 404", False),
        (DENY, DENY + ", status: 403", True),
        (DENY, DENY + ", reason: mine", False),
        (DENY, "effect: require, request: {path: /a}, who: any_certificate", False),
        (DENY + ", reason: mine", "effect: require, request: {path: /a}, who: any_certificate, reason: mine", True),
    ],
)
def test_the_answer_that_counts_is_that_of_the_first_unless_both_are_the_same(
    later: str, earlier: str, answers: bool
) -> None:
    first, second = entries(earlier, later)
    assert first.answers_before(second, 403)
    assert second.answers_before(first, 403) is answers


def test_ids_are_written_as_a_sentence_does() -> None:
    assert ids_of(entries(DENY, DENY)) == '"r0" and "r1"'
