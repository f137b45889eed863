"""Which OCSP responses are believed, and what they say, through `check`, as any caller sees it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from spoa.revocation import NonceMode, Result, Rules, check
from spoa.revocation.certificates import Certified
from spoa.revocation.check import judge
from spoa.revocation.evidence import Evidence, read_crls, read_responses
from spoa.revocation.status import Depth
from spoa.revocation.trust import path_of
from tests.der import element, extension, rebuilt, replaced, sequence
from tests.pki import CA, DAY, HOUR, Issued
from tests.revocation.lists import (
    FUTURE,
    NOW,
    UNKNOWN,
    Entry,
    answer,
    crl,
    instant,
    resigned_response,
    said,
)

if TYPE_CHECKING:
    from collections.abc import Callable

OCSP_SIGNING = ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string
NOCHECK = ((x509.OCSPNoCheck(), False),)
NONCE = bytes(range(32))


@pytest.fixture(scope="module")
def responder(ca: CA) -> Issued:
    return ca.issue("responder", eku=(OCSP_SIGNING,), extensions=NOCHECK)


def heard(subject: Issued, ca: CA, *responses: bytes, now: int = NOW, **arguments: Any) -> Result:
    given = {"anchors": [ca.der], "ocsp_responses": responses, "now": instant(now), "depth": "leaf", **arguments}
    return check(subject.der, given.pop("issuers", ()), **given)


def edited(index: int, change: Callable[[bytes], bytes]) -> Callable[[list[bytes]], None]:
    def edit(fields: list[bytes]) -> None:
        fields[index] = change(fields[index])

    return edit


class TestStatus:
    def test_each_status_is_said_as_it_is(self, ca: CA, alice: Issued) -> None:
        good = heard(alice, ca, answer(alice, ca))
        assert (*said(good), good.valid_until) == ("good", "ok", FUTURE)
        assert said(heard(alice, ca, answer(alice, ca, "UNKNOWN"))) == ("unknown", "responder_unknown")
        assert said(heard(alice, ca, answer(alice, ca, "REVOKED"))) == ("revoked", "unspecified")
        held = heard(alice, ca, answer(alice, ca, "REVOKED", reason="certificateHold"))
        assert (*said(held), held.is_on_hold) == ("revoked", "certificateHold", True)

    def test_the_worst_of_several_responses_counts(self, ca: CA, alice: Issued) -> None:
        good, unknown, revoked = (answer(alice, ca, status) for status in ("GOOD", "UNKNOWN", "REVOKED"))
        stale = answer(alice, ca, this_update=NOW - DAY, next_update=NOW - HOUR)
        assert heard(alice, ca, b"junk", stale, good).status == "good"
        assert heard(alice, ca, good, unknown).status == "unknown"
        assert heard(alice, ca, good, revoked, unknown).status == "revoked"

    def test_the_worst_answer_within_one_response_counts(self, ca: CA, alice: Issued) -> None:
        good, revoked = answer(alice, ca), answer(alice, ca, "REVOKED")
        other = answer(ca.issue("bob"), ca, "REVOKED")
        for first, second, expected in ((good, revoked, "revoked"), (revoked, good, "revoked"), (good, other, "good")):
            both = resigned_response(first, ca.key, edited(2, partial(joined, second)))
            assert expected == heard(alice, ca, both).status

    def test_a_stale_answer_beside_a_good_one_in_one_response_spoils_it(self, ca: CA, alice: Issued) -> None:
        stale = answer(alice, ca, this_update=NOW - DAY, next_update=NOW - HOUR)
        both = resigned_response(answer(alice, ca), ca.key, edited(2, partial(joined, stale)))
        assert said(heard(alice, ca, both)) == ("undetermined", "stale")

    def test_an_answer_about_another_certificate_is_none(self, ca: CA, alice: Issued) -> None:
        other = CA("Corp CA", now=NOW)
        assert said(heard(alice, ca, answer(ca.issue("bob"), ca))) == ("undetermined", "wrong_certificate")
        wrong_key = answer(alice, ca, issuer=other)
        assert said(heard(alice, ca, wrong_key)) == ("undetermined", "wrong_certificate")
        assert said(heard(alice, ca)) == ("undetermined", "not_loaded")

    @pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA224(), hashes.SHA256(), hashes.SHA384()])
    def test_the_certificate_may_be_named_by_any_of_these_hashes(
        self, ca: CA, alice: Issued, digest: hashes.HashAlgorithm
    ) -> None:
        assert heard(alice, ca, answer(alice, ca, algorithm=digest)).status == "good"

    def test_a_responder_that_gives_an_error_gives_no_answer(self, ca: CA, alice: Issued) -> None:
        for status in (1, 2, 3, 5, 6):
            error = sequence(element(0x0A, bytes([status])))
            assert said(heard(alice, ca, error)) == ("undetermined", "responder_error")


def joined(response: bytes, own: bytes) -> bytes:
    """Put the answers of another response behind one's own."""
    from spoa.identity import read_elements

    kept: list[bytes] = []
    resigned_response(response, CA(now=NOW).key, lambda fields: kept.append(fields[2]))
    return sequence(*(content for der in (own, kept[0]) for _, _, content in read_elements(der)))


class TestDates:
    @pytest.mark.parametrize(("now", "reason"), [(FUTURE - 1, "ok"), (FUTURE, "stale"), (FUTURE + 299, "stale")])
    def test_next_update_has_no_skew(self, ca: CA, alice: Issued, now: int, reason: str) -> None:
        assert reason == heard(alice, ca, answer(alice, ca), now=now).reason

    @pytest.mark.parametrize(("ahead", "reason"), [(300, "ok"), (301, "not_yet_valid")])
    def test_this_update_may_be_a_little_ahead(self, ca: CA, alice: Issued, ahead: int, reason: str) -> None:
        assert reason == heard(alice, ca, answer(alice, ca, this_update=NOW + ahead)).reason

    @pytest.mark.parametrize("produced_at", [NOW - DAY, NOW + HOUR])
    def test_when_it_was_signed_is_no_criterion(self, ca: CA, alice: Issued, produced_at: int) -> None:
        # RFC 6960 section 3.2 asks for thisUpdate and nextUpdate only; answers are signed hours after thisUpdate.
        signed = resigned_response(answer(alice, ca), ca.key, produced_at=produced_at)
        assert heard(alice, ca, signed).reason == "ok"

    def test_without_next_update_an_answer_holds_for_an_hour(self, ca: CA, alice: Issued) -> None:
        endless = answer(alice, ca, this_update=NOW, next_update=None)
        assert heard(alice, ca, endless, now=NOW + HOUR - 1)[::3] == ("good", NOW + HOUR)
        assert heard(alice, ca, endless, now=NOW + HOUR).reason == "stale"
        rules = Rules(max_age_without_next_update=60)
        assert heard(alice, ca, endless, now=NOW + 60, rules=rules).reason == "stale"

    def test_grace_is_reported(self, ca: CA, alice: Issued) -> None:
        late = heard(alice, ca, answer(alice, ca), now=FUTURE + 59, rules=Rules(stale_grace=60))
        assert (late.status, late.is_late) == ("good", True)
        assert heard(alice, ca, answer(alice, ca), now=FUTURE + 60, rules=Rules(stale_grace=60)).reason == "stale"

    def test_an_answer_that_ends_before_it_begins_is_none(self, ca: CA, alice: Issued) -> None:
        backwards = answer(alice, ca, this_update=NOW + 200, next_update=NOW + 100)
        assert heard(alice, ca, backwards).status == "undetermined"

    def test_a_revocation_stands_whatever_the_dates(self, ca: CA, alice: Issued) -> None:
        revoked = answer(alice, ca, "REVOKED", reason="keyCompromise")
        assert heard(alice, ca, revoked, now=FUTURE + DAY).status == "revoked"
        newer = answer(alice, ca, this_update=FUTURE, next_update=FUTURE + 2 * DAY)
        assert heard(alice, ca, revoked, newer, now=FUTURE + DAY).status == "revoked"

    def test_a_newer_answer_ends_an_old_hold(self, ca: CA, alice: Issued) -> None:
        held = answer(alice, ca, "REVOKED", reason="certificateHold")
        newer = answer(alice, ca, this_update=FUTURE, next_update=FUTURE + 2 * DAY)
        assert heard(alice, ca, held, newer, now=FUTURE + DAY).status == "good"
        assert heard(alice, ca, held, answer(alice, ca, this_update=NOW)).status == "revoked"
        assert heard(alice, ca, held, now=FUTURE + DAY).status == "revoked"


class TestSigner:
    @pytest.mark.parametrize("by_name", [True, False])
    def test_the_issuer_itself_or_whom_it_delegated_may_answer(
        self, ca: CA, alice: Issued, responder: Issued, *, by_name: bool
    ) -> None:
        assert heard(alice, ca, answer(alice, ca, by_name=by_name)).status == "good"
        assert heard(alice, ca, answer(alice, ca, signer=responder, by_name=by_name)).status == "good"

    def test_any_other_certificate_of_the_ca_may_not(self, ca: CA, alice: Issued) -> None:
        """Every client could otherwise vouch for itself."""
        for purposes in ((), (ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string,), ("2.5.29.37.0",)):
            client = ca.issue("client", eku=purposes or None, extensions=NOCHECK)
            forged = answer(alice, ca, signer=client)
            assert said(heard(alice, ca, forged)) == ("undetermined", "responder_not_authorized")
            assert heard(alice, ca, answer(alice, ca, "REVOKED", signer=client)).status == "undetermined"
        assert heard(alice, ca, answer(alice, ca, signer=alice)).status == "undetermined"

    def test_a_responder_of_another_ca_may_not_even_of_the_same_name(self, ca: CA, alice: Issued) -> None:
        twin = CA("Corp CA", now=NOW)
        other = twin.issue("responder", eku=(OCSP_SIGNING,), extensions=NOCHECK)
        result = heard(alice, ca, answer(alice, ca, signer=other, enclosed=[other, twin.authority.issued]))
        assert said(result) == ("undetermined", "responder_not_authorized")

    def test_the_issuers_issuer_may_not(self) -> None:
        root = CA("Root", now=NOW)
        sub = root.intermediate("Sub")
        alice = sub.issue("alice")
        above = answer(alice, sub, signer=root.authority.issued)
        by_root = root.issue("responder", eku=(OCSP_SIGNING,), extensions=NOCHECK)
        delegated = answer(alice, sub, signer=by_root)
        for response in (above, delegated):
            result = heard(alice, root, response, issuers=[sub.der])
            assert said(result) == ("undetermined", "responder_not_authorized")

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"not_after": NOW - 1}, "signer_not_trusted"),
            ({"not_before": NOW + 1}, "signer_not_trusted"),
            ({"digital_signature": False}, "responder_not_authorized"),
            ({"extensions": (*NOCHECK, (UNKNOWN, True))}, "responder_not_authorized"),
        ],
        ids=["expired", "not yet", "keyUsage", "unknown critical"],
    )
    def test_a_delegate_must_be_in_date_and_fit(
        self, ca: CA, alice: Issued, fields: dict[str, Any], reason: str
    ) -> None:
        delegate = ca.issue("delegate", **{"eku": (OCSP_SIGNING,), "extensions": NOCHECK, **fields})
        assert ("undetermined", reason) == said(heard(alice, ca, answer(alice, ca, signer=delegate)))

    def test_an_answer_ends_with_its_delegate(self, ca: CA, alice: Issued) -> None:
        brief = ca.issue("brief", eku=(OCSP_SIGNING,), extensions=NOCHECK, not_after=NOW + 60)
        assert heard(alice, ca, answer(alice, ca, signer=brief)).valid_until == NOW + 61

    def test_the_delegates_certificate_may_come_from_elsewhere(self, ca: CA, alice: Issued, responder: Issued) -> None:
        bare = answer(alice, ca, signer=responder, enclosed=[])
        assert said(heard(alice, ca, bare)) == ("undetermined", "signer_unknown")
        assert heard(alice, ca, bare, extra=[responder.der]).status == "good"

    def test_who_answers_must_be_who_it_says(self, ca: CA, alice: Issued, responder: Issued) -> None:
        def renamed(fields: list[bytes]) -> None:
            fields[0] = element(0xA2, element(0x04, bytes(20)))

        for signer, key in ((None, ca.key), (responder, responder.key)):
            forged = resigned_response(answer(alice, ca, signer=signer), key, renamed)
            assert said(heard(alice, ca, forged)) == ("undetermined", "signer_unknown")

    def test_the_signature_must_be_right(self, ca: CA, alice: Issued, responder: Issued) -> None:
        stranger = CA(now=NOW)
        forged = resigned_response(answer(alice, ca), stranger.key)
        assert said(heard(alice, ca, forged)) == ("undetermined", "bad_signature")
        forged = resigned_response(answer(alice, ca, signer=responder), stranger.key)
        assert said(heard(alice, ca, forged)) == ("undetermined", "bad_signature")

    @pytest.mark.parametrize("digest", ["md5", "sha1"])
    def test_weak_signatures_prove_nothing_today(self, digest: str) -> None:
        ca = CA("RSA CA", now=NOW, key="rsa:2048")
        alice = ca.issue("alice")
        weak = resigned_response(answer(alice, ca), ca.key, digest=digest)
        assert said(heard(alice, ca, weak)) == ("undetermined", "weak_signature")
        allowed = heard(alice, ca, weak, rules=Rules(sha1_until=NOW + 1))
        assert ("good" if digest == "sha1" else "undetermined") == allowed.status

    def test_a_weakly_signed_delegate_is_none(self) -> None:
        ca = CA("RSA CA", now=NOW, key="rsa:2048")
        alice = ca.issue("alice")
        delegate = ca.issue("delegate", eku=(OCSP_SIGNING,), extensions=NOCHECK)
        weak = x509.load_der_x509_certificate(rebuilt(delegate.der, ca.key, digest="sha1"))
        response = answer(alice, ca, signer=Issued(weak, delegate.key, ()))
        assert said(heard(alice, ca, response)) == ("undetermined", "weak_signature")

    def test_an_unreadable_enclosure_is_passed_over(self, ca: CA, alice: Issued, responder: Issued) -> None:
        x25519 = bytes.fromhex("302a300506032b656e032100" + "09" * 32)
        der = rebuilt(ca.issue("odd").der, ca.key, replaced(6, x25519))
        odd = Issued(x509.load_der_x509_certificate(der), ca.key, ())
        assert heard(alice, ca, answer(alice, ca, signer=responder, enclosed=[odd, responder])).status == "good"

    def test_a_pinned_responder_needs_no_delegation(self, ca: CA, alice: Issued) -> None:
        pinned = CA("Elsewhere", now=NOW).issue("pinned", eku=None)
        responses, _ = read_responses([answer(alice, ca, signer=pinned, enclosed=[])])
        path = path_of(Certified.from_der(alice.der), (), [Certified.from_der(ca.der)], NOW)
        assert path is not None
        evidence = Evidence(responses=responses)
        for pins, expected in (((Certified.from_der(pinned.der),), "good"), ((), "undetermined")):
            (answers,) = judge(path, evidence, now=NOW, rules=Rules(), depth=Depth.LEAF, pinned=pins)
            assert expected == answers.ocsp.status


class TestDelegatesOwnRevocation:
    @pytest.fixture
    def unmarked(self, ca: CA) -> Issued:
        return ca.issue("unmarked", eku=(OCSP_SIGNING,))

    def test_with_nocheck_nobody_asks(self, ca: CA, alice: Issued, responder: Issued) -> None:
        listed = crl(ca, Entry(responder.certificate.serial_number), next_update=NOW - 60)
        assert heard(alice, ca, answer(alice, ca, signer=responder), crls=[listed]).status == "good"

    def test_without_it_a_crl_decides_where_there_is_one(self, ca: CA, alice: Issued, unmarked: Issued) -> None:
        response = answer(alice, ca, signer=unmarked)
        path = path_of(Certified.from_der(alice.der), (), [Certified.from_der(ca.der)], NOW)
        assert path is not None

        def by_ocsp(*crls: bytes, is_required: bool = False) -> tuple[str, str]:
            evidence = Evidence(crls=read_crls(crls)[0], responses=read_responses([response])[0])
            (answers,) = judge(path, evidence, now=NOW, rules=Rules(is_nocheck_required=is_required), depth=Depth.LEAF)
            return said(answers.ocsp)

        assert by_ocsp(crl(ca)) == ("good", "ok")
        assert by_ocsp(crl(ca, Entry(unmarked.certificate.serial_number))) == ("undetermined", "signer_revoked")
        assert by_ocsp(crl(ca, next_update=NOW)) == ("undetermined", "signer_undetermined")
        assert by_ocsp() == ("good", "ok")
        assert by_ocsp(is_required=True) == ("undetermined", "signer_undetermined")

    def test_revoked_by_a_responder_that_nothing_speaks_against_outweighs_good(
        self, ca: CA, alice: Issued, unmarked: Issued
    ) -> None:
        responses = answer(alice, ca), answer(alice, ca, "REVOKED", signer=unmarked)
        for entries, expected in (((), "revoked"), ((Entry(unmarked.certificate.serial_number),), "good")):
            stale = crl(ca, *entries, next_update=NOW)
            arguments = {"anchors": [ca.der], "crls": [stale], "ocsp_responses": responses, "now": instant()}
            assert check(alice.der, (), **arguments).status == expected  # type: ignore[arg-type]


class TestContent:
    @pytest.mark.parametrize("field", ["response", "single"])
    def test_an_unknown_critical_extension_makes_it_unusable(self, ca: CA, alice: Issued, field: str) -> None:
        def add(*, critical: bool) -> bytes:
            added = element(0xA1, sequence(extension("1.3.6.1.4.1.99999.1", b"\x05\x00", critical=critical)))

            def edit(fields: list[bytes]) -> None:
                from spoa.identity import read_elements

                if field == "response":
                    fields.append(added)
                    return
                ((_, _, singles),) = read_elements(fields[2])
                ((_, _, single),) = read_elements(singles)
                fields[2] = sequence(sequence(single, added))

            return resigned_response(answer(alice, ca), ca.key, edit)

        assert said(heard(alice, ca, add(critical=True))) == ("undetermined", "unknown_critical")
        assert heard(alice, ca, add(critical=False)).status == "good"

    def test_the_nonce_must_be_ours_where_there_is_one(self, ca: CA, alice: Issued) -> None:
        with_nonce = answer(alice, ca, extensions=[(x509.OCSPNonce(NONCE), False)])
        assert heard(alice, ca, with_nonce, request_nonce=NONCE).status == "good"
        assert heard(alice, ca, with_nonce).status == "good"
        for other in (NONCE[:-1], bytes(32)):
            result = heard(alice, ca, with_nonce, request_nonce=other)
            assert said(result) == ("undetermined", "nonce_mismatch")

    def test_a_nonce_may_be_missing_unless_it_is_required(self, ca: CA, alice: Issued) -> None:
        plain = answer(alice, ca)
        assert heard(alice, ca, plain, request_nonce=NONCE).status == "good"
        rules = Rules(nonce=NonceMode.REQUIRE)
        assert heard(alice, ca, plain, request_nonce=NONCE, rules=rules).reason == "nonce_mismatch"
        assert heard(alice, ca, plain, rules=rules).status == "good"

    def test_a_bare_nonce_is_one_too(self, ca: CA, alice: Issued) -> None:
        """Some responders wrap no octet string around it."""

        def bare(fields: list[bytes]) -> None:
            fields.append(element(0xA1, sequence(extension("1.3.6.1.5.5.7.48.1.2", NONCE))))

        odd = resigned_response(answer(alice, ca), ca.key, bare)
        assert heard(alice, ca, odd, request_nonce=NONCE).status == "good"
        assert heard(alice, ca, odd, request_nonce=bytes(32)).reason == "nonce_mismatch"

    def test_no_flipped_bit_ever_gives_good(self, ca: CA, alice: Issued) -> None:
        revoked = answer(alice, ca, "REVOKED")
        good = answer(alice, ca, by_name=True)
        for response in (revoked, good):
            for position in range(len(response)):
                flipped = bytearray(response)
                flipped[position] ^= 1 << position % 8
                assert heard(alice, ca, bytes(flipped)).status != "good"
