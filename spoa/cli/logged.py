"""Decisions of a log, as `explain` judges them again."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.authorizer import Subject
from spoa.cli.logs import Unread, decisions_of, lines_of
from spoa.decision_fields import hidden
from spoa.exceptions import CertificateError
from spoa.facts import ABSENT
from spoa.identity import fingerprints, identity_from_der
from spoa.policy.casegrammar import REVOCATIONS
from spoa.recorded import certificate_of, read_decision, request_of, time_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spoa.authorizer import Policy
    from spoa.facts import Request

__all__ = ["Asked", "asked_of", "find_decision", "last_denies"]

#: What a log has not, by the attribute or argument that a policy reads it by.
_NOT_LOGGED: Final = ("sni", "tls", "hdr")
_NOT_SAID: Final = ("dns_san", "uri_san", "email_san", "ip_san", "eku", "policy_oids", "key_bits", "spki_sha256")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is to be explained.

    Attributes:
        request: as it is judged.
        now: seconds since the epoch.
        subject: the certificate where it is given as what it says.
        revocation: what revocation said; empty to have the evidence judged.
        decision: the line of the log; None without one.
        lacks: what the policy reads and the log doesn't tell.
    """

    request: Request
    now: float
    subject: Subject | None = None
    revocation: str = ""
    decision: dict[str, Any] | None = None
    lacks: tuple[str, ...] = ()


def find_decision(logs: Sequence[Path], wanted: str) -> dict[str, Any]:
    """Return the last decision with an id.

    Raises:
        click.BadParameter: there is none.
    """
    found = None
    written = json.dumps(wanted).encode()
    for path in logs:
        for line in lines_of(path):
            # Looked for as text first: reading a line costs twenty times as much.
            if written in line:
                decision = read_decision(line)
                found = decision if decision is not None and decision.get("id") == wanted else found
    if found is None:
        raise click.BadParameter(f"no decision in the log has the id {wanted}", param_hint="--id")
    return found


def last_denies(logs: Sequence[Path], count: int) -> list[dict[str, Any]]:
    """Return the last denies of the logs, the newest last; lines that look like one and can't be read are told.

    Raises:
        click.BadParameter: one of the files is no decision log.
    """
    unread = Unread()
    denies = (one for one in decisions_of(logs, unread, holding=b'"deny"') if one["verdict"] == "deny")
    kept = deque(denies, maxlen=count)
    unread.tell("explain")
    return list(kept)


def asked_of(decision: dict[str, Any], policy: Policy, der: bytes | None = None) -> Asked:
    """Return what a decision was about.

    Args:
        decision: a line of the log.
        policy: by which it will be judged.
        der: the certificate itself, of which the log has only a part.

    Raises:
        click.BadParameter: the certificate is another one, or the log doesn't tell the time, or masks what is needed.
    """
    now = time_of(decision)
    if now is None:
        raise click.BadParameter("the decision has no time", param_hint="--log")
    if "path" in hidden(decision) and decision.get("path") is not None:
        message = "the log doesn't have the path as it was; explain it with --cert and --request"
        raise click.BadParameter(message, param_hint="--log")
    request = request_of(decision)
    said = decision.get("revocation")
    revocation = said if said in REVOCATIONS else "good"
    masked = hidden(decision)
    lacks = tuple(sorted(one for one in policy.reads if one.partition(".")[0] in _NOT_LOGGED))
    lacks += tuple(f"{one} (masked)" for one in sorted(masked - {"id"}))  # no policy reads that
    if der is not None:
        logged = (decision.get("cert") or {}).get("sha256")
        # Whose a masked fingerprint is nobody can tell: whoever gives a certificate vouches for it.
        if "sha256" not in masked and fingerprints(der)[0].hex() != logged:
            raise click.BadParameter(f"the decision was about another certificate, {logged}", param_hint="--cert")
        request.cert, request.used, request.verify = der, True, 0
        return Asked(request, now, None, revocation, decision, lacks)
    if "subject" in masked and (decision.get("cert") or {}).get("subject") is not None:
        message = "the log masks the subject of the certificate; give the certificate itself: --cert FILE"
        raise click.BadParameter(message, param_hint="--log")
    found = certificate_of(decision, int(now))
    if found is None:
        return Asked(request, now, None, revocation, decision, lacks)
    certificate, issuer_text = found
    lacks += tuple(one for one in _NOT_SAID if one in policy.evaluator.attributes)
    named = (decision.get("cert") or {}).get("issuer_name")
    subject = Subject(certificate, _issuer_named(policy, issuer_text, named), {})
    return Asked(replace(request, used=True, cert=ABSENT), now, subject, revocation, decision, lacks)


def _issuer_named(policy: Policy, text: str, named: object) -> str:
    """Return the issuer of the policy whose CA has that name, of several the one that the log names; empty for none."""
    found = []
    for issuer in policy.model.issuers:
        for der in policy.issuers.certificates(issuer.name):
            try:
                name = identity_from_der(der).subject_text
            except CertificateError:
                continue
            if name == text and issuer.name not in found:
                found.append(issuer.name)
    if len(found) == 1:
        return found[0]
    return next((name for name in found if name == named), "")
