"""All that a certificate may reach: paths and methods, by which rule, on which conditions.

The rules are turned round: instead of asking each of them about one request, what each says of one bearer is settled
first, and what is left are conditions on requests. For each path of an allow and each method, a deny or a require then
either takes all of it away, or none, or stays as an exception or a condition that is told. What is told is exact: a
request that passes the gates is allowed if and only if it is within one of the grants (`Grant.admits`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from spoa.facts import UNAVAILABLE
from spoa.listindex import NEVER
from spoa.policy.conditions import READ_METHODS, WRITE_METHODS, InList, MethodPattern, PathRegex
from spoa.policy.inclusion import Relation, path_relation, relation
from spoa.policy.model import Effect
from spoa.policy.path import CanonicalPath, PathPattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spoa.authorizer import Policy
    from spoa.policy.model import Bearer, Conjunction, Matcher, Pattern, PolicyModel, RequestValues, Rule, Values

__all__ = ["OTHER_METHODS", "AnyPath", "Grant", "Limit", "Methods", "Reach", "reach_of"]

#: Stands for every method that neither HTTP nor the policy names.
OTHER_METHODS: Final = "(any other)"
_METHODS: Final = (*sorted(READ_METHODS), *sorted(WRITE_METHODS), "CONNECT", "TRACE")
AnyPath: TypeAlias = PathPattern | PathRegex
_EVERYWHERE: Final = (PathPattern("/**"), PathPattern(r"\*"))


class Methods:
    """The methods that a policy tells apart.

    Attributes:
        named: those of HTTP and those that the policy names, as they are written.
        classes: one of each class: the named ones, each of them in another case (denies mean it as well), all others.
    """

    def __init__(self, model: PolicyModel) -> None:
        named: dict[str, None] = dict.fromkeys(_METHODS)
        for rule in model.rules:
            for matcher in (*rule.request, *rule.required, *(rule.unless or ())):
                for pattern in matcher.patterns:
                    if isinstance(pattern, MethodPattern) and pattern.source not in {"read", "write"}:
                        named[pattern.source] = None
        self.named = tuple(named)
        self._cased = {name.upper(): _in_another_case(name.upper(), named) for name in named}
        self.classes = (*self.named, *filter(None, self._cased.values()), OTHER_METHODS)

    def class_of(self, token: str) -> str:
        """Return the class of a method."""
        return token if token in self.named else self._cased.get(token.upper(), OTHER_METHODS)


def _in_another_case(name: str, named: Iterable[str]) -> str:
    """Return a method that differs from *name* in case alone and isn't named itself; empty where there is none."""
    ways = (name.lower(), name.title(), name.title().swapcase(), name[:-1] + name[-1:].lower())
    return next((way for way in ways if way not in named and way != name), "")


class Limit(NamedTuple):
    """What a deny or a require takes away from a grant.

    Attributes:
        rule: the rule.
        where: all of these must match, generously, for it to speak; none: it speaks wherever the grant does.
        unless: all of these, strictly, lift it; None where nothing in a request does.
    """

    rule: Rule
    where: Conjunction
    unless: Conjunction | None

    def refuses(self, values: Mapping[str, Values], switches: frozenset[str]) -> bool:
        """Tell whether it denies a request that is within the grant otherwise."""
        if self.rule.overridable_by in switches or not _hold(self.where, values, generous=True):
            return False
        return self.unless is None or not _hold(self.unless, values, generous=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """Paths and methods that one rule allows.

    Attributes:
        rule: the allow.
        identities: names of the identities by which it means the bearer; empty for one that is written in place.
        paths: patterns, any of which may match; strictly.
        methods: exact tokens; `OTHER_METHODS` stands for all that aren't named anywhere.
        known: every method that is told apart.
        needs: what else the rule asks of a request.
        limits: what denies and requires ask on top; one without `where` holds for all of the grant.
        until: when the bearer's being meant ends, by certificate or list; seconds since the epoch, or `NEVER`.
    """

    rule: Rule
    identities: tuple[str, ...]
    paths: tuple[AnyPath, ...]
    methods: tuple[str, ...]
    known: Methods
    needs: Conjunction
    limits: tuple[Limit, ...]
    until: int

    @property
    def conditions(self) -> tuple[Limit, ...]:
        """The limits that hold for all of it."""
        return tuple(limit for limit in self.limits if not limit.where)

    @property
    def exceptions(self) -> tuple[Limit, ...]:
        """The limits that hold for a part of it."""
        return tuple(limit for limit in self.limits if limit.where)

    def admits(self, request: RequestValues, switches: frozenset[str]) -> bool:
        """Tell whether a request is within the grant."""
        values = request.values
        path, method = values.get("path", UNAVAILABLE), values.get("method", UNAVAILABLE)
        if not isinstance(path, tuple) or not isinstance(method, tuple):
            return False
        return (
            (not self.rule.active_during or self.rule.active_during in switches)
            and self.known.class_of(str(method[0])) in self.methods
            and any(_meets(pattern, path[0]) for pattern in self.paths)
            and _hold(self.needs, values, generous=False)
            and not any(limit.refuses(values, switches) for limit in self.limits)
        )


@dataclass(frozen=True, slots=True)
class Reach:
    """What one bearer may reach.

    Attributes:
        identities: names of all identities that mean the bearer.
        grants: in the order of the rules.
        void: allows that mean the bearer, and the limits that leave nothing of each.
        is_shadow: the policy is in shadow mode: what is not granted passes all the same.
    """

    identities: tuple[str, ...]
    grants: tuple[Grant, ...]
    void: tuple[tuple[Rule, tuple[Rule, ...]], ...]
    is_shadow: bool


def reach_of(policy: Policy, bearer: Bearer, until: int = NEVER, lists: Mapping[str, int] | None = None) -> Reach:
    """Return what a bearer may reach who passes the gates.

    Args:
        policy: whose rules are asked; shadow rules take no part.
        bearer: as rules see the certificate.
        until: when the certificate ends, seconds since the epoch.
        lists: list name → when the bearer's entry on it ends.
    """
    model = policy.model
    limits = tuple(_limits(model, bearer))
    known = Methods(model)
    grants: list[Grant] = []
    void: list[tuple[Rule, tuple[Rule, ...]]] = []
    for rule in model.rules:
        who = rule.who
        if rule.effect is not Effect.ALLOW or rule.is_shadow or who is None or not who.holds(bearer, generous=False):
            continue
        named = [one for one in who.identities if one.holds(bearer, generous=False)]
        end = min(until, max((_ends(one.alternatives, bearer, lists or {}) for one in named), default=NEVER))
        if who.any_certificate or who.anonymous:
            end = until
        parts = _Parts(rule, limits, known)
        found = [
            Grant(rule, tuple(one.name for one in named), paths, methods, known, parts.needs, left, end)
            for paths, methods, left in parts.grants()
        ]
        grants += found
        if not found:
            void.append((rule, tuple(parts.takers)))
    identities = tuple(one.name for one in model.identities if one.holds(bearer, generous=False))
    return Reach(identities, tuple(grants), tuple(void), model.defaults.is_shadow)


def _hold(matchers: Iterable[Matcher], values: Mapping[str, Values], *, generous: bool) -> bool:
    return all(one.holds(values.get(one.attribute, UNAVAILABLE), generous=generous) for one in matchers)


def _ends(alternatives: Iterable[Conjunction], bearer: Bearer, lists: Mapping[str, int]) -> int:
    """Return when the last alternative that means the bearer ends by the lists that it names."""
    ends = []
    for conjunction in alternatives:
        if not all(one.holds(bearer.values.get(one.attribute, UNAVAILABLE), generous=False) for one in conjunction):
            continue
        named = ([one.name for one in matcher.patterns if isinstance(one, InList)] for matcher in conjunction)
        ends.append(
            min((max(lists.get(name, 0) for name in names) or NEVER for names in named if names), default=NEVER)
        )
    return max(ends, default=NEVER)


def _limits(model: PolicyModel, bearer: Bearer) -> Iterator[Limit]:
    """Yield what denies and requires come to for one bearer, as conditions on requests."""
    for rule in model.rules:
        if rule.is_shadow or rule.effect is Effect.ALLOW:
            continue
        if rule.effect is Effect.REQUIRE:
            is_met = rule.who is None or rule.who.holds(bearer, generous=False)
            yield Limit(rule, rule.request, rule.required if is_met else None)
        elif rule.who is None or rule.who.holds(bearer, generous=True):
            is_excepted = rule.unless is not None and (
                rule.unless_who is None or rule.unless_who.holds(bearer, generous=False)
            )
            yield Limit(rule, rule.request, rule.unless if is_excepted else None)


_Left: TypeAlias = tuple[Limit, ...]


def _path(pattern: Pattern) -> AnyPath:
    assert isinstance(pattern, PathPattern | PathRegex)
    return pattern


def _meets(pattern: AnyPath, path: object) -> bool:
    assert isinstance(path, CanonicalPath)
    return pattern.matches(path, generous=False)


class _Parts:
    """The paths and methods of one allow, each with the limits that are left."""

    def __init__(self, rule: Rule, limits: Sequence[Limit], known: Methods) -> None:
        self.takers: dict[Rule, None] = {}
        # What the switch lifts that the allow waits for is no limit to it.
        switch = rule.active_during
        self._limits = [limit for limit in limits if not switch or limit.rule.overridable_by != switch]
        own = {matcher.key: matcher for matcher in rule.request}
        self.needs: Conjunction = tuple(one for key, one in own.items() if key not in {"path", "method"})
        self._own = {one.key: one for one in self.needs}
        self._paths = tuple(map(_path, own["path"].patterns)) if "path" in own else _EVERYWHERE
        self._method = own.get("method")
        self._known = known

    def grants(self) -> Iterator[tuple[tuple[AnyPath, ...], tuple[str, ...], _Left]]:
        """Yield paths, methods and limits: paths with the same methods and limits together."""
        found: dict[tuple[tuple[str, ...], _Left], list[AnyPath]] = {}
        for path in self._paths:
            near = [limit for limit in self._limits if not self._is_elsewhere(limit, path)]
            by_left: dict[_Left, list[str]] = {}
            for method in self._known.classes:
                if not self._may_have(path, method):
                    continue
                left = self._left(near, path, method)
                if left is not None:
                    by_left.setdefault(left, []).append(method)
            for left, several in by_left.items():
                found.setdefault((tuple(several), left), []).append(path)
        for (methods, left), paths in found.items():
            yield tuple(paths), methods, left

    def _may_have(self, path: AnyPath, method: str) -> bool:
        # The asterisk is the path of OPTIONS alone.
        if isinstance(path, PathPattern) and path.is_asterisk and method != "OPTIONS":
            return False
        return self._method is None or self._method.holds((method,), generous=False)

    def _is_elsewhere(self, limit: Limit, path: AnyPath) -> bool:
        """Tell whether a limit surely says nothing about a path; most don't, and needn't be asked for each method."""
        asked = (matcher for matcher in limit.where if matcher.key == "path")
        return any(path_relation(path, one.patterns, generous=True) is Relation.EXCLUDED for one in asked)

    def _left(self, limits: Sequence[Limit], path: AnyPath, method: str) -> _Left | None:
        """Return the limits on a path and a method; None when they leave nothing."""
        left: list[Limit] = []
        for limit in limits:
            where = self._narrowed(limit.where, path, method, generous=True)
            if where is None:
                continue
            unless = None if limit.unless is None else self._narrowed(limit.unless, path, method, generous=False)
            if unless == ():
                continue
            if not where and unless is None and not limit.rule.overridable_by:
                self.takers[limit.rule] = None
                return None
            left.append(Limit(limit.rule, where, unless))
        return tuple(left)

    def _narrowed(self, matchers: Conjunction, path: AnyPath, method: str, *, generous: bool) -> Conjunction | None:
        """Return what of a conjunction is open for the path and method; None where it can't hold."""
        kept: list[Matcher] = []
        for matcher in matchers:
            told = self._told(matcher, path, method, generous=generous)
            if told is Relation.EXCLUDED:
                return None
            if told is Relation.OPEN:
                kept.append(_without_excluded(matcher, path, generous=generous))
        return tuple(kept)

    def _told(self, matcher: Matcher, path: AnyPath, method: str, *, generous: bool) -> Relation:
        if matcher.key == "method":
            return Relation.IMPLIED if matcher.holds((method,), generous=generous) else Relation.EXCLUDED
        if matcher.key == "path":
            return path_relation(path, matcher.patterns, generous=generous)
        own = self._own.get(matcher.key)
        return Relation.OPEN if own is None else relation(own, matcher, generous=generous)


def _without_excluded(matcher: Matcher, path: AnyPath, *, generous: bool) -> Matcher:
    """Return a matcher of paths without the patterns that have nothing in common with *path*."""
    if matcher.key != "path":
        return matcher
    kept = tuple(
        one for one in matcher.patterns if path_relation(path, (one,), generous=generous) is not Relation.EXCLUDED
    )
    return type(matcher)(matcher.key, matcher.attribute, kept, matcher.is_universal)
