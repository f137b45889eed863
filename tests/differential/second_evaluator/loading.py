"""A policy directory becomes a policy, or is refused."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.differential.second_evaluator.conditions import (
    REQUEST_KEYS,
    WHEN_KEYS,
    Condition,
    Who,
    always,
    read_conditions,
    read_who,
)
from tests.differential.second_evaluator.identities import Identity, Known, as_list, read_identity
from tests.differential.second_evaluator.lists import Allowlist, read_list
from tests.differential.second_evaluator.revoking import Revocation, Source
from tests.differential.second_evaluator.text import regular_expression
from tests.differential.second_evaluator.times import day, duration
from tests.differential.second_evaluator.words import RefusedError
from tests.differential.second_evaluator.yaml_text import read_yaml

STATUSES = {"400", "401", "403", "404", "405", "410", "429", "503"}
TOP = {"apiVersion", "metadata", "defaults", "issuers", "lists", "identities", "break_glass", "rules", "routes"}
DEFAULTS: dict[str, tuple[str, set[str]]] = {
    "mode": ("enforce", {"enforce", "shadow"}),
    "no_certificate": ("deny", {"deny", "anonymous"}),
    "path_on_ambiguity": ("reject", {"reject", "normalise"}),
    "path_parameters": ("deny", {"deny", "allow"}),
    "sni_mismatch": ("deny", {"deny", "allow"}),
    "deny_status": ("403", STATUSES),
}
RULE_KEYS = {
    "allow": {"id", "effect", "who", "request", "when", "mode", "shadow_until", "active_during"},
    "require": {
        *{"id", "effect", "who", "request", "when", "mode", "shadow_until"},
        *{"status", "reason", "overridable_by"},
    },
    "deny": {
        *{"id", "effect", "who", "request", "when", "mode", "shadow_until"},
        *{"status", "reason", "overridable_by", "unless"},
    },
}


@dataclass(frozen=True)
class Issuer:
    """An issuer's settings."""

    revocation: Revocation
    trust_domain: str | None
    max_lifetime: float | None
    eku: str
    allow_multiple_cn: bool
    allow_weak: bool


@dataclass(frozen=True)
class Rule:
    """A rule; conditions that aren't written always hold."""

    id: str
    effect: str
    who: Condition
    request: Condition
    when: Condition
    unless: Condition | None
    status: int | None
    reason: str
    shadow: bool
    overridable_by: str | None
    active_during: str | None


@dataclass(frozen=True)
class Route:
    """A route."""

    who: Condition
    request: Condition
    backend: str


@dataclass(frozen=True)
class Policy:
    """A policy."""

    defaults: dict[str, str]
    issuers: dict[str, Issuer]
    lists: dict[str, Allowlist]
    identities: dict[str, Identity]
    switches: frozenset[str]
    rules: tuple[Rule, ...]
    routes: tuple[Route, ...]
    reads: frozenset[str]


def load_policy(directory: Path) -> Policy:
    """Load a policy directory.

    Raises:
        RefusedError: it isn't a policy.
    """
    documents = []
    for path in sorted(directory.glob("*.yaml"), key=lambda path: path.name.encode()):
        node = read_yaml(path.read_bytes())
        refuse_unless(isinstance(node, dict) and set(node) <= TOP, f"unknown keys in {path.name}")
        refuse_unless(node.get("apiVersion", "authz/v1") == "authz/v1", f"no policy: {path.name}")
        documents.append((path, node))
    return Reader(documents).policy()


def refuse_unless(holds: bool, problem: str) -> None:
    """Refuse."""
    if not holds:
        raise RefusedError(problem)


def keys_of(node: Any, allowed: set[str], what: str) -> dict[str, Any]:
    """A map of known keys; "unknown keys … are errors"."""
    refuse_unless(isinstance(node, dict), f"{what} is no map")
    refuse_unless(set(node) <= allowed, f"unknown key in {what}: {sorted(set(node) - allowed)}")
    return dict(node)


def choice(node: dict[str, Any], key: str, default: str, allowed: set[str]) -> str:
    """One of some words."""
    value = node.get(key, default)
    refuse_unless(isinstance(value, str) and value in allowed, f"{key}: {value!r}")
    return str(value)


class Reader:
    """Reads the sections of all documents, in order."""

    def __init__(self, documents: list[tuple[Path, dict[str, Any]]]) -> None:
        self.documents = documents
        self.issuers: dict[str, Issuer] = {}
        self.lists: dict[str, Allowlist] = {}
        self.identities: dict[str, Identity] = {}
        self.switches: set[str] = set()
        self.reads: set[str] = set()
        self.used: set[str] = set()

    def section(self, key: str) -> list[tuple[Path, str, Any]]:
        """The named things of one kind, with the document that they stand in; "duplicate ids and names are errors"."""
        found: list[tuple[Path, str, Any]] = []
        for path, document in self.documents:
            if key in document:
                refuse_unless(isinstance(document[key], dict), f"{key} is no map")
                found += [(path, name, node) for name, node in document[key].items()]
        names = [name for _, name, _ in found]
        refuse_unless(len(names) == len(set(names)), f"a name twice in {key}")
        return found

    def items(self, key: str) -> list[Any]:
        """The elements of a list that may stand in several documents."""
        found: list[Any] = []
        for _, document in self.documents:
            if key in document:
                refuse_unless(isinstance(document[key], list), f"{key} is no list")
                found += document[key]
        return found

    def policy(self) -> Policy:
        """Read everything."""
        given = {name: node for _, name, node in self.section("defaults")}
        keys_of(given, set(DEFAULTS), "defaults")
        defaults = {key: choice(given, key, *DEFAULTS[key]) for key in DEFAULTS}
        self.read_issuers()
        for path, name, node in self.section("lists"):
            entry = keys_of(node, {"file", "accept_sha1_until"}, "list")
            refuse_unless(isinstance(entry.get("file"), str), "a list has a file")
            until = day(entry["accept_sha1_until"]) if "accept_sha1_until" in entry else None
            self.lists[name] = read_list(path.parent / entry["file"], until, set(self.issuers))
        known = Known(set(self.issuers), self.lists)
        for _, name, node in self.section("identities"):
            self.identities[name] = read_identity(node, known)
            self.reads |= self.identities[name].reads
        for _, name, node in self.section("break_glass"):
            switch = keys_of(node, {"max_duration", "ticket"}, "break_glass")
            refuse_unless(isinstance(switch.get("ticket"), str), "what a ticket looks like is compulsory")
            duration(switch.get("max_duration"))
            regular_expression(switch["ticket"])
            self.switches.add(name)
        rules = tuple(self.read_rule(node, known) for node in self.items("rules"))
        ids = [rule.id for rule in rules]
        refuse_unless(len(ids) == len(set(ids)), "an id twice")
        refuse_unless(sum("routes" in document for _, document in self.documents) <= 1, "routes in two files")
        routes = tuple(self.read_route(node, known) for node in self.items("routes"))
        refuse_unless(self.used >= set(self.identities), f"unused: {set(self.identities) - self.used}")
        return Policy(
            *(defaults, self.issuers, self.lists, self.identities, frozenset(self.switches)),
            *(rules, routes, frozenset(self.reads)),
        )

    def read_issuers(self) -> None:
        """Read `issuers`: "one key under two issuers is an error"."""
        keys: dict[bytes, str] = {}
        for path, name, node in self.section("issuers"):
            allowed = {"ca", "revocation", "trust_domain", "max_lifetime", "eku", "allow_multiple_cn", "allow_weak"}
            issuer = keys_of(node, allowed, "issuer")
            refuse_unless("ca" in issuer and "revocation" in issuer, "ca and revocation are compulsory")
            for file in as_list(issuer["ca"]):
                refuse_unless(isinstance(file, str), "a path")
                for key in keys_in(path.parent / file):
                    refuse_unless(keys.setdefault(key, name) == name, "one key under two issuers")
            self.issuers[name] = Issuer(
                revocation=read_revocation(issuer["revocation"]),
                trust_domain=issuer.get("trust_domain"),
                max_lifetime=duration(issuer["max_lifetime"]) if "max_lifetime" in issuer else None,
                eku=choice(issuer, "eku", "client", {"client", "any"}),
                allow_multiple_cn=choice(issuer, "allow_multiple_cn", "false", {"true", "false"}) == "true",
                allow_weak=choice(issuer, "allow_weak", "false", {"true", "false"}) == "true",
            )

    def who(self, node: dict[str, Any], known: Known) -> Condition:
        """The `who` of a rule, a route or an exception; what it reads and uses is remembered."""
        if "who" not in node:
            return always
        who: Who = read_who(node["who"], self.identities, known)
        self.used |= who.names
        self.reads |= who.reads
        return who.holds

    def read_rule(self, node: Any, known: Known) -> Rule:
        """Read a rule."""
        refuse_unless(isinstance(node, dict), "a rule is a map")
        effect = choice(node, "effect", "", set(RULE_KEYS))
        keys_of(node, RULE_KEYS[effect], f"{effect} rule")
        refuse_unless(isinstance(node.get("id"), str) and node["id"] != "", "an id is compulsory")
        refuse_unless(effect != "allow" or "who" in node, "who is compulsory on allow")
        refuse_unless(effect != "require" or "request" in node, "request is compulsory on require")
        refuse_unless(effect != "require" or "who" in node or "when" in node, "require needs who or when")
        shadow = choice(node, "mode", "enforce", {"enforce", "shadow"}) == "shadow"
        refuse_unless(
            shadow == ("shadow_until" in node), "shadow_until belongs to mode: shadow, and is compulsory there"
        )
        if shadow:
            day(node["shadow_until"])
        for key in ("overridable_by", "active_during"):
            refuse_unless(key not in node or str(node[key]) in self.switches, f"no such switch: {node.get(key)}")
        reason = node.get("reason", "")
        refuse_unless("reason" not in node or is_snake_case(reason), f"no reason: {reason!r}")
        unless = None
        if "unless" in node:
            exception = keys_of(node["unless"], {*REQUEST_KEYS, *WHEN_KEYS, "who"}, "unless")
            unless = self.read_unless(exception, known)
        return Rule(
            id=node["id"],
            effect=effect,
            who=self.who(node, known),
            request=read_conditions(node["request"], REQUEST_KEYS) if "request" in node else always,
            when=read_conditions(node["when"], WHEN_KEYS) if "when" in node else always,
            unless=unless,
            status=int(choice(node, "status", "", STATUSES)) if "status" in node else None,
            reason=reason,
            shadow=shadow,
            overridable_by=node.get("overridable_by"),
            active_during=node.get("active_during"),
        )

    def read_unless(self, node: dict[str, Any], known: Known) -> Condition:
        """The specification: "the exception: the keys of `request` and `when`, flat, and `who`"."""
        refuse_unless(bool(node), "an empty match")
        who = self.who(node, known)
        rest = {key: value for key, value in node.items() if key != "who"}
        others = read_conditions(rest, REQUEST_KEYS | WHEN_KEYS) if rest else always
        return lambda facts, generous: who(facts, generous) and others(facts, generous)

    def read_route(self, node: Any, known: Known) -> Route:
        """Read a route."""
        route = keys_of(node, {"who", "request", "backend"}, "route")
        refuse_unless(isinstance(route.get("backend"), str) and route["backend"] != "", "a route has a backend")
        request = read_conditions(route["request"], REQUEST_KEYS) if "request" in route else always
        return Route(self.who(route, known), request, route["backend"])


def is_snake_case(text: Any) -> bool:
    """The specification: "a stable snake_case code"."""
    return isinstance(text, str) and re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", text) is not None


def keys_in(path: Path) -> list[bytes]:
    """The public keys of a file of certificates, PEM or DER."""
    try:
        data = path.read_bytes()
        pem = b"-----BEGIN" in data
        found = x509.load_pem_x509_certificates(data) if pem else [x509.load_der_x509_certificate(data)]
    except (OSError, ValueError) as error:
        raise RefusedError(str(error)) from None
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return [one.public_key().public_bytes(serialization.Encoding.DER, form) for one in found]


def read_revocation(node: Any) -> Revocation:
    """Read `revocation`: sources, or `none:` with the reason."""
    if isinstance(node, dict) and "none" in node:
        refuse_unless(set(node) == {"none"} and isinstance(node["none"], str) and node["none"] != "", "none: a reason")
        return Revocation()
    settings = keys_of(node, {"crl", "ocsp", "combine", "depth"}, "revocation")
    refuse_unless("crl" in settings or "ocsp" in settings, "neither crl nor ocsp")
    choice(settings, "depth", "leaf", {"leaf", "chain"})
    return Revocation(
        ocsp=read_source(settings["ocsp"], "ocsp") if "ocsp" in settings else None,
        crl=read_source(settings["crl"], "crl") if "crl" in settings else None,
        combine=choice(settings, "combine", "any_revoked", {"any_revoked", "first_answer"}),
    )


def read_source(node: Any, kind: str) -> Source:
    """Read one source."""
    own = {
        "crl": {"files", "urls", "refresh", "max_stale", "idp", "accept_rollback"},
        "ocsp": {"responder", "aia", "timeout", "stale_grace", "method", "nonce", "responder_cert"},
    }[kind]
    allowed = own | {"on_unknown", "on_failure", "max_age_without_next_update", "allow_sha1"}
    source = keys_of(node, allowed, kind)
    for key in ("refresh", "max_stale", "timeout", "stale_grace", "max_age_without_next_update"):
        if key in source:
            duration(source[key])
    ways = [key for key in ("files", "urls", "responder", "aia") if key in source]
    refuse_unless(bool(ways) and (kind == "crl" or len(ways) == 1), "where from?")
    words = {"deny", "allow"}
    return Source(choice(source, "on_unknown", "deny", words), choice(source, "on_failure", "deny", words))
