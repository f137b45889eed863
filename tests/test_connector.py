"""Whom a connection may lead to: the parts; `test_fetch` has the whole."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from spoa.connector import ATTEMPT, Attempt, Connector, FetchProblem, Refusal, Resolver
from spoa.egress import Permit, read_target
from tests.httpservers import Server, plain

if TYPE_CHECKING:
    from collections.abc import Sequence


def attempt(host: str, *entries: str) -> Attempt:
    return Attempt(read_target(f"http://{host}/"), Permit.of(entries))


def test_a_target_of_the_policy_may_be_anywhere() -> None:
    one = Attempt(read_target("http://127.0.0.1/"), None)
    one.check_target()
    one.check("127.0.0.1")
    one.check("")


@pytest.mark.parametrize(
    ("host", "entries", "says"),
    [
        ("a.example", ("b.example",), "certificates may not name a.example:80"),
        ("a.example:8080", ("a.example",), "certificates may not name a.example:8080"),
        ("10.0.0.1", ("10.0.0.0/8",), "certificates may not name"),
    ],
)
def test_a_target_of_a_certificate_must_be_listed(host: str, entries: Sequence[str], says: str) -> None:
    with pytest.raises(Refusal) as caught:
        attempt(host, *entries).check_target()
    assert caught.value.kind is FetchProblem.ADDRESS
    assert says in caught.value.detail


def test_an_address_that_is_listed_may_be_asked() -> None:
    attempt("10.0.0.1", "10.0.0.1").check_target()
    attempt("a.example", "a.example").check_target()


def resolve(one: Attempt, addresses: Sequence[str] | OSError) -> list[Any]:
    async def lookup(_: str) -> Sequence[str]:
        if isinstance(addresses, OSError):
            raise addresses
        return addresses

    async def scenario() -> list[Any]:
        ATTEMPT.set(one)
        resolver = Resolver(lookup)
        try:
            return list(await resolver.resolve("a.example", 80))
        finally:
            await resolver.close()

    return asyncio.run(scenario())


def test_all_allowed_addresses_of_a_name_are_handed_out_in_their_order() -> None:
    found = resolve(attempt("a.example", "a.example"), ["2606:4700::1", "8.8.8.8"])
    assert [(row["host"], row["family"], row["port"]) for row in found] == [
        ("2606:4700::1", socket.AF_INET6, 80),
        ("8.8.8.8", socket.AF_INET, 80),
    ]


def test_none_is_handed_out_where_one_is_not_allowed() -> None:
    with pytest.raises(Refusal, match=r"169\.254\.169\.254"):
        resolve(attempt("a.example", "a.example"), ["8.8.8.8", "169.254.169.254"])


@pytest.mark.parametrize("addresses", [[], OSError(-2, "Name or service not known"), OSError("no server")])
def test_a_name_without_addresses_is_a_refusal(addresses: Sequence[str] | OSError) -> None:
    with pytest.raises(Refusal, match=r"a\.example has no address") as caught:
        resolve(attempt("a.example", "a.example"), addresses)
    assert caught.value.kind is FetchProblem.DNS


def test_a_connection_that_leads_elsewhere_is_closed_before_it_is_used() -> None:
    class Lying(Resolver):
        """A resolver that checks nothing, as if an address had slipped through."""

        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
            return [
                {"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            ]

    async def never(_: str) -> Sequence[str]:
        raise AssertionError

    async def scenario() -> tuple[int, int]:
        async with Server(plain(b"body")) as server:
            one = attempt(f"a.example:{server.port}", f"a.example:{server.port}")
            ATTEMPT.set(one)
            connector = Connector(resolver=Lying(never), use_dns_cache=False)
            async with aiohttp.ClientSession(connector=connector) as session:
                with pytest.raises(Refusal, match=r"127\.0\.0\.1"):
                    await session.get(one.target.url)
                ATTEMPT.set(Attempt(one.target, None))
                async with session.get(one.target.url) as response:
                    assert response.status == 200
            return len(server.requests), server.connections

    assert asyncio.run(scenario()) == (1, 2)
