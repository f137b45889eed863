"""A console of this very process, for tests that ask it by HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from spoa.addresses import Address
from spoa.admin import Admin, Sources
from spoa.console import Console, Ground
from spoa.console.changing import Changing
from spoa.console.chronicle import Chronicle
from spoa.listeners import address_of, bind
from spoa.policy.model import Switch
from spoa.reload import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

__all__ = ["TOKEN", "Answer", "Client", "Explained", "serve"]

TOKEN = {"Authorization": "Bearer s3cret"}


@dataclass
class Explained:
    """Stands where a process would explain."""

    asked: list[dict[str, Any]] = field(default_factory=list)

    async def explain(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(asked)
        return {"verdict": "deny"}

    async def close(self) -> None:
        pass


@dataclass
class Answer:
    status: int
    text: str
    headers: dict[str, str]

    @property
    def body(self) -> Any:
        return json.loads(self.text)


class Client:
    """Asks the console."""

    def __init__(self, session: aiohttp.ClientSession, base: str, state: Path, explained: Explained) -> None:
        self.session = session
        self.base = base
        self.state = state
        self.explained = explained

    async def get(self, path: str, **headers: str) -> Answer:
        async with self.session.get(self.base + path, headers=headers) as response:
            return Answer(response.status, await response.text(), dict(response.headers))

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        headers = {"Content-Type": "application/json", **headers}
        async with self.session.post(self.base + path, data=content, headers=headers) as response:
            return Answer(response.status, await response.text(), dict(response.headers))


def serve(
    script: Callable[[Client], Awaitable[None]], state: Path, *, log: Path | None = None, needs_token: bool = False
) -> None:
    """Serve an admin address with a console on it, and run a script."""

    async def nothing() -> Any:
        return {}

    async def outcome() -> Outcome:
        return Outcome("activated", "request", "0123456789ab", 0.0, 0.0)

    async def rollback(_revision: str, _by: str, _reason: str) -> Outcome:
        return await outcome()

    async def run() -> None:
        (state / "token").write_text("s3cret\n")
        explained = Explained()
        switches = (Switch("incident", 3600, "INC-[0-9]+"),)
        ground = Ground(log, explained, Changing(state, lambda: switches), Chronicle(state), needs_token)  # type: ignore[arg-type] # what explains is not this module's matter
        sources = Sources(nothing, nothing, lambda: True, outcome, outcome, rollback)
        admin = Admin(sources, "", state / "token", Console(ground))
        listener = bind(Address("127.0.0.1", 0), "admin")
        await admin.start(listener)
        async with aiohttp.ClientSession() as session:
            await asyncio.wait_for(script(Client(session, f"http://{address_of(listener)}", state, explained)), 30)
        await admin.close()

    asyncio.run(run())
