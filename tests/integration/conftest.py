"""Fixtures of the integration tests; `HAPROXY_VERSIONS=2.6,2.8,3.0,3.2,3.4` says which HAProxy they run against."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from tests.echo import Echo
from tests.haproxy_builds import VERSIONS, haproxy_binary, is_installed
from tests.integration.edge import PATIENT, SERVERS, Pki, policy_files, start_edge
from tests.integration.scripted_agent import ScriptedAgent, answers
from tests.serving import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.integration.edge import Edge

#: One of each engine, and what Debian 12 has where that is installed.
DEFAULT_VERSIONS: Final = "2.6,2.8,3.2" if is_installed("2.6") else "2.8,3.2"
WANTED: Final = os.environ.get("HAPROXY_VERSIONS", DEFAULT_VERSIONS).split(",")

if unknown := set(WANTED) - set(VERSIONS):
    raise pytest.UsageError(f"HAPROXY_VERSIONS names {', '.join(sorted(unknown))}; known are {', '.join(VERSIONS)}")


@pytest.fixture(scope="session", params=WANTED)
def binary(request: pytest.FixtureRequest) -> Path:
    """Give a HAProxy of each version wanted."""
    return haproxy_binary(request.param)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Give the certificates."""
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def echoes() -> Iterator[Mapping[str, Echo]]:
    """Give the servers behind HAProxy."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Echo.running(name)) for name in SERVERS.values()}


@pytest.fixture(scope="session")
def agent(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """Give the real agent; tests change its policy, and leave it running."""
    folder = tmp_path_factory.mktemp("agent")
    policies = folder / "policies"
    for name, content in policy_files("any-client", pki).items():
        (policies / name).parent.mkdir(parents=True, exist_ok=True)
        (policies / name).write_bytes(content)
    # For tests that are not about lateness, as PATIENT is on HAProxy's side.
    with Agent.running(policies, folder, "--deadline", "4000") as agent:
        yield agent


@pytest.fixture(scope="module")
def scripted(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Edge, ScriptedAgent]]:
    """Give the shipped configuration before an agent that does what the test says; certificates are optional."""
    with (
        ScriptedAgent.running(answers(verdict="deny")) as agent,
        start_edge(
            binary, pki, echoes, tmp_path_factory.mktemp("edge"), agent.address, {"AUTHZ_VERIFY": "optional", **PATIENT}
        ) as edge,
    ):
        edge.proxy.wait_for_agent()
        yield edge, agent


@pytest.fixture(autouse=True)
def printed_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """Print what a test adds to the log of a HAProxy that it shares with others, in case it fails."""
    yield
    for name in {"edge", "scripted", "shipped"} & set(request.fixturenames):
        value = request.getfixturevalue(name)
        edge: Edge = value[0] if isinstance(value, tuple) else value
        edge.proxy.print_news()
