"""A running agent for tests, and a blocking SPOP client that speaks to it as HAProxy does.

with running_agent(tmp_path) as agent, agent.connect() as haproxy:
    haproxy.ask(path="/open/door")["verdict"]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import spoa.agent
from spoa.addresses import read_address
from spoa.agent import Limits
from spoa.loading import load_policy
from spoa.metrics import summed
from spoa.spop import (
    AckReceived,
    Argument,
    Connection,
    DataType,
    DisconnectReceived,
    HelloReceived,
    Message,
    Role,
    SetVar,
    write_messages,
)

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from spoa.addresses import Address
    from spoa.authorizer import Policy
    from spoa.spop import Ack, Event

    #: What makes an event loop.
    Loops = Callable[[], asyncio.AbstractEventLoop]

__all__ = [
    "OPEN",
    "SHUT",
    "Agent",
    "Haproxy",
    "Serving",
    "authorize",
    "is_healthy",
    "policy_of",
    "running_agent",
    "serving",
    "start",
    "until",
    "variables",
]

ROOT: Final = Path(__file__).parent.parent
PATIENCE: Final = 60.0
#: Seconds that a start may take where the machine does much else.
_STARTING: Final = 90.0

#: Policies without certificates: what is below /open is allowed to everybody, or to nobody.
OPEN: Final = """\
apiVersion: authz/v1
defaults: {no_certificate: anonymous}
rules:
  - {id: open, effect: allow, who: anonymous, request: {path: "/open/**"}}
"""
SHUT: Final = OPEN.replace("/open/**", "/other/**")


def until(holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait for something to hold, and return it; fails when it does not in time."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"does not hold after {seconds} s"
        time.sleep(0.01)
    return found


def authorize(path: str = "/open/x", **others: tuple[DataType, Any]) -> bytes:
    """Write the payload of a NOTIFY without a certificate; other arguments replace these or come on top."""
    arguments: dict[str, tuple[DataType, Any]] = {
        "cert": (DataType.NULL, None),
        "used": (DataType.BOOL, False),
        "verify": (DataType.INT64, 0),
        "src": (DataType.IPV4, bytes((127, 0, 0, 1))),
        "method": (DataType.STRING, b"GET"),
        "path": (DataType.STRING, path.encode("latin-1")),
        "id": (DataType.STRING, b"id-1"),
        **others,
    }
    rows = tuple(Argument(name.encode(), kind, value) for name, (kind, value) in arguments.items())
    return write_messages([Message(b"authorize", rows)])


def variables(ack: Ack) -> dict[str, Any]:
    """Return the variables that an ACK sets, text as text."""
    found = {}
    for action in ack.actions:
        assert isinstance(action, SetVar)
        found[action.name.decode()] = action.value.decode() if isinstance(action.value, bytes) else action.value
    return found


class Haproxy:
    """One connection to an agent, from HAProxy's side."""

    def __init__(self, address: Address, *, greet: bool = True) -> None:
        if address.path:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(PATIENCE)
            self.socket.connect(address.path)
        else:
            self.socket = socket.create_connection((address.host, address.port), timeout=PATIENCE)
        self.connection = Connection(Role.HAPROXY)
        self.events: list[Event] = []
        self._stream_id = 0
        if greet:
            self.greet()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def greet(self, **options: Any) -> None:
        """Say HELLO and wait for the agent's."""
        self.socket.sendall(self.connection.send_hello(**options))
        self.receive(HelloReceived)

    def receive(self, kind: type) -> Any:
        """Return the next event, which must be of this kind."""
        while not self.events:
            data = self.socket.recv(65536)
            assert data, "the agent closed the connection"
            self.events += self.connection.receive_data(data)
        event = self.events.pop(0)
        assert isinstance(event, kind), event
        return event

    def notify(self, payload: bytes) -> bytes:
        """Return the next NOTIFY, to be sent."""
        self._stream_id += 1
        return self.connection.send_notify(self._stream_id, 1, payload)

    def answer(self) -> dict[str, Any]:
        """Return the variables of the next ACK."""
        return variables(self.receive(AckReceived).ack)

    def ask(self, path: str = "/open/x", **others: tuple[DataType, Any]) -> dict[str, Any]:
        """Send one NOTIFY and return the variables of its ACK."""
        self.socket.sendall(self.notify(authorize(path, **others)))
        return self.answer()

    def disconnected(self) -> int:
        """Return the status of the agent's DISCONNECT, which must come next."""
        status: int = self.receive(DisconnectReceived).disconnect.status
        return status

    def is_closed(self) -> bool:
        """Wait for the end of the stream."""
        try:
            return self.socket.recv(65536) == b""
        except ConnectionResetError:
            return True


def is_healthy(address: Address) -> bool:
    """Check an agent's health as HAProxy does: it is well when it says HELLO, and not when it says DISCONNECT."""
    with Haproxy(address, greet=False) as haproxy:
        haproxy.socket.sendall(haproxy.connection.send_hello(is_healthcheck=True))
        return not isinstance(haproxy.receive(object), DisconnectReceived)


@dataclass
class Agent:
    """A running `serve`."""

    process: subprocess.Popen[str]
    policies: Path
    state: Path
    log: Path

    def status(self) -> dict[str, Any]:
        """Return `/status`."""
        return dict(json.loads(self.get("/status")[1]))

    @property
    def admin(self) -> str:
        """The admin address, as the agent wrote it down."""
        return (self.state / "admin").read_text().strip()

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Send a request to the admin address; return status and body."""
        request = urllib.request.Request(f"http://{self.admin}{path}", method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """Return the sum of a metric's samples whose line starts so."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"spoa_authz_{name}"))

    def address(self, number: int = 0) -> Address:
        """Return where it listens."""
        return read_address(self.status()["listen"][number])

    def connect(self, number: int = 0, *, greet: bool = True) -> Haproxy:
        """Connect as HAProxy does."""
        return Haproxy(self.address(number), greet=greet)

    def write_policy(self, text: str) -> None:
        """Replace the policy as careful editors do: a new file, renamed."""
        new = self.policies / ".new"
        new.write_text(text)
        new.rename(self.policies / "policy.yaml")

    def stop(self, patience: float = PATIENCE) -> int:
        """Ask it to end, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience)


def start(
    directory: Path, *options: str, policy: str | None = OPEN, within: Sequence[str] = (), **environment: str
) -> Agent:
    """Start `serve` on free ports and return at once; a policy of None leaves the directory as it is.

    `within` is a command that changes what surrounds it, and becomes it: `prlimit`, `setpriv`, `unshare`.
    """
    policies = directory / "policies"
    policies.mkdir(exist_ok=True)
    if policy is not None:
        (policies / "policy.yaml").write_text(policy)
    number = len(list(directory.glob("agent-*.log")))
    state, log = directory / "state", directory / f"agent-{number}.log"
    defaults = {"--policies": str(policies), "--state-dir": str(state), "--admin": "127.0.0.1:0"}
    arguments = [text for name, value in defaults.items() if name not in options for text in (name, value)]
    if "--listen" not in options:
        arguments += ["--listen", "127.0.0.1:0"]
    variables: Mapping[str, str] = {k: v for k, v in os.environ.items() if not k.startswith("SPOA_AUTHZ_")}
    with log.open("w") as file:
        process = subprocess.Popen(
            [*within, sys.executable, "-W", "error", "-m", "spoa", "serve", *arguments, *options],
            cwd=ROOT,
            env={**variables, **environment},
            stdout=subprocess.PIPE if "-" in options else file,
            stderr=file,
            text=True,
        )
    return Agent(process, policies, state, log)


@contextlib.contextmanager
def running_agent(
    directory: Path,
    *options: str,
    policy: str | None = OPEN,
    within: Sequence[str] = (),
    **environment: str,
) -> Iterator[Agent]:
    """Run `serve` until the block ends; it serves when the block begins."""
    agent = start(directory, *options, policy=policy, within=within, **environment)
    try:
        until(lambda: agent.process.poll() is not None or "ready" in agent.log.read_text(), _STARTING)
        assert agent.process.poll() is None, agent.log.read_text()
        yield agent
    finally:
        if agent.process.poll() is None:
            agent.process.terminate()
            try:
                agent.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                agent.process.kill()
                agent.process.wait()
        if agent.process.stdout is not None:
            agent.process.stdout.close()


@dataclass
class Serving:
    """An `Agent` of this very process, on a loop in a thread of its own."""

    agent: spoa.agent.Agent
    loop: asyncio.AbstractEventLoop
    address: Address

    def connect(self, *, greet: bool = True) -> Haproxy:
        """Connect as HAProxy does."""
        return Haproxy(self.address, greet=greet)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function on the loop and return its result."""

        async def called() -> Any:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(PATIENCE)

    def drain(self) -> concurrent.futures.Future[None]:
        """Begin to drain."""
        return asyncio.run_coroutine_threadsafe(self.agent.drain(), self.loop)

    def sample(self, name: str, *labels: str) -> float:
        """Return one of the agent's counts."""
        found = self.call(lambda: summed(chain(self.agent.samples().items(), *self.agent.decisions())))
        return float(found.get((name, labels), 0))


def policy_of(text: str = OPEN) -> Policy:
    """Load a policy from its text."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "policy.yaml").write_text(text)
        return load_policy(Path(directory))


@contextlib.contextmanager
def serving(
    policy: Policy,
    limits: Limits | None = None,
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    listener: socket.socket | None = None,
    stands_by: Callable[[], bool] | None = None,
    **options: Any,
) -> Iterator[Serving]:
    """Run an agent in this process until the block ends; it takes its time unless limits are given."""
    loop = loop_factory()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    bound = listener or socket.create_server(("127.0.0.1", 0))
    bound.settimeout(0)
    holder = Serving(None, loop, read_address("{}:{}".format(*bound.getsockname())))  # type: ignore[arg-type] # set next
    try:
        holder.agent = holder.call(lambda: spoa.agent.Agent(policy, limits or Limits(deadline=10.0), **options))
        holder.call(holder.agent.serve, [bound], stands_by)
        yield holder
    finally:
        holder.call(holder.agent.close)
        asyncio.run_coroutine_threadsafe(_let_go(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
        bound.close()


async def _let_go() -> None:
    """Let transports that were told to close do so."""
    for _ in range(5):
        await asyncio.sleep(0)
