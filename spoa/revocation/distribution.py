"""For which certificates a CRL speaks: distribution points on both sides (RFC 5280 section 6.3.3 b and d)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cryptography import x509

from spoa.issuers import canonical_name
from spoa.revocation.status import IdpMatching

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spoa.issuers import CanonicalName

__all__ = [
    "ALL_REASONS",
    "DistributionPoint",
    "GeneralName",
    "Reasons",
    "Scope",
    "covered_reasons",
    "points_from_extension",
    "scope_from_extension",
]

GeneralName: TypeAlias = tuple[str, object]
Reasons: TypeAlias = frozenset[x509.ReasonFlags]

#: Those that ReasonFlags has a bit for (RFC 5280 section 4.2.1.13): a CRL may leave out any of them.
ALL_REASONS: Final[Reasons] = frozenset(x509.ReasonFlags) - {
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.remove_from_crl,
}
_DIRECTORY: Final = "directoryName"


class DistributionPoint(NamedTuple):
    """One of a certificate's cRLDistributionPoints.

    Attributes:
        names: by which the CRL is found; empty when only `crl_issuers` says it.
        relative_name: one more RDN, to be appended to the CRL issuer's name; empty without it.
        reasons: for which the CRL speaks.
        crl_issuers: who signs it, if not the certificate's issuer.
    """

    names: frozenset[GeneralName]
    relative_name: CanonicalName
    reasons: Reasons
    crl_issuers: frozenset[CanonicalName]


class Scope(NamedTuple):
    """A CRL's issuingDistributionPoint; the default is that of a CRL without one."""

    names: frozenset[GeneralName] = frozenset()
    relative_name: CanonicalName = ()
    reasons: Reasons = ALL_REASONS
    only_user_certificates: bool = False
    only_ca_certificates: bool = False
    only_attribute_certificates: bool = False
    is_indirect: bool = False

    def excludes(self, *, is_ca: bool) -> bool:
        """Tell whether certificates of this sort are none of the CRL's business."""
        return self.only_attribute_certificates or (self.only_user_certificates if is_ca else self.only_ca_certificates)


def points_from_extension(extension: x509.CRLDistributionPoints) -> tuple[DistributionPoint, ...]:
    """Read a certificate's distribution points.

    Raises:
        ValueError: a name in them is none.
    """
    points = tuple(_point(point) for point in extension)
    # A cRLIssuer that is no X.500 name can't be one (section 4.2.1.13), and must not read as none.
    return tuple(
        point for point, given in zip(points, extension, strict=True) if point.crl_issuers or not given.crl_issuer
    )


def _point(point: x509.DistributionPoint) -> DistributionPoint:
    return DistributionPoint(
        names=_names(point.full_name),
        relative_name=_relative(point.relative_name),
        reasons=ALL_REASONS if point.reasons is None else point.reasons,
        crl_issuers=frozenset(
            canonical_name(name.value.public_bytes())
            for name in point.crl_issuer or ()
            if isinstance(name, x509.DirectoryName)
        ),
    )


def scope_from_extension(extension: x509.IssuingDistributionPoint) -> Scope:
    """Read a CRL's issuing distribution point.

    Raises:
        ValueError: a name in it is none.
    """
    return Scope(
        names=_names(extension.full_name),
        relative_name=_relative(extension.relative_name),
        reasons=ALL_REASONS if extension.only_some_reasons is None else extension.only_some_reasons,
        only_user_certificates=extension.only_contains_user_certs,
        only_ca_certificates=extension.only_contains_ca_certs,
        only_attribute_certificates=extension.only_contains_attribute_certs,
        is_indirect=extension.indirect_crl,
    )


def _names(names: Iterable[x509.GeneralName] | None) -> frozenset[GeneralName]:
    return frozenset(
        (_DIRECTORY, canonical_name(name.value.public_bytes()))
        if isinstance(name, x509.DirectoryName)
        else (type(name).__name__, name.value)
        for name in names or ()
    )


def _relative(name: x509.RelativeDistinguishedName | None) -> CanonicalName:
    return () if name is None else canonical_name(x509.Name([name]).public_bytes())


def covered_reasons(
    certificate_issuer: CanonicalName,
    points: Iterable[DistributionPoint],
    crl_issuer: CanonicalName,
    scope: Scope,
    matching: IdpMatching,
) -> Reasons:
    """Return the reasons for which a CRL speaks of a certificate; none at all when it is another's.

    Besides its own points every certificate has the one that RFC 5280 section 6.3.3 assumes at its end: the issuer's
    name, for all reasons.
    """
    is_direct = crl_issuer == certificate_issuer
    implied = DistributionPoint(frozenset({(_DIRECTORY, certificate_issuer)}), (), ALL_REASONS, frozenset())
    covered: Reasons = frozenset()
    for point in (*points, implied):
        if point.crl_issuers:
            if crl_issuer not in point.crl_issuers or not scope.is_indirect:
                continue
        elif not is_direct:
            continue
        if _is_named(point, crl_issuer, scope) or (is_direct and matching is IdpMatching.TRUST_CONFIG):
            covered |= point.reasons & scope.reasons
    return covered


def _is_named(point: DistributionPoint, crl_issuer: CanonicalName, scope: Scope) -> bool:
    wanted = _with_relative(scope.names, scope.relative_name, crl_issuer)
    if not wanted:
        return True
    offered = _with_relative(point.names, point.relative_name, crl_issuer)
    return not wanted.isdisjoint(offered or {(_DIRECTORY, name) for name in point.crl_issuers})


def _with_relative(
    names: frozenset[GeneralName], relative_name: CanonicalName, crl_issuer: CanonicalName
) -> frozenset[GeneralName]:
    return names | {(_DIRECTORY, crl_issuer + relative_name)} if relative_name else names
