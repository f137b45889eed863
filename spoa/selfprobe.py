"""The agent asked by itself, as HAProxy asks it: a whole SPOP round trip on a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final, TypeVar

from spoa.exceptions import ProtocolError
from spoa.spop import AckReceived, Connection, HelloReceived, Role

if TYPE_CHECKING:
    from spoa.addresses import Address

__all__ = ["round_trip"]

T = TypeVar("T")

_READ: Final = 65536


async def round_trip(address: Address, seconds: float) -> str:
    """Say HELLO, send a NOTIFY without a message, which is acknowledged and not judged; return why that failed.

    Args:
        address: where the agent listens.
        seconds: the longest time that all of it may take.

    Returns:
        An empty text where the ACK came.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _ask(address)
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)  # asyncio's own words name no cause
    except ProtocolError as error:
        return f"an answer that is no SPOP: {error}"


async def _ask(address: Address) -> str:
    opening = (
        asyncio.open_unix_connection(address.path)
        if address.path
        else asyncio.open_connection(address.host, address.port)
    )
    reader, writer = await opening
    try:
        connection = Connection(Role.HAPROXY)
        writer.write(connection.send_hello())
        if await _event(reader, connection, HelloReceived) is None:
            return "no AGENT-HELLO"
        writer.write(connection.send_notify(1, 1, b""))
        if await _event(reader, connection, AckReceived) is None:
            return "no ACK"
        writer.write(connection.send_disconnect())
        return ""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _event(reader: asyncio.StreamReader, connection: Connection, kind: type[T]) -> T | None:
    """Return the next event; None where it is of another kind or the stream ends."""
    while data := await reader.read(_READ):
        for event in connection.receive_data(data):
            return event if isinstance(event, kind) else None
    return None
