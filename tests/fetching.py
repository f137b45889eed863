"""Fetchers that ask a server of ours, and what comes of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from spoa.egress import read_target
from spoa.fetch import Fetcher, FetchError, Limits
from tests.httpservers import Server

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Coroutine

    from spoa.fetch import Answer
    from tests.httpservers import Answering, Request

__all__ = ["LIMITS", "ask", "fetching", "names", "problem", "refused"]

LIMITS: Final = Limits(total=5, max_size=1000)


@asynccontextmanager
async def fetching(lookup: Any = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Fetcher]:
    """Have a fetcher that was started."""
    fetcher = Fetcher(lookup, tls)
    await fetcher.start()
    try:
        yield fetcher
    finally:
        await fetcher.close()


def names(**addresses: str) -> Callable[[str], Coroutine[Any, Any, list[str]]]:
    """Return a look-up that knows these names: `a_example="192.0.2.1 192.0.2.2"`."""
    known = {name.replace("_", "."): found.split() for name, found in addresses.items()}

    async def lookup(host: str) -> list[str]:
        if host not in known:
            raise OSError(f"{host} is not known")
        return known[host]

    return lookup


async def refused(fetcher: Fetcher, url: str, limits: Limits = LIMITS, **options: Any) -> FetchError:
    """Return why a URL isn't fetched."""
    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(read_target(url), limits=limits, **options)
    return caught.value


def ask(answer: Answering, limits: Limits = LIMITS, **options: Any) -> tuple[Answer | FetchError, list[Request]]:
    """Ask a server that answers like this, once."""

    async def scenario() -> tuple[Answer | FetchError, list[Request]]:
        async with Server(answer) as server, fetching() as fetcher:
            try:
                found: Answer | FetchError = await fetcher.fetch(
                    read_target(server.url("/a?b=c")), limits=limits, **options
                )
            except FetchError as error:
                found = error
            return found, server.requests

    return asyncio.run(scenario())


def problem(answer: Answering, limits: Limits = LIMITS, **options: Any) -> FetchError:
    """Return why nothing comes of a server that answers like this."""
    found, _ = ask(answer, limits, **options)
    assert isinstance(found, FetchError)
    return found
