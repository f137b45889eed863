"""A keeper of OCSP answers with a responder to ask, a clock of its own, and what workers are told."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from spoa.assurance import rules_of
from spoa.fetch import Fetcher
from spoa.ocsp_keeper import OcspKeeper
from spoa.ocsp_store import Responder
from spoa.policy.model import OcspSource, Revocation
from tests.httpservers import Server, plain
from tests.pki import CA

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.httpservers import Answering, Request
    from tests.pki import Issued

__all__ = ["ALICE", "BOB", "CORP", "SECONDS", "Desk", "conversation"]

CORP = CA("corp")
ALICE = CORP.issue("alice")
BOB = CORP.issue("bob")
SECONDS = 10


class Desk:
    """A keeper, the server that it asks, and what it tells the workers."""

    def __init__(self, folder: Path, server: Server, chance: float = 0.5) -> None:
        self.server = server
        self.now = float(int(time.time()))
        self.fetcher = Fetcher()
        self.rows: list[dict[str, Any]] = []
        self.pushed = asyncio.Event()
        self.keeper = OcspKeeper(
            folder / "ocsp.sqlite", self.fetcher, self.push, clock=lambda: self.now, chance=lambda: chance
        )
        self.server.answer = self.respond()

    async def push(self, rows: list[dict[str, Any]]) -> None:
        self.rows += rows
        self.pushed.set()

    def use(self, *, url: str | None = None, **fields: Any) -> None:
        source = OcspSource(responder=self.server.url("/ocsp") if url is None else url, **fields)
        self.keeper.use(
            {
                "corp": Responder(
                    url=source.responder,
                    hosts=source.aia_hosts,
                    uses_get=source.uses_get,
                    nonce=source.nonce,
                    pinned=tuple(base64.b64encode(der).decode() for der in source.pinned),
                    rules=rules_of(Revocation(ocsp=source))._asdict(),
                )
            }
        )

    def respond(self, **fields: Any) -> Answering:
        """Answer as the CA's own responder does."""

        async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
            question = request.body or base64.b64decode(unquote(request.path.rpartition("/")[2]))
            given = {"now": int(self.now), "valid_for": 1000, **fields}
            await plain(CORP.ocsp_response(question, **given))(request, writer)

        return answer

    def ask(self, client: Issued = ALICE, issuer: str = "corp") -> None:
        row = {
            "issuer": issuer,
            "certificate": base64.b64encode(client.der).decode(),
            "authority": base64.b64encode(CORP.der).decode(),
        }
        self.keeper.ask([row])

    async def told(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait for so many rows, and take them."""
        async with asyncio.timeout(SECONDS):
            while len(self.rows) < count:
                self.pushed.clear()
                await self.pushed.wait()
        rows, self.rows = self.rows, []
        return rows

    async def answer(self, client: Issued = ALICE) -> tuple[bool, str | None, int]:
        """Ask, and return whether there is a response, the failure, and in how many seconds to ask again."""
        self.ask(client)
        (row,) = await self.told()
        return row["response"] is not None, row["failure"], row["ask_again"] - int(self.now)

    @property
    def hits(self) -> int:
        return len(self.server.requests)

    def described(self) -> dict[str, Any]:
        return dict(self.keeper.describe(self.now, lambda _: 0)["corp"])

    def sample(self, name: str, *labels: str) -> float:
        return self.keeper.samples(self.now).get((name, ("corp", "ocsp", *labels)), 0)


def conversation(folder: Path, script: Callable[[Desk], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with Server() as server:
            desk = Desk(folder, server, **options)
            await desk.fetcher.start()
            try:
                async with asyncio.timeout(30):
                    await script(desk)
            finally:
                await desk.keeper.close()
                await desk.fetcher.close()

    asyncio.run(run())
