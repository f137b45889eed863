"""What is known of certificates by OCSP: the newest answer that counts, why there is none, and when to ask again.

An answer is replaced by a newer one, never by an outage: it is judged by its own dates as long as nothing better comes.
*Revoked* is sticky: no age takes it away, only an answer that its CA signed later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from spoa.cache import BoundedCache
from spoa.revocation.ocsp_judgement import OcspJudge
from spoa.revocation.status import Reason, Result, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spoa.revocation.certificates import Certified
    from spoa.revocation.ocsp import OcspResponse
    from spoa.revocation.status import Rules

__all__ = ["LONGEST_WAIT", "MAX_REFRESH", "CertificateKey", "Lesson", "OcspKnowledge", "OcspMemory", "Pupil"]

MAX_REFRESH: Final = 12 * 3600
"""Seconds after which an answer is asked for anew, however long it is said to hold."""

_MIN_REFRESH: Final = 5
_JITTER: Final = 0.1  # share of a period by which looks are spread, so that replicas don't march together
_UNKNOWN_REFRESH: Final = 300  # a certificate that its responder doesn't know yet may be known soon
_REMEMBERED: Final = 16384

LONGEST_WAIT: Final = int(MAX_REFRESH * (1 + _JITTER)) + 2
"""Seconds from any instant to one at which to ask again; where it is more, the clock has been wrong."""

#: The issuer, as the policy names it, and SHA-256 of the certificate.
CertificateKey: TypeAlias = tuple[str, bytes]


class OcspKnowledge(NamedTuple):
    """What is known of one certificate.

    Attributes:
        response: the newest answer that counts, or None.
        failure: why the last question brought none; None where it did.
        ask_again: the instant from which the responder is to be asked again if the certificate is still in use;
            seconds since the epoch.
    """

    response: OcspResponse | None = None
    failure: Reason | None = None
    ask_again: int = 0

    def is_due(self, now: int) -> bool:
        """Tell whether to ask again."""
        return not self.ask_again - LONGEST_WAIT <= now < self.ask_again


class OcspMemory:
    """What one worker knows, of some ten thousand certificates at most."""

    def __init__(self) -> None:
        self._known: BoundedCache[CertificateKey, OcspKnowledge] = BoundedCache(_REMEMBERED)

    def get(self, key: CertificateKey) -> OcspKnowledge | None:
        """Return what is known of a certificate, or None."""
        return self._known.get(key)

    def put(self, key: CertificateKey, knowledge: OcspKnowledge) -> None:
        """Remember it."""
        self._known.put(key, knowledge)

    def fail(self, key: CertificateKey, failure: Reason, ask_again: int) -> None:
        """Remember that no answer came; an older answer stays."""
        before = self.get(key) or OcspKnowledge()
        self.put(key, before._replace(failure=failure, ask_again=ask_again))

    def doubt(self) -> None:
        """Have everything asked for again when it is next in use: whom to ask, or how, may have changed."""
        fresh: BoundedCache[CertificateKey, OcspKnowledge] = BoundedCache(_REMEMBERED)
        for half in (self._known.older, self._known.younger):
            for key, knowledge in half.items():
                if knowledge.response is not None:
                    fresh.put(key, knowledge._replace(failure=None, ask_again=0))
        self._known = fresh

    def __len__(self) -> int:
        return len(self._known)


class Lesson(NamedTuple):
    """What is made of an answer that has come.

    Attributes:
        response: the one that counts from now on: the new one, the old one, or None.
        result: what that says at present.
        failure: why the new one doesn't count; None where it does.
    """

    response: OcspResponse | None
    result: Result
    failure: Reason | None


class Pupil(NamedTuple):
    """Takes in answers about one certificate, in the way that its issuer wants them.

    CRLs are not asked about a delegated responder here; whoever judges by what was learnt asks them.
    """

    subject: Certified
    issuer: Certified
    rules: Rules
    pinned: Sequence[Certified] = ()

    def result(self, response: OcspResponse | None, now: int, nonce: bytes | None = None) -> Result:
        """Return what a response says at `now`; `nonce` is what was sent for it, where that is to be checked."""
        judge = OcspJudge(
            () if response is None else (response,),
            extra=(),
            crl_status=_not_asked,
            now=now,
            rules=self.rules,
            nonce=nonce,
            pinned=self.pinned,
        )
        return judge.status(self.subject, self.issuer)

    def learn(self, before: OcspResponse | None, offered: OcspResponse, now: int, nonce: bytes | None = None) -> Lesson:
        """Return which of two responses counts: the newer one, and of *revoked* the sooner one only by a newer word."""
        new = self.result(offered, now, nonce)
        old = self.result(before, now)
        if new.status is Status.UNDETERMINED:
            return Lesson(before, old, Reason(new.reason))
        if before is not None and not self._supersedes(offered, new, before, old):
            return Lesson(before, old, Reason.ROLLBACK)
        return Lesson(offered, new, None)

    def _supersedes(self, offered: OcspResponse, new: Result, before: OcspResponse, old: Result) -> bool:
        since, known_since = self._dates(offered)[0], self._dates(before)[0]
        if old.status is Status.REVOKED:
            return new.status is not Status.UNKNOWN and since > known_since
        return new.status is Status.REVOKED or since >= known_since

    def refresh_at(self, response: OcspResponse, now: int, chance: float) -> int:
        """Return when to ask anew: after half of the time that the answer holds, give or take a tenth.

        `chance` lies between 0 and 1.
        """
        half, until = self._half(response)
        wait = half - now if half > now else (until - now) / 2
        wait = min(wait, self._ceiling(response, now))
        return now + max(_MIN_REFRESH, int(wait * (1 + _JITTER * (2 * chance - 1))))

    def since(self, response: OcspResponse) -> int:
        """Return the thisUpdate of an answer about this certificate."""
        return self._dates(response)[0]

    def is_due(self, response: OcspResponse, now: int) -> bool:
        """Tell of an answer that was learnt at some earlier time whether it is to be asked for anew by now."""
        half, _ = self._half(response)
        return now >= min(half, self._dates(response)[0] + self._ceiling(response, now))

    def _half(self, response: OcspResponse) -> tuple[float, int]:
        """Return when half of the time that an answer holds has passed, and when all of it."""
        this_update, next_update = self._dates(response)
        until = this_update + self.rules.max_age_without_next_update if next_update is None else next_update
        return (this_update + until) / 2, until

    def _ceiling(self, response: OcspResponse, now: int) -> int:
        is_unknown = self.result(response, now).status is Status.UNKNOWN
        return _UNKNOWN_REFRESH if is_unknown else MAX_REFRESH

    def _dates(self, response: OcspResponse) -> tuple[int, int | None]:
        singles = [single for single in response.singles if single.is_about(self.subject, self.issuer)]
        ends = [single.next_update for single in singles if single.next_update is not None]
        return max(single.this_update for single in singles), min(ends, default=None)


def _not_asked(subject: Certified, issuer: Certified) -> Result:
    del subject, issuer
    return Result(Status.UNDETERMINED, Reason.NOT_LOADED)
