"""What CRLs say of a certificate (RFC 5280 section 6.3): whose count, in which scope, and together with their deltas.

Two principles decide where the RFC leaves a choice. A revocation, once signed by whoever may, stands: stale lists,
lists from the future and lists that could prove nothing else still revoke. And *good* needs more than silence: fresh
lists, understood as a whole, that together speak for every reason of revocation.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.revocation.distribution import ALL_REASONS, covered_reasons
from spoa.revocation.status import FOREVER, Depth, Reason, Result, Status, most_specific
from spoa.revocation.trust import is_same_authority

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spoa.revocation.certificates import Certified
    from spoa.revocation.crl import Crl, Freshness
    from spoa.revocation.crl_index import CrlEntry
    from spoa.revocation.distribution import Reasons
    from spoa.revocation.status import Rules
    from spoa.revocation.trust import Path, Trust

__all__ = ["CrlJudge", "fits"]

_HOLD: Final = "certificateHold"
_REMOVED: Final = "removeFromCRL"


class _Finding(NamedTuple):
    """One CRL that may speak for a certificate, and what it says.

    `problem` is why the list proves nothing by its silence, its dates aside.
    """

    crl: Crl
    reasons: Reasons
    entry: CrlEntry | None
    problem: Reason | None
    freshness: Freshness


class _View(NamedTuple):
    """A complete CRL as its newest fitting delta leaves it; `lifted_until` is how long that one lifts what it lists."""

    crl: Crl
    reasons: Reasons
    entry: CrlEntry | None
    number: int | None
    problem: Reason | None
    freshness: Freshness
    lifted_until: int = FOREVER


class CrlJudge:
    """Judges certificates by a set of CRLs at one time. Pure but for what the CRLs and `trust` remember."""

    def __init__(self, crls: Sequence[Crl], trust: Trust, now: int, rules: Rules, depth: Depth) -> None:
        self._crls: Final = crls
        self._trust: Final = trust
        self._now: Final = now
        self._rules: Final = rules
        self._depth: Final = depth
        self._signers: Final[dict[tuple[bytes, frozenset[bytes]], int | Reason]] = {}

    def status(self, subject: Certified, issuer: Certified, above: frozenset[bytes] = frozenset()) -> Result:
        """Return good, revoked or undetermined for a certificate that `issuer` is known to have issued.

        `above` are the keys whose own certificates are being judged already: none of them vouches for itself.
        """
        judged = above | {subject.spki_sha256}
        findings: list[_Finding] = []
        reasons: list[Reason] = []
        for crl in self._crls:
            finding = self._finding(crl, subject, issuer, judged)
            if isinstance(finding, Reason):
                reasons.append(finding)
            else:
                findings.append(finding)
        deltas = [finding for finding in findings if finding.crl.is_delta]
        views = [_view(finding, deltas) for finding in findings if not finding.crl.is_delta]
        revoked = _revocation(views, deltas)
        if not isinstance(revoked, int):
            return Result(Status.REVOKED, revoked.reason, is_on_hold=revoked.reason == _HOLD)
        good = _proven(views)
        if good is None:
            return _undetermined(views, deltas, reasons)
        return good._replace(valid_until=min(good.valid_until, revoked))

    def _finding(self, crl: Crl, subject: Certified, issuer: Certified, judged: frozenset[bytes]) -> _Finding | Reason:
        """Return what a CRL says, or why it says nothing; `NOT_LOADED` when it is a stranger's."""
        rules, is_direct = self._rules, crl.issuer == subject.issuer
        reasons = covered_reasons(subject.issuer, subject.points, crl.issuer, crl.scope, rules.idp)
        if not reasons or crl.scope.excludes(is_ca=subject.is_ca):
            return Reason.WRONG_SCOPE if is_direct else Reason.NOT_LOADED
        # Section 5.2: such a CRL must not be used at all, since what is not understood may change what entries mean.
        if crl.problem in {Reason.UNKNOWN_CRITICAL, Reason.BAD_SIGNATURE}:
            return crl.problem
        if crl.is_weak(self._now, rules):
            return Reason.WEAK_SIGNATURE
        until = self._signed_until(crl, issuer, judged, is_direct=is_direct)
        problem = self._problem(crl)
        if until is Reason.SIGNER_UNDETERMINED:
            # Nothing speaks against whoever signed it: what it lists is revoked, and its silence proves nothing.
            problem, until = until, FOREVER
        if isinstance(until, Reason):
            return until
        freshness = crl.freshness(self._now, rules)
        return _Finding(
            crl=crl,
            reasons=reasons,
            entry=crl.lookup(subject.issuer, subject.serial),
            problem=problem,
            freshness=freshness._replace(valid_until=min(freshness.valid_until, until)),
        )

    def _problem(self, crl: Crl) -> Reason | None:
        if crl.index.has_unknown_critical:  # section 5.3
            return Reason.UNKNOWN_CRITICAL
        if crl.number is None and not crl.is_version_1 and self._rules.is_number_required:
            return Reason.NUMBER_MISSING
        return crl.problem

    def _signed_until(self, crl: Crl, issuer: Certified, judged: frozenset[bytes], *, is_direct: bool) -> int | Reason:
        """Return until when somebody who may has signed the CRL, or why nobody did."""
        problems = [Reason.SIGNER_UNKNOWN]
        for signer in (issuer, *self._trust.candidates):
            if signer.subject != crl.issuer:
                continue
            if not crl.is_signed_by(signer.key, signer.spki_sha256):
                problems.append(Reason.BAD_SIGNATURE)
            elif not signer.may_sign_crls:  # section 6.3.3 f
                problems.append(Reason.CRL_SIGN_MISSING)
            else:
                until = self._believed_until(signer, crl, issuer, judged, is_direct=is_direct)
                if not isinstance(until, Reason):
                    return until
                problems.append(until)
        return most_specific(*problems)

    def _believed_until(
        self, signer: Certified, crl: Crl, issuer: Certified, judged: frozenset[bytes], *, is_direct: bool
    ) -> int | Reason:
        trust = self._trust
        if is_same_authority(signer, issuer):
            return FOREVER
        path = trust.path_to_anchor(signer)
        if path is None or (is_direct and trust.authority(signer) != trust.authority(issuer)):
            return Reason.SIGNER_NOT_TRUSTED
        if not judged.isdisjoint(member.spki_sha256 for member in path):
            is_its_own = _is_its_own_issuer(signer, crl, judged)
            return signer.not_after + 1 if is_its_own else Reason.SIGNER_UNDETERMINED
        if trust.is_on_path(signer):
            return FOREVER  # judged as part of the path, as deep as that is asked for
        known = signer.sha256, judged
        if known not in self._signers:
            self._signers[known] = self._good_until(path, judged)
        return self._signers[known]

    def _good_until(self, path: Path, judged: frozenset[bytes]) -> int | Reason:
        """Return until when a signer of evidence is good, and in a chain whoever vouches for it."""
        until = FOREVER
        for signer, issuer in pairwise(path):
            if self._trust.is_on_path(signer):
                break
            result = self.status(signer, issuer, judged)
            if result.status is not Status.GOOD:
                return Reason.SIGNER_REVOKED if result.status is Status.REVOKED else Reason.SIGNER_UNDETERMINED
            until = min(until, result.valid_until, signer.not_after + 1)
            if self._depth is Depth.LEAF:
                break
        return until


def _is_its_own_issuer(signer: Certified, crl: Crl, judged: frozenset[bytes]) -> bool:
    """Tell whether the signer's own certificate names it as the one to ask about that very certificate.

    Only then may it vouch for itself: its CA wanted it so, and nobody else has an answer.
    """
    return signer.spki_sha256 in judged and any(crl.issuer in point.crl_issuers for point in signer.points)


def _view(base: _Finding, deltas: Iterable[_Finding]) -> _View:
    fitting = [
        delta for delta in deltas if fits(delta.crl, base.crl) and not (delta.problem or delta.freshness.problem)
    ]
    newest = max(fitting, key=lambda delta: delta.crl.number or 0, default=None)
    problem, freshness = base.problem or base.freshness.problem, base.freshness
    if newest is None:
        return _View(base.crl, base.reasons, base.entry, base.crl.number, problem, freshness)
    if problem is Reason.STALE:
        problem = None  # section 5.2.4: base and delta together are as new as the delta
    entry, freshness = _updated(base.entry, newest.entry), newest.freshness
    lifted_until = freshness.valid_until if base.entry and entry is None else FOREVER
    return _View(base.crl, base.reasons, entry, newest.crl.number, problem, freshness, lifted_until)


def fits(delta: Crl, base: Crl) -> bool:
    """Tell whether a delta may be applied to a complete CRL (section 5.2.4 and 6.3.3 c)."""
    if delta.base_number is None or delta.number is None or base.number is None:
        return False
    return delta.slot == base.slot and delta.base_number <= base.number <= delta.number


def _updated(entry: CrlEntry | None, change: CrlEntry | None) -> CrlEntry | None:
    if change is None:
        return entry
    if change.reason != _REMOVED:
        return change
    # Only a hold can be lifted; any other revocation is for good.
    return None if entry is None or entry.reason == _HOLD else entry


def _revocation(views: Sequence[_View], deltas: Iterable[_Finding]) -> CrlEntry | int:
    """Return the entry that revokes, any but a hold first; without one, the instant until which none does."""
    standing = [
        view for view in views if view.entry is None and view.problem is None and view.freshness.problem is None
    ]

    def lifted_until(crl: Crl, entry: CrlEntry, number: int | None) -> int:
        # Of a complete list only a delta lifts it: whoever keeps lists keeps the newest, and who gives both means both.
        if not crl.is_delta or entry.reason != _HOLD or number is None:
            return 0
        lifting = (
            view.freshness.valid_until
            for view in standing
            if view.crl.slot == crl.slot and view.number is not None and view.number >= number
        )
        return max(lifting, default=0)

    listed = [(view.crl, view.entry, view.number) for view in views if view.entry is not None]
    listed += [
        (delta.crl, delta.entry, delta.crl.number)
        for delta in deltas
        if delta.entry is not None and delta.entry.reason != _REMOVED
    ]
    ends = [(lifted_until(*one), one[1]) for one in listed]
    revoking = [entry for until, entry in ends if not until]
    if revoking:
        return min(revoking, key=lambda entry: entry.reason == _HOLD)
    return min([FOREVER, *(end for end, _ in ends), *(view.lifted_until for view in views)])


def _proven(views: Iterable[_View]) -> Result | None:
    usable = [view for view in views if view.entry is None and view.problem is None]
    whole = [view for view in usable if view.reasons >= ALL_REASONS]
    chosen = [max(whole, key=lambda view: view.freshness.valid_until)] if whole else usable
    covered = frozenset().union(*(view.reasons for view in chosen))
    if not covered >= ALL_REASONS:
        return None
    return Result(
        Status.GOOD,
        Reason.OK,
        valid_until=min((view.freshness.valid_until for view in chosen), default=FOREVER),
        is_late=any(view.freshness.is_late for view in chosen),
    )


def _undetermined(views: Sequence[_View], deltas: Sequence[_Finding], reasons: Sequence[Reason]) -> Result:
    found = [view.problem or Reason.SOME_REASONS_ONLY for view in views] or [Reason.DELTA_WITHOUT_BASE] * bool(deltas)
    return Result(Status.UNDETERMINED, most_specific(*reasons, *found))
