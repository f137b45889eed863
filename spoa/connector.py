"""Connections that lead only where they may.

For a URL that a certificate names, every address that the host has is checked ahead of connecting, only addresses that
were checked are connected to, and before the first byte of a request it is looked at once more whom the connection
leads to, new or used before.
"""

from __future__ import annotations

import contextlib
import enum
import ipaddress
import socket
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp.client import ClientTimeout
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from spoa.egress import Permit, Target

__all__ = ["ATTEMPT", "Attempt", "Connector", "FetchProblem", "Refusal", "Resolver"]


class FetchProblem(enum.StrEnum):
    """Why there is no answer."""

    DNS = "dns"
    ADDRESS = "address"  # refused by the permit
    CONNECT = "connect"
    TIMEOUT = "timeout"
    TOO_SLOW = "too_slow"
    TLS = "tls"
    REDIRECT = "redirect"
    STATUS = "status"
    TOO_LARGE = "too_large"
    PROTOCOL = "protocol"
    CIRCUIT_OPEN = "circuit_open"
    QUEUE_FULL = "queue_full"


class Refusal(Exception):  # noqa: N818 -- it becomes a FetchError where the target is known
    """A problem, found where the target is out of sight."""

    def __init__(self, kind: FetchProblem, detail: str, status: int = 0) -> None:
        super().__init__(kind, detail, status)
        self.kind = kind
        self.detail = detail
        self.status = status


@dataclass(slots=True)
class Attempt:
    """What the connector must know of the request that it connects for."""

    target: Target
    permit: Permit | None
    is_reused: bool = False

    def check_target(self) -> None:
        """Refuse a target that the permit does not list, or that is an address it does not allow.

        Raises:
            Refusal: of kind `address`.
        """
        if self.permit is not None and not self.permit.allows(self.target):
            raise Refusal(FetchProblem.ADDRESS, f"certificates may not name {self.target.authority}")
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(self.target.host)
            self.check(self.target.host)

    def check(self, address: str) -> None:
        """Refuse an address that the permit does not allow.

        Raises:
            Refusal: of kind `address`.
        """
        if self.permit is not None and not self.permit.allows_address(address, self.target.host):
            raise Refusal(FetchProblem.ADDRESS, f"{address} is no address that a certificate may lead to")


ATTEMPT: Final[ContextVar[Attempt]] = ContextVar("ATTEMPT")
"""The request that a connection is for: aiohttp hands nothing of ours through, but calls us in its caller's context."""


class Resolver(AbstractResolver):
    """Hands out addresses only when all that the name has are allowed."""

    def __init__(self, lookup: Callable[[str], Awaitable[Sequence[str]]]) -> None:
        self._lookup = lookup

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily | int = 0,  # noqa: ARG002 -- both, in the order in which they are found
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            Refusal: there are none, or one is not allowed.
        """
        try:
            addresses = await self._lookup(host)
        except OSError as error:
            raise Refusal(FetchProblem.DNS, f"{host} has no address: {error.strerror or error}") from error
        if not addresses:
            raise Refusal(FetchProblem.DNS, f"{host} has no address")
        for address in addresses:
            ATTEMPT.get().check(address)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=_family(address), proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Connector(aiohttp.TCPConnector):
    """Looks once more whom a connection leads to, new or used before, ahead of the request's first byte."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 -- the name is aiohttp's
    ) -> Connection:
        """Return a connection to an address that is allowed.

        Raises:
            Refusal: it is not.
        """
        connection = await super().connect(req, traces, timeout)
        try:
            peer = connection.transport.get_extra_info("peername") if connection.transport else None
            ATTEMPT.get().check(str(peer[0]) if peer else "")
        except Refusal:
            connection.close()
            raise
        return connection
