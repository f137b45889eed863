from __future__ import annotations

from spoa.specimens import Specimens
from tests.policies import HEAD, policy


def made(rules: str, head: str = HEAD) -> Specimens:
    return Specimens(policy(head + rules), [])


def test_there_is_a_certificate_for_each_kind_that_the_policy_tells_apart() -> None:
    rules = (
        "rules: [{id: a, effect: allow, who: {issuer: corp, ou: a}}, {id: b, effect: deny, who: {issuer: any, ou: b}}]"
    )
    found = made(rules)
    assert found.is_complete
    kinds = {
        (one.subject.issuer, one.subject.certificate.subject.get("2.5.4.11")) for one in found.holders if one.subject
    }
    assert kinds == {("corp", None), ("corp", ("a",)), ("corp", ("b",)), ("corp", ("a", "b"))}


def test_anonymous_requests_are_there_where_they_are_judged() -> None:
    found = made("defaults: {no_certificate: anonymous}\nrules: [{id: a, effect: allow, who: anonymous}]")
    (anonymous,) = (one for one in found.holders if one.bearer.is_anonymous)
    assert anonymous.at(7) is None


def test_a_certificate_is_in_date_when_it_is_used() -> None:
    found = made("rules: [{id: a, effect: allow, who: any_certificate}]")
    subject = found.holders[0].at(7)
    assert subject is not None
    assert (subject.certificate.not_before, subject.certificate.not_after) == (7, 7)


def test_every_attribute_can_be_filled_in_so_that_all_gates_are_passed() -> None:
    head = HEAD.replace("partners.pem,", "partners.pem, trust_domain: x.example,")
    rules = f"""
lists: {{good: {{file: g}}}}
rules:
- id: all
  effect: allow
  who:
    issuer: partners
    cn: c
    ou: u
    o: o
    dns_san: a.example
    uri_san: "spiffe://x.example/a"
    email_san: a@b.example
    ip_san: 10.0.0.1
    fingerprint: {"ab" * 32}
    spki: {"ab" * 32}
    serial: 5
    in_list: good
    eku: codeSigning
    policy_oid: 1.2.3
    min_key_bits: 4096
    subject: {{L: Paris}}
"""
    found = made(rules, head)
    assert any(one.who & 1 for one in found.holders)
