"""What an issuer's sources of revocation assure about a certificate, and what its policy makes of that.

The evidence is loaded elsewhere and never changes here: other evidence makes another `Assurance`. Fails closed: without
evidence, and with evidence that does not speak of the certificate, the answer is one of the failures, which pass only
where the issuer's `on_failure` lets them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.exceptions import CertificateError
from spoa.listindex import NEVER
from spoa.policy.gates import REVOCATION_REASONS
from spoa.revocation.certificates import Certified
from spoa.revocation.check import judge
from spoa.revocation.combine import Combine, Source, SourceAnswer, State, Verdict, state_of, verdict
from spoa.revocation.evidence import Evidence, read_certificates
from spoa.revocation.ocsp_memory import OcspKnowledge, OcspMemory
from spoa.revocation.status import (
    FOREVER,
    Depth,
    IdpMatching,
    NonceMode,
    Reason,
    Result,
    Rules,
    Status,
    most_specific,
)
from spoa.revocation.trust import is_same_authority, path_of
from spoa.unlisted import Unlisted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from spoa.facts import Certificate
    from spoa.issuers import Issuers
    from spoa.policy.model import Issuer, Revocation
    from spoa.policy.model import Reason as Denial
    from spoa.revocation.check import Answers
    from spoa.revocation.crl import Crl
    from spoa.revocation.ocsp_memory import CertificateKey
    from spoa.revocation.trust import Path

__all__ = ["NOT_CHECKED", "Assurance", "Assured", "Authorities", "Question", "denial_for", "disagreeing", "rules_of"]

#: Revocation state of certificates whose issuer says `none`.
NOT_CHECKED: Final = "not_checked"
#: Seconds after which a failure is judged again: time alone may end it.
_PATIENCE: Final = 60
_MAX_ABOVE: Final = 8
#: Between what OCSP and what lists say, where they don't agree.
_DISAGREE: Final = "/"


class Question(NamedTuple):
    """A certificate that a responder is to be asked about.

    Attributes:
        key: of the certificate.
        certificate: as DER.
        authority: the CA certificate that issued it, as DER.
        is_urgent: without an answer nothing can be said that counts; a request may wait for it.
    """

    key: CertificateKey
    certificate: bytes
    authority: bytes
    is_urgent: bool


class Assured(NamedTuple):
    """What the sources say of one certificate.

    Attributes:
        state: the one to report.
        denial: why the request is denied; None where it isn't.
        detail: the reason of the state, as `spoa.revocation` names it; for a revoked certificate the CA's.
        valid_until: the answer holds before this instant, seconds since the epoch.
        soft_fails: the sources that gave no assurance and were let pass.
        questions: what to ask for a better answer, or before this one ends.
    """

    state: str
    denial: Denial | None
    detail: str
    valid_until: int
    soft_fails: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()


def rules_of(revocation: Revocation) -> Rules:
    """Return how evidence is judged where an issuer says this about revocation."""
    rules = Rules()
    if revocation.crl is not None:
        matching = IdpMatching.TRUST_CONFIG if revocation.crl.trusts_configuration else IdpMatching.STRICT
        rules = rules._replace(max_stale=revocation.crl.max_stale, idp=matching)
    if revocation.ocsp is not None:
        nonce = NonceMode.REQUIRE if revocation.ocsp.nonce == NonceMode.REQUIRE else NonceMode.SEND
        rules = rules._replace(stale_grace=revocation.ocsp.stale_grace, nonce=nonce)
    if revocation.allows_sha1:
        rules = rules._replace(sha1_until=FOREVER)
    age = revocation.max_age_without_next_update
    if age is not None:
        rules = rules._replace(max_age_without_next_update=age, crl_max_age_without_next_update=age)
    return rules


def denial_for(revocation: Revocation, state: str) -> Denial | None:
    """Return why a certificate is denied of which every source of its issuer says the same; None where it isn't.

    Revoked denies also where nothing is checked. Sources may also disagree, see `disagreeing`.
    """
    by_ocsp, _, by_crl = state.partition(_DISAGREE)
    if state == State.REVOKED or not revocation.is_checked:
        return REVOCATION_REASONS[state] if state == State.REVOKED else None
    said = {Source.OCSP: State(by_ocsp), Source.CRL: State(by_crl or by_ocsp)}
    answers = [_answer(source, revocation, said[source]) for source in _sources(revocation)]
    found = verdict(answers, Combine(revocation.combine))
    return None if found.is_allowed else REVOCATION_REASONS[found.state]


def disagreeing(by_ocsp: str, by_crl: str) -> str:
    """Return as one state for `denial_for` what OCSP says and what the revocation lists do."""
    return f"{by_ocsp}{_DISAGREE}{by_crl}"


def _sources(revocation: Revocation) -> Iterator[Source]:
    if revocation.ocsp is not None:
        yield Source.OCSP
    if revocation.crl is not None:
        yield Source.CRL


def _answer(source: Source, revocation: Revocation, state: State, *, is_late: bool = False) -> SourceAnswer:
    modes = revocation.crl if source is Source.CRL else revocation.ocsp
    assert modes is not None
    return SourceAnswer(
        source,
        state,
        allows_unknown=modes.allows_unknown,
        allows_failure=modes.allows_failure,
        is_late=is_late,
    )


class Authorities:
    """The CA certificates of a policy as revocation sees them, and the way up from each."""

    def __init__(self, issuers: Issuers) -> None:
        self._own = {name: read_certificates(issuers.certificates(name)) for name in issuers.names}
        self._parents: dict[bytes, tuple[Certified, ...]] = {}
        self._signers: dict[str, tuple[Certified, ...]] = {}
        self.all: Final = tuple(certified for own in self._own.values() for certified in own)
        self._by_der = {certified.der: certified for certified in self.all}

    def __contains__(self, der: object) -> bool:
        return der in self._by_der

    def of(self, issuer: str) -> tuple[Certified, ...]:
        """Return an issuer's own CA certificates and those that stand above them: who may sign evidence for it."""
        known = self._signers.get(issuer)
        if known is None:
            found = list(self._own.get(issuer, ()))
            for one in found:
                found += [parent for parent in self._parents_of(one) if parent not in found]
            known = self._signers[issuer] = tuple(found)
        return known

    def _parents_of(self, one: Certified) -> tuple[Certified, ...]:
        """Return the CA certificates that the policy names whose key signed this one."""
        known = self._parents.get(one.sha256)
        if known is None:
            above = () if one.is_self_issued else self.all
            known = self._parents[one.sha256] = tuple(other for other in above if one.is_issued_by(other))
        return known

    def path(self, certificate: Certified, authority: bytes, now: int) -> Path | None:
        """Return the path from a certificate over the CA certificate (DER) that issued it to the topmost one named.

        That it did is for the caller to know: its signature isn't checked again. Of certificates for one CA and key, as
        its renewal leaves them, one in date is taken.
        """
        named = self._by_der.get(authority)
        if named is None:
            return None
        above = [_likeliest([named, *(one for one in self.all if is_same_authority(one, named))], now)]
        while len(above) < _MAX_ABOVE:
            parents = [one for one in self._parents_of(above[-1]) if one not in above]
            if not parents:
                break
            above.append(_likeliest(parents, now))

        def is_issued(one: Certified, issuer: Certified) -> bool:
            return is_same_authority(issuer, named) if one is certificate else issuer in self._parents_of(one)

        return path_of(certificate, above, above[-1:], now, is_issued)


def _likeliest(candidates: Sequence[Certified], now: int) -> Certified:
    return min(candidates, key=lambda one: (not one.is_valid_at(now), not one.may_sign_crls))


class _Member(NamedTuple):
    """One certificate of the path, and what is made of the answers about it."""

    verdict: Verdict
    results: Mapping[Source, Result]

    @property
    def is_doubtful(self) -> bool:
        """OCSP says nothing about it."""
        return _is_doubtful(self.results[Source.OCSP])


class Assurance:
    """The evidence of all issuers, and the judgement by it.

    Attributes:
        authorities: of the policy that this is for.
        crls: issuer → its revocation lists.
        outages: issuer → why it has none.
        memory: what is known by OCSP; others may put more into it at any time, and say so to whoever remembers answers.
    """

    def __init__(
        self,
        authorities: Authorities,
        crls: Mapping[str, tuple[Crl, ...]] | None = None,
        outages: Mapping[str, Reason] | None = None,
        memory: OcspMemory | None = None,
    ) -> None:
        self.authorities: Final = authorities
        self.crls: Final = crls or {}
        self.outages: Final = outages or {}
        self.memory: Final = OcspMemory() if memory is None else memory
        self._unlisted: Final[dict[str, Unlisted[Assured]]] = {}

    def of(
        self, der: bytes, authority: bytes, issuer: Issuer, now: int, certificate: Certificate | None = None
    ) -> Assured | None:
        """Judge a certificate that `authority` (DER) has signed, as is known; None where its issuer checks nothing.

        Costs some 0.1 ms, or a fifth of it where one like it was judged before; the caller remembers the answer.

        Args:
            der: the certificate.
            authority: the CA certificate whose key signed it.
            issuer: the policy's, with what it says about revocation.
            now: seconds since the epoch.
            certificate: what `der` says, where the caller knows; without it nothing is shared.
        """
        if not issuer.revocation.is_checked:
            return None
        if certificate is None:
            return self._judged(der, authority, issuer, now)
        # Trick: whom no list names is judged by whoever is alike. Benchmark: benchmarks/hotpath.py, certificates never
        # seen. Only what is good is shared: that ends at an instant, and failures some while after each was judged.
        unlisted = self._lists_of(issuer)
        sort = unlisted.sort_of(certificate, der, authority, now)
        since, known = (sort and unlisted.answers.get(sort)) or (0, None)
        ends = certificate.not_after + 1
        if known is not None and since <= now < known.valid_until:
            return known if known.valid_until <= ends else known._replace(valid_until=ends)
        found = self._judged(der, authority, issuer, now)
        if sort is not None and found.state == State.GOOD and found.valid_until < ends:
            unlisted.answers.put(sort, (now, found))
        return found

    def _lists_of(self, issuer: Issuer) -> Unlisted[Assured]:
        known = self._unlisted.get(issuer.name)
        if known is None or known.revocation is not issuer.revocation:
            known = Unlisted(issuer.revocation, self.crls.get(issuer.name, ()), self.authorities.all)
            self._unlisted[issuer.name] = known
        return known

    def _judged(self, der: bytes, authority: bytes, issuer: Issuer, now: int) -> Assured:
        path = self._path(der, authority, issuer, now)
        if isinstance(path, Reason):
            revoked = self._revoked_before(der, authority, issuer, now)
            return revoked or self._undetermined(issuer.revocation, path, now)
        return self._of_path(path, issuer, now)

    def _revoked_before(self, der: bytes, authority: bytes, issuer: Issuer, now: int) -> Assured | None:
        """Return that a certificate is revoked by what CAs have signed that are out of date by now, or None.

        They assure nothing any more, which a policy may let pass; but revoked is for good.
        """
        for then in sorted({one.not_after for one in self.authorities.all if one.not_after < now}, reverse=True):
            path = self._path(der, authority, issuer, then)
            if not isinstance(path, Reason):
                found = self._of_path(path, issuer, now)
                return found if found.state == State.REVOKED else None
        return None

    def _of_path(self, path: Path, issuer: Issuer, now: int) -> Assured:
        asked = tuple(pairwise(path if issuer.revocation.is_chain else path[:2]))
        known = [self.memory.get((issuer.name, subject.sha256)) for subject, _ in asked]
        members = self._members(path, issuer, known, now)
        decisive = _decisive(members)
        found = decisive.verdict
        questions: tuple[Question, ...] = ()
        if issuer.revocation.ocsp is not None and (found.state is not State.REVOKED or Source.OCSP in found.decided_by):
            questions = tuple(
                Question((issuer.name, subject.sha256), subject.der, above.der, member.is_doubtful)
                for (subject, above), one, member in zip(asked, known, members, strict=True)
                if one is None or one.is_due(now)
            )
        return Assured(
            state=str(found.state),
            denial=None if found.is_allowed else REVOCATION_REASONS[found.state],
            detail=str(decisive.results[found.decided_by[0]].reason),
            valid_until=_valid_until(members, known, now),
            soft_fails=_soft_fails(members) if found.is_allowed else (),
            questions=questions,
        )

    def _undetermined(self, revocation: Revocation, reason: Reason, now: int) -> Assured:
        answers = [_answer(source, revocation, State.UNDETERMINED) for source in _sources(revocation)]
        found = verdict(answers, Combine(revocation.combine))
        return Assured(
            state=str(found.state),
            denial=None if found.is_allowed else REVOCATION_REASONS[found.state],
            detail=str(reason),
            valid_until=now + _PATIENCE,
            soft_fails=tuple(map(str, found.soft_fails)),
        )

    def _path(self, der: bytes, authority: bytes, issuer: Issuer, now: int) -> Path | Reason:
        try:
            certificate = Certified.from_der(der)
        except CertificateError:
            return Reason.CERTIFICATE_UNPARSABLE
        path = self.authorities.path(certificate, authority, now)
        if path is None or (issuer.revocation.is_chain and not path[-1].is_self_issued):
            # A chain that the policy's files don't complete has members that nobody asks about.
            return Reason.ISSUER_UNKNOWN
        return path

    def _members(
        self, path: Path, issuer: Issuer, knowledge: Sequence[OcspKnowledge | None], now: int
    ) -> list[_Member]:
        revocation = issuer.revocation
        known = [one or OcspKnowledge() for one in knowledge]
        evidence = Evidence(
            crls=self.crls.get(issuer.name, ()),
            responses=tuple(one.response for one in known if one.response is not None),
            extra=self.authorities.of(issuer.name),
        )
        answers = judge(
            path,
            evidence,
            now=now,
            rules=rules_of(revocation),
            depth=Depth.CHAIN if revocation.is_chain else Depth.LEAF,
            pinned=() if revocation.ocsp is None else read_certificates(revocation.ocsp.pinned),
        )
        outage = self.outages.get(issuer.name)
        return [_member(revocation, answer, outage, one) for answer, one in zip(answers, known, strict=True)]


def _member(revocation: Revocation, answers: Answers, outage: Reason | None, known: OcspKnowledge) -> _Member:
    found = {Source.CRL: answers.crl, Source.OCSP: answers.ocsp}
    # Why a list was refused is worth telling; that there is none in force is what the policy's modes go by.
    is_refused = False
    if outage is not None and answers.crl.reason == Reason.NOT_LOADED:
        is_refused = outage is not Reason.UNREACHABLE
        found[Source.CRL] = answers.crl._replace(reason=outage)
    if _is_doubtful(answers.ocsp):
        # Without an answer of its own, a certificate was judged by those of others in its chain.
        reason = Reason.NOT_LOADED if known.response is None else Reason(answers.ocsp.reason)
        found[Source.OCSP] = answers.ocsp._replace(reason=most_specific(reason, known.failure or Reason.NOT_LOADED))
    results = {source: found[source] for source in _sources(revocation)}
    states = {source: state_of(result) for source, result in results.items()}
    if is_refused:
        states[Source.CRL] = State.NOT_LOADED
    said = [_answer(source, revocation, states[source], is_late=one.is_late) for source, one in results.items()]
    return _Member(verdict(said, Combine(revocation.combine)), results)


def _decisive(members: Sequence[_Member]) -> _Member:
    """Return the member that decides about a chain: a revoked one, else one that isn't allowed, else one not good."""
    return max(
        members,
        key=lambda one: (
            one.verdict.state is State.REVOKED,
            not one.verdict.is_allowed,
            one.verdict.state is not State.GOOD,
        ),
    )


def _valid_until(members: Sequence[_Member], known: Sequence[OcspKnowledge | None], now: int) -> int:
    """Return until when no judgement would be another, and no question due, that isn't already."""
    later = now + _PATIENCE
    ends = [
        later if _is_doubtful(result) else result.valid_until
        for member in members
        for result in member.results.values()
    ]
    ends += [one.ask_again for one in known if one is not None and one.ask_again > now]
    return min(*ends, NEVER)


def _soft_fails(members: Sequence[_Member]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(source) for member in members for source in member.verdict.soft_fails))


def _is_doubtful(result: Result) -> bool:
    return result.status is Status.UNDETERMINED
