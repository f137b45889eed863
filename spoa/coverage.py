"""What a policy's tests have seen of its rules: for every rule, and for everything it asks, both outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from spoa.explanation import explain, questions
from spoa.transcript import wanted_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.authorizer import Policy
    from spoa.explanation import Question
    from spoa.facts import Request
    from spoa.policy.model import Rule

__all__ = ["Coverage", "Gap"]


class Gap(NamedTuple):
    """One outcome that no test has seen.

    Attributes:
        rule: id of the rule.
        what: what it asks, in words; empty for the rule as a whole.
        never: `true` or `false`, the outcome that was not seen.
        position: `file:line` of the rule.
    """

    rule: str
    what: str
    never: str
    position: str

    def __str__(self) -> str:
        whole = "matched" if self.never == "true" else "left unmatched"
        part = "held" if self.never == "true" else "failed"
        return f"{self.position} {self.rule}: {f'{self.what} never {part}' if self.what else f'never {whole}'}"


class Coverage:
    """Counts outcomes while tests run."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._issuers = {issuer.name for issuer in policy.model.issuers}
        self._seen: dict[tuple[str, Question | None], set[bool]] = {}
        for rule in policy.model.rules:
            self._seen[rule.id, None] = set()
            for question in questions(rule):
                if self._can_differ(question):
                    self._seen[rule.id, question] = set()

    def _can_differ(self, question: Question) -> bool:
        """Tell whether there are requests past the gates for which the answer is another."""
        matcher = question.matcher
        if matcher is None:
            return self._policy.model.defaults.allows_anonymous
        return matcher.attribute != "issuer" or {str(pattern) for pattern in matcher.patterns} != self._issuers

    def see(self, request: Request, now: float, **given: Any) -> None:
        """Take note of what one request, given as to `explain`, makes of every rule."""
        for view in explain(self._policy, request, now, **given).rules:
            if view.outcome != "not_in_force":
                self._seen[view.rule.id, None].add(view.applies)
            for check in view.checks:
                seen = self._seen.get((view.rule.id, check.question))
                if seen is not None:
                    seen.add(check.holds)

    @property
    def total(self) -> int:
        """How many outcomes there are to see."""
        return 2 * len(self._seen)

    @property
    def covered(self) -> int:
        """How many of them were seen."""
        return sum(map(len, self._seen.values()))

    @property
    def percent(self) -> float:
        """How many of a hundred were seen, rounded down to a tenth; 100 where there is nothing to see."""
        return 1000 * self.covered // self.total / 10 if self.total else 100.0

    def gaps(self) -> Iterator[Gap]:
        """Yield what was not seen, in the order of the rules."""
        rules: dict[str, Rule] = {rule.id: rule for rule in self._policy.model.rules}
        for (rule_id, question), seen in self._seen.items():
            for outcome in (True, False):
                if outcome not in seen:
                    what = "" if question is None else _words(question)
                    yield Gap(rule_id, what, str(outcome).lower(), rules[rule_id].position)


def _words(question: Question) -> str:
    name = f" {question.identity}" if question.identity else ""
    wanted = "" if question.matcher is None else f" = {wanted_text(question.matcher)}"
    return f"{question.part}{name}: {question.key}{wanted}"
