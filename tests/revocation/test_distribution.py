from __future__ import annotations

import pytest
from cryptography import x509

from spoa.issuers import canonical_name
from spoa.revocation.distribution import (
    ALL_REASONS,
    DistributionPoint,
    Scope,
    covered_reasons,
    points_from_extension,
    scope_from_extension,
)
from spoa.revocation.status import IdpMatching
from tests.revocation.lists import idp, named, uri

CORP, LISTER = canonical_name(named("Corp").public_bytes()), canonical_name(named("Lister").public_bytes())
HERE, THERE = frozenset({("uri", "here")}), frozenset({("uri", "there")})
KEYS = frozenset({x509.ReasonFlags.key_compromise})
STRICT, TRUSTING = IdpMatching.STRICT, IdpMatching.TRUST_CONFIG


def point(
    names: frozenset[tuple[str, object]] = frozenset(),
    reasons: frozenset[x509.ReasonFlags] = ALL_REASONS,
    by: bool = False,
) -> DistributionPoint:
    return DistributionPoint(names, (), reasons, frozenset({LISTER}) if by else frozenset())


def test_eight_reasons_are_all() -> None:
    """ReasonFlags has a bit for each of them (RFC 5280 section 4.2.1.13)."""
    assert len(ALL_REASONS) == 8


@pytest.mark.parametrize(
    ("scope", "of_ca", "of_user"),
    [
        (Scope(), False, False),
        (Scope(only_user_certificates=True), True, False),
        (Scope(only_ca_certificates=True), False, True),
        (Scope(only_attribute_certificates=True), True, True),
    ],
)
def test_a_list_may_exclude_a_sort_of_certificates(scope: Scope, *, of_ca: bool, of_user: bool) -> None:
    assert (of_ca, of_user) == (scope.excludes(is_ca=True), scope.excludes(is_ca=False))


class TestDirect:
    @pytest.mark.parametrize(
        ("points", "scope", "expected"),
        [
            ((), Scope(), ALL_REASONS),
            ((point(HERE),), Scope(), ALL_REASONS),
            ((point(HERE),), Scope(names=HERE), ALL_REASONS),
            ((point(HERE | THERE),), Scope(names=HERE), ALL_REASONS),
            ((point(THERE),), Scope(names=HERE), frozenset()),
            ((), Scope(names=HERE), frozenset()),
            ((point(HERE, KEYS),), Scope(names=HERE), KEYS),
            ((point(HERE),), Scope(names=HERE, reasons=KEYS), KEYS),
            ((point(HERE, KEYS),), Scope(names=HERE, reasons=ALL_REASONS - KEYS), frozenset()),
            ((point(HERE, KEYS), point(HERE, ALL_REASONS - KEYS)), Scope(names=HERE), ALL_REASONS),
        ],
    )
    def test_the_names_must_meet_and_reasons_intersect(
        self, points: tuple[DistributionPoint, ...], scope: Scope, expected: frozenset[x509.ReasonFlags]
    ) -> None:
        assert expected == covered_reasons(CORP, points, CORP, scope, STRICT)

    def test_the_issuers_name_is_always_a_point(self) -> None:
        """RFC 5280 section 6.3.3, at its end."""
        scope = Scope(names=frozenset({("directoryName", CORP)}))
        assert covered_reasons(CORP, (point(THERE),), CORP, scope, STRICT) == ALL_REASONS

    def test_trust_config_overlooks_names_of_direct_lists(self) -> None:
        scope = Scope(names=HERE, reasons=KEYS)
        assert covered_reasons(CORP, (), CORP, scope, TRUSTING) == KEYS
        assert not covered_reasons(CORP, (point(THERE, by=True),), LISTER, scope._replace(is_indirect=True), TRUSTING)


class TestIndirect:
    def test_it_must_be_named_and_say_that_it_is_indirect(self) -> None:
        indirect = Scope(is_indirect=True)
        assert covered_reasons(CORP, (point(by=True),), LISTER, indirect, STRICT) == ALL_REASONS
        assert not covered_reasons(CORP, (point(by=True),), LISTER, Scope(), STRICT)
        assert not covered_reasons(CORP, (point(HERE),), LISTER, indirect, STRICT)
        assert not covered_reasons(CORP, (), LISTER, indirect, STRICT)

    def test_a_point_without_names_is_met_by_its_issuers_name(self) -> None:
        """RFC 5280 section 6.3.3 b 2 i."""
        named_so = Scope(names=frozenset({("directoryName", LISTER)}), is_indirect=True)
        assert covered_reasons(CORP, (point(by=True),), LISTER, named_so, STRICT) == ALL_REASONS
        assert not covered_reasons(CORP, (point(by=True),), LISTER, named_so._replace(names=HERE), STRICT)
        assert not covered_reasons(CORP, (point(THERE, by=True),), LISTER, named_so, STRICT)


class TestReading:
    def test_a_points_fields_are_read(self) -> None:
        rdn = x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
        whole = x509.DistributionPoint([uri("here")], None, KEYS, [x509.DirectoryName(named("Lister"))])
        relative = x509.DistributionPoint(None, rdn, None, None)
        first, second = points_from_extension(x509.CRLDistributionPoints([whole, relative]))
        assert (1, KEYS, frozenset({LISTER})) == (len(first.names), first.reasons, first.crl_issuers)
        assert (canonical_name(named("x").public_bytes()), ALL_REASONS) == (second.relative_name, second.reasons)

    def test_a_point_whose_issuer_is_no_name_is_left_out(self) -> None:
        """It would else read as if it had named none."""
        odd = x509.DistributionPoint([uri("here")], None, None, [uri("http://example.com/")])
        assert points_from_extension(x509.CRLDistributionPoints([odd])) == ()

    def test_names_are_compared_as_everywhere(self) -> None:
        upper, lower = (
            points_from_extension(
                x509.CRLDistributionPoints(
                    [x509.DistributionPoint([x509.DirectoryName(named(name))], None, None, None)]
                )
            )
            for name in ("LIST  one", "list One")
        )
        assert upper == lower

    def test_a_scopes_fields_are_read(self) -> None:
        extension, _ = idp(full_name=[uri("here")], only_some_reasons=KEYS, indirect_crl=True)
        scope = scope_from_extension(extension)
        assert (
            len(scope.names),
            scope.reasons,
            scope.is_indirect,
            scope.only_ca_certificates,
        ) == (1, KEYS, True, False)
        none = x509.IssuingDistributionPoint(None, None, False, False, frozenset(), True, False)  # noqa: FBT003 - its fields
        assert scope_from_extension(none).reasons == frozenset()
        users, _ = idp(only_contains_user_certs=True)
        assert Scope(only_user_certificates=True) == scope_from_extension(users)
