"""A request without an allow, followed through rules."""

from __future__ import annotations

import pytest

from spoa.doctor.verdict import Passage, denies, follow, holds_when_found, judging_directives, verdict_tests
from spoa.haproxy_config.proxies import Proxy, read_proxies
from spoa.haproxy_config.reading import read_configuration

ALLOWED = "{ var(txn.authz.verdict) -m str allow }"


def proxy(*lines: str, mode: str = "http") -> Proxy:
    text = "\n    ".join([f"frontend f\n    mode {mode}", "acl allowed var(txn.authz.verdict) -m str allow", *lines])
    return read_proxies(read_configuration([("a.cfg", text)], version="3.2", environment={})).all[0]


def followed(*lines: str, mode: str = "http") -> Passage:
    one = proxy(*lines, mode=mode)
    return follow(one, one.rules(*judging_directives(one)))


@pytest.mark.parametrize(
    "rules",
    [
        [f"http-request deny unless {ALLOWED}"],
        ["http-request deny if !allowed"],
        ["http-request deny if { src 10.0.0.1 } or !allowed"],
        ["http-request tarpit unless allowed"],
        ["http-request return status 403 unless allowed"],
        ["http-request deny if !allowed TRUE"],
        ["http-request deny if !allowed !FALSE"],
        ["http-request redirect location /x if { path /y }", "http-request deny if !allowed"],
        ["http-request allow if allowed", "http-request deny"],
        ["http-request allow if FALSE", "http-request deny if !allowed"],
        ["http-request set-var(txn.authz.verdict) str(deny)", "http-request deny if !allowed"],
        ["http-request deny if !allowed", "http-request allow", "http-request set-var(txn.authz.verdict) str(allow)"],
    ],
)
def test_a_rule_that_denies_all_without_an_allow_is_a_guard(rules: list[str]) -> None:
    passage = followed(*rules)
    assert passage.guard is not None
    assert passage.findings == []
    assert passage.prefixes == {"authz"}


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ([], "no-verdict-rule"),
        (["http-request set-header a b if allowed"], "no-verdict-rule"),
        (["http-request return status 200 if !allowed"], "no-verdict-rule"),
        (["http-request return if !allowed"], "no-verdict-rule"),
        (["http-request deny if !allowed { path /x }"], "verdict-rule-conditional"),
        (["http-request deny unless allowed or { src 10.0.0.1 }"], "verdict-rule-conditional"),
        (["http-request deny if { var(txn.authz.verdict) -m str deny }"], "denies-only-deny"),
        (["http-request deny unless { var(txn.authz.verdict) -m found }"], "verdict-matched-loosely"),
        (["http-request deny unless { var(txn.authz.verdict) -m str allow deny }"], "verdict-matched-loosely"),
        (["http-request deny unless { var(txn.authz.verdict) -m sub allow }"], "verdict-matched-loosely"),
        (["http-request deny unless { var(txn.authz.verdict),lower -m str allow }"], "verdict-matched-loosely"),
        (["http-request deny unless { var(sess.authz.verdict) -m str allow }"], "verdict-scope"),
    ],
)
def test_without_a_guard_the_fault_is_named(rules: list[str], code: str) -> None:
    passage = followed(*rules)
    assert passage.guard is None
    assert {"no-verdict-rule", code} == {finding.code for finding in passage.findings}


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("http-request allow if { path /x }", "accepted-before-verdict"),
        ("http-request set-var(txn.authz.verdict) str(allow)", "verdict-overwritten"),
        ("http-request set-var-fmt(txn.authz.verdict,ifnotset) allow", "verdict-overwritten"),
        ("http-request use-service prometheus-exporter if { path /metrics }", "service-before-verdict"),
    ],
)
def test_what_happens_before_the_guard_is_named(rule: str, code: str) -> None:
    passage = followed(rule, "http-request deny if !allowed")
    assert passage.guard is not None
    assert [finding.code for finding in passage.findings] == [code]


def test_in_tcp_mode_connections_are_rejected() -> None:
    passage = followed("tcp-request content reject unless allowed", mode="tcp")
    assert passage.guard is not None
    accepted = followed(
        "tcp-request content accept if { src 10.0.0.1 }", "tcp-request content reject if !allowed", mode="tcp"
    )
    assert [finding.code for finding in accepted.findings] == ["accepted-before-verdict"]


def test_a_test_of_a_verdict_is_known_by_its_variable() -> None:
    rule = proxy(
        "http-request deny if { var(req.x.verdict) -m found } allowed { path /x } { var(txn.x) -m found }"
    ).own[0]
    assert [match["scope"] for *_, match in verdict_tests(rule.condition)] == ["req", "txn"]


def test_only_refusals_deny() -> None:
    rules = proxy(
        "http-request silent-drop", "http-request reject", "http-request return status 503", "http-request pause 1s"
    ).own
    assert [denies(rule) for rule in rules] == [True, True, True, False]


@pytest.mark.parametrize(
    ("condition", "can_hold"),
    [
        ("if { var(txn.r) -m found }", True),
        ("unless { var(txn.r) -m found }", False),
        ("unless { var(txn.s) -m found }", True),
        ("if { path /x } !{ var(txn.r) -m found } or { path /y }", True),
        ("", True),
    ],
)
def test_a_condition_is_looked_at_where_a_variable_is_set(condition: str, can_hold: bool) -> None:
    rule = proxy(f"use_backend b {condition}").own[0]
    assert holds_when_found(rule.condition, "txn.r") is can_hold
