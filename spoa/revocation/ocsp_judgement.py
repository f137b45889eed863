"""Whether an OCSP response is to be believed, and what it says of a certificate (RFC 6960 section 3.2).

The order of the tests is that of their cost and of their sense: what the response is about, when, who signed it, and
only then what it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.exceptions import CertificateError
from spoa.revocation.certificates import Certified
from spoa.revocation.crl import Freshness
from spoa.revocation.status import FOREVER, NonceMode, Reason, Result, Rules, Status, most_specific
from spoa.revocation.trust import is_same_authority
from spoa.signatures import SignatureAlgorithm, algorithm_from_der, is_signed, is_weak

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spoa.revocation.ocsp import OcspResponse, SingleResponse

__all__ = ["OcspJudge"]

_HOLD: Final = "certificateHold"
#: No CRL speaks for a delegated responder; other failures of CRLs are failures.
_NO_CRL: Final = frozenset({Reason.NOT_LOADED, Reason.WRONG_SCOPE})
#: Of several answers the first of these counts.
_WORST_FIRST: Final = (Status.REVOKED, Status.UNKNOWN, Status.GOOD)


class _Answer(NamedTuple):
    result: Result
    this_update: int = 0
    is_fresh: bool = False


class OcspJudge:
    """Judges certificates by OCSP responses at one time.

    Attributes of its making:
        responses: read ones, for whatever certificates.
        extra: certificates that a response may leave out; each has to qualify as if it were enclosed.
        pinned: responders that the operator named; they need no delegation.
        crl_status: what CRLs say of a delegated responder, given its issuer too.
        nonce: what was sent, or None.
    """

    def __init__(
        self,
        responses: Sequence[OcspResponse],
        *,
        extra: Sequence[Certified],
        crl_status: Callable[[Certified, Certified], Result],
        now: int,
        rules: Rules,
        nonce: bytes | None = None,
        pinned: Sequence[Certified] = (),
    ) -> None:
        self._responses: Final = responses
        self._extra: Final = extra
        self._pinned: Final = pinned
        self._crl_status: Final = crl_status
        self._now: Final = now
        self._rules: Final = rules
        self._nonce: Final = nonce

    def status(self, subject: Certified, issuer: Certified) -> Result:
        """Return good, revoked, unknown or undetermined: the worst of what the usable responses say."""
        answers = [self._answer(response, subject, issuer) for response in self._responses]
        good_since = max(
            (item.this_update for item in answers if item.is_fresh and item.result.status is Status.GOOD), default=0
        )
        # A hold ends when a newer answer says so; no other revocation does, however old the answer.
        held = [
            item for item in answers if item.result.is_on_hold and not item.is_fresh and item.this_update < good_since
        ]
        standing = [item.result for item in answers if item not in held]
        for status in _WORST_FIRST:
            found = [result for result in standing if result.status is status]
            if found:
                best = max(found, key=lambda result: result.valid_until)
                return best._replace(valid_until=min([best.valid_until, *_lifted_until(held, answers)]))
        reasons = (Reason(result.reason) for result in standing)
        return Result(Status.UNDETERMINED, most_specific(*reasons))

    def _answer(self, response: OcspResponse, subject: Certified, issuer: Certified) -> _Answer:
        if response.error:
            return _unusable(Reason.RESPONDER_ERROR)
        singles = [single for single in response.singles if single.is_about(subject, issuer)]
        if not singles:
            return _unusable(Reason.WRONG_CERTIFICATE)
        until = self._signed_until(response, issuer)
        problem = until if isinstance(until, Reason) else self._content_problem(response, singles)
        until = FOREVER if isinstance(until, Reason) else until
        answers = [self._single(single, problem, until) for single in singles]
        return min(answers, key=lambda item: _severity(item.result.status))

    def _single(self, single: SingleResponse, problem: Reason | None, until: int) -> _Answer:
        freshness = self._freshness(single)
        if problem in {None, Reason.SIGNER_UNDETERMINED} and single.status is Status.REVOKED:
            # As with CRLs: a revocation that was signed stands, whatever the dates, and while nothing speaks against
            # the signer.
            is_on_hold = single.reason == _HOLD
            result = Result(Status.REVOKED, single.reason, is_on_hold=is_on_hold)
            return _Answer(result, single.this_update, is_fresh=freshness.problem is None)
        trouble = freshness.problem or problem
        if trouble:
            return _unusable(trouble)
        reason = Reason.OK if single.status is Status.GOOD else Reason.RESPONDER_UNKNOWN
        result = Result(single.status, reason, valid_until=min(freshness.valid_until, until), is_late=freshness.is_late)
        return _Answer(result, single.this_update, is_fresh=True)

    def _freshness(self, single: SingleResponse) -> Freshness:
        # When it was signed (producedAt) is no criterion (section 3.2): it may have been long after thisUpdate.
        now, rules = self._now, self._rules
        if single.this_update > now + rules.skew:
            return Freshness(Reason.NOT_YET_VALID)
        if single.next_update is None:
            until = single.this_update + rules.max_age_without_next_update
            return Freshness(None if now < until else Reason.STALE, until)
        if single.next_update < single.this_update:
            return Freshness(Reason.STALE, single.next_update)
        until = single.next_update + rules.stale_grace
        return Freshness(None if now < until else Reason.STALE, until, is_late=now >= single.next_update)

    def _content_problem(self, response: OcspResponse, singles: Sequence[SingleResponse]) -> Reason | None:
        if response.has_unknown_critical or any(single.has_unknown_critical for single in singles):
            return Reason.UNKNOWN_CRITICAL
        if self._nonce is None or response.nonce == self._nonce:
            return None
        is_missing = response.nonce is None
        return None if is_missing and self._rules.nonce is NonceMode.SEND else Reason.NONCE_MISMATCH

    def _signed_until(self, response: OcspResponse, issuer: Certified) -> int | Reason:
        """Return until when the signer may answer for this issuer (section 4.2.2.2), or why nobody who may signed."""
        algorithm = _algorithm(response)
        if algorithm is None or self._is_weak(algorithm):
            return Reason.WEAK_SIGNATURE
        problems = [Reason.SIGNER_UNKNOWN]
        for signer in (issuer, *self._pinned, *_enclosed(response), *self._extra):
            if not response.is_from(signer):
                continue
            if not is_signed(signer.key, algorithm, response.signature, response.tbs):
                problems.append(Reason.BAD_SIGNATURE)
                continue
            until = self._believed_until(signer, issuer)
            if not isinstance(until, Reason):
                return until
            problems.append(until)
        return most_specific(*problems)

    def _believed_until(self, signer: Certified, issuer: Certified) -> int | Reason:
        if is_same_authority(signer, issuer):
            return FOREVER
        if not signer.is_valid_at(self._now):
            return Reason.SIGNER_NOT_TRUSTED
        if any(signer.sha256 == pinned.sha256 for pinned in self._pinned):
            return signer.not_after + 1
        # Any certificate of the CA would otherwise vouch for itself: the purpose must be named, and by this very CA.
        if not (signer.may_answer_ocsp and signer.may_sign_data) or signer.has_unknown_critical:
            return Reason.RESPONDER_NOT_AUTHORIZED
        if signer.signature_algorithm is None or self._is_weak(signer.signature_algorithm):
            return Reason.WEAK_SIGNATURE
        if not signer.is_issued_by(issuer):
            return Reason.RESPONDER_NOT_AUTHORIZED
        good_until = FOREVER if signer.has_nocheck else self._good_until(signer, issuer)
        return good_until if isinstance(good_until, Reason) else min(good_until, signer.not_after + 1)

    def _good_until(self, signer: Certified, issuer: Certified) -> int | Reason:
        result = self._crl_status(signer, issuer)
        if result.status is Status.GOOD:
            return result.valid_until
        if result.status is Status.REVOKED:
            return Reason.SIGNER_REVOKED
        is_nobody_asked = result.reason in _NO_CRL and not self._rules.is_nocheck_required
        return FOREVER if is_nobody_asked else Reason.SIGNER_UNDETERMINED

    def _is_weak(self, algorithm: SignatureAlgorithm) -> bool:
        return is_weak(algorithm, is_sha1_allowed=self._now < self._rules.sha1_until)


def _lifted_until(held: Sequence[_Answer], answers: Sequence[_Answer]) -> list[int]:
    """Return how long each hold is lifted by newer answers."""
    good = [item for item in answers if item.is_fresh and item.result.status is Status.GOOD]
    return [max(item.result.valid_until for item in good if item.this_update > one.this_update) for one in held]


def _unusable(reason: Reason) -> _Answer:
    return _Answer(Result(Status.UNDETERMINED, reason))


def _severity(status: Status) -> int:
    # Within one response: an answer that can't be used among the matching ones outweighs one that is good.
    return (Status.REVOKED, Status.UNKNOWN, Status.UNDETERMINED, Status.GOOD).index(status)


def _algorithm(response: OcspResponse) -> SignatureAlgorithm | None:
    try:
        return algorithm_from_der(response.algorithm)
    except ValueError:
        return None


def _enclosed(response: OcspResponse) -> list[Certified]:
    found: list[Certified] = []
    for der in response.certificates[:_MAX_ENCLOSED]:
        try:
            found.append(Certified.from_der(der))
        except CertificateError:
            continue  # it can't be the one we need, if it can't be read
    return found


_MAX_ENCLOSED: Final = 8
