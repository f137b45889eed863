"""Explanations in JSON and in lines: the same facts, and nothing that steers a terminal left out of either."""

from __future__ import annotations

from spoa.cli.explained import explained_row, explained_text
from spoa.cli.logged import Asked
from spoa.explanation import explain
from spoa.facts import ABSENT, Request
from tests.policies import HEAD, NOW, holder, policy

JUDGE = policy(
    HEAD
    + """
rules:
  - {id: staff, effect: allow, who: {issuer: corp, ou: staff}}
  - {id: admin, effect: require, request: {path: "/admin/**"}, when: {source: 10.0.0.0/8}}
"""
)


def asked(path: str) -> Asked:
    return Asked(Request(cert=ABSENT, used=False, method="GET", path=path, sni=ABSENT), NOW, holder(ou="staff"))


def test_lines_and_json_say_the_same() -> None:
    for path in ("/", "/admin", "/a//b"):
        one = asked(path)
        explanation = explain(JUDGE, one.request, one.now, subject=one.subject)
        row = explained_row(explanation, JUDGE, one)
        lines = list(explained_text(explanation, JUDGE, one))
        assert lines[0].startswith(f"{row['verdict'].upper()} {row['reason']}")
        assert sum(line.startswith("  passed ") for line in lines) == sum(bool(gate["passed"]) for gate in row["gates"])
        assert all(any(f" {rule['id']} (" in line for line in lines) for rule in row["rules"])
        assert bool(row["rules"]) is (path != "/a//b")
        assert (row["nearest"] is not None) is any(line.startswith("Nearest miss: ") for line in lines)
        assert (row["logged"], row["revision"]) == (None, JUDGE.revision)


def test_the_decisive_rule_is_marked_in_both() -> None:
    one = asked("/admin")
    explanation = explain(JUDGE, one.request, one.now, subject=one.subject)
    row = explained_row(explanation, JUDGE, one)
    assert [rule["id"] for rule in row["rules"] if rule["decisive"]] == ["admin"]
    assert any("admin (require, decisive)" in line for line in explained_text(explanation, JUDGE, one))
