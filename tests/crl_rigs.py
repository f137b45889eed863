"""A CA whose lists agents take from files or from a server, and what agents say of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from spoa.spop import DataType
from tests.httpservers import plain
from tests.pki import CA

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from tests.agents import Agent, Haproxy
    from tests.httpservers import Background, Request
    from tests.pki import Issued

__all__ = ["POLICY", "Remote", "Rig", "crl_of", "problems_of", "reason", "url_of"]

POLICY: Final = """\
apiVersion: authz/v1
issuers: {corp: {ca: trust/corp.pem, revocation: {crl: {files: crl/corp.crl%s}}}}
rules: [{id: all, effect: allow, who: any_certificate}]
"""


class Rig:
    """A CA, its clients, and the policy directory that trusts it."""

    def __init__(self, directory: Path) -> None:
        self.ca = CA("corp")
        self.alice = self.ca.issue("alice")
        self.bob = self.ca.issue("bob")
        self.policies = directory / "policies"
        for name in ("trust", "crl"):
            (self.policies / name).mkdir(parents=True)
        (self.policies / "trust/corp.pem").write_bytes(self.ca.pem)
        self.file = self.policies / "crl/corp.crl"

    def publish(self, content: bytes | None = None, **fields: Any) -> None:
        """Rename a list over the one that is there; the CA's newest unless given."""
        new = self.file.with_name(".new")
        new.write_bytes(self.ca.crl(**fields) if content is None else content)
        new.rename(self.file)


class Remote(Rig):
    """A rig whose list is served by HTTP, one body for each path, as long as the server runs."""

    def __init__(self, directory: Path, background: Background) -> None:
        super().__init__(directory)
        self.background = background
        self.server = background.server

    def policy(self, *paths: str, more: str = "refresh: 1s") -> str:
        """Return a policy whose lists are at some paths of the server."""
        urls = ", ".join(f'"{self.server.url(path)}"' for path in paths or ("/a.crl",))
        return POLICY.replace("files: crl/corp.crl%s", f"urls: [{urls}], {more}")

    def publish(self, content: bytes | None = None, **fields: Any) -> None:
        """Serve a list; the CA's newest unless given. Honours conditions, as a server should."""
        body = self.ca.crl(**fields) if content is None else content
        etag = f'"{hashlib.sha256(body).hexdigest()}"'

        async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
            is_same = request.headers.get("if-none-match") == etag
            await (plain(status=304) if is_same else plain(body, ETag=etag))(request, writer)

        self.server.answer = answer


def reason(haproxy: Haproxy, client: Issued) -> str:
    """Return the reason that an agent gives for a client."""
    found = haproxy.ask("/x", cert=(DataType.BINARY, client.der), used=(DataType.BOOL, True))
    return str(found["reason"])


def crl_of(agent: Agent) -> dict[str, Any]:
    """Return what an agent says of its lists."""
    return dict(agent.status()["issuers"]["corp"]["revocation"]["sources"]["crl"])


def problems_of(agent: Agent) -> list[str]:
    """Return what an agent says that is wrong with lists."""
    return [problem["reason"] for problem in crl_of(agent)["problems"]]


def url_of(agent: Agent) -> dict[str, Any]:
    """Return what an agent says of its first URL."""
    return dict(crl_of(agent)["urls"][0])
