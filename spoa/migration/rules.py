"""Refusals and switches as rules and routes of a policy.

What a refusal wants is restricting, what it excepts is granting. Where a rule of the policy language has no place for
an exception, the exception is left out: the draft then denies more, and a note says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from spoa.migration.atoms import ANONYMOUS, ANY, Atom
from spoa.migration.patterns import complement
from spoa.migration.translation import translate
from spoa.policy.model import STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spoa.haproxy_config.acl import Literal, Term
    from spoa.haproxy_config.proxies import Rule
    from spoa.migration.atoms import Holder, Surroundings
    from spoa.migration.clauses import Refusal, Switch

__all__ = ["DraftRoute", "DraftRule", "Drafter"]

REQUEST_KINDS: Final = ("path", "method", "host", "sni", "header")
WHEN_KINDS: Final = ("source", "tls")
_READS: Final = ("GET", "HEAD", "OPTIONS")
_TLS: Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_STATUS: Final = 403
#: Most allow rules and alternatives of one rule.
_MOST: Final = 64
#: The backend of the shipped configuration that denies.
NOWHERE: Final = "authz-denied"

Atoms = dict[str, tuple[Any, ...]]


@dataclass(slots=True)
class DraftRule:
    """A rule of the draft.

    Attributes:
        id, effect: as in the policy.
        atoms: kind → values that must hold; `who` has holders.
        excepted: kind → values that except; of a `require`, what must hold.
        status: 0 where the policy's default will do.
        origin: the lines it comes from.
    """

    id: str
    effect: str
    atoms: Atoms = field(default_factory=dict)
    excepted: Atoms = field(default_factory=dict)
    status: int = 0
    origin: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DraftRoute:
    """A route of the draft."""

    atoms: Mapping[str, tuple[Any, ...]]
    backend: str
    origin: str


class Drafter:
    """Makes rules, allow rules and routes; begins with everyone allowed who has a certificate.

    Attributes:
        rules: deny and require rules.
        allows: allow rules.
        names: holders that an ACL of that name means, for identities.
    """

    def __init__(self, around: Surroundings, *, allows_anonymous: bool) -> None:
        self._around = around
        self._everyone: tuple[Holder, ...] = (ANY, ANONYMOUS) if allows_anonymous else (ANY,)
        self.rules: list[DraftRule] = []
        self.allows: list[DraftRule] = [DraftRule("allowed", "allow")]
        self.names: dict[tuple[Holder, ...], str] = {}
        self._ids: dict[str, int] = {}

    @property
    def everyone(self) -> tuple[Holder, ...]:
        """Whom the policy judges: those with a certificate, and those without where the handshake lets them in."""
        return self._everyone

    # -- refusals ----------------------------------------------------------------------------------------------

    def refuse(self, refusal: Refusal) -> None:
        """Draft what a refusal amounts to."""
        for term in refusal.terms:
            for wanted, excepted in self._readings(term, refusal.rule):
                self._refuse(refusal, term, wanted, excepted)

    def _readings(self, term: Term, rule: Rule) -> Iterator[tuple[list[Atom], list[Atom]]]:
        """Yield what a term wants and excepts, once for each kind of test that an ACL has."""
        wanted: list[list[Atom]] = []
        excepted: list[Atom] = []
        for literal in term:
            if literal.is_positive:
                wanted.append(self._alternatives(literal, rule, generous=True))
            else:
                excepted += self._alternatives(literal, rule, generous=False)
        for choice in product(*wanted):
            if any(atom.kind == "never" for atom in choice) or any(atom.kind == "always" for atom in excepted):
                continue
            yield (
                [atom for atom in choice if atom.kind != "always"],
                [atom for atom in excepted if atom.kind != "never"],
            )

    def _alternatives(self, literal: Literal, rule: Rule, *, generous: bool) -> list[Atom]:
        """Return an atom for each kind of test of an ACL; one that has no translation restricts all or grants none."""
        found: Atoms = {}
        constants: list[Atom] = []
        notes = self._around.notes
        beyond = Atom("always" if generous else "never")
        if not literal.acl.tests:
            notes.add(
                rule.line, "untranslated", f"{rule}: no ACL is named {literal.acl}{_consequence(generous=generous)}"
            )
            return [beyond]
        for test in literal.acl.tests:
            try:
                atom = translate(test, self._around, generous=generous)
            except ValueError as error:
                notes.add(test.line, "untranslated", f"{test}: {error}{_consequence(generous=generous)}")
                atom = beyond
            if atom.kind in {"always", "never"}:
                constants.append(atom)
            else:
                found[atom.kind] = _united(found.get(atom.kind, ()), atom.values)
        if any(atom.kind == "always" for atom in constants):
            return [Atom("always")]
        atoms = [Atom(kind, values) for kind, values in found.items()]
        for atom in atoms:
            if atom.kind == "who" and literal.acl.name:
                self.names.setdefault(atom.values, _slug(literal.acl.name))
        return atoms or [Atom("never")]

    def _refuse(self, refusal: Refusal, term: Term, wanted: Sequence[Atom], excepted: Sequence[Atom]) -> None:
        atoms = self._joined(wanted, refusal.rule, is_restricting=True)
        assert atoms is not None
        exceptions: Atoms = {}
        for atom in excepted:
            exceptions[atom.kind] = _united(exceptions.get(atom.kind, ()), atom.values)
        if not (self._simplify(atoms) and self._simplify(exceptions, is_exception=True)):
            return
        if "who" in exceptions and _covers(exceptions["who"], atoms.get("who", self._everyone)):
            return
        status = _status(refusal)
        if not atoms and exceptions and status == _STATUS and self._narrow(exceptions, refusal):
            return
        self._move_opposites(atoms, exceptions)
        self._keep_one_exception(exceptions, refusal.rule)
        effect = "deny"
        only_request = atoms and all(_block(kind) == "request" for kind in atoms)
        if only_request and exceptions and all(_block(kind) != "request" for kind in exceptions):
            effect = "require"
        draft = DraftRule(self._id(term), effect, atoms, exceptions, status if status != _STATUS else 0)
        draft.origin.append(f"{refusal.rule.line.file}:{refusal.rule.line.number} {refusal.rule}")
        if not any((one.effect, one.atoms, one.excepted) == (effect, atoms, exceptions) for one in self.rules):
            self.rules.append(draft)

    def _joined(self, atoms: Sequence[Atom], rule: Rule, *, is_restricting: bool) -> Atoms | None:
        """Return atoms that hold together, one of each kind; None where they can't, unless more may be matched."""
        found: Atoms = {}
        for atom in atoms:
            if atom.kind not in found:
                found[atom.kind] = atom.values
                continue
            both = _met(atom.kind, found[atom.kind], atom.values)
            if both is not None:
                found[atom.kind] = both
            elif not is_restricting:
                return None
            else:
                what = f"{rule}: two conditions on the {atom.kind} at once; the draft keeps the first and denies more"
                self._around.notes.add(rule.line, "untranslated", what)
        return found

    def _move_opposites(self, atoms: Atoms, exceptions: Atoms) -> None:
        """Turn exceptions into conditions where that says exactly the same, so that others have room."""
        who = exceptions.get("who")
        if who is not None and len(exceptions) > 1 and "who" not in atoms and set(who) in ({ANY}, {ANONYMOUS}):
            del exceptions["who"]
            atoms["who"] = (ANONYMOUS,) if ANY in who else (ANY,)
        for kind, opposite in (("source", _other_sources), ("method", _other_methods), ("tls", _other_versions)):
            if kind in exceptions and kind not in atoms and len(exceptions) > 1:
                rest = opposite(exceptions[kind])
                if rest:
                    del exceptions[kind]
                    atoms[kind] = rest

    def _simplify(self, atoms: Atoms, *, is_exception: bool = False) -> bool:
        """Leave out whom there is not, and the mention of everyone; tell whether anything can match."""
        who = atoms.get("who")
        if who is not None:
            mine = tuple(one for one in who if one != ANONYMOUS or ANONYMOUS in self._everyone)
            mine = tuple(one for one in mine if one in {ANY, ANONYMOUS}) if ANY in mine else mine
            if mine:
                atoms["who"] = mine
            else:
                del atoms["who"]
                if not is_exception:
                    return False
            if not is_exception and set(mine) >= set(self._everyone):
                del atoms["who"]
        return all(values for values in atoms.values())

    def _keep_one_exception(self, exceptions: Atoms, rule: Rule) -> None:
        if len(exceptions) <= 1:
            return
        kept = "who" if "who" in exceptions else next(iter(exceptions))
        for kind in [kind for kind in exceptions if kind != kept]:
            del exceptions[kind]
            what = f"{rule}: an exception by {kind.replace(':', ' ')} beside one by {kept}; the draft denies without it"
            self._around.notes.add(rule.line, "untranslated", what)

    def _narrow(self, exceptions: Atoms, refusal: Refusal) -> bool:
        """Narrow what is allowed to the exceptions of a refusal of everything; tell whether that could be said."""
        narrowed: list[DraftRule] = []
        line = refusal.rule.line
        for allow in self.allows:
            origin = dict.fromkeys((*allow.origin, f"{line.file}:{line.number} {refusal.rule}"))
            alternatives = []
            for kind, values in exceptions.items():
                mine = allow.atoms.get(kind)
                both = values if mine is None else _met(kind, mine, values)
                if both is None:
                    return False
                alternatives.append(DraftRule(allow.id, "allow", {**allow.atoms, kind: both}, origin=list(origin)))
            # One that says no more than was said already makes the others needless.
            same = [one for one in alternatives if one.atoms == allow.atoms]
            narrowed += same[:1] or alternatives
        narrowed = [one for one in narrowed if all(one.atoms.values())]
        if len(narrowed) > _MOST:
            return False
        self.allows = narrowed
        return True

    def _id(self, term: Iterable[Literal]) -> str:
        words = [("" if one.is_positive else "not-") + (_slug(one.acl.name) or _slug(_fetch(one))) for one in term]
        name = "-".join(words)[:56].strip("-") or "everything"
        self._ids[name] = self._ids.get(name, 0) + 1
        return name if self._ids[name] == 1 else f"{name}-{self._ids[name]}"

    # -- switches ----------------------------------------------------------------------------------------------

    def routes(self, switches: Sequence[Switch]) -> list[DraftRoute]:
        """Return routes for switches; those that can't be said are left to HAProxy.

        What no switch takes ends where it is denied, as HAProxy has no backend for it.
        """
        found = [DraftRoute({}, NOWHERE, "no default_backend")] if switches else []
        for switch in reversed(switches):
            before = found
            try:
                for term in reversed(switch.terms):
                    found = self._routed(switch, term, found)
            except ValueError as error:
                line = switch.rule.line
                what = f"{switch.rule}: {error}; keep the line in HAProxy, before the one that applies the route"
                self._around.notes.add(line, "untranslated", what)
                found = before
        return _reachable(found)

    def _routed(self, switch: Switch, term: Term, rest: list[DraftRoute]) -> list[DraftRoute]:
        """Put a term before the routes that follow it: what it excepts goes on to those."""
        wanted: list[list[Atom]] = []
        excepted: list[Atom] = []
        for literal in term:
            atoms = self._strict(literal)
            self._guard(literal, term, switch)
            if literal.is_positive:
                wanted.append(atoms)
            else:
                excepted += atoms
        if any(atom.kind == "always" for atom in excepted):
            return rest
        opposites = {(ANY,): ANONYMOUS, (ANONYMOUS,): ANY}
        for atom in [one for one in excepted if one.kind == "who" and one.values in opposites]:
            excepted.remove(atom)
            wanted.append([Atom("who", (opposites[atom.values],))])
        origin = f"{switch.rule.line.file}:{switch.rule.line.number} {switch.rule}"
        before: list[DraftRoute] = []
        mine: list[DraftRoute] = []
        for choice in product(*wanted):
            if any(atom.kind == "never" for atom in choice):
                continue
            held = self._joined([one for one in choice if one.kind != "always"], switch.rule, is_restricting=False)
            if held is None:
                raise ValueError("two conditions on the same thing at once")
            if not self._simplify(held):
                continue
            mine.append(DraftRoute(held, switch.backend, origin))
            before += [
                DraftRoute(self._conjunction(held, atom, route), route.backend, route.origin)
                for atom in excepted
                if atom.kind != "never"
                for route in rest
            ]
        if len(before) + len(mine) + len(rest) > _MOST:
            raise ValueError("too many routes")
        return [*before, *mine, *rest]

    def _strict(self, literal: Literal) -> list[Atom]:
        found: Atoms = {}
        kinds = set()
        if not literal.acl.tests:
            raise ValueError(f"no ACL is named {literal.acl}")
        for test in literal.acl.tests:
            atom = translate(test, self._around, generous=False, is_route=True)
            kinds.add(atom.kind)
            if atom.kind not in {"always", "never"}:
                found[atom.kind] = _united(found.get(atom.kind, ()), atom.values)
        if "always" in kinds:
            return [Atom("always")]
        atoms = [Atom(kind, values) for kind, values in found.items()]
        for atom in atoms:
            if atom.kind == "who" and literal.acl.name:
                self.names.setdefault(atom.values, _slug(literal.acl.name))
        return atoms or [Atom("never")]

    def _guard(self, literal: Literal, term: Term, switch: Switch) -> None:
        """Deny whom HAProxy may have sent elsewhere than the draft would: those that a strict match leaves out."""
        if not any(test.fetch in {"ssl_c_s_dn", "ssl_c_serial"} for test in literal.acl.tests):
            return
        (generous,) = self._alternatives(literal, switch.rule, generous=True)
        (strict,) = self._strict(literal)
        is_loose = any(test.ignores_case or test.converters for test in literal.acl.tests)
        if generous.kind != "who" or (generous.values == strict.values and not is_loose):
            return
        others = [one for one in term if one is not literal and one.is_positive]
        atoms: Atoms = {"who": generous.values}
        for other in others:
            for atom in self._alternatives(other, switch.rule, generous=True)[:1]:
                if atom.kind not in {"who", "always", "never"}:
                    atoms[atom.kind] = atom.values
        line = switch.rule.line
        name = f"{_slug(literal.acl.name) or 'client'}-in-doubt"
        origin = [
            f"{line.file}:{line.number} {switch.rule}",
            "Whom HAProxy may have sent there, but the route doesn't.",
        ]
        if generous.values == strict.values:
            origin.append("check: ignore useless-deny: other spellings are just what it denies")
        rule = DraftRule(name, "deny", atoms, {"who": strict.values}, origin=origin)
        if not any((one.atoms, one.excepted) == (rule.atoms, rule.excepted) for one in self.rules):
            self._ids[name] = self._ids.get(name, 0) + 1
            rule.id = name if self._ids[name] == 1 else f"{name}-{self._ids[name]}"
            self.rules.append(rule)

    @staticmethod
    def _conjunction(atoms: Atoms, further: Atom, route: DraftRoute) -> Atoms:
        found = dict(atoms)
        for kind, values in ((further.kind, further.values), *route.atoms.items()):
            both = values if kind not in found else _met(kind, found[kind], values)
            if both is None:
                raise ValueError("two conditions on the same thing at once")
            found[kind] = both
        return found


def _reachable(routes: Iterable[DraftRoute]) -> list[DraftRoute]:
    """Leave out routes that nothing reaches: they ask for nothing, or for what an earlier one has taken."""
    found: list[DraftRoute] = []
    for route in routes:
        if all(route.atoms.values()) and not any(one.atoms in ({}, route.atoms) for one in found):
            found.append(route)
    return found


def _consequence(*, generous: bool) -> str:
    return "; the draft denies without asking for it" if generous else "; the draft excepts nobody for it"


def _status(refusal: Refusal) -> int:
    return refusal.status if refusal.status in STATUSES else _STATUS


def _block(kind: str) -> str:
    return "who" if kind == "who" else "when" if kind in WHEN_KINDS else "request"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()


def _fetch(literal: Literal) -> str:
    return "-".join(test.fetch for test in literal.acl.tests[:1])


def _united(first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _met(kind: str, first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Return what both say: nothing where they have nothing in common, None where one condition can't say it."""
    if set(first) <= set(second):
        return first
    if set(second) <= set(first):
        return second
    if kind == "who":
        pairs = [_merged(one, other) for one, other in product(first, second)]
        found = [pair for pair in pairs if pair is not None]
        if None not in pairs and len(found) <= _MOST:
            return tuple(dict.fromkeys(found))
    if kind == "method" and not {"read", "write"} & {*first, *second}:
        return tuple(value for value in first if value in second)
    return None


def _covers(who: Iterable[Holder], others: Iterable[Holder]) -> bool:
    """Tell whether each of *others* is certainly among *who*."""
    return all(one in who or (one != ANONYMOUS and ANY in who) for one in others)


def _merged(first: Holder, second: Holder) -> Holder | None:
    if ANONYMOUS in (first, second):
        return None
    keys = dict(first)
    for key, value in second:
        if keys.setdefault(key, value) != value:
            return None
    return tuple(keys.items())


def _other_sources(values: tuple[Any, ...]) -> tuple[Any, ...]:
    rest = complement(values)
    return tuple(rest) if len(rest) <= _MOST else ()


def _other_methods(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if set(values) <= set(_READS):
        return (*(method for method in _READS if method not in values), "write")
    return ()


def _other_versions(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(version for version in _TLS if version not in values)
