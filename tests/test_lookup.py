"""A name server that does not answer holds nobody up."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from spoa.lookup import MAX_LOOKUPS, Lookup


def test_localhost_has_the_loopback_addresses() -> None:
    found = asyncio.run(Lookup()("localhost"))
    assert found
    assert set(found) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 64 + ".example"])
def test_a_name_without_addresses_is_an_error_of_the_system(host: str) -> None:
    with pytest.raises(OSError, match=r"."):
        asyncio.run(Lookup()(host))


def test_look_ups_that_nobody_waits_for_any_more_count_until_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        answers.wait(30)
        return []

    async def scenario() -> None:
        names = Lookup()
        given_up = [asyncio.create_task(names("a.example")) for _ in range(MAX_LOOKUPS)]
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="too many"):
            await names("b.example")
        for task in given_up:
            task.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)
        with pytest.raises(OSError, match="too many"):
            await names("b.example")
        answers.set()
        for thread in threading.enumerate():
            if thread.name == "look-up of a.example":
                await asyncio.to_thread(thread.join, 30)
        assert await names("b.example") == []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    asyncio.run(scenario())


def test_an_answer_that_comes_after_the_end_of_the_loop_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        answers.wait(30)
        return []

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Lookup()("a.example"), 0.01)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    asyncio.run(scenario())
    answers.set()
    for thread in threading.enumerate():
        if thread.name == "look-up of a.example":
            thread.join(10)
            assert not thread.is_alive()
