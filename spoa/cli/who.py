"""`spoa-authz who`: what a certificate is, and all that it may reach."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.blockedit import target_text
from spoa.blocks import BlockList
from spoa.blockstore import stored_blocks
from spoa.cli.asking import find_state_dir, usual_policies
from spoa.cli.evidence import hint_of, with_answers
from spoa.cli.subjects import is_map, read_der, read_subject
from spoa.cli.table import print_rows, printable
from spoa.exceptions import CertificateError, StateError
from spoa.facts import ABSENT, Request
from spoa.listindex import NEVER
from spoa.loading import load_policy
from spoa.policy.casegrammar import REVOCATIONS
from spoa.policy.model import Reason
from spoa.policy.path import PathPattern
from spoa.policy.scalars import Timestamp
from spoa.reach import OTHER_METHODS, reach_of
from spoa.transcript import certificate_keys, wanted_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spoa.authorizer import Judgement, Policy, Subject
    from spoa.blocks import Block
    from spoa.policy.model import Matcher
    from spoa.reach import Grant, Limit, Reach

__all__ = ["command"]

_NOTHING: Final = 1

_EPILOG: Final = """
\b
Examples:
  spoa-authz who alice.pem
  spoa-authz who alice.pem --policies /etc/spoa-authz/policies --json
  spoa-authz who '{issuer: corp, ou: [staff]}'

\b
Exit status: 0 it may reach something, 1 it may reach nothing, 2 usage,
3 the policy is invalid.
"""


@dataclass(frozen=True, slots=True)
class _Findings:
    """All that there is to tell of one certificate."""

    policy: Policy
    subject: Subject | None
    judgement: Judgement
    refusal: Reason | None
    detail: str
    blocks: tuple[Block, ...]
    reach: Reach | None
    is_file: bool
    told: str

    @property
    def grants(self) -> tuple[Grant, ...]:
        """What it may reach; nothing where a gate denies."""
        return () if self.refusal is not None or self.reach is None else self.reach.grants


def _time(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int:
    try:
        return int(time.time()) if value is None else Timestamp().parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("who", short_help="Tell what a certificate is and may reach.", epilog=_EPILOG)
@click.argument("cert")
@click.option(
    "--policies",
    metavar="DIR",
    default=usual_policies,
    envvar="SPOA_AUTHZ_POLICIES",
    type=click.Path(exists=True, file_okay=False),
    help="The policy directory; unless given `policies`, or where there is none the running agent's.",
)
@click.option(
    "--state-dir", metavar="DIR", help="The agent's state directory, for its blocks; by default as for `serve`."
)
@click.option(
    "--revocation",
    type=click.Choice(REVOCATIONS),
    help="What revocation says; by default the evidence that policy and agent have, and of others than files `good`.",
)
@click.option("--now", metavar="TIME", callback=_time, help="When; by default now.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(
    cert: str, policies: str, state_dir: str | None, revocation: str | None, now: int, *, as_json: bool
) -> None:
    """Tell what the certificate CERT is, and all that it may reach: paths and methods, by which rule, until when.

    CERT is a file, PEM or DER, or what a certificate says, written as in policy tests. The answer is exact for
    requests that pass the gates: each is allowed if, and only if, it is within what is printed.
    """
    policy = load_policy(policies, run_tests=False, now=now)
    der = None if is_map(cert) else _der(cert)
    found = _find(_informed(policy, state_dir, der), cert, der, revocation or "", now)
    if as_json:
        click.echo(json.dumps(_row(found), indent=2, ensure_ascii=False))
    else:
        _print(found)
    sys.exit(0 if found.grants else _NOTHING)


def _der(cert: str) -> bytes:
    try:
        return read_der(cert)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="CERT") from None


def _informed(policy: Policy, state_dir: str | None, der: bytes | None) -> Policy:
    """Return the policy with the blocks of an agent, and with what it has learnt about a certificate."""
    directory = find_state_dir(state_dir, os.environ)
    try:
        blocks = BlockList.from_text(stored_blocks(directory).text)
        return with_answers(policy, directory, der).with_blocks(blocks) if der else policy.with_blocks(blocks)
    except StateError as error:
        if state_dir is not None:
            raise
        # Mostly somebody else's than the agent's user asks; that blocks take no part must not go unsaid.
        click.echo(f"spoa-authz who: the agent's blocks and OCSP answers are not taken into account: {error}", err=True)
        return policy


def _find(policy: Policy, cert: str, der: bytes | None, revocation: str, now: int) -> _Findings:
    request = Request(cert=ABSENT, used=True, verify=0, method="GET", path="/", sni=ABSENT)
    if der is None:
        subject: Subject | None = read_subject(cert, policy.model, now)
        judgement = policy.judge(request, now, subject=subject, revocation=revocation or "good")
    else:
        request.cert = der
        judgement = policy.judge(request, now, revocation=revocation)
        read = policy.subject_of(der, now)
        subject = None if isinstance(read, CertificateError) else read
    decision = judgement.decision
    is_gate = decision.reason in set(Reason) and decision is policy.evaluator.gate(Reason(decision.reason))
    detail = "" if judgement.standing is None else judgement.standing.detail
    return _Findings(
        policy=policy,
        subject=subject,
        judgement=judgement,
        refusal=Reason(decision.reason) if is_gate else None,
        detail=detail,
        blocks=() if subject is None else policy.blocks.naming(subject.certificate, subject.issuer, now),
        reach=None if subject is None else _reach(policy, subject, now, is_file=der is not None),
        is_file=der is not None,
        told=revocation,
    )


def _reach(policy: Policy, subject: Subject, now: int, *, is_file: bool) -> Reach:
    asked = {
        name: index.membership(subject.certificate, subject.issuer or None, now) for name, index in policy.lists.items()
    }
    ends = {name: found.valid_until for name, found in asked.items() if found.answer is True}
    until = subject.certificate.not_after if is_file else NEVER
    return reach_of(policy, policy.bearer(subject, now), until, ends)


def _revocation(found: _Findings) -> tuple[str, str]:
    """Return the state of revocation, and what it rests on."""
    standing = found.judgement.standing
    if standing is None or standing.settings is None:
        return "", "not asked, since another gate denies"
    settings = standing.settings.revocation
    if found.told:
        return found.told, "as --revocation says"
    if not settings.is_checked:
        return "not_checked", settings.none
    if not found.is_file:
        return "", "only of a certificate file"
    assert standing.assured is not None  # of a certificate file whose issuer wants it to be
    return standing.assured.state, standing.assured.detail


# -- JSON -------------------------------------------------------------------------------------------------------


def _instant(seconds: int) -> str | None:
    return None if seconds >= NEVER else f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _row(found: _Findings) -> dict[str, Any]:
    state, detail = _revocation(found)
    certificate = None if found.subject is None else found.subject.certificate
    dated = certificate if found.is_file else None
    return {
        "certificate": None if found.subject is None else certificate_keys(found.subject),
        "issuer": None if found.subject is None else found.subject.issuer or None,
        "not_before": None if dated is None else _instant(dated.not_before),
        "not_after": None if dated is None else _instant(dated.not_after),
        "identities": list(found.reach.identities) if found.reach is not None else [],
        "revocation": {"state": state or None, "detail": detail},
        "blocks": [_block_row(block) for block in found.blocks],
        "refused": None if found.refusal is None else str(found.refusal),
        "detail": found.detail,
        "mode": "shadow" if found.policy.model.defaults.is_shadow else "enforce",
        "revision": found.policy.revision,
        "reach": [_grant_row(grant) for grant in found.grants],
        "void": []
        if found.reach is None
        else [{"rule": rule.id, "denied_by": [one.id for one in by]} for rule, by in found.reach.void],
    }


def _block_row(block: Block) -> dict[str, Any]:
    return {
        "target": target_text(block.target),
        "reason": block.reason,
        "ticket": block.ticket,
        "expires": _instant(block.expires),
    }


def _grant_row(grant: Grant) -> dict[str, Any]:
    return {
        "rule": grant.rule.id,
        "position": grant.rule.position,
        "identities": [name for name in grant.identities if name],
        "paths": [str(path) for path in grant.paths],
        "methods": [name for name in grant.known.named if name in grant.methods],
        "other_methods": OTHER_METHODS in grant.methods,
        "only": [_matcher_row(matcher) for matcher in grant.needs],
        "conditions": [_limit_row(limit) for limit in grant.conditions],
        "exceptions": [_limit_row(limit) for limit in grant.exceptions],
        "switch": grant.rule.active_during or None,
        "until": _instant(grant.until),
    }


def _limit_row(limit: Limit) -> dict[str, Any]:
    return {
        "rule": limit.rule.id,
        "where": [_matcher_row(matcher) for matcher in limit.where],
        "unless": None if limit.unless is None else [_matcher_row(matcher) for matcher in limit.unless],
        "switch": limit.rule.overridable_by or None,
    }


def _matcher_row(matcher: Matcher) -> dict[str, Any]:
    return {"key": matcher.key, "wanted": [str(pattern) for pattern in matcher.patterns]}


# -- text -------------------------------------------------------------------------------------------------------


def _print(found: _Findings) -> None:
    print_rows(list(_head(found)))
    if found.refusal is not None:
        click.echo(f"\nMay reach nothing: {found.refusal}" + (f", {printable(found.detail)}" if found.detail else ""))
        issuer = "" if found.subject is None else found.subject.issuer
        if hint := hint_of(found.policy, issuer, "" if found.told else _revocation(found)[0], found.refusal):
            click.echo(f"({hint})")
        return
    assert found.reach is not None
    if found.reach.is_shadow:
        click.echo("\nThe policy is in shadow mode: what is not listed here passes all the same, and is logged.")
    click.echo("\nMay reach:" if found.grants else "\nMay reach nothing: no rule allows it anything")
    for grant in _shown(found.grants):
        for line in _grant_text(grant):
            click.echo(printable(line))
    for rule, by in found.reach.void:
        click.echo(printable(f"  nothing by {rule.id}: denied by {', '.join(one.id for one in by)}"))


def _head(found: _Findings) -> Iterator[tuple[str, str]]:
    subject = found.subject
    if subject is not None:
        certificate = subject.certificate
        if found.is_file:
            assert isinstance(certificate.sha256, bytes)
            yield "certificate", certificate.subject_text
            yield "sha256", certificate.sha256.hex()
            yield "valid", f"{_instant(certificate.not_before)} to {_instant(certificate.not_after)}"
        yield "issuer", subject.issuer or f"unknown: {certificate.issuer_text}"
        yield "identities", ", ".join(found.reach.identities if found.reach is not None else ()) or "none"
        if listed := sorted(name for name, is_on in subject.lists.items() if is_on is True):
            yield "lists", ", ".join(listed)
        state, detail = _revocation(found)
        yield "revocation", f"{state} ({detail})" if state and detail else state or detail
    for block in found.blocks:
        why = ", ".join(text for text in (block.reason, block.ticket) if text)
        yield "blocked", f"{target_text(block.target)}" + (f": {why}" if why else "")
    yield "revision", found.policy.revision


def _shown(grants: Sequence[Grant]) -> Iterator[Grant]:
    """Yield what people ask about: `OPTIONS *` of rules that name no path goes without saying."""
    for grant in grants:
        names_path = any(matcher.key == "path" for matcher in grant.rule.request)
        is_asterisk = all(isinstance(path, PathPattern) and path.is_asterisk for path in grant.paths)
        if names_path or not is_asterisk:
            yield grant


def _grant_text(grant: Grant) -> Iterator[str]:
    by = ", ".join(name for name in grant.identities if name)
    yield f"  {_methods(grant)} {' '.join(map(str, grant.paths))}  by {grant.rule.id}" + (f" as {by}" if by else "")
    until = _instant(grant.until)
    notes = [f"only with {_listed([matcher])}" for matcher in grant.needs]
    notes += [f"while the switch {grant.rule.active_during} is open"] if grant.rule.active_during else []
    notes += [_condition(limit) for limit in grant.conditions]
    notes += [_exception(limit) for limit in grant.exceptions]
    notes += [f"until {until}"] if until else []
    yield from (f"      {note}" for note in notes)


def _methods(grant: Grant) -> str:
    named = [name for name in grant.known.named if name in grant.methods]
    if OTHER_METHODS not in grant.methods:
        return " ".join(named)
    missing = [name for name in grant.known.named if name not in grant.methods]
    return f"any method but {' '.join(missing)}" if missing else "any method"


def _listed(matchers: Iterable[Matcher]) -> str:
    return " and ".join(f"{matcher.key} = {wanted_text(matcher)}" for matcher in matchers)


def _condition(limit: Limit) -> str:
    ways = [_listed(limit.unless)] if limit.unless else []
    ways += [f"the switch {limit.rule.overridable_by} open"] if limit.rule.overridable_by else []
    return f"only with {' or with '.join(ways)} ({limit.rule.id})"


def _exception(limit: Limit) -> str:
    ways = [_listed(limit.unless)] if limit.unless else []
    ways += [f"the switch {limit.rule.overridable_by} open"] if limit.rule.overridable_by else []
    unless = f", unless with {' or with '.join(ways)}" if ways else ""
    return f"except {_listed(limit.where)}{unless} ({limit.rule.id})"
