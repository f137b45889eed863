"""What the sources of an issuer assure, and what its modes make of the lack of it."""

from __future__ import annotations

import pytest

from spoa.assurance import Assurance, Authorities, denial_for, rules_of
from spoa.issuers import Issuers
from spoa.listindex import NEVER
from spoa.policy.model import CrlSource, Issuer, Revocation
from spoa.revocation.crl import Crl, read_crl
from spoa.revocation.status import FOREVER, IdpMatching, Rules
from tests.pki import CA, DAY
from tests.policies import NOW

ROOT = CA("root", now=NOW)
CORP = ROOT.intermediate("corp")
ALICE = CORP.issue("alice")
STRICT = Revocation(crl=CrlSource(files=("a.crl",)))
SOFT = Revocation(crl=CrlSource(files=("a.crl",), allows_failure=True))
CHAIN = Revocation(crl=CrlSource(files=("a.crl",)), is_chain=True)


def assurance(*crls: Crl, root: bool = True) -> Assurance:
    issuers = Issuers({"corp": [CORP.der], **({"above": [ROOT.der]} if root else {})})
    return Assurance(Authorities(issuers), {"corp": crls})


def judged(
    own: Assurance, revocation: Revocation = STRICT, *, der: bytes = ALICE.der, now: int = NOW
) -> tuple[str, str]:
    found = own.of(der, CORP.der, Issuer("corp", (), revocation=revocation), now)
    assert found is not None
    return found.state, str(found.denial or "")


def test_an_issuer_that_checks_nothing_has_no_answer() -> None:
    assert assurance().of(ALICE.der, CORP.der, Issuer("corp", (), revocation=Revocation(none="a test")), NOW) is None


def test_good_needs_evidence_and_holds_as_long_as_that() -> None:
    assert judged(assurance()) == ("not_loaded", "revocation_not_loaded")
    own = assurance(read_crl(CORP.crl(next_update=NOW + DAY)))
    assert judged(own) == ("good", "")
    found = own.of(ALICE.der, CORP.der, Issuer("corp", (), revocation=STRICT), NOW)
    assert found is not None
    assert found.valid_until == NOW + DAY
    assert judged(own, now=NOW + DAY) == ("stale", "revocation_stale")


def test_revoked_denies_for_good_and_whatever_the_modes_are() -> None:
    ca = CA("corp", now=NOW)
    bob = ca.issue("bob")
    ca.revoke(bob, "keyCompromise")
    own = Assurance(Authorities(Issuers({"corp": [ca.der]})), {"corp": (read_crl(ca.crl()),)})
    found = own.of(bob.der, ca.der, Issuer("corp", (), revocation=SOFT), NOW)
    assert found is not None
    assert (found.state, found.denial, found.detail) == ("revoked", "certificate_revoked", "keyCompromise")
    assert found.valid_until == min(FOREVER, NEVER)


def test_a_failure_passes_only_where_the_policy_says_so_and_is_judged_again_soon() -> None:
    found = assurance().of(ALICE.der, CORP.der, Issuer("corp", (), revocation=SOFT), NOW)
    assert found is not None
    assert (found.state, found.denial, found.soft_fails) == ("not_loaded", None, ("crl",))
    assert NOW < found.valid_until < NOW + DAY


def test_of_a_chain_every_member_is_asked_about() -> None:
    leaf, above = read_crl(CORP.crl()), read_crl(ROOT.crl())
    assert judged(assurance(leaf, above), CHAIN) == ("good", "")
    assert judged(assurance(leaf), CHAIN) == ("not_loaded", "revocation_not_loaded")
    assert judged(assurance(leaf), STRICT) == ("good", "")
    root = CA("root", now=NOW)
    corp = root.intermediate("corp")
    root.revoke(corp.authority.issued)
    own = Assurance(
        Authorities(Issuers({"corp": [corp.der], "above": [root.der]})),
        {"corp": (read_crl(corp.crl()), read_crl(root.crl()))},
    )
    found = own.of(corp.issue("eve").der, corp.der, Issuer("corp", (), revocation=CHAIN), NOW)
    assert found is not None
    assert found.state == "revoked"


def test_a_chain_that_the_policy_does_not_complete_is_undetermined() -> None:
    own = assurance(read_crl(CORP.crl()), root=False)
    assert judged(own, CHAIN) == ("undetermined", "revocation_undetermined")
    assert judged(own, STRICT) == ("good", "")


def test_what_can_not_be_read_or_has_no_path_is_undetermined() -> None:
    own = assurance(read_crl(CORP.crl()))
    assert judged(own, der=b"junk")[0] == "undetermined"
    assert own.authorities.path(own.authorities.all[0], b"unknown", NOW) is None
    assert judged(own, der=CA("corp", now=NOW).issue("forged").der)[0] == "undetermined"


def test_evidence_may_be_signed_by_an_issuer_and_those_above_it() -> None:
    authorities = assurance().authorities
    assert [one.der for one in authorities.of("corp")] == [CORP.der, ROOT.der]
    assert [one.der for one in authorities.of("above")] == [ROOT.der]
    assert authorities.of("nobody") == ()


def test_what_the_policy_says_becomes_rules() -> None:
    assert rules_of(Revocation(none="x")) == Rules()
    crl = CrlSource(max_stale=7, trusts_configuration=True)
    rules = rules_of(Revocation(crl=crl, max_age_without_next_update=9, allows_sha1=True))
    assert (rules.max_stale, rules.idp, rules.sha1_until) == (7, IdpMatching.TRUST_CONFIG, FOREVER)
    assert (rules.max_age_without_next_update, rules.crl_max_age_without_next_update) == (9, 9)


@pytest.mark.parametrize(
    ("revocation", "state", "denial"),
    [
        (Revocation(none="x"), "revoked", "certificate_revoked"),
        (Revocation(none="x"), "stale", None),
        (STRICT, "good", None),
        (STRICT, "stale", "revocation_stale"),
        (STRICT, "unreachable", "revocation_unreachable"),
        (STRICT, "unknown", "revocation_unknown"),
        (SOFT, "unreachable", None),
        (SOFT, "unknown", "revocation_unknown"),
        (SOFT, "revoked", "certificate_revoked"),
        (Revocation(crl=CrlSource(allows_unknown=True)), "unknown", None),
    ],
)
def test_a_state_that_is_given_goes_by_the_modes(revocation: Revocation, state: str, denial: str | None) -> None:
    assert denial_for(revocation, state) == denial
