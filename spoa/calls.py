"""Requests as literals: what HAProxy may say of one, as far as some policies can tell.

Each column of a request is a choice among its classes (`policy.classes`), the unavailable among them. A policy's table
says which of its conjunctions hold for a class, and the gates of requests say which class never gets so far.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.policy.classes import (
    Classes,
    address_classes,
    host_classes,
    method_classes,
    name_classes,
    path_classes,
    text_classes,
)
from spoa.policy.gates import request_values
from spoa.policy.hosts import normal_sni
from spoa.policy.model import Reason, RequestValues
from spoa.policy.schedule import TimeWindow, instants
from spoa.policy.table import bit_set, conjunctions_of
from spoa.solver import FALSE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spoa.authorizer import Policy
    from spoa.policy.model import Matcher, Pattern, Values
    from spoa.solver import Circuit

__all__ = ["Calls"]

_TLS_VERSIONS: Final = ("TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1", "SSLv3", "QUICv1")
#: Stands where a request fails a gate.
_REFUSED: Final[Values] = ()


class _Column(NamedTuple):
    """A choice among classes: a literal each, the field of the request, and for each policy what rules see of it."""

    literals: list[int]
    fields: list[Any]
    values: list[list[Values]]

    def where(self, *fields: object) -> Iterator[int]:
        return (literal for literal, field in zip(self.literals, self.fields, strict=True) if field in fields)


class Calls:
    """All requests that some policies can tell apart, from each of some moments on.

    Attributes:
        missing: columns of which classes may be missing.
        is_stated: literal that holds where a policy test can state the request.
    """

    def __init__(
        self, circuit: Circuit, policies: Sequence[Policy], others: Iterable[Matcher], moments: Sequence[int]
    ) -> None:
        self._circuit = circuit
        self._policies = policies
        self._others = tuple(others)
        self.missing: list[str] = []
        self._columns: dict[str, _Column] = {}
        self._headers: dict[str, _Column] = {}
        self._of_table: dict[tuple[int, str], dict[int, int]] = {}
        self._make_target()
        self._mismatch = self._make_names()
        self._make_headers()
        for key, classes in (("source", address_classes), ("tls", lambda _: Classes(_TLS_VERSIONS))):
            if patterns := self._patterns(key):
                self._enter(key, [*self._told(key, classes(patterns)), UNAVAILABLE])
        windows = [one for one in self._patterns("time") if isinstance(one, TimeWindow)]
        times = list(dict.fromkeys(time for moment in moments for time in instants(windows, moment)))
        self._columns["time"] = self._column(times, [((time - time % 60,)) for time in times])
        self.is_stated = self._stated()

    # -- columns -----------------------------------------------------------------------------------------------

    def _matchers(self) -> Iterator[Matcher]:
        for policy in self._policies:
            for _, _, matchers, _ in conjunctions_of(policy.model):
                yield from matchers
        yield from self._others

    def _patterns(self, key: str) -> list[Pattern]:
        """Return all patterns of a column."""
        return [pattern for one in self._matchers() if one.key == key for pattern in one.patterns]

    def _told(self, key: str, classes: Classes) -> tuple[Any, ...]:
        if not classes.is_complete:
            self.missing.append(key)
        return classes.values

    def _column(self, fields: Iterable[Any], values: Sequence[Values]) -> _Column:
        several = list(fields)
        return _Column(self._circuit.choice(len(several)), several, [list(values)] * len(self._policies))

    def _enter(self, key: str, fields: Sequence[Any]) -> None:
        self._columns[key] = self._column(fields, [_values(field) for field in fields])

    def _make_target(self) -> None:
        """Enter methods and paths; the asterisk is for OPTIONS alone."""
        methods = self._patterns("method")
        paths = self._patterns("path")
        all_methods = [*self._told("method", method_classes(methods)), UNAVAILABLE]
        self._enter("method", all_methods if methods or paths else all_methods[:1])
        raw = self._raw_paths(paths)
        column = _Column(self._circuit.choice(len(raw)), raw, [self._seen(policy, raw) for policy in self._policies])
        self._columns["path"] = column
        options = list(self._columns["method"].where("OPTIONS"))
        for literal in column.where(ABSENT):
            self._circuit.demand((-literal, *options))
        for place, literal in enumerate(column.literals):
            if all(values[place] is _REFUSED for values in column.values):
                self._circuit.demand((-literal,))

    def _raw_paths(self, patterns: list[Pattern]) -> list[Any]:
        """Return raw paths, in another writing too where only some of the policies accept that."""
        defaults = [policy.model.defaults for policy in self._policies]
        parameters = {one.allows_path_parameters for one in defaults}
        normalises = {one.normalises_path for one in defaults}
        if not patterns and len(parameters) == len(normalises) == 1:
            return ["/x"]
        classes = path_classes(patterns, parameters=True in parameters, are_told=len(parameters) > 1)
        written = list(self._told("path", classes))
        if len(normalises) > 1:
            written += [f"/.{path}" for path in written]
        return [*dict.fromkeys(written), ABSENT, UNAVAILABLE]

    def _seen(self, policy: Policy, paths: list[Any]) -> list[Values]:
        """Return what rules see of each path."""
        seen: list[Values] = []
        for path in paths:
            request = Request(path=path, method="OPTIONS", sni=ABSENT)
            found = request_values(request, policy.model.defaults, None)
            seen.append(found.values.get("path", UNAVAILABLE) if isinstance(found, RequestValues) else _REFUSED)
        return seen

    def _make_names(self) -> int:
        """Enter Host and SNI; return the literal that holds where they differ."""
        of_hosts, of_names = self._patterns("host"), self._patterns("sni")
        if not of_hosts and not of_names and len({p.model.defaults.allows_sni_mismatch for p in self._policies}) == 1:
            return FALSE
        hosts = self._told("host", host_classes([*of_hosts, *of_names]))
        names = dict.fromkeys((*hosts, *(self._told("sni", name_classes("sni", of_names)) if of_names else ())))
        self._enter("host", [UNAVAILABLE, *hosts])
        raw = [ABSENT, *names, UNAVAILABLE]
        self._columns["sni"] = self._column(
            raw, [_values(normal_sni(name) if isinstance(name, str) else name) for name in raw]
        )
        host, sni = self._columns["host"], self._columns["sni"]
        agree = (
            self._circuit.all_of((literal, *host.where(normal_sni(name))))
            for literal, name in zip(sni.literals, raw, strict=True)
            if isinstance(name, str) and normal_sni(name) in hosts
        )
        return -self._circuit.any_of((*agree, *host.where(UNAVAILABLE), *sni.where(ABSENT, UNAVAILABLE)))

    def _make_headers(self) -> None:
        patterns: dict[str, list[Pattern]] = {}
        for pattern in self._patterns("header"):
            matchers: tuple[Matcher, ...] = getattr(pattern, "matchers", ())
            for matcher in matchers:
                patterns.setdefault(matcher.attribute, []).extend(matcher.patterns)
        for name, several in sorted(patterns.items()):
            fields = [UNAVAILABLE, *self._told("header", text_classes(several)), ABSENT]
            self._headers[name] = self._column(fields, [_values(field) for field in fields])

    def _stated(self) -> int:
        """Return the literal of what a test can state: no header absent, SNI known, method and path together."""
        method, path = (next(self._columns[key].where(UNAVAILABLE), FALSE) for key in ("method", "path"))
        names = self._columns["sni"].where(UNAVAILABLE, "") if "sni" in self._columns else ()
        absent = chain.from_iterable(column.where(ABSENT) for column in self._headers.values())
        both = self._circuit.any_of((self._circuit.all_of((method, path)), self._circuit.all_of((-method, -path))))
        return self._circuit.all_of((both, *(-literal for literal in (*names, *absent))))

    # -- what is asked -----------------------------------------------------------------------------------------

    def gates(self, side: int) -> Iterator[tuple[Reason, int]]:
        """Yield the gates of requests, and the literal with which each denies, in their order."""
        path = self._columns["path"]
        refused = (one for one, values in zip(path.literals, path.values[side], strict=True) if values is _REFUSED)
        yield Reason.PATH_NOT_CANONICAL, self._circuit.any_of(refused)
        if not self._policies[side].model.defaults.allows_sni_mismatch:
            yield Reason.SNI_MISMATCH, self._mismatch

    def conjunction(self, side: int, number: int, matchers: Iterable[Matcher], *, generous: bool) -> int:
        """Return the literal that holds where a conjunction of a policy does, as far as requests go."""
        return self._circuit.all_of(
            self._header(one, generous=generous) if one.key == "header" else self._by_table(side, one.key)[number]
            for one in matchers
        )

    def holds(self, side: int, matcher: Matcher, *, generous: bool) -> int:
        """Return the literal that holds where a matcher, of a rule or not, does."""
        if matcher.key == "header":
            return self._header(matcher, generous=generous)
        column = self._columns[matcher.key]
        seen = zip(column.literals, column.values[side], strict=True)
        return self._circuit.any_of(one for one, values in seen if matcher.holds(values, generous=generous))

    def _by_table(self, side: int, key: str) -> dict[int, int]:
        """Return the conjunctions that ask about a column, and the literal that each holds with."""
        known = self._of_table.get((side, key))
        if known is not None:
            return known
        policy, column = self._policies[side], self._columns[key]
        conjunctions = conjunctions_of(policy.model)
        asking = {number for number, _, matchers, _ in conjunctions if any(one.key == key for one in matchers)}
        mask = bit_set(asking, max(asking, default=0) + 1)
        holding: dict[int, list[int]] = {number: [] for number in asking}
        for literal, values in zip(column.literals, column.values[side], strict=True):
            bits = policy.evaluator.table.answer(key, values) & mask if values is not _REFUSED else 0
            while bits:
                lowest = bits & -bits
                holding[lowest.bit_length() - 1].append(literal)
                bits ^= lowest
        known = {number: self._circuit.any_of(literals) for number, literals in holding.items()}
        self._of_table[side, key] = known
        return known

    def _header(self, matcher: Matcher, *, generous: bool) -> int:
        return self._circuit.any_of(
            self._circuit.all_of(self._one_header(one, generous=generous) for one in getattr(pattern, "matchers", ()))
            for pattern in matcher.patterns
        )

    def _one_header(self, matcher: Matcher, *, generous: bool) -> int:
        column = self._headers[matcher.attribute]
        seen = zip(column.literals, column.values[0], strict=True)
        return self._circuit.any_of(one for one, values in seen if matcher.holds(values, generous=generous))

    def between(self, first: int, last: int) -> int:
        """Return the literal that holds at times from *first* on and before *last*."""
        column = self._columns["time"]
        inside = (one for one, time in zip(column.literals, column.fields, strict=True) if first <= time < last)
        return self._circuit.any_of(inside)

    # -- what was found ----------------------------------------------------------------------------------------

    def wishes(self) -> Iterator[int]:
        """Yield literals that make a request plainer, the more important ones first."""
        for column in (*self._headers.values(), *self._columns.values()):
            yield from self._circuit.preferences(column.literals)

    def found(self) -> tuple[Request, int]:
        """Return the request that was found last, and its time."""
        fields = {key: self._chosen(column) for key, column in self._columns.items()}
        now = fields.pop("time")
        headers = {name: self._chosen(column) for name, column in self._headers.items()}
        request = Request(cert=ABSENT, used=False, headers={k: v for k, v in headers.items() if v is not UNAVAILABLE})
        request.sni = ABSENT
        for key, field in fields.items():
            setattr(request, key, field)
        return request, now

    def _chosen(self, column: _Column) -> Any:
        return next(
            field for one, field in zip(column.literals, column.fields, strict=True) if self._circuit.holds(one)
        )


def _values(field: Any) -> Values:
    return field if field is ABSENT or field is UNAVAILABLE else (field,)
