"""Explanations as `explain` prints them: JSON for programs, lines for people."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from spoa.cli.evidence import hint_of
from spoa.transcript import certificate_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.authorizer import Policy
    from spoa.cli.logged import Asked
    from spoa.explanation import Check, Explanation, RuleView

__all__ = ["explained_row", "explained_text"]

#: The last second that has a date; what holds beyond it, such as a revocation, holds for good.
_LAST: Final = 253_402_300_799
_WORDS: Final = {
    "allows": "allows",
    "denies": "DENIES",
    "not_met": "NOT MET",
    "met": "met",
    "excepted": "excepted",
    "not_matched": "not matched",
    "not_in_force": "not in force",
}


# -- JSON -------------------------------------------------------------------------------------------------------


def explained_row(explanation: Explanation, policy: Policy, asked: Asked) -> dict[str, Any]:
    """Return an explanation as `--json` gives it."""
    nearest = explanation.nearest
    assured = explanation.assured
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
        "revocation": {
            "state": explanation.revocation or None,
            "detail": "" if assured is None else assured.detail,
            "valid_until": None if assured is None else _instant(assured.valid_until),
            "evidence": list(_evidence(explanation, policy)),
        },
        "logged": None if asked.decision is None else _logged_row(explanation, asked, policy),
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


def _logged_row(explanation: Explanation, asked: Asked, policy: Policy) -> dict[str, Any]:
    assert asked.decision is not None
    said = {key: asked.decision.get(key) for key in ("time", "id", "verdict", "status", "reason", "rule", "revision")}
    return {
        **said,
        "differs": _differs(explanation, asked),
        "is_same_revision": said["revision"] == policy.revision,
        "not_in_log": list(asked.lacks),
    }


def _differs(explanation: Explanation, asked: Asked) -> bool:
    """Tell whether what is judged now is another answer than the log's, which has what shadow mode softened."""
    said = asked.decision or {}
    rule = "" if explanation.decisive is None else explanation.decisive.rule.id
    if explanation.reason == said.get("reason") and rule == said.get("rule"):
        return False
    return (explanation.verdict, explanation.reason) != (said.get("verdict"), said.get("reason"))


def _instant(seconds: int) -> str | None:
    return None if seconds > _LAST else f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _evidence(explanation: Explanation, policy: Policy) -> Iterator[dict[str, Any]]:
    """Yield the revocation lists that were asked."""
    if explanation.assured is None or explanation.subject is None:
        return
    for crl in policy.assurance.crls.get(explanation.subject.issuer, ()):
        yield {
            "kind": "crl",
            "number": crl.number,
            "this_update": _instant(crl.this_update),
            "next_update": None if crl.next_update is None else _instant(crl.next_update),
            "is_delta": crl.base_number is not None,
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


def explained_text(explanation: Explanation, policy: Policy, asked: Asked) -> Iterator[str]:
    """Yield an explanation in lines."""
    yield from _logged_text(explanation, policy, asked)
    yield from _head(explanation, policy)
    for one in _evidence(explanation, policy):
        until = one["next_update"] or "any time"
        kind = "delta CRL" if one["is_delta"] else "CRL"
        yield f"evidence: {kind} number {one['number']} of {one['this_update']}, next update {until}"
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


def _logged_text(explanation: Explanation, policy: Policy, asked: Asked) -> Iterator[str]:
    said = asked.decision
    if said is None:
        return
    request = " ".join(str(said[key]) for key in ("method", "path") if said.get(key))
    by = f" by rule {said['rule']}" if said.get("rule") else ""
    yield f"logged {said.get('time')} {said.get('id')} {request}: {said['verdict']} {said.get('reason')}{by}"
    if said.get("revision") != policy.revision:
        yield f"logged under revision {said.get('revision')}, which is another one than this policy's"
    if asked.lacks:
        yield f"not in the log, so unavailable: {', '.join(asked.lacks)}"
    if _differs(explanation, asked):
        yield "judged again, it comes out otherwise:"


def _head(explanation: Explanation, policy: Policy) -> Iterator[str]:
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
    if explanation.assured is not None:
        yield f"revocation: {explanation.revocation} ({explanation.assured.detail})"
        issuer = "" if explanation.subject is None else explanation.subject.issuer
        if hint := hint_of(policy, issuer, explanation.revocation, explanation.reason):
            yield f"hint: {hint}"
    if explanation.detail:
        yield f"detail: {explanation.detail}"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(one)}" for key, one in value.items())
    return " | ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _rule_text(view: RuleView, *, is_decisive: bool) -> Iterator[str]:
    rule = view.rule
    notes = (", shadow" if rule.is_shadow else "") + (", decisive" if is_decisive else "")
    yield f"  {_WORDS[view.outcome]}  {rule.id} ({rule.effect}{notes}) {rule.position}"
    for check in view.checks:
        question = check.question
        name = f" {question.identity}" if question.identity else ""
        mark = "yes" if check.holds else "no "
        yield f"      {mark}  {question.part}{name}: {question.key} = {check.wanted}, seen: {check.seen}"
