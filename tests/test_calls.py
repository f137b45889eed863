"""Calls: which requests there are, which never get past a gate, and what is made of those that were found."""

from __future__ import annotations

from typing import Any

import pytest

from spoa.calls import Calls
from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.policy.model import Matcher, Reason
from spoa.policy.path import PathPattern
from spoa.solver import TRUE, Circuit
from tests.policies import HEAD, NOW, policy

PATIENCE = 10_000


class Asked:
    """Calls of some policies, and the requests that they hold."""

    def __init__(self, *documents: str, matchers: tuple[Matcher, ...] = (), moments: tuple[int, ...] = (NOW,)) -> None:
        self.circuit = Circuit()
        self.policies = [policy(HEAD + document) for document in documents]
        self.calls = Calls(self.circuit, self.policies, matchers, moments)

    def rule(self, number: int = 0, side: int = 0) -> int:
        rule = self.policies[side].model.rules[number]
        return self.calls.conjunction(side, number, rule.request, generous=rule.effect != "allow")

    def found(self, *literals: int) -> Request | None:
        return self.calls.found()[0] if self.circuit.can_hold(literals, PATIENCE) else None


def allow(keys: str) -> str:
    return f"rules: [{{id: r, effect: allow, who: any_certificate, {keys}}}]"


def test_what_no_policy_reads_is_left_out() -> None:
    found = Asked("rules: [{id: r, effect: allow, who: any_certificate}]").found()
    assert found == Request(cert=ABSENT, used=False, method="GET", path="/x", sni=ABSENT)


@pytest.mark.parametrize(
    ("keys", "field", "value"),
    [
        ("request: {path: /a/b}", "path", "/a/b"),
        ("request: {method: PURGE}", "method", "PURGE"),
        ("request: {host: a.example}", "host", "a.example"),
        ("request: {sni: a.example}", "sni", "a.example"),
        ("request: {header: {X-A: b}}", "headers", {"x-a": "b"}),
        ("when: {source: 10.1.0.0/16}", "source", bytes((10, 1, 0, 0))),
        ("when: {tls: TLSv1.3}", "tls", "TLSv1.3"),
    ],
)
def test_a_condition_is_met_and_missed(keys: str, field: str, value: Any) -> None:
    asked = Asked(allow(keys))
    met, missed = asked.found(asked.rule()), asked.found(-asked.rule())
    assert met is not None
    assert missed is not None
    held, other = (str(getattr(one, field)).removesuffix(".") for one in (met, missed))
    assert (held == str(value), other == str(value)) == (True, False)


def test_times_are_met_and_missed() -> None:
    asked = Asked(allow('when: {time: {tz: UTC, days: fri, hours: "09:00-10:00"}}'))
    assert asked.circuit.can_hold((asked.rule(),), PATIENCE)
    assert asked.calls.found()[1] == NOW
    assert asked.circuit.can_hold((-asked.rule(),), PATIENCE)
    assert asked.calls.found()[1] != NOW


def test_every_moment_has_its_times() -> None:
    asked = Asked(allow("request: {path: /a}"), moments=(NOW, NOW + 50))
    assert asked.circuit.can_hold((asked.calls.between(NOW + 1, NOW + 51),), PATIENCE)
    assert asked.calls.found()[1] == NOW + 50


def test_the_unavailable_meets_what_takes_away() -> None:
    rules = (
        "rules: [{id: d, effect: deny, request: {method: PURGE, header: {X-A: b}}, when: {source: 10.0.0.0/8}},"
        " {id: e, effect: deny, request: {path: /a}}]"
    )
    asked = Asked(rules)
    found = asked.found(asked.rule(0), asked.rule(1), -asked.calls.is_stated)
    assert found is not None


def test_the_asterisk_is_for_options_alone() -> None:
    asked = Asked(allow(r'request: {path: "\\*"}'))
    found = asked.found(asked.rule())
    assert found is not None
    assert (found.method, found.path) == ("OPTIONS", ABSENT)
    asked = Asked(allow(r'request: {path: "\\*", method: GET}'))
    assert asked.found(asked.rule()) is None


def test_a_path_that_one_policy_reads_and_the_other_refuses() -> None:
    asked = Asked(
        allow("request: {path: /a}"), f"defaults: {{path_on_ambiguity: normalise}}\n{allow('request: {path: /a}')}"
    )
    refused = dict(asked.calls.gates(0))[Reason.PATH_NOT_CANONICAL]
    found = asked.found(refused, asked.rule(side=1))
    assert found is not None
    assert found.path == "/./a"
    assert asked.found(dict(asked.calls.gates(1))[Reason.PATH_NOT_CANONICAL]) is None


def test_names_that_differ_stop_at_the_gate_where_they_must_agree() -> None:
    rules = allow("request: {host: a.example, sni: b.example}")
    strict = Asked(rules)
    mismatch = dict(strict.calls.gates(0))[Reason.SNI_MISMATCH]
    assert strict.found(strict.rule(), -mismatch) is None
    found = strict.found(mismatch)
    assert found is not None
    assert found.host != found.sni
    lax = Asked(f"defaults: {{sni_mismatch: allow}}\n{rules}")
    assert Reason.SNI_MISMATCH not in dict(lax.calls.gates(0))
    assert lax.found(lax.rule()) is not None


def test_what_others_ask_about_is_told_apart_too() -> None:
    other = Matcher("path", "path", (PathPattern("/a/*"),))
    asked = Asked(allow("request: {path: /*/b}"), matchers=(other,))
    held = asked.calls.holds(0, other, generous=True)
    both, one = asked.found(asked.rule(), held), asked.found(asked.rule(), -held)
    assert both is not None
    assert one is not None
    assert (str(both.path).lower(), str(one.path).endswith("/b")) == ("/a/b", True)


def test_what_a_test_cannot_state_is_known() -> None:
    by_header = "{id: d, effect: deny, request: {header: {X-A: {re: '.*'}}}}"
    asked = Asked(f"rules: [{by_header}, {{id: e, effect: deny, request: {{path: /a}}}}]")
    assert asked.found(-asked.rule(), asked.calls.is_stated) is None  # only one that is absent is no text
    found = asked.found(-asked.rule())
    assert found is not None
    assert found.headers == {"x-a": ABSENT}
    without_path = asked.found(asked.rule(1), -asked.calls.is_stated)
    assert without_path is not None


def test_wishes_make_a_request_plain() -> None:
    asked = Asked("rules: [{id: d, effect: deny, request: {method: PURGE, path: /a, header: {X-A: b}}}]")
    found = asked.found(*asked.calls.wishes())
    assert found is not None
    assert (found.method, found.path, found.headers) == ("GET", "/x", {})
    assert TRUE not in asked.calls.wishes() or found.host is UNAVAILABLE


def test_classes_that_may_be_missing_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.policy.languages.MAX_STATES", 2)
    assert Asked(allow("request: {path: /abc, host: a.example}")).calls.missing == ["path", "host"]
