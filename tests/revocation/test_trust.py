from __future__ import annotations

from dataclasses import replace

import pytest

from spoa.revocation.certificates import Certified
from spoa.revocation.status import Rules
from spoa.revocation.trust import Path, Trust, path_of
from tests.der import rebuilt
from tests.pki import CA, Issued
from tests.revocation.lists import NOW, UNKNOWN

ROOT = CA("Root", now=NOW)
SUB = ROOT.intermediate("Sub")
ALICE = SUB.issue("alice")


def read(*given: CA | Issued | bytes) -> list[Certified]:
    return [Certified.from_der(item if isinstance(item, bytes) else item.der) for item in given]


def one(given: CA | Issued | bytes) -> Certified:
    (found,) = read(given)
    return found


def path(certificate: Issued, issuers: list[CA], anchors: list[CA]) -> Path | None:
    return path_of(one(certificate), read(*issuers), read(*anchors), NOW)


def trust(*extra: CA) -> Trust:
    found = path(ALICE, [SUB], [ROOT])
    assert found is not None
    return Trust(found, read(*extra), NOW, Rules())


class TestPath:
    def test_it_ends_at_the_first_anchor(self) -> None:
        for issuers, anchors, length in (([SUB], [ROOT], 3), ([SUB, ROOT], [ROOT], 3), ([SUB, ROOT], [SUB], 2)):
            found = path(ALICE, issuers, anchors)
            assert found is not None
            assert length == len(found)

    def test_the_anchor_counts_as_the_operator_gave_it(self) -> None:
        """Not as another certificate for the same name and key says."""
        renewed = Certified.from_der(rebuilt(SUB.der, ROOT.key))
        found = path_of(one(ALICE), [renewed], read(SUB), NOW)
        assert found is not None
        assert SUB.der == found[-1].der

    def test_of_anchors_with_one_name_and_key_one_in_date_counts(self) -> None:
        ended = read(CA("Root", now=NOW, not_after=NOW - 60).der)[0]
        ended = replace(ended, subject=one(ROOT).subject, spki_sha256=one(ROOT).spki_sha256, key=one(ROOT).key)
        for issuers in ([SUB], [SUB, ROOT]):
            for anchors in ([ended, one(ROOT)], [one(ROOT), ended]):
                found = path_of(one(ALICE), read(*issuers), anchors, NOW)
                assert found is not None
                assert found[-1].der == ROOT.der

    def test_a_version_1_anchor_needs_no_mark_and_a_version_1_issuer_is_none(self) -> None:
        def old(fields: list[bytes]) -> None:
            del fields[-1], fields[0]

        first = rebuilt(ROOT.der, ROOT.key, old)
        assert path_of(one(ALICE), read(SUB), read(first), NOW)
        first = rebuilt(SUB.der, ROOT.key, old)
        assert path_of(one(ALICE), read(first), read(ROOT), NOW) is None

    def test_unknown_critical_extensions_end_it(self) -> None:
        odd = ROOT.intermediate("Odd", extensions=((UNKNOWN, True),))
        assert path(odd.issue(), [odd], [ROOT]) is None

    def test_key_usage_without_cert_sign_ends_it(self) -> None:
        odd = ROOT.intermediate("Odd", has_key_usage=False, is_ca=False)
        assert path(odd.issue(), [odd], [ROOT]) is None

    def test_nobody_is_trusted_by_default(self) -> None:
        assert path(ALICE, [], []) is None


class TestSigners:
    def test_a_signers_path_goes_through_whatever_was_given(self) -> None:
        middle = ROOT.intermediate("Middle")
        signer = middle.intermediate("Signer")
        for extra, expected in (([signer, middle], 3), ([signer], None), ([middle], 3)):
            found = trust(*extra).path_to_anchor(one(signer))
            assert expected == (None if found is None else len(found))

    @pytest.mark.parametrize("digest", ["md5", "sha1"])
    def test_nobody_vouches_by_a_weak_signature(self, digest: str) -> None:
        root = CA("Root", now=NOW, key="rsa:2048")
        alice, signer = root.issue("alice"), root.intermediate("Signer")
        found = path(alice, [], [root])
        assert found is not None
        weak = one(rebuilt(signer.der, root.key, digest=digest))
        for rules, expected in ((Rules(), False), (Rules(sha1_until=NOW + 1), digest == "sha1")):
            assert (Trust(found, [weak], NOW, rules).path_to_anchor(weak) is not None) == expected

    def test_it_must_end_at_the_same_anchor(self) -> None:
        other = CA("Other root", now=NOW)
        signer = other.intermediate("Signer")
        assert trust(signer, other).path_to_anchor(one(signer)) is None

    @pytest.mark.parametrize("fields", [{"not_after": NOW - 1}, {"extensions": ((UNKNOWN, True),)}])
    def test_a_signer_must_be_in_date_and_understood(self, fields: dict[str, object]) -> None:
        assert trust().path_to_anchor(one(ROOT.intermediate("Signer", **fields))) is None

    def test_the_anchor_and_the_path_are_their_own(self) -> None:
        known = trust()
        sub, root, alice = read(SUB, ROOT, ALICE)
        assert tuple(len(known.path_to_anchor(item) or ()) for item in (root, sub, alice)) == (1, 2, 3)
        assert tuple(known.is_on_path(item) for item in (sub, root, alice)) == (True, True, False)

    def test_certificates_that_certify_each_other_end_nowhere(self) -> None:
        first, other = CA("One", now=NOW), CA("Other", now=NOW)
        from spoa.pki import Template

        def cross(by: CA, whom: CA, name: str) -> bytes:
            template = Template(not_before=NOW - 60, not_after=NOW + 60, cn=(name,), is_ca=True)
            return by.authority.issue(template, whom.key).der

        loop = cross(first, other, "Other"), cross(other, first, "One")
        found = path(ALICE, [SUB], [ROOT])
        assert found is not None
        assert Trust(found, read(*loop), NOW, Rules()).path_to_anchor(one(loop[0])) is None

    def test_paths_have_a_limit(self) -> None:
        chain = [ROOT]
        for number in range(8):
            chain.append(chain[-1].intermediate(f"CA {number}"))
        known = trust(*chain)
        lengths = [len(known.path_to_anchor(one(ca)) or ()) for ca in chain]
        assert lengths == [1, 2, 3, 4, 5, 6, 7, 8, 0]


class TestAuthority:
    def test_a_ca_is_its_name_and_whoever_vouches_for_it(self) -> None:
        twin, renewed = CA("Sub", now=NOW), ROOT.intermediate("Sub")
        below = SUB.intermediate("Sub")
        elsewhere = ROOT.intermediate("Middle")
        stranger = elsewhere.intermediate("Sub")
        known = trust(twin, renewed, below, elsewhere, stranger)
        sub, *others = (known.authority(one(ca)) for ca in (SUB, twin, renewed, below, stranger))
        assert sub is not None
        assert [None, sub, sub, False] == [*others[:3], others[3] == sub]

    def test_an_anchors_new_key_is_the_anchor(self) -> None:
        renewed = ROOT.intermediate("Root")
        known = trust(renewed)
        assert known.authority(one(ROOT)) == known.authority(one(renewed))
