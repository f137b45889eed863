"""What HAProxy does with each answer that an agent may give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spoa.spop import Ack, Notify, write_frame
from tests.integration.scripted_agent import answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.edge import Edge
    from tests.integration.scripted_agent import ScriptedAgent

pytestmark = pytest.mark.integration


def test_an_allow_reaches_the_default_server(scripted: tuple[Edge, ScriptedAgent]) -> None:
    edge, agent = scripted
    agent.script = answers(verdict="allow", status=200, reason="ok")
    assert edge.client().get("/things?id=1").echoed["server"] == "internal"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 429, 503])
def test_a_deny_is_answered_with_the_status_and_reason_of_the_agent(
    scripted: tuple[Edge, ScriptedAgent], status: int
) -> None:
    edge, agent = scripted
    agent.script = answers(verdict="deny", status=status, reason="read_only_client", rule="secret-rule-name")
    before = edge.received()
    answer = edge.client().get("/")
    assert (answer.status, answer.reason) == (status, "read_only_client")
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)
    assert "secret-rule-name" not in str(answer)
    assert edge.received() == before


@pytest.mark.parametrize("status", [200, 302, 407, 418, 500, -1, 0])
def test_a_deny_with_a_status_that_is_no_deny_is_a_403(scripted: tuple[Edge, ScriptedAgent], status: int) -> None:
    edge, agent = scripted
    agent.script = answers(verdict="deny", status=status, reason="denied_by_rule")
    answer = edge.client().get("/")
    assert (answer.status, answer.reason) == (403, "denied_by_rule")


@pytest.mark.parametrize(
    "script",
    [
        answers(verdict="Allow", status=200),
        answers(verdict="allow ", status=200),
        answers(verdict="allowed", status=200),
        answers(verdict="", status=200),
        answers(verdict=True, status=200),
        answers(verdict=1, status=200),
        answers(status=200, route="internal_api"),
        answers(revision="0123456789ab"),
        lambda notify: write_frame(Ack(notify.stream_id, notify.frame_id)),
    ],
    ids=["Allow", "trailing blank", "allowed", "empty", "true", "1", "no verdict", "only revision", "no action"],
)
def test_whatever_is_not_exactly_allow_is_denied(
    scripted: tuple[Edge, ScriptedAgent], script: Callable[[Notify], bytes]
) -> None:
    edge, agent = scripted
    agent.script = script
    before = edge.received()
    answer = edge.client().get("/")
    assert (answer.status, answer.reason) == (403, "internal_error")
    assert edge.received() == before


@pytest.mark.parametrize(
    ("route", "server"),
    [
        ("admin_api", "admin"),
        ("partner_api", "partner"),
        ("monitoring_backend", "monitoring"),
        ("internal_api", "internal"),
    ],
)
def test_the_route_chooses_the_server(scripted: tuple[Edge, ScriptedAgent], route: str, server: str) -> None:
    edge, agent = scripted
    agent.script = answers(verdict="allow", status=200, reason="ok", route=route)
    assert edge.client().get("/").echoed["server"] == server


@pytest.mark.parametrize(
    "route",
    [
        "no_such_backend",
        "",
        "authz-agents",
        "authz-denied",
        "stats",
        "#2",
        "#7",
        "#8",
        "#9",
        "mtls_api",
        "internal_api ",
    ],
)
def test_a_route_that_is_no_backend_reaches_no_server(scripted: tuple[Edge, ScriptedAgent], route: str) -> None:
    edge, agent = scripted
    agent.script = answers(verdict="allow", status=200, reason="ok", route=route)
    before = edge.received()
    target = f"/routed/{len(agent.notified)}"
    answer = edge.client().get(target)
    assert (answer.status, answer.reason) == (403, "internal_error")
    assert edge.received() == before
    assert " verdict:deny reason:internal_error " in edge.proxy.wait_for_log(f"{target} ")
    agent.script = answers(verdict="allow", status=200, reason="ok")
    assert edge.client().get("/").status == 200


def test_the_canonical_path_takes_the_place_of_the_one_received(scripted: tuple[Edge, ScriptedAgent]) -> None:
    edge, agent = scripted
    agent.script = answers(verdict="allow", status=200, reason="ok", path="/a/c%20d")
    client = edge.client()
    assert client.get("/a/b/../c%20d?x=/../y").echoed["target"] == "/a/c%20d?x=/../y"
    with client.http2() as connection:
        assert connection.request("GET", "/a/b/../c%20d?q").echoed["target"] == "/a/c%20d?q"


def test_each_request_of_a_connection_is_judged_anew(scripted: tuple[Edge, ScriptedAgent]) -> None:
    edge, agent = scripted
    client = edge.client()
    with client.http1() as http1, client.http2() as http2:
        for connection in (http1, http2):
            for verdict, status in (("allow", 200), ("deny", 403), ("allow", 200), ("deny", 403)):
                agent.script = answers(verdict=verdict, status=status, reason="x")
                assert connection.request("GET", "/").status == status


def test_the_log_says_who_what_and_why(scripted: tuple[Edge, ScriptedAgent]) -> None:
    edge, agent = scripted
    agent.script = answers(
        verdict="deny", status=405, reason="read_only", rule="r1", identity="ro", revision="0a1b2c3d4e5f"
    )
    edge.client(edge.pki.client('al"ice')).get("/logged", method="DELETE")
    line = edge.proxy.wait_for_log("/logged")
    assert (
        'cn:"al\\"ice" verdict:deny reason:read_only rule:r1 identity:ro revision:0a1b2c3d4e5f error:- id:' in line
    ), line
    assert " 405 " in line
