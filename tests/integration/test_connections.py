"""How HAProxy's connections to the agent come about and are shared, and what fits through them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest

from tests.haproxy import CONFIGURATION
from tests.haproxy_builds import ENGINE, version_of
from tests.integration.edge import PATIENT, policy_files, start_edge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.echo import Echo
    from tests.haproxy import HAProxy
    from tests.integration.edge import Pki
    from tests.serving import Agent

pytestmark = pytest.mark.integration

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
