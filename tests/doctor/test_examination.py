"""The examination as a whole: the shipped files are clean, and each way to break them has its finding."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from spoa.doctor.examination import Needs, examine
from spoa.doctor.findings import Severity
from spoa.haproxy_config import VERSIONS
from tests.haproxy import CONFIGURATION

if TYPE_CHECKING:
    from spoa.doctor.examination import Examination

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


@pytest.mark.parametrize("version", VERSIONS)
def test_the_shipped_configuration_is_clean(version: str) -> None:
    examination = examined(EDGE.read_text(), ENGINE.read_text(), version=version)
    assert (examination.findings, examination.frontends) == ([], ["mtls_api"])
    assert [agent.address for agent in examination.agents] == ["127.0.0.1:9123"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(path.name for path in (CONFIGURATION / "examples").glob("*.cfg")))
def test_the_shipped_examples_are_clean(name: str, version: str) -> None:
    files = [CONFIGURATION / "authz.cfg", CONFIGURATION / "examples" / name]

    def read(file: str, named_by: str) -> tuple[str, str]:
        path = Path(named_by).parent / file
        return str(path), path.read_text()

    texts = [(str(file), file.read_text()) for file in files]
    examination = examine(texts, read, version=version, environment={})
    assert examination.findings == []
    assert len(examination.frontends) == 1


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_each_way_to_break_it_is_named(variant: Variant) -> None:
    assert variant.code in {finding.code for finding in broken(variant).findings}


@pytest.mark.parametrize(
    ("settings", "default", "words", "code"),
    [
        ("", "", "ssl verify required verifyhost a ca-file /ca.pem crt /c.pem", None),
        ("", "ssl verify required verifyhost a ca-file /ca.pem", "", None),
        ("", "ssl verify none", "verify required verifyhost a", None),
        ("", "", "ssl sni str(a) ca-file /ca.pem", None),
        ("", "", "verify none", None),
        ("", "ssl verify none", "", "agents-unverified"),
        ("", "ssl verify required verifyhost a", "verify none", "agents-unverified"),
        ("ssl-server-verify none", "", "ssl verifyhost a", "agents-unverified"),
        ("ssl-server-verify required", "", "ssl verifyhost a", None),
        ("ssl-server-verify none", "", "ssl verify required verifyhost a", None),
    ],
)
def test_an_agent_is_believed_by_its_certificate(settings: str, default: str, words: str, code: str | None) -> None:
    text = EDGE.read_text().replace('"${AUTHZ_AGENT}"', f'"${{AUTHZ_AGENT}}" {words}')
    text = text.replace("rise 1\n", f"rise 1 {default}\n").replace("global\n", f"global\n    {settings}\n", 1)
    codes = {one.code for one in examined(text, ENGINE.read_text()).findings}
    assert codes & {"agents-unverified", "agents-nameless"} == ({code} if code else set())


def test_a_finding_says_where_it_stands() -> None:
    variant = next(one for one in VARIANTS if one.code == "accepted-before-verdict")
    (finding,) = broken(variant).findings
    lines = EDGE.read_text().replace(variant.old, variant.new).splitlines()
    assert lines[finding.line - 1] == "    http-request allow if { path /health }"
    assert str(finding).startswith(f"haproxy.cfg:{finding.line}: open accepted-before-verdict: mtls_api: ")


def test_a_configuration_without_an_agent_is_open() -> None:
    text = "defaults\n mode http\nfrontend f\n bind :80\n default_backend b\nbackend b\n server s 127.0.0.1:1\n"
    assert [finding.code for finding in examined(text, None).findings] == ["nobody-asks"]


def test_a_frontend_that_takes_certificates_must_ask() -> None:
    text = """\
defaults
    mode http
frontend f
    bind :443 ssl crt s.pem ca-file ca.pem verify required
    default_backend b
backend b
    server s 127.0.0.1:1
"""
    assert "no-verdict-rule" in {finding.code for finding in examined(text, None).findings}


def test_a_backend_that_denies_by_itself_closes_the_way() -> None:
    rule = "    http-request deny unless { var(txn.authz.verdict) -m str allow }\n"
    edge = EDGE.read_text().replace(GUARD, "").replace("backend internal_api from authz-exempt\n", "@")
    edge = edge.replace("@", f"backend internal_api from authz-exempt\n{rule}")
    assert [finding.code for finding in examined(edge, ENGINE.read_text()).findings] == []
    # The policy may name another one, which doesn't deny.
    needs = Needs(routes=("internal_api", "admin_api"))
    found = examined(edge, ENGINE.read_text(), needs=needs).findings
    assert {finding.code for finding in found} == {"no-verdict-rule", "verdict-rule-conditional"}


def test_a_listen_section_is_its_own_backend() -> None:
    text = f"""\
defaults
    mode tcp
    timeout client 5s
listen both
    bind :443 ssl crt s.pem ca-file ca.pem verify required
{FILTER}    server s 127.0.0.1:1
    tcp-request content reject if FALSE
backend authz-agents
    mode spop
    option spop-check
    server a 127.0.0.1:9123 check
"""
    engine = (CONFIGURATION / "spoe-authz-tcp.conf").read_text().replace('"${AUTHZ_TIMEOUT_PROCESSING}"', "100ms")
    assert [finding.code for finding in examined(text, engine).findings] == ["no-verdict-rule"]
    guarded = text.replace("if FALSE", "unless { var(txn.authz.verdict) -m str allow }")
    assert examined(guarded, engine).findings == []


def test_what_the_policy_reads_must_be_sent() -> None:
    engine = re.sub(" (host|sni)=[^ ]+", "", ENGINE.read_text())
    needs = Needs(frozenset({"host", "hdr.x-tenant", "hdrcnt.x-tenant", "path"}))
    (finding,) = examined(EDGE.read_text(), engine, needs=needs).findings
    assert finding.code == "argument-not-sent"
    assert finding.message == "the policy reads hdr.x-tenant, hdrcnt.x-tenant, host, sni"


def test_routes_of_the_policy_are_backends_here() -> None:
    edge, engine = EDGE.read_text(), ENGINE.read_text()
    assert examined(edge, engine, needs=Needs(routes=("internal_api", "admin_api"))).findings == []
    (finding,) = examined(edge, engine, needs=Needs(routes=("internal_api", "away", "gone"))).findings
    assert (finding.code, finding.kind.severity) == ("route-missing", Severity.WARNING)
    assert finding.message == "mtls_api: the policy's routes name away, gone, and no backend has that name"
    unrouted = re.sub(r"    use_backend %.*\n", "", edge)
    assert examined(unrouted, engine, needs=Needs(routes=("gone",))).findings == []


def test_a_header_is_sent_by_the_sample_that_takes_it_whole() -> None:
    sent = ENGINE.read_text().replace(" id=unique-id", " hdr.a=req.fhdr(a) hdrcnt.a=req.fhdr_cnt(a) id=unique-id")
    assert examined(EDGE.read_text(), sent).findings == []
    (finding,) = examined(EDGE.read_text(), sent.replace("req.fhdr(a)", "req.hdr(a)")).findings
    assert finding.code == "argument-sample"


def test_a_normalised_path_must_be_applied() -> None:
    needs = Needs(is_normalised=True)
    assert examined(EDGE.read_text(), ENGINE.read_text(), needs=needs).findings == []
    edge = re.sub(r"    http-request set-path .*\n", "", EDGE.read_text())
    assert [one.code for one in examined(edge, ENGINE.read_text(), needs=needs).findings] == ["normalised-path-ignored"]
    assert examined(edge, ENGINE.read_text()).findings == []


def test_an_engine_that_asks_again_is_examined_too_and_what_both_lack_is_said_once() -> None:
    edge, engine = EDGE.read_text(), ENGINE.read_text()
    assert examined(edge, engine, AUTHZ_SPOE="/etc/haproxy/spoe-authz.conf").findings == []
    both = examined(edge, engine.replace(" cert=ssl_c_der", ""), AUTHZ_SPOE="/etc/haproxy/spoe-authz.conf")
    assert [finding.code for finding in both.findings] == ["argument-missing"]
    first, _, second = engine.rpartition(" cert=ssl_c_der")
    other = examined(edge, f"{first} cert=req.hdr(x){second}", AUTHZ_SPOE="/etc/haproxy/spoe-authz.conf")
    assert [finding.code for finding in other.findings] == ["argument-sample"]
    assert examined(edge, f"{first} cert=req.hdr(x){second}").findings == []


AGAIN: Final = "if { var(txn.authz.error) -m int 2 256:258 } !{ path_len gt 8192 }"


@pytest.mark.parametrize(
    "condition",
    ["unless { path_len gt 8192 }", "if { var(txn.other.error) -m found }", "if !{ var(txn.authz.error) -m found }"],
)
def test_an_engine_that_asks_again_without_need_is_a_warning(condition: str) -> None:
    engine = ENGINE.read_text().replace(AGAIN, condition)
    found = examined(EDGE.read_text(), engine, AUTHZ_SPOE="/etc/haproxy/spoe-authz.conf").findings
    assert "asked-twice" in {finding.code for finding in found}
    assert {finding.kind.severity for finding in found} == {Severity.WARNING}
    assert examined(EDGE.read_text(), engine).findings == []


def test_an_engine_for_what_was_lost_that_stands_first_is_asked_nothing() -> None:
    first, again = (
        "    filter spoe engine authz config spoe-authz.conf\n",
        "    filter spoe engine authz-again config x\n",
    )
    edge = EDGE.read_text().replace(first, again + first)
    assert [one.code for one in examined(edge, ENGINE.read_text()).findings] == ["event-conditional"]


@pytest.mark.parametrize("is_guarded", [True, False])
def test_what_nobody_is_asked_about_is_an_error_where_no_rule_denies_it(is_guarded: bool) -> None:
    edge = EDGE.read_text().replace('verify "${AUTHZ_VERIFY}"', "verify none")
    edge = edge if is_guarded else edge.replace(GUARD, "")
    engine = ENGINE.read_text().replace("unless { path_len gt 8192 }", "if METH_POST !{ path_len gt 8192 }")
    kinds = {one.code: one.kind.severity for one in examined(edge, engine).findings}
    expected = (
        {"no-client-certificate": Severity.WARNING, "event-conditional": Severity.WARNING}
        if is_guarded
        else {
            "certificate-not-asked": Severity.OPEN,
            "event-leaves-out": Severity.OPEN,
            "no-verdict-rule": Severity.OPEN,
        }
    )
    assert expected.items() <= kinds.items()


def test_a_frontend_without_an_address_asks_for_no_certificate() -> None:
    edge = re.sub(r'    bind "\$\{AUTHZ_BIND_MTLS\}".*\n', "", EDGE.read_text())
    (finding,) = examined(edge, ENGINE.read_text()).findings
    assert (finding.code, edge.splitlines()[finding.line - 1]) == (
        "no-client-certificate",
        "frontend mtls_api from authz-enforced",
    )


def test_without_certificates_a_policy_that_wants_them_lets_nobody_in() -> None:
    edge, engine = EDGE.read_text().replace('verify "${AUTHZ_VERIFY}"', "verify none"), ENGINE.read_text()
    (strict,) = examined(edge, engine, needs=Needs()).findings
    assert (strict.code, strict.kind.severity) == ("nobody-gets-in", Severity.BROKEN)
    (open_to_all,) = examined(edge, engine, needs=Needs(allows_anonymous=True)).findings
    assert (open_to_all.code, open_to_all.message) == (
        "no-client-certificate",
        "mtls_api asks for no certificate at :8443",
    )
    mixed = edge.replace(FILTER, f"    bind :8444 ssl crt s.pem ca-file c.pem verify required\n{FILTER}")
    assert [one.code for one in examined(mixed, engine, needs=Needs()).findings] == ["no-client-certificate"]


def test_the_environment_is_that_of_haproxy() -> None:
    edge, engine = EDGE.read_text(), ENGINE.read_text()
    late = examined(edge, engine, AUTHZ_TIMEOUT_PROCESSING="2s")
    assert [finding.code for finding in late.findings] == ["timeout-long"]
    assert examined(edge, engine, AUTHZ_AGENT="unix@/run/a.sock").agents[0].address == "unix@/run/a.sock"


def test_a_spoe_file_that_cannot_be_read_is_a_finding() -> None:
    (finding,) = examined(EDGE.read_text(), None).findings
    assert (finding.code, finding.kind.severity) == ("engine-missing", Severity.BROKEN)


def test_what_is_wrong_in_the_spoe_file_is_named_there() -> None:
    found = examined(EDGE.read_text(), ENGINE.read_text().replace("option set-on-error", 'option "set-on-error'))
    assert ("spoe-authz.conf", "unreadable") in {(finding.file, finding.code) for finding in found.findings}
