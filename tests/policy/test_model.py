"""Matchers, identities and `who`: how values, absence and unavailability meet polarity."""

from __future__ import annotations

import pytest

from spoa.facts import ABSENT, UNAVAILABLE
from spoa.policy.decision import Tally
from spoa.policy.model import (
    RULE_REASONS,
    SOFT_REASONS,
    STATUSES,
    Bearer,
    Defaults,
    IdentityPattern,
    Matcher,
    Reason,
    Values,
    Who,
)
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
    assert one.holds(values, generous=False) is strict
    assert one.holds(values, generous=True) is generous


def test_an_identity_is_any_of_its_alternatives_and_all_keys_of_one() -> None:
    cn = Matcher("cn", "cn", (TextPattern("alice"),))
    identity = IdentityPattern("x", ((cn, matcher("a")), (matcher("b"),)))
    assert identity.holds(Bearer({"cn": ("alice",), "ou": ("a",)}), generous=False)
    assert identity.holds(Bearer({"cn": ("bob",), "ou": ("b",)}), generous=False)
    assert not identity.holds(Bearer({"cn": ("bob",), "ou": ("a",)}), generous=True)
    assert not identity.holds(Bearer({"cn": ("alice",)}), generous=False)
    assert identity.holds(Bearer({"cn": ("alice",)}), generous=True)


def test_whoever_has_no_certificate_is_nobody_in_particular() -> None:
    anonymous = Bearer(is_anonymous=True)
    identity = IdentityPattern("x", ((matcher("a"),),))
    assert not identity.holds(anonymous, generous=True)
    assert not Who((identity,)).holds(anonymous, generous=True)
    assert not Who(any_certificate=True).holds(anonymous, generous=True)
    assert Who(anonymous=True).holds(anonymous, generous=False)


def test_anonymous_is_nobody_with_a_certificate_and_both_words_are_everyone() -> None:
    somebody, nobody = Bearer({"ou": ("a",)}), Bearer(is_anonymous=True)
    assert not Who(anonymous=True).holds(somebody, generous=True)
    assert Who(any_certificate=True).holds(somebody, generous=False)
    everyone = Who(anonymous=True, any_certificate=True)
    assert everyone.holds(somebody, generous=False)
    assert everyone.holds(nobody, generous=False)
    assert not Who().holds(somebody, generous=True)


def test_reasons_stand_in_the_order_of_the_gates() -> None:
    gates = (
        "ok malformed_message not_ready path_not_canonical sni_mismatch no_certificate certificate_unavailable "
        "certificate_not_verified certificate_unparsable certificate_not_yet_valid certificate_expired issuer_unknown "
        "certificate_too_long_lived weak_key not_a_client_certificate ambiguous_subject unsafe_attribute "
        "certificate_blocked certificate_revoked revocation_unknown revocation_stale revocation_unreachable "
        "revocation_not_loaded revocation_undetermined denied_by_rule requirement_not_met no_rule_allows internal_error"
    )
    assert [str(reason) for reason in Reason] == gates.split()


def test_only_rules_are_softened_and_only_two_reasons_replaced() -> None:
    assert {"denied_by_rule", "requirement_not_met"} == RULE_REASONS
    assert {"denied_by_rule", "requirement_not_met", "no_rule_allows"} == SOFT_REASONS
    assert STATUSES == (400, 401, 403, 404, 405, 410, 429, 503)


def test_a_policy_that_says_nothing_is_closed() -> None:
    assert Defaults() == Defaults(
        is_shadow=False,
        allows_anonymous=False,
        normalises_path=False,
        allows_path_parameters=False,
        allows_sni_mismatch=False,
        deny_status=403,
    )


def test_a_tally_begins_at_nothing() -> None:
    assert Tally("deny", "weak_key", "", "").count == 0
