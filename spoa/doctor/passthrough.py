"""What else reaches a server than was judged: headers that a client may forge, rewrites, routes that lead astray."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Final

from spoa.doctor.findings import Finding, found
from spoa.doctor.variables import Variables, read_names
from spoa.doctor.verdict import denies, holds_when_found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from spoa.haproxy_config.proxies import Proxy, Rule

__all__ = [
    "header_findings",
    "identity_findings",
    "leniency_findings",
    "missing_routes",
    "rewrite_findings",
    "route_findings",
    "serves",
    "switches_of",
    "told_headers",
]

#: Headers by which frameworks replace the method or the path.
_OVERRIDES: Final = (
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X-Original-URL",
    "X-Rewrite-URL",
)
#: Headers with which a client would change over to cleartext HTTP/2, past HAProxy; deleted as they stand.
_UPGRADES: Final = ("Upgrade", "HTTP2-Settings")
#: Headers that servers commonly believe about the client.
_CLIENT: Final = (
    "X-Client-CN",
    "X-Client-Cert",
    "X-SSL-Client-CN",
    "SSL-Client-Cert",
    "X-Forwarded-For",
    "X-Forwarded-User",
    "X-Real-IP",
    "Remote-User",
    "X-Remote-User",
    "Forwarded",
)
_SEPARATORS: Final = "-_."
#: What HAProxy knows of the client, or the agent says, in the value of a header.
_TELLING: Final = re.compile(r"ssl_c_|ssl_fc_has_crt|ssl_f?c_|var\(txn\.|\bsrc\b")
_KNOWING: Final = re.compile(r"ssl_f?c_|\bsrc\b")
_REWRITING: Final = frozenset(
    {"set-path", "set-pathq", "set-uri", "set-method", "replace-path", "replace-pathq", "replace-uri", "normalize-uri"}
)
_LENIENT: Final = ("accept-invalid-http-request", "accept-unsafe-violations-in-http-request")
_ROUTE: Final = re.compile(r"%\[var\((txn\.[\w.]+\.route)\)\]")
#: What a client doesn't choose: its certificate, its address, and what the agent says or HAProxy keeps.
_NOT_THE_CLIENTS: Final = re.compile(r"%\[(?:ssl_c_|src\b|dst|fe_|so_|nbsrv|str\(|int\(|bool\()")
_SAMPLE: Final = re.compile(r"%\[[^\]]*")
_MAP: Final = re.compile(r",map(?:_[a-z_]+)?\(")
_TABLE: Final = re.compile(rf"{_MAP.pattern}|%\[var\(")
#: Families of headers that say who the client is; `authz-enforced` deletes these.
_IDENTITY: Final = re.compile(r"(?:x-)?(?:(?:true|cluster)-)?(?:client|ssl|authz|real|remote)-")
#: A request's header, with its name, or another part of it that its client writes.
_WRITTEN_BY_CLIENT: Final = re.compile(
    r"[\[(,](?:req\.)?(?:(?:f?hdr(?:_ip)?|hdr_names)\((?P<header>[^),]*)|(?:capture\.req\.hdr|cook|urlp|url_param|body_param)\()"
)
_HEADER_WRITERS: Final = frozenset({"set-header", "add-header", "replace-header", "replace-value"})


def serves(backend: Proxy) -> bool:
    """Tell whether a backend has servers that requests can reach."""
    has_servers = any(backend.lines(word) for word in ("server", "server-template", "dispatch"))
    return has_servers and not any(denies(rule) and rule.condition.terms == ((),) for rule in _rules(backend))


def _rules(proxy: Proxy) -> list[Rule]:
    return proxy.rules("http-request", "tcp-request content")


# -- headers ----------------------------------------------------------------------------------------------------


def header_findings(frontend: Proxy) -> Iterator[Finding]:
    """Yield headers of clients that get through to a server though they must not."""
    rules = frontend.rules("http-request")
    deleted = _Deleted(rules)
    passing = [name for name in _OVERRIDES if not deleted.all_spellings(name)]
    passing += [name for name in _UPGRADES if not deleted.has(name)]
    line = frontend.section.line
    if passing:
        yield found(
            "override-header-passes", line, f"{frontend.name}: {', '.join(passing)} of the client's gets through"
        )
    told = set()
    for position, rule in enumerate(rules):
        name = rule.words[0] if rule.words else ""
        if rule.action not in {"set-header", "add-header"} or not _TELLING.search(" ".join(rule.words[1:])):
            continue
        told.add(name.lower())
        is_replaced = rule.action == "set-header" and rule.condition.terms == ((),)
        if not _Deleted(rules[:position]).all_spellings(name, is_replaced=is_replaced):
            yield found(
                "spoofable-header",
                rule.line,
                f"{frontend.name}: a client's own {name}, or a spelling of it, gets through",
            )
    passing = [name for name in _CLIENT if name.lower() not in told and not deleted.all_spellings(name)]
    if passing:
        yield found("client-header-passes", line, f"{frontend.name}: {', '.join(passing)} of the client's gets through")


def identity_findings(proxy: Proxy, told: Iterable[str], variables: Variables) -> Iterator[Finding]:
    """Yield rules by which a header that tells servers who the client is gets what the client wrote.

    Args:
        proxy: the frontend, or a backend behind it.
        told: headers by which the frontend tells servers of the client.
        variables: of the frontend and the backend, for what was kept in some first.
    """
    known = {_plain(name) for name in (*told, *_CLIENT)}

    def is_written(text: str) -> bool:
        # A header of these families is HAProxy's own by then, or `spoofable-header`.
        return any(not _is_identity(part["header"] or "", known) for part in _WRITTEN_BY_CLIENT.finditer(text))

    written = variables.holding(is_written)
    for rule in proxy.rules("http-request"):
        if rule.action not in _HEADER_WRITERS or not rule.words or not _is_identity(rule.words[0], known):
            continue
        text = " ".join(rule.words[1:])
        if is_written(text) or read_names(text) & written:
            yield found("identity-from-client", rule.line, f"{proxy.name}: {rule}")


def told_headers(frontend: Proxy) -> list[str]:
    """Return the headers by which a frontend tells servers of the client."""
    variables = Variables(frontend)
    knowing = variables.holding(lambda text: bool(_KNOWING.search(text) or _reads_agent(text, variables)))
    rules = [rule for rule in frontend.rules("http-request") if rule.action in _HEADER_WRITERS]
    return [rule.words[0] for rule in rules if _tells(" ".join(rule.words[1:]), variables, knowing)]


def _tells(text: str, variables: Variables, knowing: frozenset[str]) -> bool:
    """Tell whether a value is what HAProxy knows of the client; a variable of another kind tells nothing of it."""
    return bool(_KNOWING.search(text) or read_names(text) & knowing or _reads_agent(text, variables))


def _reads_agent(text: str, variables: Variables) -> bool:
    return any(name.startswith("txn.") for name in read_names(text) - variables.names)


def _plain(name: str) -> str:
    return re.sub("[_.]", "-", name.lower())


def _is_identity(name: str, known: Iterable[str]) -> bool:
    return _plain(name) in known or _IDENTITY.match(_plain(name)) is not None


class _Deleted:
    """Which headers of the client's rules delete."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._named: set[str] = set()
        self._patterns: list[tuple[str, str]] = []
        self._sometimes: set[str] = set()
        for rule in rules:
            if rule.action != "del-header" or not rule.words:
                continue
            name, *flags = rule.words
            if rule.condition.terms != ((),):
                self._sometimes.add(name.lower())
            elif "-m" in flags:
                self._patterns.append((flags[flags.index("-m") + 1], name))
            else:
                self._named.add(name.lower())

    def has(self, name: str) -> bool:
        """Tell whether a rule deletes this header, on whatever condition."""
        return name.lower() in self._sometimes or self._ends(name)

    def all_spellings(self, name: str, *, is_replaced: bool = False) -> bool:
        """Tell whether the header is deleted, and all that CGI and its like take for it."""
        spellings = _spellings(name)
        return all((is_replaced and one == name.lower()) or self._ends(one) for one in spellings)

    def _ends(self, name: str) -> bool:
        lowered = name.lower()
        return lowered in self._named or any(_matches(kind, text, lowered) for kind, text in self._patterns)


def _spellings(name: str) -> list[str]:
    parts = name.lower().split("-")
    if len(parts) > 4 or len(parts) == 1:  # noqa: PLR2004 -- 27 spellings are plenty
        return [name.lower(), name.lower().replace("-", "_")]
    return [
        "".join(part + glue for part, glue in zip(parts, (*glues, ""), strict=True))
        for glues in product(_SEPARATORS, repeat=len(parts) - 1)
    ]


def _matches(kind: str, text: str, name: str) -> bool:
    match kind:
        case "reg":
            try:
                # HAProxy matches names in lower case.
                return re.search(text, name) is not None
            except re.error:
                return False
        case "beg":
            return name.startswith(text.lower())
        case "end":
            return name.endswith(text.lower())
        case "sub":
            return text.lower() in name
    return name == text.lower()


# -- rewrites ---------------------------------------------------------------------------------------------------


def rewrite_findings(frontend: Proxy, backends: Iterable[Proxy], *, is_normalised: bool) -> Iterator[Finding]:
    """Yield rules that give the server another path or method than was judged."""
    applies = False
    for rule in frontend.rules("http-request"):
        if rule.action in _REWRITING:
            is_judged = rule.action == "set-path" and re.fullmatch(r"%\[var\(txn\.[\w.]+\.path\)\]", rule.words[0])
            applies = applies or bool(is_judged)
            if not is_judged:
                yield found("rewritten-after-verdict", rule.line, f"{frontend.name}: {rule}")
    for backend in backends:
        for rule in backend.rules("http-request"):
            if rule.action in _REWRITING:
                yield found("rewritten-in-backend", rule.line, f"{backend.name}: {rule}")
    if is_normalised and not applies:
        yield found("normalised-path-ignored", frontend.section.line, f"{frontend.name} doesn't apply the judged path")


def leniency_findings(frontend: Proxy) -> Iterator[Finding]:
    """Yield options that let requests through which have several readings."""
    for option in _LENIENT:
        line = frontend.has_option(option)
        if line is not None:
            yield found("lenient-parsing", line, f"{frontend.name}: {line}")


# -- routes -----------------------------------------------------------------------------------------------------


def route_findings(frontend: Proxy, backends: Mapping[str, Proxy]) -> Iterator[Finding]:
    """Yield where a route of the policy leads elsewhere than it says."""
    switches = switches_of(frontend)
    chosen = Variables(frontend).holding(_is_chosen)
    for position, rule in enumerate(switches):
        variable = _ROUTE.fullmatch(rule.action)
        if variable is None:
            yield from _choice_findings(frontend, rule, chosen)
            continue
        if not _is_guarded(frontend, variable[1]):
            yield found("route-unguarded", rule.line, f"{frontend.name}: {rule}")
        for later in switches[position + 1 :]:
            target = backends.get(later.action)
            is_serving = serves(target) if target is not None else "%[" in later.action
            if is_serving and holds_when_found(later.condition, variable[1]):
                yield found(
                    "route-falls-through", later.line, f"{frontend.name}: an unknown route ends in {later.action}"
                )


def _choice_findings(frontend: Proxy, rule: Rule, chosen: frozenset[str]) -> Iterator[Finding]:
    """Yield a finding where not the policy but what the client sent, in *chosen* variables too, chooses the backend."""
    samples = _SAMPLE.findall(rule.action)
    if not all(_NOT_THE_CLIENTS.match(sample) for sample in samples):
        is_chosen = read_names(rule.action) & chosen and not _MAP.search(rule.action)
        is_listed = _TABLE.search(rule.action) and not is_chosen
        code = "route-not-judged" if is_listed else "route-from-client"
        yield found(code, rule.line, f"{frontend.name}: {rule}")


def _is_chosen(text: str) -> bool:
    """Tell whether a client chooses a part of a value, and no table stands between."""
    samples = _SAMPLE.findall(text)
    return any(not _NOT_THE_CLIENTS.match(sample) and not _TABLE.search(sample) for sample in samples)


def missing_routes(frontend: Proxy, backends: Mapping[str, Proxy], routes: Iterable[str]) -> Iterator[Finding]:
    """Yield the policy's routes that name no backend here, at the rule that would follow them."""
    missing = [route for route in routes if route not in backends]
    rule = next((rule for rule in switches_of(frontend) if _ROUTE.fullmatch(rule.action)), None)
    if missing and rule is not None:
        what = f"{frontend.name}: the policy's routes name {', '.join(missing)}, and no backend has that name"
        yield found("route-missing", rule.line, what)


def switches_of(frontend: Proxy) -> list[Rule]:
    """Return the rules that choose a backend: each `use_backend`, and the nearest `default_backend`."""
    last = (rule for one in (frontend, *frontend.parents) for rule in reversed(one.own))
    default = next((rule for rule in last if rule.directive == "default_backend"), None)
    return [*frontend.rules("use_backend"), *([default] if default is not None else [])]


def _is_guarded(frontend: Proxy, variable: str) -> bool:
    """Tell whether routes are refused by name and by number, or all that are not listed."""
    ways = set()
    for rule in filter(denies, _rules(frontend)):
        for literal in (one for term in rule.condition.terms for one in term):
            for test in literal.acl.tests:
                if test.fetch == "var" and ",".join(test.arguments) == variable:
                    is_number = test.match == "beg" and "#" in test.patterns
                    ways.add("number" if is_number else "name" if literal.is_positive else "listed")
    return "listed" in ways or {"number", "name"} <= ways
