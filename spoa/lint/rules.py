"""Rules and routes that do nothing, or not what was meant: judged over all requests and certificates at once.

Each finding says what makes the rule so, and what to do. A rule in shadow, or one that a break-glass switch lifts or
arms, never makes another one useless unless that one is in the same position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spoa.lint.entries import entry_of, ids_of
from spoa.lint.neighbours import Neighbours
from spoa.lint.regions import Region
from spoa.lint.width import reasons_to_narrow
from spoa.policy.model import Effect
from spoa.policy.reading import Reading, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spoa.lint.entries import Entry
    from spoa.lint.places import Places
    from spoa.lint.regions import Atlas
    from spoa.policy.model import PolicyModel
    from spoa.policy.reading import Report

__all__ = ["lint_rules"]


def lint_rules(model: PolicyModel, places: Places, atlas: Atlas, report: Report) -> None:
    """Report what the rules and routes of a valid policy have that deserves a look."""
    _Linter(model, places, atlas, report).run()


class _Linter:
    """One pass over a policy. What is reported as never matching takes part in nothing else."""

    def __init__(self, model: PolicyModel, places: Places, atlas: Atlas, report: Report) -> None:
        self._model = model
        self._atlas = atlas
        self._report = report
        self._places = places
        self._entries = [
            entry_of(number, rule, reading)
            for number, (rule, reading) in enumerate(zip(model.rules, places.rules, strict=True))
        ]

        self._neighbours = Neighbours([entry.first for entry in self._entries])
        self._shadowed_by: dict[int, list[Entry]] = {}
        self._known_near: dict[int, frozenset[int]] = {}

    def _near(self, entry: Entry, others: Iterable[Entry]) -> list[Entry]:
        """Return those of the others that may have a request in common with a rule."""
        numbers = self._known_near.get(entry.number)
        if numbers is None:
            numbers = self._known_near[entry.number] = frozenset(self._neighbours.of(entry.first))
        return [other for other in others if other.number in numbers]

    def run(self) -> None:
        self._entries = [entry for entry in self._entries if self._can_match(entry)]
        self._allows = self._of(Effect.ALLOW)
        self._denies = self._of(Effect.DENY)
        self._requires = [entry for entry in self._of(Effect.REQUIRE) if self._can_be_met(entry)]
        self._denies = [entry for entry in self._denies if self._denies_something(entry)]
        self._report_shadowed()
        dead = {entry.number for entry in self._allows if self._is_never_let_through(entry)}
        self._allows = [entry for entry in self._allows if entry.number not in dead]
        self._report_contradictions()
        for entry in self._allows:
            why = next(self._reasons_to_narrow(entry), "")
            if why:
                key = "request" if "request" in entry.reading.keys else "id"
                self._warn(entry.reading, key, why, "wide-allow")
        self._report_routes()

    def _of(self, effect: Effect) -> list[Entry]:
        return [entry for entry in self._entries if entry.rule.effect is effect]

    def _warn(self, reading: Reading, key: str, message: str, code: str) -> None:
        path = reading.path_of(key) if key in reading.keys else reading.path
        self._report.problem(reading.at(key), path, message, code, is_warning=True)

    # -- one rule ----------------------------------------------------------------------------------------------

    def _can_match(self, entry: Entry) -> bool:
        found = self._atlas.why_empty(entry.first)
        if found is None:
            return True
        key, why = found
        self._warn_inside(
            entry.reading, key, f"this rule never matches: {why}; mend it or take it out", "never-matches"
        )
        return False

    def _warn_inside(self, reading: Reading, key: str, message: str, code: str) -> None:
        """Warn at a key of a rule, or of its `request` or `when`."""
        for block in ("request", "when", "unless"):
            inner = reading.value.get(block)
            if key not in reading.keys and isinstance(inner, Reading) and key in inner.keys:
                self._warn(inner, key, message, code)
                return
        self._warn(reading, key, message, code)

    def _can_be_met(self, entry: Entry) -> bool:
        assert entry.second is not None
        found = self._atlas.why_empty(entry.second)
        if found is not None:
            message = f"nothing can satisfy this rule, so it denies all that it is about: {found[1]}"
            self._warn_inside(entry.reading, found[0], f"{message}; mend it, or write a deny", "unmeetable-require")
            return False
        concerned = [one for one in self._near(entry, self._allows) if not self._atlas.apart(one.first, entry.first)]
        if concerned and all(self._atlas.apart(one.first, entry.second) for one in concerned):
            ids = ids_of(concerned)
            message = (
                f"nobody whom a rule allows this ({ids}) can satisfy what is required, so it denies all that it is "
                "about; allow those who are meant, or require what they can meet"
            )
            self._warn(entry.reading, "id", message, "unmeetable-require")
            return False
        return True

    def _denies_something(self, entry: Entry) -> bool:
        if entry.second is None:
            return True
        if self._atlas.covers(entry.second, entry.first.read_strictly()):
            is_empty = self._atlas.covers(entry.second, entry.first)
            left = "nothing" if is_empty else "nothing but other spellings of it, such as upper case"
            message = f"the exception holds for all that this rule is about, so it denies {left}; narrow `unless`"
            self._warn(entry.reading, "unless", message, "useless-deny")
            return not is_empty
        found = self._atlas.why_empty(entry.second)
        if found is not None:
            self._warn(
                entry.reading,
                "unless",
                f"the exception never holds: {found[1]}; mend it or take it out",
                "useless-unless",
            )
        elif self._atlas.apart(entry.first, entry.second):
            message = "the exception and the rule have no request in common, so it never holds; mend it or take it out"
            self._warn(entry.reading, "unless", message, "useless-unless")
        return True

    # -- rules that say nothing more than others ---------------------------------------------------------------

    def _report_shadowed(self) -> None:
        """Report rules that could be taken out together without changing an answer; of two equal ones the second."""
        for kept, covers in (
            (self._allows, self._allow_covers),
            (self._denies, self._deny_covers),
            (self._requires, self._require_covers),
        ):
            for entry in reversed(tuple(kept)):
                others = [one for one in self._near(entry, kept) if one is not entry and one.outlasts(entry)]
                by = covers(entry, others)
                if by:
                    kept.remove(entry)
                    self._shadowed_by.setdefault(by[0].number, []).append(entry)
                    what = {
                        Effect.ALLOW: "allows nothing that {0} {1} not allow",
                        Effect.DENY: "denies nothing that {0} {1} not deny with the answer that counts",
                        Effect.REQUIRE: "requires nothing that {0} {1} not require or deny already",
                    }[entry.rule.effect].format(ids_of(by), "does" if len(by) == 1 else "do")
                    message = f"this rule {what}; take it out, or narrow the other"
                    self._warn(entry.reading, "id", message, "shadowed-rule")

    def _allow_covers(self, entry: Entry, others: Sequence[Entry]) -> list[Entry]:
        return [others[n] for n in self._atlas.covering([one.first for one in others], entry.first)]

    def _deny_covers(self, entry: Entry, others: Sequence[Entry]) -> list[Entry]:
        status = self._model.defaults.deny_status
        fit = [one for one in others if one.answers_before(entry, status) and self._is_lifted_too(one, entry)]
        return self._allow_covers(entry, fit)

    def _is_lifted_too(self, one: Entry, entry: Entry) -> bool:
        """Tell whether wherever the exception of *one* holds, *entry* doesn't deny either."""
        if one.second is None or self._atlas.apart(entry.first, one.second):
            return True
        return entry.second is not None and self._atlas.covers(entry.second, one.second)

    def _require_covers(self, entry: Entry, others: Sequence[Entry]) -> list[Entry]:
        status = self._model.defaults.deny_status
        assert entry.second is not None
        stricter = [
            one
            for one in others
            if one.answers_before(entry, status)
            and one.second is not None
            and self._atlas.covers(entry.second, one.second)
        ]
        denies = [
            one
            for one in self._near(entry, self._denies)
            if one.second is None and one.outlasts(entry) and one.answers_before(entry, status)
        ]
        return self._allow_covers(entry, stricter) or self._allow_covers(entry, denies)

    # -- rules against one another -----------------------------------------------------------------------------

    def _is_never_let_through(self, entry: Entry) -> bool:
        """Report an allow all of whose requests are denied by others."""
        refusing = [
            one
            for one in self._near(entry, (*self._denies, *self._requires))
            if one.is_always_on and self._refuses(one, entry.first)
        ]
        by = self._allow_covers(entry, refusing)
        if by:
            message = (
                f"all that this rule allows is denied by {ids_of(by)}, so it never takes effect; change one of them"
            )
            self._warn(entry.reading, "id", message, "dead-allow")
        return bool(by)

    def _refuses(self, one: Entry, region: Region) -> bool:
        """Tell whether *one* denies whatever of a region it is about."""
        return one.second is None or self._atlas.apart(region, one.second)

    def _report_contradictions(self) -> None:
        requires = [one for one in self._requires if one.is_always_on]
        for entry in requires:
            assert entry.second is not None
            for other in (one for one in self._near(entry, requires) if one.number < entry.number):
                assert other.second is not None
                if self._atlas.apart(entry.second, other.second) and not self._atlas.apart(entry.first, other.first):
                    message = (
                        f"no request can meet both this rule and {quoted(other.rule.id)}, so all that both are about "
                        "is denied; join the two, or narrow one"
                    )
                    self._warn(entry.reading, "id", message, "contradicting-rules")
            met = Region(entry.second.who, who_generous=False, columns={**entry.first.columns, **entry.second.columns})
            refusing = [one for one in self._near(entry, self._denies) if one.is_always_on and self._refuses(one, met)]
            by = self._atlas.covering([one.first for one in refusing], met)
            if by:
                ids = ids_of(refusing[n] for n in by)
                message = f"whoever satisfies this rule is denied by {ids}, so nobody passes; change one of them"
                self._warn(entry.reading, "id", message, "contradicting-rules")

    def _reasons_to_narrow(self, entry: Entry) -> Iterator[str]:
        restricting = self._near(entry, (*self._denies, *self._requires))
        shadowed = self._shadowed_by.get(entry.number, [])
        return reasons_to_narrow(entry, restricting, self._allows, shadowed, self._atlas)

    # -- routes ------------------------------------------------------------------------------------------------

    def _report_routes(self) -> None:
        routes = list(zip(self._model.routes, self._places.routes, strict=True))
        regions = [Region.of(route.who, route.request, generous=False) for route, _ in routes]
        neighbours = Neighbours(regions)
        for number, (_, reading) in enumerate(routes):
            earlier = [place for place in neighbours.of(regions[number]) if place < number]
            why = self._why_unreachable(regions[number], {place: regions[place] for place in earlier})
            if why:
                self._warn(reading, "backend", f"no request takes this route: {why}", "unreachable-route")

    def _why_unreachable(self, region: Region, earlier: Mapping[int, Region]) -> str:
        found = self._atlas.why_empty(region)
        if found is not None:
            return f"{found[1]}; mend `{found[0]}` or take the route out"
        places = list(earlier)
        by = [places[n] for n in self._atlas.covering(list(earlier.values()), region)]
        if by:
            backends = ", ".join(quoted(self._model.routes[n].backend) for n in by)
            where = "; ".join(self._model.routes[n].position for n in by)
            return f"what it is for goes to {backends} already ({where}); put it before, or take it out"
        is_enforced = bool(self._allows) and not self._model.defaults.is_shadow
        if is_enforced and all(self._atlas.apart(one.first, region) for one in self._allows):
            return "no rule allows a request that it is for; allow it, or take the route out"
        return "" if self._model.defaults.is_shadow else self._why_denied(region)

    def _why_denied(self, region: Region) -> str:
        """Say which rules deny all that is allowed of what a route is for; an empty text where they don't."""
        refusing = [one for one in (*self._denies, *self._requires) if one.is_always_on]
        near = frozenset(self._neighbours.of(region))
        denying = self._taken([region], refusing)
        is_whole = bool(denying)
        # One after the other: most routes have a request that the first allow near them lets through.
        for allow in self._allows if refusing and not is_whole else ():
            if allow.number not in near or self._atlas.apart(allow.first, region):
                continue
            taken = self._taken(_meetings(allow.first, region), refusing)
            if not taken:
                return ""
            denying |= taken
        by = [one for one in refusing if one.number in denying]
        if not by:
            return ""
        what = "what it is for" if is_whole else "what a rule allows of what it is for"
        return f"{what} is denied by {ids_of(by)}; change one of them, or take the route out"

    def _taken(self, regions: Iterable[Region], refusing: Sequence[Entry]) -> set[int]:
        """Return the numbers of rules that deny all of one of some regions; none where none do."""
        for region in regions:
            near = frozenset(self._neighbours.of(region))
            fit = [one for one in refusing if one.number in near and self._refuses(one, region)]
            by = self._atlas.covering([one.first for one in fit], region)
            if by:
                return {fit[n].number for n in by}
        return set()


def _meetings(one: Region, other: Region) -> Iterator[Region]:
    """Yield regions in each of which all that lies in two others lies, and little else."""
    for who in (one, other):
        for columns in ({**one.columns, **other.columns}, {**other.columns, **one.columns}):
            yield Region(who.who, who_generous=who.who_generous, columns=columns)
