"""`spoa-authz explain`: why one request is allowed or denied."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.blocks import BlockList
from spoa.blockstore import stored_blocks
from spoa.cli.asking import usual_policies
from spoa.cli.evidence import with_answers
from spoa.cli.explained import explained_row, explained_text
from spoa.cli.findings import load, print_problems
from spoa.cli.logged import Asked, asked_of, find_decision, last_denies
from spoa.cli.logs import logs_of_agent
from spoa.cli.subjects import is_map, read_der, read_subject
from spoa.cli.table import printable
from spoa.explanation import explain
from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.loading import with_revocation_lists
from spoa.policy.casegrammar import REVOCATIONS, read_address, read_request_line
from spoa.policy.reading import quoted, suggestion
from spoa.policy.scalars import Timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spoa.authorizer import Policy
    from spoa.explanation import Explanation
    from spoa.facts import Missing

__all__ = ["command"]

_DENIED: Final = 1
_INVALID: Final = 3
_NONE: Final = "none"

_EPILOG: Final = """
\b
Examples:
  spoa-authz explain --policies policies --cert alice.pem \\
      --request "GET /admin/users" --source 10.20.1.1
  spoa-authz explain --cert none --request "GET /" --json
  spoa-authz explain --cert '{issuer: corp, ou: staff}' --request "GET /"
  spoa-authz explain --id 7F000001:C5A2 --log decisions.jsonl
  spoa-authz explain --last 3

\b
Exit status: 0 allowed, 1 denied, 2 usage or a file that is no decision log,
3 the policy is invalid.
"""


class _Parsed(click.ParamType):  # type: ignore[type-arg] # generic in newer releases only
    """A value that a function of the policy language reads."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value read; what can't be read is a usage error."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            return self.fail(str(error), param, ctx)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not name or not colon:
        raise ValueError("write a header as `Name: value`")
    return name.strip().lower(), value.strip()


@click.command("explain", short_help="Say why a request is allowed or denied.", epilog=_EPILOG)
@click.option(
    "--policies",
    metavar="DIR",
    default=usual_policies,
    envvar="SPOA_AUTHZ_POLICIES",
    type=click.Path(exists=True, file_okay=False),
    help="The policy directory; unless given `policies`, or where there is none the running agent's.",
)
@click.option(
    "--cert",
    metavar="FILE",
    help="The client certificate, PEM or DER; or `none`; or what it says, as in tests: {issuer: corp, ou: staff}.",
)
@click.option("--request", "line", type=_Parsed("request", read_request_line), help='"GET /path"; left out: TCP.')
@click.option("--source", metavar="IP", type=_Parsed("address", read_address), help="Address of the client.")
@click.option("--host", help="Host header.")
@click.option("--sni", help="Server name that TLS asked for; absent unless given.")
@click.option("--tls", metavar="VERSION", help="TLS version, such as TLSv1.3.")
@click.option(
    "--header", "headers", metavar="NAME:VALUE", multiple=True, type=_Parsed("header", _header), help="A header."
)
@click.option("--now", type=_Parsed("time", Timestamp().parse), help="When, such as 2026-11-20T10:00:00+01:00.")
@click.option("--open", "switches", metavar="SWITCH", multiple=True, help="A break-glass switch that is open.")
@click.option(
    "--revocation",
    type=click.Choice(REVOCATIONS),
    help="What revocation says; by default the evidence at hand is judged of a file, and others are good.",
)
@click.option("--state-dir", metavar="DIR", help="The agent's state directory, for its blocks and OCSP answers.")
@click.option("--id", "request_id", metavar="ID", help="Explain the decision of the log with this unique id.")
@click.option("--last", metavar="N", type=click.IntRange(1, 1000), help="Explain the last N denies of the log.")
@click.option(
    "--log",
    "logs",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="The decision log for --id and --last, gzip or not, repeatable; by default the running agent's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(policies: str, *, now: int | None, as_json: bool, **given: Any) -> None:
    """Say why a request is allowed or denied: every gate and rule with what it saw, and the nearest miss.

    What isn't given is unavailable, as if HAProxy had not sent it. A decision of the log is judged again by the policy
    as it is now, at the time that it was made; what the log doesn't hold is unavailable too, and named. Give --cert
    with it to have the whole certificate.
    """
    _check_usage(given)
    loaded, report = load(policies)
    if loaded is None:
        print_problems((problem for problem in report.problems if not problem.is_warning), err=True)
        sys.exit(_INVALID)
    policy = loaded.policy()
    if given["state_dir"]:
        policy = policy.with_blocks(BlockList.from_text(stored_blocks(Path(given["state_dir"])).text))
    if not (given["revocation"] or given["request_id"] or given["last"]):
        policy = with_revocation_lists(policy, loaded, Path(policies), time.time() if now is None else now)
        policy = _learned(policy, given)
    _check_switches(policy, given["switches"])
    asked = list(_asked(policy, now, given))
    explained = [(one, _explain(policy, one, given)) for one in asked]
    if as_json:
        rows = [explained_row(explanation, policy, one) for one, explanation in explained]
        click.echo(json.dumps({"decisions": rows} if given["last"] else rows[0], indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(_paragraphs(policy, explained)) or "the log holds no deny")
    sys.exit(_DENIED if any(explanation.verdict != "allow" for _, explanation in explained) else 0)


def _paragraphs(policy: Policy, explained: Sequence[tuple[Asked, Explanation]]) -> Iterator[str]:
    for number, (asked, explanation) in enumerate(explained):
        if number:
            yield ""
        yield from map(printable, explained_text(explanation, policy, asked))


def _learned(policy: Policy, given: dict[str, Any]) -> Policy:
    """Return the policy with what an agent has learnt about the certificate."""
    cert = given["cert"]
    if not given["state_dir"] or cert == _NONE or is_map(cert):
        return policy
    return with_answers(policy, Path(given["state_dir"]), _der(cert))


def _check_switches(policy: Policy, names: Sequence[str]) -> None:
    known = [switch.name for switch in policy.model.switches]
    for name in names:
        if name not in known:
            raise click.UsageError(f"unknown break_glass switch {quoted(name)}{suggestion(name, known)}")


def _check_usage(given: dict[str, Any]) -> None:
    if given["request_id"] and given["last"]:
        raise click.UsageError("--id and --last name different decisions; give one of them")
    if given["request_id"] or given["last"]:
        if given["last"] and given["cert"]:
            raise click.UsageError("--cert goes with --id, not with --last: these decisions are about several")
        given["logs"] = given["logs"] or logs_of_agent(given["state_dir"])
    elif not given["cert"]:
        raise click.UsageError("Missing option '--cert'; or give --id or --last.")


def _asked(policy: Policy, now: int | None, given: dict[str, Any]) -> Iterator[Asked]:
    """Yield what is to be explained."""
    cert = given["cert"]
    der = _der(cert) if cert and cert != _NONE and not is_map(cert) else None
    if given["last"]:
        yield from _last_asked(policy, last_denies(given["logs"], given["last"]))
    elif given["request_id"]:
        yield asked_of(find_decision(given["logs"], given["request_id"]), policy, der)
    else:
        moment = time.time() if now is None else now
        subject = read_subject(cert, policy.model, int(moment)) if is_map(cert) else None
        yield Asked(_request(given, der), moment, subject, "" if der is not None else "good")


def _last_asked(policy: Policy, decisions: Sequence[dict[str, Any]]) -> list[Asked]:
    """Return what decisions were about; those of which the log says too little are told, unless there are no others."""
    found, error = [], None
    for decision in decisions:
        try:
            found.append(asked_of(decision, policy))
        except click.BadParameter as why:
            error = why
            place = f"{decision.get('time')} {decision.get('id')}"
            click.echo(printable(f"spoa-authz explain: {place}: {why.message}"), err=True)
    if error is not None and not found:
        raise error
    return found


def _der(file: str) -> bytes:
    try:
        return read_der(file)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--cert") from None


def _explain(policy: Policy, asked: Asked, given: dict[str, Any]) -> Explanation:
    return explain(
        policy,
        asked.request,
        asked.now,
        subject=asked.subject,
        revocation=given["revocation"] or asked.revocation,
        switches=frozenset(given["switches"]),
    )


def _request(given: dict[str, Any], der: bytes | None) -> Request:
    method: Any
    path: Any
    method, path = given["line"] or (UNAVAILABLE, UNAVAILABLE)
    headers: dict[str, str | Missing] = {}
    for name, value in given["headers"]:
        headers[name] = UNAVAILABLE if name in headers else value
    return Request(
        cert=ABSENT if der is None else der,
        used=der is not None,
        verify=UNAVAILABLE if der is None else 0,
        source=given["source"] or UNAVAILABLE,
        method=method,
        path=path,
        host=_or_unavailable(given["host"]),
        sni=ABSENT if given["sni"] is None else given["sni"],
        tls=_or_unavailable(given["tls"]),
        headers=headers,
    )


def _or_unavailable(value: str | None) -> Any:
    return UNAVAILABLE if value is None else value
