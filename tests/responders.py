"""OCSP responders on loopback that say what a test wants, truth or lies, and policies that have the agent ask them.

    with Responder.running(said_by(ca)) as responder:
        responder.hits, responder.url
        responder.answer = hang

What is said is an `Answering` of `tests.httpservers`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote

from cryptography.x509 import ocsp

from spoa.spop import AckReceived, DataType
from tests.agents import authorize, running_agent, until, variables
from tests.httpservers import Server, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.agents import Agent, Haproxy
    from tests.httpservers import Answering, Request
    from tests.pki import CA

__all__ = [
    "PATIENT",
    "Responder",
    "asking_agent",
    "certified",
    "judged",
    "policy_asking",
    "question_of",
    "said",
    "said_by",
    "unsuccessful",
]

#: For tests that are not about lateness: a busy machine must not turn them into one.
PATIENT: Final = ("--deadline", "5000")
_SECONDS: Final = 10


def question_of(request: Request) -> bytes:
    """Return the OCSP request (DER) in an HTTP request."""
    if request.method == "POST":
        return request.body
    return base64.b64decode(unquote(request.path.rpartition("/")[2]), validate=True)


def said(make: Callable[[bytes], bytes]) -> Answering:
    """Answer each OCSP request (DER) with what is made of it."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await plain(make(question_of(request)), Content_Type="application/ocsp-response")(request, writer)

    return answer


def said_by(*authorities: CA, **fields: Any) -> Answering:
    """Answer what is so: for the certificates of several CAs; `fields` as for `spoa.ocsp_responder.ocsp_answer`."""

    def make(question: bytes) -> bytes:
        response = b""
        for authority in authorities:
            response = authority.ocsp_response(question, **{"now": int(time.time()), **fields})
            if ocsp.load_der_ocsp_response(response).response_status is ocsp.OCSPResponseStatus.SUCCESSFUL:
                break
        return response

    return said(make)


def unsuccessful(status: ocsp.OCSPResponseStatus) -> Answering:
    """Answer each request with an error, unsigned as they are."""
    der = ocsp.OCSPResponseBuilder.build_unsuccessful(status)
    from cryptography.hazmat.primitives.serialization import Encoding

    return said(lambda _: der.public_bytes(Encoding.DER))


class Responder:
    """A server in a thread of its own.

    Attributes:
        url: where it is asked.
    """

    def __init__(self, answer: Answering, hosts: tuple[str, ...] = ("127.0.0.1",)) -> None:
        self._server = Server(answer, hosts=hosts)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._gate: asyncio.Event | None = None

    @classmethod
    @contextlib.contextmanager
    def running(cls, answer: Answering, **options: Any) -> Iterator[Responder]:
        """Answer until the block ends."""
        responder = cls(answer, **options)
        responder._thread.start()
        try:
            responder.start()
            yield responder
        finally:
            responder.stop()
            responder._loop.call_soon_threadsafe(responder._loop.stop)
            responder._thread.join(_SECONDS)
            responder._loop.close()

    def start(self) -> None:
        """Listen; on the same port again after `stop`."""
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(_SECONDS)

    def stop(self) -> None:
        """Refuse connections, and break off whatever is under way."""
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result(_SECONDS)

    @property
    def answer(self) -> Answering:
        """What it says."""
        return self._server.answer

    @answer.setter
    def answer(self, answer: Answering) -> None:
        self._server.answer = answer

    @property
    def requests(self) -> list[Request]:
        """What was asked."""
        return self._server.requests

    @property
    def hits(self) -> int:
        """How often it was asked."""
        return len(self._server.requests)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    @property
    def url(self) -> str:
        """Where it is asked."""
        return self._server.url("")

    @contextlib.contextmanager
    def holding(self) -> Iterator[Callable[[], None]]:
        """Keep whoever asks waiting until what this yields is called, or the block ends."""
        gate, answer = asyncio.Event(), self.answer

        async def held(request: Request, writer: asyncio.StreamWriter) -> None:
            await gate.wait()
            await answer(request, writer)

        def release() -> None:
            self._loop.call_soon_threadsafe(gate.set)

        self.answer = held
        try:
            yield release
        finally:
            self.answer = answer
            release()


def policy_asking(issuers: Mapping[str, tuple[CA, str]]) -> str:
    """Return a policy that allows whoever isn't revoked: issuer → its CA, and the keys of its `revocation`."""
    rows = [f"  {name}: {{ca: {name}.pem, revocation: {{{keys}}}}}\n" for name, (_, keys) in issuers.items()]
    return (
        f"apiVersion: authz/v1\nissuers:\n{''.join(rows)}rules:\n"
        '  - {id: all, effect: allow, who: any_certificate, request: {path: "/**"}}\n'
    )


@contextlib.contextmanager
def asking_agent(
    folder: Path, issuers: Mapping[str, tuple[CA, str]], *options: str, **environment: str
) -> Iterator[Agent]:
    """Run the agent on such a policy; a second time in the same folder, it has its state again."""
    policies = folder / "policies"
    policies.mkdir(exist_ok=True)
    for name, (ca, _) in issuers.items():
        (policies / f"{name}.pem").write_bytes(ca.pem)
    with running_agent(folder, *(options or PATIENT), policy=policy_asking(issuers), **environment) as agent:
        yield agent


class Shown(Protocol):
    """A certificate that a client shows."""

    @property
    def der(self) -> bytes:
        """As DER."""


def certified(issued: Shown, path: str = "/x", number: int = 1) -> bytes:
    """Return the payload of a NOTIFY of a client with a certificate; the number is that of its id."""
    return authorize(
        path,
        cert=(DataType.BINARY, issued.der),
        used=(DataType.BOOL, True),
        id=(DataType.STRING, b"id-%d" % number),
    )


def judged(haproxy: Haproxy, issued: Shown, path: str = "/x") -> tuple[str, str]:
    """Ask once; return verdict and reason."""
    haproxy.socket.sendall(haproxy.notify(certified(issued, path)))
    answer = variables(haproxy.receive(AckReceived).ack)
    return answer["verdict"], answer["reason"]


def seconds_until(holds: Callable[[], object], seconds: float) -> float:
    """Return how long it takes until something holds."""
    began = time.monotonic()
    until(holds, seconds)
    return time.monotonic() - began
