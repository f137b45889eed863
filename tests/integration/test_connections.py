"""How HAProxy's connections to the agent come about and are shared, and what fits through them."""

from __future__ import annotations

import csv
import io
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import pytest

from tests.agents import until
from tests.haproxy import CONFIGURATION
from tests.haproxy_builds import ENGINE, version_of
from tests.integration.edge import PATIENT, policy_files, start_edge
from tests.integration.scripted_agent import ScriptedAgent, answers, arguments_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spoa.spop import Notify
    from tests.echo import Echo
    from tests.haproxy import HAProxy
    from tests.integration.edge import Pki
    from tests.serving import Agent

pytestmark = pytest.mark.integration

ALLOW: Final = answers(verdict="allow", status=200, reason="ok")
BINDS = ("HTTP", "HTTPS", "MTLS", "STATS")


def connections(proxy: HAProxy) -> int:
    """Return how many connections to the agent HAProxy has opened for requests; health checks are not among them."""
    table = csv.DictReader(io.StringIO(proxy.ask("show stat").removeprefix("# ")))
    return next(int(row["connect"]) for row in table if (row["pxname"], row["svname"]) == ("authz-agents", "agent1"))


def test_requests_one_after_the_other_share_a_connection_since_haproxy_has_a_multiplexer(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], agent: Agent, tmp_path: Path
) -> None:
    agent.adopt(policy_files("any-client", pki))
    with start_edge(binary, pki, echoes, tmp_path, agent.address, PATIENT) as edge:
        edge.proxy.wait_for_agent()
        with edge.client(pki.client("alice")).http1() as connection:
            assert {connection.request("GET", "/").status for _ in range(10)} == {200}
        if ENGINE[version_of(binary)] == "mux":
            assert connections(edge.proxy) == 1


def test_a_bound_on_a_servers_connections_bounds_requests_since_haproxy_has_a_multiplexer(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], tmp_path: Path
) -> None:
    """With `maxconn 1` and one answer held back: up to 3.0 the others share its connection, since 3.1 none is asked."""
    others, held = 9, threading.Event()

    def hold_the_first(notify: Notify) -> bytes:
        if arguments_of(notify)["path"] == b"/first":
            held.wait(60)
        return ALLOW(notify)

    folder = tmp_path / "haproxy"
    shutil.copytree(CONFIGURATION, folder)
    shared = folder / "haproxy.cfg"
    line = 'server agent1 "${AUTHZ_AGENT}"'
    shared.write_text(shared.read_text().replace(line, f"{line} maxconn 1"))
    one_thread = tmp_path / "thread.cfg"  # up to 3.0 each thread has connections of its own
    one_thread.write_text("global\n    nbthread 1\n")
    variables = {"AUTHZ_TIMEOUT_PROCESSING": "60s"}
    with (
        ScriptedAgent.running(hold_the_first) as agent,
        start_edge(
            binary, pki, echoes, tmp_path, agent.address, variables, files=[one_thread, shared], binds=BINDS
        ) as edge,
        ThreadPoolExecutor(others + 1) as pool,
    ):
        edge.proxy.wait_for_agent(seconds=60)
        client = edge.client(pki.client("alice"))
        try:
            first = pool.submit(client.get, "/first")
            until(lambda: agent.notified)
            said = list(pool.map(client.get, [f"/{number}" for number in range(others)]))
        finally:
            held.set()
        assert first.result().status == 200
        if ENGINE[version_of(binary)] == "mux":
            assert {(answer.status, answer.reason) for answer in said} == {(503, "not_ready")}
            assert len(agent.notified) == 1
        else:
            assert {answer.status for answer in said} == {200}
            assert len(agent.notified) == others + 1


def test_a_large_certificate_is_judged_where_the_buffer_holds_it(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], agent: Agent, tmp_path: Path
) -> None:
    agent.adopt(policy_files("any-client", pki))
    tuning = tmp_path / "tuning.cfg"
    tuning.write_text("global\n    tune.bufsize 65536\n")
    large = pki.client("large", dns=tuple(f"{number:0>50}.example" for number in range(400)))
    assert 20_000 < len(large.der) < 60_000
    files = [tuning, CONFIGURATION / "haproxy.cfg"]  # HAProxy derives the frame size where it reads the filter's line
    with start_edge(binary, pki, echoes, tmp_path, agent.address, PATIENT, files=files, binds=BINDS) as edge:
        edge.proxy.wait_for_agent()
        for certificate in (pki.client("alice"), large):
            assert edge.client(certificate).get("/").status == 200
