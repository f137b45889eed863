"""What gets through to servers beside what was judged."""

from __future__ import annotations

import pytest

from spoa.doctor.passthrough import (
    header_findings,
    identity_findings,
    leniency_findings,
    rewrite_findings,
    route_findings,
    serves,
    switches_of,
    told_headers,
)
from spoa.doctor.variables import Variables
from spoa.haproxy_config.proxies import Proxies, read_proxies
from spoa.haproxy_config.reading import read_configuration

CLEAN = (
    "http-request del-header ^x[-_.](http[-_.])?(method|path) -m reg",
    "http-request del-header ^x[-_.](original|rewrite|override) -m reg",
    "http-request del-header Upgrade if { req.hdr(upgrade),lower -m sub h2c }",
    "http-request del-header http2-settings",
    "http-request del-header ^(x[-_.])?(client|ssl|real|remote)[-_.] -m reg",
    "http-request del-header ^(x[-_.])?forwarded -m reg",
)


def read(*lines: str) -> Proxies:
    text = "\n    ".join(["frontend f", "mode http", *lines])
    return read_proxies(read_configuration([("a.cfg", text)], version="3.2", environment={}))


def codes(*lines: str) -> list[str]:
    return [finding.code for finding in header_findings(read(*lines).all[0])]


def test_families_that_are_deleted_do_not_get_through() -> None:
    assert codes(*CLEAN) == []
    assert codes() == ["override-header-passes", "client-header-passes"]
    assert codes(*CLEAN[:-1]) == ["client-header-passes"]


@pytest.mark.parametrize(
    ("deletion", "is_enough"),
    [
        ("^x[-_.]who -m reg", True),
        ("^x-who -m reg", False),
        ("x -m beg", True),
        ("who -m end", True),
        ("who -m sub", True),
        ("X-Who", False),
        ("( -m reg", False),
        ("x-who -m str", False),
    ],
)
def test_a_header_must_be_deleted_in_each_of_its_spellings(deletion: str, is_enough: bool) -> None:
    added = "http-request add-header X-Who %[ssl_c_s_dn(cn)]"
    found = codes(*CLEAN, f"http-request del-header {deletion}", added)
    assert found == ([] if is_enough else ["spoofable-header"])
    assert codes(*CLEAN, added, f"http-request del-header {deletion}") == ["spoofable-header"]


def test_a_header_that_is_set_for_some_requests_only_is_the_clients_for_others() -> None:
    deleted = "http-request del-header X_Who"
    dotted = "http-request del-header x.who -m str"
    always = "http-request set-header X-Who %[var(txn.authz.identity)]"
    assert codes(*CLEAN, deleted, dotted, always) == []
    assert codes(*CLEAN, deleted, dotted, f"{always} if {{ path /x }}") == ["spoofable-header"]
    assert codes(*CLEAN, f"{deleted} if {{ path /x }}", dotted, always) == ["spoofable-header"]


def test_headers_that_tell_nothing_of_the_client_are_nobodys_business() -> None:
    assert codes(*CLEAN, "http-request add-header X-Frontend a") == []


def test_long_names_are_looked_at_with_underscores() -> None:
    added = "http-request add-header A-B-C-D-E %[src]"
    assert codes(*CLEAN, "http-request del-header ^a[-_]b[-_]c[-_]d[-_]e$ -m reg", added) == []
    assert codes(*CLEAN, "http-request del-header A-B-C-D-E", added) == ["spoofable-header"]


def test_rewrites_are_named_where_they_stand() -> None:
    found = read(
        "http-request set-path %[var(txn.authz.path)] if { var(txn.authz.path) -m found }",
        "http-request set-method GET",
        "use_backend b",
        "\nbackend b",
        "http-request set-uri /x",
    )
    findings = list(rewrite_findings(found.all[0], [found.all[1]], is_normalised=True))
    assert [(finding.code, finding.line) for finding in findings] == [
        ("rewritten-after-verdict", 4),
        ("rewritten-in-backend", 8),
    ]
    plain = read().all[0]
    assert [one.code for one in rewrite_findings(plain, [], is_normalised=True)] == ["normalised-path-ignored"]
    assert list(rewrite_findings(plain, [], is_normalised=False)) == []


@pytest.mark.parametrize("option", ["accept-invalid-http-request", "accept-unsafe-violations-in-http-request"])
def test_lenient_options_are_named(option: str) -> None:
    assert [one.code for one in leniency_findings(read(f"option {option}").all[0])] == ["lenient-parsing"]
    assert list(leniency_findings(read(f"no option {option}").all[0])) == []


ROUTE = "use_backend %[var(txn.authz.route)] if { var(txn.authz.route) -m found }"
GUARD = "http-request deny if { var(txn.authz.route) -m str agents } or { var(txn.authz.route) -m beg \\# }"
SERVER = ("\nbackend b", "server s 127.0.0.1:1")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((GUARD, ROUTE), []),
        ((ROUTE,), ["route-unguarded"]),
        (("http-request deny if { var(txn.authz.route) -m str agents }", ROUTE), ["route-unguarded"]),
        (("http-request deny if { var(txn.authz.route) -m beg \\# }", ROUTE), ["route-unguarded"]),
        (("http-request deny unless { var(txn.authz.route) -m str a b }", ROUTE), []),
        ((GUARD, ROUTE, "default_backend b", *SERVER), ["route-falls-through"]),
        ((GUARD, ROUTE, "use_backend b if { path /x }", *SERVER), ["route-falls-through"]),
        ((GUARD, ROUTE, "use_backend b unless { var(txn.authz.route) -m found }", *SERVER), []),
        ((GUARD, ROUTE, "use_backend %[path]"), ["route-falls-through", "route-from-client"]),
        ((GUARD, ROUTE, "default_backend b", *SERVER, "http-request deny"), []),
        ((GUARD, ROUTE, "default_backend b", "\nbackend b"), []),
        (("default_backend b", *SERVER), []),
    ],
)
def test_routes_must_end_where_the_policy_says(lines: tuple[str, ...], expected: list[str]) -> None:
    found = read(*lines)
    assert [one.code for one in route_findings(found.all[0], found.backends)] == expected


def test_a_backend_serves_where_it_has_servers_and_does_not_deny_everything() -> None:
    found = read(
        *SERVER, "\nbackend c", "server-template s 1 a:1", "http-request deny if FALSE", "\nbackend d", "mode http"
    )
    assert [serves(proxy) for proxy in found.all[1:]] == [True, True, False]


def test_the_default_backend_is_the_nearest() -> None:
    text = "defaults\n    default_backend a\nfrontend f\n    default_backend b\n    default_backend c\nfrontend g\n"
    found = read_proxies(read_configuration([("a.cfg", text)], version="3.2", environment={}))
    assert [[rule.action for rule in switches_of(one)] for one in found.all] == [["c"], ["a"]]


@pytest.mark.parametrize(
    ("rule", "is_found"),
    [
        ("set-header X-Client-CN %[req.hdr(x-cn)]", True),
        ("add-header x_client_cn %[hdr(x-cn,1),lower]", True),
        ("set-header X-Client-Serial cn=%[req.cook(serial)]", True),
        ("set-header X-Who %[req.fhdr(x-w)]", True),
        ("replace-value X-Who .* %[url_param(who)]", True),
        ("set-header X-Who %[capture.req.hdr(0)]", True),
        ("set-header X-Client-CN %[ssl_c_s_dn(cn)]", False),
        ("set-header X-Client-Unit %[req.hdr(x-client-dn),field(2,/)]", False),
        ("replace-header X-Client-CN ^(.*)$ cn=\\\\1", False),
        ("set-header X-Forwarded-Host %[req.hdr(host)]", False),
        ("set-header X-Tenant %[req.hdr(x-org)]", False),
        ("set-path %[req.hdr(x-p)]", False),
    ],
)
def test_who_the_client_is_is_not_for_the_client_to_say(rule: str, is_found: bool) -> None:
    told = told_headers(read("http-request set-header X-Who %[var(txn.authz.identity)]").all[0])
    assert told == ["X-Who"]
    assert identities(f"http-request {rule}", told=told) == (["identity-from-client"] if is_found else [])


def identities(*lines: str, told: list[str] | None = None) -> list[str]:
    proxy = read(*lines).all[0]
    found = identity_findings(proxy, told_headers(proxy) if told is None else told, Variables(proxy))
    return [finding.code for finding in found]


KEPT = ("http-request set-var(txn.a) req.hdr(x-w)", "http-request set-var(txn.b) var(txn.a),lower if { path /x }")


@pytest.mark.parametrize(
    ("lines", "is_found"),
    [
        ((KEPT[0], "http-request set-header X-Client-CN %[var(txn.a)]"), True),
        ((*KEPT, "http-request set-header X-Client-CN cn=%[var(txn.b)]"), True),
        (
            (*KEPT, "http-request set-var-fmt(txn.c) %[src]-%[var(txn.b)]", "http-request set-header Y %[var(txn.c)]"),
            True,
        ),
        ((*KEPT, "http-request set-header X-Tenant %[var(txn.b)]"), False),
        ((KEPT[1], "http-request set-header X-Client-CN %[var(txn.b)]"), False),
        (("http-request set-var(txn.b) ssl_c_s_dn(cn)", "http-request set-header X-Client-CN %[var(txn.b)]"), False),
    ],
)
def test_nor_over_variables_however_many(lines: tuple[str, ...], is_found: bool) -> None:
    assert identities(*lines) == (["identity-from-client"] if is_found else [])


def test_a_header_tells_of_the_client_over_variables_too_and_not_by_those_that_tell_nothing_of_it() -> None:
    known = ("http-request set-var(txn.d) ssl_c_s_dn(cn)", "http-request set-var(txn.e) var(txn.d)")
    agents = ("http-request set-var(txn.f) var(txn.authz.identity)", "http-request set-header X-Agent %[var(txn.f)]")
    headers = ("http-request set-header X-Cn %[var(txn.e)]", "http-request set-header X-Tenant %[var(txn.b)]")
    assert told_headers(read(*KEPT, *known, *headers, *agents).all[0]) == ["X-Cn", "X-Agent"]


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("%[req.hdr(x-route)]", ["route-from-client"]),
        ("%[path,field(2,/)]", ["route-from-client"]),
        ("b_%[ssl_fc_sni]", ["route-from-client"]),
        ("%[ssl_c_s_dn(ou)]_%[path,field(2,/)]", ["route-from-client"]),
        ("%[hdr(host),lower,map(hosts.map,b)]", ["route-not-judged"]),
        ("%[path,map_beg(paths.map)]", ["route-not-judged"]),
        ("%[var(txn.mine)]", ["route-not-judged"]),
        ("%[ssl_c_s_dn(cn),map(cns.map)]", []),
        ("%[src,map_ip(nets.map)]", []),
        ("b", []),
    ],
)
def test_the_policy_and_not_the_client_chooses_the_backend(target: str, found: list[str]) -> None:
    assert switched(f"use_backend {target}") == found


def switched(*lines: str) -> list[str]:
    proxies = read(*lines, "backend b", "server s 127.0.0.1:1")
    return [one.code for one in route_findings(proxies.frontends[0], proxies.backends)]


@pytest.mark.parametrize(
    ("first", "target", "found"),
    [
        ("http-request set-var(txn.a) req.hdr(x-route)", "%[var(txn.a)]", "route-from-client"),
        ("http-request set-var(txn.a) req.hdr(x-route)", "%[var(txn.b)]", "route-from-client"),
        ("http-request set-var-fmt(txn.a) b-%[path,field(2,/)]", "%[var(txn.b),lower]", "route-from-client"),
        ("tcp-request content set-var(txn.a) ssl_fc_sni", "be-%[var(txn.b)]", "route-from-client"),
        ("http-request set-header X-A %[req.hdr(x),set-var(txn.a)]", "%[var(txn.b)]", "route-from-client"),
        ("http-request set-var(txn.a) req.hdr(x-route)", "%[var(txn.b),map(hosts.map)]", "route-not-judged"),
        ("http-request set-var(txn.a) hdr(host),map(hosts.map)", "%[var(txn.b)]", "route-not-judged"),
        ("http-request set-var(txn.a) ssl_c_s_dn(ou)", "%[var(txn.b)]", "route-not-judged"),
        ("http-request set-var(txn.a) str(one)", "%[var(txn.b)]", "route-not-judged"),
        ("http-request set-var(txn.c) req.hdr(x-route)", "%[var(txn.b)]", "route-not-judged"),
    ],
)
def test_nor_does_the_client_over_variables(first: str, target: str, found: str) -> None:
    assert switched(first, "http-request set-var(txn.b) var(txn.a) unless FALSE", f"use_backend {target}") == [found]
