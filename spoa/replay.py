"""Recorded decisions judged again under another policy, as far as a decision log tells what was asked.

A log holds neither headers nor SNI, nor all of a certificate. What it doesn't hold is taken twice: at its worst for the
client, as the agent takes what is unavailable, and at its best. Where both come to the same, that is the answer under
the new policy, whatever was not written down; where they don't, the decision is undetermined, and counted as such.
Gates of certificates and of the agent, which the log names but doesn't explain, are taken to deny as they did.
What a log masks is not there either; without a path nothing can be said.
No line tells whether SNI and host differed, so that a policy which refuses it now isn't seen to deny for that.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from spoa.exceptions import CertificateError
from spoa.facts import UNAVAILABLE
from spoa.identity import identity_from_der, subject_from_text
from spoa.listindex import NEVER
from spoa.logreading import NO_CERTIFICATE, read_certificate, read_line
from spoa.masking import MASKABLE
from spoa.policy.cases import BLANK
from spoa.policy.conditions import bearer_values
from spoa.policy.model import SOFT_REASONS, Bearer, Reason
from spoa.readings import Readings
from spoa.recorded import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spoa.authorizer import Policy
    from spoa.logreading import LoggedCertificate, LogLine
    from spoa.policy.decision import Decision

__all__ = ["Replay", "Replayed", "Totals"]

Tag = Literal["same", "newly_allowed", "newly_denied", "undetermined"]

#: Clients remembered, and pairs of answers; past it all are forgotten.
REMEMBERED: Final = 131_072
#: Gates that are asked again; whatever other gate denied denies still.
_ASKED_AGAIN: Final = frozenset(
    {
        Reason.OK,
        Reason.PATH_NOT_CANONICAL,
        Reason.SNI_MISMATCH,
        Reason.NO_CERTIFICATE,
        Reason.ISSUER_UNKNOWN,
        *SOFT_REASONS,
    }
)
_FINAL: Final = frozenset(map(str, Reason)) - _ASKED_AGAIN
#: Attributes of certificates that the log holds.
_LOGGED: Final = frozenset({"sha256", "spki_sha256", "serial", "issuer", "lists"})


class Replayed(NamedTuple):
    """What becomes of one recorded decision.

    Attributes:
        tag: whether the answer is another.
        rule: the rule behind a new answer: the one that allows or denies now, or else the one that allowed.
        identity: the first named identity that the client had by the log, of a new allow the one that it has under the
            new policy; the other one where that is none, since a policy may name anew whom it denies.
        client: subject of the certificate, its fingerprint, or the address of whoever sent none.
    """

    tag: Tag
    rule: str
    identity: str
    client: str


_NOTHING: Final[frozenset[str]] = frozenset()
#: What may be masked of a certificate, and by what of it lists find it.
_OF_CERTIFICATE: Final = frozenset(name for name, place in MASKABLE.items() if place)
_FINDS: Final = frozenset({"sha256", "serial"})  # with whatever is masked along
#: What becomes of most.
_SAME: Final = Replayed("same", "", "", "")


class _Standing(NamedTuple):
    """A logged certificate under the new policy, and none.

    Attributes:
        worst, best: its conjunctions at worst and at best for the client.
        identity: the first named identity that it has.
        since, until: when it was so, seconds since the epoch; from the one on and before the other.
        client: what it is called where it is counted; empty for none.
        gate: why no rule is asked; None where they are.
        is_proven: it is known who issued the certificate, as far as a log can tell.
    """

    worst: int
    best: int
    identity: str
    since: int
    until: int
    client: str
    gate: Reason | None = None
    is_proven: bool = True


@dataclass(slots=True)
class Totals:
    """Counts over a log.

    Attributes:
        decisions: judged again.
        tags: by what became of them.
        rules, identities, clients: of those whose answer is another, by tag and name.
        unread: lines that are none of a decision log.
    """

    decisions: int = 0
    unread: int = 0
    tags: Counter[Tag] = field(default_factory=Counter)
    rules: Counter[tuple[Tag, str]] = field(default_factory=Counter)
    identities: Counter[tuple[Tag, str]] = field(default_factory=Counter)
    clients: Counter[tuple[Tag, str]] = field(default_factory=Counter)

    def add(self, one: Replayed) -> None:
        """Count one decision."""
        self.decisions += 1
        self.tags[one.tag] += 1
        if one.tag != "same":
            self.rules[one.tag, one.rule] += 1
            self.identities[one.tag, one.identity] += 1
            self.clients[one.tag, one.client] += 1


class Replay:
    """Judges lines of a decision log by one policy.

    Theory: a log tells of few clients, few kinds of requests and many paths. What a certificate amounts to is
    remembered by its bytes in the log, what a request amounts to by its texts (`readings`); both are sets of
    conjunctions, held as bits, whose intersection decides. So a line costs that it is read, some look-ups, and the path
    where it is new.

    Args:
        policy: the one to judge by.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._evaluator = policy.evaluator
        self._defaults = policy.model.defaults
        self._readings = Readings(policy)
        self._switches = frozenset(switch.name for switch in policy.model.switches)
        self._issuers = _issuers(policy)
        self._standings: dict[object, _Standing] = {}
        self._answers: dict[tuple[int, int, str, frozenset[str] | None], tuple[Decision, Decision]] = {}
        who = policy.evaluator.table.who(Bearer(is_anonymous=True))
        gate = None if self._defaults.allows_anonymous else Reason.NO_CERTIFICATE
        self._standings[NO_CERTIFICATE] = self._nobody = _Standing(who, who, "", 0, NEVER, "", gate)

    def read(self, lines: Iterable[bytes]) -> Totals:
        """Judge every line of a log, and return the counts.

        Raises:
            NewerLogError: a newer agent wrote one.
        """
        totals = Totals()
        judge, add = self.judge, totals.add
        for line in lines:
            try:
                found = judge(read_line(line))
            except ValueError:
                totals.unread += bool(line.strip())
            else:
                add(found)
        return totals

    # Hot path: what is done for each line. Benchmark: benchmarks/replay.py.
    def judge(self, line: LogLine) -> Replayed:
        """Return what becomes of one decision.

        Raises:
            ValueError: the line is none of a decision log: no time, no address, no certificate.
        """
        now = int(dt.datetime.fromisoformat(line.time).timestamp())
        if line.reason in _FINAL:
            return _SAME
        certificate: bytes = bytes(line.certificate)
        masked = _NOTHING
        key: object = certificate
        if line.masked or line.cut:
            masked = line.hidden
            key = (certificate, masked)
        standing = self._standings.get(key)
        if standing is None or not standing.since <= now < standing.until:
            standing = self._meet(key, certificate, masked, now)
        if "path" in masked and line.path is not None:
            return Replayed("undetermined", line.rule, line.identity or "", standing.client or line.src or "unknown")
        worst, best = self._judged(line, standing, masked, now)
        tag = _tag(line.verdict, worst.verdict, best.verdict)
        if tag == "same":
            return _SAME
        decision = best if tag == "newly_denied" else worst
        client = standing.client or line.src or "unknown"
        before, after = line.identity or "", standing.identity
        identity = (after or before) if tag == "newly_allowed" else (before or after)
        return Replayed(tag, decision.log_rule or line.rule, identity, client)

    def _judged(
        self, line: LogLine, standing: _Standing, masked: frozenset[str], now: int
    ) -> tuple[Decision, Decision]:
        """Return the decisions at worst and at best."""
        reason = line.reason
        if reason == Reason.SNI_MISMATCH and not self._defaults.allows_sni_mismatch:
            return self._refused(Reason.SNI_MISMATCH)
        source = None if "src" in masked else line.src
        host = None if "host" in masked else line.host
        worst, best, gate = self._readings.request(line.method, host, line.path, source, reason, now)
        gate = gate or standing.gate
        if gate is not None:
            return self._refused(gate)
        opened = self._opened(line.break_glass) if self._switches else _NOTHING
        key = (standing.worst & worst, standing.best & best, standing.identity, opened)
        answers = self._answers.get(key)
        if answers is None:
            answers = self._answer(*key)
        # The name is one that is known now, which alone proves nothing.
        if reason == Reason.ISSUER_UNKNOWN or not standing.is_proven:
            return self._evaluator.gate(Reason.ISSUER_UNKNOWN), answers[1]
        return answers

    def _refused(self, reason: Reason) -> tuple[Decision, Decision]:
        gate = self._evaluator.gate(reason)
        return gate, gate

    def _answer(self, worst: int, best: int, identity: str, opened: frozenset[str] | None) -> tuple[Decision, Decision]:
        """Decide, and remember it; *opened* is None where nobody knows which switches were open."""
        answers = (
            self._evaluator.answer(worst, identity, opened or _NOTHING),
            self._evaluator.answer(best, identity, self._switches if opened is None else opened),
        )
        if len(self._answers) >= REMEMBERED:
            self._answers.clear()
        self._answers[worst, best, identity, opened] = answers
        return answers

    def _opened(self, told: list[str] | None) -> frozenset[str] | None:
        """Return the switches that were open; None where the log, an older one, doesn't tell."""
        return None if told is None else self._switches.intersection(told)

    def _meet(self, key: object, certificate: bytes, masked: frozenset[str], now: int) -> _Standing:
        """Return what a certificate amounts to, and remember it."""
        if certificate == NO_CERTIFICATE:
            found = self._nobody
        else:
            found = self._standing(read_certificate(certificate), now, masked)
        if len(self._standings) >= REMEMBERED:
            self._standings.clear()
        self._standings[key] = found
        return found

    def _standing(self, cert: LoggedCertificate, now: int, masked: frozenset[str]) -> _Standing:
        client = cert.subject or f"sha256:{cert.sha256}"
        names = self._issuers.get(cert.issuer or "", frozenset())
        if cert.subject is not None and not names:
            return _Standing(0, 0, "", 0, NEVER, client, Reason.ISSUER_UNKNOWN)
        issuer = cert.issuer_name if cert.issuer_name in names else min(names, default="")
        if cert.subject is None or (len(names) > 1 and issuer != cert.issuer_name):
            # A gate denied before it was read, or its issuer may be either: whatever it says may count.
            best = self._evaluator.table.who_at_best(Bearer({}))
            return _Standing(0, best, "", 0, NEVER, client, is_proven=False)
        try:
            subject = None if "subject" in masked else subject_from_text(cert.subject)
        except ValueError:
            subject = None  # not to be read back, and so unavailable
        certificate = replace(
            BLANK,
            sha256=UNAVAILABLE if "sha256" in masked else bytes.fromhex(cert.sha256),
            spki_sha256=digest_of({"spki_sha256": cert.spki_sha256}, "spki_sha256") or UNAVAILABLE,
            sha1=digest_of({"sha1": cert.sha1}, "sha1") or UNAVAILABLE,
            serial=UNAVAILABLE if cert.serial is None or "serial" in masked else int(cert.serial, 16),
            subject=subject or {},
        )
        memberships = {name: one.membership(certificate, issuer, now) for name, one in self._policy.lists.items()}
        lists = {name: found.answer for name, found in memberships.items()}
        values = bearer_values(self._evaluator.attributes, certificate, issuer, lists)
        for attribute in list(values):
            is_named = subject is not None and attribute.startswith("subject:")
            if (attribute not in _LOGGED and not is_named) or attribute in masked:
                del values[attribute]
        if masked & _FINDS:
            values.pop("lists", None)
        bearer, table = Bearer(values), self._evaluator.table
        until = min((found.valid_until for found in memberships.values()), default=NEVER)
        worst = table.who(bearer)
        is_told = values.keys() == self._evaluator.attributes
        is_told = is_told and UNAVAILABLE not in values.values() and UNAVAILABLE not in lists.values()
        best = worst if is_told else table.who_at_best(bearer)
        return _Standing(worst, best, self._evaluator.identity(bearer), now if memberships else 0, until, client)


def _tag(before: str, worst: str, best: str) -> Tag:
    """Compare a recorded verdict with what it is now at worst and at best."""
    if worst == best:
        return "same" if before == worst else "newly_allowed" if worst == "allow" else "newly_denied"
    return "undetermined"


def _issuers(policy: Policy) -> dict[str, frozenset[str]]:
    """Return the names that each CA certificate's subject has in the policy; several issuers may have one subject."""
    found: dict[str, frozenset[str]] = {}
    for name in policy.issuers.names:
        for der in policy.issuers.certificates(name):
            try:
                subject = identity_from_der(der).subject_text
            except CertificateError:
                continue
            found[subject] = found.get(subject, frozenset()) | {name}
    return found
