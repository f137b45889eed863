"""A revocation that is published at a URL counts, and whatever servers do takes nothing away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.agents import running_agent, until
from tests.crl_rigs import POLICY, Remote, crl_of, problems_of, reason, url_of
from tests.httpservers import Background, close_halfway, drip, endless, hang, lying, plain
from tests.pki import CA

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from pathlib import Path

    from tests.agents import Haproxy
    from tests.httpservers import Request


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    with Background() as background:
        yield Remote(tmp_path, background)


def test_a_revocation_published_at_a_url_counts_on_an_open_connection(remote: Remote, tmp_path: Path) -> None:
    remote.publish()
    with (
        running_agent(tmp_path, "--workers", "2", policy=remote.policy()) as agent,
        agent.connect() as haproxy,
    ):
        assert (reason(haproxy, remote.alice), reason(haproxy, remote.bob)) == ("ok", "ok")
        remote.ca.revoke(remote.bob, "keyCompromise")
        published = time.monotonic()
        remote.publish()

        def is_denied() -> bool:
            assert reason(haproxy, remote.alice) == "ok"
            return reason(haproxy, remote.bob) == "certificate_revoked"

        until(is_denied)
        assert time.monotonic() - published < 15  # refresh (1 s) and build; generous for a busy machine
        until(lambda: agent.metric('revocation_loads_total{result="loaded"}') == 2)
        until(lambda: url_of(agent)["status"] == 304)
        assert agent.metric('revocation_loads_total{result="loaded"}') == 2
        assert agent.metric('revocation_fetches_total{issuer="corp",result="new",source="crl"}') == 2
        found = url_of(agent)
        assert (found["url"], found["problem"]) == (remote.server.url("/a.crl"), None)
        assert agent.metric('revocation_fetches_total{issuer="corp",result="unchanged",source="crl"}') >= 1
        assert agent.metric("revocation_circuit_open") == 0
        assert found["last_success"] >= found["last_attempt"] - 1
        assert crl_of(agent)["lists"][0]["source"] == found["url"]


def test_whatever_a_server_does_what_was_accepted_stays(remote: Remote, tmp_path: Path) -> None:
    older = remote.ca.crl()
    remote.ca.revoke(remote.bob)
    newest = remote.ca.crl()
    remote.publish(newest)

    def both_are_right(haproxy: Haproxy) -> None:
        assert (reason(haproxy, remote.alice), reason(haproxy, remote.bob)) == ("ok", "certificate_revoked")

    with running_agent(tmp_path, policy=remote.policy()) as agent, agent.connect() as haproxy:
        both_are_right(haproxy)
        junk: dict[str, bytes] = {
            "rollback": older,
            "parse_error": newest[:-7],
            "signer_unknown": CA("other").crl(number=99),
            "bad_signature": CA("corp").crl(number=99),
        }
        for problem, body in junk.items():
            remote.publish(body)
            until(lambda problem=problem: problems_of(agent) == [problem])  # type: ignore[misc] # mypy can't infer it
            assert crl_of(agent)["problems"][0]["file"] == remote.server.url("/a.crl")
            both_are_right(haproxy)
        remote.publish(newest)
        until(lambda: problems_of(agent) == [])
        remote.server.answer = plain(status=302, Location=remote.server.url("/elsewhere"))
        until(lambda: url_of(agent)["problem"] == "redirect")
        both_are_right(haproxy)
        assert (crl_of(agent)["state"], url_of(agent)["status"]) == ("good", 302)
        remote.background.stop()
    with running_agent(tmp_path, policy=remote.policy()) as agent, agent.connect() as haproxy:
        both_are_right(haproxy)  # at once, from what is on disk
        until(lambda: url_of(agent)["problem"] == "connect")
        assert crl_of(agent)["state"] == "good"
        assert agent.log.read_text().count("can't be fetched") == 1
        remote.background.start()
        remote.ca.revoke(remote.alice)
        remote.publish()
        until(lambda: reason(haproxy, remote.alice) == "certificate_revoked")
        assert "can be fetched again" in agent.log.read_text()


@pytest.mark.timeout(300)
def test_a_start_waits_for_bad_servers_for_some_seconds_and_then_denies_until_one_is_better(
    remote: Remote, tmp_path: Path
) -> None:
    bad = {
        "/hangs": hang,
        "/drips": drip(b"x" * 10_000, 0.1),
        "/endless": endless,
        "/half": close_halfway(b"x" * 100),
        "/lies": lying(remote.ca.crl(), 10),
    }

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await bad[request.path](request, writer)

    remote.server.answer = answer
    with running_agent(tmp_path, policy=remote.policy(*bad)) as agent, agent.connect() as haproxy:
        assert reason(haproxy, remote.alice) == "revocation_unreachable"
        assert agent.get("/readyz")[0] == 200
        assert crl_of(agent)["lists"] == []
        remote.ca.revoke(remote.bob)
        bad["/half"] = plain(remote.ca.crl())
        # Five failures in a row close the host for half a minute. Then one address may try it, and another one, which
        # is still bad, may come first, some times even.
        until(lambda: reason(haproxy, remote.alice) == "ok", 240)
        assert reason(haproxy, remote.bob) == "certificate_revoked"


def test_a_start_without_list_and_without_server_denies_as_unreachable_until_it_is_there(
    remote: Remote, tmp_path: Path
) -> None:
    remote.background.stop()
    with running_agent(tmp_path, policy=remote.policy()) as agent, agent.connect() as haproxy:
        assert reason(haproxy, remote.alice) == "revocation_unreachable"
        assert crl_of(agent)["state"] == "unreachable"
        assert agent.metric('revocation_state{issuer="corp",source="crl",state="unreachable"}') == 1
        remote.publish(b"no list")
        remote.background.start()
        until(lambda: reason(haproxy, remote.alice) == "revocation_not_loaded")
        assert crl_of(agent)["state"] == "not_loaded"
        remote.publish()
        until(lambda: reason(haproxy, remote.alice) == "ok")
        assert crl_of(agent)["state"] == "good"


def test_a_policy_that_begins_to_name_a_url_denies_nobody_meanwhile(remote: Remote, tmp_path: Path) -> None:
    remote.ca.revoke(remote.bob)
    remote.publish()
    none = POLICY.replace("crl: {files: crl/corp.crl%s}", "none: a test")
    with running_agent(tmp_path, policy=none) as agent, agent.connect() as haproxy:
        agent.write_policy(remote.policy())

        def is_denied() -> bool:
            assert reason(haproxy, remote.alice) == "ok"
            return reason(haproxy, remote.bob) == "certificate_revoked"

        until(is_denied)
        agent.write_policy(none)
        until(lambda: reason(haproxy, remote.bob) == "ok")
        until(lambda: list((agent.state / "downloads").iterdir()) == [])
