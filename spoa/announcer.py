"""Tells the service manager how the agent is: ready, reloading, stopping, and well as long as it answers itself.

Where no service manager started the agent, nobody is told and nothing is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Final

import structlog

from spoa import sdprotocol
from spoa.selfprobe import round_trip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from spoa.addresses import Address
    from spoa.sdprotocol import Activation

__all__ = ["Announcer"]

_PATIENCE: Final = 5.0  # seconds for a service manager that is busy to take a message
_ROUNDS: Final = 4  # of questions in the time that the watchdog gives, so that a lost one or two do not end the agent

_log = structlog.get_logger()


class Announcer:
    """Speaks for the agent.

    Args:
        activation: who is told, and how often.
        describe: says in a line how the agent is.
    """

    def __init__(self, activation: Activation, describe: Callable[[], str]) -> None:
        self._activation = activation
        self._describe = describe
        self._reloads = 0
        self._told = ""

    async def ready(self) -> None:
        """Say that the agent serves."""
        self._told = self._describe()
        await self._send(sdprotocol.ready(self._told))

    async def stopping(self) -> None:
        """Say that the agent takes no more connections and ends when those it has are done."""
        await self._send(sdprotocol.stopping("draining"))

    @contextlib.asynccontextmanager
    async def reloading(self) -> AsyncIterator[None]:
        """Say that a reload is under way until the block ends; of several at once the last one's end counts."""
        self._reloads += 1
        # Said again for each: systemd takes a reload that began before it asked for none of its own.
        await self._send(sdprotocol.reloading(time.monotonic(), f"reloading; {self._describe()}"))
        try:
            yield
        finally:
            self._reloads -= 1
            if not self._reloads:
                await self.ready()

    async def watch(self, addresses: Sequence[Address]) -> None:
        """Ask the agent at every address now and then, and tell the service manager as long as all answer.

        The question goes the way of HAProxy's: through a listening socket, a worker's loop and the decoder of SPOP. It
        comes from the supervisor's own loop, so that either one that is stuck is noticed.
        """
        if not self._activation.watchdog:
            return
        period = self._activation.watchdog / _ROUNDS
        while True:
            began = time.monotonic()
            problems = await asyncio.gather(*(self._ask(address, period) for address in addresses))
            found = "; ".join(filter(None, problems))
            if not found:
                await self._send(sdprotocol.WATCHDOG)
            await self._tell_status(found)
            await asyncio.sleep(max(0.0, began + period - time.monotonic()))

    async def _ask(self, address: Address, seconds: float) -> str:
        problem = await round_trip(address, seconds)
        if problem:
            _log.error("the agent does not answer itself", address=str(address), problem=problem)
        return f"{address}: {problem}" if problem else ""

    async def _tell_status(self, problem: str) -> None:
        text = f"not answering: {problem}" if problem else self._describe()
        if text != self._told and not self._reloads:
            self._told = text
            await self._send(sdprotocol.status(text))

    async def _send(self, message: bytes) -> None:
        """Send a datagram; one that can't be sent is logged, since serving goes on without."""
        address = self._activation.notify
        if not address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)  # noqa: FBT003 -- the word of the socket's own interface
            try:
                async with asyncio.timeout(_PATIENCE):
                    name = "\0" + address[1:] if address.startswith("@") else address
                    await asyncio.get_running_loop().sock_sendto(sender, message, name)
            except OSError as error:  # a TimeoutError too
                _log.error("the service manager can't be told", error=str(error) or type(error).__name__)
