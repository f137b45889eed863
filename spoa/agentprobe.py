"""Whether an agent answers at an address, asked as HAProxy's `option spop-check` asks."""

from __future__ import annotations

import socket
import time
from typing import Final

from spoa.addresses import Address, read_address
from spoa.spop import Connection, HealthCheckReceived, Role

__all__ = ["probe", "server_address"]

_READ: Final = 65536


def server_address(text: str) -> Address:
    """Return the address on a `server` line: `127.0.0.1:9123`, `ipv4@…`, `unix@/path` or `/path`.

    Raises:
        ValueError: it is none that can be asked.
    """
    kind, at, rest = text.partition("@")
    if at and kind == "unix":
        return read_address(f"unix:{rest}")
    if text.startswith("/"):
        return read_address(f"unix:{text}")
    return read_address(rest if at and kind in {"ipv4", "ipv6"} else text)


def probe(address: Address, seconds: float) -> str:
    """Say hello as a health check does; return why no agent answered, empty where one did.

    Args:
        address: of the agent.
        seconds: the longest time that all of it may take.
    """
    deadline = time.monotonic() + seconds
    connection = Connection(Role.HAPROXY)
    try:
        with _connected(address, seconds) as peer:
            peer.sendall(connection.send_hello(is_healthcheck=True))
            while True:
                peer.settimeout(max(deadline - time.monotonic(), 0.001))
                data = peer.recv(_READ)
                if not data:
                    return "closed the connection without an AGENT-HELLO"
                events = connection.receive_data(data)
                if events:
                    is_well = isinstance(events[0], HealthCheckReceived)
                    return "" if is_well else "doesn't speak SPOP, or refuses"
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except OSError as error:
        return error.strerror or str(error)


def _connected(address: Address, seconds: float) -> socket.socket:
    if not address.path:
        return socket.create_connection((address.host, address.port), timeout=seconds)
    peer = socket.socket(socket.AF_UNIX)
    try:
        peer.settimeout(seconds)
        peer.connect(address.path)
    except OSError:
        peer.close()
        raise
    return peer
