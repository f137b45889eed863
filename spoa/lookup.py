"""Looking up the addresses of a name without waiting for a name server that doesn't answer.

The system's resolver can't be told to stop. So each look-up has a thread of its own, which is left behind when its
caller gives up, holds nobody else up, and does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Final

__all__ = ["MAX_LOOKUPS", "Lookup"]

MAX_LOOKUPS: Final = 32
"""Look-ups that may be under way, those included that nobody waits for any more."""


class Lookup:
    """Looks names up as the system does: `/etc/hosts`, DNS, or what it is told to use."""

    def __init__(self) -> None:
        self._running = 0

    async def __call__(self, host: str) -> list[str]:
        """Return the addresses of a host, in the system's order.

        Raises:
            OSError: there are none, or too many look-ups are under way.
        """
        if self._running >= MAX_LOOKUPS:
            raise OSError("the name server does not answer: too many look-ups are under way")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def settle(found: list[str] | OSError) -> None:
            self._running -= 1
            if answer.cancelled():
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def look() -> None:
            found = _addresses(host)
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                loop.call_soon_threadsafe(settle, found)

        self._running += 1
        threading.Thread(target=look, name=f"look-up of {host}", daemon=True).start()
        return await answer


def _addresses(host: str) -> list[str] | OSError:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except UnicodeError as error:  # a label that the codec for names can't take
        return OSError(str(error))
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
