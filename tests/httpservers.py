"""A web server on loopback that answers as it is told: well, late, for ever, half, or with lies.

async with Server() as server:
    server.answer = plain(b"body", ETag='"1"')
    server.url("/path"), server.requests

`with Background() as background:` runs one in a thread, for tests without a loop: `background.server`, and `stop` and
`start` for outages.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self, TypeAlias

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

__all__ = [
    "Answering",
    "Background",
    "Request",
    "Server",
    "close_halfway",
    "drip",
    "endless",
    "hang",
    "lying",
    "plain",
    "raw",
    "sequence",
]

_PIECE: Final = b"x" * 65536
Answering: TypeAlias = "Callable[[Request, asyncio.StreamWriter], Awaitable[None]]"


@dataclass(frozen=True)
class Request:
    """What a client asked; `connection` numbers the connections from 1, header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def raw(content: bytes, *, closes: bool = False) -> Answering:
    """Answer with these bytes."""

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        if closes:
            writer.close()

    return answer


def plain(body: bytes = b"", status: int = 200, **headers: str) -> Answering:
    """Answer as a server should; `_` in a header's name stands for a hyphen."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return raw(head(status, {"Content-Length": str(len(body)), **fields}) + body)


def close_halfway(body: bytes) -> Answering:
    """Announce the body, send half of it, and close."""
    return raw(head(200, {"Content-Length": str(len(body))}) + body[: len(body) // 2], closes=True)


def lying(body: bytes, length: int) -> Answering:
    """Send a body under another length."""
    return raw(head(200, {"Content-Length": str(length)}) + body)


async def hang(_: Request, writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


def drip(body: bytes, pause: float) -> Answering:
    """Send a body byte by byte."""

    async def answer(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, {"Content-Length": str(len(body))}))
        for byte in body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


async def endless(_: Request, writer: asyncio.StreamWriter) -> None:
    """Send a body that never ends, in chunks."""
    writer.write(head(200, {"Transfer-Encoding": "chunked"}))
    while True:
        writer.write(b"%x\r\n%s\r\n" % (len(_PIECE), _PIECE))
        await writer.drain()


def sequence(*answers: Answering) -> Answering:
    """Answer each request in another way; the last one goes on for ever."""
    left = list(answers)

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        current: Answering = left.pop(0) if len(left) > 1 else left[0]
        await current(request, writer)

    return answer


@dataclass
class Server:
    """The server.

    Attributes:
        answer: how it answers; may be changed at any time.
        requests: what was asked.
        connections: how many there were.
        port: where it listens.
    """

    answer: Answering = field(default_factory=plain)
    tls: ssl.SSLContext | None = None
    hosts: Sequence[str] = ("127.0.0.1",)
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """Return the URL of a path."""
        return f"{'http' if self.tls is None else 'https'}://{host}:{self.port}{path}"

    async def start(self) -> None:
        """Listen; on the same port as before after a `close`."""
        self._server = await asyncio.start_server(self._accept, self.hosts, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, and break off whatever is under way."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer, self.connections)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        while not writer.is_closing():
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = lines[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:-2])}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            request = Request(method, path, headers, body, number)
            self.requests.append(request)
            await self.answer(request, writer)
            await writer.drain()


class Background:
    """A server on a loop in a thread of its own.

    Attributes:
        server: the server; its `answer` may be changed from any thread.
    """

    def __init__(self, answer: Answering | None = None) -> None:
        self.server = Server(answer or plain())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        """Begin to listen, on the same port as before."""
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(10)

    def stop(self) -> None:
        """Listen no more, and break off whatever is under way."""
        asyncio.run_coroutine_threadsafe(self.server.close(), self._loop).result(10)
