"""The examination as a whole: the shipped files are clean, and each way to break them has its finding."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from spoa.doctor.examination import Needs, examine
from spoa.doctor.findings import Severity
from spoa.haproxy_config import VERSIONS
from tests.doctor.variants import EDGE, ENGINE, FILTER, GUARD, VARIANTS, Variant, broken, examined
from tests.haproxy import CONFIGURATION


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
