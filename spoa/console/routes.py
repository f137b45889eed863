"""The console's part of the admin address.

Three files make the page, and it asks for the rest: `/status`, which was there before, a stream of decisions, an
explanation, and the history. What changes something wants the same bearer token as `/reload` does, in a header that no
other site's page can send; nothing is kept in cookies. Where the admin address is one that other machines reach,
looking wants the token too: who may reach what is nobody's business on a network.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, fields
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import web

from spoa.console.changing import CHANGES
from spoa.console.following import Filter, Follower
from spoa.exceptions import SpoaError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from spoa.console.changing import Changing
    from spoa.console.chronicle import Chronicle
    from spoa.console.explaining import Explaining

__all__ = ["HEADERS", "Console", "Ground"]

#: Seconds between two looks at the decision log, and of silence after which a line keeps the connection alive.
_LOOK: Final = 0.5
_SILENCE: Final = 15.0
#: Streams at a time; each reads the end of the log for itself.
_MAX_STREAMS: Final = 8
#: Characters of one filter.
_MAX_FILTER: Final = 200

#: File name → content type.
_FILES: Final = {
    "console.html": "text/html",
    "console.css": "text/css",
    "console.js": "text/javascript",
    "agent.js": "text/javascript",
    "explanation.js": "text/javascript",
    "shown.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
#: With every answer: nothing from elsewhere, no script that isn't a file, in nobody's frame, in nobody's cache.
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_OUR_OWN: Final = frozenset({"", "none", "same-origin"})

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ground:
    """What the console stands on.

    Attributes:
        decision_log: the file, or None where there is none that could be read.
        explaining: makes explanations.
        changing: makes changes.
        chronicle: knows what changed.
        needs_token_to_look: looking wants the token too.
    """

    decision_log: Path | None
    explaining: Explaining
    changing: Changing
    chronicle: Chronicle
    needs_token_to_look: bool


class Console:
    """Answers what the page asks.

    Args:
        ground: what it stands on.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._streams: list[web.Request] = []
        self._ending = asyncio.Event()

    def add_to(self, app: web.Application, may_change: Callable[[web.Request], Awaitable[bool]]) -> None:
        """Answer below `/console` of an application; `may_change` tells whether a request comes with the right to."""
        self._may_change = may_change
        router = app.router
        router.add_get("/console", self._guarded(self._page, is_open=True))
        for name in _FILES:
            router.add_get(f"/console/{name}", self._guarded(self._page, is_open=True))
        router.add_get("/console/decisions", self._guarded(self._decisions))
        router.add_get("/console/history", self._guarded(self._history))
        router.add_get("/console/right", self._guarded(self._right, is_open=True))
        router.add_post("/console/explain", self._guarded(self._explain))
        router.add_post("/console/{change}", self._guarded(self._change, is_change=True))
        app.on_shutdown.append(self._end_streams)

    async def close(self) -> None:
        """End what was started."""
        await self._ground.explaining.close()

    async def _end_streams(self, _: web.Application) -> None:
        self._ending.set()

    def _guarded(
        self,
        answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
        *,
        is_open: bool = False,
        is_change: bool = False,
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Return what answers whoever may ask; other sites' pages may not, whatever they bring."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Sec-Fetch-Site", "") not in _OUR_OWN and not is_open:
                raise web.HTTPForbidden(text="not from another site\n", headers=HEADERS)
            wants_token = is_change or (self._ground.needs_token_to_look and not is_open)
            if wants_token and not await self._may_change(request):
                headers = {**HEADERS, "WWW-Authenticate": "Bearer"}
                raise web.HTTPUnauthorized(headers=headers, text="bring the token of --admin-token-file\n")
            try:
                return await answer(request)
            except web.HTTPException as error:
                error.headers.update(HEADERS)
                raise

        return handle

    async def _page(self, request: web.Request) -> web.StreamResponse:
        name = request.path.removeprefix("/console").lstrip("/") or "console.html"
        content = resources.files("spoa.console").joinpath("static", name).read_bytes()
        return web.Response(body=content, content_type=_FILES[name], charset="utf-8", headers=HEADERS)

    async def _right(self, request: web.Request) -> web.StreamResponse:
        """Tell whether whoever asks may change something, and what the page can show at all."""
        may_change = await self._may_change(request)
        return _json(
            {
                "may_change": may_change,
                "may_look": may_change or not self._ground.needs_token_to_look,
                "has_decisions": self._ground.decision_log is not None,
            }
        )

    async def _history(self, _: web.Request) -> web.StreamResponse:
        return _json({"entries": self._ground.chronicle.entries})

    async def _explain(self, request: web.Request) -> web.StreamResponse:
        return _json(await self._ground.explaining.explain(await _asked(request)))

    async def _change(self, request: web.Request) -> web.StreamResponse:
        """Make a change, and leave word of it in the log and in the history, also where it was refused."""
        what = request.match_info["change"]
        if what not in CHANGES:
            raise web.HTTPNotFound(text="no such change\n")
        asked = await _asked(request)
        told = {key: value for key, value in asked.items() if isinstance(value, str)}
        try:
            done = await self._ground.changing.change(what, asked)
        except (SpoaError, ValueError) as error:
            _log.warning("console: a change was refused", change=what, asked=told, by=request.remote, error=str(error))
            return _json({"error": str(error)}, status=422)
        _log.warning("console: changed", change=what, asked=told, by=request.remote)
        await asyncio.to_thread(self._ground.chronicle.tell, what, by="console", **done)
        return _json(done)

    async def _decisions(self, request: web.Request) -> web.StreamResponse:
        """Stream the decisions that are wanted, as server-sent events."""
        path = self._ground.decision_log
        if path is None:
            raise web.HTTPNotFound(text="decisions are written to no file that could be shown\n")
        if sum(not _has_gone(one) for one in self._streams) >= _MAX_STREAMS:
            raise web.HTTPTooManyRequests(text=f"{_MAX_STREAMS} streams are open already\n")
        wanted = {one.name: request.query.get(one.name, "")[:_MAX_FILTER] for one in fields(Filter)}
        follower = Follower(path, Filter(**wanted))
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        self._streams.append(request)
        try:
            with contextlib.suppress(ConnectionError):  # whoever looked has gone
                await response.prepare(request)
                await self._stream(request, response, follower)
        finally:
            self._streams.remove(request)
            await asyncio.to_thread(follower.close)
        return response

    async def _stream(self, request: web.Request, response: web.StreamResponse, follower: Follower) -> None:
        silent = 0.0
        while not self._ending.is_set() and not _has_gone(request):
            portion = await asyncio.to_thread(follower.look)
            if portion.decisions or portion.skipped or portion.unread:
                body = {"decisions": portion.decisions, "skipped": portion.skipped, "unread": portion.unread}
                await response.write(b"event: decisions\ndata: " + json.dumps(body).encode() + b"\n\n")
                silent = 0.0
            elif silent >= _SILENCE:
                await response.write(b": still here\n\n")
                silent = 0.0
            silent += _LOOK
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _LOOK)


def _has_gone(request: web.Request) -> bool:
    """Tell whether whoever asked has closed the connection; nothing else does, as long as there is nothing to write."""
    return request.transport is None or request.transport.is_closing()


async def _asked(request: web.Request) -> dict[str, Any]:
    """Return the JSON object that was sent, and only if it says that it is one: a form of another site can't."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send application/json\n")
    try:
        asked = json.loads(await request.read())
    except ValueError:
        raise web.HTTPBadRequest(text="this is no JSON\n") from None
    if not isinstance(asked, dict):
        raise web.HTTPBadRequest(text="send a JSON object\n")
    return asked


def _json(value: object, status: int = 200) -> web.Response:
    return web.json_response(value, status=status, headers=HEADERS)
