"""Which lists are about which certificates, through `check`: scopes, partitions and indirect lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from spoa.revocation import IdpMatching, Result, Rules
from tests.revocation.lists import (
    Entry,
    asked,
    at,
    crl,
    idp,
    named,
    point,
    run,
    said,
    uri,
    with_points,
)

if TYPE_CHECKING:
    from tests.pki import CA, Issued

URL = "http://crl.example.com/a.crl"


class TestScope:
    def test_lists_for_other_kinds_of_certificates_say_nothing(self, ca: CA, alice: Issued) -> None:
        for kind in ("only_contains_ca_certs", "only_contains_attribute_certs"):
            for entries in ((), (at(alice),)):
                listed = crl(ca, *entries, extensions=[idp(**{kind: True})])
                assert said(asked(alice, ca, listed)) == ("undetermined", "wrong_scope")
        assert asked(alice, ca, crl(ca, extensions=[idp(only_contains_user_certs=True)])).status == "good"

    def test_good_needs_every_reason_and_revoked_needs_one(self, ca: CA, alice: Issued) -> None:
        keys = frozenset({x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise})
        flags = frozenset(x509.ReasonFlags) - {x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl}
        some = crl(ca, extensions=[idp(only_some_reasons=keys)])
        others = crl(ca, extensions=[idp(only_some_reasons=flags - keys)])
        assert said(asked(alice, ca, some)) == ("undetermined", "some_reasons_only")
        assert said(asked(alice, ca, some, some)) == ("undetermined", "some_reasons_only")
        assert asked(alice, ca, some, others).status == "good"
        listed = crl(ca, at(alice, "superseded"), extensions=[idp(only_some_reasons=keys)])
        assert asked(alice, ca, listed, others).status == "revoked"

    def test_a_list_named_otherwise_than_the_certificate_asks_is_for_others(self, ca: CA) -> None:
        here, there = point([uri(URL)]), point([uri("http://crl.example.com/b.crl")])
        listed = crl(ca, extensions=[idp(full_name=[uri(URL)])])
        assert asked(with_points(ca, there, here), ca, listed).status == "good"
        assert said(asked(with_points(ca, there), ca, listed)) == ("undetermined", "wrong_scope")
        assert said(asked(ca.issue("unpointed"), ca, listed)) == ("undetermined", "wrong_scope")

    def test_trust_config_overlooks_the_name_but_nothing_else(self, ca: CA, alice: Issued) -> None:
        rules = Rules(idp=IdpMatching.TRUST_CONFIG)
        listed = crl(ca, extensions=[idp(full_name=[uri(URL)])])
        assert asked(alice, ca, listed, rules=rules).status == "good"
        other = crl(ca, extensions=[idp(full_name=[uri(URL)], only_contains_ca_certs=True)])
        assert said(asked(alice, ca, other, rules=rules)) == ("undetermined", "wrong_scope")

    def test_a_list_without_names_serves_certificates_with_and_without_points(self, ca: CA) -> None:
        assert asked(with_points(ca, point([uri(URL)])), ca, crl(ca)).status == "good"

    def test_a_name_relative_to_the_issuer_is_completed(self, ca: CA) -> None:
        rdn = x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CRL1")])
        whole = x509.DirectoryName(x509.Name([*ca.authority.issued.certificate.subject.rdns, rdn]))
        listed = crl(ca, extensions=[idp(relative_name=rdn)])
        assert asked(with_points(ca, point(relative_name=rdn)), ca, listed).status == "good"
        assert asked(with_points(ca, point([whole])), ca, listed).status == "good"
        assert asked(with_points(ca, point([uri(URL)])), ca, listed).status == "undetermined"

    def test_a_point_with_fewer_reasons_covers_those_only(self, ca: CA) -> None:
        keys = frozenset({x509.ReasonFlags.key_compromise})
        listed = crl(ca, extensions=[idp(full_name=[uri(URL)])])
        assert said(asked(with_points(ca, point([uri(URL)], reasons=keys)), ca, listed)) == (
            "undetermined",
            "some_reasons_only",
        )

    def test_partitions_are_kept_apart(self, ca: CA) -> None:
        alice = with_points(ca, point([uri(URL)]))
        own = crl(ca, number=5, extensions=[idp(full_name=[uri(URL)])])
        foreign = crl(ca, at(alice), number=9, extensions=[idp(full_name=[uri(URL + "2")])])
        assert asked(alice, ca, own, foreign).status == "good"


class TestIndirect:
    def judged(self, pointing: Issued, issuing: CA, root: CA, lister: CA, *entries: Entry, **fields: bool) -> Result:
        listed = crl(lister, *entries, extensions=[idp(**{"indirect_crl": True, **fields})])
        arguments = {"issuers": [issuing.der], "anchors": [root.der], "extra": [lister.der]}
        return run(pointing, (listed, crl(root)), **arguments)

    def test_the_issuer_of_an_entry_sticks_until_the_next(
        self, pointing: Issued, issuing: CA, root: CA, lister: CA
    ) -> None:
        issuer, other = named("Issuing CA"), named("Other CA")
        sticky = [Entry(1, issuer=issuer), at(pointing, "superseded")]
        assert said(self.judged(pointing, issuing, root, lister, *sticky)) == ("revoked", "superseded")
        elsewhere = [Entry(1, issuer=issuer), Entry(2, issuer=other), at(pointing, "superseded")]
        assert self.judged(pointing, issuing, root, lister, *elsewhere).status == "good"

    def test_an_entry_before_any_issuer_is_the_list_signers_own(
        self, pointing: Issued, issuing: CA, root: CA, lister: CA
    ) -> None:
        assert self.judged(pointing, issuing, root, lister, at(pointing)).status == "good"

    def test_a_list_that_is_not_indirect_does_not_speak_for_others(
        self, pointing: Issued, issuing: CA, root: CA, lister: CA
    ) -> None:
        entries = [at(pointing, issuer=named("Issuing CA"))]
        for given in ([], entries):
            result = self.judged(
                pointing, issuing, root, lister, *given, indirect_crl=False, only_contains_user_certs=True
            )
            assert result.status == "undetermined"

    def test_nobody_lists_what_did_not_name_him(self, issuing: CA, root: CA, lister: CA) -> None:
        entry = Entry(1, issuer=named("Issuing CA"))
        assert said(self.judged(issuing.issue(), issuing, root, lister, entry)) == ("undetermined", "not_loaded")

    def test_a_point_whose_issuer_is_no_name_is_no_point(self, issuing: CA, root: CA, lister: CA) -> None:
        odd = with_points(issuing, point([uri(URL)], crl_issuer=[uri("http://example.com/")]))
        listed = crl(issuing, extensions=[idp(full_name=[uri(URL)])])
        result = run(odd, (listed,), issuers=[issuing.der], anchors=[root.der])
        assert said(result) == ("undetermined", "wrong_scope")

    def test_other_issuers_in_a_direct_list_make_it_prove_nothing(self, ca: CA, alice: Issued) -> None:
        odd = crl(ca, Entry(1, issuer=named("Other CA")))
        own = ca.issue("carol")
        assert said(asked(own, ca, odd)) == ("undetermined", "unsupported")
        assert asked(own, ca, crl(ca, at(own), Entry(1, issuer=named("Other CA")))).status == "revoked"

    def test_entries_for_an_issuer_without_a_name_are_nobodys(
        self, pointing: Issued, issuing: CA, root: CA, lister: CA
    ) -> None:
        nameless = x509.CertificateIssuer([uri("http://example.com/")])
        entry = at(pointing, extensions=((nameless, True),))
        assert self.judged(pointing, issuing, root, lister, entry).status == "good"
