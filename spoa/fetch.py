"""Asks the web servers of others for CRLs and OCSP answers, and expects the worst of them.

An answer has a size, a time and a rate to keep to; whatever it announces is not believed. No redirect is followed, no
proxy of the environment asked, no cookie kept and nothing unpacked: what comes is what the target itself sent. A host
that fails again and again is left alone for a while, so that nobody waits for it.

Nothing here blocks the event loop for longer than a chunk of some hundred kilobytes takes to be copied: names are
looked up in threads, the certificates of authorities are read in one, and a large body goes to a sink, piece by piece.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from spoa._version import __version__
from spoa.circuit import Circuit, CircuitState
from spoa.connector import ATTEMPT, Attempt, Connector, FetchProblem, Refusal, Resolver
from spoa.exceptions import SpoaError
from spoa.lookup import Lookup
from spoa.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence

    from spoa.egress import Permit, Target

__all__ = [
    "MAX_FETCHES",
    "MAX_FETCHES_OF_HOST",
    "MAX_WAITING",
    "Answer",
    "FetchError",
    "FetchProblem",
    "Fetcher",
    "Limits",
]

MAX_FETCHES: Final = 16
"""Fetches under way at once."""

MAX_FETCHES_OF_HOST: Final = 4
"""Fetches from one host and port under way at once."""

MAX_WAITING: Final = 1024
"""Fetches that may wait for their turn at one host and port; a further one fails at once."""

_MAX_HOSTS: Final = 256  # above this, hosts of which there is nothing to remember are forgotten
_OK: Final = 200
_NOT_MODIFIED: Final = 304
_REDIRECTS: Final = range(300, 400)
_SERVER_ERROR: Final = 500  # and above
_CONDITIONS: Final = frozenset({"if-none-match", "if-modified-since"})
_MAX_TEXT: Final = 200  # characters of what a server wrote, in a validator or in the words of a problem


#: Problems that say nothing against the host, as long as its status is none of 500 and above: it answered.
_ANSWERED: Final = frozenset({FetchProblem.REDIRECT, FetchProblem.STATUS, FetchProblem.TOO_LARGE})


class FetchError(SpoaError):
    """There is no answer that could be used.

    Attributes:
        target: who was asked.
        kind: why there is none.
        detail: the same in words that go behind "the fetch of URL failed:".
        status: the HTTP status, 0 where none came.
    """

    def __init__(self, target: Target, kind: FetchProblem, detail: str, status: int = 0) -> None:
        super().__init__(target, kind, detail, status)
        self.target = target
        self.kind = kind
        self.detail = detail
        self.status = status

    def __str__(self) -> str:
        return f"the fetch of {self.target} failed: {self.detail}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an answer must keep to; times in seconds, sizes in bytes.

    Attributes:
        total: from the call to the last byte, waiting for a turn included.
        max_size: of the body.
        connect: for looking the name up, connecting, and agreeing on TLS.
        silence: the longest pause between two bytes, and before the first.
        min_rate: bytes a second that a body must come with on average, looked at from `grace` on.
        grace: how long a body may come as slowly as it likes.
    """

    total: float
    max_size: int
    connect: float = 2.0
    silence: float = 10.0
    min_rate: float = 0.0
    grace: float = 5.0


class Answer(NamedTuple):
    """What was answered.

    Attributes:
        status: 200, or 304 for what was asked with a condition.
        body: empty when a sink took it.
        etag: as it was sent, empty when it was not.
        last_modified: the same.
    """

    status: int
    body: bytes
    etag: str
    last_modified: str


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked, and where the answer goes."""

    body: bytes | None
    headers: Mapping[str, str]
    sink: Callable[[bytes], Awaitable[object]] | None

    @property
    def has_condition(self) -> bool:
        return any(name.lower() in _CONDITIONS for name in self.headers)


@dataclass(slots=True)
class _Host:
    """What is known of one host and port."""

    circuit: Circuit = field(default_factory=Circuit)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_FETCHES_OF_HOST))
    calls: int = 0  # under way or waiting

    @contextlib.contextmanager
    def outcome(self) -> Iterator[None]:
        """Tell the circuit how a request ends."""
        try:
            yield
        except Refusal as refusal:
            if refusal.kind is FetchProblem.ADDRESS:
                self.circuit.abandon()
            elif refusal.kind in _ANSWERED and refusal.status < _SERVER_ERROR:
                self.circuit.succeed()
            else:
                self.circuit.fail(monotonic())
            raise
        except BaseException:
            self.circuit.abandon()
            raise
        self.circuit.succeed()


class Fetcher:
    """Fetches documents over http and https; `start` comes first, `close` last.

    Args:
        lookup: returns the addresses of a host name, or raises OSError.
        tls: whom to believe in https; None: the authorities of the system, or those of `SSL_CERT_FILE`.
        tracing: is told of every fetch.
    """

    def __init__(
        self,
        lookup: Callable[[str], Awaitable[Sequence[str]]] | None = None,
        tls: ssl.SSLContext | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._lookup = lookup or Lookup()
        self._tls = tls
        self._tracing = tracing or Tracing()
        self._session: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(MAX_FETCHES)
        self._hosts: dict[str, _Host] = {}

    async def start(self) -> None:
        """Get ready; reads the certificates of the system's authorities."""
        tls = await asyncio.to_thread(ssl.create_default_context) if self._tls is None else self._tls
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_note_reuse)
        self._session = aiohttp.ClientSession(
            connector=Connector(resolver=Resolver(self._lookup), ssl=tls, use_dns_cache=False, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            trace_configs=[tracing],
            headers={"Accept-Encoding": "identity", "User-Agent": f"spoa-authz/{__version__}"},
        )

    async def close(self) -> None:
        """Close all connections; what is still being fetched fails."""
        if self._session is not None:
            await self._session.close()

    def circuits(self) -> dict[str, CircuitState]:
        """Return host and port → what its circuit lets through, of the hosts asked of late."""
        now = monotonic()
        return {authority: host.circuit.state(now) for authority, host in self._hosts.items()}

    async def fetch(
        self,
        target: Target,
        *,
        limits: Limits,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        permit: Permit | None = None,
        sink: Callable[[bytes], Awaitable[object]] | None = None,
    ) -> Answer:
        """Ask for a document with GET, or with POST where there is a body to send.

        Args:
            target: what to ask for.
            limits: what the answer must keep to; without a sink, let `max_size` be small.
            body: what to send.
            headers: sent as they are. An answer of 304 counts only where they state a condition.
            permit: for a target that a certificate names: where it may lead. None: anywhere.
            sink: takes the body piece by piece, one after the other; what it took is worth something only once the call
                has returned.

        Raises:
            FetchError: there is no answer that could be used.
        """
        attempt = Attempt(target, permit)
        deadline = _now() + limits.total
        try:
            attempt.check_target()
            with self._tracing.span("fetch", {"server.address": target.authority}):
                async with self._turn(target, deadline):
                    return await self._ask(attempt, limits, deadline, _Request(body, headers or {}, sink))
        except Refusal as refusal:
            raise FetchError(target, refusal.kind, refusal.detail, refusal.status) from refusal

    @contextlib.asynccontextmanager
    async def _turn(self, target: Target, deadline: float) -> AsyncIterator[None]:
        """Wait until the host, and then the agent, has room for one more, and the circuit lets it through."""
        host = self._host(target.authority)
        if host.circuit.refuses(monotonic()):
            raise Refusal(FetchProblem.CIRCUIT_OPEN, f"{target.authority} failed too often just now")
        if host.calls >= MAX_FETCHES_OF_HOST + MAX_WAITING:
            raise Refusal(FetchProblem.QUEUE_FULL, f"{host.calls} others wait for {target.authority}")
        host.calls += 1
        try:
            async with asyncio.timeout_at(deadline) as waiting, host.turns, self._turns:
                waiting.reschedule(None)
                if not host.circuit.try_enter(monotonic()):
                    raise Refusal(FetchProblem.CIRCUIT_OPEN, f"{target.authority} failed too often just now")
                with host.outcome():
                    yield
        except TimeoutError as error:
            raise Refusal(FetchProblem.TIMEOUT, "its turn did not come in time") from error
        finally:
            host.calls -= 1

    def _host(self, authority: str) -> _Host:
        if authority not in self._hosts and len(self._hosts) >= _MAX_HOSTS:
            now = monotonic()
            for name, host in list(self._hosts.items()):
                if not host.calls and host.circuit.state(now) is not CircuitState.OPEN:
                    del self._hosts[name]
        return self._hosts.setdefault(authority, _Host())

    async def _ask(self, attempt: Attempt, limits: Limits, deadline: float, request: _Request) -> Answer:
        token = ATTEMPT.set(attempt)
        try:
            async with asyncio.timeout_at(deadline):
                async with await self._send(attempt, limits, request) as response:
                    _check_head(response, limits, request)
                    return await _receive(response, limits, request.sink)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _refusal(error, limits) from error
        finally:
            ATTEMPT.reset(token)

    async def _send(self, attempt: Attempt, limits: Limits, request: _Request) -> aiohttp.ClientResponse:
        if self._session is None:
            raise AssertionError("start the fetcher first")
        while True:
            attempt.is_reused = False
            try:
                return await self._session.request(
                    "GET" if request.body is None else "POST",
                    _url(attempt.target),
                    data=request.body,
                    headers=request.headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, connect=limits.connect, sock_read=limits.silence),
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # The server may close a connection while it waits for its next use: that is no outage.
                if not attempt.is_reused:
                    raise


async def _note_reuse(*_: object) -> None:
    ATTEMPT.get().is_reused = True


def _now() -> float:
    return asyncio.get_running_loop().time()


def _url(target: Target) -> URL:
    """Build the URL from what was checked, so that nobody reads another host out of it."""
    parts = urlsplit(target.url)
    return URL.build(
        scheme=target.scheme,
        authority=target.authority,
        path=parts.path or "/",
        query_string=parts.query,
        encoded=True,
    )


def _check_head(response: aiohttp.ClientResponse, limits: Limits, request: _Request) -> None:
    status = response.status
    if status == _NOT_MODIFIED and request.has_condition:
        return
    if status in _REDIRECTS and status != _NOT_MODIFIED:
        raise Refusal(FetchProblem.REDIRECT, f"the server answers {status}; redirects are not followed", status)
    if status != _OK:
        raise Refusal(FetchProblem.STATUS, f"the server answers {status}", status)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":
        text = _printable(encoding)
        raise Refusal(FetchProblem.PROTOCOL, f"the answer comes packed ({text}), which was not asked for", status)
    if (response.content_length or 0) > limits.max_size:
        raise _too_large(limits, status)


async def _receive(
    response: aiohttp.ClientResponse, limits: Limits, sink: Callable[[bytes], Awaitable[object]] | None
) -> Answer:
    """Read a body; its size is counted here, whatever the head said."""
    chunks: list[bytes] = []
    size, start = 0, _now()
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limits.max_size:
            raise _too_large(limits, response.status)
        elapsed = _now() - start
        if elapsed > limits.grace and size < limits.min_rate * elapsed:
            text = f"{size} bytes in {elapsed:.0f} s, fewer than {limits.min_rate:g} a second"
            raise Refusal(FetchProblem.TOO_SLOW, text, response.status)
        if sink is None:
            chunks.append(chunk)
        else:
            await sink(chunk)
    etag, modified = (_validator(response, name) for name in ("ETag", "Last-Modified"))
    return Answer(response.status, b"".join(chunks), etag, modified)


def _too_large(limits: Limits, status: int) -> Refusal:
    return Refusal(FetchProblem.TOO_LARGE, f"the answer has more than {limits.max_size} bytes", status)


def _validator(response: aiohttp.ClientResponse, name: str) -> str:
    """Return what a later condition can repeat, or nothing."""
    value = response.headers.get(name, "")
    return value if len(value) <= _MAX_TEXT and value == _printable(value) else ""


def _printable(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text[:_MAX_TEXT])


#: Exception → problem, and its words; the first that fits. `{error}` is what the library says.
_PROBLEMS: Final[tuple[tuple[type[Exception], FetchProblem, str], ...]] = (
    (aiohttp.ClientSSLError, FetchProblem.TLS, "no TLS with the server: {error}"),
    (aiohttp.ConnectionTimeoutError, FetchProblem.CONNECT, "no connection within {limits.connect:g} s"),
    (aiohttp.SocketTimeoutError, FetchProblem.TIMEOUT, "the server sent nothing for {limits.silence:g} s"),
    (TimeoutError, FetchProblem.TIMEOUT, "no whole answer within {limits.total:g} s"),
    (aiohttp.ClientConnectorError, FetchProblem.CONNECT, "no connection: {error}"),
    (aiohttp.InvalidURL, FetchProblem.DNS, "the URL names no host: {error}"),
    (aiohttp.ServerDisconnectedError, FetchProblem.PROTOCOL, "the server closed the connection without an answer"),
    (aiohttp.ClientPayloadError, FetchProblem.PROTOCOL, "the answer broke off or is malformed: {error}"),
    (aiohttp.ClientError, FetchProblem.PROTOCOL, "the server does not speak HTTP as it should: {error}"),
)


def _refusal(error: Exception, limits: Limits) -> Refusal:
    kind, text = next((kind, text) for kinds, kind, text in _PROBLEMS if isinstance(error, kinds))
    return Refusal(kind, text.format(error=_printable(str(error)), limits=limits))
