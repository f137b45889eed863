"""Frontends, backends and their rules, as HAProxy puts them together: defaults first, then the section's own.

A section that says `from` nothing has the defaults that stand last before it. Rules of a defaults section are run by
those that name it, and never inherited by another defaults section (configuration manual, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from spoa.haproxy_config.acl import ALWAYS, Acl, Condition, read_comparison, read_condition
from spoa.haproxy_config.reading import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from spoa.haproxy_config.reading import Configuration, Line, Section
    from spoa.haproxy_config.words import Word

__all__ = ["Proxies", "Proxy", "Rule", "read_proxies"]

_PROXIES: Final = frozenset({"frontend", "backend", "listen"})
#: How many words a directive has before its action.
_RULES: Final = {"http-request": 1, "tcp-request": 2, "http-after-response": 1, "block": 0, "reqdeny": 0}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with an action and a condition.

    Attributes:
        directive: `http-request`, `tcp-request content`, …
        action: `deny`, `set-header`, `use_backend`, …; without arguments in parentheses.
        argument: what stood in those.
        words: what follows the action, up to the condition.
    """

    directive: str
    action: str
    argument: str
    words: tuple[str, ...]
    condition: Condition
    line: Line

    def __str__(self) -> str:
        return str(self.line)


@dataclass(slots=True)
class Proxy:
    """A frontend, a backend, a `listen` section, or the defaults of some.

    Attributes:
        parents: defaults that hold for it, nearest first.
        acls: its own, by name.
        own: its own rules.
    """

    section: Section
    parents: tuple[Proxy, ...] = ()
    acls: dict[str, Acl] = field(default_factory=dict)
    own: list[Rule] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The section's name."""
        return self.section.name

    @property
    def is_frontend(self) -> bool:
        """Whether clients connect to it."""
        return self.section.kind in {"frontend", "listen"}

    @property
    def is_backend(self) -> bool:
        """Whether requests can be sent to it by name."""
        return self.section.kind in {"backend", "listen"}

    def rules(self, *directives: str) -> list[Rule]:
        """Return the rules of these directives in the order in which they run."""
        inherited = self.parents[0].own if self.parents else []
        return [rule for rule in (*inherited, *self.own) if rule.directive in directives]

    def lines(self, *keyword: str) -> list[Line]:
        """Return the section's own lines that begin with these words."""
        return [line for line in self.section.lines if line.texts[: len(keyword)] == keyword]

    def setting(self, *keyword: str) -> Line | None:
        """Return the last line that begins with these words, of the nearest section that has one."""
        for one in (self, *self.parents):
            if found := one.lines(*keyword):
                return found[-1]
        return None

    def has_option(self, name: str) -> Line | None:
        """Return the line that switches an option on, unless a nearer one switches it off."""
        for one in (self, *self.parents):
            for line in reversed(one.section.lines):
                words = line.texts
                if words[:2] == ("option", name):
                    return line
                if words[:3] == ("no", "option", name):
                    return None
        return None

    @property
    def mode(self) -> str:
        """`tcp` unless it says otherwise."""
        line = self.setting("mode")
        return line.texts[1] if line is not None and len(line.texts) > 1 else "tcp"


@dataclass(slots=True)
class Proxies:
    """All frontends and backends, and what was wrong with them."""

    all: list[Proxy] = field(default_factory=list)
    problems: list[Unreadable] = field(default_factory=list)

    @property
    def frontends(self) -> list[Proxy]:
        """Those that clients connect to."""
        return [proxy for proxy in self.all if proxy.is_frontend]

    @property
    def backends(self) -> dict[str, Proxy]:
        """Name → those that requests can be sent to."""
        return {proxy.name: proxy for proxy in self.all if proxy.is_backend}


def read_proxies(configuration: Configuration) -> Proxies:
    """Put sections together with their defaults, and read their ACLs and rules."""
    found = Proxies()
    named: dict[str, Proxy] = {}
    last: Proxy | None = None
    for section in configuration.sections:
        if section.kind not in {"defaults", *_PROXIES}:
            continue
        parent = named.get(section.parent) if section.parent else None
        if section.parent and parent is None:
            why = f"there is no defaults section {section.parent}; give the file that has it as well"
            found.problems.append(Unreadable(section.line.file, section.line.number, why))
        if parent is None and not section.parent and section.kind != "defaults":
            parent = last
        proxy = Proxy(section, (parent, *parent.parents) if parent is not None else ())
        _read_rules(proxy, found.problems)
        if section.kind == "defaults":
            last = proxy
            if section.name:
                named[section.name] = proxy
        else:
            found.all.append(proxy)
    return found


def _read_rules(proxy: Proxy, problems: list[Unreadable]) -> None:
    for line in proxy.section.lines:
        try:
            if line.texts[0] == "acl" and len(line.words) > 2:  # noqa: PLR2004 -- keyword, name, sample
                test = read_comparison(line.words[2:], line)
                name = line.texts[1]
                tests = proxy.acls[name].tests if name in proxy.acls else ()
                proxy.acls[name] = Acl(name, (*tests, test))
        except ValueError as error:
            problems.append(Unreadable(line.file, line.number, str(error)))
    known: dict[str, Acl] = {**(proxy.parents[0].acls if proxy.parents else {}), **proxy.acls}
    for line in proxy.section.lines:
        try:
            proxy.own.extend(_rules_of(line, known))
        except ValueError as error:
            problems.append(Unreadable(line.file, line.number, str(error)))


def _rules_of(line: Line, acls: Mapping[str, Acl]) -> Iterator[Rule]:
    words = list(line.words)
    keyword = words[0].text
    if keyword in _RULES:
        number = _RULES[keyword]
        if len(words) <= number:
            return
        action = words[number].text if number else "deny"
        directive = " ".join(word.text for word in words[: max(number, 1)])
        rest, condition = _split(words[number + 1 :] if number else words[1:])
    elif keyword == "use_backend":
        directive, action = keyword, words[1].text if len(words) > 1 else ""
        rest, condition = _split(words[2:])
    elif keyword == "default_backend":
        directive, action, rest, condition = keyword, words[1].text if len(words) > 1 else "", words[2:], []
    elif keyword == "redirect":
        directive, action = "http-request", keyword
        rest, condition = _split(words[1:])
    else:
        return
    name, argument = action, ""
    if directive not in {"use_backend", "default_backend"}:
        name, _, argument = action.partition("(")
        argument = argument.removesuffix(")")
    yield Rule(
        directive,
        name,
        argument,
        tuple(word.text for word in rest),
        read_condition(condition, line, acls) if condition else ALWAYS,
        line,
    )


def _split(words: list[Word]) -> tuple[list[Word], list[Word]]:
    """Part the words of a rule from its condition."""
    for position, word in enumerate(words):
        if word.text in {"if", "unless"} and not word.is_quoted:
            return words[:position], words[position:]
    return words, []
