"""What the supervisor and a worker say to each other, over a socket pair that both hold for life.

One message is one line of JSON. The supervisor asks, the worker answers under the same `id`. What of an answer is long
goes before it as `part` after `part`, so that the worker may answer requests between two. Of its own accord a worker
sends only `asks`: certificates whose status it wants to know, which `learn` tells all workers once it is known. The end
of the stream means that the other process is gone.

========== ====================================================== ==================================================
the verb   what the worker does                                   what it answers
========== ====================================================== ==================================================
`prepare`  opens `bundle`, slice by slice, beside what is in use, `revision`, or `error`
           under what is `imposed` and by `evidence`
`activate` swaps the prepared policy in, from the next read on    `revision`, or `error`
`discard`  forgets the prepared policy                            –
`block`    refuses the certificates of a block list, `text`       –
`open`     opens the break-glass switches of `text`               –
`secure`   speaks TLS by the credentials of `text`, with those    –
           who connect from now on
`propose`  judges under the policy of `bundle` too                –
`learn`    takes in `rows` of answers about certificates          –
`report`   nothing                                                `counters` (of what was decided only if `decisions`
                                                                  doesn't say no), `policy` (its status), `connections`
`floor`    takes over the time before which no clock is right     –
`reopen`   opens the decision log anew                            –
`drain`    stops accepting, answers what is there, says goodbye   `counters`, its last; then the stream ends
========== ====================================================== ==================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final, cast

from spoa.exceptions import SpoaError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["Channel", "Link", "WorkerError"]

#: The longest message, bytes: the counters of some hundred thousand rules.
_MAX_MESSAGE: Final = 64 << 20

_GONE: Final[dict[str, Any]] = {}


class WorkerError(SpoaError):
    """A worker could not do what it was asked.

    Attributes:
        verb: what it was asked.
        detail: what it said; or that it is gone, or did not answer in time.
        is_gone: its end of the line is closed.
    """

    def __init__(self, verb: str, detail: str, *, is_gone: bool = False) -> None:
        super().__init__(verb, detail)
        self.verb = verb
        self.detail = detail
        self.is_gone = is_gone

    def __str__(self) -> str:
        return f"{self.verb}: {self.detail}"


class Channel:
    """One end of the socket pair: whole messages in and out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        """Wrap a connected socket, which the channel owns from then on."""
        return cls(*await asyncio.open_connection(sock=end, limit=_MAX_MESSAGE))

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message; lost silently when the other end is gone, which `receive` tells."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message; None when the other end is gone, or sent what is no message."""
        try:
            line = await self._reader.readline()
            message = json.loads(line) if line.endswith(b"\n") else None
        except (OSError, ValueError):
            return None
        return cast("dict[str, Any]", message) if isinstance(message, dict) else None

    async def close(self) -> None:
        """Send what is queued, then close."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class Link:
    """The supervisor's end: orders with their answers, any number at a time, and what the worker asks unasked.

    Args:
        channel: to the worker.
        asked: takes the worker's questions about certificates; must not raise.
    """

    def __init__(self, channel: Channel, asked: Callable[[list[dict[str, str]]], None]) -> None:
        self._channel = channel
        self._asked = asked
        self._next_id = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._parts: dict[int, dict[str, list[Any]]] = {}
        self._reading = asyncio.create_task(self._read())

    async def ask(self, verb: str, patience: float, **arguments: object) -> dict[str, Any]:
        """Ask one thing and return the answer, waiting at most `patience` seconds.

        Raises:
            WorkerError: the worker says so, is gone, or does not answer in time.
        """
        if self._reading.done():
            raise WorkerError(verb, "the worker is gone", is_gone=True)
        self._next_id += 1
        number = self._next_id
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._channel.send({"id": number, "do": verb, **arguments})
        try:
            message: dict[str, Any] = await asyncio.wait_for(answer, patience)
        except TimeoutError:
            raise WorkerError(verb, f"no answer within {patience:g} s") from None
        finally:
            self._waiting.pop(number, None)
            self._parts.pop(number, None)
        if message is _GONE:
            raise WorkerError(verb, "the worker is gone", is_gone=True)
        if "error" in message:
            raise WorkerError(verb, str(message["error"]))
        return message

    async def close(self) -> None:
        """Hang up: the worker takes it as the supervisor's end."""
        await self._channel.close()
        await self._reading

    async def _read(self) -> None:
        while (message := await self._channel.receive()) is not None:
            if "asks" in message:
                self._asked(message["asks"])
                continue
            number = message.get("id", 0)
            if "part" in message:
                self._gather(number, message["part"])
                continue
            answer = self._waiting.pop(number, None)
            if answer is not None and not answer.done():
                answer.set_result({**message, **self._parts.pop(number, {})})
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result(_GONE)

    def _gather(self, number: int, part: dict[str, list[Any]]) -> None:
        """Keep a part of the answer to an order, unless nobody waits for it any more."""
        if number in self._waiting:
            parts = self._parts.setdefault(number, {})
            for name, rows in part.items():
                parts.setdefault(name, []).extend(rows)
