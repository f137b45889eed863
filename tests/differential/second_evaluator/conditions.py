"""What a request must be like: the keys of `request`, `when` and `unless`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.differential.second_evaluator.identities import Identity, Known, as_list, read_identity
from tests.differential.second_evaluator.network import dns_pattern, host_pattern, source_pattern
from tests.differential.second_evaluator.paths import as_expressions_see, hex_upper, read_pattern
from tests.differential.second_evaluator.text import (
    Matches,
    glob,
    one_pattern,
    regular_expression,
    strict,
)
from tests.differential.second_evaluator.text import (
    holds as matches_text,
)
from tests.differential.second_evaluator.times import read_window
from tests.differential.second_evaluator.words import GENEROUSLY, STRICTLY, UNKNOWN, Certificate, RefusedError

READ = ("GET", "HEAD", "OPTIONS")
WRITE = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Facts:
    """A request whose gates have been passed: values, None where absent, UNKNOWN where unavailable."""

    certificate: Certificate | None
    now: int
    clock_usable: bool
    source: Any
    method: Any
    path: Any
    host: Any
    sni: Any
    tls: Any
    headers: dict[str, Any]


Condition = Callable[[Facts, bool], bool]
"""(facts, generous) to whether it holds."""


def valued(read: Callable[[Facts], Any], patterns: list[Matches]) -> Condition:
    """What is absent matches nowhere, what is unavailable where access is taken away; values of a key are ORed."""

    def holds(facts: Facts, generous: bool) -> bool:
        value = read(facts)
        if value is None:
            return False
        if value is UNKNOWN:
            return generous
        return any(matches_text(pattern, value, generous) for pattern in patterns)

    return holds


def path_expression(text: str) -> Matches:
    """An expression over a path, whose folding (see `paths`) leaves blanks alone."""
    return regular_expression(text, fold=lambda path: path)


def path_pattern(node: Any) -> Matches:
    """A glob of segments, or an expression over the whole path."""
    if isinstance(node, dict):
        expression = one_pattern(node, path_expression, expression=path_expression)
        return lambda value, generous: (
            any(expression(seen, GENEROUSLY) for seen in as_expressions_see(value))
            if generous
            else expression(hex_upper(value), STRICTLY)
        )
    if not isinstance(node, str):
        raise RefusedError(f"no path: {node}")
    pattern = read_pattern(node)
    return lambda value, generous: pattern.covers(value, generous=generous)


def method_pattern(node: Any) -> Matches:
    """An exact token, or `read` or `write`, which takes more in where access is taken away."""
    if not isinstance(node, str) or not node:
        raise RefusedError(f"no method: {node}")

    def matches(value: str, generous: bool) -> bool:
        if node == "read":
            return (value.upper() if generous else value) in READ
        if node == "write":
            return value not in READ if generous else value in WRITE
        return value.upper() == node.upper() if generous else value == node

    return matches


def tls_pattern(node: Any) -> Matches:
    """A protocol version, of the closed list that HAProxy writes: equal or not."""
    if not isinstance(node, str) or not node:
        raise RefusedError(f"no TLS version: {node}")
    return lambda value, _generous: value == node


def read_header(node: Any) -> Condition:
    """The specification: "`{name: value}` or a list; the name in any case, the value as text"."""
    maps = as_list(node)
    choices = []
    for item in maps:
        if not isinstance(item, dict) or not item:
            raise RefusedError(f"no header: {item}")
        choices.append([header_condition(name, value) for name, value in item.items()])
    return lambda facts, generous: any(all(one(facts, generous) for one in choice) for choice in choices)


def header_condition(name: str, node: Any) -> Condition:
    """A condition on one header."""
    patterns = [one_pattern(item, lambda text: glob(text, fold=strict)) for item in as_list(node)]
    return valued(lambda facts: facts.headers.get(name.lower(), UNKNOWN), patterns)


def read_time(node: Any) -> Condition:
    """A time window, or several; unavailable where the clock can't be used."""
    windows = [read_window(item) for item in as_list(node)]
    return lambda facts, generous: any(window(facts.now) for window in windows) if facts.clock_usable else generous


def read_source(item: Any) -> Matches:
    """An address or a CIDR."""
    if not isinstance(item, str):
        raise RefusedError(f"no source: {item}")
    return source_pattern(item)


def read_server_name(item: Any) -> Matches:
    """A server name, which is any text that a client likes to send."""
    return one_pattern(item, dns_pattern)


def read_host(item: Any) -> Matches:
    """A host."""
    return one_pattern(item, host_pattern)


REQUEST_KEYS: dict[str, Callable[[Any], Condition]] = {
    "path": lambda node: valued(lambda f: f.path, [path_pattern(item) for item in as_list(node)]),
    "method": lambda node: valued(lambda f: f.method, [method_pattern(item) for item in as_list(node)]),
    "host": lambda node: valued(lambda f: f.host, [read_host(item) for item in as_list(node)]),
    "sni": lambda node: valued(lambda f: f.sni, [read_server_name(item) for item in as_list(node)]),
    "header": read_header,
}
WHEN_KEYS: dict[str, Callable[[Any], Condition]] = {
    "source": lambda node: valued(lambda f: f.source, [read_source(item) for item in as_list(node)]),
    "time": read_time,
    "tls": lambda node: valued(lambda f: f.tls, [tls_pattern(item) for item in as_list(node)]),
}


def always(_facts: Facts, _generous: bool) -> bool:
    """The condition that isn't there."""
    return True


def read_conditions(node: Any, keys: dict[str, Callable[[Any], Condition]]) -> Condition:
    """The specification: "keys are ANDed"."""
    if not isinstance(node, dict) or not node:
        raise RefusedError(f"an empty match: {node}")
    unknown = set(node) - set(keys)
    if unknown:
        raise RefusedError(f"unknown keys: {sorted(unknown)}")
    conditions = [keys[key](value) for key, value in node.items()]
    return lambda facts, generous: all(condition(facts, generous) for condition in conditions)


@dataclass(frozen=True)
class Who:
    """A `who`: names used, attribute types read by inline identities, and the condition."""

    names: frozenset[str]
    reads: frozenset[str]
    holds: Condition


def is_anonymous(facts: Facts, _generous: bool) -> bool:
    """The specification: "`anonymous` matches only such requests"."""
    return facts.certificate is None


def has_certificate(facts: Facts, _generous: bool) -> bool:
    """`any_certificate`."""
    return facts.certificate is not None


def identity_condition(identity: Identity) -> Condition:
    """A condition on the certificate, which an anonymous request doesn't have."""
    return lambda facts, generous: (
        facts.certificate is not None and identity.matches(facts.certificate, generous=generous, now=facts.now)
    )


def read_who(node: Any, identities: dict[str, Identity], known: Known) -> Who:
    """A name, a list of names (any), an inline identity, `any_certificate` or `anonymous`."""
    names: set[str] = set()
    reads: set[str] = set()
    conditions: list[Condition] = []
    for item in as_list(node):
        if isinstance(item, dict):
            inline = read_identity(item, known)
            reads |= inline.reads
            conditions.append(identity_condition(inline))
        elif item == "anonymous":
            conditions.append(is_anonymous)
        elif item == "any_certificate":
            conditions.append(has_certificate)
        elif isinstance(item, str) and item in identities:
            names.add(item)
            conditions.append(identity_condition(identities[item]))
        else:
            raise RefusedError(f"no such identity: {item}")
    return Who(
        frozenset(names),
        frozenset(reads),
        lambda facts, generous: any(condition(facts, generous) for condition in conditions),
    )
