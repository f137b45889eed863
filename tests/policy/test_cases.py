"""Tests documents: every problem at its place, and what a map of attributes becomes."""

from __future__ import annotations

import pytest

from spoa.facts import ABSENT, UNAVAILABLE
from spoa.policy.cases import CaseFile, read_cases
from spoa.policy.reading import Report
from tests.policies import HEAD, model

MODEL = model(
    HEAD + "lists: {good: {file: g}}\nbreak_glass: {incident: {max_duration: 1h, ticket: x}}\n"
    "identities: {staff: {issuer: corp, ou: staff}}\n"
    "rules: [{id: r, effect: allow, who: staff}, {id: l, effect: deny, who: {issuer: corp, in_list: good}}]\n"
)
ALICE = "certs: {alice: {issuer: corp}}\n"


def read(text: str) -> tuple[CaseFile | None, list[str]]:
    report = Report()
    found = read_cases(f"kind: tests\n{text}".encode(), "tests/t.yaml", MODEL, report)
    return found, [f"{problem.line}:{problem.column} {problem.path}: {problem.message}" for problem in report.problems]


def cases(text: str) -> CaseFile:
    found, problems = read(text)
    assert problems == []
    assert found is not None
    return found


PROBLEMS = {
    "certs: {none: {issuer: corp}}": "2:9 certs.none: `none` means that there is no certificate; choose another name",
    "certs: {a: {issuer: cor}}": '2:21 certs.a.issuer: unknown issuer "cor"; did you mean "corp"?',
    "certs: {a: {cn: x}}": '2:12 certs.a: missing key "issuer" in a certificate',
    "certs: {a: {issuer: corp, in_list: god}}": '2:36 certs.a.in_list: unknown list "god"; did you mean "good"?',
    "certs: {a: {pem: x.pem, cn: y}}": 'certs.a.cn: unknown key "cn" in a certificate file',
    "certs: {a: {issuer: corp, key: rsa}}": "write a key as `rsa:2048`",
    "certs: {a: {issuer: corp, key: 'ed25519:256'}}": "write a key as `rsa:2048`",
    "certs: {a: {issuer: corp, eku: x}}": "write a dotted OID or one of clientAuth",
    "certs: {a: {issuer: corp, ip_san: x}}": "write an IP address such as",
    "certs: {a: {issuer: corp, fingerprint: ab}}": "64 hex digits",
    "certs: {a: {issuer: corp, serial: xyz}}": "hex digits",
    ALICE + "tests: [{name: x, request: GET /, expect: deny}]": '3:9 tests[0]: missing key "cert" in a test',
    ALICE + "tests: [{name: x, cert: alcie, expect: deny}]": (
        '3:25 tests[0].cert: unknown certificate "alcie"; did you mean "alice"?'
    ),
    ALICE + "tests: [{name: x, cert: alice}]": '3:9 tests[0]: missing key "expect" in a test',
    ALICE + "tests: [{name: x, cert: alice, expect: maybe}]": 'expected allow or deny, found "maybe"',
    ALICE + "tests: [{name: x, cert: alice, expect: deny, request: GET}]": "write a request as `GET /path`",
    ALICE + "tests: [{name: x, cert: alice, expect: deny, open: incidnt}]": (
        '3:52 tests[0].open: unknown break_glass switch "incidnt"; did you mean "incident"?'
    ),
    ALICE + "tests: [{name: x, cert: alice, expect: deny, revocation: bad}]": "tests[0].revocation: expected good,",
    ALICE + "tests: [{name: x, cert: alice, expect: deny, now: today}]": "expected a time with its zone",
    ALICE
    + "tests: [{name: x, cert: alice, expect: deny, hots: x}]": 'unknown key "hots" in a test; did you mean "host"?',
    ALICE + "tests: [{name: x, cert: alice, expect: deny}, {name: x, cert: none, expect: deny}]": (
        'tests[1]: "x" is already the name of the test on line 3'
    ),
    ALICE
    + "matrix: [{certs: [alice, bob], requests: GET /, expect: deny}]": 'matrix[0].certs: unknown certificate "bob"',
    ALICE + "matrix: [{certs: [alice, none], requests: GET /, expect: {alice: deny}}]": (
        'matrix[0].expect: nothing is expected of "none"; say `allow` or `deny`'
    ),
    ALICE + "matrix: [{certs: alice, requests: GET /, expect: {alice: deny, bob: deny}}]": (
        'matrix[0].expect.bob: unknown certificate of this matrix "bob"'
    ),
    ALICE + "matrix: [{certs: alice, expect: deny}]": 'matrix[0]: missing key "requests" in a matrix',
    "invariants: [{name: x}]": 'invariants[0]: missing key "never_allow" in an invariant',
    "invariants: [{name: x, never_allow: {}}]": "nothing is said in never_allow",
    "invariants: [{never_allow: {path: /x}}]": 'missing key "name"',
    "invariants: [{name: x, never_allow: {not_ou: y, path: /x}}]": 'unknown key "not_ou" in never_allow',
    "invariants: [{name: x, never_allow: {path: x}}]": "a path pattern starts with `/`",
    "invariants: [{name: x, never_allow: {who: stuff}}]": 'unknown identity "stuff"; did you mean "staff"?',
    "invariants: [{name: x, never_allow: {path: /x}, except: [stff]}]": (
        '2:58 invariants[0].except: unknown identity "stff"; did you mean "staff"?'
    ),
    "invariants: [{name: x, never_allow: {path: /x}, except: staff@now}]": (
        'invariants[0].except: unknown break_glass switch "now"'
    ),
    "test: []": 'unknown key "test" in a tests document; did you mean "tests"?',
}


@pytest.mark.parametrize("text", PROBLEMS)
def test_a_problem_is_told_at_its_place(text: str) -> None:
    _, problems = read(text)
    assert len(problems) == 1
    assert PROBLEMS[text] in problems[0]


@pytest.mark.parametrize(
    ("text", "message"), [("", "the file is empty"), ("[", "not YAML"), ("- x", "expected a mapping")]
)
def test_what_is_no_document_gives_no_cases(text: str, message: str) -> None:
    report = Report()
    assert read_cases(text.encode(), "t.yaml", MODEL, report) is None
    assert message in report.problems[0].message


def test_the_kind_must_be_written() -> None:
    report = Report()
    read_cases(b"tests: []", "t.yaml", MODEL, report)
    assert 'missing key "kind"' in report.problems[0].message


def test_a_map_leaves_the_subject_absent_and_the_rest_unavailable() -> None:
    certificate = cases("certs: {a: {issuer: corp, ou: [], eku: []}}").specimens["a"].at(7)
    assert (certificate.subject, certificate.dns_san, certificate.ip_san) == ({}, (), ())
    assert certificate.eku is ABSENT
    for field in ("sha256", "sha1", "spki_sha256", "serial", "policy_oids"):
        assert getattr(certificate, field) is UNAVAILABLE
    assert (certificate.key_type, certificate.key_bits, certificate.not_before, certificate.not_after) == (
        "EC",
        256,
        7,
        7,
    )


def test_a_map_says_what_it_says() -> None:
    found = cases(
        "certs: {a: {issuer: partners, cn: c, ou: [x, y], o: z, subject: {CN: d, L: Paris}, dns_san: a.b,"
        "uri_san: 'urn:x', email_san: a@b, ip_san: [10.0.0.1, '::ffff:10.0.0.2'], fingerprint: " + "ab" * 32 + ","
        "spki: " + "cd" * 32 + ", serial: '0A', eku: clientAuth, policy_oid: [1.2.3], key: 'rsa:4096', in_list: good}}"
    ).specimens["a"]
    said = found.at(0)
    assert said.subject == {"2.5.4.3": ("c", "d"), "2.5.4.11": ("x", "y"), "2.5.4.10": ("z",), "2.5.4.7": ("Paris",)}
    assert (said.dns_san, said.uri_san, said.email_san) == (("a.b",), ("urn:x",), ("a@b",))
    assert said.ip_san == (bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)))
    assert (said.sha256, said.spki_sha256, said.serial) == (b"\xab" * 32, b"\xcd" * 32, 10)
    assert (said.eku, said.policy_oids) == (("1.3.6.1.5.5.7.3.2",), ("1.2.3",))
    assert (said.key_type, said.key_bits, found.issuer, found.lists) == ("RSA", 4096, "partners", {"good": True})


@pytest.mark.parametrize(
    ("said", "lists"),
    [("", {}), (", in_list: good", {"good": True, "old": False}), (", in_list: []", {"good": False, "old": False})],
)
def test_whoever_names_lists_is_on_no_others(said: str, lists: dict[str, bool]) -> None:
    two = model(
        HEAD
        + "lists: {good: {file: good.txt}, old: {file: old.txt}}\n"
        + "rules: [{id: all, effect: allow, who: any_certificate}]"
    )
    report = Report()
    text = f"kind: tests\ncerts: {{a: {{issuer: corp{said}}}}}"
    found = read_cases(text.encode(), "t.yaml", two, report)
    assert found is not None
    assert (found.specimens["a"].lists, report.errors) == (lists, 0)


def test_an_issuer_may_be_unknown() -> None:
    assert cases("certs: {a: {issuer: unknown}}").specimens["a"].issuer == ""


def test_what_is_not_given_is_unavailable_but_for_the_sni() -> None:
    (case,) = cases(ALICE + "tests: [{cert: alice, expect: deny}]").cases
    request = case.request
    assert (case.name, case.now, case.revocation, case.switches) == ("alice", None, "good", frozenset())
    assert {request.method, request.path, request.host, request.source, request.tls} == {UNAVAILABLE}
    assert (request.sni, request.headers) == (ABSENT, {})


def test_a_request_is_method_and_path_without_the_query() -> None:
    found = cases(
        "now: 2026-11-20T10:00:00Z\n" + ALICE + "tests:\n- {cert: alice, request: 'GET /é?x', expect: deny}\n"
        "- {cert: none, request: OPTIONS *, expect: deny, now: 2026-11-20T10:00:01Z, headers: {X-A: b},"
        " open: incident, source: '::ffff:10.0.0.1', host: h, sni: s, tls: t}\n"
    ).cases
    assert (found[0].request.method, found[0].request.path) == ("GET", "/\xc3\xa9")
    assert (found[0].name, found[1].name) == ("alice GET /é?x", "none OPTIONS *")
    given = found[1].request
    assert (given.path, given.headers, given.source) == (ABSENT, {"x-a": "b"}, bytes((10, 0, 0, 1)))
    assert (given.host, given.sni, given.tls, found[1].switches) == ("h", "s", "t", frozenset({"incident"}))
    assert found[1].now == (found[0].now or 0) + 1


def test_files_are_relative_to_the_document() -> None:
    assert cases("certs: {a: {pem: ../x/a.pem}}").specimens["a"].file == "x/a.pem"
