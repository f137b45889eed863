"""What is explained is what the workers judge by: the same bundle, blocks, openings and evidence."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from spoa import explainer
from spoa.blockedit import add_block
from spoa.blocks import Block, read_target
from spoa.bundle import build_bundle
from spoa.explainer import MAX_TEXT, explanation
from spoa.listindex import NEVER
from spoa.openings import Opening, Openings
from tests.pki import CA

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """\
apiVersion: authz/v1
issuers: {corp: {ca: corp.pem, revocation: {none: "short-lived"}}}
identities: {staff: {issuer: corp, ou: staff}}
break_glass: {incident: {max_duration: 1h, ticket: "INC-[0-9]+"}}
rules:
  - {id: office, effect: require, request: {path: "/admin/**"}, when: {source: [10.0.0.0/8]}, overridable_by: incident}
  - {id: staff, effect: allow, who: staff, request: {path: "/**"}}
"""


@dataclass
class Ground:
    job: dict[str, Any]
    ca: CA

    def explain(self, asked: dict[str, Any]) -> dict[str, Any]:
        return explanation({**self.job, "asked": asked})


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    ca, policies, bundle = CA("corp"), tmp_path / "policies", tmp_path / "bundle"
    policies.mkdir()
    bundle.mkdir()
    (tmp_path / "evidence").mkdir()
    (policies / "corp.pem").write_bytes(ca.pem)
    (policies / "policy.yaml").write_text(POLICY)
    build_bundle(policies, bundle)
    return Ground({"bundle": str(bundle), "imposed": {}, "evidence": "{}", "state": str(tmp_path)}, ca)


def test_a_pasted_certificate_is_judged_with_the_request(ground: Ground) -> None:
    pem = ground.ca.issue("alice", ["staff"]).pem.decode()
    denied = ground.explain({"cert": pem, "request": "GET /admin/x", "source": "192.0.2.1"})
    assert (denied["verdict"], denied["rule"], denied["nearest"]["rule"]) == ("deny", "office", "office")
    allowed = ground.explain({"cert": pem, "request": "GET /admin/x", "source": "10.0.0.1", "host": "a.example"})
    assert (allowed["verdict"], allowed["identity"]) == ("allow", "staff")


def test_a_certificate_may_be_given_as_what_it_says(ground: Ground) -> None:
    assert ground.explain({"cert": "{issuer: corp, ou: staff}", "request": "GET /"})["verdict"] == "allow"
    assert "nonsense" in ground.explain({"cert": "{nonsense: corp}", "request": "GET /"})["error"]


def test_without_a_certificate_that_is_what_denies(ground: Ground) -> None:
    assert ground.explain({"request": "GET /"})["reason"] == "no_certificate"
    assert ground.explain({})["reason"] == "no_certificate"


def test_blocks_and_openings_count(ground: Ground) -> None:
    issued = ground.ca.issue("alice", ["staff"])
    asked = {"cert": issued.pem.decode(), "request": "GET /admin/x", "source": "192.0.2.1"}
    now = ground.ca.now
    opening = Opening("incident", "INC-7", now - 60, now + 600, "ann")
    ground.job["imposed"] = {"open": Openings([opening]).to_text().decode()}
    assert ground.explain(asked)["verdict"] == "allow"
    serial = f"corp/{issued.certificate.serial_number:x}"
    ground.job["imposed"] = {"block": add_block(b"", Block(read_target(serial), "", "", now, NEVER)).decode()}
    assert ground.explain(asked)["reason"] == "certificate_blocked"


def test_a_logged_decision_is_judged_again(ground: Ground) -> None:
    decision = {
        "time": "2026-11-28T12:00:00.000000Z",
        "id": "id-1",
        "verdict": "deny",
        "reason": "requirement_not_met",
        "rule": "office",
        "revision": "000000000000",
        "revocation": "not_checked",
        "cert": {"sha256": "ab" * 32, "subject": "CN=alice,OU=staff", "issuer": "CN=corp", "serial": "1",
                 "not_after": "2036-01-01T00:00:00Z"},
        "src": "192.0.2.1",
        "method": "GET",
        "path": "/admin/x",
    }  # fmt: skip
    found = ground.explain({"decision": decision})
    assert (found["verdict"], found["rule"], found["logged"]["differs"]) == ("deny", "office", False)
    assert not found["logged"]["is_same_revision"]
    again = ground.explain({"decision": {**decision, "break_glass": ["incident"]}})
    assert again["verdict"] == "allow"
    assert again["logged"]["differs"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"cert": "hello"}, "paste a certificate as PEM"),
        ({"cert": "-----BEGIN CERTIFICATE-----\nAAAA\n"}, "line 1"),
        ({"cert": "x" * (MAX_TEXT + 1)}, "longer than"),
        ({"request": "nonsense"}, "GET"),
        ({"request": "GET /", "source": "nowhere"}, "write an IP address"),
        ({"decision": {"verdict": "deny", "time": 7}}, "has no time"),
        ({"decision": {"verdict": "deny"}}, "has no time"),
        ({"decision": []}, "no decision of the log"),
        ({"decision": "<script>"}, "no decision of the log"),
    ],
)
def test_what_cannot_be_explained_is_a_sentence(asked: dict[str, Any], says: str, ground: Ground) -> None:
    found = ground.explain(asked)
    assert set(found) == {"error"}
    assert says in found["error"]


def test_a_bundle_without_a_policy_is_told_of(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explainer, "open_bundle", lambda *_: iter(()))
    assert ground.explain({})["error"] == "the bundle holds no policy"


def test_a_defect_is_told_as_one(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(explainer, "explain", lambda *_, **__: 1 / 0)
    assert ground.explain({"request": "GET /"})["error"].startswith("ZeroDivisionError")
    assert "Traceback" in capsys.readouterr().err


def test_the_process_does_jobs_until_its_input_ends(ground: Ground) -> None:
    job = json.dumps({**ground.job, "asked": {"request": "GET /"}}) + "\n"
    done = subprocess.run(
        [sys.executable, "-m", "spoa.explainer"], input=job * 2, capture_output=True, text=True, timeout=60, check=True
    )
    assert [json.loads(line)["reason"] for line in done.stdout.splitlines()] == ["no_certificate"] * 2
