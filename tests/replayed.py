"""What `replay` must answer, by the shortest way: each line by itself, nothing remembered, nothing grouped.

The agent's own evaluator is asked with what the line holds, once as it takes what is unavailable, and once with every
conjunction that could hold if the unavailable were what the client would like it to be.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from spoa.decision_fields import hidden
from spoa.exceptions import CertificateError
from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.identity import identity_from_der, subject_from_text
from spoa.policy.cases import BLANK
from spoa.policy.conditions import bearer_values
from spoa.policy.gates import request_values
from spoa.policy.model import SOFT_REASONS, Bearer, Reason
from spoa.policy.sans import packed_address
from spoa.policy.table import conjunctions_of
from spoa.recorded import digest_of, path_of
from spoa.replay import Replayed, Totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from spoa.authorizer import Policy
    from spoa.policy.decision import Decision
    from spoa.policy.model import RequestValues, Who

__all__ = ["replay_line", "replay_lines"]

#: Denies of these are the agent's, for what no log tells.
AGAIN = {
    Reason.OK,
    Reason.PATH_NOT_CANONICAL,
    Reason.SNI_MISMATCH,
    Reason.NO_CERTIFICATE,
    Reason.ISSUER_UNKNOWN,
    *SOFT_REASONS,
}
SAME = Replayed("same", "", "", "")
MUST_HAVE = ("time", "verdict", "reason", "rule", "cert", "src", "method", "host", "path")


def replay_lines(policy: Policy, lines: Iterable[bytes]) -> Totals:
    """Return the counts over a log."""
    totals = Totals()
    for line in lines:
        try:
            row = json.loads(line.decode())
            totals.add(replay_line(policy, {name: row[name] for name in MUST_HAVE} | row))
        except (ValueError, TypeError, KeyError):
            totals.unread += bool(line.strip())
    return totals


def replay_line(policy: Policy, row: Mapping[str, Any]) -> Replayed:
    """Return what becomes of one line."""
    reason, cert = row["reason"], row["cert"]
    now = int(dt.datetime.fromisoformat(row["time"]).timestamp())
    if reason in set(map(str, Reason)) - AGAIN:
        return SAME
    masked = hidden(row)
    client = (row["src"] or "unknown") if cert is None else cert["subject"] or f"sha256:{cert['sha256']}"
    if "path" in masked and row["path"] is not None:
        return Replayed("undetermined", row["rule"], row.get("identity") or "", client)
    row = {**row, **dict.fromkeys(masked & {"host", "src"})}
    identity, worst, best = both(policy, row, masked, now)
    before, logged = row["verdict"], row.get("identity")
    if worst.verdict != best.verdict:
        return Replayed("undetermined", worst.log_rule or row["rule"], logged or identity, client)
    if worst.verdict == before:
        return SAME
    if worst.verdict == "allow":
        return Replayed("newly_allowed", worst.log_rule or row["rule"], identity or logged or "", client)
    return Replayed("newly_denied", best.log_rule or row["rule"], logged or identity, client)


def both(policy: Policy, row: Mapping[str, Any], masked: frozenset[str], now: int) -> tuple[str, Decision, Decision]:
    """Return the identity, and the decisions at worst and at best."""
    evaluator, cert = policy.evaluator, row["cert"]
    issuers = set() if cert is None or cert["subject"] is None else issuers_of(policy, cert)
    issuer = next(iter(issuers)) if len(issuers) == 1 else None
    bearer = Bearer(is_anonymous=cert is None) if issuer is None else bearer_of(policy, cert, issuer, masked, now)
    named = (one.name for one in policy.model.identities if one.holds(bearer, generous=False))
    identity = next(named, "") if cert is None or issuer is not None else ""

    def gate(found: Reason) -> tuple[str, Decision, Decision]:
        return identity, evaluator.gate(found), evaluator.gate(found)

    if row["reason"] == Reason.SNI_MISMATCH and not policy.model.defaults.allows_sni_mismatch:
        return gate(Reason.SNI_MISMATCH)
    values = request_values(request_of(row), policy.model.defaults, now)
    if isinstance(values, Reason):
        return gate(values)
    del values.values["header"]
    if cert is None and not policy.model.defaults.allows_anonymous:
        return gate(Reason.NO_CERTIFICATE)
    if cert is not None and cert["subject"] is not None and not issuers:
        return gate(Reason.ISSUER_UNKNOWN)
    switches = frozenset(switch.name for switch in policy.model.switches)
    told = row.get("break_glass")
    opened = None if told is None and switches else switches.intersection(told or ())
    worst = evaluator.answer(held(policy, bearer, values, at_best=False), identity, opened or frozenset())
    best = evaluator.answer(
        held(policy, bearer, values, at_best=True), identity, switches if opened is None else opened
    )
    is_proven = (cert is None or issuer is not None) and row["reason"] != Reason.ISSUER_UNKNOWN
    return identity, worst if is_proven else evaluator.gate(Reason.ISSUER_UNKNOWN), best


def held(policy: Policy, bearer: Bearer, request: RequestValues, *, at_best: bool) -> int:
    """Return the conjunctions that hold, each asked by itself."""
    found = 0
    for number, who, matchers, generous in conjunctions_of(policy.model):
        unavailable = not generous if at_best else generous
        holds = all(
            unavailable if values is UNAVAILABLE else one.holds(values, generous=generous)
            for one in matchers
            for values in (request.values.get(one.key, UNAVAILABLE),)
        )
        if holds and (who is None or is_among(who, bearer, generous=generous, unavailable=unavailable)):
            found |= 1 << number
    return found


def is_among(who: Who, bearer: Bearer, *, generous: bool, unavailable: bool) -> bool:
    """Tell whether a bearer is meant, if what is unavailable is taken like this."""
    if bearer.is_anonymous:
        return who.anonymous
    return who.any_certificate or any(
        all(
            unavailable if values is UNAVAILABLE else one.holds(values, generous=generous)
            for one in conjunction
            for values in (settled(bearer.values.get(one.attribute, UNAVAILABLE), unavailable=unavailable),)
        )
        for identity in who.identities
        for conjunction in identity.alternatives
    )


def settled(values: Any, *, unavailable: bool) -> Any:
    """Return values with memberships of lists that aren't known taken like this."""
    if isinstance(values, tuple) and values and isinstance(values[0], dict):
        return ({name: unavailable if found is UNAVAILABLE else found for name, found in values[0].items()},)
    return values


def request_of(row: Mapping[str, Any]) -> Request:
    method, host, source = row["method"], row["host"], row["src"]
    return Request(
        cert=ABSENT,
        used=False,
        source=UNAVAILABLE if source is None else packed_address(ipaddress.ip_address(source).packed),
        method=UNAVAILABLE if method is None else method,
        path=path_of(method, row["path"], row["reason"]),
        host=UNAVAILABLE if host is None else host,
    )


def issuers_of(policy: Policy, cert: Mapping[str, Any]) -> set[str]:
    """Return the issuers with a CA certificate of the subject that issued *cert*, or the one of them that is named."""
    found: set[str] = set()
    for name in policy.issuers.names:
        for der in policy.issuers.certificates(name):
            try:
                found |= {name} if identity_from_der(der).subject_text == cert["issuer"] else set()
            except CertificateError:
                continue
    return found & {cert.get("issuer_name")} or found


def bearer_of(policy: Policy, cert: Mapping[str, Any], issuer: str, masked: frozenset[str], now: int) -> Bearer:
    try:
        subject = None if "subject" in masked else subject_from_text(cert["subject"])
    except ValueError:
        subject = None
    certificate = replace(
        BLANK,
        sha256=UNAVAILABLE if "sha256" in masked else bytes.fromhex(cert["sha256"]),
        spki_sha256=digest_of(cert, "spki_sha256") or UNAVAILABLE,
        sha1=digest_of(cert, "sha1") or UNAVAILABLE,
        serial=UNAVAILABLE if cert["serial"] is None or "serial" in masked else int(cert["serial"], 16),
        subject=subject or {},
    )
    lists = {name: one.membership(certificate, issuer, now).answer for name, one in policy.lists.items()}
    values = bearer_values(policy.evaluator.attributes, certificate, issuer, lists)
    logged = {"sha256", "spki_sha256", "serial", "issuer", "lists"} - masked
    if masked & {"sha256", "serial"}:
        logged.discard("lists")
    return Bearer(
        {
            name: found
            for name, found in values.items()
            if name in logged or (name.startswith("subject:") and subject is not None)
        }
    )
