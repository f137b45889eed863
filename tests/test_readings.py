"""What the texts of a logged request amount to is what the gates and rules make of the request."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spoa import readings
from spoa.authorizer import Policy
from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.issuers import Issuers
from spoa.policy.evaluator import Evaluator
from spoa.policy.gates import request_values
from spoa.policy.model import Reason
from spoa.policy.sans import packed_address
from spoa.readings import Readings, Untold, untold_of
from spoa.recorded import path_of
from tests.drawn import documents, model_of
from tests.policies import NOW, model

if TYPE_CHECKING:
    from collections.abc import Iterable

METHODS = (None, "GET", "OPTIONS", "get", "PURGE")
HOSTS = (None, "a.example", "B.example:80", "no host!", "x.a.example")
PATHS = (None, "/a/b", "/A/", "/%61/b", "/a;x/b", "*", "nowhere", "/")
SOURCES = (None, "10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "192.0.2.1")
REASONS = ("ok", "path_not_canonical", "no_rule_allows")


def policy_of(document: dict[str, Any]) -> Policy:
    return Policy(Evaluator.of(model_of(document)), Issuers({}), {}, "0123456789ab")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    documents(),
    st.lists(st.tuples(*map(st.sampled_from, (METHODS, HOSTS, PATHS, SOURCES, REASONS))), min_size=20, max_size=20),
    st.integers(0, 200_000),
)
def test_a_request_amounts_to_what_the_gates_and_the_table_say(
    document: dict[str, Any], asked: Iterable[tuple[Any, Any, Any, Any, str]], later: int
) -> None:
    policy = policy_of(document)
    found = Readings(policy)
    for method, host, path, source, reason in asked:
        request = Request(
            cert=ABSENT,
            source=UNAVAILABLE if source is None else packed_address(ipaddress.ip_address(source).packed),
            method=UNAVAILABLE if method is None else method,
            path=path_of(method, path, reason),
            host=UNAVAILABLE if host is None else host,
        )
        values = request_values(request, policy.model.defaults, NOW + later)
        worst, _, gate = found.request(method, host, path, source, reason, NOW + later)
        if isinstance(values, Reason):
            assert gate is values
        else:
            del values.values["header"]  # of which a log tells nothing
            assert (worst, gate) == (policy.evaluator.table.request(values), None)


def test_what_no_log_tells_is_taken_twice() -> None:
    text = "rules: [{id: a, effect: allow, who: any_certificate, request: {sni: a.example}}]"
    policy = Policy(Evaluator.of(model(text)), Issuers({}), {}, "0123456789ab")
    assert Readings(policy).request("GET", "a.example", "/", "10.0.0.1", "ok", NOW) == (0, 1, None)


def test_what_is_no_address_is_told() -> None:
    policy = Policy(Evaluator.of(model("rules: []")), Issuers({}), {}, "0123456789ab")
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        Readings(policy).request("GET", None, "/", "nowhere", "ok", NOW)


def test_no_more_is_remembered_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "REMEMBERED", 2)
    policy = Policy(Evaluator.of(model("rules: []")), Issuers({}), {}, "0123456789ab")
    found = Readings(policy)
    for number in range(5):
        found.request("GET", None, f"/{number}", None, "ok", NOW)
    assert len(found._paths) <= 2


UNTOLD = """\
apiVersion: authz/v1
defaults: {sni_mismatch: allow}
rules:
  - {id: a, effect: allow, who: any_certificate, request: {sni: a.example}}
  - {id: b, effect: require, request: {path: "/**"}, when: {tls: TLSv1.3}}
  - {id: c, effect: deny, request: {path: /c}, unless: {header: {x-a: b}}}
  - {id: d, effect: deny, request: {sni: b.example}, mode: shadow, shadow_until: 2099-01-01}
"""


def test_what_rules_ask_for_and_no_log_tells_is_named_but_for_those_in_shadow() -> None:
    assert untold_of(model(UNTOLD)) == (Untold("header", ("c",)), Untold("sni", ("a",)), Untold("tls", ("b",)))
    gated = model(UNTOLD.replace("sni_mismatch: allow", "").replace("sni: a.example", "path: /a"))
    assert untold_of(gated)[1] == Untold("sni", (), "sni_mismatch")
