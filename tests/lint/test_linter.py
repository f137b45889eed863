from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from spoa.lint.catalogue import WARNINGS
from spoa.lint.linter import lint_policy
from spoa.policy.load import load_policies
from spoa.policy.reading import Report

ROOT: Final = Path(__file__).parents[2]
FAULTS: Final = yaml.safe_load((Path(__file__).parent / "faults.yaml").read_text())
SHIPPED: Final = [ROOT / "policies", *sorted((ROOT / "haproxy" / "examples" / "policies").iterdir())]
HEAD: Final = """
apiVersion: authz/v1
issuers:
  corp: {ca: corp.pem, revocation: {none: "a test"}}
  partners: {ca: partners.pem, revocation: {none: "a test"}}
  spire: {ca: spire.pem, trust_domain: prod.example, revocation: {none: "a test"}}
"""


def findings(documents: dict[str, bytes]) -> list[str]:
    report = Report()
    model = load_policies(documents, report)
    assert model is not None, [str(problem) for problem in report.problems]
    found = Report()
    lint_policy(model, documents, found, dead_lists=frozenset({"dead"}))
    assert all(problem.is_warning and problem.line and problem.code in WARNINGS for problem in found.problems)
    return [f"{problem.code} {problem.path}" for problem in found.problems]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["name"])
def test_a_fault_is_found_and_nothing_else(fault: dict[str, Any]) -> None:
    assert sorted(findings({"policy.yaml": (HEAD + fault["policy"]).encode()})) == sorted(fault["expect"])


@pytest.mark.parametrize("directory", SHIPPED, ids=lambda path: path.name)
def test_nothing_is_found_in_what_is_shipped(directory: Path) -> None:
    documents = {path.name: path.read_bytes() for path in directory.glob("*.yaml")}
    assert findings(documents) == []


def test_rules_of_several_files_are_judged_together() -> None:
    rules = HEAD + "rules: [{id: all, effect: allow, who: any_certificate}]"
    more = "apiVersion: authz/v1\nrules: [{id: some, effect: allow, who: {issuer: corp}}]"
    found = findings({"a.yaml": rules.encode(), "b.yaml": more.encode()})
    assert found == ["wide-allow rules[0].id", "shadowed-rule rules[0].id"]
