"""Several answers become one: those of CRLs and OCSP for one certificate, and those of a chain's certificates.

`any_revoked` and `whole_chain` answer what is the case. `verdict` answers what a policy makes of it: per source, an
outage or an *unknown* may be accepted, and such an acceptance is never silent.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.revocation.status import Reason, Result, Status, most_specific

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Combine", "Source", "SourceAnswer", "State", "Verdict", "any_revoked", "state_of", "verdict", "whole_chain"]


def any_revoked(crl: Result, ocsp: Result) -> Result:
    """Combine what the two say of one certificate: the first of revoked, unknown, good that either says.

    Otherwise it is undetermined, for the more specific of the two reasons.
    """
    for status in (Status.REVOKED, Status.UNKNOWN):
        for result in (crl, ocsp):
            if result.status is status:
                return result
    good = [result for result in (crl, ocsp) if result.status is Status.GOOD]
    if good:
        return max(good, key=lambda result: result.valid_until)
    return crl._replace(reason=most_specific(Reason(crl.reason), Reason(ocsp.reason)))


def whole_chain(results: Sequence[Result]) -> Result:
    """Combine the results of a chain, nearest first: revoked anywhere, else the first that is not good, else good."""
    revoked = next((result for result in results if result.status is Status.REVOKED), None)
    doubtful = next((result for result in results if result.status is not Status.GOOD), None)
    return (
        revoked
        or doubtful
        or results[0]._replace(
            valid_until=min(result.valid_until for result in results),
            is_late=any(result.is_late for result in results),
        )
    )


class State(enum.StrEnum):
    """What a source has to say, in the words of policies, logs and metrics."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    STALE = "stale"
    UNREACHABLE = "unreachable"
    NOT_LOADED = "not_loaded"
    UNDETERMINED = "undetermined"
    NOT_CHECKED = "not_checked"


class Source(enum.StrEnum):
    """Where revocation is asked; in the order in which `first_answer` asks."""

    OCSP = "ocsp"
    CRL = "crl"


class Combine(enum.StrEnum):
    """How the sources of one issuer become one verdict (`combine` in a policy)."""

    ANY_REVOKED = "any_revoked"
    FIRST_ANSWER = "first_answer"


_STATES: Final = {
    Reason.STALE: State.STALE,
    Reason.NOT_LOADED: State.NOT_LOADED,
    Reason.UNREACHABLE: State.UNREACHABLE,
}
_DECISIVE: Final = (State.REVOKED, State.UNKNOWN, State.GOOD)


def state_of(result: Result) -> State:
    """Return the state that a result is reported as."""
    if result.status is not Status.UNDETERMINED:
        return State(result.status.value)
    return _STATES.get(Reason(result.reason), State.UNDETERMINED)


class SourceAnswer(NamedTuple):
    """What one source says, and what the policy makes of it where it says too little.

    Attributes:
        allows_unknown: the source's `on_unknown` is `allow`.
        allows_failure: its `on_failure` is.
        is_late: it answered from evidence past its nextUpdate, within the grace that the policy gives.
    """

    source: Source
    state: State
    allows_unknown: bool = False
    allows_failure: bool = False
    is_late: bool = False


class Verdict(NamedTuple):
    """What a policy makes of the answers.

    Attributes:
        is_allowed: revocation does not stand in the way.
        state: the one to report.
        decided_by: the sources that the verdict rests on.
        soft_fails: those that gave no assurance and were let pass, to be counted and logged; empty on a deny.
        is_late: a source it rests on was past its nextUpdate.
    """

    is_allowed: bool
    state: State
    decided_by: tuple[Source, ...]
    soft_fails: tuple[Source, ...] = ()
    is_late: bool = False


def verdict(answers: Iterable[SourceAnswer], combine: Combine) -> Verdict:
    """Judge the answers of an issuer's sources for one certificate. Fails closed: no answers at all deny.

    `ANY_REVOKED`: a revocation denies; else an *unknown* goes by its own source's `on_unknown`, whatever the others
    say; else one *good* is enough; else every source must allow its failure. `FIRST_ANSWER`: OCSP, then CRL; the first
    *good*, *revoked* or *unknown* decides; else as before.
    """
    ordered = sorted(answers, key=lambda answer: list(Source).index(answer.source))
    speaking = [answer for answer in ordered if answer.state in _DECISIVE]
    if combine is Combine.FIRST_ANSWER:
        speaking = speaking[:1]
    for state in _DECISIVE:
        found = [answer for answer in speaking if answer.state is state]
        if found:
            return _decided(state, found)
    return _failed(ordered)


def _decided(state: State, found: Sequence[SourceAnswer]) -> Verdict:
    sources = tuple(answer.source for answer in found)
    if state is State.UNKNOWN:
        is_allowed = all(answer.allows_unknown for answer in found)
        return Verdict(is_allowed, state, sources, soft_fails=sources if is_allowed else ())
    # One source in time is enough for the answer not to be late.
    return Verdict(state is State.GOOD, state, sources, is_late=all(answer.is_late for answer in found))


def _failed(answers: Sequence[SourceAnswer]) -> Verdict:
    failing = [answer for answer in answers if not answer.allows_failure]
    blamed = (failing or list(answers))[:1]
    is_allowed = bool(answers) and not failing
    return Verdict(
        is_allowed,
        blamed[0].state if blamed else State.NOT_LOADED,
        tuple(answer.source for answer in blamed),
        soft_fails=tuple(answer.source for answer in answers) if is_allowed else (),
    )
