"""What the texts of a request, as a log holds them, amount to under a policy: each read once, by column.

The conjunctions that hold for a request are the intersection of what its columns answer (`policy.table`). A column's
answer depends on that column's value alone, so it is remembered by the text that the log has for it, before anything of
the text is read: requests that differ in everything but that they ask from the same addresses, for the same hosts, with
the same methods, cost one look-up each for those.

An answer is taken twice, at worst and at best for the client, since what a log doesn't hold is neither.
"""

from __future__ import annotations

import ipaddress
from functools import reduce
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from spoa.facts import ABSENT, UNAVAILABLE
from spoa.policy.hosts import normal_host
from spoa.policy.model import Reason
from spoa.policy.path import ASTERISK, canonical_path
from spoa.policy.sans import packed_address
from spoa.recorded import path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from spoa.authorizer import Policy
    from spoa.policy.model import PolicyModel, Rule, Values

__all__ = ["Reading", "Readings", "Untold", "untold_of"]

K = TypeVar("K")
V = TypeVar("V")

#: Texts remembered for each column; past it all are forgotten.
REMEMBERED: Final = 65536
#: Columns of which no log tells anything.
_UNTOLD: Final = ("header", "sni", "tls")
_MINUTE: Final = 60

#: What a request, or a part of it, amounts to: the conjunctions that hold as far as it goes, at worst and at best for
#: the client, and why no rule is asked, None where they are. A plain tuple: one is made for each line.
Reading: TypeAlias = tuple[int, int, "Reason | None"]


class Untold(NamedTuple):
    """What a policy asks for and no log tells.

    Attributes:
        attribute: `header`, `sni` or `tls`.
        rules: ids of those that ask, in the order of the policy; what they say may be undetermined.
        gate: the gate that asks too, and is taken to pass whom it passed; empty for none.
    """

    attribute: str
    rules: tuple[str, ...]
    gate: str = ""


def untold_of(model: PolicyModel) -> tuple[Untold, ...]:
    """Return what a policy asks for that no log tells, so that judging again has its limits there."""
    found = []
    for attribute in _UNTOLD:
        rules = tuple(rule.id for rule in model.rules if not rule.is_shadow and attribute in _asked_by(rule))
        has_gate = attribute == "sni" and not model.defaults.allows_sni_mismatch
        if rules or has_gate:
            found.append(Untold(attribute, rules, str(Reason.SNI_MISMATCH) if has_gate else ""))
    return tuple(found)


def _asked_by(rule: Rule) -> set[str]:
    return {matcher.key for matcher in (*rule.request, *rule.required, *(rule.unless or ()))}


class _Remembered(dict[K, V]):
    """What was read of each key; what isn't there is read."""

    def __init__(self, read: Callable[[K], V]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, key: K) -> V:
        if len(self) >= REMEMBERED:
            self.clear()
        found = self[key] = self._read(key)
        return found


class Readings:
    """What a policy makes of the requests that a log holds.

    Args:
        policy: whose.
    """

    def __init__(self, policy: Policy) -> None:
        self._table = policy.evaluator.table
        self._defaults = policy.model.defaults
        untold = [self._column(key, UNAVAILABLE) for key in _UNTOLD]
        self._worst = reduce(int.__and__, (one[0] for one in untold))
        self._best = reduce(int.__and__, (one[1] for one in untold))
        self._is_timed = "time" in self._table.columns
        self._sources = _Remembered(self._source)
        self._methods = _Remembered(self._method)
        self._hosts = _Remembered(self._host)
        self._paths = _Remembered(self._path)
        self._minutes = _Remembered(self._minute)

    # Hot path: five look-ups, and all that is computed of a request. Benchmark: benchmarks/replay.py.
    def request(
        self, method: str | None, host: str | None, path: str | None, source: str | None, reason: str, now: int
    ) -> Reading:
        """Return what a request amounts to.

        Args:
            method: as the log has it, None where it doesn't, like the three that follow.
            host: as logged.
            path: as logged.
            source: as logged.
            reason: what was answered, which may tell why there is no path.
            now: when it was asked, seconds since the epoch.

        Raises:
            ValueError: *source* is no address.
        """
        worst, best, _ = self._sources[source]
        part_worst, part_best, gate = self._hosts[host]
        if gate is not None:
            return (0, 0, gate)
        worst &= part_worst
        best &= part_best
        if path is not None and path.startswith("/"):
            part_worst, part_best, gate = self._paths[path]
        else:
            part_worst, part_best, gate = self._odd_path(method, path, reason)
        if gate is not None:
            return (0, 0, gate)
        worst &= part_worst
        best &= part_best
        part_worst, part_best, _ = self._methods[method]
        worst &= part_worst & self._worst
        best &= part_best & self._best
        if self._is_timed:
            part_worst, part_best, _ = self._minutes[now // _MINUTE]
            worst &= part_worst
            best &= part_best
        return worst, best, None

    def _column(self, key: str, values: Values) -> Reading:
        worst = self._table.answer(key, values)
        return worst, self._table.answer_at_best(key) if values is UNAVAILABLE else worst, None

    def _source(self, text: str | None) -> Reading:
        packed = UNAVAILABLE if text is None else (packed_address(ipaddress.ip_address(text).packed),)
        return self._column("source", packed)

    def _method(self, text: str | None) -> Reading:
        return self._column("method", UNAVAILABLE if text is None else (text,))

    def _host(self, text: str | None) -> Reading:
        if text is None:
            return self._column("host", UNAVAILABLE)
        host = normal_host(text)
        return (0, 0, Reason.MALFORMED_MESSAGE) if host is None else self._column("host", (host,))

    def _minute(self, minute: int) -> Reading:
        return self._column("time", (minute * _MINUTE,))

    def _path(self, raw: str) -> Reading:
        defaults = self._defaults
        path = canonical_path(raw, normalise=defaults.normalises_path, parameters=defaults.allows_path_parameters)
        return (0, 0, Reason.PATH_NOT_CANONICAL) if path is None else self._column("path", (path,))

    def _odd_path(self, method: str | None, path: str | None, reason: str) -> Reading:
        """Return what it amounts to that there is no path, or one that doesn't begin like one."""
        raw = path_of(method, path, reason)
        if isinstance(raw, str):
            return self._path(raw)
        if raw is UNAVAILABLE or method is None:
            return self._column("path", UNAVAILABLE)
        assert raw is ABSENT
        return self._column("path", (ASTERISK,)) if method == "OPTIONS" else (0, 0, Reason.PATH_NOT_CANONICAL)
