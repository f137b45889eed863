"""Rules without their order: refusals and switches as alternatives."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spoa.migration.clauses import Refusal, refusals, switches
from spoa.migration.notes import Notes
from tests.migration.configurations import frontend, proxies_of

ACLS = ("acl x path /x", "acl y path /y", "acl z path /z")


def refused(*lines: str, backends: str = "") -> tuple[list[Refusal], Notes]:
    proxies = proxies_of(frontend(*ACLS, *lines, backends=backends))
    notes = Notes()
    return refusals(proxies.frontends[0], proxies, notes), notes


def shown(found: list[Refusal]) -> list[list[str]]:
    return [[" ".join(map(str, term)) for term in refusal.terms] for refusal in found]


def test_a_refusal_holds_only_where_no_earlier_rule_has_allowed() -> None:
    found, _ = refused(
        "http-request allow if x y", "http-request deny if z", "http-request allow if y", "http-request deny"
    )
    assert shown(found) == [["z !x", "z !y"], ["!y"]]


def test_an_unconditional_allow_ends_all_refusals() -> None:
    found, _ = refused("http-request allow", "http-request deny if x")
    assert shown(found) == [[]]


def test_what_contradicts_itself_is_left_out() -> None:
    found, _ = refused("http-request allow if x", "http-request deny if x or y x or z")
    assert shown(found) == [["z !x"]]


def test_other_rules_refuse_as_well_each_with_its_status() -> None:
    found, _ = refused(
        "tcp-request connection reject if x",
        "tcp-request content reject if y",
        "http-request deny deny_status 429 if x",
        "http-request tarpit if x",
        "http-request auth realm r unless { http_auth(users) }",
        "http-request return status 404 if z",
        "http-request return status 200 if z",
        "http-request silent-drop if z",
        "block if z",
    )
    assert [refusal.status for refusal in found] == [403, 403, 429, 500, 401, 404, 403, 403]


def test_accepting_in_one_set_of_rules_says_nothing_in_another() -> None:
    found, _ = refused("tcp-request content accept if x", "tcp-request content reject", "http-request deny if x")
    assert shown(found) == [["!x"], ["x"]]


def test_rules_of_a_backend_hold_for_what_is_sent_there() -> None:
    backends = "backend d\n    acl w src 10.0.0.1\n    http-request deny if w\n"
    found, _ = refused("use_backend a if x", "use_backend d if y or z", "default_backend b", backends=backends)
    assert shown(found) == [["w y !x", "w z !x"]]


def test_switches_come_in_order_and_the_default_last() -> None:
    proxies = proxies_of(frontend(*ACLS, "default_backend b", "use_backend a if x", "use_backend %[path] if y"))
    notes = Notes()
    found = switches(proxies.frontends[0], notes)
    assert [(one.backend, [len(term) for term in one.terms]) for one in found] == [("a", [1]), ("b", [0])]
    assert [note.code for note in notes.all] == ["kept"]
    assert switches(proxies_of(frontend()).frontends[0], notes) == []


@pytest.mark.parametrize(
    ("backend", "code"),
    [("be-%[path]", "kept"), ("%[path]", "kept"), ("no/name", "untranslated"), ("é", "untranslated")],
)
@pytest.mark.parametrize("directive", ["use_backend", "default_backend"])
def test_what_is_no_name_of_a_backend_is_noted_and_makes_no_route(directive: str, backend: str, code: str) -> None:
    notes = Notes()
    found = switches(proxies_of(frontend(f"{directive} {backend}", "use_backend a")).frontends[0], notes)
    assert [one.backend for one in found] == ["a"]
    assert [note.code for note in notes.all] == [code]


def test_captures_and_variables_are_what_they_hold() -> None:
    found, _ = refused(
        "capture request header X-A len 10",
        "http-request set-var(txn.cn) ssl_c_s_dn(cn),lower",
        "http-request set-var(txn.no) ssl_c_s_dn(cn) if x",
        "http-request deny if { capture.req.hdr(0) -m str a } { var(txn.cn),upper -m str b } { var(txn.no) -m str c }",
    )
    tests = [literal.acl.tests[0] for literal in found[0].terms[0]]
    assert [str(replace(test, written="")) for test in tests] == [
        "req.fhdr(X-A) -m str a",
        "ssl_c_s_dn(cn),lower,upper -m str b",
        "var(txn.no) -m str c",
    ]


def test_what_is_no_authorization_is_noted_as_staying_and_what_changes_the_request_as_unsaid() -> None:
    _, notes = refused(
        "http-request redirect scheme https unless { ssl_fc }",
        "http-request set-header a b",
        "http-request set-path /x",
        "http-request use-service prometheus-exporter if x",
        "http-request track-sc0 src",
        "http-request sc-inc-gpc0(0)",
    )
    assert [(note.code, note.line) for note in notes.all] == [("kept", 8), ("untranslated", 10), ("kept", 11)]


def test_a_condition_of_too_many_alternatives_is_taken_to_hold() -> None:
    long = " or ".join(["x y z"] * 7)
    found, notes = refused(f"http-request deny unless {long}")
    assert shown(found) == [[""]]
    assert [note.code for note in notes.all] == ["untranslated"]


def test_what_has_too_many_alternatives_to_be_told_takes_nothing_from_later_refusals() -> None:
    long = " or ".join(["x y z"] * 7)
    found, notes = refused(f"http-request allow unless {long}", "http-request deny if x")
    assert shown(found) == [["x"]]
    assert [note.text.rpartition(";")[2] for note in notes.all] == [" it is taken to hold never"]
    backends = "backend d\n    http-request deny if { src 10.0.0.1 }\n"
    found, _ = refused(f"use_backend a unless {long}", "default_backend d", backends=backends)
    assert shown(found) == [["{ src 10.0.0.1 }"]]


DENYING = "backend d\n    acl w src 10.0.0.1\n    http-request deny if w\n"


def test_a_backend_refuses_whatever_comes_where_the_condition_that_leads_there_can_t_be_read() -> None:
    found, notes = refused("use_backend a if x", "use_backend d if { !a }", "default_backend b", backends=DENYING)
    assert shown(found) == [["w"]]
    (note,) = notes.all
    assert (note.line, note.code) == (9, "untranslated")
    assert note.text.endswith("may send anything to d; the draft denies all that is denied there")


def test_what_can_t_be_read_in_such_a_backend_refuses_everything() -> None:
    backends = "backend d\n    http-request deny if { !a }\n"
    found, notes = refused("use_backend d if { !a }", backends=backends)
    assert shown(found) == [[""]]
    assert [note.line for note in notes.all] == [8, 16]


@pytest.mark.parametrize(
    ("line", "backends", "text"),
    [
        ("use_backend %[path] if x", DENYING, "it may choose d, whose refusals the draft doesn't have"),
        ("use_backend be-%[path] if { !a }", DENYING, "it may choose d, whose refusals the draft doesn't have"),
        ("use_backend %[path]\n    use_backend d if x y !x", DENYING, "it may choose d, whose refusals"),
        ("default_backend %[path]", DENYING, "it may choose d, whose refusals the draft doesn't have"),
        (
            "use_backend %[path]",
            "".join(f"backend n{number}\n    http-request deny if {{ !a }}\n" for number in range(10)),
            "it may choose n0, n1, n2, n3, n4, n5, n6, n7 and 2 more, whose",
        ),
    ],
)
def test_what_backends_refuse_that_a_made_up_name_may_choose_is_noted(line: str, backends: str, text: str) -> None:
    found, notes = refused(line, backends=backends)
    assert all(refusal.terms == () for refusal in found)
    (note,) = [note for note in notes.all if note.code == "undrafted"]
    assert (note.line, text in note.text) == (8, True)


def test_what_is_refused_in_the_default_backend_or_in_none_is_not_noted() -> None:
    _, notes = refused("use_backend %[path] if x", "default_backend d", backends=DENYING)
    assert [note.code for note in notes.all] == ["kept"]
    _, notes = refused("use_backend %[path] if x")
    assert [note.code for note in notes.all] == ["kept"]


def test_an_exception_of_too_many_alternatives_is_left_out() -> None:
    long = " or ".join(["x y z"] * 6)
    found, _ = refused(f"http-request allow if {long}", "http-request deny")
    assert shown(found) == [[""]]


@pytest.mark.parametrize(
    ("lines", "backend"),
    [
        (["http-request deny if { !METH_GET }"], ""),
        (["tcp-request content reject unless { !METH_GET }"], ""),
        (["http-request return status 403 if { !METH_GET }"], ""),
        (["acl x !METH_GET", "http-request deny if x"], ""),
        (["acl METH_GET !METH_GET", "http-request deny if METH_GET"], ""),
        (["default_backend d"], "backend d\n    http-request deny if { !METH_GET }"),
    ],
)
def test_a_refusal_that_cannot_be_read_refuses_everything_and_is_noted(lines: list[str], backend: str) -> None:
    found, notes = refused(*lines, backends=backend)
    assert [""] in shown(found)
    (note,) = [note for note in notes.all if note.code == "untranslated"]
    assert "!METH_GET" in note.text
    assert "the draft denies everything" in note.text


@pytest.mark.parametrize(
    "line",
    [
        "http-request allow if { !a }",
        "http-request set-header a b if { !a }",
        "acl alone !a",
        "use_backend b if { !a }",
    ],
)
def test_what_refuses_nothing_refuses_nothing_where_it_cannot_be_read(line: str) -> None:
    found, notes = refused(line)
    assert (found, notes.all) == ([], ())
