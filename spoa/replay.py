"""Recorded decisions judged again under another policy, as far as a decision log tells what was asked.

A log holds neither headers nor SNI, nor all of a certificate. What it doesn't hold is taken twice: at its worst for the
client, as the agent takes what is unavailable, and at its best. Where both come to the same, that is the answer under
the new policy, whatever was not written down; where they don't, the decision is undetermined, and counted as such.
Gates of certificates and of the agent, which the log names but doesn't explain, are taken to deny as they did.
What a log masks is not there either; without a path nothing can be said.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from spoa.decision_fields import SCHEMA, check_version, hidden
from spoa.exceptions import CertificateError
from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.identity import identity_from_der, subject_from_text
from spoa.listindex import NEVER
from spoa.masking import MASKABLE
from spoa.policy.cases import BLANK
from spoa.policy.conditions import bearer_values
from spoa.policy.gates import request_values
from spoa.policy.model import SOFT_REASONS, Bearer, Reason
from spoa.policy.sans import packed_address
from spoa.recorded import digest_of, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spoa.authorizer import Policy
    from spoa.policy.model import Decision

__all__ = ["Replay", "Replayed", "Totals"]

Tag = Literal["same", "newly_allowed", "newly_denied", "undetermined"]

#: Answers remembered; past it all are forgotten.
REMEMBERED: Final = 200_000
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
#: Those of them that are gates.
_GATES: Final = _ASKED_AGAIN - SOFT_REASONS - {Reason.OK}
#: Attributes of certificates that the log holds.
_LOGGED: Final = frozenset({"sha256", "spki_sha256", "serial", "issuer", "lists"})


class Replayed(NamedTuple):
    """What becomes of one recorded decision.

    Attributes:
        tag: whether the answer is another.
        rule: the rule behind a new answer: the one that allows or denies now, or else the one that allowed.
        identity: the first named identity that the client has under the new policy.
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
#: Characters of a time in the log, to the minute.
_TO_THE_MINUTE: Final = len("2026-11-20T10:00")
#: Later than any time in a log.
_NEVER: Final = "9999"
_LAST: Final = 253_370_764_800  # the year 9999


class _Standing(NamedTuple):
    """A logged certificate under the new policy: its conjunctions at worst and at best, until a time as logs write it.

    It is refused where no issuer is known.
    """

    worst: int
    best: int
    identity: str
    valid_until: str
    is_refused: bool = False


@dataclass(slots=True)
class Totals:
    """Counts over a log.

    Attributes:
        decisions: judged again.
        tags: by what became of them.
        rules, identities, clients: of those whose answer is another, by tag and name.
    """

    decisions: int = 0
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

    Args:
        policy: the one to judge by.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._evaluator = policy.evaluator
        self._defaults = policy.model.defaults
        self._reads_time = "time" in policy.evaluator.table.columns
        self._switches = frozenset(switch.name for switch in policy.model.switches)
        hidden = {"sni", "tls", "header"} & set(policy.evaluator.table.columns)
        #: The log tells all that rules ask of requests, but for switches and what wasn't sent.
        self._is_told = not hidden
        self._issuers = _issuers(policy)
        self._standings: dict[str, _Standing] = {}
        self._answers: dict[object, tuple[Decision, Decision]] = {}
        nobody = Bearer(is_anonymous=True)
        who = policy.evaluator.table.who(nobody)
        self._nobody = _Standing(who, who, "", _NEVER, is_refused=not self._defaults.allows_anonymous)

    def judge(self, row: Mapping[str, Any]) -> Replayed:
        """Return what becomes of one decision, given as a line of the log holds it.

        Raises:
            KeyError, TypeError, ValueError: the line is none of a decision log.
            NewerLogError: a newer agent wrote it.
        """
        reason, cert, time = row["reason"], row["cert"], row["time"]
        if row.get("schema") != SCHEMA:
            check_version(row)
        if reason in _FINAL or (cert is not None and cert["subject"] is None):
            return _SAME
        masked = _NOTHING if not (row.get("masked") or row.get("cut")) else hidden(row)
        if masked:
            if "path" in masked and row["path"] is not None:
                return Replayed("undetermined", row["rule"], "", _client(row))
            row = {**row, **{name: None for name in masked if name in {"host", "src"}}}
        digest = "" if cert is None else cert["sha256"] if not masked & _OF_CERTIFICATE else repr(cert)
        standing = self._nobody if cert is None else self._standings.get(digest)
        if standing is None or time >= standing.valid_until:
            standing = self._standings[digest] = self._standing(cert, _seconds(time), masked)
        # Hot path: what is asked again and again is found by its own texts, before anything of it is read.
        minute = time[:_TO_THE_MINUTE] if self._reads_time else ""
        opened = row.get("break_glass") if self._switches else ()
        key = (
            digest,
            row["method"],
            row["host"],
            row["path"],
            row["src"],
            minute,
            standing.valid_until,
            reason in _GATES,
            None if opened is None else (*opened,),
        )
        answers = self._answers.get(key)
        if answers is None:
            if len(self._answers) >= REMEMBERED:
                self._answers.clear()
            now = _seconds(time) if self._reads_time else 0
            answers = self._answers[key] = self._decide(standing, row, now)
        worst, best = answers
        tag = _tag(row["verdict"], worst.verdict, best.verdict)
        if tag == "same":
            return _SAME
        decision = best if tag == "newly_denied" else worst
        return Replayed(tag, decision.log_rule or row["rule"], standing.identity, _client(row))

    def _decide(self, standing: _Standing, row: Mapping[str, Any], now: int) -> tuple[Decision, Decision]:
        """Return the decisions at worst and at best."""
        if row["reason"] == Reason.SNI_MISMATCH and not self._defaults.allows_sni_mismatch:
            gate = self._evaluator.gate(Reason.SNI_MISMATCH)
            return gate, gate
        values = request_values(_request(row), self._defaults, now)
        if isinstance(values, Reason):
            gate = self._evaluator.gate(values)
            return gate, gate
        del values.values["header"]  # the log holds none, so it isn't known that there was none
        if standing.is_refused:
            gate = self._evaluator.gate(Reason.NO_CERTIFICATE if row["cert"] is None else Reason.ISSUER_UNKNOWN)
            return gate, gate
        opened = self._opened(row)
        worst = self._evaluator.decide(standing.worst, values, standing.identity, opened or frozenset())
        if (
            self._is_told
            and opened is not None
            and standing.worst == standing.best
            and None not in (row["method"], row["path"], row["host"], row["src"])
        ):
            best = worst
        else:
            holding = standing.best & self._evaluator.table.request_at_best(values)
            best = self._evaluator.answer(holding, standing.identity, self._switches if opened is None else opened)
        if row["reason"] == Reason.ISSUER_UNKNOWN:  # the name is one that is known now, which alone proves nothing
            return self._evaluator.gate(Reason.ISSUER_UNKNOWN), best
        return worst, best

    def _opened(self, row: Mapping[str, Any]) -> frozenset[str] | None:
        """Return the switches that were open; None where the log, an older one, doesn't tell."""
        if not self._switches:
            return self._switches
        told = row.get("break_glass")
        return None if told is None else self._switches.intersection(told)

    def _standing(self, cert: Mapping[str, Any], now: int, masked: frozenset[str]) -> _Standing:
        issuer = self._issuers.get(cert["issuer"])
        if issuer is None:
            return _Standing(0, 0, "", _NEVER, is_refused=True)
        try:
            subject = None if "subject" in masked else subject_from_text(cert["subject"])
        except ValueError:
            subject = None  # not to be read back, and so unavailable
        certificate = replace(
            BLANK,
            sha256=UNAVAILABLE if "sha256" in masked else bytes.fromhex(cert["sha256"]),
            spki_sha256=digest_of(cert, "spki_sha256") or UNAVAILABLE,
            sha1=digest_of(cert, "sha1") or UNAVAILABLE,
            serial=UNAVAILABLE if cert["serial"] is None or "serial" in masked else int(cert["serial"], 16),
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
        end = min((found.valid_until for found in memberships.values()), default=NEVER)
        until = _NEVER if end >= _LAST else dt.datetime.fromtimestamp(end, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return _Standing(table.who(bearer), table.who_at_best(bearer), self._evaluator.identity(bearer), until)


def _client(row: Mapping[str, Any]) -> str:
    cert = row["cert"]
    return row["src"] or "unknown" if cert is None else cert["subject"] or f"sha256:{cert['sha256']}"


@lru_cache(maxsize=65536)
def _packed(address: str) -> bytes:
    return packed_address(ipaddress.ip_address(address).packed)


def _seconds(time: str) -> int:
    return int(dt.datetime.fromisoformat(time).timestamp())


def _tag(before: str, worst: str, best: str) -> Tag:
    """Compare a recorded verdict with what it is now at worst and at best."""
    if worst == best:
        return "same" if before == worst else "newly_allowed" if worst == "allow" else "newly_denied"
    return "undetermined"


def _request(row: Mapping[str, Any]) -> Request:
    """Return the request of a line."""
    method, path, host, source = row["method"], row["path"], row["host"], row["src"]
    return Request(
        cert=ABSENT,
        used=False,
        source=UNAVAILABLE if source is None else _packed(source),
        method=UNAVAILABLE if method is None else method,
        path=path_of(method, path, row["reason"]),
        host=UNAVAILABLE if host is None else host,
    )


def _issuers(policy: Policy) -> dict[str, str]:
    """Return the name that each CA certificate's subject has in the policy; a subject of several issuers has none."""
    found: dict[str, str] = {}
    for name in policy.issuers.names:
        for der in policy.issuers.certificates(name):
            try:
                subject = identity_from_der(der).subject_text
            except CertificateError:
                continue
            found[subject] = name if found.get(subject, name) == name else ""
    return {subject: name for subject, name in found.items() if name}
