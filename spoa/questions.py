"""What a rule asks, one thing after the other, and what it makes of a request: the language read naively."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.facts import UNAVAILABLE
from spoa.policy.conditions import COLUMNS
from spoa.policy.model import Effect
from spoa.transcript import seen_text, wanted_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.policy.model import Bearer, Matcher, Pattern, RequestValues, Rule, Who

__all__ = ["WORDS", "Check", "Question", "RuleView", "questions"]

_NOBODY: Final = "no certificate"
#: Words of `who` that are no identities.
WORDS: Final = ("any_certificate", "anonymous")


class Question(NamedTuple):
    """One thing that a rule asks.

    Attributes:
        part: `who`, `request`, `when` or `unless`, as the rule is written.
        identity: whose condition it is; empty for an inline identity and for what isn't about certificates.
        alternative: which of the identities behind `who` it belongs to, counted from 0; -1 outside of it.
        key: the key as the policy writes it.
        matcher: what is asked; None for a word of `who`.
        generous: the polarity of its position.
    """

    part: str
    identity: str
    alternative: int
    key: str
    matcher: Matcher | None
    generous: bool

    def ask(self, bearer: Bearer, request: RequestValues) -> Check:
        """Return what was seen, and whether it holds."""
        if self.matcher is None:
            holds = bearer.is_anonymous is (self.key == "anonymous")
            return Check(self, holds, self.key, _NOBODY if bearer.is_anonymous else "a certificate")
        wanted = wanted_text(self.matcher)
        if self.alternative >= 0 and bearer.is_anonymous:
            return Check(self, holds=False, wanted=wanted, seen=_NOBODY)
        values = (bearer if self.alternative >= 0 else request).values.get(self.matcher.attribute, UNAVAILABLE)
        holds = self.matcher.holds(values, generous=self.generous)
        return Check(self, holds, wanted, seen_text(self.matcher, values))


class Check(NamedTuple):
    """The answer to a question: whether it holds, what was wanted and what was seen, in words."""

    question: Question
    holds: bool
    wanted: str
    seen: str

    def otherwise(self, patterns: tuple[Pattern, ...]) -> Check:
        """Return that the same were to meet these patterns instead, which it doesn't."""
        assert self.question.matcher is not None
        matcher = replace(self.question.matcher, patterns=patterns)
        question = self.question._replace(matcher=matcher, generous=False)
        return Check(question, holds=False, wanted=wanted_text(matcher), seen=self.seen)


def questions(rule: Rule) -> Iterator[Question]:
    """Yield all that a rule asks, in the order in which it is written."""
    is_require = rule.effect is Effect.REQUIRE
    yield from _who_questions("who", rule.who, generous=rule.effect is Effect.DENY)
    for matcher in (*rule.request, *rule.required):
        block = COLUMNS[matcher.key].block
        generous = rule.effect is Effect.DENY or (is_require and block == "request")
        yield Question(block, "", -1, matcher.key, matcher, generous)
    yield from _who_questions("unless", rule.unless_who, generous=False)
    for matcher in rule.unless or ():
        yield Question("unless", "", -1, matcher.key, matcher, generous=False)


def _who_questions(part: str, who: Who | None, *, generous: bool) -> Iterator[Question]:
    if who is None:
        return
    for word in WORDS:
        if getattr(who, word):
            yield Question(part, "", -1, word, None, generous)
    alternatives = [
        (identity.name, conjunction) for identity in who.identities for conjunction in identity.alternatives
    ]
    for number, (name, conjunction) in enumerate(alternatives):
        for matcher in conjunction:
            yield Question(part, name, number, matcher.key, matcher, generous)


@dataclass(frozen=True, slots=True)
class RuleView:
    """One rule as it saw the request.

    Attributes:
        rule: the rule.
        outcome: `allows`, `denies`, `not_met`, `met`, `excepted`, `not_matched` or `not_in_force`.
        applies: what it is about is this request, whatever comes of it.
        checks: all that it asks.
    """

    rule: Rule
    outcome: str
    applies: bool
    checks: tuple[Check, ...]

    @property
    def refuses(self) -> bool:
        """Tell whether it denies."""
        return self.outcome in {"denies", "not_met"}
