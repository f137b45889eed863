"""Circumstances: two policies differ by what their sources say of a certificate, and by what they count as evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spoa.assurance import denial_for
from spoa.circumstances import circumstances, moved_sources
from tests.policies import model

if TYPE_CHECKING:
    from spoa.policy.model import Issuer


def issuer(revocation: str, name: str = "corp") -> Issuer:
    text = (
        f"issuers: {{{name}: {{ca: a.pem, revocation: {revocation}}}}}\n"
        "rules: [{id: a, effect: allow, who: any_certificate}]"
    )
    return model(text).issuers[0]


NONE = "{none: x}"
CRL = "{crl: {files: [a.crl]}}"
BOTH = "{ocsp: {responder: 'http://o.example'}, crl: {files: [a.crl]}}"


def test_who_checks_alike_differs_by_nothing() -> None:
    (only,) = circumstances([[issuer(CRL), issuer(CRL)], [None, issuer(NONE)]])
    assert (only.states, only.is_good, only.note) == (("good", "good"), True, "")


LOOSER = {
    "nobody looks": (CRL, NONE, "revoked"),
    "lists take OCSP's place": ("{ocsp: {responder: 'http://o.example'}}", CRL, "revoked"),
    "one of two lists is gone": ("{crl: {files: [a.crl, b.crl]}}", CRL, "revoked"),
    "the chain is not looked at": ("{crl: {files: [a.crl]}, depth: chain}", CRL, "revoked"),
    "older lists count": (CRL, "{crl: {files: [a.crl], max_stale: 7d}}", "stale"),
    "older answers count": (
        "{ocsp: {responder: 'http://o.example'}}",
        "{ocsp: {responder: 'http://o.example', stale_grace: 1h}}",
        "stale",
    ),
    "a distribution point doesn't matter": (CRL, "{crl: {files: [a.crl], idp: trust-config}}", "undetermined"),
    "nonces are no must": (
        "{ocsp: {responder: 'http://o.example', nonce: require}}",
        "{ocsp: {responder: 'http://o.example', nonce: send}}",
        "undetermined",
    ),
    "SHA-1 will do": (CRL, "{crl: {files: [a.crl]}, allow_sha1: true}", "undetermined"),
    "numbers may fall": (CRL, "{crl: {files: [a.crl]}, accept_rollback: true}", "undetermined"),
    "no end will do": (CRL, "{crl: {files: [a.crl]}, max_age_without_next_update: 5m}", "undetermined"),
    "no end will do for longer": (
        "{crl: {files: [a.crl]}, max_age_without_next_update: 5m}",
        "{crl: {files: [a.crl]}, max_age_without_next_update: 10m}",
        "undetermined",
    ),
}


@pytest.mark.parametrize("what", LOOSER)
def test_what_counts_as_evidence_under_one_policy_only_is_a_circumstance_of_its_own(what: str) -> None:
    strict, loose, state = LOOSER[what]
    for sides, states in (((strict, loose), (state, "good")), ((loose, strict), ("good", state))):
        found = circumstances([[issuer(one) for one in sides]])
        (one,) = [one for one in found if one.states == states]
        assert one.note.endswith("which no test can state")
        assert one.signers == {0}


def test_sources_that_disagree_tell_policies_apart_that_agree_whenever_sources_do() -> None:
    ocsp = "ocsp: {responder: 'http://o.example'"
    strict, loose = (
        f"{{{ocsp}}}, crl: {{files: [a.crl]}}}}",
        f"{{{ocsp}, on_unknown: allow}}, crl: {{files: [a.crl]}}}}",
    )
    old, new = issuer(strict), issuer(loose)
    for state in ("unknown", "stale", "revoked"):
        assert denial_for(old.revocation, state) == denial_for(new.revocation, state)
    found = [one for one in circumstances([[old, new]]) if one.note]
    assert "OCSP says unknown and the revocation lists good, which no test can state" in {one.note for one in found}
    for one in found:
        denials = {denial_for(old.revocation, one.states[0]), denial_for(new.revocation, one.states[1])}
        assert None in denials
        assert len(denials) == 2


@pytest.mark.parametrize("left", [CRL, "{ocsp: {responder: 'http://o.example'}}"])
def test_a_source_that_is_left_out_is_seen_where_it_alone_says_revoked(left: str) -> None:
    both, one = issuer(BOTH), issuer(left)
    found = [one.states[0] for one in circumstances([[both, one]]) if one.note]
    seen = [state for state in found if "revoked" in state]
    assert seen
    assert all(denial_for(both.revocation, state) and denial_for(one.revocation, state) is None for state in seen)


def test_sources_elsewhere_are_told_and_left_out_ones_are_not() -> None:
    old = [issuer("{crl: {files: [a.crl], urls: ['http://c.example/a']}}")]
    assert list(moved_sources(old, [issuer("{crl: {files: [a.crl]}}")])) == []
    assert list(moved_sources(old, [issuer("{crl: {files: [b.crl]}}", name="other")])) == []
    (told,) = moved_sources(old, [issuer("{crl: {files: [a.crl, b.crl]}}")])
    assert "of corp are read from b.crl instead of http://c.example/a;" in told
    (told,) = moved_sources([issuer(CRL)], [issuer("{crl: {files: [a.crl, b.crl]}}")])
    assert "of corp are read from b.crl as well;" in told
    (told,) = moved_sources([issuer(BOTH)], [issuer("{ocsp: {responder: 'http://p.example'}, crl: {files: [a.crl]}}")])
    assert told == "other OCSP responders are asked about corp; what they say may be something else"
