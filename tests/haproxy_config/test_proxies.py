"""Frontends and backends with the defaults that hold for them."""

from __future__ import annotations

from spoa.haproxy_config.proxies import Proxies, Proxy, read_proxies
from spoa.haproxy_config.reading import read_configuration


def read(text: str) -> Proxies:
    return read_proxies(read_configuration([("a.cfg", text)], version="3.2", environment={}))


def named(found: Proxies, name: str) -> Proxy:
    return next(proxy for proxy in found.all if proxy.name == name)


TEXT = """\
defaults base
    mode http
    timeout client 5s
    option one
    option two
defaults rules from base
    acl common path /a
    http-request deny if common
defaults
    mode tcp
frontend f from rules
    acl own src 10.0.0.1
    acl own src 10.0.0.2
    no option one
    http-request deny deny_status 404 if own !common
    http-request set-var(txn.x) str(if) unless own
    tcp-request content reject if own
    use_backend %[var(txn.x)] if common
    use_backend b
    default_backend c
    block if own
    redirect scheme https if own
listen l
    bind :80
backend b from base
    timeout client 7s
    http-request deny
"""


def test_rules_of_the_named_defaults_come_first_and_those_of_their_parents_never() -> None:
    frontend = named(read(TEXT), "f")
    rules = frontend.rules("http-request")
    assert [(rule.action, rule.argument, rule.words) for rule in rules] == [
        ("deny", "", ()),
        ("deny", "", ("deny_status", "404")),
        ("set-var", "txn.x", ("str(if)",)),
        ("redirect", "", ("scheme", "https")),
    ]
    assert [rule.line.number for rule in rules] == [8, 15, 16, 22]
    assert [[str(one) for one in rule.condition.terms[0]] for rule in rules[:2]] == [["common"], ["own", "!common"]]
    assert len(rules[1].condition.terms[0][0].acl.tests) == 2


def test_other_directives_are_rules_as_well() -> None:
    frontend = named(read(TEXT), "f")
    assert [rule.action for rule in frontend.rules("tcp-request content")] == ["reject"]
    assert [rule.action for rule in frontend.rules("use_backend", "default_backend")] == ["%[var(txn.x)]", "b", "c"]
    assert [(rule.action, str(rule)) for rule in frontend.rules("block")] == [("deny", "block if own")]


def test_settings_come_from_the_nearest_section() -> None:
    found = read(TEXT)
    frontend, backend, both = (named(found, name) for name in ("f", "b", "l"))
    assert [proxy.mode for proxy in (frontend, backend, both)] == ["http", "http", "tcp"]
    assert [str(proxy.setting("timeout", "client")) for proxy in (frontend, backend)] == [
        "timeout client 5s",
        "timeout client 7s",
    ]
    assert both.setting("timeout") is None
    assert frontend.has_option("one") is None
    assert str(frontend.has_option("two")) == "option two"
    assert frontend.has_option("three") is None


def test_a_section_that_names_no_defaults_has_the_last_ones() -> None:
    assert [parent.name for parent in named(read(TEXT), "l").parents] == [""]
    assert named(read("frontend f\n bind :80\n"), "f").parents == ()
    assert named(read("frontend f\n bind :80\n"), "f").mode == "tcp"


def test_a_listen_section_is_both() -> None:
    found = read(TEXT)
    assert [proxy.name for proxy in found.frontends] == ["f", "l"]
    assert sorted(found.backends) == ["b", "l"]


def test_what_cannot_be_read_is_named_by_its_line_and_the_rest_is_read() -> None:
    found = read("frontend f from nowhere\n acl a )x\n http-request deny if {\n http-request\n use_backend b\n")
    assert [(problem.number, problem.why.split(";")[0]) for problem in found.problems] == [
        (1, "there is no defaults section nowhere"),
        (2, "')x' is no sample expression"),
        (3, "a { without its }"),
    ]
    assert [rule.action for rule in named(found, "f").own] == ["b"]
