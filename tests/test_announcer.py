"""What the service manager hears, over the very kind of socket that systemd listens on."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import structlog.testing

from spoa.addresses import Address, read_address
from spoa.announcer import Announcer
from spoa.sdprotocol import Activation
from tests.agents import OPEN, PATIENCE, ROOT, SHUT, Haproxy, policy_of, running_agent, serving, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Manager:
    """Stands for systemd: a bound datagram socket, and all that came."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(PATIENCE)
        self.heard: list[dict[str, str]] = []

    def next(self) -> dict[str, str]:
        """Wait for a message, and return its assignments."""
        lines = self.socket.recv(4096).decode().split("\n")
        self.heard.append(dict(line.partition("=")[::2] for line in lines))
        return self.heard[-1]

    def until(self, name: str, holds: Callable[[str], bool] = bool) -> dict[str, str]:
        """Wait for a message with an assignment, skipping others."""
        while True:
            message = self.next()
            if holds(message.get(name, "")):
                return message


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@spoa-authz-test-{os.getpid()}-{id(request)}"
    found = Manager(address)
    yield found
    found.socket.close()


@pytest.fixture
def path_manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(str(tmp_path / "notify"))
    yield found
    found.socket.close()


@contextlib.contextmanager
def watching(announcer: Announcer, *addresses: Address) -> Iterator[None]:
    """Let the announcer watch over addresses from a loop of its own, until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    watch = asyncio.run_coroutine_threadsafe(announcer.watch(addresses), loop)
    try:
        yield
    finally:
        watch.cancel()
        asyncio.run_coroutine_threadsafe(_let_go(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


async def _let_go() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def test_ready_reloading_and_stopping_are_said_in_order(manager: Manager) -> None:
    states = iter(("revision 1", "revision 1", "revision 2"))

    async def live() -> None:
        announcer = Announcer(Activation(manager.address), lambda: next(states))
        await announcer.ready()
        async with announcer.reloading():
            pass
        await announcer.stopping()

    before = int(time.monotonic() * 1_000_000)
    asyncio.run(live())
    assert manager.next() == {"READY": "1", "STATUS": "revision 1"}
    reloading = manager.next()
    assert before <= int(reloading.pop("MONOTONIC_USEC")) <= time.monotonic() * 1_000_000
    assert reloading == {"RELOADING": "1", "STATUS": "reloading; revision 1"}
    assert manager.next() == {"READY": "1", "STATUS": "revision 2"}
    assert manager.next() == {"STOPPING": "1", "STATUS": "draining"}


def test_of_reloads_at_once_each_begins_and_the_last_one_ends(path_manager: Manager) -> None:
    async def live() -> None:
        announcer = Announcer(Activation(path_manager.address), lambda: "x")
        async with announcer.reloading():
            async with announcer.reloading():
                pass
            await announcer.stopping()

    asyncio.run(live())
    assert [next(iter(path_manager.next())) for _ in range(4)] == ["RELOADING", "RELOADING", "STOPPING", "READY"]


def test_without_a_service_manager_nobody_is_told_and_nothing_asked() -> None:
    async def live() -> None:
        announcer = Announcer(Activation(), lambda: "x")
        await announcer.ready()
        await announcer.watch([Address("127.0.0.1", 1)])

    with structlog.testing.capture_logs() as logs:
        asyncio.run(live())
    assert logs == []


def test_a_service_manager_that_is_gone_is_no_reason_to_stop(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        asyncio.run(Announcer(Activation(str(tmp_path / "none")), lambda: "x").ready())
    assert [entry["event"] for entry in logs] == ["the service manager can't be told"]


def test_a_service_manager_that_takes_nothing_is_given_up_after_a_while(
    path_manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoa.announcer._PATIENCE", 0.05)

    async def live() -> None:
        announcer = Announcer(Activation(path_manager.address), lambda: "x")
        while not logs:  # the system holds some messages for a reader
            await announcer.ready()

    with structlog.testing.capture_logs() as logs:
        asyncio.run(live())
    assert logs[0]["error"] == "TimeoutError"


def test_an_agent_that_answers_feeds_the_watchdog_and_its_status_follows(path_manager: Manager) -> None:
    states = ["revision 1"]
    announcer = Announcer(Activation(path_manager.address, 4.0), lambda: states[-1])
    with serving(policy_of()) as served, watching(announcer, served.address):
        path_manager.until("WATCHDOG")
        path_manager.until("STATUS", "revision 1".__eq__)
        states.append("revision 2")
        path_manager.until("STATUS", "revision 2".__eq__)
        path_manager.until("WATCHDOG")


def test_a_loop_that_is_stuck_starves_the_watchdog_until_it_goes_on(path_manager: Manager) -> None:
    announcer = Announcer(Activation(path_manager.address, 2.0), lambda: "revision 1")
    stuck = threading.Event()
    with structlog.testing.capture_logs() as logs, serving(policy_of()) as served:
        served.loop.call_soon_threadsafe(stuck.wait, PATIENCE)
        try:
            with watching(announcer, served.address):
                said = path_manager.next()
                assert said == {"STATUS": f"not answering: {served.address}: no answer within 0.5 s"}
                until(lambda: len(logs) > 1)
                stuck.set()
                path_manager.until("WATCHDOG")
                path_manager.until("STATUS", "revision 1".__eq__)
        finally:
            stuck.set()
    assert "WATCHDOG" not in path_manager.heard[0]
    assert logs[0] == {
        "event": "the agent does not answer itself",
        "log_level": "error",
        "address": str(served.address),
        "problem": "no answer within 0.5 s",
    }


def test_one_address_of_several_that_does_not_answer_is_enough(path_manager: Manager) -> None:
    announcer = Announcer(Activation(path_manager.address, 40.0), lambda: "revision 1")
    nobody = Address("", 0, "/nonexistent/spop.sock")
    with serving(policy_of()) as served, watching(announcer, served.address, nobody):
        said = path_manager.next()["STATUS"]
    assert said == "not answering: unix:/nonexistent/spop.sock: No such file or directory"


# -- the whole program ------------------------------------------------------------------------------------------


def test_a_running_agent_says_how_it_is_from_its_start_to_its_end(path_manager: Manager, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": path_manager.address, "WATCHDOG_USEC": "20000000"}
    with running_agent(tmp_path, **environment) as agent:
        ready = path_manager.until("READY")
        revision = agent.status()["revision"]
        assert ready["STATUS"] == f"revision {revision}, 1 workers"
        path_manager.until("WATCHDOG")
        (agent.policies / "policy.yaml").write_text("nonsense: 1\n")
        agent.process.send_signal(signal.SIGHUP)
        path_manager.until("RELOADING")
        path_manager.until("READY", lambda said: said == "1")
        assert path_manager.heard[-1]["STATUS"].startswith(
            f"revision {revision}, 1 workers; the last reload was rejected"
        )
        agent.process.terminate()
        path_manager.until("STOPPING")


def test_a_rollback_is_said_like_a_reload_and_stays_in_sight(path_manager: Manager, tmp_path: Path) -> None:
    admin = f"unix:{tmp_path}/admin.sock"
    with running_agent(tmp_path, "--admin", admin, NOTIFY_SOCKET=path_manager.address) as agent:
        first = path_manager.until("READY")["STATUS"]
        agent.write_policy(SHUT)
        second = path_manager.until("READY", "1".__eq__)["STATUS"].removesuffix(", 1 workers")
        argv = [sys.executable, "-m", "spoa", "rollback", "--reason", "INC-7", "--admin", admin]
        subprocess.run(argv, check=True, cwd=ROOT, timeout=PATIENCE)
        path_manager.until("RELOADING")
        path_manager.until("STATUS", f"{first}; rolled back from {second.removeprefix('revision ')}".__eq__)


#: Does what a service manager does between fork and exec: descriptors from 3 on, and the variables that tell of them.
_ACTIVATE = """
import os, sys
given, names, *command = sys.argv[1:]
for target, descriptor in enumerate(map(int, given.split(",")), 3):
    os.dup2(descriptor, target)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(names.count(":") + 1), LISTEN_FDNAMES=names)
os.execv(sys.executable, [sys.executable, *command])
"""


def test_an_agent_serves_on_sockets_that_are_passed_and_leaves_them_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "policy.yaml").write_text(OPEN)
    spop, admin = socket.socket(socket.AF_UNIX), socket.create_server(("127.0.0.1", 0))
    spop.bind(str(tmp_path / "spop.sock"))
    spop.listen()
    options: Any = ["--listen", "systemd:spop", "--admin", "systemd:admin", "--state-dir", str(tmp_path / "state")]
    # The highest descriptors, so that none stands where another shall be put.
    held = [fcntl.fcntl(one, fcntl.F_DUPFD, 100) for one in (spop, admin)]
    with (tmp_path / "log").open("w") as log:
        words = ["-m", "spoa", "serve", "--policies", str(tmp_path / "policies"), *options]
        process = subprocess.Popen(
            [sys.executable, "-c", _ACTIVATE, ",".join(map(str, held)), "spop:admin", *words],
            cwd=ROOT, pass_fds=held, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        with Haproxy(read_address(f"unix:{tmp_path}/spop.sock")) as haproxy:  # the agent may still be starting
            assert haproxy.ask()["verdict"] == "allow"
        name = "{}:{}".format(*admin.getsockname())
        until(lambda: (tmp_path / "state" / "admin").read_text().strip() == name)
        process.terminate()
        assert process.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()
        for descriptor in held:
            os.close(descriptor)
        spop.close()
        admin.close()
    assert (tmp_path / "spop.sock").exists()
