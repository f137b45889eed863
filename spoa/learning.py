"""What recorded traffic would need: entries for a list, or identities with rules, to be reviewed by somebody.

Only requests that no rule allowed are learnt from: what a rule or a gate denied was meant to be denied. What is
proposed is no wider than what was seen, but for paths: where many lie below one first segment, all below it are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from spoa.decision_fields import hidden
from spoa.listedit import Addition, add_entries, new_list
from spoa.listindex import Kind
from spoa.listtext import Key
from spoa.policy.document import write_scalar
from spoa.policy.path import PathPattern, canonical_path
from spoa.recorded import certificate_of, time_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Client", "Lessons", "identities_text", "list_text"]

_LEARNT_FROM: Final = "no_rule_allows"
#: What a log must not mask.
_NEEDED: Final = frozenset({"subject", "sha256", "serial", "path"})
_MANY: Final = 3  # paths below one first segment, above which all below it are proposed
_MAX_PATHS: Final = 10_000  # of one client
_PLAIN: Final = re.compile(r"[^A-Za-z0-9]+")
_OU: Final = "2.5.4.11"
_LIST: Final = "learnt.yaml"


@dataclass(slots=True)
class Client:
    """A certificate that asked for what no rule allows.

    Attributes:
        sha256: fingerprint, hex.
        subject, issuer: names as the log has them.
        units: its OUs.
        not_after: as the log has it.
        requests: how many; `first` and `last` when, seconds since the epoch.
        wanted: (method, path) of each different request.
    """

    sha256: str
    subject: str
    issuer: str
    units: tuple[str, ...]
    not_after: str
    requests: int = 0
    first: float = 0.0
    last: float = 0.0
    wanted: set[tuple[str, str]] = field(default_factory=set)


@dataclass(slots=True)
class Lessons:
    """What was learnt.

    Attributes:
        clients: fingerprint → client, in the order in which they were first seen.
        skipped: decisions that nothing can be learnt from: without a certificate, or without a path that is canonical.
        masked: decisions of which the log masks what is to be learnt.
    """

    clients: dict[str, Client] = field(default_factory=dict)
    skipped: int = 0
    masked: int = 0

    def read(self, decisions: Iterable[Mapping[str, Any]]) -> None:
        """Learn from decisions, as the log has them."""
        for decision in decisions:
            if decision.get("verdict") == "deny" and decision.get("reason") == _LEARNT_FROM:
                self._learn(dict(decision))

    def _learn(self, decision: dict[str, Any]) -> None:
        if decision.get("cert") is not None and hidden(decision) & _NEEDED:
            self.masked += 1
            return
        found = certificate_of(decision, 0)
        method, path, when = decision.get("method"), decision.get("path"), time_of(decision)
        is_whole = isinstance(method, str) and isinstance(path, str) and canonical_path(path) is not None
        if found is None or not is_whole or when is None:
            self.skipped += 1
            return
        certificate, issuer = found
        said = decision["cert"]
        client = self.clients.get(said["sha256"])
        if client is None:
            client = self.clients[said["sha256"]] = Client(
                said["sha256"],
                certificate.subject_text,
                issuer,
                certificate.subject.get(_OU, ()),
                str(said.get("not_after") or ""),
                first=when,
            )
        client.requests += 1
        client.first, client.last = min(client.first, when), max(client.last, when)
        if len(client.wanted) < _MAX_PATHS:
            client.wanted.add((str(method), str(path)))


def list_text(lessons: Lessons) -> str:
    """Return a rich list that every client is on until its certificate ends, to be reviewed entry by entry."""
    additions = [
        Addition(
            Key(Kind.SHA256, bytes.fromhex(client.sha256)),
            comment=client.subject,
            expires=_seconds(client.not_after),
        )
        for client in lessons.clients.values()
    ]
    text = add_entries(new_list(_LIST), _LIST, additions).decode() if additions else new_list(_LIST).decode()
    return "".join(f"# {line}\n" for line in _account(lessons)) + text


def identities_text(lessons: Lessons, issuers: Mapping[str, str]) -> str:
    """Return a policy document with identities and rules for the clients, to be put beside the policy after review.

    Args:
        lessons: what was learnt.
        issuers: an issuer's name as logs have it → its name in the policy; clients of others are left out, and said.
    """
    lines = [f"# {line}\n" for line in _account(lessons)]
    groups: dict[tuple[str, tuple[str, ...]], list[Client]] = {}
    for client in lessons.clients.values():
        if client.issuer in issuers:
            groups.setdefault((issuers[client.issuer], client.units), []).append(client)
        else:
            lines.append(f"# left out: {_comment(client.subject)}, whose issuer the policy does not name\n")
    names: dict[str, int] = {}
    identities, rules = [], []
    for (issuer, units), clients in groups.items():
        name = _name(units or (clients[0].subject,), names)
        if units:
            fields = f"ou: {{all_of: [{', '.join(map(write_scalar, units))}]}}"
        else:
            fields = f"fingerprint: [{', '.join(sorted(client.sha256 for client in clients))}]"
        identities.append(f"  {name}: {{issuer: {issuer}, {fields}}}  # {len(clients)} certificates\n")
        rules += list(_rules(name, clients, lines))
    if not rules:
        return "".join([*lines, "# nothing to propose\n"])
    head = ["apiVersion: authz/v1\n", "identities:\n", *identities, "rules:\n", *rules]
    return "".join([*lines, *head])


def _rules(name: str, clients: Iterable[Client], notes: list[str]) -> Iterator[str]:
    """Yield an allow for each set of methods, of all paths that were asked for with exactly these."""
    methods: dict[str, set[str]] = {}
    for client in clients:
        for method, path in sorted(client.wanted):
            methods.setdefault(path, set()).add(method)
    by_methods: dict[tuple[str, ...], list[str]] = {}
    for pattern, some in _widened(methods).items():
        by_methods.setdefault(tuple(sorted(some)), []).append(pattern)
    number = 0
    for some_methods, patterns in sorted(by_methods.items()):
        good = [pattern for pattern in patterns if _is_pattern(pattern)]
        notes += [f"# left out: {_comment(one)} can't be written as a pattern\n" for one in patterns if one not in good]
        if good:
            number += 1
            paths, tokens = (", ".join(map(write_scalar, sorted(some))) for some in (good, some_methods))
            yield (
                f"  - {{id: {name}-{number}, effect: allow, who: {name}, "
                f"request: {{path: [{paths}], method: [{tokens}]}}}}\n"
            )


def _widened(methods: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return path patterns with their methods; many paths below one first segment become one pattern."""
    below: dict[str, list[str]] = {}
    for path in methods:
        below.setdefault(path.split("/", 2)[1] if path.startswith("/") else path, []).append(path)
    found: dict[str, set[str]] = {}
    for first, paths in below.items():
        if len(paths) > _MANY and first:
            found[f"/{_escaped(first)}/**"] = set().union(*(methods[path] for path in paths))
        else:
            found.update({_escaped(path): methods[path] for path in paths})
    return found


def _escaped(path: str) -> str:
    return path.replace("*", r"\*")


def _is_pattern(text: str) -> bool:
    try:
        PathPattern(text)
    except ValueError:
        return False
    return True


def _account(lessons: Lessons) -> Iterator[str]:
    yield "Proposed from requests that no rule allowed. Review each line: what asked is not therefore to be let in."
    for client in lessons.clients.values():
        subject = _comment(client.subject)
        yield f"{client.sha256[:16]}… {subject}: {client.requests} requests, {len(client.wanted)} different ones"
    if lessons.masked:
        yield f"{lessons.masked} decisions are masked in the log, and were not learnt from"
    if lessons.skipped:
        yield f"{lessons.skipped} decisions without a certificate, a method or a path were not learnt from"


def _comment(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _name(words: Iterable[str], taken: dict[str, int]) -> str:
    base = "learnt-" + (_PLAIN.sub("-", "-".join(words)).strip("-").lower()[:40] or "client")
    taken[base] = taken.get(base, 0) + 1
    return base if taken[base] == 1 else f"{base}-{taken[base]}"


def _seconds(text: str) -> int:
    moment = time_of({"time": text})
    return 0 if moment is None else int(moment)  # an end that nobody knows is over, until somebody writes one
