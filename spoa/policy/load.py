"""Policy documents become one policy, or every problem that is wrong with them.

Documents are read in byte order of their names and merged; names are resolved over all of them, so that a rule in one
file may use an identity of another. Nothing is guessed: an unknown name, a duplicate, an identity that no rule uses is
a problem with its place.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any, Final

from spoa.policy.bricks import Bricks
from spoa.policy.document import Mapping as MappingNode
from spoa.policy.document import Scalar, read_document
from spoa.policy.grammar import API_VERSION, POLICY
from spoa.policy.model import (
    CrlSource,
    Defaults,
    Effect,
    Issuer,
    ListSource,
    OcspSource,
    PolicyModel,
    Reason,
    Revocation,
    Route,
    Rule,
    Switch,
)
from spoa.policy.reading import Reading, Report, quoted, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from spoa.exceptions import Problem
    from spoa.policy.document import Node

__all__ = ["KINDS", "MAX_POLICY_SIZE", "document_kind", "load_policies", "resolve_path"]

#: What a YAML file in a policy directory may be, by its `kind`.
KINDS: Final = ("policy", "list", "tests")
#: Bytes of one policy document.
MAX_POLICY_SIZE: Final = 16 << 20
_RESERVED_NAMES: Final = {"any", "any_certificate", "anonymous"}
_DEFAULT_WORDS: Final[Mapping[tuple[str, str], tuple[str, Any]]] = {
    ("mode", "shadow"): ("is_shadow", True),
    ("no_certificate", "anonymous"): ("allows_anonymous", True),
    ("path_on_ambiguity", "normalise"): ("normalises_path", True),
    ("path_parameters", "allow"): ("allows_path_parameters", True),
    ("sni_mismatch", "allow"): ("allows_sni_mismatch", True),
}


def document_kind(node: Node) -> str:
    """Return what a document says it is; a policy unless it says otherwise."""
    kind = node.get("kind") if isinstance(node, MappingNode) else None
    return kind.text if isinstance(kind, Scalar) else "policy"


def resolve_path(document: str, path: str) -> str:
    """Return *path*, written in *document*, relative to the policy directory (or absolute, as written)."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(document), path))


def load_policies(
    documents: Mapping[str, bytes],
    report: Report,
    *,
    now: float | None = None,
    known: Mapping[str, tuple[Node | None, tuple[Problem, ...]]] | None = None,
) -> PolicyModel | None:
    """Return the policy that the documents make together, or None when the report has errors.

    Args:
        documents: file name → text, of all policy documents.
        report: takes every problem.
        now: the time by which shadows and SHA-1 dates are judged overdue (warnings); None judges none.
        known: what `read_document` has made of some of them already.
    """
    errors = report.errors
    readings: list[Reading] = []
    for name in sorted(documents, key=str.encode):
        read = (known or {}).get(name)
        node, problems = read or read_document(documents[name], name, max_size=MAX_POLICY_SIZE)
        report.add(*problems)
        if not documents[name].strip():
            # Whoever cuts a file off takes its denies away; an editor does so for a moment while it saves.
            report.file_problem(
                name, "the file is empty; write a comment into it if it shall be, or delete it", "empty-file"
            )
        if node is None or document_kind(node) != "policy":
            continue
        reading = POLICY.read(node, report, "")
        if isinstance(reading, Reading):
            readings.append(reading)
            if "apiVersion" not in reading.keys:
                message = f'missing key "apiVersion"; write `apiVersion: {API_VERSION}` at the top'
                report.problem(node, "", message, "missing-api-version", is_warning=True)
    loader = _Loader(report, readings, now)
    model = loader.model()
    return model if report.errors == errors else None


class _Loader:
    """Resolves the names of all documents and builds the model; problems go to the report."""

    def __init__(self, report: Report, readings: list[Reading], now: float | None) -> None:
        self._report = report
        self._readings = readings
        self._now = now
        self._issuers = self._merge("issuers")
        self._lists = self._merge("lists")
        self._switches = self._merge("break_glass")
        self._named = self._merge("identities")
        self._bricks = Bricks(report, self._issuers, self._lists)
        self._bricks.name_identities(self._named)

    def _sections(self, section: str) -> Iterable[tuple[Reading, Any]]:
        return ((reading, reading.value[section]) for reading in self._readings if section in reading.value)

    def _merge(self, section: str) -> dict[str, tuple[Reading, str]]:
        """Return name → (the reading that holds it, name); a name given twice is a problem."""
        merged: dict[str, tuple[Reading, str]] = {}
        for _, entries in self._sections(section):
            for name, key in entries.keys.items():
                if name in _RESERVED_NAMES:
                    message = f"{quoted(name)} has a meaning of its own in rules; choose another name"
                    self._report.problem(key, entries.path_of(name), message, "reserved-name")
                if name in merged:
                    first = merged[name][0].keys[name]
                    message = f"{quoted(name)} is already defined at {first.file}:{first.line}"
                    self._report.problem(key, entries.path_of(name), message, "duplicate-name")
                else:
                    merged[name] = (entries, name)
        return merged

    def model(self) -> PolicyModel:
        """Return the model; worth something only when no problem was reported."""
        rules = tuple(self._rules())
        routes = tuple(self._routes())
        self._report_unused()
        return PolicyModel(
            rules=rules,
            routes=routes,
            identities=tuple(self._bricks.identities.values()),
            issuers=tuple(filter(None, (self._issuer(*entry) for entry in self._issuers.values()))),
            lists=tuple(filter(None, (self._list(*entry) for entry in self._lists.values()))),
            switches=tuple(filter(None, (self._switch(*entry) for entry in self._switches.values()))),
            defaults=self._defaults(),
        )

    # -- rules and routes --------------------------------------------------------------------------------------

    def _rules(self) -> Iterable[Rule]:
        ids: dict[str, Scalar] = {}
        for _, rules in self._sections("rules"):
            for reading in rules:
                node = reading.at("id")
                rule_id = reading.value.get("id")
                if rule_id in ids:
                    first = ids[rule_id]
                    message = f"{quoted(rule_id)} is already the id of the rule at {first.file}:{first.line}"
                    self._report.problem(node, reading.path_of("id"), message, "duplicate-id")
                if rule_id is not None:
                    ids.setdefault(rule_id, node)
                rule = self._rule(reading)
                if rule is not None:
                    yield rule

    def _rule(self, reading: Reading) -> Rule | None:
        value = reading.value
        effect = Effect(value["effect"]) if "effect" in value else None
        who = self._bricks.who(reading, "who")
        request = self._bricks.columns(value.get("request"))
        when = self._bricks.columns(value.get("when"))
        unless = value.get("unless")
        unless_who = self._bricks.who(unless, "who") if isinstance(unless, Reading) else None
        self._check_shadow(reading)
        for key in ("overridable_by", "active_during"):
            self._check_name(reading, key, self._switches, "break_glass switch")
        self._check_reason(reading)
        if effect is None or not reading.is_complete:
            return None
        is_requirement = effect is Effect.REQUIRE
        return Rule(
            id=value["id"],
            effect=effect,
            who=who,
            request=request if is_requirement else request + when,
            required=when if is_requirement else (),
            unless=self._bricks.columns(unless) if isinstance(unless, Reading) else None,
            unless_who=unless_who,
            status=value.get("status", 0),
            reason=value.get("reason", ""),
            is_shadow=value["mode"] == "shadow",
            shadow_until=value.get("shadow_until"),
            overridable_by=value.get("overridable_by", ""),
            active_during=value.get("active_during", ""),
            position=f"{reading.node.file}:{reading.node.line}",
        )

    def _check_shadow(self, reading: Reading) -> None:
        is_shadow = reading.value.get("mode") == "shadow"
        until = reading.value.get("shadow_until")
        if is_shadow and "shadow_until" not in reading.keys:
            message = 'missing key "shadow_until": a rule in shadow needs the date at which `check` begins to warn'
            self._report.problem(reading.at("mode"), reading.path, message, "missing-key")
        elif until is not None and not is_shadow:
            message = '"shadow_until" has no meaning without `mode: shadow`'
            self._report.problem(reading.keys["shadow_until"], reading.path_of("shadow_until"), message, "useless-key")
        elif until is not None and self._now is not None and until <= self._now:
            message = (
                "the date has passed; the rule stays in shadow until its `mode` is taken away, or set a later date"
            )
            node = reading.at("shadow_until")
            self._report.problem(node, reading.path_of("shadow_until"), message, "shadow-overdue", is_warning=True)

    def _check_reason(self, reading: Reading) -> None:
        reason = reading.value.get("reason")
        if reason in set(Reason):
            message = f"{quoted(reason)} is a built-in reason; choose a code of your own"
            self._report.problem(reading.at("reason"), reading.path_of("reason"), message, "reserved-name")

    def _check_name(self, reading: Reading, key: str, known: Mapping[str, object], what: str) -> None:
        name = reading.value.get(key)
        if name is not None and name not in known:
            message = f"unknown {what} {quoted(name)}{suggestion(name, known)}"
            self._report.problem(reading.at(key), reading.path_of(key), message, "unknown-name")

    def _routes(self) -> Iterable[Route]:
        first: Reading | None = None
        for document, routes in self._sections("routes"):
            if first is not None and routes:
                message = (
                    f"routes may stand in one file only, since their order counts; others are in {first.node.file}"
                )
                self._report.problem(document.keys["routes"], "routes", message, "scattered-routes")
            first = first or (document if routes else None)
            for reading in routes:
                who = self._bricks.who(reading, "who")
                request = self._bricks.columns(reading.value.get("request"))
                when = self._bricks.columns(reading.value.get("when"))
                if reading.is_complete:
                    position = f"{reading.node.file}:{reading.node.line}"
                    yield Route(reading.value["backend"], who, request + when, position)

    # -- what rules refer to -----------------------------------------------------------------------------------

    def _issuer(self, entries: Reading, name: str) -> Issuer | None:
        reading = entries.value.get(name)
        if not isinstance(reading, Reading):
            return None
        value = reading.value
        given = value.get("revocation")
        revocation = self._revocation(given) if isinstance(given, Reading) else Revocation()
        if not reading.is_complete:
            return None
        return Issuer(
            name=name,
            ca=tuple(resolve_path(reading.node.file, path) for path in value["ca"]),
            trust_domain=value.get("trust_domain", ""),
            max_lifetime=value.get("max_lifetime"),
            needs_client_eku=value["eku"] == "client",
            allows_multiple_cn=value["allow_multiple_cn"],
            allows_weak=value["allow_weak"],
            revocation=revocation,
        )

    def _revocation(self, reading: Reading) -> Revocation:
        """Return how an issuer's certificates are checked; worth something only when no problem was reported."""
        value = reading.value
        if "none" in reading.keys and reading.keys.keys() & {"crl", "ocsp"}:
            message = "`none` says why nothing is checked, so no source can stand beside it; take one of them out"
            self._report.problem(reading.keys["none"], reading.path_of("none"), message, "contradiction")
        crl, ocsp = value.get("crl"), value.get("ocsp")
        return Revocation(
            none=value.get("none", ""),
            crl=_crl(crl) if isinstance(crl, Reading) else None,
            ocsp=_ocsp(ocsp) if isinstance(ocsp, Reading) else None,
            combine=value.get("combine", "any_revoked"),
            is_chain=value.get("depth") == "chain",
            max_age_without_next_update=value.get("max_age_without_next_update"),
            allows_sha1=value.get("allow_sha1", False),
            accepts_rollback=value.get("accept_rollback", False),
        )

    def _list(self, entries: Reading, name: str) -> ListSource | None:
        reading = entries.value.get(name)
        if not isinstance(reading, Reading) or not reading.is_complete:
            return None
        until = reading.value.get("accept_sha1_until")
        if until is not None and self._now is not None and until <= self._now:
            message = "the date has passed: SHA-1 entries of this list match no longer; list the SHA-256 ones"
            node = reading.at("accept_sha1_until")
            self._report.problem(node, reading.path_of("accept_sha1_until"), message, "sha1-ended", is_warning=True)
        node = reading.at("file")
        position = (node.file, node.line, node.column)
        return ListSource(name, resolve_path(node.file, reading.value["file"]), until, position)

    def _switch(self, entries: Reading, name: str) -> Switch | None:
        reading = entries.value.get(name)
        if not isinstance(reading, Reading) or not reading.is_complete:
            return None
        return Switch(name, reading.value["max_duration"], reading.value["ticket"])

    def _defaults(self) -> Defaults:
        given: dict[str, Any] = {}
        seen: dict[str, Reading] = {}
        for _, defaults in self._sections("defaults"):
            for key, word in defaults.value.items():
                if key in seen:
                    first = seen[key].keys[key]
                    message = f"{quoted(key)} is already set at {first.file}:{first.line}"
                    self._report.problem(defaults.keys[key], defaults.path_of(key), message, "duplicate-name")
                seen.setdefault(key, defaults)
                if key == "deny_status":
                    given["deny_status"] = word
                elif (key, word) in _DEFAULT_WORDS:
                    field, value = _DEFAULT_WORDS[key, word]
                    given[field] = value
        return Defaults(**given)

    def _report_unused(self) -> None:
        for name, (entries, _) in self._named.items():
            if name not in self._bricks.used:
                message = f"no rule and no route uses the identity {quoted(name)}; use it or take it out"
                self._report.problem(entries.keys[name], entries.path_of(name), message, "unused-identity")


def _crl(reading: Reading) -> CrlSource:
    value = reading.value
    return CrlSource(
        files=tuple(resolve_path(reading.node.file, path) for path in value.get("files", ())),
        urls=value.get("urls", ()),
        refresh=int(value.get("refresh", 300)),
        max_stale=int(value.get("max_stale", 0)),
        trusts_configuration=value.get("idp") == "trust-config",
        allows_unknown=value.get("on_unknown") == "allow",
        allows_failure=value.get("on_failure") == "allow",
    )


def _ocsp(reading: Reading) -> OcspSource:
    value = reading.value
    aia, pinned = value.get("aia"), value.get("responder_cert", "")
    return OcspSource(
        responder=value.get("responder", ""),
        aia_hosts=aia.value.get("hosts", ()) if isinstance(aia, Reading) else (),
        timeout=value.get("timeout", 0.3),
        stale_grace=int(value.get("stale_grace", 0)),
        uses_get=value.get("method") == "get",
        nonce=value.get("nonce", "off"),
        responder_cert=resolve_path(reading.node.file, pinned) if pinned else "",
        allows_unknown=value.get("on_unknown") == "allow",
        allows_failure=value.get("on_failure") == "allow",
    )
