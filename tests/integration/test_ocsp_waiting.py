"""Requests that wait for an OCSP responder: how long, for whom, and what becomes of them when something happens."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

import pytest

from spoa.pki import new_key
from spoa.spop import AckReceived, DisconnectReceived
from tests.agents import until, variables
from tests.httpservers import hang
from tests.pki import CA
from tests.responders import Responder, asking_agent, certified, judged, policy_asking, said_by

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.agents import Agent, Haproxy
    from tests.pki import Issued

pytestmark = pytest.mark.integration

#: Of a policy, so long that none of these tests runs into it by itself; the agent gives up on a responder after 3 s.
PATIENCE: Final = "timeout: 5s"


class Shared:
    """Two workers that ask one responder about one CA."""

    def __init__(self, agent: Agent, ca: CA, responder: Responder) -> None:
        self.agent = agent
        self.ca = ca
        self.responder = responder

    def waiting(self) -> float:
        """Return how many requests wait."""
        return self.agent.metric("revocation_waiting")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Give them, for tests that leave them as they are."""
    ca = CA("shared")
    with Responder.running(said_by(ca)) as responder:
        keys = f'ocsp: {{responder: "{responder.url}", {PATIENCE}}}'
        options = ("--deadline", "5000", "--workers", "2")
        with asking_agent(tmp_path_factory.mktemp("agent"), {"corp": (ca, keys)}, *options) as agent:
            yield Shared(agent, ca, responder)


def sent(haproxy: Haproxy, issued: Issued, number: int = 1) -> None:
    """Send a request and don't wait for its answer."""
    haproxy.socket.sendall(haproxy.notify(certified(issued, number=number)))


def answered(haproxy: Haproxy) -> tuple[str, str]:
    """Return the next verdict and reason."""
    answer = variables(haproxy.receive(AckReceived).ack)
    return answer["verdict"], answer["reason"]


def test_a_first_request_waits_for_the_responder_and_later_ones_do_not_ask(shared: Shared) -> None:
    alice, bob = shared.ca.issue("alice"), shared.ca.issue("bob")
    shared.ca.revoke(bob)
    before = shared.responder.hits
    with shared.agent.connect() as haproxy:
        for _ in range(3):
            assert judged(haproxy, alice) == ("allow", "ok")
            assert judged(haproxy, bob) == ("deny", "certificate_revoked")
    assert shared.responder.hits == before + 2


def test_a_hundred_requests_at_once_over_two_workers_are_one_question(shared: Shared) -> None:
    for person, expected in (("alice", ("allow", "ok")), ("mallory", ("deny", "certificate_revoked"))):
        client = shared.ca.issue(person)
        if person == "mallory":
            shared.ca.revoke(client)
        before = shared.responder.hits
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(shared.agent.connect()) for _ in range(10)]
            while not all(worker["connections"] for worker in shared.agent.status()["workers"]):
                connections.append(stack.enter_context(shared.agent.connect()))
            asked = [connections[number % len(connections)] for number in range(100)]
            with shared.responder.holding() as release:
                for number, haproxy in enumerate(asked):
                    sent(haproxy, client, number)
                until(lambda: shared.waiting() == 100)
                release()
                assert {answered(haproxy) for haproxy in asked} == {expected}
        assert shared.responder.hits == before + 1
        assert shared.waiting() == 0


def test_others_are_answered_on_the_same_connection_while_one_waits(shared: Shared) -> None:
    known, new, blocked = (shared.ca.issue(name) for name in ("known", "new", "revoked"))
    shared.ca.revoke(blocked)
    with shared.agent.connect() as haproxy:
        assert judged(haproxy, known) == ("allow", "ok")
        assert judged(haproxy, blocked) == ("deny", "certificate_revoked")
        with shared.responder.holding() as release:
            sent(haproxy, new)
            until(lambda: shared.waiting() == 1)
            assert judged(haproxy, known) == ("allow", "ok")
            assert judged(haproxy, blocked) == ("deny", "certificate_revoked")
            assert shared.waiting() == 1
            release()
            assert answered(haproxy) == ("allow", "ok")


def test_an_answer_that_nobody_takes_any_more_does_no_harm(shared: Shared) -> None:
    client = shared.ca.issue("impatient")
    with shared.responder.holding() as release:
        with shared.agent.connect() as gone:
            sent(gone, client)
            until(lambda: shared.waiting() == 1)
        release()
        until(lambda: shared.waiting() == 0)
    with shared.agent.connect() as haproxy:
        assert judged(haproxy, client) == ("allow", "ok")
    assert "Traceback" not in shared.agent.log.read_text()


def test_a_request_waits_no_longer_than_the_policy_says_and_then_goes_by_the_mode(tmp_path: Path) -> None:
    hard, soft = CA("hard"), CA("soft")
    with Responder.running(hang) as responder:
        keys = f'responder: "{responder.url}", timeout: 300ms'
        issuers = {
            "hard": (hard, f"ocsp: {{{keys}}}"),
            "soft": (soft, f"ocsp: {{{keys}, on_failure: allow}}"),
        }
        with asking_agent(tmp_path, issuers) as agent, agent.connect() as haproxy:
            for ca, expected in ((hard, ("deny", "revocation_unreachable")), (soft, ("allow", "ok"))):
                client = ca.issue("client")
                began = time.monotonic()
                assert judged(haproxy, client) == expected
                waited = time.monotonic() - began
                assert 0.25 < waited < 2
                began = time.monotonic()
                assert judged(haproxy, client) == expected
                assert time.monotonic() - began < waited
            assert agent.metric('revocation_soft_fails_total{issuer="soft",source="ocsp"}') == 2
            assert agent.metric('revocation_soft_fails_total{issuer="hard"') == 0
            assert agent.metric('revocation_waits_total{result="timed_out"}') == 2
            shown = agent.status()["issuers"]["soft"]["revocation"]["sources"]["ocsp"]
            assert shown["soft_fails"] == 2
            assert agent.log.read_text().count("a certificate passed unchecked for revocation") == 1


def test_an_answer_that_comes_too_late_for_the_first_request_counts_for_the_next(tmp_path: Path) -> None:
    hard, soft = CA("hard"), CA("soft")
    good, bad = hard.issue("good"), soft.issue("bad")
    soft.revoke(bad)
    with Responder.running(said_by(hard, soft)) as responder:
        keys = f'responder: "{responder.url}", timeout: 300ms'
        issuers = {"hard": (hard, f"ocsp: {{{keys}}}"), "soft": (soft, f"ocsp: {{{keys}, on_failure: allow}}")}
        with (
            asking_agent(tmp_path, issuers) as agent,
            agent.connect() as haproxy,
            responder.holding() as release,
        ):
            assert judged(haproxy, good) == ("deny", "revocation_unreachable")
            assert judged(haproxy, bad) == ("allow", "ok")
            release()
            until(lambda: judged(haproxy, good) == ("allow", "ok"))
            until(lambda: judged(haproxy, bad) == ("deny", "certificate_revoked"))


def test_a_request_is_answered_before_its_deadline_however_patient_the_policy_is(tmp_path: Path) -> None:
    ca = CA()
    with Responder.running(hang) as responder:
        keys = f'ocsp: {{responder: "{responder.url}", {PATIENCE}}}'
        with asking_agent(tmp_path, {"corp": (ca, keys)}, "--deadline", "250") as agent, agent.connect() as haproxy:
            waits = []
            for number in range(3):
                client = ca.issue(f"client-{number}")
                began = time.monotonic()
                assert judged(haproxy, client) == ("deny", "revocation_unreachable")
                waits.append(time.monotonic() - began)
            # Other work on the machine may delay one, but not all of them.
            assert 0.2 < min(waits) < 0.25


def test_an_edit_counts_for_requests_that_wait(tmp_path: Path) -> None:
    ca = CA()
    client, other = ca.issue("client"), ca.issue("other")
    with Responder.running(said_by(ca)) as responder:
        issuers = {"corp": (ca, f'ocsp: {{responder: "{responder.url}", {PATIENCE}}}')}
        with asking_agent(tmp_path, issuers) as agent, agent.connect() as haproxy:
            assert judged(haproxy, other) == ("allow", "ok")  # the builder is there now
            revision = agent.status()["revision"]
            with responder.holding() as release:
                agent.write_policy(policy_asking(issuers).replace('"/**"', '"/elsewhere"'))
                sent(haproxy, client)
                until(lambda: agent.status()["revision"] != revision)
                release()
                assert answered(haproxy) == ("deny", "no_rule_allows")


def test_a_worker_that_dies_takes_its_waiting_requests_along_and_its_successor_asks_anew(tmp_path: Path) -> None:
    ca = CA()
    client, revoked = ca.issue("client"), ca.issue("revoked")
    ca.revoke(revoked)
    with Responder.running(said_by(ca)) as responder:
        keys = f'ocsp: {{responder: "{responder.url}", {PATIENCE}}}'
        with asking_agent(tmp_path, {"corp": (ca, keys)}, "--deadline", "5000", "--workers", "1") as agent:
            with agent.connect() as haproxy, responder.holding() as release:
                sent(haproxy, client)
                sent(haproxy, revoked)
                until(lambda: agent.metric("revocation_waiting") == 2)
                (worker,) = agent.status()["workers"]
                os.kill(worker["pid"], signal.SIGKILL)
                assert haproxy.is_closed()
                release()
            until(lambda: {one["pid"] for one in agent.status()["workers"] if one["serving"]} - {worker["pid"]})
            with agent.connect() as haproxy:
                assert judged(haproxy, client) == ("allow", "ok")
                assert judged(haproxy, revoked) == ("deny", "certificate_revoked")
            assert responder.hits == 2


def test_a_draining_agent_answers_requests_that_wait(tmp_path: Path) -> None:
    ca = CA()
    client, late = ca.issue("client"), ca.issue("late")
    with Responder.running(said_by(ca)) as responder:
        keys = f'ocsp: {{responder: "{responder.url}", {PATIENCE}}}'
        with (
            asking_agent(tmp_path, {"corp": (ca, keys)}) as agent,
            agent.connect() as haproxy,
            responder.holding() as release,
        ):
            sent(haproxy, client)
            until(lambda: agent.metric("revocation_waiting") == 1)
            began = time.monotonic()
            agent.process.send_signal(signal.SIGTERM)
            until(lambda: "draining" in agent.log.read_text())
            release()
            assert answered(haproxy) == ("allow", "ok")
            assert haproxy.receive(DisconnectReceived).disconnect.status == 0
            assert agent.process.wait(30) == 0
            assert time.monotonic() - began < 10
        # And one for whom no answer comes is denied, not left alone.
        responder.answer = hang
        with asking_agent(tmp_path, {"corp": (ca, keys)}) as agent, agent.connect() as haproxy:
            sent(haproxy, late)
            until(lambda: agent.metric("revocation_waiting") == 1)
            agent.process.send_signal(signal.SIGTERM)
            assert answered(haproxy) == ("deny", "revocation_unreachable")
            assert agent.process.wait(30) == 0


def test_a_supervisor_that_hangs_costs_first_requests_and_no_others(tmp_path: Path) -> None:
    ca = CA()
    known, new = ca.issue("known"), ca.issue("new")
    with Responder.running(said_by(ca)) as responder:
        keys = f'ocsp: {{responder: "{responder.url}", timeout: 300ms}}'
        with asking_agent(tmp_path, {"corp": (ca, keys)}) as agent, agent.connect() as haproxy:
            until(lambda: judged(haproxy, known) == ("allow", "ok"))
            agent.process.send_signal(signal.SIGSTOP)
            try:
                assert judged(haproxy, new) == ("deny", "revocation_unreachable")
                assert judged(haproxy, known) == ("allow", "ok")
            finally:
                agent.process.send_signal(signal.SIGCONT)
            until(lambda: judged(haproxy, new) == ("allow", "ok"))


def test_nobody_is_asked_while_the_clock_can_not_be_right(tmp_path: Path) -> None:
    ca = CA()
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "newest-time").write_text(f"{int(time.time()) + 86_400}\n")
    with Responder.running(said_by(ca)) as responder:
        keys = f'ocsp: {{responder: "{responder.url}", {PATIENCE}, on_failure: allow, on_unknown: allow}}'
        with asking_agent(tmp_path, {"corp": (ca, keys)}) as agent, agent.connect() as haproxy:
            assert agent.status()["clock_usable"] is False
            assert judged(haproxy, ca.issue("client")) == ("deny", "certificate_not_yet_valid")
            assert responder.hits == 0


def test_thousands_of_unseen_certificates_are_all_answered_and_disturb_nobody_who_is_known(tmp_path: Path) -> None:
    ca, key = CA(), new_key("ec")
    known = ca.issue("known")
    unseen = [ca.issue(f"unseen-{number}", with_key=key) for number in range(3000)]
    with Responder.running(said_by(ca)) as responder:
        keys = f'ocsp: {{responder: "{responder.url}", timeout: 300ms}}'
        options = ("--deadline", "1000", "--workers", "1")
        with (
            asking_agent(tmp_path, {"corp": (ca, keys)}, *options) as agent,
            agent.connect() as haproxy,
            agent.connect() as flood,
        ):
            assert judged(haproxy, known) == ("allow", "ok")
            verdicts: list[tuple[str, str]] = []
            with responder.holding():
                reading = threading.Thread(target=lambda: verdicts.extend(answered(flood) for _ in unseen))
                reading.start()
                flood.socket.sendall(b"".join(flood.notify(certified(client)) for client in unseen))
                while reading.is_alive():
                    assert judged(haproxy, known) == ("allow", "ok")
                reading.join()
            assert len(verdicts) == len(unseen)
            assert {verdict for verdict, _ in verdicts} == {"deny"}
            until(lambda: agent.metric("revocation_waiting") == 0)
            assert agent.metric('internal_errors_total{cause="exception"}') == 0
