"""Certificates that no revocation list names, and that lists can't tell apart, have one answer between them.

Theory: a list says two things of a certificate. Whether it is named, by its issuer and serial number, is looked up for
each. Whether the list's silence counts depends on who issued the certificate, where it says that its lists are, and
whether it is a CA's: on its *sort*, of which an issuer has one or a few. So one certificate of a sort is judged, and
the others are only looked up (RFC 5280 section 6.3.3).

That holds for certificates in date, whose own key signs no evidence, and where nothing but lists is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from spoa.cache import BoundedCache
from spoa.exceptions import CertificateError
from spoa.identity import parts_from_der
from spoa.issuers import canonical_issuer, canonical_name
from spoa.plainparts import plain_subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spoa.facts import Certificate
    from spoa.policy.model import Revocation
    from spoa.revocation.certificates import Certified
    from spoa.revocation.crl import Crl

__all__ = ["Sort", "Unlisted"]

T = TypeVar("T")

Sort: TypeAlias = tuple[bytes, bytes, bytes, bool]
"""Which CA certificate issued it, its issuer's name and distribution points as they stand, and whether it is a CA's."""

#: The type of cRLDistributionPoints, 2.5.29.31, as DER.
_DISTRIBUTION_POINTS: Final = b"\x06\x03\x55\x1d\x1f"
#: Sorts that are remembered, in half of a cache; an issuer has one, or one for each of its lists.
_SORTS: Final = 64


class Unlisted(Generic[T]):
    """The lists of one issuer, asked whether they name a certificate, and what was answered where they don't.

    Attributes:
        revocation: what the issuer says about it.
        answers: sort → since when the answer holds, seconds since the epoch, and the answer.
    """

    def __init__(self, revocation: Revocation, crls: Sequence[Crl], authorities: Iterable[Certified]) -> None:
        self.revocation: Final = revocation
        self.answers: Final[BoundedCache[Sort, tuple[int, T]]] = BoundedCache(_SORTS)
        self._is_for_lists: Final = revocation.crl is not None and revocation.ocsp is None and not revocation.is_chain
        self._crls: Final = crls
        self._signers: Final = frozenset(one.spki_sha256 for one in authorities)

    def sort_of(self, certificate: Certificate, der: bytes, authority: bytes, now: int) -> Sort | None:
        """Return the sort of a certificate that no list names; None for one that is to be judged for itself.

        Args:
            certificate: what `der` says.
            der: the certificate.
            authority: the CA certificate that issued it, as DER.
            now: seconds since the epoch.
        """
        if not self._is_for_lists or not certificate.not_before <= now <= certificate.not_after:
            return None
        serial = certificate.serial
        if not isinstance(serial, int) or certificate.spki_sha256 in self._signers:
            return None
        try:
            parts = parts_from_der(der)
            issuer = canonical_issuer(parts.issuer)
            if plain_subject(parts.subject) is None:
                canonical_name(parts.subject)  # a name that can't be folded makes a certificate that can't be judged
            points = parts.extension(_DISTRIBUTION_POINTS)
        except (CertificateError, ValueError):
            return None
        if any(crl.lookup(issuer, serial) is not None for crl in self._crls):
            return None
        return authority, parts.issuer, points, certificate.is_ca
