"""Workers live, die, are replaced, and swap all together or not at all."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import structlog.testing

import spoa.crew
from spoa.addresses import Address
from spoa.agent import Limits
from spoa.bundle import build_bundle
from spoa.control import WorkerError
from spoa.crew import Crew
from spoa.starvation import Waits
from spoa.worker import Orders
from tests.agents import OPEN, SHUT, Haproxy, is_healthy, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

#: What workers asked of their own accord.
ASKED: list[list[dict[str, str]]] = []


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


def orders(listener: socket.socket) -> Orders:
    return Orders(-1, (listener.fileno(),), Limits(), 0.0, (), 1.0, "text", "critical")


def lead(listener: socket.socket, bundle: Path, script: Callable[[Crew], Awaitable[None]], size: int = 2) -> list[Any]:
    """Run a crew that serves a bundle under a script; return what was logged."""

    async def run() -> None:
        crew = Crew(size, orders(listener), ASKED.append)
        await crew.swap(bundle)
        try:
            await crew.start(60)
            assert crew.is_complete
            await asyncio.wait_for(script(crew), 90)
        finally:
            await crew.drain()
        assert not crew.is_complete
        assert crew.describe() == []

    with structlog.testing.capture_logs() as logs:
        asyncio.run(run())
    return logs


def verdicts(listener: socket.socket, count: int = 8) -> set[str]:
    """Return the verdicts on several connections, which several workers take."""
    found = set()
    for _ in range(count):
        with Haproxy(Address(*listener.getsockname())) as haproxy:
            found.add(str(haproxy.ask()["verdict"]))
    return found


async def eventually(holds: Callable[[], bool]) -> None:
    await asyncio.to_thread(until, holds, 60)


def pids_of(crew: Crew) -> set[int]:
    return {worker["pid"] for worker in crew.describe()}


def test_all_workers_swap_together(listener: socket.socket, bundles: tuple[Path, Path]) -> None:
    async def script(crew: Crew) -> None:
        assert await asyncio.to_thread(verdicts, listener) == {"allow"}
        await crew.swap(bundles[1])
        assert await asyncio.to_thread(verdicts, listener) == {"deny"}
        samples = await crew.samples(5)
        assert samples["decisions_total", ("allow", "ok", "open")] == 8
        assert samples["decisions_total", ("deny", "no_rule_allows", "")] == 8
        assert samples["workers", ()] == 2
        assert crew.policy["rules"] == 1

    lead(listener, bundles[0], script)


def test_a_bundle_that_one_can_not_open_is_used_by_none(
    listener: socket.socket, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    async def script(crew: Crew) -> None:
        with pytest.raises(WorkerError, match="can't be read"):
            await crew.swap(tmp_path)
        assert await asyncio.to_thread(verdicts, listener) == {"allow"}

    lead(listener, bundles[0], script)


def test_a_dead_worker_is_replaced_and_its_counts_are_kept(listener: socket.socket, bundles: tuple[Path, Path]) -> None:
    async def script(crew: Crew) -> None:
        await asyncio.to_thread(verdicts, listener)
        before = await crew.samples(5)
        victim = pids_of(crew).pop()
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: victim not in pids_of(crew))
        await eventually(lambda: crew.is_complete)
        assert await asyncio.to_thread(verdicts, listener) == {"allow"}
        after = await crew.samples(5)
        assert after["decisions_total", ("allow", "ok", "open")] == 16
        assert before["decisions_total", ("allow", "ok", "open")] == 8
        assert after["worker_restarts_total", ()] == 1

    logs = lead(listener, bundles[0], script)
    assert "a worker died and is replaced" in {line["event"] for line in logs}


def test_counts_of_many_rules_are_told_now_and_then_and_stay_between(
    listener: socket.socket, bundles: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ("decisions_total", ("allow", "ok", "open"))

    async def script(crew: Crew) -> None:
        assert await asyncio.to_thread(verdicts, listener) == {"allow"}
        await eventually(lambda: crew._totals.samples().get(key) == 8)  # told without anybody asking
        monkeypatch.setattr("spoa.crew._COUNTERS_A_ROUND", 0.001)
        assert await asyncio.to_thread(verdicts, listener) == {"allow"}
        assert (await crew.samples(5, decisions=False))[key] == 8
        assert (await crew.samples(5, decisions=False))["frames_total", ("notify",)] == 16
        assert (await crew.samples(5))[key] == 16

    lead(listener, bundles[0], script)


def test_a_successor_begins_with_what_is_active_by_then(listener: socket.socket, bundles: tuple[Path, Path]) -> None:
    async def script(crew: Crew) -> None:
        (worker,) = crew.describe()
        os.kill(worker["pid"], signal.SIGKILL)
        await crew.swap(bundles[1])
        await asyncio.sleep(0.05)
        await eventually(lambda: crew.is_complete)
        assert await asyncio.to_thread(verdicts, listener, 2) == {"deny"}

    lead(listener, bundles[0], script, size=1)


def test_a_worker_that_does_not_swap_is_replaced(
    listener: socket.socket, bundles: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(crew: Crew) -> None:
        ask = crew._workers[0].link.ask

        async def deaf(verb: str, *arguments: Any, **others: Any) -> dict[str, Any]:
            if verb == "activate":
                raise WorkerError(verb, "no answer")
            return await ask(verb, *arguments, **others)

        monkeypatch.setattr(crew._workers[0].link, "ask", deaf)
        victim = crew._workers[0].pid
        await crew.swap(bundles[1])
        await eventually(lambda: victim not in pids_of(crew))
        await eventually(lambda: crew.is_complete)
        assert await asyncio.to_thread(verdicts, listener) == {"deny"}

    logs = lead(listener, bundles[0], script)
    assert "a worker did not follow and is replaced" in {line["event"] for line in logs}


def test_a_block_list_does_not_wait_for_a_worker_that_hangs(
    listener: socket.socket, bundles: tuple[Path, Path]
) -> None:
    async def script(crew: Crew) -> None:
        victim = min(pids_of(crew))
        os.kill(victim, signal.SIGSTOP)
        began = time.monotonic()
        await crew.impose("block", "apiVersion: authz/v1\nkind: blocks\nentries: []\n")
        assert time.monotonic() - began < 5
        await eventually(lambda: victim not in pids_of(crew))
        await eventually(lambda: crew.is_complete)

    lead(listener, bundles[0], script)


@pytest.mark.parametrize(
    ("hung", "lost"),
    [
        pytest.param(spoa.crew._HUNG, spoa.crew._LOST, id="it had the time to answer"),
        pytest.param(3600.0, 2, id="it has not answered for long, whoever is at fault"),
    ],
)
def test_a_worker_that_hangs_is_noticed_and_replaced(
    listener: socket.socket, bundles: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, hung: float, lost: int
) -> None:
    monkeypatch.setattr(spoa.crew, "_ROUND", 0.3)
    monkeypatch.setattr(spoa.crew, "_HUNG", hung)
    monkeypatch.setattr(spoa.crew, "_LOST", lost)

    async def script(crew: Crew) -> None:
        (worker,) = crew.describe()
        os.kill(worker["pid"], signal.SIGSTOP)
        await eventually(lambda: not crew.is_complete)
        await eventually(lambda: worker["pid"] not in pids_of(crew))
        monkeypatch.setattr(spoa.crew, "_ROUND", 5.0)
        await eventually(lambda: crew.is_complete)

    logs = lead(listener, bundles[0], script, size=1)
    assert "a worker hangs and is replaced" in {line["event"] for line in logs}


def test_a_worker_that_is_only_kept_from_running_is_not_replaced(
    listener: socket.socket, bundles: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It misses far more rounds than one that hangs may, and answers when it can run again.

    It is stopped, and the kernel's account of it is one of a process that others don't let run: how much of that a
    machine does to a process of little weight is the machine's affair, and that the account is read is another test's.
    """
    monkeypatch.setattr(spoa.crew, "_ROUND", 0.1)
    monkeypatch.setattr(spoa.crew, "_PATIENCE", 0.2)
    monkeypatch.setattr(spoa.crew, "_HUNG", 1.0)
    monkeypatch.setattr(spoa.crew, "_LOST", 10_000)

    async def script(crew: Crew) -> None:
        (worker,) = crew._workers
        account = tmp_path / str(worker.pid) / "task" / str(worker.pid)
        account.mkdir(parents=True)
        (account / "schedstat").write_text("1000000 1000000 5\n")
        (account / "stat").write_text(f"{worker.pid} (python) R 1 1 1\n")
        worker.waits = Waits(worker.pid, proc=tmp_path)
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            await eventually(lambda: worker.missed > 8)
            assert pids_of(crew) == {worker.pid}
        finally:
            os.kill(worker.pid, signal.SIGCONT)
        await eventually(lambda: crew.is_complete)
        assert pids_of(crew) == {worker.pid}
        assert (await crew.samples(5))["worker_restarts_total", ()] == 0

    lead(listener, bundles[0], script, size=1)


def test_workers_that_can_not_begin_are_an_error_at_once(listener: socket.socket, tmp_path: Path) -> None:
    async def script(_: Crew) -> None:
        raise AssertionError("it must not start")

    with pytest.raises(WorkerError, match="can't be read"):
        lead(listener, tmp_path, script)


def test_workers_that_do_not_begin_in_time_are_an_error(listener: socket.socket, bundles: tuple[Path, Path]) -> None:
    async def run() -> None:
        crew = Crew(1, orders(listener), ASKED.append)
        await crew.swap(bundles[0])
        with pytest.raises(WorkerError, match=r"do not serve after 0.01 s"):
            await crew.start(0.01)
        await crew.close()

    with structlog.testing.capture_logs():
        asyncio.run(run())


def test_a_worker_that_does_not_leave_is_killed(
    listener: socket.socket, bundles: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoa.crew, "_DRAIN_TIMEOUT", 0.2)
    monkeypatch.setattr(spoa.crew, "_EXIT_TIMEOUT", 0.2)

    async def script(crew: Crew) -> None:
        os.kill(crew.describe()[0]["pid"], signal.SIGSTOP)

    lead(listener, bundles[0], script)


def test_what_everybody_must_know_is_told_to_successors_too(
    listener: socket.socket, bundles: tuple[Path, Path]
) -> None:
    async def script(crew: Crew) -> None:
        await crew.set_clock_floor(5.0)
        await crew.tell("reopen")
        assert crew._orders == replace(crew._orders, clock_floor=5.0)

    lead(listener, bundles[0], script, size=1)


def test_all_workers_fail_health_checks_before_they_leave_also_those_to_come(
    listener: socket.socket, bundles: tuple[Path, Path]
) -> None:
    async def script(crew: Crew) -> None:
        address = Address(*listener.getsockname())
        assert await asyncio.to_thread(is_healthy, address)
        since_check = await crew.leave()
        assert since_check is not None
        assert since_check >= 0
        assert not crew.is_complete  # whoever balances by /readyz looks for another one
        assert not await asyncio.to_thread(is_healthy, address)
        (before,) = pids_of(crew)
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: [one["pid"] for one in crew.describe() if one["serving"]] not in ([], [before]))
        await eventually(lambda: not is_healthy(address))
        assert await asyncio.to_thread(verdicts, listener) == {"allow"}
        assert await crew.leave() is not None

    lead(listener, bundles[0], script, size=1)


def test_a_crew_whose_health_nobody_checked_says_so(listener: socket.socket, bundles: tuple[Path, Path]) -> None:
    async def script(crew: Crew) -> None:
        assert await crew.leave() is None

    lead(listener, bundles[0], script, size=1)


def test_a_crew_that_never_started_can_be_closed(listener: socket.socket) -> None:
    async def run() -> None:
        crew = Crew(1, orders(listener), ASKED.append)
        assert crew.policy == {}
        await crew.drain()

    asyncio.run(run())
