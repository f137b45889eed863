"""A revoked certificate is denied on its next request, and nothing bad in files takes away what was good."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.agents import running_agent, start, until
from tests.crl_rigs import POLICY, Rig, crl_of, problems_of, reason
from tests.pki import CA, DAY, HOUR
from tests.revocation.lists import crl, idp, uri

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_revoked_certificate_is_denied_on_an_open_connection_while_others_lose_nothing(
    rig: Rig, tmp_path: Path
) -> None:
    rig.publish()
    with running_agent(tmp_path, "--workers", "2", policy=POLICY % "") as agent, agent.connect() as haproxy:
        assert (reason(haproxy, rig.alice), reason(haproxy, rig.bob)) == ("ok", "ok")
        assert crl_of(agent)["state"] == "good"
        rig.ca.revoke(rig.bob, "keyCompromise")
        rig.publish()

        def is_denied() -> bool:
            assert reason(haproxy, rig.alice) == "ok"
            return reason(haproxy, rig.bob) == "certificate_revoked"

        until(is_denied)
        with agent.connect() as another:
            assert reason(another, rig.bob) == "certificate_revoked"
        found = crl_of(agent)
        assert (found["entries"], found["lists"][0]["number"]) == (1, 2)
        assert agent.metric('revocation_state{issuer="corp",source="crl",state="good"}') == 1
        assert agent.metric('revocation_entries{issuer="corp"') == 1
        assert agent.metric('revocation_age_seconds{issuer="corp"') >= HOUR
        assert 0 < agent.metric('revocation_expiry_seconds{issuer="corp"') <= DAY


def test_what_is_older_broken_foreign_or_gone_takes_nothing_away(rig: Rig, tmp_path: Path) -> None:
    older = rig.ca.crl()
    rig.ca.revoke(rig.bob)
    rig.publish()
    newest = rig.file.read_bytes()
    offers = {
        "rollback": older,
        "parse_error": newest[:-7],
        "signer_unknown": CA("other").crl(number=99),
        "bad_signature": CA("corp").crl(number=99),
        "not_yet_valid": rig.ca.crl(number=99, this_update=rig.ca.now + HOUR),
    }
    with running_agent(tmp_path, policy=POLICY % "") as agent, agent.connect() as haproxy:
        for problem, offer in offers.items():
            rig.publish(offer)
            until(lambda problem=problem: problems_of(agent) == [problem])  # type: ignore[misc] # mypy can't infer it
            assert (reason(haproxy, rig.alice), reason(haproxy, rig.bob)) == ("ok", "certificate_revoked")
        rig.publish(b"<html>maintenance</html>")
        until(lambda: problems_of(agent) == ["parse_error"])
        assert (reason(haproxy, rig.alice), reason(haproxy, rig.bob)) == ("ok", "certificate_revoked")
        rig.file.unlink()
        until(lambda: problems_of(agent) == ["not_loaded"])
        assert (reason(haproxy, rig.alice), reason(haproxy, rig.bob)) == ("ok", "certificate_revoked")
        assert agent.metric('revocation_loads_total{result="rejected"}') >= len(offers)
    with running_agent(tmp_path, policy=POLICY % "") as agent, agent.connect() as haproxy:
        assert (reason(haproxy, rig.alice), reason(haproxy, rig.bob)) == ("ok", "certificate_revoked")
        rig.publish(older)
        until(lambda: problems_of(agent) == ["rollback"])
        assert reason(haproxy, rig.bob) == "certificate_revoked"
        rig.publish(newest)
        until(lambda: problems_of(agent) == [])


def test_without_any_list_the_agent_serves_and_denies(rig: Rig, tmp_path: Path) -> None:
    with running_agent(tmp_path, policy=POLICY % "") as agent, agent.connect() as haproxy:
        assert reason(haproxy, rig.alice) == "revocation_not_loaded"
        assert (crl_of(agent)["state"], problems_of(agent)) == ("not_loaded", ["not_loaded"])
        rig.publish()
        until(lambda: reason(haproxy, rig.alice) == "ok")


@pytest.mark.parametrize(
    ("problem", "state"),
    [("bad_signature", "not_loaded"), ("parse_error", "not_loaded"), ("wrong_scope", "undetermined")],
)
def test_why_nothing_can_be_said_is_shown_counted_and_logged(
    rig: Rig, tmp_path: Path, problem: str, state: str
) -> None:
    point = idp(full_name=[uri("http://crl.example/1")])
    now = rig.ca.now
    offers = {
        "bad_signature": CA("corp").crl(),
        "parse_error": b"<html>maintenance</html>",
        "wrong_scope": crl(rig.ca, this_update=now - HOUR, next_update=now + DAY, extensions=[point]),
    }
    rig.publish(offers[problem])
    log = tmp_path / "decisions"
    with running_agent(tmp_path, "--decision-log", str(log), policy=POLICY % "") as agent, agent.connect() as haproxy:
        assert reason(haproxy, rig.alice) == f"revocation_{state}"
        line = until(lambda: json.loads(log.read_text()) if log.exists() and log.read_text() else None)
        assert (line["revocation"], line["detail"]) == (state, problem)
        shown = agent.status()["issuers"]["corp"]["revocation"]
        assert shown["failures"] == {problem: 1}
        assert agent.metric(f'revocation_failures_total{{issuer="corp",reason="{problem}",state="{state}"}}') == 1
        if state == "not_loaded":
            assert (shown["state"], shown["reason"], problems_of(agent)) == (state, problem, [problem])
            assert agent.metric(f'revocation_problems{{issuer="corp",reason="{problem}",source="crl"}}') == 1


def test_a_failure_that_the_policy_lets_pass_is_counted_logged_and_shown(rig: Rig, tmp_path: Path) -> None:
    log = tmp_path / "decisions"
    with (
        running_agent(tmp_path, "--decision-log", str(log), policy=POLICY % ", on_failure: allow") as agent,
        agent.connect() as haproxy,
    ):
        assert [reason(haproxy, rig.alice) for _ in range(5)] == ["ok"] * 5
        assert crl_of(agent)["soft_fails"] == 5
        assert agent.metric('revocation_soft_fails_total{issuer="corp",source="crl"}') == 5
        assert agent.log.read_text().count("passed unchecked for revocation") == 1
        lines = until(lambda: [line for line in log.read_text().splitlines() if line] if log.exists() else [])
        assert json.loads(lines[0])["revocation"] == "not_loaded"


def test_a_list_past_its_next_update_counts_as_long_as_max_stale_says(rig: Rig, tmp_path: Path) -> None:
    rig.ca.revoke(rig.bob)
    rig.publish(next_update=int(time.time()) - HOUR // 2)
    with running_agent(tmp_path, policy=POLICY % "") as agent, agent.connect() as haproxy:
        assert (reason(haproxy, rig.alice), reason(haproxy, rig.bob)) == ("revocation_stale", "certificate_revoked")
        assert crl_of(agent)["state"] == "stale"
        agent.write_policy(POLICY % ", max_stale: 24h")
        until(lambda: reason(haproxy, rig.alice) == "ok")
        assert reason(haproxy, rig.bob) == "certificate_revoked"
        assert (crl_of(agent)["state"], crl_of(agent)["reason"]) == ("good", "late")


def test_a_policy_that_begins_to_ask_has_its_lists_from_its_first_answer_on(rig: Rig, tmp_path: Path) -> None:
    rig.ca.revoke(rig.bob)
    rig.publish()
    none = POLICY.replace("crl: {files: crl/corp.crl%s}", "none: a test")
    with running_agent(tmp_path, policy=none) as agent, agent.connect() as haproxy:
        assert reason(haproxy, rig.bob) == "ok"
        agent.write_policy(POLICY % "")

        def is_denied() -> bool:
            assert reason(haproxy, rig.alice) == "ok"
            return reason(haproxy, rig.bob) == "certificate_revoked"

        until(is_denied)


def test_the_agent_is_not_ready_before_its_first_load_has_ended(rig: Rig, tmp_path: Path) -> None:
    rig.publish()
    agent = start(tmp_path, policy=POLICY % "")
    try:
        until((agent.state / "admin").exists)
        until(lambda: agent.get("/readyz")[0] == 200)
        assert crl_of(agent)["state"] == "good"
        assert crl_of(agent)["last_attempt"] > 0
    finally:
        assert agent.stop() == 0
