"""A draft as YAML that people edit: one rule a line, and above it the lines of HAProxy's that it comes from."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from spoa.migration.atoms import ANONYMOUS, ANY
from spoa.migration.patterns import Every, Expression
from spoa.migration.rules import REQUEST_KINDS, WHEN_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from spoa.migration.atoms import Holder
    from spoa.migration.rules import Atoms, DraftRoute, DraftRule

__all__ = ["Identities", "flow", "policy_text", "tests_text"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9/_][A-Za-z0-9/_.+@-]*( [A-Za-z0-9/_.+@-]+)*")
_MAX_NAME: Final = 48
_LAST_OF_FIRST_PLANE: Final = 0xFFFF
#: Words that mean somebody by themselves.
_WORDS: Final = {ANY: "any_certificate", ANONYMOUS: "anonymous"}


def flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, Expression):
        return flow({"re": value.source})
    if isinstance(value, Every):
        return flow({"all_of": value.patterns})
    text = str(value)
    return text if _PLAIN.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    """Return text in double quotes, with escapes that JSON and YAML share and those that only YAML has."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in quoted)


def _escape(number: int) -> str:
    return f"\\u{number:04x}" if number <= _LAST_OF_FIRST_PLANE else f"\\U{number:08x}"


def _one_or_list(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)


class Identities:
    """Names for holders, as rules and routes ask for them.

    Attributes:
        named: name → keys of the identity, or several such.
    """

    def __init__(self, issuers: Sequence[str], names: Mapping[tuple[Holder, ...], str]) -> None:
        self._issuers = list(issuers)
        self._names = names
        self._known: dict[tuple[Holder, ...], str] = {}
        self.named: dict[str, Any] = {}

    @property
    def lists(self) -> set[str]:
        """The lists that the identities name."""
        several = (one if isinstance(one, list) else [one] for one in self.named.values())
        named = (keys.get("in_list", ()) for some in several for keys in some)
        return {name for some in named for name in ([some] if isinstance(some, str) else some)}

    def who(self, values: Iterable[Holder]) -> Any:
        """Return what stands behind `who`."""
        values = tuple(values)
        found = [_WORDS[one] for one in values if one in _WORDS]
        others = tuple(one for one in values if one not in _WORDS)
        if others:
            found.append(self._name_of(others))
        return _one_or_list(found)

    def _name_of(self, holders: tuple[Holder, ...]) -> str:
        known = self._known.get(holders)
        if known is not None:
            return known
        name = self._names.get(holders) or self._composed(holders) or _described(holders)
        if any(isinstance(value, Every) for holder in holders for _, value in holder):
            name += "-only"
        number = 1
        while name in {*self.named, *_WORDS.values()}:
            number += 1
            name = f"{name.removesuffix(f'-{number - 1}')}-{number}"
        self._known[holders] = name
        self.named[name] = _one_or_list([self._keys(holder) for holder in _compressed(holders)])
        return name

    def _composed(self, holders: tuple[Holder, ...]) -> str:
        """Return a name made of those that the holders have by themselves; empty where one has none."""
        names = [self._names.get((holder,), "") for holder in holders]
        composed = "-or-".join(dict.fromkeys(names))
        return composed if all(names) and len(composed) <= _MAX_NAME else ""

    def _keys(self, holder: Mapping[str, Any]) -> dict[str, Any]:
        given = dict(holder)
        keys: dict[str, Any] = {"issuer": _one_or_list(given.pop("issuer", self._issuers))}
        for key, value in given.items():
            kind, _, attribute = key.partition(".")
            if attribute:
                keys.setdefault(kind, {})[attribute] = value
            else:
                keys[key] = value
        return keys


def _compressed(holders: Sequence[Holder]) -> list[dict[str, Any]]:
    """Put holders that differ in the value of their only key into one."""
    keys = {key for holder in holders for key, _ in holder}
    values = [value for holder in holders for _, value in holder]
    if len(holders) == 1 or len(keys) > 1 or keys <= {"issuer"} or len(values) > len(holders):
        return [dict(holder) for holder in holders]
    if all(isinstance(value, Every) for value in values):
        # Whose values are all among these has a first one that is among these.
        return [{keys.pop(): Every(tuple(dict.fromkeys(one for value in values for one in value.patterns)))}]
    if not any(isinstance(value, Every) for value in values):
        return [{keys.pop(): values}]
    return [dict(holder) for holder in holders]


def _described(holders: Sequence[Holder]) -> str:
    words = [word for holder in holders for key, value in holder for word in (key, flow(value))]
    text = re.sub(r"[^A-Za-z0-9]+", "-", "-".join(words)).strip("-").lower()
    return text[:_MAX_NAME].strip("-") or "clients"


# -- rules ------------------------------------------------------------------------------------------------------


def _blocks(atoms: Atoms, identities: Identities) -> Iterator[tuple[str, Any]]:
    """Yield `who`, `request` and `when` as they stand in a rule."""
    if "who" in atoms:
        yield "who", identities.who(atoms["who"])
    request = dict(_conditions(atoms, REQUEST_KINDS))
    when = dict(_conditions(atoms, WHEN_KINDS))
    if request:
        yield "request", request
    if when:
        yield "when", when


def _conditions(atoms: Atoms, kinds: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for kind in kinds:
        if kind in atoms:
            yield kind, _one_or_list(atoms[kind])
    headers = {kind.partition(":")[2]: _one_or_list(values) for kind, values in atoms.items() if ":" in kind}
    if headers and "header" in kinds:
        yield "header", headers


def _rule(rule: DraftRule, identities: Identities, everyone: Iterable[Holder]) -> dict[str, Any]:
    found: dict[str, Any] = {"id": rule.id, "effect": rule.effect}
    if rule.effect == "allow":
        found["who"] = identities.who(rule.atoms.get("who", tuple(everyone)))
    found.update(_blocks(rule.atoms, identities))
    if rule.effect == "require":
        found.update(_blocks(rule.excepted, identities))
    elif rule.excepted:
        unless = dict(_blocks(rule.excepted, identities))
        found["unless"] = {**unless.pop("request", {}), **unless.pop("when", {}), **unless}
    if rule.status:
        found["status"] = rule.status
    return found


def policy_text(
    head: Mapping[str, Any],
    comments: Sequence[str],
    rules: Sequence[DraftRule],
    routes: Sequence[DraftRoute],
    identities: Identities,
    everyone: Sequence[Holder],
) -> str:
    """Return the policy document.

    Args:
        head: everything above identities: metadata, defaults, issuers, lists.
        comments: lines at the top.
        rules: of the draft.
        routes: of the draft.
        identities: takes the names that rules and routes ask for.
        everyone: whom an allow rule without `who` allows.
    """
    body: list[str] = ["", "rules:"]
    for rule in rules:
        body += [f"  # {_comment(line)}" for line in rule.origin]
        body.append(f"  - {flow(_rule(rule, identities, everyone))}")
    if routes:
        body += ["", "routes:"]
    for route in routes:
        body.append(f"  # {_comment(route.origin)}")
        body.append(f"  - {flow({**dict(_blocks(dict(route.atoms), identities)), 'backend': route.backend})}")
    lines = [f"# {_comment(line)}" for line in comments] + ["apiVersion: authz/v1"]
    lines += _section({**head, **({"identities": identities.named} if identities.named else {})})
    return "\n".join([*lines, *body]) + "\n"


def _comment(text: str) -> str:
    """Return text that stays on one line."""
    return "".join(char if char.isprintable() else " " for char in text)


def _section(values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        if key in {"metadata", "defaults"}:
            yield f"{key}: {flow(value)}"
            continue
        yield ""
        yield f"{key}:"
        for name, one in value.items():
            yield f"  {flow(name)}: {flow(one)}"


def tests_text(
    comments: Sequence[str],
    head: Mapping[str, Any],
    certs: Mapping[str, Any],
    tests: Iterable[tuple[str, Mapping[str, Any]]],
) -> str:
    """Return a tests document; each test comes with a comment, which may be empty."""
    lines = [f"# {_comment(line)}" for line in comments]
    lines += ["apiVersion: authz/v1", "kind: tests", *(f"{key}: {flow(value)}" for key, value in head.items())]
    if certs:
        lines.append("certs:")
        lines += [f"  {flow(name)}: {flow(keys)}" for name, keys in certs.items()]
    lines.append("tests:")
    for comment, test in tests:
        if comment:
            lines.append(f"  # {_comment(comment)}")
        lines.append(f"  - {flow(test)}")
    return "\n".join(lines) + "\n"
