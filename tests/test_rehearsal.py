"""A policy's own tests: what they can say, what fails them, and that all of the language means what its tables say."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from spoa.authorizer import Policy
from spoa.issuers import Issuers
from spoa.policy.evaluator import Evaluator
from spoa.policy.reading import Report
from spoa.rehearsal import Rehearsal, rehearse
from tests.pki import CA
from tests.policies import HEAD, NOW, model, policy

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLES = Path(__file__).parent / "policy" / "cases"
TOPICS = sorted(path.name.removesuffix(".policy.yaml") for path in TABLES.glob("*.policy.yaml"))
RULES = """
break_glass: {incident: {max_duration: 1h, ticket: x}}
identities: {staff: {issuer: corp, ou: staff}}
rules:
  - {id: staff, effect: allow, who: staff}
  - {id: reader, effect: allow, who: {issuer: corp, cn: reader}, request: {method: read}}
routes: [{backend: main}]
"""
CERTS = "kind: tests\ncerts: {bob: {issuer: corp, ou: staff}, eve: {issuer: corp}}\n"


def run(
    judge: Policy, *texts: str, fixtures: Mapping[str, bytes] | None = None, **given: Any
) -> tuple[Rehearsal, Report]:
    report = Report()
    documents = {f"tests/{number}.yaml": text.encode() for number, text in enumerate(texts)}
    files = fixtures or {}
    return rehearse(judge, documents, files.get, report, **{"now": NOW, **given}), report


def said(report: Report) -> list[str]:
    return [f"{problem.line}:{problem.column} {problem.code}: {problem.message}" for problem in report.problems]


def rehearsed(tests: str) -> tuple[Rehearsal, list[str]]:
    rehearsal, report = run(policy(HEAD + RULES), CERTS + tests)
    return rehearsal, said(report)


@pytest.mark.parametrize("topic", TOPICS)
def test_the_language_means_what_its_tables_say(topic: str) -> None:
    judge = policy((TABLES / f"{topic}.policy.yaml").read_text())
    rehearsal, report = run(judge, (TABLES / f"{topic}.tests.yaml").read_text())
    assert [str(problem) for problem in report.problems if not problem.is_warning] == []
    assert rehearsal.results
    assert rehearsal.failed == 0


class TestFailures:
    def test_a_failure_says_what_was_expected_and_what_came(self) -> None:
        rehearsal, problems = rehearsed("tests:\n- {name: no way in, cert: bob, request: GET /, expect: deny}\n")
        assert len(problems) == 1
        assert problems[0] == (
            '4:3 test-failed: "no way in" failed: expected verdict deny, got verdict allow '
            "(verdict allow, reason ok, rule staff; rules that matched: staff)"
        )
        (result,) = rehearsal.results
        assert (result.name, result.kind, result.file, result.line) == ("no way in", "test", "tests/0.yaml", 4)
        assert (result.passed, result.expected, result.got) == (False, "verdict deny", "verdict allow")
        assert rehearsal.failed == 1

    @pytest.mark.parametrize(
        ("keys", "wrong"),
        [
            ("expect: allow, rule: ''", "expected rule none, got rule staff"),
            ("expect: allow, reason: denied_by_rule", "expected reason denied_by_rule, got reason ok"),
            ("expect: allow, status: 403", "expected status 403, got status 200"),
            ("expect: allow, route: ''", "expected route none, got route main"),
            ("expect: allow, shadow: deny", "expected shadow deny, got shadow none"),
            ("expect: deny, rule: x", "expected verdict deny, rule x, got verdict allow, rule staff"),
        ],
    )
    def test_each_expectation_is_compared(self, keys: str, wrong: str) -> None:
        _, problems = rehearsed(f"tests:\n- {{name: x, cert: bob, {keys}}}\n")
        assert len(problems) == 1
        assert wrong in problems[0]

    def test_a_name_that_is_not_there_is_answered_with_one_that_is(self) -> None:
        _, problems = rehearsed("tests:\n- {name: x, cert: bob, expect: allow, rule: staf, route: mian}\n")
        assert 'there is no rule "staf"; did you mean "staff"?' in problems[0]
        assert 'there is no route "mian"; did you mean "main"?' in problems[0]

    def test_nothing_that_matched_is_said_too(self) -> None:
        _, problems = rehearsed("tests:\n- {name: x, cert: eve, expect: allow}\n")
        assert "reason no_rule_allows; no rule matched" in problems[0]

    def test_an_invariant_fails_with_a_witness(self) -> None:
        rehearsal, problems = rehearsed("invariants:\n- {name: nobody writes, never_allow: {method: write}}\n")
        assert '"nobody writes" does not hold: expected deny, got allow for {"cert": {' in problems[0]
        assert rehearsal.results[0].kind == "invariant"
        assert rehearsal.results[0].got.startswith("allowed: ")

    def test_an_invariant_that_holds_passes(self) -> None:
        rehearsal, problems = rehearsed(
            "invariants:\n- {name: only staff writes, never_allow: {method: POST}, except: staff}\n"
        )
        assert (problems, [result.passed for result in rehearsal.results]) == ([], [True])


class TestMatrix:
    def test_every_certificate_is_sent_with_every_request(self) -> None:
        rehearsal, problems = rehearsed(
            "matrix:\n- {certs: [bob, none], requests: [GET /, PUT /x?y], expect: {bob: allow, none: deny}}\n"
        )
        assert problems == []
        assert [result.name for result in rehearsal.results] == [
            "matrix/bob/GET /",
            "matrix/bob/PUT /x?y",
            "matrix/none/GET /",
            "matrix/none/PUT /x?y",
        ]
        assert {result.kind for result in rehearsal.results} == {"matrix"}


class TestTime:
    def test_the_present_is_what_is_given(self) -> None:
        ca = CA("corp", now=NOW)
        alice = ca.issue("reader")
        judge = policy(HEAD + RULES, authorities={"corp": [ca.der]})
        text = "kind: tests\ncerts: {a: {pem: a.pem}}\ntests:\n- {name: x, cert: a, request: GET /, expect: allow}\n"
        files = {"tests/a.pem": alice.pem}
        assert run(judge, text, fixtures=files)[1].problems == ()
        _, report = run(judge, text, fixtures=files, now=NOW + 400 * 86400)
        assert "reason certificate_expired" in said(report)[0]

    def test_a_test_may_be_at_another_time_than_its_file(self) -> None:
        rules = HEAD + "rules:\n- {id: r, effect: allow, who: any_certificate, when: {time: {tz: UTC, days: fri}}}\n"
        _, report = run(
            policy(rules),
            "kind: tests\nnow: 2026-11-20T10:00:00Z\ncerts: {a: {issuer: corp}}\ntests:\n"
            "- {name: friday, cert: a, expect: allow}\n"
            "- {name: saturday, cert: a, now: 2026-11-21T10:00:00Z, expect: deny}\n",
        )
        assert said(report) == []

    def test_a_map_is_never_too_long_lived(self) -> None:
        rules = HEAD.replace('revocation: {none: "a test"}}', 'max_lifetime: 1s, revocation: {none: "a test"}}', 1)
        _, report = run(
            policy(rules + "rules: [{id: r, effect: allow, who: any_certificate}]\n"),
            "kind: tests\ncerts: {a: {issuer: corp}}\ntests: [{name: x, cert: a, expect: allow}]\n",
        )
        assert said(report) == []

    def test_tests_are_timed_by_the_clock_given(self) -> None:
        ticks = iter(range(100))
        rehearsal, _ = run(
            policy(HEAD + RULES), CERTS + "tests: [{name: x, cert: bob, expect: allow}]", clock=lambda: next(ticks)
        )
        assert rehearsal.results[0].seconds == 1


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA("corp", now=NOW)


class TestFixtures:
    def judged(self, ca: CA, keys: str, content: bytes | None, more: str = "") -> list[str]:
        judge = policy(HEAD + RULES, authorities={"corp": [ca.der]})
        files = {} if content is None else {"tests/fixtures/a.pem": content}
        text = f"kind: tests\ncerts: {{a: {{pem: fixtures/a.pem}}}}\ntests:\n- {{name: x, cert: a, {keys}}}\n{more}"
        return said(run(judge, text, fixtures=files)[1])

    def test_a_file_goes_the_whole_way(self, ca: CA) -> None:
        assert self.judged(ca, "expect: allow", ca.issue("x", ["staff"]).pem) == []

    def test_a_der_file_will_do(self, ca: CA) -> None:
        assert self.judged(ca, "expect: allow", ca.issue("x", ["staff"]).der) == []

    def test_another_ca_is_nobody(self, ca: CA) -> None:
        other = CA("corp", now=NOW)
        keys = "expect: deny, reason: issuer_unknown"
        assert self.judged(ca, keys, other.issue("x", ["staff"]).pem) == []

    def test_revocation_is_what_the_test_says(self, ca: CA) -> None:
        keys = "revocation: revoked, expect: deny, reason: certificate_revoked"
        assert self.judged(ca, keys, ca.issue("x", ["staff"]).pem) == []

    def test_a_missing_file_is_reported_once_and_its_tests_are_left_out(self, ca: CA) -> None:
        found = self.judged(ca, "expect: allow", None, more="- {name: y, cert: a, expect: allow}\n")
        assert found == ['2:18 missing-fixture: there is no file "tests/fixtures/a.pem" in the policy directory']

    @pytest.mark.parametrize(
        ("content", "detail"),
        [
            (b"nothing", "it holds no certificate, neither PEM nor DER"),
            (b"-----BEGIN CERTIFICATE-----\nAAA", "is never ended"),
        ],
    )
    def test_a_file_without_a_certificate_is_reported(self, ca: CA, content: bytes, detail: str) -> None:
        (found,) = self.judged(ca, "expect: allow", content)
        assert "bad-fixture" in found
        assert detail in found


class TestLists:
    def test_a_map_is_on_a_list_by_its_fingerprint(self) -> None:
        from spoa.allowlist import parse_plain
        from spoa.listindex import ListIndex, write_index

        text = (
            HEAD + "lists: {good: {file: good.txt}}\n"
            "rules: [{id: r, effect: allow, who: {issuer: corp, in_list: good}, request: {path: /a}},\n"
            "{id: all, effect: allow, who: any_certificate, request: {path: /b}},\n"
            "{id: d, effect: deny, who: {issuer: corp, in_list: good}, request: {path: /b}}]\n"
        )
        listing, _ = parse_plain(b"ab" * 32, "good.txt")
        lists = {"good": ListIndex(write_index(listing.sections))}
        judge = Policy(Evaluator.of(model(text)), Issuers({}), lists, "0123456789ab")
        certs = f"on: {{issuer: corp, fingerprint: {'ab' * 32}}}, off: {{issuer: corp, fingerprint: {'cd' * 32}}}"
        _, report = run(
            judge,
            f"kind: tests\ncerts: {{{certs}, said: {{issuer: corp, in_list: good}}, dim: {{issuer: corp}}}}\n"
            "matrix:\n- {certs: [on, off, said, dim], requests: GET /a,"
            " expect: {on: allow, off: deny, said: allow, dim: deny}}\n"
            "- {certs: [on, off, said, dim], requests: GET /b,"
            " expect: {on: deny, off: allow, said: deny, dim: deny}}\n",
        )
        assert said(report) == []


def test_all_problems_of_all_documents_are_found_and_the_rest_is_run() -> None:
    rehearsal, report = run(
        policy(HEAD + RULES),
        CERTS + "tests: [{name: x, cert: bobb, expect: allow}, {name: y, cert: bob, expect: allow}]",
        "kind: tests\ntests: [{name: z, expect: allow}]",
        "kind: [",
    )
    assert [result.name for result in rehearsal.results] == ["y"]
    assert [problem.code for problem in report.problems] == ["unknown-name", "missing-key", "syntax"]


def test_a_thousand_tests_run_in_less_than_two_seconds() -> None:
    rows = "".join(
        f"- {{name: t{n}, cert: bob, request: GET /a/{n}, host: h{n}.example, expect: allow}}\n" for n in range(1000)
    )
    began = time.process_time()
    rehearsal, report = run(policy(HEAD + RULES), CERTS + "tests:\n" + rows)
    assert (len(rehearsal.results), report.problems) == (1000, ())
    assert time.process_time() - began < 2
