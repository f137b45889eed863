"""Policies for tests, without files: text becomes a model, a judge, or problems; a certificate is what one says.

    judge = policy(HEAD + "rules: [{id: all, effect: allow, who: any_certificate}]")
    ask(judge, holder(cn="alice"), path="/").verdict

What isn't said of a request is unavailable, as in a message that left it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from spoa.authorizer import Policy, Subject
from spoa.facts import ABSENT, UNAVAILABLE, Certificate, Request
from spoa.issuers import Issuers
from spoa.policy import oids
from spoa.policy.evaluator import Evaluator
from spoa.policy.load import load_policies
from spoa.policy.reading import Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spoa.exceptions import Problem
    from spoa.policy.decision import Decision
    from spoa.policy.model import PolicyModel

__all__ = ["HEAD", "NOW", "ask", "certificate", "holder", "judge", "model", "policy", "problems", "said"]

#: Friday, 20 November 2026, 09:00 UTC; 10:00 in Paris.
NOW: Final = 1_795_165_200

HEAD: Final = """
apiVersion: authz/v1
issuers:
  corp: {ca: corp.pem, revocation: {none: "a test"}}
  partners: {ca: partners.pem, revocation: {none: "a test"}}
"""


def said(decision: Decision) -> dict[str, object]:
    """Return what a decision says, without what counts it."""
    names = "verdict status reason rule identity route shadow rules log_reason log_rule"
    return {name: getattr(decision, name) for name in names.split()}


def problems(*texts: str, now: float | None = None) -> list[Problem]:
    """Return what is wrong with the documents `0.yaml`, `1.yaml`, …"""
    report = Report()
    load_policies({f"{number}.yaml": text.encode() for number, text in enumerate(texts)}, report, now=now)
    return list(report.problems)


def model(*texts: str) -> PolicyModel:
    """Load documents that must have nothing wrong with them but warnings."""
    report = Report()
    found = load_policies({f"{number}.yaml": text.encode() for number, text in enumerate(texts)}, report)
    assert found is not None, "\n".join(map(str, report.problems))
    return found


def policy(*texts: str, authorities: Mapping[str, Sequence[bytes]] | None = None) -> Policy:
    """Load documents into a policy; `authorities` are CA certificates (DER) by issuer."""
    return Policy(Evaluator.of(model(*texts)), Issuers(authorities or {}), {}, "0123456789ab")


def certificate(
    cn: str | Sequence[str] = (), ou: str | Sequence[str] = (), o: str | Sequence[str] = (), **fields: Any
) -> Certificate:
    """Return a certificate that passes every gate unless a field says otherwise; `subject` maps OIDs to values."""
    subject = dict(fields.pop("subject", {}))
    for oid, values in ((oids.CN, cn), (oids.OU, ou), (oids.O, o)):
        if values:
            subject[oid] = (values,) if isinstance(values, str) else tuple(values)
    given: dict[str, Any] = {
        "sha256": bytes(32),
        "sha1": bytes(20),
        "spki_sha256": bytes(32),
        "serial": 1,
        "dns_san": (),
        "uri_san": (),
        "email_san": (),
        "ip_san": (),
        "eku": ABSENT,
        "policy_oids": ABSENT,
        "is_ca": False,
        "has_digital_signature": True,
        "key_type": "EC",
        "key_bits": 256,
        "signature_hash": "sha256",
        "not_before": NOW - 3600,
        "not_after": NOW + 30 * 86400,
    }
    return Certificate(subject=subject, **{**given, **fields})


def holder(
    cn: str | Sequence[str] = (),
    ou: str | Sequence[str] = (),
    *,
    issuer: str = "corp",
    lists: Any = None,
    **fields: Any,
) -> Subject:
    """Return somebody with a certificate of *issuer*; `lists` tells on which lists it is."""
    return Subject(certificate(cn, ou, **fields), issuer, lists or {})


def judge(
    by: Policy, who: Subject | None, *, now: float = NOW, switches: frozenset[str] | None = None, **request: Any
) -> Any:
    """Return the judgement of a request; `who` None sends no certificate."""
    if who is None:
        request = {"cert": ABSENT, "used": False, "verify": 0, **request}
    return by.judge(Request(**request), now, subject=who, switches=switches)


def ask(by: Policy, who: Subject | None = None, method: Any = "GET", path: Any = "/", **request: Any) -> Decision:
    """Return the decision on a request, `GET /` unless said otherwise; `method` and `path` None is TCP mode."""
    given: dict[str, Any] = {
        "method": UNAVAILABLE if method is None else method,
        "path": UNAVAILABLE if path is None else path,
    }
    found: Decision = judge(by, who, **given, **request).decision
    return found
