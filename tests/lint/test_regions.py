from __future__ import annotations

import pytest

from spoa.lint.regions import Atlas, Region
from spoa.policy.model import Effect
from tests.policies import HEAD, model

ISSUERS = (
    HEAD
    + """  spire: {ca: s.pem, trust_domain: x.example, revocation: {none: a}}
  many: {ca: m.pem, allow_multiple_cn: true, eku: any, revocation: {none: a}}
"""
)


def regions(*rules: str, defaults: str = "") -> tuple[Atlas, list[Region]]:
    """Return the regions of rules, each written without id."""
    text = ISSUERS + defaults + "rules:\n" + "".join(f"  - {{id: r{n}, {rule}}}\n" for n, rule in enumerate(rules))
    policy = model(text)
    generous = [rule.effect is Effect.DENY for rule in policy.rules]
    found = [Region.of(rule.who, rule.request, generous=one) for rule, one in zip(policy.rules, generous, strict=True)]
    return Atlas(policy, frozenset({"dead"})), found


ALLOW = "effect: allow, who: "
ANY = ALLOW + "any_certificate, request: "


@pytest.mark.parametrize(
    ("big", "small"),
    [
        ("any_certificate", "{issuer: corp}"),
        ("{issuer: any}", "any_certificate"),
        ("{issuer: [corp, partners, spire, many]}", "any_certificate"),
        ("{issuer: corp, ou: [a, b]}", "{issuer: corp, ou: a, cn: x}"),
        ("[{issuer: corp, ou: a}, {issuer: partners}]", "[{issuer: partners, cn: y}, {issuer: corp, ou: a}]"),
        ("{issuer: corp, min_key_bits: 2048}", "{issuer: corp, min_key_bits: 3072}"),
        ("{issuer: corp, cn: {all_of: ['a*']}}", "{issuer: corp, cn: ab}"),
        ("{issuer: corp, ou: 'a*'}", "{issuer: corp, ou: {all_of: [ab, ac]}}"),
    ],
)
def test_a_who_lies_within_a_wider_one_and_not_the_other_way_round(big: str, small: str) -> None:
    atlas, (wide, narrow) = regions(ALLOW + big, ALLOW + small)
    assert atlas.covers(wide, narrow)
    is_the_same = ("any" in big and "any_certificate" in small) or "[corp" in big
    assert atlas.covers(narrow, wide) is is_the_same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{issuer: corp, ou: a}", "{issuer: corp, ou: b}"),  # a certificate may have both
        ("{issuer: many, cn: a}", "{issuer: many, cn: b}"),
        ("{issuer: corp, cn: a}", "{issuer: [corp, many], ou: b}"),
        ("{issuer: corp, ou: {all_of: ['a*']}}", "{issuer: corp, ou: ab}"),
    ],
)
def test_who_may_be_one_certificate_is_not_apart(one: str, other: str) -> None:
    atlas, (left, right) = regions(ALLOW + one, ALLOW + other)
    assert not atlas.apart(left, right)
    assert not atlas.covers(left, right)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{issuer: corp}", "{issuer: partners}"),
        ("{issuer: corp, cn: a}", "{issuer: any, cn: b}"),
        ("{issuer: corp, ou: {all_of: ['a*']}}", "{issuer: corp, ou: b}"),
        ("{issuer: spire, uri_san: 'spiffe://x.example/a'}", "{issuer: spire, uri_san: 'spiffe://x.example/b'}"),
        ("anonymous", "any_certificate"),
    ],
)
def test_who_can_be_no_one_certificate_is_apart(one: str, other: str) -> None:
    atlas, (left, right) = regions(ALLOW + one, ALLOW + other, defaults="defaults: {no_certificate: anonymous}\n")
    assert atlas.apart(left, right)
    assert atlas.apart(right, left)


@pytest.mark.parametrize(
    ("rule", "key", "says"),
    [
        (ALLOW + "anonymous", "who", "no_certificate"),
        (ALLOW + "{issuer: corp, cn: a, subject: {CN: b}}", "who", "fits both"),
        (ALLOW + "{issuer: spire, uri_san: 'spiffe://y.example/a'}", "who", "trust domain"),
        (ALLOW + "{issuer: corp, eku: {all_of: [serverAuth]}}", "who", "clientAuth"),
        (ANY + "{path: '/a;b'}", "path", "path_parameters"),
        (ANY + "{path: {re: 'a.*'}}", "path", "starts with `/`"),
        (ANY + r"{path: '\*', method: GET}", "method", "OPTIONS"),
        (ANY + "{host: a.example, sni: b.example}", "sni", "sni_mismatch"),
        ("effect: deny, request: {path: {re: 'a.*'}}", "path", "starts with `/`"),
    ],
)
def test_why_nothing_can_lie_there_is_said(rule: str, key: str, says: str) -> None:
    atlas, (region,) = regions(rule)
    found = atlas.why_empty(region)
    assert found is not None
    assert found[0] == key
    assert says in found[1]


@pytest.mark.parametrize(
    "rule",
    [
        ALLOW + "{issuer: many, cn: a, subject: {CN: b}}",
        ALLOW + "{issuer: [corp, many], eku: {all_of: [serverAuth]}}",
        ALLOW + "{issuer: [corp, spire], uri_san: 'spiffe://y.example/a'}",
        ANY + "{path: ['/a;b', /c]}",
        ANY + r"{path: '\*', method: options}",
        ANY + "{host: a.example, sni: '*.example'}",
        "effect: deny, request: {path: '/a;b'}",
    ],
)
def test_where_something_can_lie_nothing_is_said(rule: str) -> None:
    atlas, (region,) = regions(rule)
    assert atlas.why_empty(region) is None


def test_several_regions_cover_one_together_where_they_differ_in_one_way() -> None:
    who = ANY + "{path: '/a/**', method: "
    atlas, (small, *bigs) = regions(
        who + "[GET, POST]}",
        who + "GET}",
        who + "write}",
        who + "PURGE}",
        ANY + "{path: /b, method: [GET, POST]}",
    )
    assert atlas.covering(bigs, small) == [0, 1]
    assert atlas.covering(bigs[1:], small) == []
    atlas, (small, *bigs) = regions(
        ALLOW + "{issuer: [corp]}", ALLOW + "{issuer: corp, ou: a}", ALLOW + "any_certificate"
    )
    assert atlas.covering(bigs, small) == [1]
    two = "[{issuer: corp, ou: a}, {issuer: corp, ou: b}]"
    atlas, (small, *bigs) = regions(ALLOW + two, ALLOW + "{issuer: corp, ou: a}", ALLOW + "{issuer: corp, ou: [b, c]}")
    assert atlas.covering(bigs, small) == [0, 1]


def test_a_region_can_be_read_as_it_is_written_of_everyone_and_without_a_column() -> None:
    _, (region,) = regions("effect: deny, who: any_certificate, request: {path: /a, method: GET}")
    assert set(region.without("path").columns) == {"method"}
    assert region.of_everyone().who is None
    assert region.who_generous
    assert not region.read_strictly().who_generous
