"""What an issuer's sources of revocation assure about a certificate, and what its policy makes of that.

The evidence is loaded elsewhere and never changes here: other evidence makes another `Assurance`. Fails closed: without
evidence, and with evidence that does not speak of the certificate, the answer is one of the failures, which pass only
where the issuer's `on_failure` lets them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.exceptions import CertificateError
from spoa.listindex import NEVER
from spoa.policy.gates import REVOCATION_REASONS
from spoa.revocation.certificates import Certified
from spoa.revocation.check import judge
from spoa.revocation.combine import Combine, Source, SourceAnswer, State, state_of, verdict, whole_chain
from spoa.revocation.evidence import Evidence, read_certificates
from spoa.revocation.status import FOREVER, Depth, IdpMatching, Reason, Result, Rules, Status
from spoa.revocation.trust import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from spoa.issuers import Issuers
    from spoa.policy.model import Issuer, Revocation
    from spoa.policy.model import Reason as Denial
    from spoa.revocation.crl import Crl
    from spoa.revocation.trust import Path

__all__ = ["NOT_CHECKED", "Assurance", "Assured", "Authorities", "denial_for", "rules_of"]

#: Revocation state of certificates whose issuer says `none`.
NOT_CHECKED: Final = "not_checked"
#: Seconds after which a failure is judged again: time alone may end it.
_PATIENCE: Final = 60
_MAX_ABOVE: Final = 8


class Assured(NamedTuple):
    """What the sources say of one certificate.

    Attributes:
        state: the one to report.
        denial: why the request is denied; None where it isn't.
        detail: the reason of the state, as `spoa.revocation` names it; for a revoked certificate the CA's.
        valid_until: the answer holds before this instant, seconds since the epoch.
        soft_fails: the sources that gave no assurance and were let pass.
        is_late: the answer rests on evidence past its nextUpdate, within the grace that the policy gives.
    """

    state: str
    denial: Denial | None
    detail: str
    valid_until: int
    soft_fails: tuple[str, ...] = ()
    is_late: bool = False


def rules_of(revocation: Revocation) -> Rules:
    """Return how evidence is judged where an issuer says this about revocation."""
    rules = Rules()
    if revocation.crl is not None:
        matching = IdpMatching.TRUST_CONFIG if revocation.crl.trusts_configuration else IdpMatching.STRICT
        rules = rules._replace(max_stale=revocation.crl.max_stale, idp=matching)
    if revocation.allows_sha1:
        rules = rules._replace(sha1_until=FOREVER)
    age = revocation.max_age_without_next_update
    if age is not None:
        rules = rules._replace(max_age_without_next_update=age, crl_max_age_without_next_update=age)
    return rules


def denial_for(revocation: Revocation, state: str) -> Denial | None:
    """Return why a certificate is denied of which every source of its issuer says the same; None where it isn't.

    Revoked denies also where nothing is checked.
    """
    if state == State.REVOKED or not revocation.is_checked:
        return REVOCATION_REASONS[state] if state == State.REVOKED else None
    answers = [_answer(source, revocation, State(state)) for source in _sources(revocation)]
    found = verdict(answers, Combine(revocation.combine))
    return None if found.is_allowed else REVOCATION_REASONS[found.state]


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
        self._above: dict[bytes, tuple[Certified, ...]] = {}
        self.all: Final = tuple(certified for own in self._own.values() for certified in own)

    def of(self, issuer: str) -> tuple[Certified, ...]:
        """Return an issuer's own CA certificates and those that stand above them: who may sign evidence for it."""
        own = self._own.get(issuer, ())
        found = {member.sha256: member for one in own for member in self.above(one)}
        return tuple(found.values())

    def above(self, certified: Certified) -> tuple[Certified, ...]:
        """Return a CA certificate and those above it, as far as the policy names them."""
        known = self._above.get(certified.sha256)
        if known is None:
            known = self._above[certified.sha256] = self._search(certified)
        return known

    def _search(self, certified: Certified) -> tuple[Certified, ...]:
        found = [certified]
        while not found[-1].is_self_issued and len(found) < _MAX_ABOVE:
            parent = next((one for one in self.all if one not in found and found[-1].is_issued_by(one)), None)
            if parent is None:
                break
            found.append(parent)
        return tuple(found)

    def path(self, certificate: Certified, authority: bytes, now: int) -> Path | None:
        """Return the path from a certificate over the CA certificate (DER) that issued it to the topmost one named."""
        nearest = next((one for one in self.all if one.der == authority), None)
        if nearest is None:
            return None
        above = self.above(nearest)
        return path_of(certificate, above, above[-1:], now)


class Assurance:
    """The evidence of all issuers, and the judgement by it.

    Attributes:
        authorities: of the policy that this is for.
        crls: issuer → its revocation lists.
    """

    def __init__(self, authorities: Authorities, crls: Mapping[str, tuple[Crl, ...]] | None = None) -> None:
        self.authorities: Final = authorities
        self.crls: Final = crls or {}

    def of(self, der: bytes, authority: bytes, issuer: Issuer, now: int) -> Assured | None:
        """Judge a certificate that `authority` (DER) has signed; None where its issuer checks nothing.

        Costs some 0.5 ms; the caller remembers the answer. `now` counts seconds since the epoch.
        """
        revocation = issuer.revocation
        if not revocation.is_checked:
            return None
        result = self._result(der, authority, issuer, now)
        answers = [
            _answer(source, revocation, state_of(result), is_late=result.is_late)
            if source is Source.CRL
            else _answer(source, revocation, State.NOT_LOADED)
            for source in _sources(revocation)
        ]
        found = verdict(answers, Combine(revocation.combine))
        until = min(result.valid_until, NEVER) if found.state in {State.GOOD, State.REVOKED} else now + _PATIENCE
        return Assured(
            state=str(found.state),
            denial=None if found.is_allowed else REVOCATION_REASONS[found.state],
            detail=str(result.reason),
            valid_until=until,
            soft_fails=tuple(str(source) for source in found.soft_fails),
            is_late=found.is_late,
        )

    def _result(self, der: bytes, authority: bytes, issuer: Issuer, now: int) -> Result:
        depth = Depth.CHAIN if issuer.revocation.is_chain else Depth.LEAF
        try:
            certificate = Certified.from_der(der)
        except CertificateError:
            return Result(Status.UNDETERMINED, Reason.CERTIFICATE_UNPARSABLE)
        path = self.authorities.path(certificate, authority, now)
        if path is None or (depth is Depth.CHAIN and not path[-1].is_self_issued):
            # A chain that the policy's files don't complete has members that nobody asks about.
            return Result(Status.UNDETERMINED, Reason.ISSUER_UNKNOWN)
        evidence = Evidence(crls=self.crls.get(issuer.name, ()), extra=self.authorities.of(issuer.name))
        answers = judge(path, evidence, now=now, rules=rules_of(issuer.revocation), depth=depth)
        return whole_chain([answer.crl for answer in answers])
