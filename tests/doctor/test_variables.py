"""Who may change the variables of the agent's answer."""

from __future__ import annotations

import pytest

from spoa.doctor.variables import Variables, read_names, variable_findings
from spoa.haproxy_config.proxies import read_proxies
from spoa.haproxy_config.reading import read_configuration


def codes(*lines: str, defaults: str = "") -> list[str]:
    text = "\n    ".join([f"defaults\n    mode http\n    {defaults}\nfrontend f", *lines])
    (proxy,) = read_proxies(read_configuration([("a.cfg", text)], version="3.2", environment={})).all
    return [finding.code for finding in variable_findings(proxy, {"authz"})]


@pytest.mark.parametrize(
    "line",
    [
        "http-request set-var(txn.authz.path) req.hdr(x-p)",
        "http-request set-var(txn.authz.path,ifexists) str(/)",
        "http-request set-var-fmt(txn.authz.route) %[req.hdr(x-route)]",
        "http-request unset-var(txn.authz.path)",
        "http-request set-var(txn.authz.reason) req.hdr(x-r)",
        "http-request set-var-fmt(txn.authz.reason) %[req.hdr(x-r)]",
        "http-request unset-var(txn.authz.verdict)",
        "http-response set-var(txn.authz.identity) res.hdr(x)",
        "http-after-response set-var(txn.authz.identity) str(root)",
        "tcp-request session set-var(txn.authz.identity) src",
        "http-request set-header X-A %[req.hdr(x-p),set-var(txn.authz.path)]",
        "http-request set-var(txn.authz.reason) str(ok) if { req.hdr(x-p),set-var(txn.authz.path) -m found }",
        "acl sets req.hdr(x-p),set-var(txn.authz.path) -m found",
    ],
)
def test_a_line_that_changes_the_answer_is_found_here_and_in_defaults(line: str) -> None:
    assert codes(line) == ["variable-overwritten"]
    assert codes(defaults=line) == ["variable-overwritten"]


@pytest.mark.parametrize("directive", ["tcp-request content", "tcp-request session", "http-request", "http-response"])
def test_a_verdict_but_deny_is_the_agent_s_alone(directive: str) -> None:
    assert codes(f"{directive} set-var(txn.authz.verdict) str(allow)") == ["verdict-overwritten"]
    assert codes(f"{directive} set-var-fmt(txn.authz.verdict) %[req.hdr(x)]") == ["verdict-overwritten"]
    assert codes(f"{directive} set-var(txn.authz.verdict) str(deny),regsub(deny,allow)") == ["verdict-overwritten"]


@pytest.mark.parametrize(
    "line",
    [
        "http-request set-var(txn.authz.verdict) str(deny) if { path /x }",
        "http-request set-var-fmt(txn.authz.verdict) deny",
        "http-request set-var(txn.authz.reason) str(internal_error) unless { var(txn.authz.reason) -m found }",
        "http-request set-var(txn.authz.reason,ifnotset) str(internal_error)",
        "http-request set-var(txn.authz.status) int(404)",
        "http-request set-var(txn.other.path) path",
        "http-request set-var(req.authz.path) path",
        "http-request set-path %[var(txn.authz.path)]",
    ],
)
def test_refusals_their_looks_and_other_variables_are_anybody_s(line: str) -> None:
    assert codes(line) == []


def variables(*lines: str) -> Variables:
    text = "\n    ".join(["defaults", "http-request set-var(txn.d) var(txn.c)\nfrontend f", *lines])
    return Variables(*read_proxies(read_configuration([("a.cfg", text)], version="3.2", environment={})).all)


def test_what_a_sample_reads_of_variables_is_told_with_their_scope() -> None:
    assert read_names("%[var(txn.a.b),lower]-%[var( sess.c,x)]-%[str(d),concat(-,req.e,-)]") == {
        "txn.a.b",
        "sess.c",
        "req.e",
    }
    assert read_names("%[req.hdr(txn.a)] set-var(txn.b)") == frozenset()


@pytest.mark.parametrize(
    "line",
    [
        "http-request set-var(txn.c) src",
        "http-request set-var(txn.c,ifnotset) src if { path src }",
        "http-request set-var-fmt(txn.c) a-%[src]",
        "acl a src,set-var(txn.c) -m found",
        "http-request set-header A %[path]%[src,set-var(txn.c)]",
    ],
)
def test_what_variables_hold_is_followed_over_others_whatever_stands_first(line: str) -> None:
    found = variables("http-request set-var(txn.a) var(txn.b)", "http-request set-var(txn.b) var(txn.d)", line)
    assert found.names == {"txn.a", "txn.b", "txn.c", "txn.d"}
    assert found.holding(lambda text: "%[src" in text) == {"txn.a", "txn.b", "txn.c", "txn.d"}
    assert found.holding(lambda text: "path" in text) == frozenset()


def test_variables_of_one_another_hold_nothing_else() -> None:
    found = variables("http-request set-var(txn.c) var(txn.d)", "http-request set-var(req.c) path")
    assert found.holding(lambda text: "path" in text) == {"req.c"}
