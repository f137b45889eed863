"""What the sources of an issuer assure, and what its modes make of the lack of it."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import replace
from typing import Any

import pytest

from spoa.assurance import Assurance, Assured, Authorities, Question, denial_for, rules_of
from spoa.issuers import Issuers
from spoa.listindex import NEVER
from spoa.policy.model import CrlSource, Issuer, OcspSource, Revocation
from spoa.revocation.crl import Crl, read_crl
from spoa.revocation.ocsp import read_response
from spoa.revocation.ocsp_memory import OcspKnowledge, OcspMemory
from spoa.revocation.status import FOREVER, IdpMatching, NonceMode, Reason, Rules
from tests.der import element, rebuilt, replaced, sequence
from tests.pki import CA, DAY, HOUR
from tests.policies import NOW
from tests.revocation.lists import answer

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


@pytest.mark.parametrize("revocation", [STRICT, SOFT, replace(SOFT, is_chain=True)])
def test_revoked_stays_so_when_the_cas_are_out_of_date_in_the_policy(revocation: Revocation) -> None:
    """A CA is renewed where TLS ends and forgotten here: others pass where failures do, and no revoked one."""
    root = CA("root", now=NOW, not_after=NOW + 7 * DAY)
    corp = root.intermediate("corp", not_after=NOW + 9 * DAY)
    alice, bob = corp.issue("alice"), corp.issue("bob")
    corp.revoke(bob)
    lists = (read_crl(corp.crl(next_update=NOW + 90 * DAY)), read_crl(root.crl(next_update=NOW + 90 * DAY)))
    own = Assurance(Authorities(Issuers({"corp": [corp.der], "above": [root.der]})), {"corp": lists})
    issuer = Issuer("corp", (), revocation=revocation)
    for day in (0, 8, 10):
        found = own.of(bob.der, corp.der, issuer, NOW + day * DAY)
        assert found is not None
        assert (found.state, found.denial) == ("revoked", "certificate_revoked")
    late = own.of(alice.der, corp.der, issuer, NOW + 10 * DAY)
    assert late is not None
    assert (late.state, late.denial is None) == ("undetermined", revocation is not STRICT)


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


@pytest.mark.parametrize("is_first", [True, False])
def test_a_ca_that_was_renewed_with_its_key_counts_by_the_certificate_in_date(*, is_first: bool) -> None:
    """Files hold the old certificate beside the new one, in any order, also those of the CAs above."""

    def outdated(ca: CA) -> list[bytes]:
        both = [rebuilt(ca.der, ROOT.key, replaced(4, validity)), ca.der]
        return both if is_first else both[::-1]

    dates = (f"{dt.datetime.fromtimestamp(NOW - days * DAY, dt.UTC):%y%m%d%H%M%SZ}".encode() for days in (9, 1))
    validity = sequence(*(element(0x17, date) for date in dates))
    issuers = Issuers({"corp": outdated(CORP), "above": outdated(ROOT)})
    own = Assurance(Authorities(issuers), {"corp": (read_crl(CORP.crl()), read_crl(ROOT.crl()))})
    authority = issuers.authority_of(ALICE.der)
    assert authority is not None
    for revocation in (STRICT, CHAIN):
        found = own.of(ALICE.der, authority.der, Issuer("corp", (), revocation=revocation), NOW)
        assert found is not None
        assert (found.state, found.detail) == ("good", "ok")


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
        (Revocation(ocsp=OcspSource(responder="http://a")), "stale", "revocation_stale"),
        (Revocation(ocsp=OcspSource(responder="http://a", allows_failure=True)), "stale", None),
        (Revocation(ocsp=OcspSource(allows_failure=True), crl=CrlSource()), "stale", "revocation_stale"),
    ],
)
def test_a_state_that_is_given_goes_by_the_modes(revocation: Revocation, state: str, denial: str | None) -> None:
    assert denial_for(revocation, state) == denial


# -- OCSP -------------------------------------------------------------------------------------------------------

ASKED = Revocation(ocsp=OcspSource(responder="http://a"))
ASKED_SOFT = Revocation(ocsp=OcspSource(responder="http://a", allows_failure=True))
BOTH = Revocation(ocsp=OcspSource(responder="http://a"), crl=CrlSource(files=("a.crl",)))
KEY = ("corp", hashlib.sha256(ALICE.der).digest())


def assured(
    revocation: Revocation, *known: OcspKnowledge, crls: tuple[Crl, ...] = (), now: int = NOW, der: bytes = ALICE.der
) -> Assured:
    memory = OcspMemory()
    for knowledge in known:
        memory.put(KEY, knowledge)
    own = Assurance(Authorities(Issuers({"corp": [CORP.der], "above": [ROOT.der]})), {"corp": crls}, None, memory)
    found = own.of(der, CORP.der, Issuer("corp", (), revocation=revocation), now)
    assert found is not None
    return found


def said(status: str = "GOOD", **fields: Any) -> OcspKnowledge:
    dates = {"this_update": NOW - HOUR, "next_update": NOW + DAY}
    return OcspKnowledge(read_response(answer(ALICE, CORP, status, **{**dates, **fields})), None, NOW + HOUR)


def test_a_certificate_that_nothing_is_known_of_is_asked_about_urgently() -> None:
    found = assured(ASKED)
    assert (found.state, found.denial) == ("not_loaded", "revocation_not_loaded")
    assert found.questions == (Question(KEY, ALICE.der, CORP.der, is_urgent=True),)


def test_an_answer_counts_until_it_is_to_be_asked_for_again() -> None:
    found = assured(ASKED, said())
    assert (found.state, found.denial, found.valid_until, found.questions) == ("good", None, NOW + HOUR, ())
    later = assured(ASKED, said(), now=NOW + HOUR)
    assert (later.state, later.valid_until) == ("good", NOW + DAY)
    assert [question.is_urgent for question in later.questions] == [False]
    late = assured(ASKED, said(), now=NOW + DAY)
    assert (late.state, late.denial, [question.is_urgent for question in late.questions]) == (
        "stale",
        "revocation_stale",
        [True],
    )


def test_a_failure_is_named_and_asks_nobody_before_its_time() -> None:
    failed = OcspKnowledge(None, Reason.UNREACHABLE, NOW + 5)
    found = assured(ASKED, failed)
    assert (found.state, found.denial, found.detail) == ("unreachable", "revocation_unreachable", "unreachable")
    assert (found.valid_until, found.questions) == (NOW + 5, ())
    soft = assured(ASKED_SOFT, failed)
    assert (soft.denial, soft.soft_fails) == (None, ("ocsp",))
    assert assured(ASKED, failed._replace(failure=Reason.BAD_SIGNATURE)).detail == "bad_signature"
    kept = assured(ASKED, said()._replace(failure=Reason.UNREACHABLE))
    assert (kept.state, kept.detail) == ("good", "ok"), "an outage takes nothing away"


def test_revoked_denies_whatever_else_is_said() -> None:
    found = assured(ASKED_SOFT, said("REVOKED", next_update=NOW - 1, reason="keyCompromise"))
    assert (found.state, found.denial, found.detail) == ("revoked", "certificate_revoked", "keyCompromise")
    good = read_crl(CORP.crl())
    assert assured(BOTH, said("REVOKED"), crls=(good,)).denial == "certificate_revoked"


def test_two_sources_are_combined_for_each_certificate_and_asked_only_as_far_as_it_matters() -> None:
    good = read_crl(CORP.crl())
    found = assured(BOTH, crls=(good,))
    assert (found.state, found.denial, len(found.questions)) == ("good", None, 1)
    assert found.questions[0].is_urgent, "the responder may know more than the list"
    assert assured(BOTH, said("UNKNOWN"), crls=(good,)).denial == "revocation_unknown"
    ca = CA("corp", now=NOW)
    bob = ca.issue("bob")
    ca.revoke(bob)
    own = Assurance(Authorities(Issuers({"corp": [ca.der]})), {"corp": (read_crl(ca.crl()),)})
    revoked = own.of(bob.der, ca.der, Issuer("corp", (), revocation=BOTH), NOW)
    assert revoked is not None
    assert (revoked.state, revoked.questions) == ("revoked", ())


def test_of_a_chain_every_member_is_asked_about_and_the_worst_counts() -> None:
    chain = replace(ASKED, is_chain=True)
    found = assured(chain, said())
    assert (found.state, found.denial) == ("not_loaded", "revocation_not_loaded")
    (question,) = found.questions
    assert (question.certificate, question.authority) == (CORP.der, ROOT.der)
    memory = OcspMemory()
    memory.put(KEY, said())
    above = OcspKnowledge(
        read_response(answer(CORP.authority.issued, ROOT, "REVOKED", this_update=NOW - HOUR)), None, NOW + 9
    )
    memory.put(("corp", hashlib.sha256(CORP.der).digest()), above)
    own = Assurance(Authorities(Issuers({"corp": [CORP.der], "above": [ROOT.der]})), None, None, memory)
    revoked = own.of(ALICE.der, CORP.der, Issuer("corp", (), revocation=chain), NOW)
    assert revoked is not None
    assert revoked.state == "revoked"


def test_why_there_is_no_list_is_said_where_there_is_none() -> None:
    issuers = Issuers({"corp": [CORP.der]})
    own = Assurance(Authorities(issuers), {}, {"corp": Reason.UNREACHABLE})
    assert judged(own) == ("unreachable", "revocation_unreachable")
    refused = Assurance(Authorities(issuers), {}, {"corp": Reason.BAD_SIGNATURE})
    found = refused.of(ALICE.der, CORP.der, Issuer("corp", (), revocation=STRICT), NOW)
    assert found is not None
    assert (found.state, found.denial, found.detail) == ("not_loaded", "revocation_not_loaded", "bad_signature")
    listed = Assurance(Authorities(issuers), {"corp": (read_crl(CORP.crl()),)}, {"corp": Reason.UNREACHABLE})
    assert judged(listed) == ("good", "")


def test_what_the_policy_says_of_responders_becomes_rules() -> None:
    for nonce, mode in (("off", NonceMode.SEND), ("send", NonceMode.SEND), ("require", NonceMode.REQUIRE)):
        rules = rules_of(Revocation(ocsp=OcspSource(responder="http://a", stale_grace=7, nonce=nonce)))
        assert (rules.stale_grace, rules.nonce) == (7, mode)


def test_a_pinned_responder_is_believed() -> None:
    eve = CORP.issue("eve")
    signed = said(signer=eve)
    assert assured(ASKED, signed).state == "undetermined"
    pinned = Revocation(ocsp=OcspSource(responder="http://a", pinned=(eve.der,)))
    assert assured(pinned, signed).state == "good"
