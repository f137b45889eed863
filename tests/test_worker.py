"""A worker does what it is told, and leaves when nobody is there to tell it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import structlog.testing

import spoa.worker
from spoa.addresses import Address
from spoa.agent import Limits
from spoa.bundle import build_bundle
from spoa.control import Channel, Link, WorkerError
from spoa.credentials import Credentials
from spoa.decision_log import DecisionLog
from spoa.enquiries import answer_row
from spoa.logsinks.file import FileSink
from spoa.logsinks.opening import LogSettings
from spoa.precedence import Precedence
from spoa.worker import Orders, Worker, exempt_survivors, main
from tests.agents import OPEN, PATIENCE, ROOT, SHUT, Haproxy, authorize, until
from tests.secrecy import NAME, Secrecy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

ASKED: list[list[dict[str, str]]] = []
ORDERS = Orders(-1, (), Limits(), 0.0, (), 1.0, "text", "error")


@pytest.fixture
def bundles(tmp_path: Path) -> tuple[Path, Path]:
    """One bundle that allows and one that denies."""
    made = []
    for name, text in (("open", OPEN), ("shut", SHUT)):
        policies, bundle = tmp_path / f"policies-{name}", tmp_path / name
        policies.mkdir()
        bundle.mkdir()
        (policies / "policy.yaml").write_text(text)
        build_bundle(policies, bundle)
        made.append(bundle)
    return made[0], made[1]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(0)
        yield made


def command(link: Link, listener: socket.socket) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def ask(verb: str, **arguments: object) -> dict[str, Any]:
        return await link.ask(verb, 5, **arguments)

    return ask


def supervise(
    listener: socket.socket,
    script: Callable[[Worker, Link], Awaitable[None]],
    log: DecisionLog | None = None,
    **ordered: Any,
) -> None:
    """Run a worker in this process under a script."""

    async def run() -> None:
        ours, theirs = socket.socketpair()
        orders = replace(ORDERS, listeners=(os.dup(listener.fileno()),), **ordered)
        worker = Worker(orders, await Channel.open(theirs), log)
        running = asyncio.create_task(worker.run())
        link = Link(await Channel.open(ours), ASKED.append)
        await asyncio.wait_for(script(worker, link), 10)
        await link.close()
        await asyncio.wait_for(running, 5)
        await worker._channel.close()

    asyncio.run(run())


def verdict(listener: socket.socket) -> str:
    with contextlib.closing(Haproxy(Address(*listener.getsockname())).socket) as end:
        del end
    with Haproxy(Address(*listener.getsockname())) as haproxy:
        return str(haproxy.ask()["verdict"])


def test_a_block_list_is_part_of_every_policy_from_then_on(bundles: tuple[Path, Path], listener: socket.socket) -> None:
    blocks = "apiVersion: authz/v1\nkind: blocks\nentries: [{issuer: corp, serial: 7}]\n"

    async def script(_: Worker, link: Link) -> None:
        prepared = await link.ask("prepare", 5, bundle=str(bundles[0]), imposed={}, evidence="{}")
        assert (await link.ask("activate", 5))["revision"] == prepared["revision"]
        await link.ask("block", 5, text=blocks)
        assert (await link.ask("report", 5))["policy"]["revision"] != prepared["revision"]
        prepared = await link.ask("prepare", 5, bundle=str(bundles[1]), imposed={}, evidence="{}")
        assert (await link.ask("activate", 5))["revision"] != prepared["revision"]

    supervise(listener, script)


def test_tls_is_spoken_by_what_came_before_the_first_connection_or_later(
    bundles: tuple[Path, Path], listener: socket.socket, tmp_path: Path
) -> None:
    secrecy = Secrecy.made(tmp_path / "tls")

    def imposed() -> str:
        return Credentials.from_files(secrecy.folder / "agent.pem", None, secrecy.folder / "ca.pem").to_json()

    def shown() -> bytes | None:
        with (
            socket.create_connection(listener.getsockname(), timeout=PATIENCE) as plain,
            secrecy.client().wrap_socket(plain, server_hostname=NAME) as secret,
        ):
            return secret.getpeercert(binary_form=True)

    async def script(_: Worker, link: Link) -> None:
        first = secrecy.renew()
        await link.ask("prepare", 5, bundle=str(bundles[0]), imposed={"secure": imposed()}, evidence="{}")
        await link.ask("activate", 5)
        assert await asyncio.to_thread(shown) == first
        second = secrecy.renew()
        assert await asyncio.to_thread(shown) == first
        await link.ask("secure", 5, text=imposed())
        assert await asyncio.to_thread(shown) == second

    supervise(listener, script, is_secret=True, allow_from=("127.0.0.0/8",))


def test_it_serves_from_the_first_activation_on_and_swaps_later(
    bundles: tuple[Path, Path], listener: socket.socket
) -> None:
    async def script(_: Worker, link: Link) -> None:
        assert (await link.ask("report", 5))["counters"] == []
        prepared = await link.ask("prepare", 5, bundle=str(bundles[0]), imposed={}, evidence="{}")
        activated = await link.ask("activate", 5)
        assert prepared["revision"] == activated["revision"]
        assert await asyncio.to_thread(verdict, listener) == "allow"
        await link.ask("prepare", 5, bundle=str(bundles[1]), imposed={}, evidence="{}")
        assert await asyncio.to_thread(verdict, listener) == "allow"
        await link.ask("activate", 5)
        assert await asyncio.to_thread(verdict, listener) == "deny"
        report = await link.ask("report", 5)
        assert report["policy"]["rules"] == 1
        assert ["decisions_total", ["allow", "ok", "open"], 2] in report["counters"]
        few = (await link.ask("report", 5, decisions=False))["counters"]
        assert ["frames_total", ["notify"], 3] in few
        assert "decisions_total" not in [name for name, _, _ in few]

    supervise(listener, script)


@pytest.mark.interpreted
def test_many_counters_come_in_parts(
    bundles: tuple[Path, Path], listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(_: Worker, link: Link) -> None:
        await link.ask("prepare", 5, bundle=str(bundles[0]), imposed={}, evidence="{}")
        await link.ask("activate", 5)
        assert await asyncio.to_thread(verdict, listener) == "allow"
        whole = (await link.ask("report", 5))["counters"]
        monkeypatch.setattr("spoa.counts._AT_ONCE", 2)
        assert await asyncio.to_thread(verdict, listener) == "allow"
        parts = (await link.ask("report", 5))["counters"]
        assert [row[:2] for row in parts] == [row[:2] for row in whole]
        assert ["decisions_total", ["allow", "ok", "open"], 2] in parts

    supervise(listener, script)


def test_what_is_discarded_can_not_be_activated(bundles: tuple[Path, Path], listener: socket.socket) -> None:
    async def script(_: Worker, link: Link) -> None:
        await link.ask("prepare", 5, bundle=str(bundles[0]), imposed={}, evidence="{}")
        await link.ask("discard", 5)
        with pytest.raises(WorkerError, match="nothing is prepared"):
            await link.ask("activate", 5)

    supervise(listener, script)


def test_a_bundle_that_can_not_be_opened_is_an_error_and_changes_nothing(
    bundles: tuple[Path, Path], listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(_: Worker, link: Link) -> None:
        await link.ask("prepare", 5, bundle=str(bundles[0]), imposed={}, evidence="{}")
        await link.ask("activate", 5)
        with pytest.raises(WorkerError, match="can't be read"):
            await link.ask("prepare", 5, bundle=str(tmp_path), imposed={}, evidence="{}")
        monkeypatch.setattr(spoa.worker, "open_bundle", lambda *_: iter([None]))
        with pytest.raises(WorkerError, match="holds no policy"):
            await link.ask("prepare", 5, bundle=str(bundles[1]), imposed={}, evidence="{}")
        assert await asyncio.to_thread(verdict, listener) == "allow"

    supervise(listener, script)


def test_an_order_that_nobody_knows_is_an_error(listener: socket.socket) -> None:
    async def script(_: Worker, link: Link) -> None:
        with structlog.testing.capture_logs(), pytest.raises(WorkerError, match="KeyError"):
            await link.ask("dance", 5)

    supervise(listener, script)


def test_the_floor_of_the_clock_is_taken_over(bundles: tuple[Path, Path], listener: socket.socket) -> None:
    async def script(worker: Worker, link: Link) -> None:
        await link.ask("floor", 5, floor=time.time() + 1000)
        await link.ask("prepare", 5, bundle=str(bundles[0]), imposed={}, evidence="{}")
        await link.ask("activate", 5)
        assert worker._agent is not None
        assert not worker._agent.policy.clock_usable
        await link.ask("floor", 5, floor=0.0)
        assert worker._agent.policy.clock_usable

    supervise(listener, script)


def test_the_decision_log_is_opened_anew(listener: socket.socket, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = DecisionLog(FileSink(path), 1.0)

    async def script(_: Worker, link: Link) -> None:
        path.unlink()
        await link.ask("reopen", 5)
        await asyncio.to_thread(until, path.exists)

    supervise(listener, script, log)
    log.close()


def test_without_a_decision_log_there_is_nothing_to_open(listener: socket.socket) -> None:
    async def script(_: Worker, link: Link) -> None:
        await link.ask("reopen", 5)

    supervise(listener, script)


def test_a_drain_ends_with_the_last_counters_and_no_further_connection(
    bundles: tuple[Path, Path], listener: socket.socket
) -> None:
    async def script(_: Worker, link: Link) -> None:
        await link.ask("prepare", 5, bundle=str(bundles[0]), imposed={}, evidence="{}")
        await link.ask("activate", 5)
        haproxy = await asyncio.to_thread(Haproxy, Address(*listener.getsockname()))
        await asyncio.to_thread(haproxy.ask)
        drained = asyncio.create_task(link.ask("drain", 5))
        assert await asyncio.to_thread(haproxy.disconnected) == 0
        haproxy.socket.close()
        assert ["decisions_total", ["allow", "ok", "open"], 1] in (await drained)["counters"]

    supervise(listener, script)


def test_one_that_is_told_to_leave_before_it_serves_never_serves(
    bundles: tuple[Path, Path], listener: socket.socket
) -> None:
    async def script(worker: Worker, link: Link) -> None:
        await link.ask("drain", 5)
        await link.ask("prepare", 5, bundle=str(bundles[0]), imposed={}, evidence="{}")
        await link.ask("activate", 5)
        assert worker._agent is not None
        assert not worker._agent._acceptor.is_accepting

    supervise(listener, script)


def test_it_is_gone_within_two_seconds_of_its_supervisor(bundles: tuple[Path, Path], listener: socket.socket) -> None:
    began = 0.0

    async def script(_: Worker, link: Link) -> None:
        nonlocal began
        await link.ask("prepare", 5, bundle=str(bundles[0]), imposed={}, evidence="{}")
        await link.ask("activate", 5)
        haproxy = await asyncio.to_thread(Haproxy, Address(*listener.getsockname()))
        asyncio.get_running_loop().run_in_executor(None, _chatter, haproxy)
        began = time.monotonic()

    with structlog.testing.capture_logs() as logs:
        supervise(listener, script)
    assert time.monotonic() - began < 2.5
    assert "the supervisor is gone" in {line["event"] for line in logs}


def _chatter(haproxy: Haproxy) -> None:
    """Keep a connection busy until it ends."""
    with contextlib.suppress(OSError, AssertionError, spoa.exceptions.ProtocolError):
        while True:
            haproxy.ask()
    haproxy.socket.close()


def test_orders_survive_the_command_line() -> None:
    log = LogSettings("x", max_size=1, masked=("src",))
    orders = replace(ORDERS, listeners=(3, 4), limits=Limits(deadline=0.5), decision_logs=(log,))
    assert Orders.from_json(orders.to_json()) == orders


class TestProcess:
    def start(self, listener: socket.socket, log: str = "") -> tuple[subprocess.Popen[str], socket.socket]:
        ours, theirs = socket.socketpair()
        descriptors = (theirs.fileno(), listener.fileno())
        logs = (LogSettings(log),) if log else ()
        orders = replace(ORDERS, control=descriptors[0], listeners=(descriptors[1],), decision_logs=logs)
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "spoa.worker", orders.to_json()],
            pass_fds=descriptors,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        ours.settimeout(10)
        return process, ours

    def ask(self, end: socket.socket, verb: str, **arguments: object) -> dict[str, Any]:
        end.sendall(json.dumps({"id": 1, "do": verb, **arguments}).encode() + b"\n")
        text = b""
        while True:
            text += end.recv(65536)
            last = text.splitlines()[-1] if text.endswith(b"\n") else b"{}"
            answer = json.loads(last)
            if "id" in answer and "part" not in answer:
                return dict(answer)

    def test_signals_meant_for_the_supervisor_do_not_end_it_and_a_hang_up_does(
        self, listener: socket.socket, bundles: tuple[Path, Path], tmp_path: Path
    ) -> None:
        log = tmp_path / "log"
        process, end = self.start(listener, str(log))
        self.ask(end, "prepare", bundle=str(bundles[0]), imposed={}, evidence="{}")
        self.ask(end, "activate")
        process.send_signal(signal.SIGHUP)
        log.unlink()
        process.send_signal(signal.SIGUSR1)
        until(log.exists)
        assert verdict(listener) == "allow"
        end.close()
        assert process.communicate(timeout=5)[1].count("Traceback") == 0
        assert process.returncode == 0
        assert '"allow"' in log.read_text()

    def test_a_signal_to_the_whole_group_leaves_it_to_the_supervisor_when_to_drain(
        self, listener: socket.socket, bundles: tuple[Path, Path]
    ) -> None:
        process, end = self.start(listener)
        self.ask(end, "prepare", bundle=str(bundles[0]), imposed={}, evidence="{}")
        self.ask(end, "activate")
        with Haproxy(Address(*listener.getsockname())) as haproxy:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
            self.ask(end, "report")
            assert haproxy.ask()["verdict"] == "allow"
            end.close()
            assert haproxy.disconnected() == 0
        process.communicate(timeout=5)
        assert process.returncode == 0

    def test_it_lets_others_on_its_core_finish_while_it_is_busy_and_what_runs_beside_its_loop_always_does(
        self, listener: socket.socket, bundles: tuple[Path, Path], tmp_path: Path
    ) -> None:
        process, end = self.start(listener, str(tmp_path / "log"))
        self.ask(end, "prepare", bundle=str(bundles[0]), imposed={}, evidence="{}")
        self.ask(end, "activate")

        def ways() -> list[int]:
            threads = sorted(int(thread.name) for thread in Path(f"/proc/{process.pid}/task").iterdir())
            return [os.sched_getscheduler(thread) for thread in threads]

        with Haproxy(Address(*listener.getsockname())) as haproxy:
            loop, *others = ways()
            assert loop == os.SCHED_OTHER
            assert others
            assert set(others) == {os.SCHED_BATCH}

            def ask_much() -> bool:
                haproxy.socket.sendall(b"".join(haproxy.notify(authorize()) for _ in range(400)))
                return all(haproxy.answer()["verdict"] == "allow" for _ in range(400))

            until(lambda: ask_much() and ways()[0] == os.SCHED_BATCH)
            until(lambda: ways()[0] == os.SCHED_OTHER)  # also where nothing comes any more
            end.close()
        process.communicate(timeout=5)


@pytest.mark.parametrize("has_uvloop", [True, False])
def test_the_process_runs_without_uvloop_too_whose_connections_no_collection_must_miss(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, has_uvloop: bool
) -> None:
    if not has_uvloop:
        monkeypatch.setitem(sys.modules, "uvloop", None)
    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)
    monkeypatch.setattr(gc, "callbacks", [])
    monkeypatch.setattr(spoa.worker, "Precedence", lambda: Precedence(is_free=lambda: False))
    ours, theirs = socket.socketpair()
    ours.close()
    orders = replace(ORDERS, control=theirs.detach(), listeners=(os.dup(listener.fileno()),))
    try:
        logs = (LogSettings(str(tmp_path / "log"), masked=("src",)), LogSettings(str(tmp_path / "other")))
        assert main([replace(orders, decision_logs=logs).to_json()]) == 0
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    assert gc.callbacks == ([exempt_survivors] if has_uvloop else [])


class Circle:
    """What refers to itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.mark.parametrize("generation", [1, 2])
def test_a_collection_of_more_than_the_youngest_exempts_what_it_leaves_and_frees_what_is_garbage(
    generation: int,
) -> None:
    kept: list[list[object]] = [[]]
    gc.callbacks.append(exempt_survivors)
    try:
        gc.collect(0)
        assert any(one is kept for one in gc.get_objects())
        garbage = weakref.ref(Circle())
        gc.collect(generation)
        assert not any(one is kept for one in gc.get_objects())
        assert garbage() is None
    finally:
        gc.callbacks.remove(exempt_survivors)
        gc.unfreeze()


def test_what_is_learnt_about_certificates_goes_to_the_agent(
    bundles: tuple[Path, Path], listener: socket.socket
) -> None:
    rows = [answer_row(("corp", b"x" * 32), None, None, 0)]

    async def script(worker: Worker, link: Link) -> None:
        await link.ask("learn", 5, rows=rows)
        await link.ask("prepare", 5, bundle=str(bundles[0]), imposed={}, evidence="{}")
        await link.ask("activate", 5)
        await link.ask("learn", 5, rows=rows)
        with pytest.raises(WorkerError, match="KeyError"):
            await link.ask("learn", 5, rows=[{}])
        worker._ask([{"issuer": "corp"}])
        await link.ask("report", 5)
        assert ASKED == [[{"issuer": "corp"}]]

    ASKED.clear()
    supervise(listener, script)
