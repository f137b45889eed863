"""A policy with all that it needs to judge: rules, issuers, lists; and what it remembers of certificates.

Nothing here is ever cleared: what is remembered lives in the policy that it was made from, and goes with it. Only what
a certificate says outlives a policy, since that depends on nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping  # noqa: TC003 -- compiled, a named tuple looks its annotations up
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from spoa.assurance import NOT_CHECKED, Assurance, Assured, Authorities, denial_for
from spoa.blocks import BlockList
from spoa.cache import SelectiveCache, Sightings
from spoa.exceptions import CertificateError
from spoa.facts import UNAVAILABLE, Certificate, Missing
from spoa.identity import identity_from_der
from spoa.listindex import NEVER
from spoa.policy.conditions import bearer_values
from spoa.policy.gates import (
    REVOCATION_REASONS,
    certificate_gate,
    certificate_presence,
    is_well_typed,
    request_values,
)
from spoa.policy.model import Bearer, Reason
from spoa.policy.path import ASTERISK, CanonicalPath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.assurance import Question
    from spoa.facts import Request
    from spoa.issuers import Authority, Issuers
    from spoa.listindex import ListIndex
    from spoa.policy.decision import Decision, Tally
    from spoa.policy.evaluator import Evaluator
    from spoa.policy.model import Issuer, PolicyModel, RequestValues
    from spoa.revocation.crl import Crl
    from spoa.revocation.ocsp_memory import OcspMemory
    from spoa.revocation.status import Reason as RevocationReason

__all__ = ["CertificateCache", "Judgement", "Policy", "Standing", "Subject", "joint_revision"]

#: Certificates that came again, in each half of a cache; some 4 kB each.
CERTIFICATES: Final = 16384
_DAY: Final = 86_400


class CertificateCache(SelectiveCache[bytes, "Certificate | CertificateError"]):
    """What DER bytes turned out to be, whatever the policy.

    Attributes:
        judged: tells whose standing under a policy, this one or one before, was asked for before.
    """

    __slots__ = ("judged",)

    def __init__(self) -> None:
        super().__init__(CERTIFICATES)
        self.judged = Sightings()


class Subject(NamedTuple):
    """A certificate as it is given in place of DER, for tests and explanations: what it says, and who signed it."""

    certificate: Certificate
    issuer: str
    lists: Mapping[str, bool | Missing]


class Standing:
    """What a certificate amounts to under one policy, from `since` until before `valid_until`.

    Attributes:
        der: the certificate, of which memories need one copy; empty of one that was given as what it says.
        certificate: what it says, or None where it can't be read.
        issuer: the issuer that signed it, or None.
        reason: the gate that it fails whatever the time, or None.
        detail: why it can't be read, for the log.
        who: the conjunctions of the policy whose `who` it meets.
        identity: the first named identity that it meets.
        not_before, not_after: validity, inclusive, seconds since the epoch.
        since: when it was judged; a clock that stands before was wrong then, or is wrong now.
        valid_until: when the answer of a list, of a block or of the evidence about revocation may change.
        settings: of the issuer; None without one.
        line: how lines of the decision log tell of it; empty until one does.
        assured: what the issuer's sources say about revocation; None where none is asked.
    """

    __slots__ = (
        "assured",
        "certificate",
        "der",
        "detail",
        "identity",
        "issuer",
        "line",
        "not_after",
        "not_before",
        "reason",
        "settings",
        "since",
        "valid_until",
        "who",
    )

    def __init__(self, certificate: Certificate | None, issuer: str | None, reason: Reason | None) -> None:
        self.der = b""
        self.certificate = certificate
        self.issuer = issuer
        self.reason = reason
        self.detail = ""
        self.who = 0
        self.identity = ""
        self.not_before = 0 if certificate is None else certificate.not_before
        self.not_after = 0 if certificate is None else certificate.not_after
        self.since = 0
        self.valid_until = NEVER
        self.settings: Issuer | None = None
        self.line = ""
        self.assured: Assured | None = None

    @property
    def refusal(self) -> Reason | None:
        """The gate that the certificate fails in date: one of its own, or revocation."""
        if self.reason is None and self.assured is not None:
            return self.assured.denial
        return self.reason

    @property
    def questions(self) -> tuple[Question, ...]:
        """What is to be asked about the certificate or its issuers before more can be said, or soon."""
        return () if self.reason is not None or self.assured is None else self.assured.questions

    @property
    def revocation(self) -> str:
        """The state of revocation, `not_checked` where it isn't asked for."""
        return NOT_CHECKED if self.assured is None else self.assured.state

    @property
    def soft_fails(self) -> tuple[str, ...]:
        """The sources that gave no assurance, where the policy lets the certificate pass all the same."""
        return () if self.reason is not None or self.assured is None else self.assured.soft_fails


class Judgement:
    """The answer to one request; a plain class, since one is made for each.

    Attributes:
        decision: shared by all requests with the same answer.
        standing: of the certificate, or None where there is none to speak of.
        days_left: whole days until the certificate expires, 0 past that; None without one that could be read.
        path: the canonical path, only where the policy normalises.
        revocation: `good`, `not_checked`, …; empty where it wasn't asked.
        soft_fails: the sources of revocation that gave no assurance and were let pass.
        difference: how a candidate policy would have answered, where one was asked and would have answered otherwise.
        line: what all lines of the decision log say of it and of its request; empty until one was written.
    """

    __slots__ = ("days_left", "decision", "difference", "line", "path", "revocation", "soft_fails", "standing")

    def __init__(self, decision: Decision, standing: Standing | None = None) -> None:
        self.decision = decision
        self.standing = standing
        self.days_left: int | None = None
        self.path = ""
        self.revocation = ""
        self.soft_fails: tuple[str, ...] = ()
        self.difference: tuple[str, ...] | None = None
        self.line = b""

    @property
    def certificate(self) -> Certificate | None:
        """What the certificate says, where it could be read."""
        return None if self.standing is None else self.standing.certificate


def joint_revision(revision: str, blocks: BlockList) -> str:
    """Return the revision of a policy under a block list; without blocks it is the policy's own."""
    return hashlib.sha256(f"{revision} {blocks.digest}".encode()).hexdigest()[:12] if blocks.digest else revision


class Policy:
    """A policy directory, loaded. `evaluate` is all that an embedding program needs.

    Attributes:
        model: the parsed policy.
        issuers: CA certificates, and who signed what.
        revision: 12 hex digits over all that it was made from.
        clock_usable: set by whoever holds the clock; while False, certificate dates deny and time is unavailable.
        switches: open break-glass switches.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        issuers: Issuers,
        lists: Mapping[str, ListIndex],
        revision: str,
        certificates: CertificateCache | None = None,
        blocks: BlockList | None = None,
        assurance: Assurance | None = None,
    ) -> None:
        self.model: PolicyModel = evaluator.model
        self.blocks = BlockList() if blocks is None else blocks
        self.revision = joint_revision(revision, self.blocks)
        self._own_revision = revision
        self.clock_usable = True
        self.switches: frozenset[str] = frozenset()
        self.evaluator = evaluator
        self.lists = lists
        self.certificates = CertificateCache() if certificates is None else certificates
        self.issuers = issuers
        self.assurance = Assurance(Authorities(issuers)) if assurance is None else assurance
        self._issuer_settings: dict[str, Issuer] = {issuer.name: issuer for issuer in evaluator.model.issuers}
        self._standings: SelectiveCache[bytes, Standing] = self._no_standings()
        self._nobody = Bearer(is_anonymous=True)
        self._nobody_who = self.evaluator.table.who(self._nobody)

    def with_blocks(self, blocks: BlockList) -> Policy:
        """Return the same policy under another block list; what is known of certificates is carried over."""
        return self._under(blocks, self.assurance)

    def with_crls(
        self,
        crls: Mapping[str, tuple[Crl, ...]],
        outages: Mapping[str, RevocationReason] | None = None,
        memory: OcspMemory | None = None,
    ) -> Policy:
        """Return the same policy with other evidence about revocation; what is known of certificates is kept.

        Args:
            crls: issuer → its revocation lists.
            outages: issuer → why it has none.
            memory: what is known by OCSP; this policy's own unless given.
        """
        memory = self.assurance.memory if memory is None else memory
        return self._under(self.blocks, Assurance(self.assurance.authorities, crls, outages, memory))

    def _under(self, blocks: BlockList, assurance: Assurance) -> Policy:
        policy = Policy(
            self.evaluator, self.issuers, self.lists, self._own_revision, self.certificates, blocks, assurance
        )
        policy.clock_usable, policy.switches = self.clock_usable, self.switches
        return policy

    # -- judging -----------------------------------------------------------------------------------------------

    def judge(
        self,
        request: Request,
        now: float,
        *,
        subject: Subject | None = None,
        revocation: str = "",
        switches: frozenset[str] | None = None,
    ) -> Judgement:
        """Return the answer to *request*; denies with `internal_error` rather than raising is the caller's part.

        Args:
            request: as HAProxy described it.
            now: seconds since the epoch.
            subject: stands in for the certificate that `request.cert` would be read as.
            revocation: what every revocation source says, in place of the evidence; for tests and explanations.
            switches: break-glass switches taken to be open, in place of the policy's own.
        """
        evaluator = self.evaluator
        seconds = int(now)
        opened = self.switches if switches is None else switches
        values = request_values(request, self.model.defaults, seconds if self.clock_usable else None)
        presence = certificate_presence(request, self.model.defaults) if subject is None else None
        if presence is Reason.MALFORMED_MESSAGE:
            return Judgement(evaluator.gate(presence))
        if isinstance(values, Reason):
            return Judgement(evaluator.gate(values))
        if presence is Reason.OK:
            return self._judged(evaluator.decide(self._nobody_who, values, "", opened), None, values)
        if presence is not None:
            return Judgement(evaluator.gate(presence))
        standing = self._standing(request.cert, seconds) if subject is None else self._standing_of(subject, seconds)
        reason = self._refusal(standing, seconds, revocation)
        if reason is not None:
            judgement = Judgement(evaluator.gate(reason), standing)
        else:
            decision = evaluator.decide(standing.who, values, standing.identity, opened)
            judgement = self._judged(decision, standing, values)
            judgement.soft_fails = () if revocation else standing.soft_fails
        if standing.certificate is not None:
            judgement.days_left = max(0, (standing.not_after - seconds) // _DAY)
            if reason is None or reason in REVOCATION_REASONS.values():
                judgement.revocation = standing.revocation
                if revocation:
                    judgement.revocation = revocation if _is_checked(standing) or reason else NOT_CHECKED
        return judgement

    def judge_but_path(self, request: Request, standing: Standing, now: int) -> int | Decision | None:
        """Return what is settled about a request whatever canonical path it names: conjunctions, or a gate's decision.

        Args:
            request: one that came past the gates that ask for no certificate; None where it did not.
            standing: of its certificate.
            now: seconds since the epoch.
        """
        values = request_values(request, self.model.defaults, now if self.clock_usable else None)
        if isinstance(values, Reason):
            return None
        reason = self._refusal(standing, now, "")
        if reason is not None:
            return self.evaluator.gate(reason)
        return standing.who & self.evaluator.table.request_but_path(values)

    def evaluate(self, request: Request, now: float) -> Judgement:
        """Return the answer to a request that an embedding program made; one with a wrong type in it is malformed.

        Args:
            request: to be judged.
            now: seconds since the epoch.
        """
        return self.judge(request, now) if is_well_typed(request) else self.deny(Reason.MALFORMED_MESSAGE)

    def _judged(self, decision: Decision, standing: Standing | None, values: RequestValues) -> Judgement:
        judgement = Judgement(decision, standing)
        if self.model.defaults.normalises_path:
            path = values.values.get("path", UNAVAILABLE)
            if isinstance(path, tuple) and path[0] is not ASTERISK and isinstance(path[0], CanonicalPath):
                judgement.path = path[0].text  # but not of `OPTIONS *`, which is no path that could be set
        return judgement

    def _refusal(self, standing: Standing, now: int, revocation: str) -> Reason | None:
        """Return the gate that the certificate fails now, or None."""
        if standing.certificate is None:
            return standing.reason
        if not self.clock_usable or now < standing.not_before:
            return Reason.CERTIFICATE_NOT_YET_VALID
        if now > standing.not_after:
            return Reason.CERTIFICATE_EXPIRED
        if revocation and standing.reason is None and standing.settings is not None:
            return denial_for(standing.settings.revocation, revocation)
        if standing.reason is None and standing.assured is None and _is_checked(standing):
            return Reason.REVOCATION_NOT_LOADED  # nobody has looked, which is no assurance
        return standing.refusal

    # -- certificates ------------------------------------------------------------------------------------------

    def _standing(self, der: bytes | Missing, now: int) -> Standing:
        assert isinstance(der, bytes)
        standing = self._standings.get(der)
        if standing is None or not standing.since <= now < standing.valid_until:
            standing = self._read_standing(der, now)
            standing.der, standing.since = der, now
            self._standings.put(der, standing)
        return standing

    def standings(self) -> list[Standing]:
        """Return what is in memory of certificates, each once."""
        return self._standings.values()

    def empty(self) -> Iterator[None]:
        """Forget the standings for good, some between two yields."""
        return self._standings.empty()

    def forget(self, der: bytes) -> bool:
        """Judge a certificate anew, since more is known of it now. A CA's concerns all; False where that was so."""
        if der in self.assurance.authorities:
            self._standings = self._no_standings()
            return False
        self._standings.pop(der)
        return True

    def _no_standings(self) -> SelectiveCache[bytes, Standing]:
        return SelectiveCache(CERTIFICATES, sightings=self.certificates.judged)

    def _read_standing(self, der: bytes, now: int) -> Standing:
        certificate = self.certificates.get(der)
        if certificate is None:
            try:
                certificate = identity_from_der(der)
            except CertificateError as error:
                certificate = CertificateError(error.stage, error.detail)  # not the frames that it came through
            self.certificates.put(der, certificate)
        if isinstance(certificate, CertificateError):
            standing = Standing(None, None, Reason.CERTIFICATE_UNPARSABLE)
            standing.detail = str(certificate)
            return standing
        authority = self.issuers.authority_of(der)
        issuer = None if authority is None else authority.issuer
        memberships = {name: index.membership(certificate, issuer, now) for name, index in self.lists.items()}
        lists: dict[str, bool | Missing] = {name: found.answer for name, found in memberships.items()}
        standing = self._stand(certificate, issuer, lists, now)
        standing.valid_until = min(standing.valid_until, *(found.valid_until for found in memberships.values()), NEVER)
        if standing.reason is None and authority is not None and _is_checked(standing):
            self._assure(standing, der, authority, now)
        return standing

    def _assure(self, standing: Standing, der: bytes, authority: Authority, now: int) -> None:
        """Have the evidence judged about a certificate whose issuer wants it to be."""
        assert standing.settings is not None
        standing.assured = self.assurance.of(der, authority.der, standing.settings, now, standing.certificate)
        if standing.assured is not None:
            standing.valid_until = min(standing.valid_until, standing.assured.valid_until)

    def _standing_of(self, subject: Subject, now: int) -> Standing:
        """Return the standing of a certificate given as what it says; lists are asked unless the subject tells."""
        return self._stand(subject.certificate, subject.issuer, self._lists_of(subject, now), now)

    def _lists_of(self, subject: Subject, now: int) -> dict[str, bool | Missing]:
        asked = {
            name: index.contains(subject.certificate, subject.issuer, now)
            for name, index in self.lists.items()
            if name not in subject.lists
        }
        return {**subject.lists, **asked}

    def _stand(
        self, certificate: Certificate, issuer: str | None, lists: Mapping[str, bool | Missing], now: int
    ) -> Standing:
        settings = self._issuer_settings.get(issuer or "")
        bearer = Bearer(bearer_values(self.evaluator.attributes, certificate, issuer or "", lists))
        standing = Standing(certificate, issuer, certificate_gate(certificate, settings, bearer))
        is_blocked, standing.valid_until = self.blocks.blocks_certificate(certificate, issuer or "", now)
        if standing.reason is None and is_blocked:
            standing.reason = Reason.CERTIFICATE_BLOCKED
        if standing.reason is None and settings is not None:
            standing.who = self.evaluator.table.who(bearer)
            standing.identity = self.evaluator.identity(bearer)
            standing.settings = settings
        return standing

    def bearer(self, subject: Subject, now: float) -> Bearer:
        """Return the attributes of a certificate as rules see them at *now*, for explanations."""
        lists = self._lists_of(subject, int(now))
        return Bearer(bearer_values(self.evaluator.attributes, subject.certificate, subject.issuer, lists))

    def subject_of(self, der: bytes, now: float) -> Subject | CertificateError:
        """Return what DER says, who signed it and which lists it is on."""
        try:
            certificate = identity_from_der(der)
        except CertificateError as error:
            return error
        issuer = self.issuers.issuer_of(der)
        lists: dict[str, bool | Missing] = {
            name: index.contains(certificate, issuer, int(now)) for name, index in self.lists.items()
        }
        return Subject(certificate, issuer or "", lists)

    @property
    def internal_error(self) -> Judgement:
        """The answer to whatever could not be judged."""
        return self.deny(Reason.INTERNAL_ERROR)

    # -- what others ask ---------------------------------------------------------------------------------------

    @property
    def reads(self) -> frozenset[str]:
        """Names of the arguments that the policy looks at, beyond `cert`, `used`, `verify` and `resumed`."""
        return self.evaluator.arguments

    def deny(self, reason: Reason) -> Judgement:
        """Return a deny that no request was needed for."""
        return Judgement(self.evaluator.gate(reason))

    def tallies(self) -> Iterator[Tally]:
        """Yield how often each (verdict, reason, rule, shadow) was answered."""
        return self.evaluator.tallies()

    def status(self) -> dict[str, object]:
        """Return what operators ask for: the size of things and what expires next."""
        soonest = {name: index.soonest_expiry for name, index in self.lists.items()}
        return {
            "revision": self.revision,
            "mode": "shadow" if self.model.defaults.is_shadow else "enforce",
            "rules": len(self.model.rules),
            "identities": len(self.model.identities),
            "routes": len(self.model.routes),
            "lists": {
                name: {"entries": len(index), "soonest_expiry": None if soonest[name] >= NEVER else soonest[name]}
                for name, index in self.lists.items()
            },
            "authorities": {name: {"soonest_expiry": self.issuers.soonest_expiry(name)} for name in self.issuers.names},
            "issuers": {
                issuer.name: {"revocation": {"state": NOT_CHECKED, "reason": issuer.revocation.none}}
                for issuer in self.model.issuers
                if not issuer.revocation.is_checked
            },
        }

    def cache_sizes(self) -> dict[str, tuple[int, int, int]]:
        """Return (entries, misses, evictions) of each cache."""
        caches: dict[str, SelectiveCache[bytes, Any]] = {
            "certificates": self.certificates,
            "standings": self._standings,
        }
        return {name: (len(cache), cache.misses, cache.dropped) for name, cache in caches.items()}


def _is_checked(standing: Standing) -> bool:
    return standing.settings is not None and standing.settings.revocation.is_checked
