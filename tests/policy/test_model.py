"""Matchers, identities and `who`: how values, absence and unavailability meet polarity."""

from __future__ import annotations

from spoa.policy.decision import Tally
from spoa.policy.model import (
    RULE_REASONS,
    SOFT_REASONS,
    STATUSES,
    Defaults,
    Reason,
)


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
