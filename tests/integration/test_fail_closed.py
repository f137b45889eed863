"""Whatever happens to the agent, HAProxy denies, says little, and recovers by itself."""

from __future__ import annotations

import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from spoa.spop import Ack, AgentDisconnect, FrameType, Notify, frame_bytes, write_frame
from spoa.spop.frames import FIN, NO_IDS, write_ids
from tests.haproxy import wait_until
from tests.integration.edge import PATIENT, Edge, start_edge
from tests.integration.scripted_agent import HangUp, ScriptedAgent, answers, arguments_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from spoa.spop import HaproxyHello
    from tests.client import Response
    from tests.echo import Echo
    from tests.integration.edge import Pki

pytestmark = pytest.mark.integration

ALLOW: Final = answers(verdict="allow", status=200, reason="ok")
#: What the project promises about a returning agent.
SECONDS_TO_RECOVER: Final = 2
#: The shipped `timeout processing` (0.1 s) and what a busy machine may add to it.
SECONDS_TO_FAIL: Final = 1.5


@pytest.fixture(scope="module")
def shipped(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Edge, ScriptedAgent]]:
    """Give the shipped configuration with the shipped timeouts."""
    folder = tmp_path_factory.mktemp("edge")
    with (
        ScriptedAgent.running(ALLOW) as agent,
        start_edge(binary, pki, echoes, folder, agent.address, {"AUTHZ_VERIFY": "optional"}) as edge,
    ):
        yield edge, agent


@pytest.fixture
def patient(binary: Path, pki: Pki, echoes: Mapping[str, Echo], tmp_path: Path) -> Iterator[tuple[Edge, ScriptedAgent]]:
    """Give it with a timeout that no busy machine reaches."""
    with (
        ScriptedAgent.running(ALLOW) as agent,
        start_edge(binary, pki, echoes, tmp_path, agent.address, {"AUTHZ_VERIFY": "optional", **PATIENT}) as edge,
    ):
        yield edge, agent


@pytest.fixture
def healthy(shipped: tuple[Edge, ScriptedAgent]) -> tuple[Edge, ScriptedAgent]:
    """Give them in working order, without the connections of the test before."""
    edge, agent = shipped
    restart(agent)
    edge.proxy.wait_for_agent()
    recovery(edge)
    return edge, agent


def restart(agent: ScriptedAgent) -> None:
    """Bring back an agent that works, as a supervisor does: its connections are new."""
    agent.stop()
    agent.script, agent.hello = ALLOW, ScriptedAgent(ALLOW).hello
    agent.start()


def recovery(edge: Edge) -> float:
    """Return the seconds until a request is allowed again."""
    client = edge.client()
    return wait_until(lambda: client.get("/").status == 200, 10, "a request is allowed again", edge.proxy.report)


def assert_unavailable(edge: Edge, target: str = "/") -> None:
    """One request is refused as 503 in time, is told to try again, learns nothing else, and reaches no server."""
    before, begin = edge.received(), time.monotonic()
    answer = edge.client().get(target)
    assert time.monotonic() - begin < SECONDS_TO_FAIL
    assert (answer.status, answer.reason, answer.headers["retry-after"]) == (503, "not_ready", "1")
    assert set(answer.headers) == {
        "content-length",
        "content-type",
        "retry-after",
        "x-authz-reason",
        "cache-control",
    } - ({"cache-control"} if "cache-control" not in answer.headers else set())
    assert edge.received() == before


def test_a_stopped_agent_denies_and_its_return_is_noticed(healthy: tuple[Edge, ScriptedAgent]) -> None:
    edge, agent = healthy
    agent.stop()
    assert_unavailable(edge)
    edge.proxy.wait_for_agent("DOWN")
    assert_unavailable(edge)
    agent.start()
    assert recovery(edge) <= SECONDS_TO_RECOVER


def hang_up(_notify: Notify) -> bytes:
    raise HangUp


def reset(_notify: Notify) -> bytes:
    raise HangUp(reset=True)


def too_late(notify: Notify) -> bytes:
    threading.Event().wait(0.4)
    return ALLOW(notify)


def short_of_an_end(notify: Notify) -> bytes:
    whole = ALLOW(notify)
    return whole[: len(whole) // 2]


def without_fin(notify: Notify) -> bytes:
    payload = b"\x01\x03\x02\x07verdict\x08\x05allow"
    return frame_bytes(FrameType.ACK, 0, write_ids(notify.stream_id, notify.frame_id), payload)


def for_nobody(notify: Notify) -> bytes:
    return ALLOW(Notify(notify.stream_id + 1000, notify.frame_id))


@pytest.mark.parametrize(
    "script",
    [
        hang_up,
        reset,
        too_late,
        short_of_an_end,
        without_fin,
        for_nobody,
        lambda _notify: None,
        lambda _notify: b"HTTP/1.1 200 OK\r\n\r\nverdict=allow" * 20,
        lambda _notify: bytes(64),
        lambda _notify: b"\xff" * 64,
        lambda _notify: struct.pack(">IBI", 1_000_000, FrameType.ACK, FIN) + bytes(20_000),
        lambda _notify: write_frame(AgentDisconnect(13, b"no resources")),
        lambda _notify: write_frame(AgentDisconnect(0, b"normal")),
        lambda notify: frame_bytes(FrameType.NOTIFY, FIN, write_ids(notify.stream_id, notify.frame_id), b""),
        lambda _notify: frame_bytes(FrameType.AGENT_HELLO, FIN, NO_IDS, b""),
    ],
    ids=[
        "closes",
        "resets",
        "too late",
        "half an answer",
        "an unfinished answer",
        "an answer to another stream",
        "no answer",
        "text",
        "zeros",
        "ones",
        "an oversize answer",
        "a disconnect",
        "a normal disconnect",
        "a frame of HAProxy's",
        "a second hello",
    ],
)
def test_an_agent_that_does_not_answer_properly_denies(
    healthy: tuple[Edge, ScriptedAgent], script: Callable[[Notify], bytes | None]
) -> None:
    edge, agent = healthy
    agent.script = script
    assert_unavailable(edge)
    restart(agent)
    assert recovery(edge) <= SECONDS_TO_RECOVER


@pytest.mark.parametrize(
    "actions",
    [
        b"\x01\x03\x02\x07verdict\x08\x05allo",
        b"\x01\x02\x02\x07verdict\x08\x05allow",
        b"\x09\x03\x02\x07verdict\x08\x05allow",
        b"\x01\x03\x07\x07verdict\x08\x05allow",
        b"\x01\x03\x02\x07verdict\x0f\x05allow",
        b"\x01\x03\x00\x07verdict\x08\x05allow",
        b"\x01\x03\x01\x07verdict\x08\x05allow",
    ],
    ids=[
        "cut short",
        "too few arguments",
        "unknown action",
        "unknown scope",
        "unknown type",
        "process scope",
        "session scope",
    ],
)
def test_an_action_that_cannot_be_read_allows_nothing(healthy: tuple[Edge, ScriptedAgent], actions: bytes) -> None:
    edge, agent = healthy
    agent.script = lambda notify: frame_bytes(FrameType.ACK, FIN, write_ids(notify.stream_id, notify.frame_id), actions)
    before = edge.received()
    assert edge.client().get("/").status in {403, 503}
    assert edge.received() == before


@pytest.mark.parametrize(
    "hello",
    [
        None,
        lambda _hello: b"220 mail.example.com ESMTP\r\n",
        lambda _hello: frame_bytes(FrameType.AGENT_HELLO, FIN, NO_IDS, b""),
        lambda _hello: frame_bytes(
            FrameType.AGENT_HELLO,
            FIN,
            NO_IDS,
            b"\x07version\x08\x031.0\x0emax-frame-size\x03\xfc\xf0\x06\x0ccapabilities\x08\x00",
        ),
        lambda _hello: write_frame(AgentDisconnect(8, b"unsupported version")),
        lambda _hello: write_frame(Ack(1, 1)),
    ],
    ids=["no hello", "another protocol", "an empty hello", "version 1.0", "a disconnect", "an answer first"],
)
def test_an_agent_that_cannot_say_hello_is_out_of_service(
    healthy: tuple[Edge, ScriptedAgent], hello: Callable[[HaproxyHello], bytes] | None
) -> None:
    edge, agent = healthy
    agent.stop()
    agent.hello = hello
    agent.start()
    assert_unavailable(edge)
    edge.proxy.wait_for_agent("DOWN")
    assert_unavailable(edge)
    restart(agent)
    assert recovery(edge) <= SECONDS_TO_RECOVER


def test_a_late_answer_is_not_taken_for_that_of_a_later_request(healthy: tuple[Edge, ScriptedAgent]) -> None:
    edge, agent = healthy
    deny, answered = answers(verdict="deny", status=403, reason="denied_by_rule"), threading.Event()

    def allow_slow_and_late(notify: Notify) -> bytes:
        if arguments_of(notify)["path"] != b"/slow":
            return deny(notify)
        threading.Event().wait(0.3)
        answered.set()
        return ALLOW(notify)

    agent.script = allow_slow_and_late
    with edge.client().http1() as connection:
        assert connection.request("GET", "/slow").status == 503
        denied = 0
        while not answered.is_set() or denied < 20:
            # On a busy machine a quick answer may come too late itself, which denies as well: it is never an allow.
            reason = connection.request("GET", "/quick").reason
            assert reason in {"denied_by_rule", "not_ready"}
            denied += answered.is_set() and reason == "denied_by_rule"


def test_a_request_too_large_for_a_frame_is_denied_alone(patient: tuple[Edge, ScriptedAgent]) -> None:
    edge, agent = patient
    names = [f"host-{number:04}.{'x' * 40}.example.com" for number in range(140)]
    large = edge.client(edge.pki.client("large", dns=names))
    small = edge.client(edge.pki.client("small"))
    stop = threading.Event()

    def others() -> set[int]:
        seen = set()
        with small.http1() as connection:
            while not stop.is_set():
                seen.add(connection.request("GET", "/").status)
        return seen

    with ThreadPoolExecutor() as pool:
        others_seen = [pool.submit(others) for _ in range(2)]
        try:
            before = len(agent.notified)
            assert large.get("/").status == 200
            answers_to_large: list[Response] = [large.get("/" + "a" * 8000) for _ in range(5)]
        finally:
            stop.set()
    assert {(answer.status, answer.reason) for answer in answers_to_large} == {(503, "not_ready")}
    assert len(agent.notified) > before
    assert [result.result() for result in others_seen] == [{200}, {200}]
    edge.proxy.wait_for_log(r"reason:not_ready .* error:3 ")


@pytest.mark.parametrize(("length", "status"), [(8192, 200), (8193, 400), (14000, 400)])
def test_a_path_over_the_limit_is_refused_and_never_shortened(
    healthy: tuple[Edge, ScriptedAgent], length: int, status: int
) -> None:
    edge, agent = healthy
    before = edge.received()
    answer = edge.client().get("/" + "a" * (length - 1))
    assert answer.status == status
    if status == 200:
        assert arguments_of(agent.notified[-1])["path"] == answer.echoed["target"].encode()
    else:
        assert answer.reason == "malformed_message"
        assert edge.received() == before


def test_requests_in_flight_when_the_agent_dies_are_denied(healthy: tuple[Edge, ScriptedAgent]) -> None:
    edge, agent = healthy
    arrived = threading.Semaphore(0)

    def wait_for_death(_notify: Notify) -> None:
        arrived.release()

    agent.script = wait_for_death
    client, before = edge.client(), edge.received()
    with ThreadPoolExecutor(8) as pool:
        under_way = [pool.submit(client.get, "/") for _ in range(8)]
        assert arrived.acquire(timeout=5)
        agent.stop()
        assert {answer.result().status for answer in under_way} == {503}
    assert edge.received() == before
    restart(agent)
    assert recovery(edge) <= SECONDS_TO_RECOVER
