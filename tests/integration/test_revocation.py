"""Revoke, publish, deny: CRL files behind a real HAProxy, on open connections, HTTP/2 and resumed TLS sessions.

Every scenario is played twice: by an agent that has been running since it took the first list, and by one that was
started again since.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from benchmarks.lists import Revoked, entries_of, sign_list
from tests.haproxy import wait_until
from tests.integration.edge import PATIENT, start_edge
from tests.pki import CA, DAY, HOUR
from tests.serving import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.client import Client, Response
    from tests.echo import Echo
    from tests.integration.edge import Edge, Pki
    from tests.pki import Issued

pytestmark = pytest.mark.integration

POLICY: Final = """\
apiVersion: authz/v1
metadata: {name: revocation, owner: tests}
issuers:
  corp: {ca: trust/clients-ca.pem, revocation: {crl: {SETTINGS}}}
rules:
  - {id: everyone, effect: allow, who: any_certificate}
routes:
  - {backend: internal_api}
"""
STRICT: Final = "files: [crl/clients.crl]"
#: Seconds that a busy machine is given for what takes one.
PATIENCE: Final = 20
#: Seconds for which a list counts that is to run out.
BRIEF: Final = 3
#: Seconds past nextUpdate for which one counts that is given a grace.
GRACE: Final = 6
MILLION: Final = 1_000_000
#: Seconds for a list of that length; a machine of its own is promised six.
PATIENCE_FOR_A_MILLION: Final = 60
#: Seconds, 99 of 100 answers, by way of HAProxy; benchmarks/revocation.py measures what is promised.
SLOW: Final = 0.25

ALLOWED: Final = (200, "")
REVOKED: Final = (403, "certificate_revoked")
STALE: Final = (403, "revocation_stale")
NOT_LOADED: Final = (403, "revocation_not_loaded")
WAYS: Final = ("keep-alive", "http/2", "resumed", "new")

Answer = tuple[int, str]


def said(answer: Response) -> Answer:
    """Return status and reason of an answer."""
    return answer.status, "" if answer.status == ALLOWED[0] else answer.reason


class Visitor:
    """A client with an HTTP/1.1 and an HTTP/2 connection that stay open, and the ticket of a TLS session."""

    def __init__(self, client: Client, issued: Issued, stack: ExitStack) -> None:
        self.client = client
        self.issued = issued
        self._http1 = stack.enter_context(client.http1())
        self._http2 = stack.enter_context(client.http2())
        self.one()
        assert isinstance(self._http1.connection, ssl.SSLSocket)
        self._session = self._http1.connection.session
        assert self._session is not None

    def one(self) -> Answer:
        """Ask on the HTTP/1.1 connection."""
        return said(self._http1.request("GET", "/api/x"))

    def keep_open(self) -> None:
        """Use the open connections, which HAProxy closes after ten seconds without a request; any answer will do."""
        self.one()
        self._http2.request("GET", "/api/x")

    def every(self) -> dict[str, Answer]:
        """Ask in each of the `WAYS`."""
        with self.client.http1(self._session) as resumed:
            assert isinstance(resumed.connection, ssl.SSLSocket)
            by_ticket = said(resumed.request("GET", "/api/x"))
            assert resumed.connection.session_reused
        by_http2 = said(self._http2.request("GET", "/api/x"))
        return dict(zip(WAYS, (self.one(), by_http2, by_ticket, said(self.client.get("/api/x"))), strict=True))


def everywhere(answer: Answer) -> dict[str, Answer]:
    """Return what `Visitor.every` returns where all are answered alike."""
    return dict.fromkeys(WAYS, answer)


@contextmanager
def asking(client: Client) -> Iterator[list[tuple[Answer, float]]]:
    """Ask without a pause while the block runs; at its end the list has all answers, with the seconds each took."""
    answers: list[tuple[Answer, float]] = []
    begun, stop = threading.Event(), threading.Event()

    def ask() -> None:
        with client.http1() as connection:
            while not stop.is_set():
                begin = time.monotonic()
                answer = said(connection.request("GET", "/api/x"))
                answers.append((answer, time.monotonic() - begin))
                begun.set()
                stop.wait(0.005)  # some of the two cores for the others

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask)
        try:
            assert begun.wait(PATIENCE)
            yield answers
        finally:
            stop.set()
        running.result()


@dataclass
class Scene:
    """An agent that takes its lists from a file, behind a HAProxy; the CA is that of the clients.

    Attributes:
        is_restarted: the agent is to be started again once it has its first list.
        file: where the CA publishes.
        visitors: who has come; they ask whenever something is waited for, so that their connections stay open.
    """

    edge: Edge
    agent: Agent
    ca: CA
    stack: ExitStack
    is_restarted: bool
    file: Path
    visitors: list[Visitor] = field(default_factory=list)

    def begin(self, settings: str = STRICT) -> tuple[Visitor, Visitor]:
        """Put a policy and a list to use that names neither of the two clients who come; they are let in everywhere."""
        self.write_policy(settings)
        self.publish(self.ca.crl())
        self.restart_if_wanted()
        alice, bob = self.newcomer("alice"), self.newcomer("bob")
        assert alice.every() == bob.every() == everywhere(ALLOWED)
        return alice, bob

    def write_policy(self, settings: str) -> None:
        """Have the agent go by another policy."""
        text = POLICY.replace("SETTINGS", settings)
        policy = self.agent.policies / "policy.yaml"
        if policy.read_text() != text:
            revision = self.agent.revision()
            _replace(policy, text.encode())
            self.agent.wait_for_change(revision, PATIENCE)

    def newcomer(self, name: str) -> Visitor:
        """Let a client come with a certificate that nobody has seen."""
        issued = self.ca.issue(name)
        self.visitors.append(Visitor(self.edge.client(issued), issued, self.stack))
        return self.visitors[-1]

    def revoke(self, visitor: Visitor, **fields: int) -> None:
        """Have the CA revoke a visitor's certificate and publish it; `fields` are for `CA.crl`."""
        self.ca.revoke(visitor.issued, "keyCompromise")
        self.publish(self.ca.crl(**fields))

    def publish(self, content: bytes, seconds: float = PATIENCE) -> None:
        """Write the CA's newest list, and wait until it is in force."""
        _replace(self.file, content)
        number = self.ca.number
        self.wait_for_lists(lambda crl: [one["number"] for one in crl["lists"]] == [number], seconds)

    def offer(self, content: bytes) -> list[str]:
        """Write something that is to be refused, wait until it is, and return why."""
        before = self.metric('revocation_loads_total{result="rejected"}')
        _replace(self.file, content)
        self.wait_for_lists(lambda _: self.metric('revocation_loads_total{result="rejected"}') > before)
        return self.problems()

    def lists(self) -> dict[str, Any]:
        """Return what `status` says of the issuer's lists."""
        status: dict[str, Any] = json.loads(self.agent.ask("/status")[1])
        crl: dict[str, Any] = status["issuers"]["corp"]["revocation"]["sources"]["crl"]
        return crl

    def problems(self) -> list[str]:
        """Return the reasons for which `status` says that lists were refused."""
        return [problem["reason"] for problem in self.lists()["problems"]]

    def wait(self, holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Wait until something holds."""

        def holds_now() -> bool:
            for visitor in self.visitors:
                visitor.keep_open()
            return holds()

        wait_until(holds_now, seconds, what, self.agent.log)

    def wait_for_lists(self, holds: Callable[[dict[str, Any]], bool], seconds: float = PATIENCE) -> None:
        """Wait until something holds of what `status` says."""
        self.wait(lambda: holds(self.lists()), "the lists are as they should be", seconds)

    def wait_for(self, visitor: Visitor, answer: Answer) -> None:
        """Wait until a visitor is answered so everywhere."""
        self.wait(lambda: visitor.every() == everywhere(answer), f"the answer is {answer}")

    def metric(self, name: str) -> float:
        """Return the sum of the agent's samples whose line begins so."""
        lines = self.agent.ask("/metrics")[1].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"spoa_authz_{name}"))

    def restart_if_wanted(self) -> None:
        """Start the agent again where the scenario is played after that."""
        if self.is_restarted:
            self.stop()
            self.start()

    def stop(self) -> None:
        """End the agent."""
        self.agent.stop()
        self._wait_for_proxy("DOWN")

    def start(self) -> None:
        """Start the agent on what it left behind, and wait until HAProxy has noticed."""
        self.agent.start()
        self._wait_for_proxy("UP")
        self.agent.wait_until_ready()

    def _wait_for_proxy(self, status: str) -> None:
        """Wait until HAProxy takes the agent for up or down."""
        proxy = self.edge.proxy
        self.wait(lambda: proxy.server_status("authz-agents", "agent1") == status, f"HAProxy sees the agent {status}")


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)


def soon() -> int:
    """Return a nextUpdate that is not far."""
    return int(time.time()) + BRIEF


@pytest.fixture(scope="module")
def agent(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """Give an agent of this module's own, with a policy that checks revocation."""
    folder = tmp_path_factory.mktemp("agent")
    policies = folder / "policies"
    for name in ("trust", "crl"):
        (policies / name).mkdir(parents=True)
    (policies / "trust" / "clients-ca.pem").write_bytes(pki.clients.pem)
    (policies / "policy.yaml").write_text(POLICY.replace("SETTINGS", STRICT))
    # For tests that are not about lateness, as PATIENT is on HAProxy's side.
    with Agent.running(policies, folder, "--deadline", "4000") as agent:
        yield agent


@pytest.fixture(scope="module")
def edge(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], agent: Agent, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    """Give the shipped configuration before that agent."""
    with start_edge(binary, pki, echoes, tmp_path_factory.mktemp("edge"), agent.address, PATIENT) as edge:
        edge.proxy.wait_for_agent()
        yield edge


@pytest.fixture(params=["running", "restarted"])
def scene(request: pytest.FixtureRequest, edge: Edge, agent: Agent, pki: Pki) -> Iterator[Scene]:
    """Give a scene with an agent that stays, or with one that is started again after its first list."""
    with ExitStack() as stack:
        file = agent.policies / "crl" / "clients.crl"
        yield Scene(edge, agent, pki.clients, stack, is_restarted=request.param == "restarted", file=file)


def test_who_is_on_the_next_list_is_denied_on_every_connection_and_nobody_else_is(scene: Scene) -> None:
    alice, bob = scene.begin()
    with asking(alice.client) as answers:
        scene.revoke(bob)
        assert bob.every() == everywhere(REVOKED)
    assert {answer for answer, _ in answers} == {ALLOWED}
    assert alice.every() == everywhere(ALLOWED)
    serial = f"{bob.issued.certificate.serial_number:x}"

    def logged() -> set[tuple[str, str]]:
        mine = [one for one in scene.agent.decisions() if one["cert"] and one["cert"]["serial"].lstrip("0") == serial]
        return {(one["reason"], one["revocation"]) for one in mine if one["verdict"] == "deny"}

    wait_until(lambda: logged() == {("certificate_revoked", "revoked")}, PATIENCE, "the denies are logged")


def test_who_is_taken_from_hold_is_let_in_again(scene: Scene) -> None:
    alice, bob = scene.begin()
    scene.ca.revoke(bob.issued, "certificateHold")
    scene.publish(scene.ca.crl())
    assert bob.every() == everywhere(REVOKED)
    del scene.ca.authority.revocations[bob.issued.certificate.serial_number]
    scene.publish(scene.ca.crl())
    assert alice.every() == bob.every() == everywhere(ALLOWED)


def test_an_older_list_that_is_put_back_lets_nobody_in_again(scene: Scene) -> None:
    alice, bob = scene.begin()
    older = scene.file.read_bytes()
    scene.revoke(bob)
    assert scene.offer(older) == ["rollback"]
    assert bob.every() == everywhere(REVOKED)
    assert alice.every() == everywhere(ALLOWED)


def test_what_is_no_list_of_the_ca_changes_nothing_and_is_told(scene: Scene) -> None:
    alice, bob = scene.begin()
    scene.revoke(bob)
    newest = scene.file.read_bytes()
    contents = {
        "cut off": newest[: len(newest) // 2],
        "empty": b"",
        "HTML": b"<!DOCTYPE html><title>502 Bad Gateway</title>",
        "of another CA": CA("Stranger CA").crl(number=scene.ca.number + 1),
        "of another key": CA("Acme Clients CA").crl(number=scene.ca.number + 1),
    }
    told = {}
    for name, content in contents.items():
        told[name] = scene.offer(content)
        assert bob.every() == everywhere(REVOKED), name
        assert alice.every() == everywhere(ALLOWED), name
    assert told == {
        "cut off": ["parse_error"],
        "empty": ["parse_error"],
        "HTML": ["parse_error"],
        "of another CA": ["signer_unknown"],
        "of another key": ["bad_signature"],
    }
    scene.publish(scene.ca.crl())
    scene.wait_for_lists(lambda crl: crl["problems"] == [])


def test_a_list_that_ran_out_denies_everyone_until_the_next_one_comes(scene: Scene) -> None:
    alice, bob = scene.begin()
    scene.revoke(bob, next_update=soon())
    scene.wait_for(alice, STALE)
    assert bob.every() == everywhere(REVOKED)
    scene.publish(scene.ca.crl())
    assert alice.every() == everywhere(ALLOWED)
    assert bob.every() == everywhere(REVOKED)


def test_a_list_that_ran_out_counts_as_long_as_the_policy_gives_it_grace(scene: Scene) -> None:
    alice, bob = scene.begin(f"{STRICT}, max_stale: {GRACE}s")
    until = soon()
    scene.revoke(bob, next_update=until)
    scene.wait_for_lists(lambda crl: (crl["state"], crl["reason"]) == ("good", "late"))
    assert time.time() >= until
    assert alice.every() == everywhere(ALLOWED)
    assert bob.every() == everywhere(REVOKED)
    scene.wait_for(alice, STALE)
    assert time.time() >= until + GRACE
    assert bob.every() == everywhere(REVOKED)


def test_where_the_policy_lets_failures_pass_they_are_counted_and_the_revoked_stay_out(scene: Scene) -> None:
    alice, bob = scene.begin(f"{STRICT}, on_failure: allow")
    scene.revoke(bob, next_update=soon())
    scene.wait_for_lists(lambda crl: crl["state"] == "stale")
    before = scene.metric('revocation_soft_fails_total{issuer="corp",source="crl"}')
    assert alice.every() == everywhere(ALLOWED)
    assert scene.metric('revocation_soft_fails_total{issuer="corp",source="crl"}') == before + len(WAYS)
    assert bob.every() == everywhere(REVOKED)


def test_a_list_that_is_removed_counts_until_it_runs_out(scene: Scene) -> None:
    alice, bob = scene.begin()
    scene.revoke(bob)
    scene.file.unlink()
    scene.wait_for_lists(lambda crl: [problem["reason"] for problem in crl["problems"]] == ["not_loaded"])
    assert alice.every() == everywhere(ALLOWED)
    assert bob.every() == everywhere(REVOKED)
    scene.publish(scene.ca.crl(next_update=soon()))
    scene.file.unlink()
    scene.wait_for(alice, STALE)
    assert bob.every() == everywhere(REVOKED)


def test_nobody_is_let_in_before_the_first_list_is_there(scene: Scene) -> None:
    scene.file = scene.file.with_name(f"first-{time.monotonic_ns()}.crl")
    scene.write_policy(f"files: [crl/{scene.file.name}]")
    scene.restart_if_wanted()
    alice, bob = scene.newcomer("alice"), scene.newcomer("bob")
    assert alice.every() == bob.every() == everywhere(NOT_LOADED)
    assert scene.lists()["state"] == "not_loaded"
    scene.revoke(bob)
    assert alice.every() == everywhere(ALLOWED)
    assert bob.every() == everywhere(REVOKED)


def test_neither_a_restart_nor_a_lost_or_older_file_lets_the_revoked_in(scene: Scene) -> None:
    alice, bob = scene.begin()
    older = scene.file.read_bytes()
    scene.revoke(bob)
    scene.stop()
    scene.file.unlink()
    scene.start()
    assert scene.problems() == ["not_loaded"]
    assert alice.every() == everywhere(ALLOWED)
    assert bob.every() == everywhere(REVOKED)
    scene.stop()
    _replace(scene.file, older)
    scene.start()
    assert scene.problems() == ["rollback"]
    assert alice.every() == everywhere(ALLOWED)
    assert bob.every() == everywhere(REVOKED)


@pytest.mark.slow
def test_a_million_revocations_are_put_in_force_and_nobody_waits_for_it(scene: Scene) -> None:
    alice, bob = scene.begin()
    scene.ca.number += 1
    now = int(time.time())
    named = [Revoked(bob.issued.certificate.serial_number, 1)]
    issuer, span = scene.ca.authority.issued, (now - HOUR, now + DAY)
    content = sign_list(issuer, entries_of(MILLION), named, scene.ca.number, span)
    with asking(alice.client) as answers, asking(bob.client) as others:
        scene.publish(content, PATIENCE_FOR_A_MILLION)
        assert bob.every() == everywhere(REVOKED)
    assert scene.lists()["entries"] == MILLION + 1
    assert {answer for answer, _ in answers} == {ALLOWED}
    assert [answer for answer, _ in others] == sorted((answer for answer, _ in others), key=[ALLOWED, REVOKED].index)
    seconds = sorted(took for _, took in answers + others)
    assert seconds[len(seconds) * 99 // 100] < SLOW
    assert alice.every() == everywhere(ALLOWED)
