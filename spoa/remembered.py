"""What is remembered of a certificate, of an answer, and of who got it.

Trick: what each request looks at lies together, and what many share is one object: with thousands of clients, most of
what is not is in no cache of the processor. Benchmark: benchmarks/agent.py, the shapes of 50 connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spoa.authorizer import Judgement

if TYPE_CHECKING:
    from spoa.authorizer import Standing
    from spoa.facts import Request
    from spoa.policy.decision import Decision

__all__ = ["AllButPath", "Known", "Outcome", "Recalled"]

_DAY: Final = 86_400  # seconds


class Known:
    """A certificate that passes or fails its gates in the same way from `since` until before `until`.

    Attributes:
        der: the certificate.
        standing: what it amounts to.
        group, group_with_id: in the keys of all questions of certificates that no rule can tell apart, where no id was
            cut off, and where one was.
        days_left: the action that tells how long it is valid, and the number of days.
    """

    __slots__ = ("days", "days_left", "der", "group", "group_with_id", "since", "standing", "until")

    def __init__(self, standing: Standing, groups: tuple[bytes, bytes], days: int, days_left: bytes) -> None:
        self.der = standing.der
        self.standing = standing
        self.group, self.group_with_id = groups
        self.days = days
        self.days_left = days_left
        self.since = max(standing.since, standing.not_before, standing.not_after - (days + 1) * _DAY + 1)
        self.until = min(standing.not_after - days * _DAY + 1, standing.valid_until)

    def judgement(self, decision: Decision) -> Judgement:
        """Return what judging afresh would have returned, for the log."""
        judgement = Judgement(decision, self.standing)
        judgement.days_left = self.days
        judgement.revocation = self.standing.revocation if self.standing.reason is None else ""
        return judgement


class Outcome:
    """An answer but for the days left.

    Attributes:
        decision: shared by all requests with the same answer.
        actions: tell of it.
        tally: of the decision.
        is_allow: whether it is one.
    """

    __slots__ = ("actions", "decision", "is_allow", "tally")

    def __init__(self, decision: Decision, actions: bytes) -> None:
        self.decision = decision
        self.actions = actions
        self.tally = decision.tally
        self.is_allow = decision.verdict == "allow"


class Recalled:
    """An answer, and to what.

    Attributes:
        since, until, der: of the certificate, here once more.
        head: the message before the length of the certificate.
        said: the actions of the answer.
        outcome: the answer, but for the days left.
        has_id: the message goes on with an id.
        known: the certificate.
        request, judgement: what was asked, and what judging it afresh would have returned, as the log is told; None
            before it was.
    """

    __slots__ = ("der", "has_id", "head", "judgement", "known", "outcome", "request", "said", "since", "until")

    def __init__(self, known: Known, outcome: Outcome, head: bytes, *, has_id: bool) -> None:
        self.since = known.since  # in the order in which they are looked at
        self.until = known.until
        self.der = known.der
        self.head = head
        self.said = outcome.actions + known.days_left
        self.outcome = outcome
        self.has_id = has_id
        self.known = known
        self.request: Request | None = None
        self.judgement: Judgement | None = None

    def judged(self) -> Judgement:
        """Return what judging afresh would have returned, made once."""
        if self.judgement is None:
            self.judgement = self.known.judgement(self.outcome.decision)
        return self.judgement


class AllButPath:
    """A request of which only the path is left open; all that have the same conjunctions and identity are one.

    Attributes:
        holding: the conjunctions that hold as far as the path lets them.
        identity: the first named identity of the certificate.
        outcomes: what the path's own conjunctions led to.
        gate: what is answered whatever the path, as long as it is canonical.
    """

    __slots__ = ("gate", "holding", "identity", "outcomes")

    def __init__(self, holding: int, identity: str, gate: Outcome | None) -> None:
        self.holding = holding
        self.identity = identity
        self.outcomes: dict[int, Outcome] = {}
        self.gate = gate
