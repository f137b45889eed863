"""Bricks: identities, `who` and matchers as they are written become what is asked."""

from __future__ import annotations

from typing import Any

import pytest

from spoa.policy import oids
from spoa.policy.model import Matcher, Who
from tests.policies import HEAD, model, problems


def who_of(text: str, head: str = HEAD) -> Who:
    found = model(head + f"rules: [{{id: a, effect: allow, who: {text}}}]\n").rules[0].who
    assert found is not None
    return found


def matchers_of(text: str) -> dict[str, Matcher]:
    (conjunction,) = who_of(f"{{issuer: corp, {text}}}").identities[0].alternatives
    return {one.key: one for one in conjunction}


def request_of(text: str, block: str = "request") -> dict[str, Matcher]:
    rule = model(HEAD + f"rules: [{{id: a, effect: deny, {block}: {text}}}]\n").rules[0]
    return {one.key: one for one in rule.request}


def texts(matcher: Matcher) -> list[str]:
    return [str(one) for one in matcher.patterns]


def test_words_and_names_are_told_apart() -> None:
    assert who_of("any_certificate") == Who(any_certificate=True)
    assert who_of("[anonymous, any_certificate]") == Who(any_certificate=True, anonymous=True)
    head = HEAD + "identities: {staff: {issuer: corp, ou: staff}}\n"
    mixed = who_of("[staff, {issuer: partners, cn: x}, anonymous]", head)
    assert [identity.name for identity in mixed.identities] == ["staff", ""]
    assert mixed.anonymous
    assert not mixed.any_certificate


def test_a_list_is_any_of_its_patterns_and_all_of_is_about_every_value() -> None:
    for written, expected, universal in (
        ("ou: a", ["a"], False),
        ("ou: [a, b]", ["a", "b"], False),
        ("ou: {any_of: [a, b]}", ["a", "b"], False),
        ("ou: {all_of: [a, {re: b}]}", ["a", "re: b"], True),
        ("ou: {re: b}", ["re: b"], False),
        ("ou: [a, {re: b}]", ["a", "re: b"], False),
    ):
        matcher = matchers_of(written)["ou"]
        assert (texts(matcher), matcher.is_universal) == (expected, universal)


def test_every_key_of_an_identity_reads_its_attribute() -> None:
    digest = "ab" * 32
    found = matchers_of(
        "cn: a, ou: b, o: c, subject: {L: d, 2.5.4.5: e}, dns_san: f.g, uri_san: 'h://i', email_san: j@k,"
        " ip_san: 10.0.0.1,"
        f" fingerprint: {digest}, spki: {digest}, serial: 1f, eku: clientAuth, policy_oid: 1.2.3, min_key_bits: 2048"
    )
    assert {key: matcher.attribute for key, matcher in found.items()} == {
        "issuer": "issuer",
        "cn": "subject:" + oids.CN,
        "ou": "subject:" + oids.OU,
        "o": "subject:" + oids.O,
        "subject.L": "subject:2.5.4.7",
        "subject.2.5.4.5": "subject:2.5.4.5",
        "dns_san": "dns_san",
        "uri_san": "uri_san",
        "email_san": "email_san",
        "ip_san": "ip_san",
        "fingerprint": "sha256",
        "spki": "spki_sha256",
        "serial": "serial",
        "eku": "eku",
        "policy_oid": "policy_oids",
        "min_key_bits": "key_bits",
    }
    assert texts(found["issuer"]) == ["corp"]


def test_a_list_of_maps_is_any_of_them() -> None:
    head = HEAD + "identities: {x: [{issuer: corp, cn: a}, {issuer: partners, cn: b, ou: c}]}\n"
    (identity,) = who_of("x", head).identities
    assert [[one.key for one in conjunction] for conjunction in identity.alternatives] == [
        ["issuer", "cn"],
        ["issuer", "cn", "ou"],
    ]


def test_any_issuer_is_no_condition_and_a_warning() -> None:
    own = "rules: [{id: a, effect: allow, who: {issuer: [corp, any], cn: x}}]\n"
    assert [one.code for one in problems(HEAD + own)] == ["any-issuer"]
    who = model(HEAD + own).rules[0].who
    assert who is not None
    assert [one.key for one in who.identities[0].alternatives[0]] == ["cn"]


def test_a_list_that_is_named_must_be_there() -> None:
    head = HEAD + "lists: {l: {file: l.txt}, m: {file: m.txt}}\n"
    (identity,) = who_of("{issuer: corp, in_list: [l, m]}", head).identities
    assert texts(identity.alternatives[0][1]) == ["l", "m"]
    found = problems(head + "rules: [{id: a, effect: deny, who: {issuer: corp, in_list: [l, n]}}]\n")
    assert [one.message for one in found] == ['unknown list "n"; known here: "l", "m"']


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{path: /a}", {"path": ["/a"]}),
        ("{path: [/a, {re: /b}], method: [read, POST]}", {"path": ["/a", "re: /b"], "method": ["read", "POST"]}),
        ("{host: a.b, sni: '*.c'}", {"host": ["a.b"], "sni": ["*.c"]}),
        ("{header: {X-A: b, y: [c, d]}}", {"header": ["X-A: b, y: c | d"]}),
        ("{header: [{x: a}, {x: b}]}", {"header": ["x: a", "x: b"]}),
    ],
)
def test_keys_of_a_request_become_matchers(written: str, expected: dict[str, Any]) -> None:
    assert {key: texts(one) for key, one in request_of(written).items()} == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{source: [10.0.0.0/8, '::1']}", {"source": ["10.0.0.0/8", "::1"]}),
        ("{tls: [TLSv1.2, TLSv1.3]}", {"tls": ["TLSv1.2", "TLSv1.3"]}),
        ("{time: {tz: UTC, days: [mon-tue, sun]}}", {"time": ["mon,tue,sun 00:00-24:00 UTC"]}),
        (
            "{time: {tz: UTC, hours: ['08:00-09:00', '22:30-06:00']}}",
            {"time": ["mon,tue,wed,thu,fri,sat,sun 08:00-09:00 UTC", "mon,tue,wed,thu,fri,sat,sun 22:30-06:00 UTC"]},
        ),
        (
            "{time: [{tz: UTC, days: sat}, {tz: Europe/Paris, days: sun, hours: '01:00-02:00'}]}",
            {"time": ["sat 00:00-24:00 UTC", "sun 01:00-02:00 Europe/Paris"]},
        ),
    ],
)
def test_keys_of_when_become_matchers(written: str, expected: dict[str, Any]) -> None:
    assert {key: texts(one) for key, one in request_of(written, "when").items()} == expected


def test_a_window_without_its_zone_is_one_problem_and_no_crash() -> None:
    found = problems(HEAD + "rules: [{id: a, effect: deny, when: {time: {tz: Nowhere, days: mon}}}]\n")
    assert [one.code for one in found] == ["invalid-value"]


def test_a_value_that_can_not_be_read_is_one_problem_and_no_crash() -> None:
    found = problems(HEAD + "rules: [{id: a, effect: deny, who: {issuer: corp, cn: {re: '('}, ou: {all_of: [a?]}}}]\n")
    assert [one.code for one in found] == ["invalid-value", "invalid-value"]
