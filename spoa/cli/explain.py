"""`spoa-authz explain`: why one request is allowed or denied."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.blocks import FILE, BlockList
from spoa.cli.findings import load, print_problems
from spoa.cli.table import printable
from spoa.explanation import Explanation, explain
from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.pem import read_blocks
from spoa.policy.casegrammar import REVOCATIONS, read_address, read_request_line
from spoa.policy.reading import quoted, suggestion
from spoa.policy.scalars import Timestamp
from spoa.statefile import read_text
from spoa.transcript import certificate_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spoa.authorizer import Policy
    from spoa.explanation import Check, RuleView
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

\b
Exit status: 0 allowed, 1 denied, 2 usage, 3 the policy is invalid.
"""

_WORDS: Final = {
    "allows": "allows",
    "denies": "DENIES",
    "not_met": "NOT MET",
    "met": "met",
    "excepted": "excepted",
    "not_matched": "not matched",
    "not_in_force": "not in force",
}


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


def _certificate(file: str) -> bytes | Missing:
    if file == _NONE:
        return ABSENT
    try:
        blocks = read_blocks(Path(file).read_bytes(), "CERTIFICATE")
    except OSError as error:
        raise ValueError(f"{file} can't be read: {error.strerror}") from error
    if not blocks:
        raise ValueError(f"{file} holds no certificate, neither PEM nor DER")
    if blocks[0].problem:
        raise ValueError(f"{file}:{blocks[0].line}: {blocks[0].problem}")
    return blocks[0].der


@click.command("explain", short_help="Say why a request is allowed or denied.", epilog=_EPILOG)
@click.option(
    "--policies",
    metavar="DIR",
    default="policies",
    show_default=True,
    envvar="SPOA_AUTHZ_POLICIES",
    type=click.Path(exists=True, file_okay=False),
    help="The policy directory.",
)
@click.option(
    "--cert",
    metavar="FILE",
    required=True,
    type=_Parsed("certificate", _certificate),
    help="The client certificate, PEM or DER, or `none`.",
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
    "--revocation", type=click.Choice(REVOCATIONS), default="good", show_default=True, help="What revocation says."
)
@click.option("--state-dir", metavar="DIR", help="The agent's state directory, for its block list.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(policies: str, *, now: int | None, revocation: str, as_json: bool, **given: Any) -> None:
    """Say why a request is allowed or denied: every gate and rule with what it saw, and the nearest miss.

    What isn't given is unavailable, as if HAProxy had not sent it.
    """
    loaded, report = load(policies)
    if loaded is None:
        print_problems((problem for problem in report.problems if not problem.is_warning), err=True)
        sys.exit(_INVALID)
    policy = loaded.policy()
    if given["state_dir"]:
        policy = policy.with_blocks(BlockList.from_text(read_text(Path(given["state_dir"]) / FILE)))
    known = [switch.name for switch in policy.model.switches]
    for name in given["switches"]:
        if name not in known:
            raise click.UsageError(f"unknown break_glass switch {quoted(name)}{suggestion(name, known)}")
    explanation = explain(
        policy,
        _request(given),
        time.time() if now is None else now,
        revocation=revocation,
        switches=frozenset(given["switches"]),
    )
    if as_json:
        click.echo(json.dumps(_row(explanation, policy), indent=2, ensure_ascii=False))
    else:
        for text in _text(explanation, policy):
            click.echo(printable(text))
    sys.exit(0 if explanation.verdict == "allow" else _DENIED)


def _request(given: dict[str, Any]) -> Request:
    method: Any
    path: Any
    method, path = given["line"] or (UNAVAILABLE, UNAVAILABLE)
    headers: dict[str, str | Missing] = {}
    for name, value in given["headers"]:
        headers[name] = UNAVAILABLE if name in headers else value
    is_there = isinstance(given["cert"], bytes)
    return Request(
        cert=given["cert"],
        used=is_there,
        verify=0 if is_there else UNAVAILABLE,
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


# -- JSON -------------------------------------------------------------------------------------------------------


def _row(explanation: Explanation, policy: Policy) -> dict[str, Any]:
    nearest = explanation.nearest
    return {
        "verdict": explanation.verdict,
        "status": explanation.status,
        "reason": explanation.reason,
        "rule": explanation.rule,
        "rules_matched": list(explanation.matched),
        "identity": explanation.identity,
        "route": explanation.route,
        "shadow": explanation.shadow,
        "revision": policy.revision,
        "certificate": None if explanation.subject is None else certificate_keys(explanation.subject),
        "detail": explanation.detail,
        "gates": [
            {"gate": str(gate.reason), "passed": gate.passed, "seen": gate.seen or None} for gate in explanation.gates
        ],
        "rules": [_rule_row(view, explanation.decisive) for view in explanation.rules],
        "nearest": None
        if nearest is None
        else {
            "rule": nearest.rule,
            "sentence": nearest.sentence,
            "missing": [_check_row(check) for check in nearest.missing],
        },
    }


def _rule_row(view: RuleView, decisive: RuleView | None) -> dict[str, Any]:
    return {
        "id": view.rule.id,
        "effect": str(view.rule.effect),
        "position": view.rule.position,
        "outcome": view.outcome,
        "decisive": view is decisive,
        "mode": "shadow" if view.rule.is_shadow else "enforce",
        "matchers": [_check_row(check) for check in view.checks],
    }


def _check_row(check: Check) -> dict[str, Any]:
    question = check.question
    return {
        "part": question.part,
        "identity": question.identity,
        "alternative": question.alternative if question.alternative >= 0 else None,
        "key": question.key,
        "wanted": check.wanted,
        "seen": check.seen,
        "holds": check.holds,
        "matching": "generous" if question.generous else "strict",
    }


# -- text -------------------------------------------------------------------------------------------------------


def _text(explanation: Explanation, policy: Policy) -> Iterator[str]:
    yield from _head(explanation)
    yield f"revision: {policy.revision}"
    yield ""
    yield "Gates:"
    for gate in explanation.gates:
        if gate.passed is not None:
            yield f"  {'passed' if gate.passed else 'FAILED'}  {gate.reason}" + (f": {gate.seen}" if gate.seen else "")
    if explanation.rules:
        yield ""
        yield "Rules:"
    for view in explanation.rules:
        yield from _rule_text(view, is_decisive=view is explanation.decisive)
    if explanation.nearest is not None:
        yield ""
        yield f"Nearest miss: {explanation.nearest.sentence}"


def _head(explanation: Explanation) -> Iterator[str]:
    by = f" by rule {explanation.rule}" if explanation.rule else ""
    yield f"{explanation.verdict.upper()} {explanation.reason}{by}, status {explanation.status}"
    if explanation.shadow:
        yield "shadow: would have been denied"
    if explanation.route:
        yield f"route: {explanation.route}"
    if explanation.identity:
        yield f"identity: {explanation.identity}"
    if explanation.subject is not None:
        said = certificate_keys(explanation.subject).items()
        yield "certificate: " + ", ".join(f"{key} {_plain(value)}" for key, value in said)
    if explanation.detail:
        yield f"detail: {explanation.detail}"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items())
    return " | ".join(map(str, value)) if isinstance(value, list) else str(value)


def _rule_text(view: RuleView, *, is_decisive: bool) -> Iterator[str]:
    rule = view.rule
    notes = (", shadow" if rule.is_shadow else "") + (", decisive" if is_decisive else "")
    yield f"  {_WORDS[view.outcome]}  {rule.id} ({rule.effect}{notes}) {rule.position}"
    for check in view.checks:
        question = check.question
        name = f" {question.identity}" if question.identity else ""
        mark = "yes" if check.holds else "no "
        yield f"      {mark}  {question.part}{name}: {question.key} = {check.wanted}, seen: {check.seen}"
