"""Search for a request that breaks an invariant, among all that the policy can tell apart.

Theory: rules see a request through columns and a certificate through attributes, and through nothing else. For each of
them values are tried that lie on both sides of every pattern (`policy.witnesses`); values with the same answer of the
rule table are one *class*, of which one is kept. The classes of all columns are then combined, column after column,
keeping one request for each different set of conjunctions that hold: the verdict depends on nothing but that set. What
is left is combined with the classes of certificates and with the sets of open switches. Whatever seems to be allowed
is judged by the policy itself, so that a violation is always a real one.

That none is found proves the invariant as far as the values tried go: completely for literals, networks, times and
methods, by examples for globs and regular expressions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import chain, combinations, product
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.policy.gates import request_values
from spoa.policy.model import Effect, Matcher, RequestValues
from spoa.policy.table import bit_set, conjunctions_of
from spoa.policy.witnesses import METHODS, TLS_VERSIONS, path_witnesses, witnesses
from spoa.specimens import Specimens
from spoa.transcript import keys_of_test

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spoa.authorizer import Policy, Subject
    from spoa.facts import Missing
    from spoa.policy.cases import Invariant
    from spoa.policy.model import Pattern, Values
    from spoa.specimens import Holder

__all__ = ["Finding", "Outcome", "Search"]

#: Combinations that are gone through for one invariant.
MAX_COMBINATIONS: Final = 200_000
#: Different requests that are kept while columns are combined.
MAX_REQUESTS: Final = 20_000
#: Switches of which every set is tried; of more, none, each alone, and all.
_MAX_SWITCHES: Final = 6
#: Combinations of headers.
_MAX_HEADERS: Final = 2_000
_SOMEWHERE: Final = (bytes((203, 0, 113, 77)), bytes((32, 1, 13, 184)) + bytes(11) + b"\x4d")
_ELSEWHERE: Final = "elsewhere.example"


class Finding(NamedTuple):
    """A warning about a search: its stable code, and a sentence."""

    code: str
    message: str


@dataclass(slots=True)
class Outcome:
    """What came of a search.

    Attributes:
        witness: keys of a policy test that describe a violation; empty when none was found.
        findings: what the reader should know of how thorough the search was.
    """

    witness: dict[str, object] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        return json.dumps(self.witness, ensure_ascii=False)


class _Point(NamedTuple):
    """One value of a column: the answer of the table, the values as rules see them, the fields of a request."""

    bits: int
    values: Mapping[str, Values]
    fields: Mapping[str, Any]


class Search:
    """The classes of one policy, to be searched for violations of several invariants."""

    def __init__(self, policy: Policy, invariants: Sequence[Invariant], now: int) -> None:
        self._policy = policy
        self._model = policy.model
        self._now = now
        self._rules = len(self._model.rules)
        self._allows = self._mask(Effect.ALLOW)
        self._restricts = self._mask(Effect.DENY, Effect.REQUIRE)
        second = [rule.effect is Effect.REQUIRE or rule.unless is not None for rule in self._model.rules]
        self._has_second = bit_set((number for number, has in enumerate(second) if has), self._rules)
        enforced = self._mask(*Effect)
        #: What the verdict depends on; routes and shadow rules take no part.
        self._everything = enforced | enforced << self._rules
        self._invariants = invariants
        self._findings: list[Finding] = []
        specimens = Specimens(policy, invariants)
        self._holders: tuple[Holder, ...] = specimens.holders
        if not specimens.is_complete:
            self._findings.append(Finding(_BOUND, "not all certificates that the policy tells apart were tried"))
        if self._model.defaults.is_shadow:
            message = "`mode: shadow` lets pass what rules deny; the invariant is judged as if they were enforced"
            self._findings.append(Finding("invariant-in-shadow", message))
        self._targets = tuple(self._make_targets())
        self._axes = tuple(self._make_axes())

    def _mask(self, *effects: Effect) -> int:
        """Return the enforced rules with these effects."""
        rules = enumerate(self._model.rules)
        return bit_set((n for n, rule in rules if rule.effect in effects and not rule.is_shadow), self._rules)

    # -- requests ----------------------------------------------------------------------------------------------

    def _patterns(self, key: str) -> tuple[Pattern, ...]:
        """Return all patterns of a column, of rules and of invariants."""
        of_rules = (one for _, _, matchers, _ in conjunctions_of(self._model) for one in matchers)
        of_invariants = (one for invariant in self._invariants for one in (*invariant.request, *invariant.outside))
        return tuple(pattern for one in chain(of_rules, of_invariants) if one.key == key for pattern in one.patterns)

    def _make_targets(self) -> Iterator[tuple[list[_Point], list[_Point]]]:
        """Yield methods and the paths that each of them may have: the asterisk is for OPTIONS alone."""
        methods = (*dict.fromkeys((*METHODS, *self._examples("method"))), UNAVAILABLE)
        paths = (*path_witnesses(self._patterns("path")), UNAVAILABLE)
        yield (
            [self._point({"method": method}, "method") for method in methods],
            [self._point({"path": path}, "path") for path in paths],
        )
        asterisk = {"path": ABSENT, "method": "OPTIONS"}
        yield [self._point(asterisk, "method")], [self._point(asterisk, "path")]

    def _make_axes(self) -> Iterator[list[_Point]]:
        yield [self._point(fields, "host", "sni") for fields in self._names()]
        yield [self._point({"headers": headers}, "header") for headers in self._headers()]
        sources = dict.fromkeys((*_SOMEWHERE, *self._examples("source")))
        yield [self._point({"source": source}, "source") for source in (*sources, UNAVAILABLE)]
        yield [self._point({"tls": version}, "tls") for version in (*TLS_VERSIONS, UNAVAILABLE)]
        times = dict.fromkeys((self._now, *self._examples("time")))
        yield [self._point({"now": time}, "time") for time in times]

    def _examples(self, key: str) -> list[Any]:
        return [value for pattern in self._patterns(key) for value in witnesses(pattern, self._now)]

    def _point(self, fields: dict[str, Any], *columns: str) -> _Point:
        """Return the point that these fields make; one with a negative answer fails a gate."""
        given = {name: value for name, value in fields.items() if name != "now"}
        found = request_values(Request(**{"sni": ABSENT, **given}), self._model.defaults, fields.get("now"))
        if not isinstance(found, RequestValues):
            return _Point(-1, {}, fields)
        values: dict[str, Values] = {key: found.values.get(key, UNAVAILABLE) for key in columns}
        bits = self._everything
        for key, value in values.items():
            bits &= self._policy.evaluator.table.answer(key, value)
        return _Point(bits, values, fields)

    def _names(self) -> Iterator[dict[str, Any]]:
        """Yield Host and SNI together, since most policies demand that they agree."""
        names = dict.fromkeys((_ELSEWHERE, *self._examples("host"), *self._examples("sni")))
        for name in names:
            yield {"host": name}
            yield {"host": name, "sni": name}
            yield {"sni": name}
        yield {}
        yield {"sni": UNAVAILABLE}
        if self._model.defaults.allows_sni_mismatch:
            for host, sni in product(names, names):
                yield {"host": host, "sni": sni}

    def _headers(self) -> Iterator[dict[str, str | Missing]]:
        values: dict[str, dict[str | Missing, None]] = {}
        for pattern in self._patterns("header"):
            matchers: tuple[Matcher, ...] = getattr(pattern, "matchers", ())
            for matcher in matchers:
                known = values.setdefault(matcher.attribute, {"other": None, ABSENT: None, UNAVAILABLE: None})
                known |= dict.fromkeys(value for one in matcher.patterns for value in witnesses(one))
        yield {}
        for number, chosen in enumerate(product(*values.values())):
            if number == _MAX_HEADERS:
                self._findings.append(Finding(_BOUND, "not all headers that the policy tells apart were tried"))
                return
            yield dict(zip(values, chosen, strict=True))

    # -- the search --------------------------------------------------------------------------------------------

    def look_for(self, invariant: Invariant) -> Outcome:
        """Return a request that is allowed though the invariant forbids it, if there is one."""
        outcome = Outcome(findings=list(self._findings))
        requests = self._requests(invariant, outcome)
        tried = 0
        for switches in self._switch_sets(outcome):
            live = self._live(switches)
            for holder in self._holders:
                if not invariant.forbids_bearer(holder.bearer) or invariant.excepts(holder.bearer, switches):
                    continue
                for bits, fields in requests.items():
                    holding = holder.who & bits
                    if not holding & live & self._allows:
                        continue
                    tried += 1
                    if not self._refuses(holding, live):
                        outcome.witness = self._confirmed(holder, fields, switches)
                    if outcome.witness:
                        return outcome
                    if tried == MAX_COMBINATIONS:
                        message = f"only {tried} combinations of requests, certificates and switches were tried"
                        outcome.findings.append(Finding(_BOUND, message))
                        return outcome
        return outcome

    def _refuses(self, holding: int, live: int) -> bool:
        """Tell whether a rule denies where these conjunctions hold."""
        return bool(holding & live & self._restricts & ~((holding >> self._rules) & self._has_second))

    def _live(self, switches: frozenset[str]) -> int:
        rules = enumerate(self._model.rules)
        live = (
            number
            for number, rule in rules
            if rule.overridable_by not in switches and (not rule.active_during or rule.active_during in switches)
        )
        return bit_set(live, self._rules)

    def _switch_sets(self, outcome: Outcome) -> Iterable[frozenset[str]]:
        names = [switch.name for switch in self._model.switches]
        sizes: Iterable[int] = range(len(names) + 1)
        if len(names) > _MAX_SWITCHES:
            sizes = (0, 1, len(names))
            message = "only no switch, each one alone and all together were tried as open"
            outcome.findings.append(Finding(_BOUND, message))
        return (frozenset(chosen) for size in sizes for chosen in combinations(names, size))

    def _requests(self, invariant: Invariant, outcome: Outcome) -> dict[int, dict[str, Any]]:
        """Return the requests that the invariant speaks of, one for each set of conjunctions that can hold."""
        found: dict[int, dict[str, Any]] = {}
        for methods, paths in self._targets:
            start: dict[int, dict[str, Any]] = {self._everything: {}}
            by_method = self._combined(start, methods, invariant, outcome)
            found = {**self._combined(by_method, paths, invariant, outcome), **found}
        for axis in self._axes:
            found = self._combined(found, axis, invariant, outcome)
        return found

    def _combined(
        self, found: dict[int, dict[str, Any]], axis: list[_Point], invariant: Invariant, outcome: Outcome
    ) -> dict[int, dict[str, Any]]:
        """Return what was found so far with each class of one axis; what no rule can allow any more is left out."""
        points: dict[int, _Point] = {}
        for point in axis:
            if point.bits >= 0 and _speaks_of(invariant, point.values):
                points.setdefault(point.bits, point)
        onward: dict[int, dict[str, Any]] = {}
        for (bits, fields), point in product(found.items(), points.values()):
            holding = bits & point.bits
            if holding & self._allows and holding not in onward:
                if len(onward) == MAX_REQUESTS:
                    message = "not all requests that the policy tells apart were tried"
                    outcome.findings.append(Finding(_BOUND, message))
                    break
                onward[holding] = {**fields, **point.fields}
        return onward

    def _confirmed(self, holder: Holder, fields: dict[str, Any], switches: frozenset[str]) -> dict[str, object]:
        """Return the witness when the policy itself allows the request, else nothing."""
        now = fields["now"]
        given = {name: value for name, value in fields.items() if name != "now"}
        request = Request(**{"cert": ABSENT, "used": False, "sni": ABSENT, **given})
        subject: Subject | None = holder.at(now)
        decision = self._policy.judge(request, now, subject=subject, switches=switches).decision
        if decision.verdict != "allow" or decision.log_reason != decision.reason:
            return {}
        return {**keys_of_test(request, now, subject=subject, switches=switches), "rule": decision.rule}


_BOUND: Final = "invariant-not-exhausted"


def _speaks_of(invariant: Invariant, values: Mapping[str, Values]) -> bool:
    """Tell whether the invariant speaks of requests with these values, as far as they go."""
    return all(
        one.holds(values[one.attribute], generous=True) for one in invariant.request if one.attribute in values
    ) and not any(
        one.holds(values[one.attribute], generous=False) for one in invariant.outside if one.attribute in values
    )
