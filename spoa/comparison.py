"""What a candidate policy would have answered, beside what the active one did: for live traffic before a change.

The candidate judges with the same facts: clock, open switches, and what is known about revocation. So a difference is
one of the policies. Nothing here can change an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.assurance import NOT_CHECKED

if TYPE_CHECKING:
    from collections.abc import Callable

    from spoa.authorizer import Judgement, Policy
    from spoa.facts import Request

__all__ = ["CHANGES", "Comparison", "Comparisons", "Difference"]

SAME: Final = "same"
#: How an answer may differ, the weightiest first; `same` stands beside them in counts.
CHANGES: Final = ("newly_allowed", "newly_denied", "other_route", "other_reason")
_GOOD: Final = "good"
_FAILED: Final = ("failed", "", "")  # the count of comparisons that raised


class Difference(NamedTuple):
    """How a candidate's answer differs.

    Attributes:
        change: one of `CHANGES`.
        verdict, reason, rule, route: what the candidate would have answered.
    """

    change: str
    verdict: str
    reason: str
    rule: str
    route: str


class Comparison:
    """Judges requests under a candidate as well.

    Attributes:
        candidate: the policy.
        counts: (change, the active policy's rule, the candidate's rule) → requests.
    """

    def __init__(self, candidate: Policy) -> None:
        self.candidate: Final = candidate
        self.counts: Final[dict[tuple[str, str, str], int]] = {}

    def compare(self, request: Request, now: float, judgement: Judgement, active: Policy) -> Difference | None:
        """Return how the candidate's answer to a request differs from the one that was given, or None; and count."""
        candidate = self.candidate
        candidate.clock_usable = active.clock_usable
        revocation = judgement.revocation if judgement.revocation not in {"", NOT_CHECKED} else _GOOD
        theirs = candidate.judge(request, now, revocation=revocation, switches=active.switches).decision
        ours = judgement.decision
        change = SAME
        if theirs.verdict != ours.verdict:
            change = "newly_allowed" if theirs.verdict == "allow" else "newly_denied"
        elif theirs.route != ours.route:
            change = "other_route"
        elif (theirs.status, theirs.reason) != (ours.status, ours.reason):
            change = "other_reason"
        key = (change, ours.rule, theirs.rule) if change != SAME else (SAME, "", "")
        self.counts[key] = self.counts.get(key, 0) + 1
        if change == SAME:
            return None
        return Difference(change, theirs.verdict, theirs.reason, theirs.rule, theirs.route)

    def take_note(
        self, request: Request, now: float, judgement: Judgement, active: Policy, report: Callable[..., object]
    ) -> None:
        """Have a judgement tell how the candidate's differs; one that can't be had is counted and reported."""
        try:
            judgement.difference = self.compare(request, now, judgement, active)
        except Exception as error:  # noqa: BLE001 -- a defect in judging the candidate is no reason to deny
            self.counts[_FAILED] = self.counts.get(_FAILED, 0) + 1
            report("a request could not be judged under the candidate", exc_info=error)


class Comparisons:
    """One comparison after the other, and what all of them have counted.

    Attributes:
        now: the one that requests are judged in, or None.
    """

    def __init__(self) -> None:
        self.now: Comparison | None = None
        self._before: dict[tuple[str, str, str], int] = {}

    def begin(self, candidate: Policy | None) -> Policy | None:
        """Compare with another candidate from now on, or with none; return the one before."""
        before, self._before = self.now, self.counts()
        self.now = None if candidate is None else Comparison(candidate)
        return None if before is None else before.candidate

    def counts(self) -> dict[tuple[str, str, str], int]:
        """Return how the answers of all candidates so far compared, as a `Comparison` has it."""
        found = dict(self._before)
        for key, count in ({} if self.now is None else self.now.counts).items():
            found[key] = found.get(key, 0) + count
        return found
