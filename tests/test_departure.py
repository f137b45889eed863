"""How the agent stops: with notice to whoever checks its health, then by and by, and at once for who asks again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest
import structlog.testing

import spoa.departure
from spoa.departure import Departure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG: Final = 60.0  # seconds that no test may wait


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


class Leave:
    """Makes health checks fail, and says when the last one came."""

    def __init__(self, since_check: float | None, then: Callable[[], object] | None = None) -> None:
        self.since_check = since_check
        self.then = then
        self.calls = 0

    async def __call__(self) -> float | None:
        self.calls += 1
        if self.then is not None:
            asyncio.get_running_loop().call_soon(self.then)
        return self.since_check


def test_who_checks_the_agents_health_is_given_notice() -> None:
    async def run() -> None:
        departure, leave = Departure(0.05), Leave(0.5)
        assert departure.leaves_at is None
        await departure.give_notice(leave)
        assert departure.leaves_at is not None
        assert leave.calls == 1

    asyncio.run(run())


@pytest.mark.parametrize(("notice", "since_check"), [(LONG, None), (LONG, 100.0), (0.0, 0.5)])
def test_nobody_waits_where_no_check_came_lately_or_no_notice_is_wanted(
    notice: float, since_check: float | None
) -> None:
    async def run() -> None:
        departure, leave = Departure(notice), Leave(since_check)
        await departure.give_notice(leave)
        assert departure.leaves_at is None
        assert leave.calls == 1  # whoever checks all the same is told

    asyncio.run(run())


def test_being_told_twice_ends_the_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.departure, "_ECHO", -1.0)

    async def run() -> None:
        departure = Departure(LONG)
        departure.tell()
        await departure.told()
        await departure.give_notice(Leave(0.5, departure.tell))
        assert departure.leaves_at is not None

    asyncio.run(run())


def test_the_same_gesture_that_arrives_twice_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.departure, "_ECHO", LONG)

    async def run() -> None:
        departure = Departure(0.05)
        departure.tell()
        departure.tell()
        drained: list[str] = []

        async def drain() -> None:
            await asyncio.sleep(0)
            drained.append("drained")

        async def close() -> None:
            drained.append("closed")

        await departure.finish(drain, close)
        assert drained == ["drained"]

    asyncio.run(run())


def test_hurry_ends_what_is_not_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.departure, "_ECHO", -1.0)

    async def run() -> None:
        departure = Departure(LONG)
        closed = asyncio.Event()

        async def close() -> None:
            closed.set()

        finishing = asyncio.create_task(departure.finish(closed.wait, close))  # type: ignore[arg-type] # what it returns is nobody's
        await asyncio.sleep(0)
        departure.tell()
        departure.tell()
        await finishing
        assert closed.is_set()

    asyncio.run(run())
