"""Whose word counts: the path from a certificate to its anchor, and those of whoever else signs evidence.

HAProxy has verified a client's path; this is for the paths that it has not seen. Policies and name constraints are
not looked at: they limit for whom a CA may speak, and a signer of evidence speaks for itself.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

from spoa.revocation.certificates import Certified
from spoa.signatures import is_weak

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spoa.issuers import CanonicalName
    from spoa.revocation.status import Rules

__all__ = ["Authority", "Path", "Trust", "is_same_authority", "path_of"]

Path: TypeAlias = "tuple[Certified, ...]"
Authority: TypeAlias = "tuple[CanonicalName, bytes]"

_MAX_PATH: Final = 8


def path_of(
    certificate: Certified,
    issuers: Sequence[Certified],
    anchors: Sequence[Certified],
    now: int,
    is_issued: Callable[[Certified, Certified], bool] = Certified.is_issued_by,
) -> Path | None:
    """Return the certificate, its issuers and the anchor, or None unless each was issued by the next.

    `issuers` stand nearest first and may end with the anchor or below it. Fails closed: a CA that is not one, may not
    sign certificates or is out of date issued nothing. `is_issued` is for whoever knows already which key signed what,
    and would check each signature again.
    """
    path = [certificate]
    for issuer in issuers:
        same = [anchor for anchor in anchors if is_same_authority(anchor, issuer)]
        if same:
            anchors = same
            break
        path.append(issuer)
    # Several may be the same with other dates, when a CA was renewed.
    return next(((*path, anchor) for anchor in anchors if _is_linked([*path, anchor], now, is_issued)), None)


def is_same_authority(one: Certified, other: Certified) -> bool:
    """Tell whether two certificates are of one name and key, as those of a CA before and after its renewal are."""
    return (one.subject, one.spki_sha256) == (other.subject, other.spki_sha256)


def _is_linked(path: Sequence[Certified], now: int, is_issued: Callable[[Certified, Certified], bool]) -> bool:
    return all(
        _may_issue(issuer, now, is_anchor=issuer is path[-1]) and is_issued(certificate, issuer)
        for certificate, issuer in pairwise(path)
    )


def _may_issue(issuer: Certified, now: int, *, is_anchor: bool) -> bool:
    # A version 1 anchor can't say that it is a CA; the operator's file says it (RFC 5280 section 6.1.1 d).
    is_ca = issuer.is_ca or (is_anchor and not issuer.is_version_3)
    return is_ca and issuer.may_sign_certificates and issuer.is_valid_at(now) and not issuer.has_unknown_critical


class Trust:
    """Whom to believe about the certificates of one path, at one time."""

    def __init__(self, path: Path, extra: Sequence[Certified], now: int, rules: Rules) -> None:
        """Start from a path that `path_of` found; `extra` are certificates that may sign evidence, if they prove it."""
        self.path: Final = path
        # What the path says of a key stands: another certificate for it, be it signed by itself, can't say more.
        strangers = [one for one in extra if not any(is_same_authority(one, member) for member in path[1:])]
        by_fingerprint = {certificate.sha256: certificate for certificate in (*strangers, *path[1:])}
        self.candidates: Final = tuple(by_fingerprint.values())
        self._now: Final = now
        self._is_sha1_allowed: Final = now < rules.sha1_until
        self._paths: Final[dict[bytes, Path | None]] = {
            certificate.sha256: path[position:] for position, certificate in enumerate(path)
        }

    def is_on_path(self, certificate: Certified) -> bool:
        """Tell whether this is an issuer in the path itself."""
        return any(certificate.sha256 == member.sha256 for member in self.path[1:])

    def path_to_anchor(self, signer: Certified) -> Path | None:
        """Return the path of a signer of evidence, or None.

        It ends at the anchor of the certificate in question (RFC 5280 section 6.3.3 f), and each of its certificates
        is in date.
        """
        if signer.sha256 not in self._paths:
            self._paths[signer.sha256] = self._search((signer,)) if self._may_sign(signer) else None
        return self._paths[signer.sha256]

    def _may_sign(self, signer: Certified) -> bool:
        return signer.is_valid_at(self._now) and not signer.has_unknown_critical

    def _search(self, path: Path) -> Path | None:
        if is_same_authority(path[-1], self.path[-1]):
            return (*path[:-1], self.path[-1])
        for issuer in self.candidates:
            if issuer in path or len(path) >= _MAX_PATH:
                continue
            is_anchor = issuer is self.path[-1]
            if _may_issue(issuer, self._now, is_anchor=is_anchor) and self._is_issued(path[-1], issuer):
                found = self._search((*path, issuer))
                if found:
                    return found
        return None

    def _is_issued(self, certificate: Certified, issuer: Certified) -> bool:
        # Nobody but us looks at these certificates, so how they are signed is ours to judge too.
        algorithm = certificate.signature_algorithm
        if algorithm is None or is_weak(algorithm, is_sha1_allowed=self._is_sha1_allowed):
            return False
        return certificate.is_issued_by(issuer)

    def authority(self, certificate: Certified) -> Authority | None:
        """Return what makes two CA certificates those of one CA: its name, and the key that vouches for it.

        A CA may certify another key of its own; such self-issued certificates are seen through (RFC 5280 section
        3.2). A name alone makes nobody the same: two CAs may have one.
        """
        path = self.path_to_anchor(certificate)
        if path is None:
            return None
        base, above = path[0], path[0]
        for base, above in pairwise((*path, path[-1])):  # noqa: B007 - the last pair is what the loop looks for
            if not base.is_self_issued:
                break
        return base.subject, above.spki_sha256
