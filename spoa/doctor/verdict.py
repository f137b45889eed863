"""Whether a request without an allow can get past the rules of a frontend, and where.

The rules are followed in order for a request whose verdict is not `allow`. What else they test is not known, so a rule
counts as reached and run only where that doesn't depend on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spoa.doctor.findings import Finding, found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spoa.haproxy_config.acl import Acl, Comparison, Condition, Literal
    from spoa.haproxy_config.proxies import Proxy, Rule

__all__ = ["Passage", "denies", "follow", "holds_when_found", "judging_directives", "verdict_tests"]

_VERDICT: Final = re.compile(r"(?P<scope>proc|sess|txn|req|res)\.(?P<prefix>[\w.]+)\.verdict")
_REFUSING: Final = frozenset({"deny", "reject", "tarpit", "silent-drop"})
_ACCEPTING: Final = frozenset({"allow", "accept"})
_SETTING: Final = frozenset({"set-var", "set-var-fmt"})
_SMALLEST_REFUSAL: Final = 400


@dataclass(slots=True)
class Passage:
    """What becomes of a request that was not allowed.

    Attributes:
        guard: the rule that certainly denies it; None where there is none.
        prefixes: prefixes of the variables that the guard reads.
        findings: what was found on the way.
    """

    guard: Rule | None
    prefixes: frozenset[str]
    findings: list[Finding]


def judging_directives(proxy: Proxy) -> tuple[str, ...]:
    """Return the directives whose rules can deny what comes to a proxy after the agent was asked."""
    return ("http-request",) if proxy.mode == "http" else ("tcp-request content",)


def verdict_tests(condition: Condition) -> Iterator[tuple[Literal, Comparison, re.Match[str]]]:
    """Yield each test of a verdict variable, of whatever scope and prefix."""
    for term in condition.terms:
        for literal in term:
            for test in literal.acl.tests:
                match = _VERDICT.fullmatch(",".join(test.arguments[:1])) if test.fetch == "var" else None
                if match is not None:
                    yield literal, test, match


def follow(proxy: Proxy, rules: Sequence[Rule]) -> Passage:
    """Follow a request whose verdict is not `allow` through rules."""
    findings: list[Finding] = []
    prefixes: set[str] = set()
    for rule in rules:
        prefixes.update(match["prefix"] for *_, match in verdict_tests(rule.condition))
        if rule.action in _SETTING and _VERDICT.fullmatch(rule.argument.partition(",")[0]) and not _sets_deny(rule):
            findings.append(found("verdict-overwritten", rule.line, f"{proxy.name}: {rule}"))
        elif denies(rule):
            if _is_certain(rule.condition):
                return Passage(rule, frozenset(prefixes), findings)
        elif rule.action in _ACCEPTING and _is_possible(rule.condition):
            findings.append(found("accepted-before-verdict", rule.line, f"{proxy.name}: {rule}"))
        elif rule.action == "use-service":
            findings.append(found("service-before-verdict", rule.line, f"{proxy.name}: {rule}"))
    return Passage(None, frozenset(), [*findings, *_diagnosis(proxy, rules)])


def denies(rule: Rule) -> bool:
    """Tell whether a rule refuses what its condition holds for."""
    if rule.action in _REFUSING:
        return True
    if rule.action != "return" or "status" not in rule.words:
        return False
    status = "".join(rule.words[rule.words.index("status") + 1 :][:1])
    return status.isdigit() and int(status) >= _SMALLEST_REFUSAL


def _sets_deny(rule: Rule) -> bool:
    return "".join(rule.words) in {"str(deny)", "deny"}


def _value(literal: Literal) -> bool | None:
    """Return what a literal is for a request whose verdict is not `allow`; None where that depends."""
    tests = literal.acl.tests
    if tests and all(test.fetch == "always_true" for test in tests):
        return literal.is_positive
    if tests and all(test.fetch == "always_false" or _is_exact(test) for test in tests):
        return not literal.is_positive
    return None


def _is_exact(test: Comparison) -> bool:
    match = _VERDICT.fullmatch(",".join(test.arguments)) if test.fetch == "var" else None
    return (
        match is not None
        and match["scope"] == "txn"
        and (test.match, test.patterns, test.files, test.converters) == ("str", ("allow",), (), ())
    )


def _is_certain(condition: Condition) -> bool:
    return any(all(_value(literal) is True for literal in term) for term in condition.terms)


def _is_possible(condition: Condition) -> bool:
    return any(all(_value(literal) is not False for literal in term) for term in condition.terms)


def _diagnosis(proxy: Proxy, rules: Iterable[Rule]) -> Iterator[Finding]:
    """Say why none of the rules denies whatever is not allowed."""
    line = proxy.section.line
    yield found("no-verdict-rule", line, f"{proxy.section.kind} {proxy.name} has no rule that denies all without allow")
    # Of rules with one fault the last one counts: the others are often there for their statuses.
    faults = {
        _fault(literal, test, match["scope"]): rule
        for rule in filter(denies, rules)
        for literal, test, match in verdict_tests(rule.condition)
    }
    for code, rule in faults.items():
        yield found(code, rule.line, f"{proxy.name}: {rule}")


def _fault(literal: Literal, test: Comparison, scope: str) -> str:
    if scope != "txn":
        return "verdict-scope"
    if literal.is_positive and test.match == "str" and "allow" not in test.patterns:
        return "denies-only-deny"
    if not _is_exact(test):
        return "verdict-matched-loosely"
    return "verdict-rule-conditional"


def holds_when_found(condition: Condition, variable: str) -> bool:
    """Tell whether a condition can hold while a variable is set."""
    return any(
        all(literal.is_positive or not _is_found_test(literal.acl, variable) for literal in term)
        for term in condition.terms
    )


def _is_found_test(acl: Acl, variable: str) -> bool:
    return bool(acl.tests) and all(
        (test.fetch, ",".join(test.arguments), test.match) == ("var", variable, "found") for test in acl.tests
    )
