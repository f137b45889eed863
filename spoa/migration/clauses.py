"""What the rules of a frontend amount to, in order: who is refused, and where the rest goes.

HAProxy stops at the first rule that decides. A refusal therefore holds only where no earlier rule has allowed the
request, and a backend's rules only for what is sent there; both become literals of its terms, so that order is gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from spoa.haproxy_config.acl import ALWAYS, MAX_TERMS, PREDEFINED, Literal, opposite, resampled
from spoa.haproxy_config.proxies import Rule
from spoa.migration.notes import Notes

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from spoa.haproxy_config.acl import Comparison, Condition, Term
    from spoa.haproxy_config.proxies import Proxies, Proxy
    from spoa.haproxy_config.reading import Line

__all__ = ["Refusal", "Switch", "refusals", "switches"]

#: Rule sets in the order in which they run.
_SETS: Final = ("tcp-request connection", "tcp-request session", "tcp-request content", "http-request", "block")
_REFUSING: Final = frozenset({"deny", "reject", "tarpit", "silent-drop", "auth"})
_ACCEPTING: Final = frozenset({"allow", "accept"})
#: What neither refuses nor changes what is judged.
_SILENT: Final = frozenset(
    (
        *("set-header", "add-header", "del-header", "replace-header", "replace-value", "early-hint", "capture"),
        *("set-var", "set-var-fmt", "unset-var", "set-log-level", "set-nice", "set-mark", "set-tos", "set-timeout"),
        *("add-acl", "del-acl", "set-map", "del-map", "cache-use", "disable-l7-retry", "strict-mode", "do-resolve"),
        *("wait-for-handshake", "wait-for-body", "inspect-delay", "send-spoe-group", "expect-proxy", "set-src-port"),
        *("set-priority-class", "set-priority-offset", "set-fc-mark", "set-fc-tos", "set-bc-mark", "set-bc-tos"),
    )
)
_ANSWERING: Final = frozenset({"redirect", "return", "use-service"})
_SMALLEST_REFUSAL: Final = 400
#: What HAProxy, and a route, takes for the name of a backend.
_BACKEND: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
#: So many backends are named in one note.
_NAMED: Final = 8
_DEFAULT_STATUSES: Final = {"deny": 403, "tarpit": 500, "auth": 401}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Requests that are refused: those for which one of the terms holds.

    Attributes:
        rule: the rule, for its place and its text.
        status: what it is answered with.
        terms: in what order rules stand no longer matters.
    """

    rule: Rule
    status: int
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Switch:
    """Where requests go for which one of the terms holds, unless an earlier one has held."""

    rule: Rule
    backend: str
    terms: tuple[Term, ...]


def refusals(frontend: Proxy, proxies: Proxies, notes: Notes) -> list[Refusal]:
    """Return all that a frontend and the backends behind it refuse.

    Where nobody can tell what is sent to a backend, it refuses whatever comes, and never nothing; a line that makes up
    a backend's name for each request is noted with those that it may choose.
    """
    found = [*_of(frontend, (ALWAYS.terms), notes), *_unread(frontend, proxies, notes)]
    chosen: list[tuple[Term, ...]] = []
    for switch in switches(frontend, notes):
        backend = proxies.backends.get(switch.backend)
        if backend is not None and backend is not frontend:
            found += [*_of(backend, _also_none(switch.terms, chosen), notes), *_unread(backend, proxies, notes)]
        if not switch.rule.condition.is_too_large:
            chosen.append(switch.terms)
    for line, backend in _unread_switches(frontend, proxies):
        lost = [*_of(backend, ALWAYS.terms, notes), *_unread(backend, proxies, notes)]
        if lost:
            what = f"what can't be read may send anything to {backend.name}; the draft denies all that is denied there"
            notes.add(line, "untranslated", f"{line}: {what}")
        found += lost
    _note_undrafted(frontend, proxies, notes)
    return found


def _unread_switches(frontend: Proxy, proxies: Proxies) -> Iterator[tuple[Line, Proxy]]:
    """Yield the lines that choose a backend on a condition that can't be read, with the backend."""
    places = {(problem.file, problem.number) for problem in proxies.problems}
    for line in frontend.lines("use_backend"):
        backend = proxies.backends.get("".join(line.texts[1:2]))
        if (line.file, line.number) in places and backend is not None and backend is not frontend:
            yield line, backend


def _note_undrafted(frontend: Proxy, proxies: Proxies, notes: Notes) -> None:
    """Note which backends refuse something behind a name that is made up for each request, readable or not."""
    lines = [line for word in ("use_backend", "default_backend") for line in frontend.lines(word)]
    made_up = [line for line in lines if "%" in "".join(line.texts[1:2])]
    default = {one.backend for one in switches(frontend, Notes()) if one.rule.condition == ALWAYS}
    refusing = [
        backend.name
        for backend in (proxies.backends.values() if made_up else ())
        if backend is not frontend
        and backend.name not in default  # which refuses whatever no other takes
        and (any(_of(backend, ALWAYS.terms, Notes())) or any(_unread(backend, proxies, Notes())))
    ]
    shown = ", ".join(refusing[:_NAMED]) + (f" and {len(refusing) - _NAMED} more" if refusing[_NAMED:] else "")
    for line in made_up if refusing else ():
        what = f"it may choose {shown}, whose refusals the draft doesn't have; keep them in HAProxy"
        notes.add(line, "undrafted", f"{line}: {what}")


def _of(proxy: Proxy, where: tuple[Term, ...], notes: Notes) -> Iterator[Refusal]:
    resolved = _Samples(proxy)
    for name in _SETS:
        accepted: list[tuple[Term, ...]] = []
        for rule in proxy.rules(name):
            terms = resolved.terms(rule.condition, notes, rule)
            if rule.action in _ACCEPTING:
                # What can't be told to be accepted is refused by what follows.
                accepted += [] if rule.condition.is_too_large else [terms]
            elif status := _status(rule):
                both = _both(terms, where)
                yield Refusal(rule, status, _also_none(both, accepted))
            else:
                _note_other(rule, notes)


def _unread(proxy: Proxy, proxies: Proxies, notes: Notes) -> Iterator[Refusal]:
    """Yield a refusal of everything for each line that can't be read and may have refused, or said what is refused."""
    places = {(problem.file, problem.number) for problem in proxies.problems}
    all_of_it = (proxy, *proxy.parents)
    known = {*PREDEFINED, *(name for one in all_of_it for name in one.acls)}
    for line in (line for one in all_of_it for line in one.section.lines):
        if (line.file, line.number) in places and _may_refuse(line, known):
            notes.add(
                line, "untranslated", f"{line}: what can't be read may refuse anything; the draft denies everything"
            )
            yield Refusal(Rule("http-request", "deny", "", (), ALWAYS, line), 403, ALWAYS.terms)


def _may_refuse(line: Line, known: Container[str]) -> bool:
    """Tell whether a line refuses, or adds to an ACL that has other lines; one that has none is known to nobody."""
    keyword, *words = line.texts
    if keyword == "acl":
        return words[0] in known
    is_rule = keyword in {"http-request", "tcp-request"}
    return keyword == "block" or (is_rule and not {*_REFUSING, "return"}.isdisjoint(words[:2]))


def _status(rule: Rule) -> int:
    """Return the status of a refusal; 0 where a rule refuses nothing."""
    words = list(rule.words)
    for key in ("deny_status", "status"):
        if key in words and "".join(words[words.index(key) + 1 :][:1]).isdigit():
            status = int(words[words.index(key) + 1])
            is_refusal = rule.action in _REFUSING or (rule.action == "return" and status >= _SMALLEST_REFUSAL)
            return status if is_refusal else 0
    return _DEFAULT_STATUSES.get(rule.action, 403) if rule.action in _REFUSING else 0


def _note_other(rule: Rule, notes: Notes) -> None:
    if rule.action in _ANSWERING:
        notes.add(rule.line, "kept", f"{rule}: HAProxy answers these itself; leave it there, behind the verdict")
    elif rule.action not in _SILENT and rule.action.partition("-")[0] not in {"sc", "track"}:
        notes.add(rule.line, "untranslated", f"{rule}: it may change what is judged afterwards")


def switches(frontend: Proxy, notes: Notes) -> list[Switch]:
    """Return where a frontend sends requests, in order; the default backend is last."""
    resolved = _Samples(frontend)
    found = [
        Switch(rule, rule.action, resolved.terms(rule.condition, notes, rule))
        for rule in frontend.rules("use_backend")
        if _names_backend(rule, notes)
    ]
    for one in (frontend, *frontend.parents):
        own = [rule for rule in one.own if rule.directive == "default_backend"]
        if own:
            return [*found, Switch(own[-1], own[-1].action, ALWAYS.terms)] if _names_backend(own[-1], notes) else found
    return found


def _names_backend(rule: Rule, notes: Notes) -> bool:
    """Tell whether a rule says by name where requests go; note why where it doesn't."""
    if _BACKEND.fullmatch(rule.action):
        return True
    if "%" in rule.action:
        notes.add(rule.line, "kept", f"{rule}: a backend that is made up for each request; leave it in HAProxy")
    else:
        notes.add(rule.line, "untranslated", f"{rule}: this names no backend")
    return False


# -- terms ------------------------------------------------------------------------------------------------------


def _both(first: Iterable[Term], second: Sequence[Term]) -> tuple[Term, ...]:
    return tuple(tuple(dict.fromkeys((*one, *other))) for one in first for other in second)


def _also_none(terms: tuple[Term, ...], others: Iterable[tuple[Term, ...]]) -> tuple[Term, ...]:
    """Return terms that hold where one of *terms* does and none of the others.

    Where they would be too many, the others are left out: what is refused becomes more.
    """
    for other in others:
        negated = opposite(other)
        if negated is None or len(terms) * len(negated) > MAX_TERMS:
            continue
        terms = _absorbed(_both(terms, negated))
    return _absorbed(terms)


def _absorbed(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Leave out terms that contradict themselves, and those that ask for all that another asks for, and more."""
    found: dict[frozenset[Literal], Term] = {}
    for term in terms:
        literals = frozenset(term)
        if not _is_contradiction(term) and not any(other <= literals for other in found):
            found = {other: one for other, one in found.items() if not literals <= other}
            found[literals] = term
    return tuple(found.values())


def _is_contradiction(term: Term) -> bool:
    return any(Literal(one.acl, not one.is_positive) in term for one in term)


class _Samples:
    """What captures and variables of a proxy stand for."""

    def __init__(self, proxy: Proxy) -> None:
        self._captures = [line.texts[3] for line in proxy.lines("capture", "request", "header") if len(line.texts) > 3]  # noqa: PLR2004
        self._variables: dict[str, str] = {}
        for rule in proxy.rules("http-request", "tcp-request content"):
            if rule.action == "set-var":
                name = rule.argument.partition(",")[0]
                is_plain = rule.condition == ALWAYS and name not in self._variables and len(rule.words) == 1
                self._variables[name] = rule.words[0] if is_plain else ""

    def terms(self, condition: Condition, notes: Notes, rule: Rule) -> tuple[Term, ...]:
        """Return the terms of a condition with samples in the place of captures and variables."""
        if condition.is_too_large:
            holds = "never" if rule.action in _ACCEPTING else "always"
            notes.add(rule.line, "untranslated", f"{rule}: too many alternatives; it is taken to hold {holds}")
            return ALWAYS.terms
        return tuple(
            tuple(replace(one, acl=replace(one.acl, tests=tuple(map(self._resolved, one.acl.tests)))) for one in term)
            for term in condition.terms
        )

    def _resolved(self, test: Comparison) -> Comparison:
        argument = "".join(test.arguments[:1])
        if test.fetch == "capture.req.hdr" and argument.isdigit() and int(argument) < len(self._captures):
            return replace(test, fetch="req.fhdr", arguments=(self._captures[int(argument)],))
        sample = self._variables.get(argument) if test.fetch == "var" else None
        return resampled(test, sample) if sample else test
