"""Callers: which certificates there are, which gates they fail, and what is made of those that were found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spoa.callers import Callers, certificate_conjunctions
from spoa.calls import Calls
from spoa.memberships import Lists
from spoa.policy.model import Reason, Who
from spoa.solver import Circuit
from tests.policies import HEAD, NOW, policy

if TYPE_CHECKING:
    from spoa.authorizer import Subject

PATIENCE = 10_000


class Asked:
    """Callers of some policies, and the certificates that they hold."""

    def __init__(self, *documents: str) -> None:
        self.circuit = Circuit()
        self.policies = [policy(document) for document in documents]
        lists, calls = Lists(("good", "bad"), frozenset(), ()), Calls(self.circuit, self.policies, (), [NOW])
        lists, calls = Lists(("good", "bad"), frozenset(), ()), Calls(self.circuit, self.policies, (), [NOW])
        self.callers = Callers(self.circuit, self.policies, (), lists, calls)

    def who(self, number: int = 0, *, side: int = 0, generous: bool = False) -> int:
        return self.callers.who(side, self.policies[side].model.rules[number].who, generous=generous)

    def gate(self, reason: Reason, side: int = 0) -> int:
        return next(literal for one, literal in self.callers.gates(side) if one is reason)

    def subject(self, *literals: int) -> Subject:
        assert self.circuit.can_hold(literals, PATIENCE)
        found = self.callers.found(NOW).subjects[0]
        assert found is not None
        return found

    def passed(self, side: int = 0) -> list[int]:
        return [-literal for _, literal in self.callers.gates(side)]


def who(*several: str, issuers: str = "") -> str:
    rules = ", ".join(f"{{id: r{number}, effect: allow, who: {one}}}" for number, one in enumerate(several))
    return f"{issuers or HEAD}\nlists: {{good: {{file: g}}, bad: {{file: b}}}}\nrules: [{rules}]"


ATTRIBUTES = [
    "{issuer: corp, cn: alice}",
    "{issuer: corp, ou: 'a*'}",
    "{issuer: corp, o: {re: '[a-c]+'}}",
    "{issuer: corp, subject: {L: Paris}}",
    "{issuer: corp, dns_san: '*.a.example'}",
    "{issuer: corp, email_san: a@b.example}",
    "{issuer: corp, uri_san: 'spiffe://a.example/**'}",
    "{issuer: corp, ip_san: 10.0.0.0/8}",
    f"{{issuer: corp, fingerprint: {'ab' * 32}}}",
    f"{{issuer: corp, spki: {'ab' * 32}}}",
    "{issuer: corp, serial: '1'}",
    "{issuer: corp, eku: codeSigning}",
    "{issuer: corp, policy_oid: 2.999}",
    "{issuer: corp, min_key_bits: 4096}",
    "{issuer: corp, in_list: good}",
    "{issuer: [corp, partners], ou: {all_of: [a, b]}}",
]


@pytest.mark.parametrize("keys", ATTRIBUTES)
def test_whoever_is_found_meets_or_misses_what_was_asked(keys: str) -> None:
    asked = Asked(who(keys))
    (judge,) = asked.policies
    meant = judge.model.rules[0].who
    assert meant is not None
    for generous in (False, True):
        literal = asked.who(generous=generous)
        for wanted, expected in ((literal, True), (-literal, False)):
            subject = asked.subject(wanted, *asked.passed())
            assert meant.holds(judge.bearer(subject, NOW), generous=generous) is expected


def test_values_of_one_attribute_come_together() -> None:
    asked = Asked(who("{issuer: corp, ou: a}", "{issuer: corp, ou: b}", "{issuer: corp, ou: {all_of: [a, b]}}"))
    first, second, universal = (asked.who(number) for number in range(3))
    assert set(asked.subject(first, second).certificate.subject["2.5.4.11"]) >= {"a", "b"}
    both = asked.subject(first, second, universal).certificate.subject["2.5.4.11"]
    assert set(both) == {"a", "b"}
    assert len(asked.subject(first, second, -universal).certificate.subject["2.5.4.11"]) > 2


def test_a_common_name_is_one_unless_the_issuer_lets_it_be_several() -> None:
    asked = Asked(who("{issuer: corp, cn: a}", "{issuer: corp, cn: b}"))
    assert asked.circuit.can_hold((asked.who(0), asked.who(1), *asked.passed()), PATIENCE) is False
    lax = "issuers: {corp: {ca: a, revocation: {none: x}, allow_multiple_cn: true}}"
    asked = Asked(who("{issuer: corp, cn: a}", "{issuer: corp, cn: b}", issuers=lax))
    assert asked.circuit.can_hold((asked.who(0), asked.who(1), *asked.passed()), PATIENCE)


def test_the_only_class_may_come_twice() -> None:
    issuer = "issuers: {{corp: {{ca: a, revocation: {{none: x}}, allow_multiple_cn: {}}}}}"
    strict, lax = (who("{issuer: corp, cn: a}", issuers=issuer.format(word)) for word in ("false", "true"))
    asked = Asked(strict, lax)
    found = asked.subject(asked.gate(Reason.AMBIGUOUS_SUBJECT), *asked.passed(1), asked.who())
    assert len(found.certificate.subject["2.5.4.3"]) >= 2


def test_issuers_are_told_apart() -> None:
    asked = Asked(who("{issuer: corp}", "{issuer: partners}"))
    assert asked.subject(asked.who(0)).issuer == "corp"
    assert asked.subject(asked.who(1)).issuer == "partners"
    assert asked.circuit.can_hold((asked.who(0), asked.who(1)), PATIENCE) is False


def test_lists_are_known_by_name() -> None:
    asked = Asked(who("{issuer: corp, in_list: good}", "{issuer: corp, in_list: bad}"))
    found = asked.subject(asked.who(0), -asked.who(1))
    assert found.lists == {"good": True, "bad": False}
    assert found.certificate.sha256 == bytes(32)


def test_anonymous_requests_pass_where_they_are_judged() -> None:
    anonymous = who("anonymous", issuers=f"{HEAD}defaults: {{no_certificate: anonymous}}")
    asked = Asked(who("any_certificate"), anonymous)
    assert asked.circuit.can_hold((asked.who(side=1), *asked.passed(1)), PATIENCE)
    assert asked.callers.found(NOW).written is None
    assert asked.circuit.can_hold((asked.who(side=1), *asked.passed(0)), PATIENCE) is False
    assert asked.callers.who(0, Who(any_certificate=True, anonymous=True), generous=False) == 1


def test_an_issuer_that_one_policy_does_not_know_stops_at_its_gate() -> None:
    corp = "issuers: {corp: {ca: a, revocation: {none: x}}}"
    asked = Asked(who("any_certificate"), who("any_certificate", issuers=corp))
    found = asked.subject(asked.gate(Reason.ISSUER_UNKNOWN, side=1), *asked.passed(0))
    assert found.issuer == "partners"


def test_the_purpose_of_a_certificate_is_a_gate() -> None:
    asked = Asked(who("{issuer: corp, eku: codeSigning}"))
    found = asked.subject(asked.who(), asked.gate(Reason.NOT_A_CLIENT_CERTIFICATE))
    assert "1.3.6.1.5.5.7.3.2" not in found.certificate.eku  # type: ignore[operator] # it has some


def test_a_trust_domain_is_a_gate() -> None:
    spiffe = "issuers: {corp: {ca: a, revocation: {none: x}, trust_domain: a.example}}"
    asked = Asked(who("any_certificate", issuers=spiffe))
    (uri,) = asked.subject(*asked.passed()).certificate.uri_san
    assert uri.startswith("spiffe://a.example")
    outside = asked.subject(asked.gate(Reason.UNSAFE_ATTRIBUTE)).certificate.uri_san
    assert len(outside) != 1 or not outside[0].startswith("spiffe://a.example/")


def test_conjunctions_are_those_of_every_policy() -> None:
    asked = Asked(who("{issuer: corp, cn: a}"), who("{issuer: corp, cn: b}", "any_certificate"))
    assert len(list(certificate_conjunctions(asked.policies))) == 2


def test_classes_that_may_be_missing_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.policy.languages.MAX_STATES", 2)
    assert Asked(who("{issuer: corp, cn: abc}")).callers.missing == ["subject:2.5.4.3"]


def test_a_number_that_is_named_is_nobody_elses() -> None:
    asked = Asked(who(f"{{issuer: corp, serial: ['1', '2'], fingerprint: {'00' * 32}}}"))
    found = asked.subject(-asked.who(generous=True))
    assert found.certificate.serial == 3 or found.certificate.sha256 == bytes(31) + b"\1"
