"""What the sources of revocation may come to, for an issuer as several policies know it.

Mostly all sources say the same, which policy tests can state. Two policies may also differ where an issuer's two
sources don't agree, and in what they count as evidence at all: a list that is a day old is stale under one policy and
good under another. So a circumstance is a state for each policy, as `assurance.denial_for` takes it.
"""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.assurance import denial_for, disagreeing
from spoa.policy.casegrammar import REVOCATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from spoa.policy.model import Issuer, Reason, Revocation

__all__ = ["Circumstance", "circumstances", "moved_sources"]

_GOOD: Final = REVOCATIONS[0]
#: Seconds that an OCSP answer without nextUpdate counts where nothing is said.
_AGE: Final = 3600


class Circumstance(NamedTuple):
    """What is said of a certificate.

    Attributes:
        states: for each policy.
        signers: whose certificates it can be said of; empty for all.
        note: why no policy test can state it; empty where one can.
    """

    states: tuple[str, ...]
    signers: frozenset[int] = frozenset()
    note: str = ""

    @property
    def is_good(self) -> bool:
        """It is what a test states that says nothing."""
        return not self.note and self.states[0] == _GOOD


def circumstances(signers: Sequence[Sequence[Issuer | None]]) -> list[Circumstance]:
    """Return the circumstances by which policies may differ, the plainest first.

    Args:
        signers: the issuer as each policy knows it, for all who may have signed a certificate.
    """
    sides = len(signers[0])
    good = Circumstance((_GOOD,) * sides)
    differing = [
        number for number, several in enumerate(signers) if len({one.revocation for one in several if one}) > 1
    ]
    if not differing:
        return [good]
    found = [good, *(Circumstance((state,) * sides) for state in REVOCATIONS[1:])]
    seen = {_told(one, signers, differing) for one in found}
    for one in _further(signers, differing):
        told = _told(one, signers, differing)
        if told not in seen and any(len({denial is None for denial in denials}) > 1 for denials in told):
            seen.add(told)
            found.append(one)
    return found


def _told(
    one: Circumstance, signers: Sequence[Sequence[Issuer | None]], differing: Sequence[int]
) -> tuple[tuple[Reason | None, ...], ...]:
    """Return why each policy denies, for each signer by whom they differ."""
    return tuple(
        tuple(
            None
            if issuer is None or (one.signers and number not in one.signers)
            else denial_for(issuer.revocation, state)
            for issuer, state in zip(signers[number], one.states, strict=True)
        )
        for number in differing
    )


def _further(signers: Sequence[Sequence[Issuer | None]], differing: Sequence[int]) -> Iterator[Circumstance]:
    sides = len(signers[0])
    if any(one and one.revocation.ocsp and one.revocation.crl for number in differing for one in signers[number]):
        for ocsp, crl in permutations(REVOCATIONS, 2):
            note = f"OCSP says {ocsp} and the revocation lists {crl}, which no test can state"
            yield Circumstance((disagreeing(ocsp, crl),) * sides, note=note)
    for number in differing:
        old, new = signers[number] if sides == 2 else (None, None)  # noqa: PLR2004 -- an old and a new one
        if old and new:
            only = frozenset({number})
            for state, why in _looser(old.revocation, new.revocation):
                yield Circumstance((state, _GOOD), only, f"{why} now, which no test can state")
            for state, why in _looser(new.revocation, old.revocation):
                yield Circumstance((_GOOD, state), only, f"{why} no longer, which no test can state")


#: State that one policy takes a certificate to be in which is good to another → when, and as what it can be put.
_LOOSER: Final[Sequence[tuple[str, Callable[[Revocation, Revocation], object], str]]] = (
    ("revoked", lambda a, b: a.is_checked and not b.is_checked, "a revoked certificate passes, since nobody looks,"),
    ("revoked", lambda a, b: b.is_checked and a.ocsp and not b.ocsp, "what OCSP alone calls revoked passes"),
    ("revoked", lambda a, b: b.is_checked and a.crl and not b.crl, "what lists alone call revoked passes"),
    ("revoked", lambda a, b: b.crl and _places(b) < _places(a), "what a list that is left out calls revoked passes"),
    ("revoked", lambda a, b: b.is_checked and a.is_chain and not b.is_chain, "the CAs above are not looked at"),
    ("stale", lambda a, b: a.crl and b.crl and a.crl.max_stale < b.crl.max_stale, "an older list counts"),
    ("stale", lambda a, b: a.ocsp and b.ocsp and a.ocsp.stale_grace < b.ocsp.stale_grace, "an older answer counts"),
    (
        "undetermined",
        lambda a, b: a.crl and b.crl and b.crl.trusts_configuration and not a.crl.trusts_configuration,
        "a list with another distribution point counts",
    ),
    (
        "undetermined",
        lambda a, b: a.ocsp and b.ocsp and a.ocsp.nonce == "require" != b.ocsp.nonce,
        "an answer without nonce counts",
    ),
    (
        "undetermined",
        lambda a, b: a.is_checked and b.is_checked and b.allows_sha1 and not a.allows_sha1,
        "evidence signed with SHA-1 counts",
    ),
    (
        "undetermined",
        lambda a, b: a.crl and b.crl and b.accepts_rollback and not a.accepts_rollback,
        "a list with a lower number than the last counts",
    ),
    (
        "undetermined",
        lambda a, b: a.is_checked and b.is_checked and _is_kept_longer(a, b),
        "older evidence without nextUpdate counts",
    ),
)


def _looser(strict: Revocation, loose: Revocation) -> Iterator[tuple[str, str]]:
    for state, holds, why in _LOOSER:
        if holds(strict, loose):
            yield state, why


def _places(one: Revocation) -> frozenset[str]:
    return frozenset() if one.crl is None else frozenset((*one.crl.files, *one.crl.urls))


def _is_kept_longer(one: Revocation, other: Revocation) -> bool:
    mine, theirs = one.max_age_without_next_update, other.max_age_without_next_update
    # Lists need a nextUpdate where nothing is said, and OCSP answers have an hour.
    return (_AGE if mine is None else mine) < (_AGE if theirs is None else theirs) or (
        mine is None and theirs is not None and one.crl is not None
    )


def moved_sources(old: Iterable[Issuer], new: Iterable[Issuer]) -> Iterator[str]:
    """Yield in words which issuers' sources are others now, so that what they say may be something else."""
    before = {issuer.name: issuer.revocation for issuer in old}
    for issuer in new:
        was, now = before.get(issuer.name), issuer.revocation
        if was is None:
            continue
        gone, come = _places(was) - _places(now), _places(now) - _places(was)
        if come:
            where = f"{', '.join(sorted(come))}" + (f" instead of {', '.join(sorted(gone))}" if gone else " as well")
            yield f"revocation lists of {issuer.name} are read from {where}; what they say may be something else"
        if was.ocsp and now.ocsp and _asked(was) != _asked(now):
            yield f"other OCSP responders are asked about {issuer.name}; what they say may be something else"


def _asked(one: Revocation) -> tuple[object, ...]:
    assert one.ocsp is not None
    return one.ocsp.responder, frozenset(one.ocsp.aia_hosts), frozenset(one.ocsp.pinned)
