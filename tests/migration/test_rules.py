"""Refusals and switches as rules and routes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.migration.configurations import draft_of, frontend

ACLS = (
    "acl admin ssl_c_s_dn(cn) admin",
    "acl ops ssl_c_s_dn(ou) ops",
    "acl area path_beg /admin/",
    "acl other path_beg /other/",
    "acl get method GET",
    "acl inside src 10.0.0.0/8",
    "acl shown ssl_c_used",
    "acl lucky rand 10",
)


def drafted(*lines: str, verify: str = "required") -> dict[str, Any]:
    draft = draft_of(frontend(*ACLS, *lines, verify=verify))
    found = yaml.safe_load(draft.files["policy.yaml"])
    return {**found, "notes": [note for note in draft.notes if note.code == "untranslated"]}


ALLOWED = {"id": "allowed", "effect": "allow", "who": "any_certificate"}
AREA = "/admin/**"
STRICT_AREA = ["/admin/", "/admin/*/**"]
STRICT_OTHER = ["/other/", "/other/*/**"]
INSIDE = {"source": "10.0.0.0/8"}
NOT_GET = ["HEAD", "OPTIONS", "write"]


def rule(effect: str, name: str, **keys: object) -> dict[str, object]:
    return {"id": name, "effect": effect, **keys}


def at(path: str, **further: object) -> dict[str, object]:
    return {"path": path, **further}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("if area !admin", rule("require", "area-not-admin", request=at(AREA), who="admin")),
        ("if area !inside", rule("require", "area-not-inside", request=at(AREA), when=INSIDE)),
        ("if area admin", rule("deny", "area-admin", who="admin", request=at(AREA))),
        ("if area inside", rule("deny", "area-inside", request=at(AREA), when=INSIDE)),
        ("if admin !area", rule("deny", "admin-not-area", who="admin", unless={"path": STRICT_AREA})),
        ("if admin !ops", rule("deny", "admin-not-ops", who="admin", unless={"who": "ops-only"})),
        ("if area !other", rule("deny", "area-not-other", request=at(AREA), unless={"path": STRICT_OTHER})),
        (
            "if area !admin !get",
            rule("require", "area-not-admin-not-get", request=at(AREA, method=NOT_GET), who="admin"),
        ),
        ("if admin lucky", rule("deny", "admin-lucky", who="admin")),
        ("if lucky", rule("deny", "lucky")),
        ("if area !lucky", rule("deny", "area-not-lucky", request=at(AREA))),
        ("deny_status 404 if area", rule("deny", "area", request=at(AREA), status=404)),
        ("deny_status 418 if area", rule("deny", "area", request=at(AREA))),
        ("deny_status 429 unless admin", rule("deny", "not-admin", unless={"who": "admin"}, status=429)),
    ],
)
def test_a_refusal_becomes_a_rule(words: str, expected: dict[str, object]) -> None:
    assert drafted(f"http-request deny {words}")["rules"] == [expected, ALLOWED]


def test_a_refusal_of_everything_narrows_what_is_allowed() -> None:
    found = drafted("http-request deny unless admin or inside", "http-request deny if !get !admin")
    rules = [{key: value for key, value in rule.items() if key != "id"} for rule in found["rules"]]
    assert rules == [
        {"effect": "allow", "who": "admin"},
        {"effect": "allow", "who": "any_certificate", "request": {"method": "GET"}, "when": {"source": "10.0.0.0/8"}},
        {"effect": "allow", "who": "admin", "when": {"source": "10.0.0.0/8"}},
    ]


def test_what_can_never_be_refused_is_no_rule() -> None:
    lines = [
        "http-request deny if FALSE",
        "http-request deny if shown !{ ssl_c_verify 0 }",
        "http-request deny if !shown",
        "http-request deny if get { method POST }",
        "http-request deny if area !TRUE",
        "http-request deny if area { ssl_c_used -m int 0 }",
    ]
    assert drafted(*lines)["rules"] == [ALLOWED]


def test_those_without_a_certificate_are_told_apart_where_they_are_let_in() -> None:
    found = drafted("http-request deny if area !shown", "http-request deny if !shown !get other", verify="optional")
    assert found["defaults"] == {"no_certificate": "anonymous"}
    assert found["rules"][0] == rule("require", "area-not-shown", request=at(AREA), who="any_certificate")
    assert found["rules"][1]["who"] == "anonymous"
    assert found["rules"][1]["unless"] == {"method": "GET"}
    assert found["rules"][-1]["who"] == ["any_certificate", "anonymous"]


def test_an_exception_for_those_who_are_not_let_in_is_none() -> None:
    found = drafted("http-request deny if area !{ ssl_c_used -m int 0 }")
    assert found["rules"][0] == rule("deny", "area-not-ssl-c-used", request=at(AREA))


def test_what_can_be_narrowed_no_further_is_denied() -> None:
    found = drafted("http-request deny unless area", "http-request deny unless other")
    assert found["rules"] == [
        rule("deny", "not-other", unless={"path": STRICT_OTHER}),
        {**ALLOWED, "request": {"path": STRICT_AREA}},
    ]
    lines = [
        f"http-request deny unless {{ hdr(a{one}) 1 }} or {{ hdr(b{one}) 1 }} or {{ hdr(c{one}) 1 }}"
        for one in range(4)
    ]
    many = drafted(*lines)
    assert len(many["rules"]) == 27 + 1
    assert len(many["notes"]) == 2


def test_versions_of_tls_and_addresses_have_opposites() -> None:
    found = drafted("http-request deny if area !{ ssl_fc_protocol TLSv1.3 } !inside !admin")
    assert found["rules"][0]["when"]["tls"] == ["TLSv1", "TLSv1.1", "TLSv1.2"]
    assert "::/0" in found["rules"][0]["when"]["source"]
    assert found["notes"] == []


def test_exceptions_that_no_rule_has_room_for_are_left_out_and_noted() -> None:
    found = drafted("http-request deny if area !ops !other")
    assert found["rules"][0] == rule("require", "area-not-ops-not-other", request=at(AREA), who="ops-only")
    assert len(found["notes"]) == 1


def test_two_conditions_on_one_thing_keep_the_first_and_a_note() -> None:
    found = drafted("http-request deny if area other")
    assert found["rules"][0]["request"] == {"path": AREA}
    assert len(found["notes"]) == 1


def test_two_things_of_one_certificate_are_one_identity() -> None:
    assert drafted("http-request deny if admin ops")["identities"] == {
        "cn-admin-ou-ops": {"issuer": "clients", "cn": "admin", "ou": "ops"}
    }


def test_an_acl_of_several_kinds_is_as_many_rules() -> None:
    found = drafted("acl both path /x", "acl both src 10.0.0.1", "http-request deny if both get")
    assert [{*rule} - {"id", "effect"} for rule in found["rules"][:-1]] == [{"request"}, {"request", "when"}]


def test_an_acl_that_is_not_declared_denies() -> None:
    found = drafted("http-request deny if nope", "http-request deny if area !nope")
    assert found["rules"][0] == {"id": "nope", "effect": "deny"}
    assert found["rules"][1] == {"id": "area-not-nope", "effect": "deny", "request": {"path": AREA}}
    assert len(found["notes"]) == 2


# -- routes -----------------------------------------------------------------------------------------------------


def routes(*lines: str, verify: str = "required") -> list[dict[str, object]]:
    found: list[dict[str, object]] = drafted(*lines, verify=verify)["routes"]
    return found


def test_switches_become_routes_in_order() -> None:
    assert routes("use_backend a if admin area", "use_backend b if inside or get", "default_backend c") == [
        {"who": "admin", "request": {"path": ["/admin/", "/admin/*/**"]}, "backend": "a"},
        {"when": {"source": "10.0.0.0/8"}, "backend": "b"},
        {"request": {"method": "GET"}, "backend": "b"},
        {"backend": "c"},
    ]


def test_what_a_switch_excepts_goes_on_to_those_behind_it() -> None:
    assert routes("use_backend a unless admin", "use_backend b if get", "default_backend c") == [
        {"who": "admin", "request": {"method": "GET"}, "backend": "b"},
        {"who": "admin", "backend": "c"},
        {"backend": "a"},
    ]


def test_with_and_without_a_certificate_are_opposites() -> None:
    assert routes("use_backend a unless shown", "default_backend b", verify="optional") == [
        {"who": "anonymous", "backend": "a"},
        {"backend": "b"},
    ]


def test_a_request_that_goes_nowhere_goes_to_the_backend_that_denies() -> None:
    assert routes("use_backend a if get") == [
        {"request": {"method": "GET"}, "backend": "a"},
        {"backend": "authz-denied"},
    ]


def test_what_the_last_switch_excepts_goes_nowhere() -> None:
    assert routes("use_backend a unless admin") == [{"who": "admin", "backend": "authz-denied"}, {"backend": "a"}]


def test_what_no_route_can_say_stays_in_haproxy() -> None:
    for line in ("use_backend a if lucky", "use_backend a if area other", "use_backend a if nope"):
        found = drafted(line, "default_backend b")
        assert found["routes"] == [{"backend": "b"}]
        assert "keep the line in HAProxy" in found["notes"][-1].text


def test_whom_a_route_leaves_out_in_doubt_is_denied() -> None:
    found = drafted(
        "acl any ssl_c_s_dn(cn) -i any", "use_backend a if ops get", "use_backend b if any", "default_backend c"
    )
    assert found["rules"][:-1] == [
        rule("deny", "any-in-doubt", who="any", unless={"who": "any"}),
        rule("deny", "ops-in-doubt", who="ops", request={"method": "GET"}, unless={"who": "ops-only"}),
    ]


def test_more_routes_than_anybody_reads_are_not_made() -> None:
    lines = [f"use_backend a unless {{ hdr(h{one}) 1 }}" for one in range(7)]
    found = drafted(*lines, "default_backend b")
    assert len(found["routes"]) < 64
    assert "too many routes" in found["notes"][0].text


def test_what_else_a_switch_asks_of_the_certificate_is_no_part_of_the_doubt() -> None:
    found = drafted("use_backend a if ops admin get", "default_backend b")
    assert found["rules"][0]["request"] == {"method": "GET"}


def test_routes_that_nothing_reaches_are_left_out() -> None:
    lines = (
        "use_backend a if FALSE",
        "use_backend b if get",
        "use_backend c if get",
        "use_backend a",
        "use_backend b if admin",
    )
    assert routes(*lines) == [{"request": {"method": "GET"}, "backend": "b"}, {"backend": "a"}]
    assert routes("use_backend a unless TRUE", "use_backend b if get { method POST }", "default_backend c") == [
        {"backend": "c"}
    ]
