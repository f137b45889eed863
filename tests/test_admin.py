"""Whoever may look may look, whoever may change may change, and nobody else."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import structlog.testing

from spoa.addresses import Address
from spoa.admin import Admin, Sources
from spoa.listeners import address_of, bind
from spoa.reload import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


class Agent:
    """What an admin address asks."""

    def __init__(self) -> None:
        self.is_ready = True
        self.result = "activated"
        self.reloads = 0
        self.promotions = 0
        self.rollbacks: list[tuple[str, str, str]] = []

    async def metrics(self) -> bytes:
        return b"spoa_authz_workers 1.0\n"

    async def status(self) -> dict[str, Any]:
        return {"revision": "0123456789ab"}

    async def reload(self) -> Outcome:
        self.reloads += 1
        problems = () if self.result == "activated" else ({"message": "no"},)
        return Outcome(self.result, "request", "0123456789ab", 0.0, 0.0, problems)

    async def promote(self) -> Outcome:
        self.promotions += 1
        return Outcome("activated", "promote", "0123456789ab", 0.0, 0.0)

    async def roll_back(self, revision: str, by: str, reason: str) -> Outcome:
        self.rollbacks.append((revision, by, reason))
        return Outcome(self.result, "rollback", "0123456789ab", 0.0, 0.0)


Ask = "Callable[..., Awaitable[tuple[int, str]]]"


def serve(
    script: Callable[[Any, Agent], Awaitable[None]],
    address: Address | None = None,
    token_file: Path | None = None,
    *,
    is_remote: bool = False,
) -> None:
    """Serve an admin address, and run a script that may ask it."""

    async def run() -> None:
        agent = Agent()
        sources = Sources(
            agent.metrics, agent.status, lambda: agent.is_ready, agent.reload, agent.promote, agent.roll_back
        )
        admin = Admin(sources, "admin.example", token_file, is_remote=is_remote)
        listener = bind(address or Address("127.0.0.1", 0), "admin")
        bound = address_of(listener)
        assert bound is not None
        await admin.start(listener)
        connector = aiohttp.UnixConnector(bound.path) if bound.path else None
        base = "http://localhost" if bound.path else f"http://{bound}"

        async def ask(method: str, path: str, data: bytes | None = None, **headers: str) -> tuple[int, str]:
            async with session.request(method, base + path, headers=headers, data=data) as response:
                return response.status, await response.text()

        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.wait_for(script(ask, agent), 10)
        await admin.close()

    asyncio.run(run())


def test_looking_is_open() -> None:
    async def script(ask: Any, agent: Agent) -> None:
        assert await ask("GET", "/healthz") == (200, "ok\n")
        assert await ask("GET", "/readyz") == (200, "ready\n")
        assert (await ask("GET", "/metrics"))[1].startswith("spoa_authz_workers")
        assert json.loads((await ask("GET", "/status"))[1]) == {"revision": "0123456789ab"}
        agent.is_ready = False
        assert (await ask("GET", "/readyz"))[0] == 503
        assert (await ask("GET", "/healthz"))[0] == 200

    serve(script)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:9124", "127.0.0.1:1", "[::1]:1", "[::1]", "ADMIN.example:80"),
        f"{socket.gethostname()}:9124",
    ],
)
def test_addresses_and_our_own_names_are_served(host: str) -> None:
    async def script(ask: Any, _: Agent) -> None:
        assert (await ask("GET", "/status", Host=host))[0] == 200

    serve(script)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", ""])
def test_a_page_whose_name_was_made_to_lead_here_gets_nothing(host: str) -> None:
    async def script(ask: Any, _: Agent) -> None:
        for path in ("/status", "/metrics", "/missing"):
            assert (await ask("GET", path, Host=host))[0] == 421

    serve(script)


@pytest.mark.parametrize("host", ["edge1.example:9124", "authz-0.authz.edge.svc", "evil.example", ""])
def test_where_other_machines_come_monitoring_is_answered_by_any_name_and_nothing_else_is(
    tmp_path: Path, host: str
) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")

    async def script(ask: Any, agent: Agent) -> None:
        for path in ("/metrics", "/healthz", "/readyz"):
            assert (await ask("GET", path, Host=host))[0] == 200, path
        for path in ("/status", "/console", "/console/decisions", "/metrics/..", "/missing"):
            assert (await ask("GET", path, Host=host))[0] == 421, path
        for path in ("/reload", "/promote", "/rollback", "/console/block"):
            assert (await ask("POST", path, Host=host, Authorization="Bearer secret"))[0] == 421, path
        assert (agent.reloads, agent.promotions, agent.rollbacks) == (0, 0, [])

    serve(script, token_file=token, is_remote=True)


def test_changing_over_tcp_needs_the_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")

    async def script(ask: Any, agent: Agent) -> None:
        for headers in (
            {},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer "},
            {"Authorization": "Bearer s3cre"},
            {"Authorization": "Bearer s3cret2"},
            {"Authorization": "Basic s3cret"},
            {"Authorization": "Bearer \udcff".encode("utf-8", "surrogateescape").decode("latin-1")},
        ):
            assert (await ask("POST", "/reload", **headers))[0] == 401
        assert agent.reloads == 0
        assert (await ask("POST", "/reload", Authorization="bearer s3cret"))[0] == 200
        token.write_text("rotated")
        assert (await ask("POST", "/reload", Authorization="Bearer s3cret"))[0] == 401
        assert (await ask("POST", "/reload", Authorization="Bearer rotated"))[0] == 200
        for content in ("", "\n"):
            token.write_text(content)
            assert (await ask("POST", "/reload", Authorization="Bearer "))[0] == 401
        token.unlink()
        assert (await ask("POST", "/reload", Authorization="Bearer rotated"))[0] == 401
        assert agent.reloads == 2

    serve(script, token_file=token)


def test_without_a_token_file_nothing_can_be_changed_over_tcp() -> None:
    async def script(ask: Any, _: Agent) -> None:
        assert (await ask("POST", "/reload", Authorization="Bearer x"))[0] == 401

    serve(script)


def test_over_the_unix_socket_the_file_mode_decides(tmp_path: Path) -> None:
    async def script(ask: Any, agent: Agent) -> None:
        assert (await ask("POST", "/reload", Host="anything"))[0] == 200
        assert agent.reloads == 1

    serve(script, Address("", 0, str(tmp_path / "admin.sock")))


@pytest.mark.parametrize(("result", "status"), [("activated", 200), ("rejected", 422), ("failed", 500)])
def test_the_outcome_of_a_reload_is_its_status(tmp_path: Path, result: str, status: int) -> None:
    async def script(ask: Any, agent: Agent) -> None:
        agent.result = result
        code, text = await ask("POST", "/reload")
        assert code == status
        assert json.loads(text)["result"] == result

    serve(script, Address("", 0, str(tmp_path / "admin.sock")))


def test_other_methods_and_paths_are_refused() -> None:
    async def script(ask: Any, _: Agent) -> None:
        assert (await ask("GET", "/reload"))[0] == 405
        assert (await ask("POST", "/status"))[0] == 405
        assert (await ask("GET", "/"))[0] == 404

    serve(script)


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 65536 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_can_t_be_read_is_refused_and_logged_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], request_line: bytes
) -> None:
    async def script(_ask: Any, _agent: Agent) -> None:
        reader, writer = await asyncio.open_unix_connection(tmp_path / "admin.sock")
        with structlog.testing.capture_logs() as logs:
            writer.write(request_line)
            answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        assert b" 400 " in answer
        (line,) = logs
        assert (line["log_level"], line["status"]) == ("warning", 400)
        assert "\n" not in line["detail"]

    serve(script, Address("", 0, str(tmp_path / "admin.sock")))
    assert capfd.readouterr().err == ""


def test_a_request_that_fails_is_logged_with_its_traceback_and_tells_nothing_of_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def script(ask: Any, agent: Agent) -> None:
        assert agent.is_ready
        with structlog.testing.capture_logs() as logs:
            status, text = await ask("GET", "/metrics")
        assert status == 500
        assert "KeyError" not in text
        assert "Traceback" not in text
        (line,) = logs
        assert isinstance(line["exc_info"], KeyError)

    async def fail(_: Agent) -> bytes:
        raise KeyError("a defect")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Agent, "metrics", fail)
        serve(script)
    assert capfd.readouterr().err == ""


def test_an_admin_address_that_was_never_served_can_be_closed() -> None:
    async def run() -> None:
        agent = Agent()
        sources = Sources(agent.metrics, agent.status, lambda: True, agent.reload, agent.promote, agent.roll_back)
        await Admin(sources, "", None).close()

    asyncio.run(run())


def test_a_promotion_needs_the_right_to_change_as_a_reload_does(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")

    async def script(ask: Any, agent: Agent) -> None:
        assert (await ask("POST", "/promote"))[0] == 401
        assert agent.promotions == 0
        status, body = await ask("POST", "/promote", Authorization="Bearer secret")
        assert (status, json.loads(body)["cause"], agent.promotions) == (200, "promote", 1)

    serve(script, token_file=tmp_path / "token")


class TestRollback:
    def test_who_asks_over_the_socket_is_told_by_the_system(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def script(ask: Any, agent: Agent) -> None:
            assert (await ask("POST", "/rollback", b'{"revision": "abcd", "reason": "why"}'))[0] == 200
            monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
            agent.result = "rejected"
            assert (await ask("POST", "/rollback"))[0] == 422
            assert agent.rollbacks == [
                ("abcd", name, "why"),
                ("", f"uid {os.geteuid()}", ""),
            ]

        name = pwd.getpwuid(os.geteuid()).pw_name
        serve(script, Address("", 0, str(tmp_path / "admin.sock")))

    def test_over_tcp_it_needs_the_token(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("s3cret")

        async def script(ask: Any, agent: Agent) -> None:
            assert (await ask("POST", "/rollback"))[0] == 401
            assert (await ask("POST", "/rollback", Authorization="Bearer s3cret"))[0] == 200
            assert agent.rollbacks == [("", "token from 127.0.0.1", "")]

        serve(script, token_file=tmp_path / "token")

    def test_a_page_of_another_site_gets_none(self, tmp_path: Path) -> None:
        async def script(ask: Any, agent: Agent) -> None:
            with structlog.testing.capture_logs() as logs:
                assert (await ask("POST", "/rollback", **{"Sec-Fetch-Site": "cross-site"}))[0] == 403
                assert (agent.rollbacks, logs) == ([], [])
                assert (await ask("POST", "/rollback"))[0] == 200
            assert [(one["event"], one["path"]) for one in logs] == [("a change was asked for", "/rollback")]

        serve(script, Address("", 0, str(tmp_path / "admin.sock")))

    @pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
    def test_what_is_no_order_changes_nothing(self, tmp_path: Path, body: bytes) -> None:
        async def script(ask: Any, agent: Agent) -> None:
            assert (await ask("POST", "/rollback", body))[0] == 400
            assert agent.rollbacks == []

        serve(script, Address("", 0, str(tmp_path / "admin.sock")))


def test_a_browser_that_a_forwarded_socket_is_open_to_is_kept_to_our_names(tmp_path: Path) -> None:
    """Programs may say what they like as `Host` over the socket; a page that has its name resolve to us may not."""

    async def script(ask: Any, agent: Agent) -> None:
        assert (await ask("POST", "/reload", Host="whatever"))[0] == 200
        for told in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "same-origin"}):
            assert (await ask("POST", "/reload", Host="evil.example:9124", **told))[0] == 421
        assert (await ask("POST", "/reload", **{"Sec-Fetch-Site": "cross-site"}))[0] == 403
        assert (await ask("POST", "/reload", **{"Sec-Fetch-Site": "same-origin"}))[0] == 200
        assert agent.reloads == 2

    serve(script, Address("", 0, str(tmp_path / "admin.sock")))
