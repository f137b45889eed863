"""A certificate revocation list and what it says for itself (RFC 5280 section 5); whether that counts is not asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cryptography import x509

from spoa.issuers import canonical_name
from spoa.revocation.crl_index import CrlIndex, worst, write_index
from spoa.revocation.crl_scan import list_parts
from spoa.revocation.distribution import Scope, scope_from_extension
from spoa.revocation.parsing import parsing
from spoa.revocation.status import FOREVER, Reason
from spoa.signatures import algorithm_from_der, is_digest_signed, is_signed, is_weak

if TYPE_CHECKING:
    from spoa.issuers import CanonicalName
    from spoa.revocation.crl_index import CrlEntry
    from spoa.revocation.status import Rules
    from spoa.signatures import PublicKey, SignatureAlgorithm

__all__ = ["Crl", "Freshness", "Slot", "read_crl", "rollback"]

_KNOWN: Final = (
    x509.AuthorityInformationAccess,
    x509.AuthorityKeyIdentifier,
    x509.CRLNumber,
    x509.DeltaCRLIndicator,
    x509.FreshestCRL,
    x509.IssuerAlternativeName,
    x509.IssuingDistributionPoint,
)
Slot: TypeAlias = "tuple[CanonicalName, Scope, object]"
"""What a later CRL must share with an earlier one to take its place: issuer, scope and key identifier."""


class Freshness(NamedTuple):
    """Whether evidence still counts.

    Attributes:
        problem: why it doesn't; None when it does.
        valid_until: the instant from which it doesn't; seconds since the epoch.
        is_late: it is past its nextUpdate, and counts only by the grace that was configured.
    """

    problem: Reason | None
    valid_until: int = FOREVER
    is_late: bool = False


class Crl:
    """A CRL, complete or delta, over its index.

    Attributes:
        index: the entries.
        issuer: the name of who issued it, folded.
        this_update, next_update: seconds since the epoch; the latter may be missing.
        number: the cRLNumber, or None.
        base_number: of a delta CRL, the number of the CRL that it adds to; else None.
        scope: of which certificates it speaks.
        key_identifier: its authorityKeyIdentifier, to be compared only.
        algorithm: how it is signed, or None when that is not known here.
        is_version_1: it has no extensions, and so no number.
        problem: why it can't prove anything, whoever signed it; or None.

    Raises:
        ValueError: the index holds no CRL that can be read.
    """

    __slots__ = (
        "_issuer_numbers",
        "_verified",
        "algorithm",
        "base_number",
        "index",
        "is_version_1",
        "issuer",
        "key_identifier",
        "next_update",
        "number",
        "problem",
        "scope",
        "signature",
        "this_update",
    )

    def __init__(self, index: CrlIndex) -> None:
        self.index: Final = index
        parts = list_parts(index.skeleton)
        with parsing():
            crl = x509.load_der_x509_crl(index.skeleton)
            extensions = crl.extensions
        if len(extensions) and not parts.has_version:
            raise ValueError("extensions in a CRL of version 1")  # RFC 5280 section 5.1.2.1
        values = {type(item.value): item.value for item in extensions}
        number = values.get(x509.CRLNumber)
        base = values.get(x509.DeltaCRLIndicator)
        scope = values.get(x509.IssuingDistributionPoint)
        self.issuer: Final = canonical_name(parts.issuer)
        self.this_update: Final = int(crl.last_update_utc.timestamp())
        self.next_update: Final = None if crl.next_update_utc is None else int(crl.next_update_utc.timestamp())
        self.number: Final = number.crl_number if isinstance(number, x509.CRLNumber) else None
        self.base_number: Final = base.crl_number if isinstance(base, x509.DeltaCRLIndicator) else None
        self.scope: Final = scope_from_extension(scope) if isinstance(scope, x509.IssuingDistributionPoint) else Scope()
        self.key_identifier: Final[object] = values.get(x509.AuthorityKeyIdentifier)
        self.is_version_1: Final = not parts.has_version
        self.signature: Final = parts.signature
        self.algorithm: Final[SignatureAlgorithm | None] = _algorithm(parts.algorithm)
        self._issuer_numbers: Final = _issuer_numbers(self.issuer, index)
        self._verified: Final[dict[bytes, bool]] = {}
        self.problem: Final[Reason | None] = _problem(
            is_one_algorithm=parts.inner_algorithm == parts.algorithm,
            extensions=extensions,
            is_foreign=bool(index.issuers) and not self.scope.is_indirect,
        )

    @property
    def is_delta(self) -> bool:
        """It adds to another CRL, and says little alone (RFC 5280 section 5.2.4)."""
        return self.base_number is not None

    @property
    def slot(self) -> Slot:
        """See `Slot`."""
        return self.issuer, self.scope, self.key_identifier

    def is_signed_by(self, key: PublicKey, key_sha256: bytes) -> bool:
        """Tell whether `key` signed this; the answer is remembered by `key_sha256`."""
        known = self._verified.get(key_sha256)
        if known is None:
            known = self._verified[key_sha256] = self._is_signed_by(key)
        return known

    def _is_signed_by(self, key: PublicKey) -> bool:
        if self.algorithm is None:
            return False
        if self.algorithm.digest is None:
            return is_signed(key, self.algorithm, self.signature, self.index.message)
        return is_digest_signed(key, self.algorithm, self.signature, self.index.digest)

    def is_weak(self, now: int, rules: Rules) -> bool:
        """Tell whether the signature's algorithm is too weak to trust at `now`."""
        return self.algorithm is None or is_weak(self.algorithm, is_sha1_allowed=now < rules.sha1_until)

    def lookup(self, issuer: CanonicalName, serial: int) -> CrlEntry | None:
        """Return the entry of a certificate, given its issuer's name, folded, and its serial number."""
        found = (self.index.lookup(serial, number) for number in self._issuer_numbers.get(issuer, ()))
        return worst(entry for entry in found if entry is not None)

    def freshness(self, now: int, rules: Rules) -> Freshness:
        """Tell whether this CRL counts at `now`, seconds since the epoch."""
        if self.this_update > now + rules.skew:
            return Freshness(Reason.NOT_YET_VALID)
        if self.next_update is None:
            until = self.this_update + rules.crl_max_age_without_next_update
            return Freshness(None if now < until else Reason.NO_NEXT_UPDATE, until)
        if self.next_update <= self.this_update:
            return Freshness(Reason.STALE, self.next_update)
        until = self.next_update + rules.max_stale
        return Freshness(None if now < until else Reason.STALE, until, is_late=now >= self.next_update)


def read_crl(der: bytes) -> Crl:
    """Read a CRL in this process; for large ones see `write_index`.

    Raises:
        ValueError: it is none, or one of more than 256 MiB or six million entries.
    """
    return Crl(CrlIndex(write_index(der)))


def rollback(loaded: Crl, offered: Crl) -> Reason | None:
    """Return `ROLLBACK` when `offered` is older than the CRL `loaded` of the same slot, else None.

    By their numbers; where one has none, by thisUpdate.
    """
    if loaded.number is None or offered.number is None:
        return Reason.ROLLBACK if offered.this_update < loaded.this_update else None
    if offered.number == loaded.number:
        return Reason.ROLLBACK if offered.this_update < loaded.this_update else None
    return Reason.ROLLBACK if offered.number < loaded.number else None


def _algorithm(der: bytes) -> SignatureAlgorithm | None:
    try:
        return algorithm_from_der(der)
    except ValueError:
        return None


def _issuer_numbers(own: CanonicalName, index: CrlIndex) -> dict[CanonicalName, list[int]]:
    numbers = {own: [0]}
    for number, names in enumerate(index.issuers, start=1):
        for name in names:
            numbers.setdefault(canonical_name(name), []).append(number)
    return numbers


def _problem(*, is_one_algorithm: bool, extensions: x509.Extensions, is_foreign: bool) -> Reason | None:
    if not is_one_algorithm:  # RFC 5280 section 5.1.1.2
        return Reason.BAD_SIGNATURE
    for extension in extensions:
        if extension.critical and not isinstance(extension.value, _KNOWN):
            return Reason.UNKNOWN_CRITICAL
        # Section 5.2.3: "a non-critical CRL extension"; a critical one is not the number that we know.
        if extension.critical and isinstance(extension.value, x509.CRLNumber):
            return Reason.UNKNOWN_CRITICAL
    # Section 5.3.3 gives entries another issuer in indirect CRLs only.
    return Reason.UNSUPPORTED if is_foreign else None
