"""Accepting, watching over and dismissing connections."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import uvloop

import spoa.agent
from spoa.agent import Limits
from spoa.credentials import Credentials
from spoa.exceptions import ProtocolError
from spoa.gate import Gate
from spoa.peer import Peer
from spoa.spop import Connection, Role
from tests.agents import PATIENCE, SHUT, Haproxy, Serving, authorize, is_healthy, policy_of, serving, until
from tests.pki import CA
from tests.secrecy import NAME, Secrecy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.agents import Loops


def test_requests_are_answered_in_order_on_one_connection(loops: Loops) -> None:
    with serving(policy_of(), loop_factory=loops) as here, here.connect() as haproxy:
        assert haproxy.ask("/open/x")["verdict"] == "allow"
        assert haproxy.ask("/shut")["verdict"] == "deny"


def test_connections_do_not_mix(loops: Loops) -> None:
    with serving(policy_of(), loop_factory=loops) as here, here.connect() as one, here.connect() as other:
        one.socket.sendall(one.notify(authorize("/open/x")))
        other.socket.sendall(other.notify(authorize("/shut")))
        assert other.answer()["verdict"] == "deny"
        assert one.answer()["verdict"] == "allow"


def test_a_swap_takes_effect_on_a_live_connection_and_keeps_what_was_counted(loops: Loops) -> None:
    with serving(policy_of(), loop_factory=loops) as here, here.connect() as haproxy:
        assert haproxy.ask()["verdict"] == "allow"
        here.call(here.agent.swap, policy_of(SHUT))
        assert haproxy.ask()["verdict"] == "deny"
        assert here.sample("decisions_total", "allow", "ok", "open") == 1
        assert here.sample("decisions_total", "deny", "no_rule_allows", "") == 1


def test_what_was_remembered_under_the_policy_before_is_let_go_of_piece_by_piece(loops: Loops) -> None:
    old = policy_of()
    with serving(old, loop_factory=loops) as here, here.connect() as haproxy:
        assert haproxy.ask()["verdict"] == "allow"
        questions: Any = here.agent._answering._recall._questions
        standings: Any = old._standings
        for number in range(3000):
            questions.put(b"%d" % number, number)
            standings.put(b"%d" % number, number)

        def swap() -> tuple[int, int]:
            here.agent.swap(policy_of(SHUT))
            return len(questions), len(standings)

        left, stood = here.call(swap)
        assert (left + stood) > 4000  # not all at one go
        until(lambda: not len(questions) and not len(standings))
        assert haproxy.ask()["verdict"] == "deny"


def test_a_candidate_is_let_go_of_piece_by_piece(loops: Loops) -> None:
    with serving(policy_of(), loop_factory=loops) as here, here.connect() as haproxy:
        here.call(here.agent.compare_with, policy_of(SHUT))
        comparison = here.agent._answering._comparisons.now
        assert comparison is not None
        standings: Any = comparison.candidate._standings
        for number in range(3000):
            standings.put(b"%d" % number, number)
        here.call(here.agent.compare_with, None)
        until(lambda: not len(standings))
        assert haproxy.ask()["verdict"] == "allow"


def test_a_connection_without_hello_is_closed(loops: Loops) -> None:
    limits = Limits(hello_timeout=0.2)
    with serving(policy_of(), limits, loop_factory=loops) as here, here.connect(greet=False) as silent:
        silent.connection.send_hello()
        began = time.monotonic()
        assert silent.disconnected() == 2
        assert time.monotonic() - began < 5  # much less than where nothing is said of it
        assert silent.is_closed()
        assert here.sample("connections_closed_total", "hello_timeout") == 1


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(loops: Loops) -> None:
    with (
        serving(policy_of(), Limits(idle_timeout=2.0), loop_factory=loops) as here,
        here.connect() as idle,
        here.connect() as busy,
    ):
        while not here.sample("connections_closed_total", "idle_timeout"):
            assert busy.ask()["verdict"] == "allow"
        assert idle.disconnected() == 2
        assert busy.ask()["verdict"] == "allow"


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Have nothing freed but what nothing refers to."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("is_secret", [False, True], ids=["plain", "TLS"])
def test_a_connection_that_ended_is_gone_without_a_collection(loops: Loops, tmp_path: Path, *, is_secret: bool) -> None:
    secrecy, gate = Secrecy.made(tmp_path / "tls"), Gate(is_secret=is_secret)
    gate.secure(Credentials.from_files(secrecy.folder / "agent.pem", None, secrecy.folder / "ca.pem").context())

    def peers() -> int:
        return sum(type(one) is Peer for one in gc.get_objects())

    before = peers()
    with serving(policy_of(), loop_factory=loops, gate=gate) as here:
        for _ in range(5):
            with over_tls(here, secrecy.client()) if is_secret else here.connect() as haproxy:
                assert haproxy.ask()["verdict"] == "allow"
                assert peers() > before
        until(lambda: peers() == before)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("is_secret", [False, True], ids=["plain", "TLS"])
def test_with_uvloop_nothing_of_a_connection_that_ended_is_left_to_be_collected(
    tmp_path: Path, *, is_secret: bool
) -> None:
    """However it ended, but for a breach, whose error is in a circle with its frames until the next collection."""
    secrecy, gate = Secrecy.made(tmp_path / "tls"), Gate(is_secret=is_secret)
    gate.secure(Credentials.from_files(secrecy.folder / "agent.pem", None, secrecy.folder / "ca.pem").context())
    with serving(policy_of(), Limits(hello_timeout=0.3), loop_factory=uvloop.new_event_loop, gate=gate) as here:
        for words in (b"", b"GET / HTTP/1.0\r\n\r\n" if is_secret else b"\0\0", None):
            with here.connect(greet=False) as stranger:
                if words is not None:  # and then they are silent, or gone
                    stranger.socket.sendall(words)
                    until(stranger.is_closed)
        with over_tls(here, secrecy.client()) if is_secret else here.connect() as haproxy:
            assert haproxy.ask()["verdict"] == "allow"
        until(lambda: not here.sample("connections"))
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        left = {type(one).__name__ for one in gc.garbage if type(one).__module__.startswith(("spoa", "uvloop"))}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert not left


def test_half_a_frame_now_and_then_does_not_keep_a_connection(loops: Loops) -> None:
    with serving(policy_of(), Limits(idle_timeout=0.3), loop_factory=loops) as here, here.connect() as dripping:
        frame = dripping.notify(authorize())
        sent = 0
        while not here.sample("connections_closed_total", "idle_timeout"):
            dripping.socket.sendall(frame[sent : sent + 1])
            sent += 1
            time.sleep(0.02)
        assert sent < len(frame)


@pytest.mark.parametrize("is_secret", [False, True], ids=["plain", "TLS"])
def test_a_peer_that_takes_no_answers_is_not_read_any_more_and_then_dropped(
    loops: Loops, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, is_secret: bool
) -> None:
    monkeypatch.setattr(spoa.agent, "_MAX_STALL", 0.3)
    # Small, so that the kernel keeps no megabytes of answers that nobody takes, of which the agent knows nothing.
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    limits = Limits(hello_timeout=1 if not is_secret else 60)
    secrecy, gate = Secrecy.made(tmp_path / "tls"), Gate(is_secret=is_secret)
    gate.secure(Credentials.from_files(secrecy.folder / "agent.pem", None, secrecy.folder / "ca.pem").context())
    with (
        serving(policy_of(), limits, loop_factory=loops, listener=listener, gate=gate) as here,
        over_tls(here, secrecy.client()) if is_secret else here.connect() as haproxy,
    ):
        haproxy.socket.settimeout(0.2)
        frames = b"".join(haproxy.notify(authorize()) for _ in range(1000))
        unsent = [memoryview(frames * 1000)]

        def is_dropped() -> bool:
            """Send on, as long as anything is taken: how much that is until the agent stops reading is the kernel's."""
            with contextlib.suppress(TimeoutError, ConnectionError, ssl.SSLError):
                unsent[0] = unsent[0][haproxy.socket.send(unsent[0]) :]
            return here.sample("connections_closed_total", "slow_peer") == 1

        until(is_dropped)
        assert here.sample("connections") == 0


def test_a_connection_is_dismissed_after_what_is_in_flight_is_answered(loops: Loops) -> None:
    with serving(policy_of(), loop_factory=loops) as here, here.connect() as haproxy, here.connect() as idle:
        haproxy.socket.sendall(b"".join(haproxy.notify(authorize()) for _ in range(100)))
        drained = here.drain()
        assert {haproxy.answer()["verdict"] for _ in range(100)} == {"allow"}
        assert haproxy.disconnected() == 0
        assert idle.disconnected() == 0
        haproxy.socket.close()
        idle.socket.close()
        drained.result(5)
        assert here.sample("connections_closed_total", "drain") == 2


def test_a_connection_that_said_no_hello_gets_none_from_a_draining_agent(loops: Loops) -> None:
    with serving(policy_of(), loop_factory=loops) as here, here.connect(greet=False) as late:
        until(lambda: here.sample("connections") == 1)
        drained = here.drain()
        until(lambda: here.agent._drain_started)
        late.socket.sendall(late.connection.send_hello())
        assert late.disconnected() == 0
        assert late.is_closed()
        drained.result(5)


def test_busy_connections_are_dismissed_when_patience_ends(loops: Loops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.agent, "_DRAIN_PATIENCE", 0.3)
    monkeypatch.setattr(spoa.agent, "_DRAIN_QUIET", float("inf"))
    with serving(policy_of(), loop_factory=loops) as here, here.connect() as haproxy:
        drained = here.drain()
        began = time.monotonic()
        with contextlib.suppress(AssertionError, ProtocolError):
            while True:
                haproxy.ask()
        assert 0.2 < time.monotonic() - began < 2
        haproxy.socket.close()
        drained.result(5)


def test_a_connection_that_never_falls_quiet_is_dismissed_along_with_an_answer(
    loops: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoa.agent, "_DRAIN_HOPE", 0.1)
    monkeypatch.setattr(spoa.agent, "_DRAIN_QUIET", float("inf"))  # nor on a machine that stops now and then
    with serving(policy_of(), loop_factory=loops) as here, here.connect() as haproxy:
        drained = here.drain()
        while not haproxy.events:  # an answer and the goodbye arrive together, so no question is ever lost
            assert haproxy.ask()["verdict"] == "allow"
        assert haproxy.disconnected() == 0
        haproxy.socket.close()
        drained.result(5)
        assert here.sample("connections_closed_total", "drain") == 1


def test_an_agent_about_to_leave_fails_health_checks_and_serves_on(loops: Loops) -> None:
    with serving(policy_of(), loop_factory=loops) as here, here.connect() as before:
        assert here.call(lambda: here.agent.since_check) is None
        assert is_healthy(here.address)
        assert 0 <= here.call(lambda: here.agent.since_check) < PATIENCE
        here.call(here.agent.fail_checks)
        assert not is_healthy(here.address)
        assert before.ask()["verdict"] == "allow"
        with here.connect() as after:
            assert after.ask()["verdict"] == "allow"


def test_a_peer_that_never_closes_does_not_hold_up_the_end(loops: Loops) -> None:
    with serving(policy_of(), loop_factory=loops) as here, here.connect() as haproxy:
        began = time.monotonic()
        here.drain().result(5)
        assert time.monotonic() - began < 3
        assert haproxy.disconnected() == 0


def test_draining_without_connections_ends_at_once(loops: Loops) -> None:
    with serving(policy_of(), loop_factory=loops) as here:
        here.drain().result(0.5)


def test_a_clock_before_the_floor_is_not_used() -> None:
    policy = policy_of()
    with serving(policy, clock_floor=1000.0, clock=lambda: 999.0) as here:
        assert not policy.clock_usable
        here.call(here.agent.set_clock_floor, 998.0)
        assert policy.clock_usable
        here.call(here.agent.set_clock_floor, 2000.0)
        other = policy_of(SHUT)
        here.call(here.agent.swap, other)
        assert not other.clock_usable


def test_a_clock_that_is_set_back_is_noticed_before_the_next_request_is_judged_and_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy, times = policy_of(), [2000.0]
    with (
        structlog.testing.capture_logs() as logs,
        serving(policy, clock_floor=1000.0, clock=lambda: times[0]) as here,
        here.connect() as haproxy,
    ):
        haproxy.ask()
        assert policy.clock_usable
        monkeypatch.setattr(here.agent, "_sweep", lambda: None)  # which would notice it too, but later
        times[0] = 999.0
        haproxy.ask()
        assert not policy.clock_usable
        haproxy.ask()
        times[0] = 2000.0
        haproxy.ask()
        assert policy.clock_usable
    assert [row["event"] for row in logs if "clock" in row["event"]] == [
        "the clock can't be right, so certificates are denied",
        "the clock can be right again",
    ]


def test_a_connection_that_outlasts_all_patience_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.peer._LINGER", 60)
    monkeypatch.setattr(spoa.agent, "_DRAIN_PATIENCE", -1.8)
    with serving(policy_of()) as here, here.connect(), here.connect():
        here.drain().result(5)
        assert here.sample("connections") == 0


def test_an_agent_that_never_served_closes_too() -> None:
    async def run() -> None:
        spoa.agent.Agent(policy_of(), Limits()).close()

    asyncio.run(run())


def test_whoever_is_not_allowed_is_closed_before_a_word_and_counted(loops: Loops) -> None:
    with (
        structlog.testing.capture_logs() as logs,
        serving(policy_of(), gate=Gate(["127.0.0.2"]), loop_factory=loops) as here,
    ):
        for _ in range(3):
            with here.connect(greet=False) as stranger:
                assert stranger.is_closed()
        with contextlib.closing(socket.socket()) as plain:
            plain.settimeout(PATIENCE)
            plain.bind(("127.0.0.2", 0))
            plain.connect((here.address.host, here.address.port))
            plain.sendall(Connection(Role.HAPROXY).send_hello())
            assert plain.recv(1)
        assert here.sample("peers_refused_total", "address") == 3
        assert here.sample("connections_total") == 1
    assert [line["peer"] for line in logs if line["event"] == "connections are refused"] == ["127.0.0.1"]


def over_tls(here: Serving, context: ssl.SSLContext) -> Haproxy:
    """Connect over TLS; TLS 1.3 tells a client only later that its certificate is refused."""
    haproxy = here.connect(greet=False)
    try:
        haproxy.socket = context.wrap_socket(haproxy.socket, server_hostname=NAME)
        haproxy.greet()
    except BaseException:
        haproxy.socket.close()
        raise
    return haproxy


def test_over_tls_only_who_shows_a_certificate_of_the_ca_is_answered(tmp_path: Path, loops: Loops) -> None:
    secrecy, stranger = Secrecy.made(tmp_path / "tls"), CA("Another CA")
    secrecy.write("stranger.pem", stranger.issue("haproxy").bundle_pem)
    secrecy.write("expired.pem", secrecy.ca.issue("haproxy", not_after=secrecy.ca.now - 60).bundle_pem)
    secrecy.write("server.pem", secrecy.ca.server("web.example").bundle_pem)
    files = [secrecy.folder / name for name in ("agent.pem", "ca.pem")]
    gate = Gate(is_secret=True)
    gate.secure(Credentials.from_files(files[0], None, files[1]).context())
    with structlog.testing.capture_logs(), serving(policy_of(), gate=gate, loop_factory=loops) as here:
        with over_tls(here, secrecy.client()) as haproxy:
            assert haproxy.ask()["verdict"] == "allow"
            assert haproxy.ask("/shut")["verdict"] == "deny"
            haproxy.socket.sendall(b"".join(haproxy.notify(authorize()) for _ in range(3000)))
            assert {haproxy.answer()["verdict"] for _ in range(3000)} == {"allow"}
        strangers = [
            *(secrecy.client(name) for name in ("", "stranger.pem", "expired.pem", "server.pem")),
            secrecy.client(maximum_version=ssl.TLSVersion.TLSv1_2),
        ]
        for context in strangers:
            with pytest.raises((OSError, AssertionError)):
                over_tls(here, context)
        with here.connect(greet=False) as plain:
            plain.socket.sendall(plain.connection.send_hello())
            with contextlib.suppress(ConnectionResetError):  # nothing, or an alert of TLS
                assert plain.socket.recv(64)[:1] in (b"", b"\x15")
        until(lambda: here.sample("peers_refused_total", "tls") == len(strangers) + 1)
        assert here.sample("connections_total") == 1
        with over_tls(here, secrecy.client()) as haproxy:
            here.drain().result(PATIENCE)
            assert haproxy.disconnected() == 0


def test_a_handshake_that_goes_on_for_ever_is_ended_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    secrecy = Secrecy.made(tmp_path / "tls")
    gate = Gate(is_secret=True)
    gate.secure(Credentials.from_files(secrecy.folder / "agent.pem", None, secrecy.folder / "ca.pem").context())
    limits = Limits(deadline=10.0, hello_timeout=2.0)
    with structlog.testing.capture_logs(), serving(policy_of(), limits, gate=gate) as here:
        silent = [here.connect(greet=False) for _ in range(20)]
        silent[0].socket.sendall(b"\x16\x03\x01\x02\x00")
        with over_tls(here, secrecy.client()) as haproxy:
            assert haproxy.ask()["verdict"] == "allow"
        assert all(one.is_closed() for one in silent)
        until(lambda: here.sample("peers_refused_total", "tls") == len(silent))
        for one in silent:
            one.socket.close()


def test_what_is_shown_is_what_is_in_force_when_a_connection_begins_and_open_ones_stay(tmp_path: Path) -> None:
    secrecy = Secrecy.made(tmp_path / "tls")
    first = secrecy.renew()
    files = [secrecy.folder / name for name in ("agent.pem", "ca.pem")]
    gate = Gate(is_secret=True)
    gate.secure(Credentials.from_files(files[0], None, files[1]).context())
    with serving(policy_of(), gate=gate) as here, over_tls(here, secrecy.client()) as older:
        assert isinstance(older.socket, ssl.SSLSocket)
        assert older.socket.getpeercert(binary_form=True) == first
        second = secrecy.renew()
        gate.secure(Credentials.from_files(files[0], None, files[1]).context())
        with over_tls(here, secrecy.client()) as newer:
            assert isinstance(newer.socket, ssl.SSLSocket)
            assert newer.socket.getpeercert(binary_form=True) == second
        assert older.ask()["verdict"] == "allow"
