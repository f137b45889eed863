"""The admin address: metrics, health and status for whoever asks, a reload for whoever may.

A request that changes something needs the unix socket, whose file mode decides who gets in, or the bearer token. One
that only looks is answered where its `Host` is an address or a name of this machine: a web page that has its own name
resolve to loopback gets nothing, also where the unix socket was forwarded to a port of whoever browses. Monitoring of
other machines comes by whatever name it discovered; on an address that is meant for it, it is answered under any.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import pwd
import socket
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CONTENT_TYPE_LATEST

from spoa.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from spoa.console import Console
    from spoa.reload import Outcome

__all__ = ["Admin", "Sources", "try_token_file"]

_REJECTED: Final = 422
_SHUTDOWN_TIMEOUT: Final = 1.0
_MAX_BODY: Final = 1 << 18
_MAX_REASON: Final = 1000
_CREDENTIALS: Final = struct.Struct("3i")
#: What other machines ask for under any name: no decision is in it, and asking changes nothing.
_MONITORED: Final = frozenset({"/metrics", "/healthz", "/readyz"})

_log = structlog.get_logger()


def try_token_file(path: Path | None) -> None:
    """Read the token once, so that a wrong path fails at the start rather than as 401 without a hint.

    Raises:
        SettingsError: it can't be read, or holds no token.
    """
    try:
        if path is not None and not path.read_bytes().strip():
            raise SettingsError("admin-token-file", f"{path} is empty; write a token into it")
    except OSError as error:
        raise SettingsError("admin-token-file", f"{path} can't be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the answers come from; `is_ready` says whether all workers serve the active policy."""

    metrics: Callable[[], Awaitable[bytes]]
    status: Callable[[], Awaitable[dict[str, Any]]]
    is_ready: Callable[[], bool]
    reload: Callable[[], Awaitable[Outcome]]
    promote: Callable[[], Awaitable[Outcome]]
    rollback: Callable[[str, str, str], Awaitable[Outcome]]


class Admin:
    """Serves the admin address on a bound socket.

    Args:
        sources: where the answers come from.
        host: the configured host, whose name is then accepted too; empty for a unix socket.
        token_file: holds the bearer token, read anew for each request so that it can be rotated; None: only the unix
            socket may change anything.
        console: answers below `/console`; None for no console.
        is_remote: other machines reach the address, so that metrics and health are answered under any host name.
    """

    def __init__(
        self,
        sources: Sources,
        host: str,
        token_file: Path | None,
        console: Console | None = None,
        *,
        is_remote: bool = False,
    ) -> None:
        self._sources = sources
        self._names = frozenset({"localhost", host.lower(), socket.gethostname().lower()})
        self._is_remote = is_remote
        self._token_file = token_file
        self._console = console
        self._runner: web.AppRunner | None = None

    async def start(self, listener: socket.socket) -> None:
        """Answer on a bound socket, which belongs to this object from now on."""
        app = web.Application(middlewares=[self._check_host], client_max_size=_MAX_BODY)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/status", self._status)
        app.router.add_post("/reload", self._changing(self._sources.reload))
        app.router.add_post("/promote", self._changing(self._sources.promote))
        app.router.add_post("/rollback", self._roll_back)
        if self._console is not None:
            self._console.add_to(app, self._may_change)
        logger = logging.Logger("admin", logging.ERROR)  # noqa: LOG001 -- of its own: nobody else is to hear it
        logger.addHandler(_Log())
        self._runner = web.AppRunner(app, access_log=None, logger=logger, shutdown_timeout=_SHUTDOWN_TIMEOUT)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def close(self) -> None:
        """Answer what is under way and close the socket."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._console is not None:
            await self._console.close()

    @web.middleware
    async def _check_host(self, request: web.Request, handler: Any) -> web.StreamResponse:
        is_checked = not _is_unix(request) or _is_browser(request)  # a browser that a forwarded socket is open to
        is_monitored = self._is_remote and request.path in _MONITORED
        if is_checked and not is_monitored and not self._is_our_name(request.headers.get("Host", "")):
            raise web.HTTPMisdirectedRequest(text="this host name is not served here\n")
        response: web.StreamResponse = await handler(request)
        return response

    def _is_our_name(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.strip("[]").lower()
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=await self._sources.metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self._sources.is_ready():
            return web.Response(text="ready\n")
        return web.Response(status=503, text="not ready\n")

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(await self._sources.status(), dumps=_dumps)

    def _changing(self, act: Callable[[], Awaitable[Outcome]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return what answers a request that changes something by how that ended."""

        async def handle(request: web.Request) -> web.Response:
            await self._check_change(request)
            return _answer(await act())

        return handle

    async def _roll_back(self, request: web.Request) -> web.Response:
        """Answer a rollback, whose body says to what and why; who asks is told by the socket."""
        await self._check_change(request)
        try:
            body = json.loads(await request.read() or b"{}")
            revision, reason = (str(body.get(name, "")) for name in ("revision", "reason"))
        except (ValueError, AttributeError) as error:
            raise web.HTTPBadRequest(text='send {"revision": …, "reason": …}\n') from error
        return _answer(await self._sources.rollback(revision, _peer(request), reason[:_MAX_REASON]))

    async def _check_change(self, request: web.Request) -> None:
        """Refuse a change to whoever may not make it, and log who asked for one."""
        if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
            raise web.HTTPForbidden(text="not from another site\n")
        if not await self._may_change(request):
            raise web.HTTPUnauthorized(
                headers={"WWW-Authenticate": "Bearer"},
                text="use the unix socket, or the token of --admin-token-file\n",
            )
        _log.info("a change was asked for", path=request.path, by=request.remote or "unix socket")

    async def _may_change(self, request: web.Request) -> bool:
        if _is_unix(request):
            return True
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if self._token_file is None or scheme.lower() != "bearer":
            return False
        try:
            token = (await asyncio.to_thread(self._token_file.read_bytes)).strip()
        except OSError:
            return False
        # An empty file is no token; the comparison takes as long for a near miss as for a far one.
        return bool(token) and hmac.compare_digest(token, given.strip().encode("utf-8", "surrogateescape"))


class _Log(logging.Handler):
    """Takes what the server says of requests that it could not answer into our log, a line each.

    Left to itself it would write tracebacks of many lines, for whatever bytes anybody sends, that are no JSON.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record; what can't be read as HTTP is the peer's defect, and all else is one of ours."""
        error = None if record.exc_info is None else record.exc_info[1]
        if isinstance(error, HttpProcessingError):
            detail = " ".join(error.message.split())[:_MAX_REASON]
            _log.warning("a request to the admin address can't be read", status=error.code, detail=detail)
        else:
            _log.error("a request to the admin address failed", exc_info=error, detail=record.getMessage())


def _answer(outcome: Outcome) -> web.Response:
    status = 200 if outcome.is_fine else _REJECTED if outcome.result == "rejected" else 500
    return web.json_response(asdict(outcome), status=status, dumps=_dumps)


def _peer(request: web.Request) -> str:
    """Name whoever asks: the user at the other end of a unix socket, else the token and from where it came."""
    connection = None if request.transport is None else request.transport.get_extra_info("socket")
    if not _is_unix(request) or connection is None:
        return f"token from {request.remote}"
    _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"


def _dumps(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"


def _is_browser(request: web.Request) -> bool:
    return "Origin" in request.headers or "Sec-Fetch-Site" in request.headers


def _is_unix(request: web.Request) -> bool:
    transport = request.transport
    return transport is not None and isinstance(transport.get_extra_info("sockname"), str)
