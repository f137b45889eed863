"""Which hosts are asked, how many at once, and when one is left alone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

import spoa.fetch
from spoa.circuit import MAX_FAILURES, CircuitState
from spoa.egress import Permit, read_target
from spoa.fetch import MAX_FETCHES, MAX_FETCHES_OF_HOST, Fetcher, FetchError, FetchProblem, Limits
from tests.fetching import LIMITS, fetching, names, refused
from tests.httpservers import Server, hang, plain, raw

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from spoa.fetch import Answer
    from tests.httpservers import Answering, Request


def permitted(
    entries: Sequence[str], host: str, lookup: Any = None, *, opened: bool = False
) -> tuple[FetchProblem | bytes, int]:
    """Ask a server at a host of a permit whose entries may name its `PORT`; return the answer and the connections."""

    async def scenario() -> tuple[FetchProblem | bytes, int]:
        async with Server(plain(b"body")) as server, fetching(lookup) as fetcher:
            target = read_target(server.url(host=host))
            if opened:
                await fetcher.fetch(target, limits=LIMITS)
            permit = Permit.of(entry.replace("PORT", str(server.port)) for entry in entries)
            try:
                return (await fetcher.fetch(target, limits=LIMITS, permit=permit)).body, len(server.requests)
            except FetchError as error:
                return error.kind, len(server.requests)

    return asyncio.run(scenario())


def test_a_listed_host_with_allowed_addresses_is_asked() -> None:
    lookup = names(ocsp_example="127.0.0.1")
    assert permitted(["ocsp.example:PORT", "127.0.0.0/8"], "ocsp.example", lookup) == (b"body", 1)
    assert permitted(["127.0.0.1:PORT"], "127.0.0.1") == (b"body", 1)
    assert permitted(["localhost:PORT"], "localhost", names(localhost="127.0.0.1")) == (b"body", 1)


@pytest.mark.parametrize(
    ("entries", "host"),
    [
        (["other.example:PORT", "127.0.0.0/8"], "ocsp.example"),
        (["ocsp.example", "127.0.0.0/8"], "ocsp.example"),
        (["ocsp.example:PORT"], "ocsp.example"),
        (["ocsp.example:PORT"], "127.0.0.1"),
        (["127.0.0.0/8"], "127.0.0.1"),
        ([], "ocsp.example"),
    ],
)
def test_nothing_else_is_asked(entries: Sequence[str], host: str) -> None:
    assert permitted(entries, host, names(ocsp_example="127.0.0.1")) == (FetchProblem.ADDRESS, 0)


@pytest.mark.parametrize("order", ["127.0.0.1 10.0.0.1", "10.0.0.1 127.0.0.1"])
def test_one_address_that_is_not_allowed_spoils_the_name(order: str) -> None:
    lookup = names(ocsp_example=order)
    assert permitted(["ocsp.example:PORT", "127.0.0.0/8"], "ocsp.example", lookup) == (FetchProblem.ADDRESS, 0)


def test_a_name_is_looked_up_once_and_only_what_was_found_then_is_connected_to() -> None:
    asked: list[str] = []

    async def rebinding(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    assert permitted(["ocsp.example:PORT", "127.0.0.0/8"], "ocsp.example", rebinding) == (b"body", 1)
    assert asked == ["ocsp.example"]


def test_a_connection_that_the_policy_opened_does_not_serve_a_certificates_url() -> None:
    lookup = names(ocsp_example="127.0.0.1")
    assert permitted(["ocsp.example:PORT"], "ocsp.example", lookup, opened=True) == (FetchProblem.ADDRESS, 1)


# Turns and circuits.


async def all_of(calls: Sequence[Coroutine[Any, Any, Answer]]) -> list[Answer | FetchProblem]:
    found = await asyncio.gather(*calls, return_exceptions=True)
    return [one.kind if isinstance(one, FetchError) else one for one in found]  # type: ignore[misc]


def test_only_so_many_are_asked_at_once_and_the_rest_waits() -> None:
    gate = asyncio.Barrier(MAX_FETCHES)  # opens only when that many are under way
    under_way: list[str] = []
    most: list[tuple[int, int]] = []

    async def gated(request: Request, writer: asyncio.StreamWriter) -> None:
        host = request.headers["host"]
        under_way.append(host)
        most.append((len(under_way), under_way.count(host)))
        await gate.wait()
        under_way.remove(host)
        await plain(b"body")(request, writer)

    async def scenario() -> None:
        async with contextlib.AsyncExitStack() as stack:
            servers = [await stack.enter_async_context(Server(gated)) for _ in range(8)]
            fetcher = await stack.enter_async_context(fetching())
            calls = [
                fetcher.fetch(read_target(server.url()), limits=LIMITS)
                for server in servers
                for _ in range(2 * MAX_FETCHES_OF_HOST)
            ]
            assert [answer.body for answer in await asyncio.gather(*calls)] == [b"body"] * len(calls)

    asyncio.run(scenario())
    assert max(total for total, _ in most) == MAX_FETCHES
    assert max(of_host for _, of_host in most) == MAX_FETCHES_OF_HOST


def test_a_queue_that_is_full_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.fetch, "MAX_WAITING", 20)

    async def scenario() -> None:
        async with Server(hang) as server, fetching() as fetcher:
            short = Limits(total=0.5, max_size=1)
            count = MAX_FETCHES_OF_HOST + 20
            found = await all_of(
                [fetcher.fetch(read_target(server.url()), limits=short) for _ in range(count + 3)],
            )
            assert found[count:] == [FetchProblem.QUEUE_FULL] * 3
            assert set(found[:count]) <= {FetchProblem.TIMEOUT, FetchProblem.CIRCUIT_OPEN}

    asyncio.run(scenario())


def failing(fetcher: Fetcher, url: str) -> Coroutine[Any, Any, FetchError]:
    return refused(fetcher, url, Limits(total=2, max_size=1))


def test_a_host_that_fails_again_and_again_is_left_alone() -> None:
    async def scenario() -> None:
        async with Server(plain(status=500)) as server, fetching() as fetcher:
            authority = read_target(server.url()).authority
            for _ in range(MAX_FAILURES):
                assert fetcher.circuits().get(authority, CircuitState.CLOSED) is CircuitState.CLOSED
                assert (await failing(fetcher, server.url())).kind is FetchProblem.STATUS
            assert fetcher.circuits() == {authority: CircuitState.OPEN}
            found = await failing(fetcher, server.url("/other"))
            assert found.kind is FetchProblem.CIRCUIT_OPEN
            assert len(server.requests) == MAX_FAILURES

    asyncio.run(scenario())


def test_those_who_wait_for_a_host_learn_at_once_that_it_is_left_alone() -> None:
    async def scenario() -> None:
        async with Server(raw(b"", closes=True)) as server, fetching() as fetcher:
            found = await all_of([fetcher.fetch(read_target(server.url()), limits=LIMITS) for _ in range(20)])
            assert found.count(FetchProblem.PROTOCOL) < 20
            assert set(found) == {FetchProblem.PROTOCOL, FetchProblem.CIRCUIT_OPEN}

    asyncio.run(scenario())


@pytest.mark.parametrize("answer", [plain(status=404), plain(b"x" * 10), plain(status=302)])
def test_a_host_that_answers_at_all_is_not_left_alone(answer: Answering) -> None:
    async def scenario() -> None:
        async with Server(answer) as server, fetching() as fetcher:
            for _ in range(MAX_FAILURES + 2):
                assert (await failing(fetcher, server.url())).kind is not FetchProblem.CIRCUIT_OPEN

    asyncio.run(scenario())


def test_a_refused_address_says_nothing_against_a_host() -> None:
    async def scenario() -> None:
        async with Server(plain(b"body")) as server, fetching(names(a_example="127.0.0.1")) as fetcher:
            target = read_target(server.url(host="a.example"))
            permit = Permit.of([target.authority])
            for _ in range(MAX_FAILURES + 2):
                assert (await refused(fetcher, target.url, permit=permit)).kind is FetchProblem.ADDRESS
            assert (await fetcher.fetch(target, limits=LIMITS)).body == b"body"

    asyncio.run(scenario())


def test_a_caller_who_gives_up_says_nothing_against_a_host() -> None:
    async def scenario() -> None:
        async with Server(hang) as server, fetching() as fetcher:
            for _ in range(MAX_FAILURES + 2):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(fetcher.fetch(read_target(server.url()), limits=LIMITS), 0.05)
            assert set(fetcher.circuits().values()) == {CircuitState.CLOSED}

    asyncio.run(scenario())


def test_hosts_of_which_nothing_must_be_remembered_are_forgotten() -> None:
    async def scenario() -> None:
        async with fetching(names()) as fetcher:
            for _ in range(MAX_FAILURES):
                await failing(fetcher, "http://bad.example/")
            for number in range(300):
                await failing(fetcher, f"http://host{number}.example/")
            circuits = fetcher.circuits()
            assert len(circuits) <= 256
            assert circuits["bad.example:80"] is CircuitState.OPEN

    asyncio.run(scenario())
