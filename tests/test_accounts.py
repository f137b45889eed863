"""What is shown of issuers is what their sources say, the worst first; and a first time is a rise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spoa.accounts import checked, first_soft_fails, policy_samples, soft_fails

if TYPE_CHECKING:
    from spoa.metrics import Samples

COUNTS: Samples = {
    ("revocation_soft_fails_total", ("corp", "crl")): 3,
    ("revocation_failures_total", ("corp", "stale", "stale")): 2,
    ("revocation_failures_total", ("corp", "unreachable", "stale")): 1,
    ("revocation_failures_total", ("other", "stale", "stale")): 9,
    ("revocation_state", ("corp", "crl", "good")): 0,
    ("revocation_state", ("corp", "crl", "stale")): 1,
    ("revocation_state", ("corp", "ocsp", "good")): 1,
}


def test_soft_fails_are_those_of_the_issuer_and_source() -> None:
    assert soft_fails(COUNTS, "crl", "corp") == 3
    assert soft_fails(COUNTS, "ocsp", "corp") == 0


def test_the_worst_source_speaks_for_its_issuer() -> None:
    good, stale = {"state": "good", "reason": ""}, {"state": "stale", "reason": "too old"}
    shown = checked({"corp": stale, "partner": good}, {"corp": good}, COUNTS)
    assert shown["corp"]["revocation"] == {
        "state": "stale",
        "reason": "too old",
        "failures": {"stale": 3},
        "sources": {"ocsp": good, "crl": stale},
    }
    assert shown["partner"]["revocation"]["state"] == "good"


def test_a_source_that_has_let_nobody_pass_unchecked_is_shown_with_a_zero() -> None:
    assert first_soft_fails(COUNTS) == {("revocation_soft_fails_total", ("corp", "ocsp")): 0}


def test_what_expires_is_shown_where_something_does() -> None:
    policy = {
        "authorities": {"corp": {"soonest_expiry": 9}, "none": {"soonest_expiry": None}},
        "lists": {"scanners": {"entries": 2, "soonest_expiry": 7}, "for-good": {"entries": 1, "soonest_expiry": None}},
    }
    assert policy_samples(policy) == {
        ("issuer_certificate_expiry_timestamp_seconds", ("corp",)): 9,
        ("list_entries", ("scanners",)): 2,
        ("list_soonest_expiry_timestamp_seconds", ("scanners",)): 7,
        ("list_entries", ("for-good",)): 1,
    }
    assert policy_samples({}) == {}
