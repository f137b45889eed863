"""What is known of each certificate that a responder was asked about, and how the responders fare."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cachetools import LRUCache

from spoa.egress import Permit, read_target
from spoa.revocation.combine import State
from spoa.revocation.evidence import read_certificates
from spoa.revocation.status import Reason, Rules, Status

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Iterator, Sequence

    from spoa.egress import Target
    from spoa.ocsp_store import Responder
    from spoa.revocation.certificates import Certified
    from spoa.revocation.ocsp import OcspResponse
    from spoa.revocation.ocsp_memory import CertificateKey

__all__ = ["Failure", "Record", "Records", "Source", "state_for"]

_MAX_URLS: Final = 3  # of one certificate that are tried
_PATIENCE: Final = 2  # failures about one certificate that may be its responder's although others get answers


def state_for(reason: Reason) -> State:
    """Return the state of a source whose last question failed for this reason."""
    return {Reason.UNREACHABLE: State.UNREACHABLE, Reason.NOT_LOADED: State.NOT_LOADED}.get(reason, State.UNDETERMINED)


class Failure(NamedTuple):
    """Why there is no new answer.

    Attributes:
        reason, detail: in a word, and in a sentence.
        floor: seconds for which nobody is asked, at least.
        host: whose next answer to anybody ends that, since nobody got one; empty where it is about this certificate.
    """

    reason: Reason
    detail: str
    floor: float = 5.0
    host: str = ""


class Record:
    """What is known of one certificate."""

    __slots__ = (
        "der", "failing_since", "failure", "failures", "is_used", "issuer", "key", "look_at", "response", "status",
        "subject", "timer", "valid_from", "valid_until",
    )  # fmt: skip

    def __init__(self, key: CertificateKey, subject: Certified, issuer: Certified) -> None:
        self.key = key
        self.subject = subject
        self.issuer = issuer
        self.response: OcspResponse | None = None
        self.der: bytes | None = None
        self.status: Status | None = None
        self.valid_from = 0
        self.valid_until = 0
        self.failure: Failure | None = None
        self.failures = 0
        self.failing_since = 0.0
        self.look_at = 0
        self.is_used = True
        self.timer: asyncio.TimerHandle | None = None

    def state(self, now: float) -> State:
        """Return how it stands, for those who count."""
        if self.status is None:
            return State.NOT_LOADED if self.failure is None else state_for(self.failure.reason)
        is_over = self.status is not Status.REVOKED and now >= self.valid_until
        return State.STALE if is_over else State(self.status.value)

    def fail(self, failure: Failure, now: float) -> None:
        """Take it that there was no answer, once more."""
        if not self.failures:
            self.failing_since = now
        self.failures += 1
        self.failure = failure

    def drop(self) -> None:
        """Look no more."""
        if self.timer is not None:
            self.timer.cancel()


class Records(LRUCache[Any, Record]):
    """The records by their key; the one that was used the longest ago makes room, and is looked at no more."""

    def popitem(self) -> tuple[Any, Record]:
        """Take out the record that was used the longest ago."""
        key, record = super().popitem()
        record.drop()
        return key, record


class Source:
    """One issuer's responder, and how it fares."""

    def __init__(self, responder: Responder) -> None:
        self.responder = responder
        self.rules = Rules.from_mapping(responder.rules)
        self.pinned = read_certificates(base64.b64decode(one) for one in responder.pinned)
        self.permit = None if responder.url else Permit.of(responder.hosts)
        self.attempted = 0.0
        self.succeeded = 0.0
        self.has_kept = False  # an answer of an earlier run that counts
        self.failure: Failure | None = None  # since the last answer, about whatever certificate
        self.outage: Failure | None = None  # since the last answer, the responder's own

    def targets(self, certificate: Certified) -> list[Target]:
        """Return whom to ask about a certificate."""
        if self.permit is None:
            return [read_target(self.responder.url)]
        return list(_permitted(certificate.ocsp_urls[:_MAX_URLS], self.permit))

    @property
    def is_tried(self) -> bool:
        """Whether anything is known of how it fares: by a question of this run, or by what an earlier one kept."""
        return self.failure is not None or self.has_kept or self.succeeded > 0

    def succeed(self, now: float) -> None:
        """Take it that somebody got an answer."""
        self.succeeded, self.failure, self.outage = now, None, None

    def fail(self, record: Record, failure: Failure) -> None:
        """Take it that there was no answer about a certificate, which `record` has counted already.

        It is held against the responder where it concerns that, unless this certificate fails again and again while
        others get answers: some responders say by a status of HTTP that they don't know one.
        """
        self.failure = failure
        is_its_own = record.failures > _PATIENCE and record.failing_since < self.succeeded
        if failure.host and not is_its_own:
            self.outage = failure

    def blamed(self, failing: Sequence[Failure], known: int) -> Failure | None:
        """Return what is wrong with the responder; None where it is only with certificates, or nothing is.

        Args:
            failing: why there is no new answer about those certificates that have none.
            known: how many certificates it is asked about; if most of them fail, it is no matter of theirs.
        """
        if self.outage is None and 2 * len(failing) > known:
            return failing[-1]
        return self.outage or (None if self.succeeded or self.has_kept else self.failure)

    def state(self, failing: Sequence[Failure], known: int) -> tuple[State, str]:
        """Return what can be said of it at best, and why not more; arguments as for `blamed`."""
        blamed = self.blamed(failing, known)
        if blamed is not None:
            return state_for(blamed.reason), str(blamed.reason)
        return (State.GOOD, "ok") if self.is_tried else (State.NOT_LOADED, "not_asked")


def _permitted(urls: Iterable[str], permit: Permit) -> Iterator[Target]:
    for url in urls:
        try:
            target = read_target(url)
        except ValueError:
            continue  # whoever issued the certificate wrote it; it can't be asked
        if permit.allows(target):
            yield target
