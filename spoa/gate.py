"""Who may connect over TCP, asked before anything is read: networks first, then TLS with a certificate of the peer's.

Unix sockets have permissions instead, and neither is asked of them. It is of any other kind of socket that a service
manager may pass, whose addresses are in no network.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    from spoa.metrics import Samples

__all__ = ["Gate"]

_REPORT_INTERVAL: Final = 10.0  # seconds between two lines in the log about connections that were refused

_log = structlog.get_logger()


class Gate:
    """Lets connections of one worker in, or counts why not.

    Args:
        networks: who may connect, as `10.0.0.0/8` or `2001:db8::1`; none is everybody.
        is_secret: only TLS is spoken over TCP; nobody gets in before `secure`.
        clock: seconds that never go back.

    Raises:
        ValueError: a network is none.
    """

    def __init__(
        self, networks: Iterable[str] = (), *, is_secret: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)
        self._is_secret = is_secret
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        self._refused: dict[str, int] = {}
        self._unreported = 0
        self._next_report = 0.0

    def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS by this context with whoever connects from now on."""
        self._context = context

    def admits(self, family: int, name: object) -> bool:
        """Say whether a connection may be read, by the address that `accept` gave; one that may not is counted."""
        if family == socket.AF_UNIX:
            return True
        host = name[0] if isinstance(name, tuple) else ""
        if not self._is_allowed(str(host)):
            self.refuse("address", host, "the address is not allowed")
            return False
        if self._is_secret and self._context is None:
            self.refuse("tls", host, "there is no certificate to show yet")
            return False
        return True

    def context_for(self, family: int) -> ssl.SSLContext | None:
        """Return what TLS is spoken by on a connection that was admitted; None where none is."""
        return self._context if self._is_secret and family != socket.AF_UNIX else None

    def refuse(self, cause: str, host: object, why: str) -> None:
        """Count a connection that is not let in, and log it; of many at once, one and how many there were."""
        self._refused[cause] = self._refused.get(cause, 0) + 1
        self._unreported += 1
        now = self._clock()
        if now >= self._next_report:
            _log.warning("connections are refused", cause=cause, peer=str(host), why=why, count=self._unreported)
            self._unreported = 0
            self._next_report = now + _REPORT_INTERVAL

    def samples(self) -> Samples:
        """Return how many connections were refused, by cause."""
        return {("peers_refused_total", (cause,)): count for cause, count in self._refused.items()}

    def _is_allowed(self, host: str) -> bool:
        if not self._networks:
            return True
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:  # fail closed: it can't be said to be in any network
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in network for network in self._networks)
