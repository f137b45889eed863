"""One certificate, or its whole chain, judged by all the evidence given: what agent and command line both run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spoa.exceptions import CertificateError
from spoa.revocation.certificates import Certified
from spoa.revocation.combine import any_revoked, whole_chain
from spoa.revocation.crl_judgement import CrlJudge
from spoa.revocation.evidence import Evidence, read_certificates, read_crls, read_responses
from spoa.revocation.ocsp_judgement import OcspJudge
from spoa.revocation.status import Depth, Reason, Result, Rules, Status, most_specific
from spoa.revocation.trust import Trust, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from spoa.revocation.trust import Path

__all__ = ["Answers", "check", "judge"]


class Answers(NamedTuple):
    """What the two kinds of evidence say of one certificate."""

    crl: Result
    ocsp: Result


def check(  # noqa: PLR0913 - each is evidence or a circumstance of its own, and given by name
    certificate: bytes,
    issuers: Sequence[bytes],
    *,
    anchors: Sequence[bytes] = (),
    extra: Sequence[bytes] = (),
    crls: Iterable[bytes] = (),
    ocsp_responses: Iterable[bytes] = (),
    now: datetime,
    depth: Depth | str = Depth.LEAF,
    request_nonce: bytes | None = None,
    rules: Rules | None = None,
) -> Result:
    """Tell whether a certificate is revoked, by the given evidence and nothing else. All certificates are DER.

    Any revocation counts; else an OCSP *unknown*; else one source that proves the certificate good is enough. What
    can't be used, junk included, proves nothing: without proof the status is undetermined, never an exception. With
    depth `chain` every certificate below the anchor is judged, and the worst answer is the chain's.

    Args:
        certificate: the one in question.
        issuers: the CA certificates above it, nearest first; empty when an anchor issued it.
        anchors: whom to trust; without any, the last of `issuers`.
        extra: certificates that may have signed evidence: CRL signers, indirect CRL issuers, and what lies above them.
        crls: CRLs, complete and delta; PEM is taken too.
        ocsp_responses: OCSP responses.
        now: the time to judge at, aware of its time zone.
        depth: see `Depth`.
        request_nonce: what was sent in the OCSP request, where one was.
        rules: what differs from the strict defaults.

    Raises:
        ValueError: `now` has no time zone, or `depth` is neither `leaf` nor `chain`.
    """
    if now.tzinfo is None:
        raise ValueError("now must be aware of its time zone")
    wanted, rules, instant = Depth(depth), rules or Rules(), int(now.timestamp())
    read, crl_problems = read_crls(crls)
    responses, response_problems = read_responses(ocsp_responses)
    evidence = Evidence(read, responses, read_certificates(extra), crl_problems, response_problems)
    try:
        subject, *above = (Certified.from_der(der) for der in (certificate, *issuers))
    except CertificateError:
        return Result(Status.UNDETERMINED, Reason.CERTIFICATE_UNPARSABLE)
    # Anchors that can't be read are still not the same as none given.
    trusted = read_certificates(anchors) if anchors else above[-1:]
    path = path_of(subject, above, trusted, instant)
    if path is None or (wanted is Depth.CHAIN and not anchors and not path[-1].is_self_issued):
        # Without anchors, the last issuer is the end of the chain only if nobody else has issued it.
        return Result(Status.UNDETERMINED, Reason.ISSUER_UNKNOWN)
    answers = judge(path, evidence, now=instant, rules=rules, depth=wanted, nonce=request_nonce)
    return whole_chain([any_revoked(item.crl, item.ocsp) for item in answers])


def judge(
    path: Path,
    evidence: Evidence,
    *,
    now: int,
    rules: Rules,
    depth: Depth,
    nonce: bytes | None = None,
    pinned: Sequence[Certified] = (),
) -> list[Answers]:
    """Return the answers for the first certificate of a path (see `path_of`), or for each below the anchor.

    `pinned` are OCSP responders that the operator named. `now` counts seconds since the epoch.
    """
    trust = Trust(path, evidence.extra, now, rules)
    by_crl = CrlJudge(evidence.crls, trust, now, rules, depth)
    by_ocsp = OcspJudge(
        evidence.responses,
        extra=evidence.extra,
        crl_status=by_crl.status,
        now=now,
        rules=rules,
        nonce=nonce,
        pinned=pinned,
    )
    until = min(member.not_after for member in path) + 1
    asked = len(path) - 1 if depth is Depth.CHAIN else 1
    found: list[Answers] = []
    for position in range(asked):
        subject, issuer = path[position], path[position + 1]
        crl = _explained(by_crl.status(subject, issuer), evidence.crl_problems)
        ocsp = _explained(by_ocsp.status(subject, issuer), evidence.response_problems)
        found.append(Answers(*(_placed(result, position, subject, now, until) for result in (crl, ocsp))))
    return found


def _explained(result: Result, problems: Sequence[Reason]) -> Result:
    """Name what could not even be read as the reason, if nothing better is known."""
    if result.status is not Status.UNDETERMINED:
        return result
    return result._replace(reason=most_specific(Reason(result.reason), *problems))


def _placed(result: Result, position: int, subject: Certified, now: int, until: int) -> Result:
    if result.status is Status.REVOKED:
        return result._replace(position=position)
    if not subject.is_valid_at(now):
        # RFC 5280 section 3.3: lists forget what has expired, so their silence about it means nothing.
        return Result(Status.UNDETERMINED, Reason.CERTIFICATE_NOT_VALID_NOW, position)
    return result._replace(position=position, valid_until=min(result.valid_until, until))
