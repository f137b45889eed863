"""The benchmark of `replay` judges what the agent would have logged, and notices what comes out otherwise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks.certificates import make_certificates
from benchmarks.policies import write_policy
from benchmarks.replay import rate, write_log
from spoa.loading import load_policy

if TYPE_CHECKING:
    from pathlib import Path


def test_every_decision_is_judged_again_as_it_was(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path, 100, 0)
    write_policy(tmp_path / "policies", certificates, 200, 100)
    policy = load_policy(tmp_path / "policies")
    log = tmp_path / "log.jsonl"
    write_log(log, policy, certificates, 400, 2)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows) == 400
    assert len({(row["path"], row["cert"]["sha256"]) for row in rows}) == 200
    assert {row["verdict"] for row in rows} == {"allow", "deny"}
    assert rate(log, policy) > 0
    log.write_text(json.dumps({**next(row for row in rows if row["verdict"] == "allow"), "verdict": "deny"}) + "\n")
    with pytest.raises(SystemExit, match="newly_allowed"):
        rate(log, policy)
