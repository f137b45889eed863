"""Fixtures of the integration tests; `HAPROXY_VERSIONS=2.6,2.8,3.0,3.2,3.4` says which HAProxy they run against."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from tests.echo import Echo
from tests.haproxy_builds import VERSIONS, haproxy_binary
from tests.integration.edge import PATIENT, SERVERS, Pki, start_edge
from tests.integration.scripted_agent import ScriptedAgent, answers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.integration.edge import Edge

#: One of each engine.
DEFAULT_VERSIONS: Final = "2.8,3.2"
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
