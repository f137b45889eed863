from __future__ import annotations

import pytest

from spoa.lint.looks import lint_looks
from spoa.lint.places import places_of
from spoa.policy.reading import Report
from tests.policies import HEAD, model


def found(rules: str) -> list[tuple[str, str]]:
    text = HEAD + rules
    report = Report()
    lint_looks(model(text), places_of({"0.yaml": text.encode()}), report)
    return [(one.code, one.message) for one in report.problems]


def of_regex(source: str) -> list[str]:
    who = f"{{issuer: corp, cn: {{re: '{source}'}}}}"
    return [code for code, _ in found(f"rules: [{{id: a, effect: allow, who: {who}}}]")]


@pytest.mark.parametrize(
    "source",
    [
        "api.example",
        "10.0.0.1",
        "v1.[0-9]",
        r"v\d.\d",
        "[a-z]+.example",
        "batch-*",
        "/api/*",
        "^(a|b).c$",
        "a{2}.b",
        ".com",
    ],
)
def test_dots_and_stars_that_look_unescaped_are_reported(source: str) -> None:
    assert of_regex(source) == ["unescaped-regex"]


@pytest.mark.parametrize(
    "source",
    [
        r"api\.example",
        ".+",
        "a.*",
        "(a|b)*",
        "[ab]*",
        r"\d+",
        "a.{1}b",
        "[.]y?z+",
        "a|b",
        "x[^.]y",
        r"\.\*",
    ],
)
def test_expressions_beyond_doubt_are_not(source: str) -> None:
    assert of_regex(source) == []


def test_an_expression_without_a_sign_of_one_is_reported_and_a_ticket_is_none() -> None:
    assert of_regex("ops") == ["needless-regex"]
    assert of_regex("^ops-team$") == ["needless-regex"]
    ticket = "break_glass: {i: {max_duration: 1h, ticket: 'INC.1'}}\n"
    assert [code for code, _ in found(ticket + "rules: [{id: a, effect: deny, overridable_by: i}]")] == [
        "unescaped-regex"
    ]
    plain = ticket.replace("INC.1", "INC")
    assert found(plain + "rules: [{id: a, effect: deny, overridable_by: i}]") == []


@pytest.mark.parametrize(
    ("method", "advice"),
    [
        ("get", "clients send GET"),
        ("Read", "write `read`"),
        ("WRITE", "write `write`"),
        ("'*'", "leave `method` out"),
        ("any", "leave"),
    ],
)
def test_a_method_that_no_client_sends_is_reported(method: str, advice: str) -> None:
    ((code, message),) = found(
        f"rules: [{{id: a, effect: allow, who: any_certificate, request: {{method: {method}}}}}]"
    )
    assert code == "odd-method"
    assert advice in message


def of_path(path: str, *, restricting: bool, more: str = "") -> list[str]:
    allow = "{id: all, effect: allow, who: any_certificate, request: {path: "
    rules = (
        f"{{id: a, effect: deny, request: {{path: {path}}}}}, {allow}'/**'}}}}" if restricting else f"{allow}{path}}}}}"
    )
    return [message for code, message in found(f"rules: [{rules}{more}]") if code == "prefix-path"]


@pytest.mark.parametrize("path", ["/admin", "/admin/", "'/admin/*'", "'/admin*'", "'/*'", "/a/b"])
def test_a_restriction_that_leaves_out_what_lies_below_is_reported(path: str) -> None:
    (message,) = of_path(path, restricting=True)
    assert "/**` for it and all below" in message


@pytest.mark.parametrize(
    "path",
    [
        *("'/admin/**'", "[/admin, '/admin/**']", "[/admin/, '/admin/**']", "[/admin/, '/admin/*/**']"),
        *(r"'\*'", "/", "'/x/report-*'", "{re: '/a/.*'}", "{re: '.*beta.*'}"),
    ],
)
def test_a_restriction_of_all_or_of_names_is_not(path: str) -> None:
    assert of_path(path, restricting=True) == []


@pytest.mark.parametrize("path", ["/api", "/v2", "/x/static", "/files/", "'/log*'", "{re: '/x/log.*'}"])
def test_an_allow_that_looks_like_a_prefix_is_reported(path: str) -> None:
    assert len(of_path(path, restricting=False)) == 1


@pytest.mark.parametrize(
    "path", ["/health", "'/files/*'", "'/report-*'", "/api/scan", "[/api, '/api/**']", "{re: '/x(/.*)?'}"]
)
def test_an_allow_of_a_page_or_of_one_level_is_not(path: str) -> None:
    assert of_path(path, restricting=False) == []


def test_an_allow_of_a_path_below_which_another_rule_speaks_is_reported() -> None:
    more = ", {id: d, effect: deny, request: {path: '/shop/old/**'}}"
    assert len(of_path("/shop", restricting=False, more=more)) == 1


def test_a_restriction_below_which_nothing_is_allowed_is_not() -> None:
    allow = "{id: b, effect: allow, who: any_certificate, request: {path: /x}}"
    rules = f"{{id: a, effect: deny, request: {{path: /admin}}}}, {allow}"
    assert found(f"rules: [{rules}]") == []


def test_routes_and_exceptions_are_looked_at_as_allows() -> None:
    rules = "rules: [{id: a, effect: deny, unless: {path: /files/, method: get}}]\n"
    routes = "routes: [{request: {path: /api, method: post}, backend: b}]"
    codes = [code for code, _ in found(rules + routes)]
    assert codes == ["prefix-path", "odd-method", "prefix-path", "odd-method"]
