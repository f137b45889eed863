"""The nearest miss: complete, tried before it is told, and silent where only another request would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, event, given, settings

from spoa.explanation import explain
from spoa.facts import ABSENT, Request
from tests.drawn import OPEN, TIMES, documents, policy_of, requests, subjects
from tests.policies import HEAD, NOW, holder, policy

if TYPE_CHECKING:
    from spoa.authorizer import Subject

RULES = """
break_glass: {incident: {max_duration: 1h, ticket: x}}
lists: {docks: {file: x.txt}}
identities: {staff: {issuer: corp, ou: staff}}
rules:
  - {id: staff, effect: allow, who: staff, request: {path: "/**"}}
  - {id: admin, effect: require, request: {path: "/admin/**"}, who: {issuer: corp, ou: admins}}
  - {id: office, effect: require, request: {path: "/admin/**"}, when: {source: 10.0.0.0/8}}
  - {id: glass, effect: deny, request: {path: /glass}, overridable_by: incident}
  - {id: listed, effect: allow, who: {issuer: corp, in_list: docks}, request: {path: /scan}}
  - {id: never, effect: deny, who: {issuer: corp, ou: staff}, request: {path: /scan}}
  - {id: hours, effect: allow, who: {issuer: corp, cn: x}, when: {time: {tz: UTC, days: sun}}, request: {path: /t}}
  - {id: head, effect: require, request: {path: /h}, when: {tls: TLSv1.3}}
  - {id: note, effect: deny, request: {path: /n}, unless: {header: {X-A: b}}}
"""


def nearest(subject: Subject | None, path: str, rules: str = RULES, **given_: Any) -> str:
    request = Request(cert=ABSENT, used=False, method="GET", path=path)
    found = explain(policy(HEAD + rules), request, NOW, subject=subject, **given_).nearest
    return "" if found is None else found.sentence


@pytest.mark.parametrize(
    ("subject", "path", "sentence"),
    [
        (holder(), "/x", "would be allowed by staff with ou = staff"),
        (holder(ou="staff"), "/glass", "would be allowed, since glass alone refuses, with the switch incident open"),
        (
            holder(ou="staff"),
            "/admin",
            "would be allowed with ou = admins (admin) and source = 10.0.0.0/8 (office)",
        ),
        (
            holder(),
            "/admin",
            "would be allowed with ou = admins (admin) and source = 10.0.0.0/8 (office) and ou = staff (staff)",
        ),
        (holder(), "/scan", "would be allowed by listed with in_list = docks"),
        (holder("x", lists={"docks": False}), "/t", "would be allowed by staff with ou = staff"),
        (holder(ou="staff"), "/h", "would be allowed, since head alone refuses, with tls = TLSv1.3"),
        (
            holder(ou="staff"),
            "/n",
            "would be allowed, since note alone refuses, with header = X-A: b, if nothing else refuses then",
        ),
        (holder(ou="staff"), "/scan", ""),
    ],
)
def test_the_nearest_miss(subject: Subject, path: str, sentence: str) -> None:
    assert nearest(subject, path) == sentence


def test_what_another_rule_would_refuse_is_not_proposed() -> None:
    rules = """
rules:
  - {id: a, effect: allow, who: {issuer: corp, ou: a}}
  - {id: b, effect: allow, who: {issuer: corp, ou: b, cn: b}}
  - {id: no, effect: deny, who: {issuer: corp, ou: a}}
"""
    assert nearest(holder(), "/", rules) == "would be allowed by b with ou = b and cn = b"
    assert nearest(holder(), "/", rules.replace("ou: b, cn: b", "ou: a, cn: b")) == ""


def test_where_all_values_count_another_one_takes_their_place() -> None:
    rules = "rules: [{id: a, effect: allow, who: {issuer: corp, ou: {all_of: [a]}}}]"
    assert nearest(holder(ou="b"), "/", rules) == "would be allowed by a with ou = all of a"


def test_a_time_is_found_in_the_week() -> None:
    rules = "rules: [{id: t, effect: allow, who: any_certificate, when: {time: {tz: UTC, days: sun}}}]"
    assert nearest(holder(), "/", rules).startswith("would be allowed by t with time = ")


def test_nobody_is_told_that_a_certificate_would_do() -> None:
    rules = "defaults: {no_certificate: anonymous}\nrules: [{id: a, effect: allow, who: any_certificate}]"
    assert (
        nearest(None, "/", rules)
        == "would be allowed by a with any_certificate = any_certificate, if nothing else refuses then"
    )


def test_no_rule_could_allow() -> None:
    assert nearest(holder(), "/", "rules: [{id: d, effect: deny, request: {path: /x}}]") == ""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(documents(), subjects(), requests(), TIMES, OPEN)
def test_whoever_is_allowed_misses_nothing_and_whoever_misses_is_denied(
    document: dict[str, Any], subject: Subject, request: Request, now: int, switches: frozenset[str]
) -> None:
    document["defaults"]["mode"] = "enforce"
    found = explain(policy_of(document), request, now, subject=subject, switches=switches)
    event(f"{found.verdict} {found.nearest is not None}")
    if found.nearest is not None:
        assert found.verdict == "deny"
        assert found.nearest.rule in {rule["id"] for rule in document["rules"]}
        assert found.nearest.sentence
        assert all(not check.holds for check in found.nearest.missing)
