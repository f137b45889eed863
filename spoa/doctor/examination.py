"""The whole examination: from configuration files to findings, without touching anything.

Frontends are *judged* where they ask an agent, want a verdict, or ask clients for certificates; all others serve
everyone, and must not lead to a backend that judged ones lead to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from spoa.doctor.asking import waits_for_errors
from spoa.doctor.engine import agent_findings, engine_findings, patience_findings
from spoa.doctor.findings import Finding, found
from spoa.doctor.passthrough import (
    header_findings,
    identity_findings,
    leniency_findings,
    missing_routes,
    rewrite_findings,
    route_findings,
    serves,
    switches_of,
    told_headers,
)
from spoa.doctor.variables import Variables, variable_findings
from spoa.doctor.verdict import follow, judging_directives, verdict_tests
from spoa.haproxy_config.proxies import read_proxies
from spoa.haproxy_config.reading import read_configuration
from spoa.haproxy_config.spoe import read_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from spoa.haproxy_config.proxies import Proxies, Proxy
    from spoa.haproxy_config.reading import Configuration, Line, Unreadable
    from spoa.haproxy_config.spoe import Engine

__all__ = ["Agent", "Examination", "Needs", "examine"]

_COMPARED: Final = frozenset({"host", "sni"})


#: Defaults of the shipped configuration for frontends that are for everyone.
_PUBLIC: Final = "authz-public"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a policy needs of HAProxy.

    Attributes:
        reads: arguments that it reads.
        routes: backends that its routes name.
        is_normalised: it judges a path that HAProxy must apply.
        allows_anonymous: it judges clients without a certificate too, instead of denying them all.
    """

    reads: frozenset[str] = frozenset()
    routes: tuple[str, ...] = ()
    is_normalised: bool = False
    allows_anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as a server line names it."""

    address: str
    line: Line


@dataclass(slots=True)
class Examination:
    """What was found, and the agents that should be asked whether they are there.

    Attributes:
        frontends: those that ask the agent.
        unjudged: the other ones that lead to servers, and to which backends.
    """

    findings: list[Finding] = field(default_factory=list)
    agents: list[Agent] = field(default_factory=list)
    frontends: list[str] = field(default_factory=list)
    unjudged: dict[str, list[str]] = field(default_factory=dict)


def examine(
    files: Sequence[tuple[str, str]],
    read: Callable[[str, str], tuple[str, str] | None],
    *,
    version: str,
    environment: Mapping[str, str],
    needs: Needs | None = None,
) -> Examination:
    """Examine a configuration.

    Args:
        files: name and text of each configuration file, in order.
        read: from a SPOE file's name, and the file that names it, to its name and text; None where it can't be read.
        version: of HAProxy.
        environment: that HAProxy will have.
        needs: of the policy, where it is known.
    """
    configuration = read_configuration(files, version=version, environment=environment)
    proxies = read_proxies(configuration)
    examiner = _Examiner(configuration, proxies, read, version, needs)
    examiner.examine()
    unique = dict.fromkeys(examiner.result.findings)
    examiner.result.findings = sorted(unique)
    return examiner.result


class _Examiner:
    def __init__(
        self,
        configuration: Configuration,
        proxies: Proxies,
        read: Callable[[str, str], tuple[str, str] | None],
        version: str,
        needs: Needs | None,
    ) -> None:
        self._configuration = configuration
        self._proxies = proxies
        self._read = read
        self._version = version
        self._needs = needs or Needs()
        self._knows_policy = needs is not None
        self.result = Examination()

    def _add(self, findings: Iterable[Finding]) -> None:
        self.result.findings += findings

    def examine(self) -> None:
        self._add(_unreadable(self._configuration.problems))
        self._add(_unreadable(self._proxies.problems))
        joined = self._configuration.joined
        self._add(found("line-joined", line, "a line that ends with a backslash") for line in joined)
        self._add(self._unknown_acls())
        judged = [one for one in self._proxies.frontends if self._is_judged(one)]
        public = [one for one in self._proxies.frontends if one not in judged and self._serving(one)]
        for frontend in judged:
            self._frontend(frontend)
            self.result.frontends.append(frontend.name)
        if not judged and public:
            names = ", ".join(one.name for one in public)
            self._add([found("nobody-asks", public[0].section.line, f"{names}: no frontend asks an agent")])
        self.result.unjudged = {one.name: [backend.name for backend in self._serving(one)] for one in public}
        self._add(self._bypasses(judged, public))

    def _unknown_acls(self) -> Iterator[Finding]:
        for proxy in self._proxies.all:
            for rule in (rule for one in (proxy, *proxy.parents) for rule in one.own):
                for literal in (one for term in rule.condition.terms for one in term):
                    if not literal.acl.tests:
                        yield found("unreadable", rule.line, f"no ACL is named {literal.acl.name}")

    # -- frontends ---------------------------------------------------------------------------------------------

    def _is_judged(self, frontend: Proxy) -> bool:
        rules = frontend.rules("http-request", "tcp-request content")
        return bool(
            frontend.lines("filter", "spoe")
            or any(True for rule in rules for _ in verdict_tests(rule.condition))
            or (self._serving(frontend) and any(map(_asks_for_certificates, frontend.lines("bind"))))
        )

    def _serving(self, frontend: Proxy) -> list[Proxy]:
        """Return the backends with servers that a frontend's rules name; a `listen` section is its own."""
        names = [rule.action for rule in switches_of(frontend)]
        backends = self._proxies.backends
        own = [frontend] if frontend.section.kind == "listen" else []
        if any("%[" in name for name in names):
            names += self._needs.routes
        return [one for one in (*own, *(backends[name] for name in names if name in backends)) if serves(one)]

    def _frontend(self, frontend: Proxy) -> None:
        engines = list(self._engines(frontend))
        rules = frontend.rules(*judging_directives(frontend))
        passage = follow(frontend, rules)
        if passage.guard is None:
            passage.findings = [*self._behind(frontend, passage.findings)]
        self._add(passage.findings)
        has_filter = bool(frontend.lines("filter", "spoe"))
        if passage.guard is not None and not has_filter and passage.prefixes:
            self._add([found("no-filter", frontend.section.line, f"{frontend.name} has no `filter spoe`")])
        is_guarded = passage.guard is not None or not passage.findings
        told: set[tuple[str, str]] = set()
        for position, engine in enumerate(engines):
            is_second = any(one.prefix == engine.prefix and not waits_for_errors(one) for one in engines[:position])
            wrong = passage.prefixes - {engine.prefix}
            if passage.guard is not None and wrong:
                what = f"{frontend.name} reads txn.{min(wrong)}.verdict; the engine sets txn.{engine.prefix}.verdict"
                self._add([found("prefix-mismatch", passage.guard.line, what)])
            said = [line.texts for line in self._configuration.settings("ssl-server-verify")]
            is_unverified = bool(said) and said[-1][1:2] == ("none",)
            findings = [
                *engine_findings(
                    engine,
                    frontend,
                    self._configuration,
                    self._version,
                    is_guarded=is_guarded,
                    is_second=is_second,
                    guard=passage.guard,
                ),
                *agent_findings(engine, self._proxies, self._version, is_unverified=is_unverified),
                *self._arguments(engine),
            ]
            # An engine that asks again what another lost has the same faults, and they are one.
            self._add(one for one in findings if (one.code, one.message) not in told)
            told.update((one.code, one.message) for one in findings)
            self._note_agents(engine)
        self._add(self._certificates(frontend, is_guarded=is_guarded))
        self._add(patience_findings(frontend))
        serving = self._serving(frontend)
        prefixes = {*passage.prefixes, *(engine.prefix for engine in engines)}
        for one in (frontend, *serving):
            self._add(variable_findings(one, prefixes))
        if frontend.mode == "http":
            self._add(header_findings(frontend))
            self._add(rewrite_findings(frontend, serving, is_normalised=self._needs.is_normalised))
            self._add(leniency_findings(frontend))
            told_of = told_headers(frontend)
            for one in (frontend, *serving):
                variables = Variables(frontend) if one is frontend else Variables(frontend, one)
                self._add(identity_findings(one, told_of, variables))
        self._add(route_findings(frontend, self._proxies.backends))
        self._add(missing_routes(frontend, self._proxies.backends, self._needs.routes))

    def _certificates(self, frontend: Proxy, *, is_guarded: bool) -> Iterator[Finding]:
        """Yield the addresses at which clients are asked for no certificate."""
        binds = frontend.lines("bind")
        silent = [bind for bind in binds if not _asks_for_certificates(bind)]
        code = "no-client-certificate" if is_guarded else "certificate-not-asked"
        if is_guarded and len(silent) == len(binds) and self._knows_policy and not self._needs.allows_anonymous:
            code = "nobody-gets-in"
        for bind in silent:
            yield found(code, bind, f"{frontend.name} asks for no certificate at {''.join(bind.texts[1:2])}")
        if not binds:
            yield found(code, frontend.section.line, f"{frontend.name} asks for no certificate, and has no address")

    def _behind(self, frontend: Proxy, findings: list[Finding]) -> Iterator[Finding]:
        """Yield the findings of a frontend that doesn't deny by itself, unless all its backends do."""
        serving = self._serving(frontend)
        is_open = any(
            one is frontend or follow(one, one.rules(*judging_directives(one))).guard is None for one in serving
        )
        if is_open or not serving:
            yield from findings

    def _bypasses(self, judged: Iterable[Proxy], public: Iterable[Proxy]) -> Iterator[Finding]:
        protected = {one.name for frontend in judged for one in self._serving(frontend)}
        is_open = not self._knows_policy and any("%[" in rule.action for one in judged for rule in switches_of(one))
        for frontend in public:
            is_meant = any(parent.section.name == _PUBLIC for parent in frontend.parents)
            for rule in switches_of(frontend):
                backend = self._proxies.backends.get(rule.action)
                what = f"{frontend.name} leads to {rule.action} without asking the agent"
                if backend is not None and rule.action in protected:
                    yield found("backend-unjudged", rule.line, what)
                elif backend is not None and is_open and not is_meant and serves(backend):
                    yield found("backend-perhaps-unjudged", rule.line, what)

    # -- engines -----------------------------------------------------------------------------------------------

    def _engines(self, frontend: Proxy) -> Iterator[Engine]:
        for line in frontend.lines("filter", "spoe"):
            words = line.texts
            name, file = _after(words, "engine"), _after(words, "config")
            content = self._read(file, line.file) if file else None
            if content is None:
                self._add([found("engine-missing", line, f"the file {file or '(none)'} can't be read")])
                continue
            problems: list[Unreadable] = []
            engine = read_engine(*content, name, self._configuration.environment, problems)
            self._add(_unreadable(problems))
            if engine is None or engine.line is None:
                self._add([found("engine-missing", line, f"{file} has no agent under [{name}]")])
            else:
                yield engine

    def _arguments(self, engine: Engine) -> Iterator[Finding]:
        reads = self._needs.reads
        wanted = reads | _COMPARED if reads & _COMPARED else reads
        for message in engine.sent:
            missing = sorted(wanted - message.arguments.keys())
            if missing:
                line = message.lines.get("args", message.line)
                yield found("argument-not-sent", line, f"the policy reads {', '.join(missing)}")

    def _note_agents(self, engine: Engine) -> None:
        line = engine.setting("use-backend")
        backend = self._proxies.backends.get("".join(line.texts[1:2])) if line is not None else None
        known = {agent.line for agent in self.result.agents}
        for server in backend.lines("server") if backend is not None else []:
            if server not in known and len(server.texts) > 2:  # noqa: PLR2004 -- keyword, name, address
                self.result.agents.append(Agent(server.texts[2], server))


def _unreadable(problems: Iterable[Unreadable]) -> Iterator[Finding]:
    for problem in problems:
        yield Finding(problem.file, problem.number, "unreadable", problem.why)


def _asks_for_certificates(bind: Line) -> bool:
    words = bind.texts
    return "ssl" in words and _after(words, "verify") in {"required", "optional"}


def _after(words: Sequence[str], keyword: str) -> str:
    return "".join(words[words.index(keyword) + 1 :][:1]) if keyword in words else ""
