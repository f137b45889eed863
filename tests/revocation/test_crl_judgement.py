"""What CRLs prove and what they don't, through `check`, as any caller sees it."""

from __future__ import annotations

from itertools import count, permutations

import pytest
from cryptography import x509

from spoa.identity import read_elements
from spoa.revocation import Rules, Status
from spoa.revocation.certificates import Certified
from tests.der import rebuilt, replaced
from tests.pki import CA, DAY, HOUR, Issued
from tests.revocation.lists import (
    FUTURE,
    NOW,
    UNKNOWN,
    Entry,
    asked,
    at,
    crl,
    idp,
    named,
    point,
    resigned,
    run,
    said,
    with_points,
)

USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
URL = "http://crl.example.com/a.crl"


class TestListed:
    def test_not_on_a_fresh_list_is_good_until_the_list_ends(self, ca: CA, alice: Issued, bob: Issued) -> None:
        result = asked(alice, ca, crl(ca, at(bob)))
        assert (*said(result), result.valid_until, result.is_late) == ("good", "ok", FUTURE, False)

    @pytest.mark.parametrize("reason", ["keyCompromise", "certificateHold", "superseded", "removeFromCRL"])
    def test_listed_is_revoked_whatever_the_reason(self, ca: CA, alice: Issued, reason: str) -> None:
        """Even removeFromCRL, which has no business in a complete CRL."""
        assert ("revoked", reason) == said(asked(alice, ca, crl(ca, at(alice, reason))))

    def test_without_a_reason_it_is_unspecified(self, ca: CA, alice: Issued) -> None:
        assert said(asked(alice, ca, crl(ca, at(alice)))) == ("revoked", "unspecified")

    def test_listed_means_revoked_even_when_the_date_lies_ahead(self, ca: CA, alice: Issued) -> None:
        assert said(asked(alice, ca, crl(ca, at(alice, "superseded", at=NOW + DAY)))) == ("revoked", "superseded")

    def test_listed_twice_the_worse_reason_counts(self, ca: CA, alice: Issued) -> None:
        entries = at(alice, "certificateHold"), at(alice, "keyCompromise"), at(alice, "removeFromCRL")
        for order in permutations(entries):
            assert said(asked(alice, ca, crl(ca, *order))) == ("revoked", "keyCompromise")

    @pytest.mark.parametrize("serial", [1, 127, 128, 255, 256, 2**63, 2**159 - 1])
    def test_serial_numbers_of_any_size_are_found_and_their_neighbours_are_not(self, ca: CA, serial: int) -> None:
        listed = crl(ca, Entry(serial, "keyCompromise"))
        assert asked(ca.issue(serial=serial), ca, listed).status == "revoked"
        assert asked(ca.issue(serial=serial + 1 if serial == 1 else serial - 1), ca, listed).status == "good"

    def test_an_empty_list_is_a_list(self, ca: CA, alice: Issued) -> None:
        assert asked(alice, ca, crl(ca)).status == "good"


class TestDates:
    @pytest.mark.parametrize(
        ("now", "expected"),
        [(FUTURE - 1, "good"), (FUTURE, "undetermined"), (FUTURE + 299, "undetermined")],
    )
    def test_next_update_has_no_skew(self, ca: CA, alice: Issued, now: int, expected: str) -> None:
        assert expected == asked(alice, ca, crl(ca), now=now).status

    @pytest.mark.parametrize(("ahead", "expected"), [(300, "ok"), (301, "not_yet_valid")])
    def test_this_update_may_be_a_little_ahead(self, ca: CA, alice: Issued, ahead: int, expected: str) -> None:
        assert expected == asked(alice, ca, crl(ca, this_update=NOW + ahead)).reason

    def test_a_stale_list_still_revokes(self, ca: CA, alice: Issued) -> None:
        assert asked(alice, ca, crl(ca, at(alice)), now=FUTURE + DAY).status == "revoked"

    def test_a_list_from_the_future_still_revokes(self, ca: CA, alice: Issued) -> None:
        assert asked(alice, ca, crl(ca, at(alice), this_update=NOW + HOUR)).status == "revoked"

    def test_max_stale_lets_a_list_count_for_longer_and_reports_it(self, ca: CA, alice: Issued) -> None:
        rules = Rules(max_stale=HOUR)
        late = asked(alice, ca, crl(ca), now=FUTURE + HOUR - 1, rules=rules)
        assert (late.status, late.is_late, late.valid_until) == ("good", True, FUTURE + HOUR)
        assert said(asked(alice, ca, crl(ca), now=FUTURE + HOUR, rules=rules)) == ("undetermined", "stale")

    def test_without_next_update_a_list_proves_nothing_unless_an_age_is_allowed(self, ca: CA, alice: Issued) -> None:
        def cut(fields: list[bytes]) -> None:
            del fields[4]

        endless = resigned(crl(ca), ca.key, cut)
        assert said(asked(alice, ca, endless)) == ("undetermined", "no_next_update")
        rules = Rules(crl_max_age_without_next_update=HOUR + 1)
        assert asked(alice, ca, endless, rules=rules)[::3] == ("good", NOW + 1)
        assert asked(alice, ca, endless, rules=rules, now=NOW + 1).status == "undetermined"

    def test_a_list_that_ends_before_it_begins_proves_nothing(self, ca: CA, alice: Issued) -> None:
        def swap(fields: list[bytes]) -> None:
            fields[3], fields[4] = fields[4], fields[3]

        backwards = resigned(crl(ca, this_update=NOW + 1, next_update=NOW + 200), ca.key, swap)
        assert said(asked(alice, ca, backwards)) == ("undetermined", "stale")


class TestShape:
    def test_an_unknown_critical_extension_forbids_any_use(self, ca: CA, alice: Issued) -> None:
        """RFC 5280 section 5.2: what is not understood may change what entries mean."""
        for entries in ((), (at(alice),)):
            listed = crl(ca, *entries, extensions=[(UNKNOWN, True)])
            assert said(asked(alice, ca, listed)) == ("undetermined", "unknown_critical")

    def test_an_unknown_extension_that_is_not_critical_is_ignored(self, ca: CA, alice: Issued) -> None:
        entry = Entry(7, extensions=((UNKNOWN, False),))
        assert asked(alice, ca, crl(ca, entry, extensions=[(UNKNOWN, False)])).status == "good"

    def test_an_unknown_critical_entry_extension_revokes_its_own_and_proves_nothing_for_others(
        self, ca: CA, alice: Issued, bob: Issued
    ) -> None:
        listed = crl(ca, at(alice, "superseded", extensions=((UNKNOWN, True),)))
        assert said(asked(alice, ca, listed)) == ("revoked", "superseded")
        assert said(asked(bob, ca, listed)) == ("undetermined", "unknown_critical")

    def test_invalidity_dates_change_nothing_critical_or_not(self, ca: CA, alice: Issued) -> None:
        date = x509.InvalidityDate(__import__("datetime").datetime(2020, 1, 1))
        listed = crl(ca, Entry(7, extensions=((date, True),)))
        assert asked(alice, ca, listed).status == "good"

    def test_a_list_without_number_proves_nothing_unless_that_is_allowed(self, ca: CA, alice: Issued) -> None:
        numberless = crl(ca, number=None)
        assert said(asked(alice, ca, numberless)) == ("undetermined", "number_missing")
        assert asked(alice, ca, numberless, rules=Rules(is_number_required=False)).status == "good"
        assert asked(alice, ca, crl(ca, at(alice), number=None)).status == "revoked"

    def test_a_critical_number_is_not_the_number_that_we_know(self, ca: CA, alice: Issued) -> None:
        odd = crl(ca, number=None, extensions=[(x509.CRLNumber(1), True)])
        assert said(asked(alice, ca, odd)) == ("undetermined", "unknown_critical")

    def test_version_1_has_no_number_and_needs_none(self, ca: CA, alice: Issued, bob: Issued) -> None:
        def plain(fields: list[bytes]) -> None:
            del fields[-1], fields[0]

        first = resigned(crl(ca, at(bob)), ca.key, plain)
        assert (asked(alice, ca, first).status, asked(bob, ca, first).status) == ("good", "revoked")

    def test_version_1_with_extensions_is_no_crl(self, ca: CA, alice: Issued) -> None:
        def unversioned(fields: list[bytes]) -> None:
            del fields[0]

        assert said(asked(alice, ca, resigned(crl(ca), ca.key, unversioned))) == ("undetermined", "parse_error")

    def test_junk_among_the_evidence_changes_no_answer(self, ca: CA, alice: Issued) -> None:
        for junk in (b"", b"0", b"\x30\x80", crl(ca)[:-1], crl(ca) + b"\0", b"-----BEGIN X509 CRL-----\n"):
            assert said(asked(alice, ca, junk)) == ("undetermined", "parse_error")
            assert asked(alice, ca, junk, crl(ca)).status == "good"
            assert asked(alice, ca, crl(ca, at(alice)), junk).status == "revoked"


class TestSigner:
    def test_a_list_signed_by_somebody_else_of_that_name_is_nothing(self, ca: CA, alice: Issued) -> None:
        twin = CA("Corp CA", now=NOW)
        assert said(asked(alice, ca, crl(twin))) == ("undetermined", "bad_signature")
        assert said(asked(alice, ca, crl(twin), extra=[twin.der])) == ("undetermined", "signer_not_trusted")
        assert said(asked(alice, ca, crl(twin, at(alice)))) == ("undetermined", "bad_signature")

    def test_another_trusted_ca_of_the_same_name_does_not_speak_for_this_one(self, ca: CA, alice: Issued) -> None:
        """Two CAs with one name and two keys share nothing."""
        twin = CA("Corp CA", now=NOW)
        both = [ca.der, twin.der]
        assert asked(alice, ca, crl(twin), anchors=both, extra=both).status == "undetermined"

    def test_no_list_of_this_issuer_is_no_list(self, ca: CA, alice: Issued) -> None:
        assert said(asked(alice, ca, crl(CA("Other CA", now=NOW)))) == ("undetermined", "not_loaded")
        assert said(asked(alice, ca)) == ("undetermined", "not_loaded")

    def test_an_issuer_whose_key_usage_lacks_crl_sign_signs_no_lists(self) -> None:
        usage = x509.KeyUsage(**{**dict.fromkeys(USAGES, False), "key_cert_sign": True})
        ca = CA("Plain CA", now=NOW, has_key_usage=False, extensions=((usage, True),))
        alice = ca.issue("alice")
        assert said(asked(alice, ca, crl(ca))) == ("undetermined", "crl_sign_missing")
        assert said(asked(alice, ca, crl(ca, at(alice)))) == ("undetermined", "crl_sign_missing")

    def test_a_certificate_beside_the_path_adds_nothing_to_what_the_path_allows_its_key(self) -> None:
        """Whoever has the key could sign one for itself."""
        usage = x509.KeyUsage(**{**dict.fromkeys(USAGES, False), "key_cert_sign": True})
        root = CA("Root CA", now=NOW)
        plain = root.intermediate("Plain CA", has_key_usage=False, extensions=((usage, True),))
        more = rebuilt(CA("Plain CA", now=NOW).der, plain.key, replaced(6, Certified.from_der(plain.der).parts.spki))
        found = run(plain.issue("alice"), (crl(plain),), issuers=[plain.der], anchors=[root.der], extra=[more])
        assert said(found) == ("undetermined", "crl_sign_missing")

    def test_an_issuer_without_key_usage_signs_lists(self) -> None:
        ca = CA("Bare CA", now=NOW, has_key_usage=False)
        assert asked(ca.issue("alice"), ca, crl(ca)).status == "good"

    @pytest.mark.parametrize("digest", ["md5", "sha1"])
    def test_weak_signatures_prove_nothing_today(self, digest: str) -> None:
        ca = CA("RSA CA", now=NOW, key="rsa:2048")
        alice = ca.issue("alice")
        weak = resigned(crl(ca, at(alice)), ca.key, digest=digest)
        assert said(asked(alice, ca, weak)) == ("undetermined", "weak_signature")
        allowed = asked(alice, ca, weak, rules=Rules(sha1_until=NOW + 1))
        assert ("revoked" if digest == "sha1" else "undetermined") == allowed.status

    def test_sha1_is_judged_by_its_time(self) -> None:
        then = 1_350_000_000
        ca = CA("Old CA", now=then)
        alice = ca.issue("alice")
        old = resigned(crl(ca, this_update=then, next_update=then + DAY), ca.key, digest="sha1")
        assert asked(alice, ca, old, now=then + 1).status == "good"
        assert asked(alice, ca, old, now=then + 1, rules=Rules(sha1_until=0)).status == "undetermined"

    def test_both_algorithm_fields_must_agree(self, ca: CA, alice: Issued) -> None:
        def lie(fields: list[bytes]) -> None:
            fields[1] = bytes.fromhex("300a06082a8648ce3d040303")

        assert said(asked(alice, ca, resigned(crl(ca), ca.key, lie))) == ("undetermined", "parse_error")

    @pytest.mark.parametrize("key", ["ec:384", "ec:521", "ed25519", "ed448", "rsa:2048", "dsa:2048"])
    def test_lists_of_every_kind_of_key_are_understood(self, key: str) -> None:
        ca = CA("Keyed CA", now=NOW, key=key)
        alice = ca.issue("alice")
        assert asked(alice, ca, crl(ca)).status == "good"
        assert asked(alice, ca, crl(ca, at(alice))).status == "revoked"

    def test_a_list_signed_with_pss_is_understood(self) -> None:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        ca = CA("PSS CA", now=NOW, key="rsa:2048", has_pss_signature=True)
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        assert asked(ca.issue("alice"), ca, crl(ca, rsa_padding=pss)).status == "good"

    def test_no_flipped_bit_ever_gives_good(self, ca: CA, alice: Issued) -> None:
        listed = crl(ca, at(alice, "keyCompromise"))
        for position in range(len(listed)):
            flipped = bytearray(listed)
            flipped[position] ^= 1 << position % 8
            assert asked(alice, ca, bytes(flipped)).status != "good"


class TestSeparateSigner:
    """A CA may sign its lists with another key than its certificates, if it says so by a certificate."""

    def test_it_counts_when_it_is_given_and_proven_good(self, root: CA, issuing: CA, second: CA) -> None:
        alice = issuing.issue("alice")
        arguments = {"issuers": [issuing.der], "anchors": [root.der]}
        evidence = crl(second), crl(root)
        assert run(alice, evidence, extra=[second.der], **arguments).status == "good"
        listed = run(alice, (crl(second, at(alice)), crl(root)), extra=[second.der], **arguments)
        assert listed.status == "revoked"

    def test_nobody_vouches_for_a_signer_that_is_not_given(self, root: CA, issuing: CA, second: CA) -> None:
        result = run(issuing.issue(), (crl(second), crl(root)), issuers=[issuing.der], anchors=[root.der])
        assert said(result) == ("undetermined", "bad_signature")

    def test_one_signer_of_several_lists_is_asked_about_once(self, root: CA, issuing: CA, second: CA) -> None:
        arguments = {"issuers": [issuing.der], "anchors": [root.der], "extra": [second.der]}
        lists = crl(second, number=1), crl(second, number=2), crl(root)
        assert run(issuing.issue(), lists, **arguments).status == "good"

    def test_an_answer_ends_when_its_signer_is_no_longer_proven(self, root: CA, issuing: CA) -> None:
        brief = root.intermediate("Issuing CA", not_after=NOW + 60)
        arguments = {"issuers": [issuing.der], "anchors": [root.der], "extra": [brief.der]}
        alice = issuing.issue()
        assert run(alice, (crl(brief), crl(root)), **arguments).valid_until == NOW + 61
        assert run(alice, (crl(brief), crl(root, next_update=NOW + 9)), **arguments).valid_until == NOW + 9

    def test_a_revoked_or_unproven_signer_is_not_believed(self, root: CA, issuing: CA, second: CA) -> None:
        arguments = {"issuers": [issuing.der], "anchors": [root.der], "extra": [second.der]}
        serial = second.authority.issued.certificate.serial_number
        revoked = run(issuing.issue(), (crl(second), crl(root, Entry(serial))), **arguments)
        assert said(revoked) == ("undetermined", "signer_revoked")
        unproven = run(issuing.issue(), (crl(second),), **arguments)
        assert said(unproven) == ("undetermined", "signer_undetermined")

    def test_what_a_signer_lists_that_nothing_speaks_against_is_revoked(
        self, root: CA, issuing: CA, second: CA
    ) -> None:
        """Whatever other lists say; a revoked signer may have lost its key, and its word counts for nothing."""
        arguments = {"issuers": [issuing.der], "anchors": [root.der], "extra": [second.der]}
        alice = issuing.issue()
        lists = crl(issuing), crl(second, at(alice, "keyCompromise"))
        assert said(run(alice, lists, **arguments)) == ("revoked", "keyCompromise")
        serial = second.authority.issued.certificate.serial_number
        assert run(alice, (*lists, crl(root, Entry(serial))), **arguments).status == "good"

    def test_in_a_chain_whoever_vouches_for_the_signer_is_asked_about_too(self, root: CA, issuing: CA) -> None:
        middle = root.intermediate("Middle CA")
        lister = middle.intermediate("List CA")
        names: list[x509.GeneralName] = [x509.DirectoryName(named("List CA"))]
        pointing = with_points(issuing, point(crl_issuer=names))
        listed = crl(lister, extensions=[idp(indirect_crl=True)])
        arguments = {"issuers": [issuing.der], "anchors": [root.der], "extra": [lister.der, middle.der]}
        assert run(pointing, (listed, crl(middle)), **arguments).status == "good"
        whole = {**arguments, "depth": "chain"}
        assert run(pointing, (listed, crl(middle), crl(root)), **whole).status == "good"
        revoked = Entry(middle.authority.issued.certificate.serial_number)
        result = run(pointing, (listed, crl(middle), crl(root, revoked)), **whole)
        assert said(result) == ("undetermined", "signer_revoked")

    def test_in_a_chain_a_signer_below_the_path_is_asked_about_itself_only(self, root: CA) -> None:
        """What lies above it on the path is judged as part of that."""
        old = root.intermediate("Rolling CA")
        new = old.intermediate("Rolling CA")
        arguments = {"issuers": [old.der], "anchors": [root.der], "extra": [new.der], "depth": "chain"}
        assert run(old.issue(), (crl(new), crl(old), crl(root)), **arguments).status == "good"

    def test_an_expired_signer_is_not_believed(self, root: CA, issuing: CA) -> None:
        old = root.intermediate("Issuing CA", not_after=NOW - 1)
        arguments = {"issuers": [issuing.der], "anchors": [root.der], "extra": [old.der]}
        assert said(run(issuing.issue(), (crl(old), crl(root)), **arguments)) == ("undetermined", "signer_not_trusted")

    def test_the_same_name_below_another_ca_is_another_ca(self, root: CA, issuing: CA) -> None:
        middle = root.intermediate("Middle CA")
        stranger = middle.intermediate("Issuing CA")
        arguments = {"issuers": [issuing.der], "anchors": [root.der], "extra": [stranger.der, middle.der]}
        result = run(issuing.issue(), (crl(stranger), crl(root), crl(middle)), **arguments)
        assert said(result) == ("undetermined", "signer_not_trusted")

    def test_a_signer_does_not_vouch_for_itself(self, root: CA) -> None:
        """A new key of the CA is certified by the old one, and only lists of the old one speak for that certificate."""
        old = root.intermediate("Rolling CA")
        new = old.intermediate("Rolling CA")
        arguments = {"issuers": [new.der, old.der], "anchors": [root.der], "depth": "chain"}
        alice = new.issue("alice")
        assert run(alice, (crl(new), crl(old), crl(root)), **arguments).status == "good"
        alone = run(alice, (crl(new), crl(root)), **arguments)
        assert (alone.status, alone.position) == ("undetermined", 1)


class TestDelta:
    def test_a_delta_adds_revocations(self, ca: CA, alice: Issued, bob: Issued) -> None:
        lists = crl(ca, number=5), crl(ca, at(alice, "superseded"), number=6, base=5)
        assert said(asked(alice, ca, *lists)) == ("revoked", "superseded")
        assert asked(bob, ca, *lists).status == "good"

    def test_a_delta_lifts_a_hold_and_nothing_else(self, ca: CA, alice: Issued) -> None:
        delta = crl(ca, at(alice, "removeFromCRL"), number=6, base=5)
        assert asked(alice, ca, crl(ca, at(alice, "certificateHold"), number=5), delta).status == "good"
        assert asked(alice, ca, crl(ca, number=5), delta).status == "good"
        assert said(asked(alice, ca, crl(ca, at(alice, "keyCompromise"), number=5), delta)) == (
            "revoked",
            "keyCompromise",
        )

    def test_a_delta_replaces_the_reason(self, ca: CA, alice: Issued) -> None:
        base = crl(ca, at(alice, "certificateHold"), number=5)
        delta = crl(ca, at(alice, "keyCompromise"), number=6, base=5)
        assert said(asked(alice, ca, base, delta)) == ("revoked", "keyCompromise")

    def test_the_newest_delta_counts(self, ca: CA, alice: Issued) -> None:
        base = crl(ca, number=5)
        held = crl(ca, at(alice, "certificateHold"), number=6, base=5)
        lifted = crl(ca, at(alice, "removeFromCRL"), number=7, base=5)
        for order in permutations((base, held, lifted)):
            assert asked(alice, ca, *order).status == "good"
        assert asked(alice, ca, base, held).status == "revoked"

    def test_a_fresh_delta_renews_a_stale_base(self, ca: CA, alice: Issued) -> None:
        base = crl(ca, number=5, this_update=NOW - DAY, next_update=NOW - HOUR)
        result = asked(alice, ca, base, crl(ca, number=6, base=5, next_update=NOW + 60))
        assert (result.status, result.valid_until, result.is_late) == ("good", NOW + 60, False)
        assert asked(alice, ca, base, crl(ca, number=6, base=5, next_update=NOW)).reason == "stale"

    @pytest.mark.parametrize(
        ("number", "base"), [(6, 6), (4, 3), (4, 4)], ids=["base too new", "older than the list", "older and fitting"]
    )
    def test_a_delta_that_does_not_fit_is_ignored_but_for_what_it_lists(
        self, ca: CA, alice: Issued, bob: Issued, number: int, base: int
    ) -> None:
        complete = crl(ca, at(bob, "certificateHold"), number=5)
        delta = crl(ca, at(alice, "superseded"), at(bob, "removeFromCRL"), number=number, base=base)
        assert asked(bob, ca, complete, delta).status == "revoked"
        assert asked(alice, ca, complete, delta).status == "revoked"
        assert asked(ca.issue(), ca, complete, delta).status == "good"

    def test_a_delta_of_another_scope_or_key_identifier_does_not_fit(self, ca: CA, alice: Issued) -> None:
        complete = crl(ca, at(alice, "certificateHold"), number=5)
        users = [idp(only_contains_user_certs=True)]
        for delta in (
            crl(ca, at(alice, "removeFromCRL"), number=6, base=5, extensions=users),
            crl(ca, at(alice, "removeFromCRL"), number=6, base=5, aki=False),
        ):
            assert asked(alice, ca, complete, delta).status == "revoked"

    def test_a_delta_alone_proves_nothing_but_revocation(self, ca: CA, alice: Issued) -> None:
        assert said(asked(alice, ca, crl(ca, number=6, base=5))) == ("undetermined", "delta_without_base")
        assert asked(alice, ca, crl(ca, at(alice), number=6, base=5)).status == "revoked"
        assert asked(alice, ca, crl(ca, number=None, base=5)).status == "undetermined"
        assert asked(alice, ca, crl(ca, number=None), crl(ca, number=6, base=5)).status == "undetermined"

    def test_a_stale_or_odd_delta_leaves_a_fresh_base_as_it_is(self, ca: CA, alice: Issued) -> None:
        base = crl(ca, at(alice, "certificateHold"), number=5)
        stale = crl(ca, at(alice, "removeFromCRL"), number=6, base=5, this_update=NOW - DAY, next_update=NOW - HOUR)
        odd = crl(ca, at(alice, "removeFromCRL"), Entry(3, extensions=((UNKNOWN, True),)), number=6, base=5)
        for delta in (stale, odd):
            assert asked(alice, ca, base, delta).status == "revoked"


class TestSeveral:
    def test_an_older_list_still_revokes(self, ca: CA, alice: Issued) -> None:
        older, newer = crl(ca, at(alice, "keyCompromise"), number=4), crl(ca, number=5)
        assert asked(alice, ca, older, newer).status == "revoked"
        assert asked(alice, ca, newer, older).status == "revoked"

    def test_a_newer_list_lifts_a_hold_of_a_delta_and_not_of_another_complete_list(self, ca: CA, alice: Issued) -> None:
        held = crl(ca, at(alice, "certificateHold"), number=4)
        assert asked(alice, ca, held, crl(ca, number=5)).status == "revoked", "whoever keeps lists keeps the newest"
        assert asked(alice, ca, crl(ca, number=5)).status == "good"
        delta = crl(ca, at(alice, "certificateHold"), number=4, base=3)
        assert asked(alice, ca, delta, crl(ca, number=5)).status == "good"
        assert asked(alice, ca, delta, crl(ca, number=3)).status == "revoked"
        stale = crl(ca, number=5, this_update=NOW - DAY, next_update=NOW - HOUR)
        assert asked(alice, ca, delta, stale).status == "revoked"
        result = asked(alice, ca, held)
        assert (result.status, result.is_on_hold) == (Status.REVOKED, True)

    def test_one_good_list_among_bad_ones_is_enough(self, ca: CA, alice: Issued) -> None:
        stale = crl(ca, this_update=NOW - DAY, next_update=NOW - HOUR)
        twin = crl(CA("Corp CA", now=NOW))
        for order in permutations((stale, twin, crl(ca, next_update=NOW + 60))):
            result = asked(alice, ca, *order)
            assert (result.status, result.valid_until) == ("good", NOW + 60)

    def test_of_several_good_lists_the_longest_counts(self, ca: CA, alice: Issued) -> None:
        lists = crl(ca, next_update=NOW + 60), crl(ca, next_update=NOW + 600)
        assert asked(alice, ca, *lists).valid_until == NOW + 600

    def test_the_most_specific_reason_is_given(self, ca: CA, alice: Issued) -> None:
        stale = crl(ca, this_update=NOW - DAY, next_update=NOW - HOUR)
        assert asked(alice, ca, b"junk", crl(CA("Corp CA", now=NOW)), stale).reason == "stale"


def test_an_odd_bit_string_is_a_bad_signature(ca: CA, alice: Issued) -> None:
    """A parser lets it pass where the bits that it says are unused are zero."""
    listed = next(found for found in (crl(ca, number=number) for number in count()) if not found[-1] & 1)
    ((_, _, content),) = read_elements(listed)
    signature = len(listed) - len(read_elements(content)[2][1])
    odd = listed[: signature + 2] + b"\x01" + listed[signature + 3 :]
    assert said(asked(alice, ca, odd)) == ("undetermined", "bad_signature")


def test_an_unknown_algorithm_proves_nothing(ca: CA, alice: Issued) -> None:
    ecdsa = bytes.fromhex("300a06082a8648ce3d040302")
    odd = crl(ca).replace(ecdsa, ecdsa[:-1] + b"\x7f")
    assert said(asked(alice, ca, odd)) == ("undetermined", "weak_signature")
