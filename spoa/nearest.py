"""What is least far from an allow: what would have to be otherwise, and by which rules.

A proposal is tried before it is made: the request with all that it lacks is judged again, since what pleases one rule
may be what another one is there to refuse. The smallest change wins; of equally small ones that of the request before
that of a switch, and both before another client: whoever asks "why was this denied?" can ask otherwise, and can't be
somebody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from spoa.policy.conditions import READ_METHODS, WRITE_METHODS, MethodPattern
from spoa.policy.model import Effect
from spoa.questions import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spoa.questions import Check, RuleView

__all__ = ["NearestMiss", "Trial", "nearest_miss"]

#: Proposals that are tried.
_MAX_TRIALS: Final = 16
#: What a request is about, and what nobody changes at will: another one is the greater change of a request.
_PLACES: Final = frozenset({"path", "host", "sni", "time"})

#: Tells whether a request is allowed once checks hold and switches are open; None where nobody can tell.
Trial: TypeAlias = "Callable[[Sequence[Check], frozenset[str]], bool | None]"


@dataclass(frozen=True, slots=True)
class NearestMiss:
    """What is least far from an allow: the first rule that lacks something, all that is lacking, and a sentence."""

    rule: str
    missing: tuple[Check, ...]
    sentence: str


class _Lack(NamedTuple):
    """What one rule lacks to let the request pass: checks that fail, and the switch that would do beside or instead."""

    view: RuleView
    missing: tuple[Check, ...]
    switch: str

    @property
    def is_refusal(self) -> bool:
        return self.view.refuses

    @property
    def opens(self) -> frozenset[str]:
        """The switches without which the checks would not do."""
        return frozenset({self.switch} if self.switch and (not self.missing or not self.is_refusal) else ())


def nearest_miss(
    views: Sequence[RuleView], refusing: Sequence[RuleView], *, is_granted: bool, trial: Trial
) -> NearestMiss | None:
    """Return what is least far from an allow; None where no change of attributes or switches would do.

    Args:
        views: all rules, as they saw the request.
        refusing: those that refuse it and aren't in shadow.
        is_granted: some rule allows it.
        trial: judges a proposal.
    """
    obstacles = [_obstacle(view) for view in refusing]
    if None in obstacles:
        return None
    found = [one for one in obstacles if one is not None]
    proposals = [] if is_granted else [[*found, allow] for allow in _allows(views)]
    if found:
        # What pleases those that refuse may be what one that allows wants.
        proposals.append(found)
    fallback: list[_Lack] = []
    for proposal in sorted(proposals, key=_size)[:_MAX_TRIALS]:
        outcome = _tried(proposal, trial)
        if outcome:
            return _miss(_reduced(proposal, trial), is_sure=True)
        if outcome is None and not fallback:
            fallback = proposal
    return _miss(fallback, is_sure=False) if fallback else None


def _tried(proposal: Sequence[_Lack], trial: Trial) -> bool | None:
    checks = [check for lack in proposal for check in lack.missing]
    return trial(checks, frozenset().union(*(lack.opens for lack in proposal)))


def _reduced(proposal: Sequence[_Lack], trial: Trial) -> list[_Lack]:
    """Return a proposal that would do without what another part of it brings along."""
    found = list(proposal)
    for number, lack in reversed(list(enumerate(proposal))):
        for check in reversed(lack.missing):
            rest = tuple(one for one in found[number].missing if one is not check)
            without = found[number]._replace(missing=rest)
            fewer = [*found[:number], without, *found[number + 1 :]]
            # A switch in its place is no smaller change.
            if without.opens == found[number].opens and _tried(fewer, trial):
                found = fewer
    return [lack for lack in found if lack.missing or lack.opens]


def _size(proposal: Sequence[_Lack]) -> tuple[int, int, int]:
    """Return how much a proposal changes: how many things, how many of them of the client, how many not at will."""
    changes = {
        (check.question.alternative >= 0 or check.question.key in WORDS, check.question.key, check.wanted)
        for lack in proposal
        for check in lack.missing
    }
    switches = frozenset().union(*(lack.opens for lack in proposal))
    not_at_will = sum(key in _PLACES for _, key, _ in changes) + len(switches)
    return len(changes) + len(switches), sum(is_client for is_client, *_ in changes), not_at_will


def _obstacle(view: RuleView) -> _Lack | None:
    """Return what a rule that refuses lacks; None where only a request for something else would please it.

    What it asks for comes first. One that asks for nothing is a matter of the method, where it names some.
    """
    if view.rule.effect is Effect.DENY:
        checks = tuple(check for check in view.checks if check.question.part == "unless")
        is_open = view.rule.unless is not None
    else:
        checks = tuple(check for check in view.checks if check.question.part != "request")
        is_open = True
    if not is_open and not view.rule.overridable_by:
        others = _other_methods(view)
        return None if others is None else _Lack(view, (others,), "")
    return _Lack(view, _missing(checks) if is_open else (), view.rule.overridable_by)


def _other_methods(view: RuleView) -> Check | None:
    """Return that the method be one that a rule doesn't name; None where it names none, or all that are known."""
    named = next((check for check in view.checks if check.question.key == "method"), None)
    if named is None or named.question.matcher is None:
        return None
    matcher = named.question.matcher
    methods = sorted(READ_METHODS) + sorted(WRITE_METHODS)
    free = tuple(MethodPattern(method) for method in methods if not matcher.holds((method,), generous=True))
    if not free:
        return None
    return named.otherwise(free)


def _allows(views: Sequence[RuleView]) -> Iterator[_Lack]:
    for view in views:
        if view.rule.effect is Effect.ALLOW and not view.rule.is_shadow:
            yield _Lack(view, _missing(view.checks), view.rule.active_during if view.outcome == "not_in_force" else "")


def _missing(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Return the fewest checks that would have to hold for all of them to be met."""
    plain = [check for check in checks if check.question.alternative < 0 and check.question.key not in WORDS]
    failing = tuple(check for check in plain if not check.holds)
    return (*_missing_who([check for check in checks if check not in plain]), *failing)


def _missing_who(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Return the fewest checks of one alternative that fail; none when one of them holds as a whole."""
    alternatives: dict[tuple[int, str], list[Check]] = {}
    for check in checks:
        word = check.question.key if check.question.alternative < 0 else ""
        alternatives.setdefault((check.question.alternative, word), []).append(check)
    missing = [tuple(check for check in several if not check.holds) for several in alternatives.values()]
    return min(missing, key=len, default=())


# -- the sentence -----------------------------------------------------------------------------------------------


def _miss(proposal: Sequence[_Lack], *, is_sure: bool) -> NearestMiss:
    missing = tuple(dict.fromkeys(check for lack in proposal for check in lack.missing))
    sentence = _sentence(proposal) + ("" if is_sure else ", if nothing else refuses then")
    return NearestMiss(proposal[0].view.rule.id, missing, sentence)


def _sentence(proposal: Sequence[_Lack]) -> str:
    if len(proposal) > 1:
        return "would be allowed with " + " and ".join(f"{_ways(lack)} ({lack.view.rule.id})" for lack in proposal)
    (lack,) = proposal
    rule = lack.view.rule
    if lack.is_refusal:
        return f"would be allowed, since {rule.id} alone refuses, with {_ways(lack)}"
    if not lack.missing:
        return f"rule {rule.id} would allow while the switch {lack.switch} is open"
    return f"would be allowed by {rule.id} with {_ways(lack)}"


def _ways(lack: _Lack) -> str:
    listed = " and ".join(f"{check.question.key} = {check.wanted}" for check in lack.missing)
    if not lack.switch:
        return listed
    switch = f"the switch {lack.switch} open"
    if not listed:
        return switch
    return f"{listed} or {switch}" if lack.is_refusal else f"{listed}, while the switch {lack.switch} is open"
