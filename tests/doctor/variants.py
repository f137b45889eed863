"""Ways to break the shipped configuration of HAProxy, each with the finding that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.doctor.examination import Needs, examine
from tests.haproxy import CONFIGURATION

if TYPE_CHECKING:
    from pathlib import Path

    from spoa.doctor.examination import Examination

__all__ = ["EDGE", "ENGINE", "FILTER", "GUARD", "VARIANTS", "Variant", "broken", "examined"]

EDGE: Final = CONFIGURATION / "haproxy.cfg"
ENGINE: Final = CONFIGURATION / "spoe-authz.conf"
GUARD: Final = (
    '    http-request deny deny_status 403 content-type text/plain lf-string "%[var(txn.authz.reason)]\\n" '
    "unless authz_allowed\n"
)
DELETED: Final = (
    "    http-request del-header ^(x[-_.])?((true|cluster)[-_.])?(client|ssl|authz|real|remote)[-_.] -m reg\n"
)
OVERRIDES: Final = "    http-request del-header ^x[-_.](http[-_.])?(method|path) -m reg\n"
FILTER: Final = "    filter spoe engine authz config spoe-authz.conf\n"


def examined(
    edge: str, engine: str | None, *, version: str = "3.2", needs: Needs | None = None, **environment: str
) -> Examination:
    """Examine a configuration with one SPOE file."""

    def read(name: str, named_by: str) -> tuple[str, str] | None:
        assert named_by == "haproxy.cfg"
        return (name, engine) if engine is not None else None

    return examine([("haproxy.cfg", edge)], read, version=version, environment=environment, needs=needs)


class Variant(NamedTuple):
    """A way to break the shipped files: what is replaced in one of them, and the finding."""

    name: str
    file: Path
    old: str
    new: str
    code: str
    version: str = "3.2"


VARIANTS: Final = (
    Variant("the rule that denies is missing", EDGE, GUARD, "", "no-verdict-rule"),
    Variant(
        "the frontend is from the wrong defaults",
        EDGE,
        "frontend mtls_api from authz-enforced",
        "frontend mtls_api from authz-public",
        "no-verdict-rule",
    ),
    Variant(
        "only an explicit deny is denied",
        EDGE,
        GUARD,
        "    http-request deny if { var(txn.authz.verdict) -m str deny }\n",
        "denies-only-deny",
    ),
    Variant(
        "the rule covers some paths only",
        EDGE,
        GUARD,
        "    http-request deny if !authz_allowed { path_beg /api }\n",
        "verdict-rule-conditional",
    ),
    Variant(
        "any verdict will do",
        EDGE,
        "var(txn.authz.verdict) -m str allow",
        "var(txn.authz.verdict) -m found",
        "verdict-matched-loosely",
    ),
    Variant(
        "the inside needs no verdict",
        EDGE,
        "    acl authz_failed ",
        "    acl authz_allowed  src 10.0.0.0/8\n    acl authz_failed ",
        "verdict-rule-conditional",
    ),
    Variant(
        "the verdict is looked for in the session",
        EDGE,
        "var(txn.authz.verdict) -m str allow",
        "var(sess.authz.verdict) -m str allow",
        "verdict-scope",
    ),
    Variant(
        "a rule lets the health checks through before",
        EDGE,
        "    # Tests for an explicit allow",
        "    http-request allow if { path /health }\n    # Tests for an explicit allow",
        "accepted-before-verdict",
    ),
    Variant(
        "a rule makes up an allow",
        EDGE,
        "    # Tests for an explicit allow",
        "    http-request set-var(txn.authz.verdict) str(allow) if authz_failed\n    # Tests for an explicit allow",
        "verdict-overwritten",
    ),
    Variant("the frontend asks nobody", EDGE, FILTER, "", "no-filter"),
    Variant(
        "the engine has another name", EDGE, "engine authz config", "engine authorization config", "engine-missing"
    ),
    Variant("the prefix is another", ENGINE, "option var-prefix authz", "option var-prefix policy", "prefix-mismatch"),
    Variant("the prefix is left to the agent's name", ENGINE, "    option var-prefix authz\n", "", "prefix-mismatch"),
    Variant("the agent is asked behind the rules", ENGINE, "on-frontend-http", "on-backend-http", "event-wrong"),
    Variant("the message has another name", ENGINE, "spoe-message authorize", "spoe-message ask", "message-missing"),
    Variant("the certificate is not sent", ENGINE, "args cert=ssl_c_der ", "args ", "argument-missing"),
    Variant("resumption is not told", ENGINE, " resumed=ssl_fc_is_resumed", "", "resumption-not-sent"),
    Variant("the path is cut", ENGINE, " path=path ", " path=path,bytes(0,256) ", "argument-shortened"),
    Variant("the source is a header", ENGINE, " src=src ", " src=req.hdr_ip(x-forwarded-for) ", "argument-sample"),
    Variant("nothing ends the wait", ENGINE, "    timeout processing", "    # timeout", "timeout-missing"),
    Variant(
        "the wait is longer than the client's",
        ENGINE,
        'timeout processing "${AUTHZ_TIMEOUT_PROCESSING}"',
        "timeout processing 60s",
        "timeout-beyond-client",
    ),
    Variant("the wait is long", ENGINE, 'processing "${AUTHZ_TIMEOUT_PROCESSING}"', "processing 3000", "timeout-long"),
    Variant(
        "the wait is shorter than the agent's",
        ENGINE,
        'processing "${AUTHZ_TIMEOUT_PROCESSING}"',
        "processing 20ms",
        "timeout-below-deadline",
    ),
    Variant(
        "frames are small",
        ENGINE,
        "    messages authorize",
        "    max-frame-size 4096\n    messages authorize",
        "frame-budget",
    ),
    Variant(
        "frames are larger than buffers",
        ENGINE,
        "    messages authorize",
        "    max-frame-size 65532\n    messages authorize",
        "frame-too-large",
    ),
    Variant(
        "buffers are small", EDGE, "    default-path", "    tune.bufsize 8192\n    default-path", "buffer-too-small"
    ),
    Variant(
        "buffers are huge", EDGE, "    default-path", "    tune.bufsize 262144\n    default-path", "buffer-above-agent"
    ),
    Variant("any path is sent", ENGINE, " unless { path_len gt 8192 }", "", "path-unbounded"),
    Variant(
        "some requests are not asked about",
        ENGINE,
        "unless { path_len gt 8192 }",
        "if { method POST }",
        "event-conditional",
    ),
    Variant(
        "some requests are not asked about, beside paths that are too long",
        ENGINE,
        "unless { path_len gt 8192 }",
        "if METH_POST !{ path_len gt 8192 }",
        "event-conditional",
    ),
    Variant(
        "only long paths are asked about",
        ENGINE,
        "unless { path_len gt 8192 }",
        "if { path_len gt 8192 }",
        "event-conditional",
    ),
    Variant(
        "one address of two asks for a certificate",
        EDGE,
        "    filter spoe engine authz config",
        "    bind :8444 ssl crt s.pem verify none\n    filter spoe engine authz config",
        "no-client-certificate",
    ),
    Variant("clients may take their time", EDGE, "    timeout http-request 10s\n", "", "slow-requests"),
    Variant("clients may take any time", EDGE, "timeout http-request 10s", "timeout http-request 0", "slow-requests"),
    Variant("errors leave no trace", ENGINE, "    option set-on-error error\n", "", "no-error-variable"),
    Variant("large requests fail others", ENGINE, "    no option send-frag-payload\n", "", "fragments-on", "3.0"),
    Variant("answers come on any connection", ENGINE, "    no option async\n", "", "async-on", "2.8"),
    Variant(
        "asking stops silently",
        ENGINE,
        "    messages authorize",
        "    maxerrrate 5\n    messages authorize",
        "events-skipped",
        "2.6",
    ),
    Variant("client headers get through", EDGE, DELETED, "", "spoofable-header"),
    Variant("override headers get through", EDGE, OVERRIDES, "", "override-header-passes"),
    Variant(
        "an upgrade gets through", EDGE, "    http-request del-header HTTP2-Settings\n", "", "override-header-passes"
    ),
    Variant(
        "a header is added to the client's",
        EDGE,
        "    http-request set-header X-Client-CN",
        "    http-request add-header Who %[ssl_c_s_dn(cn)]\n    http-request set-header X-Client-CN",
        "spoofable-header",
    ),
    Variant(
        "the path is rewritten",
        EDGE,
        "    http-request set-header X-Client-CN",
        "    http-request replace-path /v1/(.*) /\\1\n    http-request set-header X-Client-CN",
        "rewritten-after-verdict",
    ),
    Variant(
        "a backend rewrites the path",
        EDGE,
        "    server api1",
        "    http-request replace-path /v1/(.*) /\\1\n    server api1",
        "rewritten-in-backend",
    ),
    Variant(
        "an unknown route is served",
        EDGE,
        "default_backend authz-denied",
        "default_backend admin_api",
        "route-falls-through",
    ),
    Variant(
        "an unknown route is served by a condition",
        EDGE,
        "use_backend internal_api unless { var(txn.authz.route) -m found }",
        "use_backend internal_api",
        "route-falls-through",
    ),
    Variant(
        "a public frontend leads behind the agent",
        EDGE,
        "    default_backend public_web",
        "    use_backend internal_api if { path_beg /v2 }\n    default_backend public_web",
        "backend-unjudged",
    ),
    Variant(
        "odd requests are let in",
        EDGE,
        '    bind "${AUTHZ_BIND_MTLS}"',
        '    option accept-invalid-http-request\n    bind "${AUTHZ_BIND_MTLS}"',
        "lenient-parsing",
    ),
    Variant("no certificate is asked for", EDGE, 'verify "${AUTHZ_VERIFY}"', "verify none", "no-client-certificate"),
    Variant("there are no agents", ENGINE, "use-backend authz-agents", "use-backend agents", "agents-missing"),
    Variant("agents are none", EDGE, '    server agent1 "${AUTHZ_AGENT}"\n', "", "agents-missing"),
    Variant("agents are asked in HTTP", EDGE, "    mode spop", "    mode http", "agents-mode"),
    Variant("old engines don't know the mode", EDGE, "    mode tcp", "    mode spop", "agents-mode", "2.8"),
    Variant("agents get a connection for each request", EDGE, "    mode spop", "    mode tcp", "agents-reconnect"),
    Variant("agents are not checked", EDGE, "    option spop-check\n", "", "agents-unchecked"),
    Variant("agents are bounded", EDGE, '"${AUTHZ_AGENT}"', '"${AUTHZ_AGENT}" maxconn 10', "agents-maxconn"),
    Variant(
        "anybody may be the agent", EDGE, '"${AUTHZ_AGENT}"', '"${AUTHZ_AGENT}" ssl verify none', "agents-unverified"
    ),
    Variant(
        "any server of the CA may be the agent",
        EDGE,
        '"${AUTHZ_AGENT}"',
        '"${AUTHZ_AGENT}" ssl verify required ca-file /ca.pem',
        "agents-nameless",
    ),
    Variant(
        "metrics are served to all",
        EDGE,
        "    # Tests for",
        "    http-request use-service lua.x\n    # Tests for",
        "service-before-verdict",
    ),
    Variant(
        "the client names the path that the server gets",
        EDGE,
        "    http-request set-path",
        "    http-request set-var(txn.authz.path) req.hdr(x-p) if { req.hdr(x-p) -m found }\n    http-request set-path",
        "variable-overwritten",
    ),
    Variant(
        "a backend's rule sets the identity",
        EDGE,
        "    server api1",
        "    http-request set-var(txn.authz.identity) req.hdr(x-who)\n    server api1",
        "variable-overwritten",
    ),
    Variant(
        "the verdict stands before the agent is asked",
        EDGE,
        FILTER,
        f"{FILTER}    tcp-request content set-var(txn.authz.verdict) str(allow)\n",
        "verdict-overwritten",
    ),
    Variant(
        "a request's header names the backend",
        EDGE,
        "    use_backend %[var",
        "    use_backend %[req.hdr(x-route)] if { req.hdr(x-route) -m found }\n    use_backend %[var",
        "route-from-client",
    ),
    Variant(
        "a map of hosts names the backend",
        EDGE,
        "    use_backend %[var",
        "    use_backend %[hdr(host),map(hosts.map)] if { path /x }\n    use_backend %[var",
        "route-not-judged",
    ),
    Variant(
        "a request's header says who the client is",
        EDGE,
        "X-Client-CN %[ssl_c_s_dn(cn)]",
        "X-Client-CN %[req.hdr(x-cn)]",
        "identity-from-client",
    ),
    Variant(
        "a backend replaces who the client is",
        EDGE,
        "    server api1",
        "    http-request replace-header X-Client-Identity .* %[req.hdr(x-cn)]\n    server api1",
        "identity-from-client",
    ),
    Variant("the reserved routes are open", EDGE, " if authz_route_reserved", " if FALSE", "route-unguarded"),
    Variant("routes are reserved by name only", EDGE, "-m beg '#'", "-m beg 'x'", "route-unguarded"),
    Variant("an ACL is missing", EDGE, "    acl authz_too_long path_len gt 8192\n", "", "unreadable"),
    Variant(
        "a frontend of its own leads to a backend that a route may name",
        EDGE,
        "backend partner_api",
        "frontend back from authz-exempt\n    bind :9\n    default_backend partner_api\n\nbackend partner_api",
        "backend-perhaps-unjudged",
    ),
    Variant("a quote is open", EDGE, "frontend mtls_api", 'frontend "mtls_api', "unreadable"),
    Variant("the defaults are missing", EDGE, "\ndefaults authz-exempt\n", "\ndefaults other\n", "unreadable"),
    Variant(
        "a line is continued",
        EDGE,
        '    bind "${AUTHZ_BIND_MTLS}" ',
        '    bind "${AUTHZ_BIND_MTLS}" \\\n',
        "line-joined",
    ),
)


def broken(variant: Variant) -> Examination:
    texts = {file: file.read_text() for file in (EDGE, ENGINE)}
    assert variant.old in texts[variant.file], variant.name
    texts[variant.file] = texts[variant.file].replace(variant.old, variant.new)
    return examined(texts[EDGE], texts[ENGINE], version=variant.version)
