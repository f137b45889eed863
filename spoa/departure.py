"""How the agent stops: HAProxy sees its health checks fail first, then the workers finish what is in flight.

HAProxy that has marked an agent as down opens no connection to it, and from 3.1 on asks it nothing more. So by the time
when connections are refused and open ones dismissed, hardly anybody is left to miss them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["Departure"]

_CHECKED_LATELY: Final = 10.0  # seconds since the last health check after which nobody waits to see one fail
_ECHO: Final = 0.5  # seconds within which a second signal is the first one again: from a terminal and a parent, say

_log = structlog.get_logger()


class Departure:
    """Told once, the agent gives notice and finishes; told again, it hurries.

    Args:
        notice: seconds for which health checks fail before connections are refused; 0 for none.

    Attributes:
        leaves_at: when connections will be refused, seconds since the epoch; None while nobody was given notice.
    """

    def __init__(self, notice: float) -> None:
        self._notice = notice
        self._told = asyncio.Event()
        self._told_at = 0.0
        self._hurry = asyncio.Event()
        self.leaves_at: float | None = None

    def tell(self) -> None:
        """Begin to stop, or stop at once where that was said before."""
        now = time.monotonic()
        if not self._told.is_set():
            self._told_at = now
            self._told.set()
        elif now - self._told_at > _ECHO:
            self._hurry.set()

    async def told(self) -> None:
        """Wait until the agent is told to stop."""
        await self._told.wait()

    async def give_notice(self, leave: Callable[[], Awaitable[float | None]]) -> None:
        """Have health checks failed for a while, unless none came lately or there is hurry.

        Args:
            leave: makes health checks fail, and returns how many seconds ago the last one came, or None.
        """
        since_check = await leave()
        if not self._notice or since_check is None or since_check > max(_CHECKED_LATELY, self._notice):
            return
        self.leaves_at = time.time() + self._notice
        _log.info("failing health checks before draining", seconds=self._notice)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), self._notice)

    async def finish(
        self, drain: Callable[[], Coroutine[None, None, None]], close: Callable[[], Awaitable[None]]
    ) -> None:
        """Let the workers finish, or end them where there is hurry."""
        draining, hurrying = asyncio.create_task(drain()), asyncio.create_task(self._hurry.wait())
        await asyncio.wait([draining, hurrying], return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if not draining.done():
            await close()
        await draining
