"""One agent for all cases: a process of its own. Its deadline is wide, so that a busy machine changes no answer."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from tests.agents import running_agent
from tests.conformance.line import HELLO, Line, agent_hello
from tests.pki import CA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.agents import Agent

#: Below /open everybody without a certificate, and Alice; nobody anywhere else.
POLICY = """\
apiVersion: authz/v1
defaults: {no_certificate: anonymous}
issuers: {corp: {ca: corp.pem, revocation: {none: "a test"}}}
identities: {alice: {issuer: corp, cn: alice}}
rules:
  - {id: open, effect: allow, who: anonymous, request: {path: "/open/**"}}
  - {id: holder, effect: allow, who: alice, request: {path: "/open/**"}}
"""


@pytest.fixture(scope="session")
def ca() -> CA:
    """The only issuer."""
    return CA("corp", now=int(time.time()))


@contextlib.contextmanager
def conforming(folder_of: pytest.TempPathFactory, ca: CA, *options: str) -> Iterator[Agent]:
    """Run an agent, whose log must hold no traceback at its end."""
    folder = folder_of.mktemp("conformance")
    (folder / "policies").mkdir()
    (folder / "policies" / "corp.pem").write_bytes(ca.pem)
    with running_agent(folder, "--workers", "1", "--deadline", "30000", *options, policy=POLICY) as agent:
        yield agent
    assert agent.process.returncode == 0, agent.log.read_text()
    assert "Traceback" not in agent.log.read_text()


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory, ca: CA) -> Iterator[Agent]:
    """The agent."""
    with conforming(tmp_path_factory, ca) as agent:
        yield agent


@pytest.fixture(scope="session")
def connect(agent: Agent) -> Callable[[], Line]:
    """How to connect to it."""
    address, revision = agent.address(), agent.status()["revision"]
    return lambda: Line(address, revision)


@pytest.fixture
def line(connect: Callable[[], Line]) -> Iterator[Line]:
    """A connection to it."""
    with connect() as line:
        yield line


@pytest.fixture
def conforming_with(tmp_path_factory: pytest.TempPathFactory, ca: CA) -> Iterator[Callable[..., Agent]]:
    """How to run an agent of one's own with other options, until the test ends."""
    with contextlib.ExitStack() as running:
        yield lambda *options: running.enter_context(conforming(tmp_path_factory, ca, *options))


@pytest.fixture
def opened(line: Line) -> Line:
    """A connection that said HELLO."""
    line.socket.sendall(HELLO)
    line.must_answer(agent_hello())
    return line
