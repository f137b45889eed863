"""The tests of a draft: they pass, they tell where HAProxy said otherwise, and they are a document of the language."""

from __future__ import annotations

import yaml

from spoa.migration.drafting import policy_of
from spoa.migration.testing import draft_tests, verdicts
from spoa.policy.reading import Report
from spoa.rehearsal import rehearse
from tests.migration.configurations import NOW, draft_of, frontend

TEXT = frontend(
    "acl listed ssl_c_sha1,hex " + "AB" * 20,
    "acl ops ssl_c_s_dn(ou) ops",
    "acl french ssl_c_s_dn(c) FR",
    "http-request deny if { path_beg /admin } !ops !listed",
    "http-request deny if { method POST } { src 10.0.0.0/8 }",
    "http-request deny if { hdr(host) other.example } french or { hdr(x-a) 1 }",
    "http-request deny if { method DELETE } { hdr(x-b) -m found }",
    "default_backend a",
    verify="optional",
)
STAMP = "2026-11-20T12:00:00Z"


def test_they_pass() -> None:
    draft = draft_of(TEXT)
    report = Report()
    text = draft_tests(draft, lambda _: None, NOW, STAMP)
    rehearsal = rehearse(policy_of(draft, NOW), {"tests/import.yaml": text}, lambda _: None, report, now=NOW)
    assert [problem for problem in report.problems if not problem.is_warning] == []
    assert rehearsal.failed == 0
    assert 20 < len(rehearsal.results) <= 80


def test_each_says_what_comes_out_and_why() -> None:
    text = draft_tests(draft_of(TEXT), lambda _: None, NOW, STAMP)
    found = yaml.safe_load(text)
    first = found["tests"][0]
    assert {"name", "cert", "request", "source", "host", "tls", "expect"} <= set(first)
    assert {test["expect"] for test in found["tests"]} == {"allow", "deny"}
    assert any(test["cert"] == "none" for test in found["tests"])
    assert any("in_list" in cert for cert in found["certs"].values())
    assert any(cert.get("subject") == {"C": "FR"} for cert in found["certs"].values())
    assert any("headers" in test for test in found["tests"])
    assert "  # HAProxy said allow.\n" in text.decode()
    assert "  # HAProxy said deny.\n" not in text.decode()


def test_verdicts_come_of_both() -> None:
    found = list(verdicts(draft_of(TEXT), lambda _: None, NOW))
    assert {decision.verdict for _, _, decision, _ in found} == {"allow", "deny"}
    assert {outcome.verdict for *_, outcome in found} == {"allow", "deny"}
