"""The nearest miss: complete, tried before it is told, and silent where only another request would do."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

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
        (holder("x", lists={"docks": False}), "/t", "would be allowed by hours with time = sun 00:00-24:00 UTC"),
        (holder(ou="staff"), "/h", "would be allowed, since head alone refuses, with tls = TLSv1.3"),
        (holder(ou="staff"), "/n", "would be allowed, since note alone refuses, with header = X-A: b"),
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


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ("{ou: a}, request: {path: /x} | {cn: alice}, request: {path: /x, method: PUT}", "b with method = PUT"),
        ("{ou: a}, request: {path: /x} | {cn: alice}, request: {path: /y}", "b with path = /y"),
        ("{cn: alice}, request: {path: /y} | {cn: alice}, request: {path: /x, method: PUT}", "b with method = PUT"),
        ("{ou: a}, request: {path: /x} | {cn: alice}, request: {path: /y, method: PUT}", "a with ou = a"),
        ("{ou: a, o: b} | {ou: c}, request: {method: PUT} | {o: d}", "c with o = d"),
        ("{ou: a} | {cn: alice}, when: {source: 10.0.0.0/8}", "b with source = 10.0.0.0/8"),
        ("{ou: a} | {cn: alice}, request: {method: write}", "b with method = write"),
        ("{ou: a} | {cn: alice}, request: {header: {X-A: b, X-C: 'd*'}}", "b with header = X-A: b, X-C: d*"),
        ("{ou: a} | {cn: alice}, active_during: incident", "rule b would allow while the switch incident is open"),
        ("{cn: alice}, active_during: incident | {cn: alice}, request: {method: PUT}", "b with method = PUT"),
    ],
)
def test_of_equal_changes_that_of_the_request_is_nearer_than_that_of_the_client(rules: str, sentence: str) -> None:
    lines = [
        f"  - {{id: {name}, effect: allow, who: {{issuer: corp, {rule.strip()[1:]}}}"
        for name, rule in zip("abc", rules.split("|"), strict=False)
    ]
    head = "break_glass: {incident: {max_duration: 1h, ticket: x}}\nrules:\n"
    expected = sentence if sentence.startswith("rule ") else f"would be allowed by {sentence}"
    assert nearest(holder("alice"), "/x", head + "\n".join(lines)) == expected


def test_what_pleases_one_that_refuses_may_be_enough_for_one_that_allows() -> None:
    rules = """
rules:
  - {id: a, effect: allow, who: {issuer: corp, ou: {any_of: [staff, admins]}}}
  - {id: r, effect: require, request: {path: /x}, who: {issuer: corp, ou: admins}}
"""
    assert nearest(holder(), "/x", rules) == "would be allowed, since r alone refuses, with ou = admins"
    twice = rules.replace("[staff, admins]", "[admins]")
    assert nearest(holder(), "/x", twice) == "would be allowed, since r alone refuses, with ou = admins"


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        ("request: {method: [GET, HEAD, PUT]}", "with method = OPTIONS | DELETE | PATCH | POST"),
        ("request: {method: read}", "with method = DELETE | PATCH | POST | PUT"),
        ("request: {method: [read, write]}", ""),
        ("request: {path: /x}", ""),
        ("request: {method: read}, unless: {source: 10.0.0.0/8}", "with source = 10.0.0.0/8"),
    ],
)
def test_a_refusal_that_asks_for_nothing_is_a_matter_of_its_methods(refusal: str, sentence: str) -> None:
    rules = f"""
rules:
  - {{id: a, effect: allow, who: any_certificate}}
  - {{id: d, effect: deny, {refusal}}}
"""
    found = nearest(holder(), "/x", rules)
    assert found == (f"would be allowed, since d alone refuses, {sentence}" if sentence else "")


VALUES: dict[str, tuple[str, ...]] = {
    "method": ("GET", "PUT"),
    "path": ("/x", "/y"),
    "ou": ("a", "b"),
    "cn": ("alice", "bob"),
    "source": ("10.0.0.1", "192.0.2.1"),
}
CLIENT = {"ou", "cn"}


@st.composite
def simple_rules(draw: st.DrawFn) -> list[dict[str, str]]:
    """Draw what some allow rules want."""
    keys = st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=3, unique=True)
    values = VALUES | {"method": ("GET", "PUT", "read", "write")}
    wants = keys.flatmap(lambda some: st.fixed_dictionaries({key: st.sampled_from(values[key]) for key in some}))
    return draw(st.lists(wants, min_size=1, max_size=4))


def written(wants: dict[str, str], name: str) -> str:
    who = "".join(f", {key}: {value}" for key, value in wants.items() if key in CLIENT)
    request = ", ".join(f"{key}: {value}" for key, value in wants.items() if key in {"method", "path"})
    when = f", when: {{source: {wants['source']}}}" if "source" in wants else ""
    asks = f", request: {{{request}}}" if request else ""
    return f"  - {{id: {name}, effect: allow, who: {{issuer: corp{who}}}{asks}{when}}}"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(simple_rules(), st.fixed_dictionaries({key: st.sampled_from(values) for key, values in VALUES.items()}))
def test_no_smaller_change_would_do(rules: list[dict[str, str]], given_: dict[str, str]) -> None:
    one = policy(HEAD + "rules:\n" + "\n".join(written(wants, f"r{n}") for n, wants in enumerate(rules)))

    def asked(values: dict[str, str]) -> Any:
        request = Request(
            cert=ABSENT,
            used=False,
            method=values["method"],
            path=values["path"],
            source=ip_address(values["source"]).packed,
        )
        return request, holder(values["cn"], ou=values["ou"])

    def is_allowed(values: dict[str, str]) -> bool:
        request, subject = asked(values)
        return one.judge(request, NOW, subject=subject, revocation="good").decision.verdict == "allow"

    changes = [
        (len(keys), len(CLIENT.intersection(keys)))
        for size in range(len(VALUES) + 1)
        for keys in combinations(VALUES, size)
        if is_allowed({key: others(key, value) if key in keys else value for key, value in given_.items()})
    ]
    request, subject = asked(given_)
    found = explain(one, request, NOW, subject=subject).nearest
    if is_allowed(given_):
        assert found is None
        return
    assert found is not None
    kinds = [check.question.key in CLIENT for check in found.missing]
    assert (len(kinds), sum(kinds)) == min(changes)


def others(key: str, value: str) -> str:
    """Return the other value of two."""
    return next(one for one in VALUES[key] if one != value)


def test_what_nobody_can_make_up_is_told_as_it_is() -> None:
    unsure = ", if nothing else refuses then"
    # Values are composed before they are compared, so that this matches none.
    odd = "{re: 'e\u0301'}"
    rule = "  - {id: a, effect: allow, who: {issuer: corp, ou: X}, request: {header: {H: Y}}}"
    named = nearest(holder(), "/", "rules:\n" + rule.replace("X", odd).replace("Y", "b"))
    assert (named.startswith("would be allowed by a with ou = "), named.endswith(unsure)) == (True, True)
    sent = nearest(holder(ou="b"), "/", "rules:\n" + rule.replace("X", "b").replace("Y", odd))
    assert (sent.startswith("would be allowed by a with header = H: "), sent.endswith(unsure)) == (True, True)


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
