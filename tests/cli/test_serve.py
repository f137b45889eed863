"""`serve` as its users meet it: a process with signals, exit statuses and a proxy that talks to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from click.testing import CliRunner

from spoa.cli import serve
from spoa.settings import OPTIONS
from tests.agents import OPEN, SHUT, Agent, authorize, running_agent, start, until
from tests.secrecy import Secrecy

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD = "apiVersion: authz/v1\nrulez: []\n"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """One agent with two workers for all tests that leave it as it is; it may take its time on a busy machine."""
    directory = tmp_path_factory.mktemp("agent")
    unix = directory / "spop.sock"
    options = ("--workers", "2", "--deadline", "30000", "--listen", f"unix:{unix}", "--listen", "127.0.0.1:0")
    with running_agent(directory, *options) as made:
        yield made


def exit_status(agent: Agent, seconds: float = 30) -> int:
    return agent.process.wait(seconds)


class TestServing:
    @pytest.mark.parametrize("number", [0, 1], ids=["unix", "tcp"])
    def test_haproxy_is_answered_on_every_address(self, agent: Agent, number: int) -> None:
        with agent.connect(number) as haproxy:
            assert haproxy.ask("/open/x")["verdict"] == "allow"
            assert haproxy.ask("/shut")["verdict"] == "deny"

    def test_two_hundred_connections_with_twenty_in_flight_are_each_answered(self, agent: Agent) -> None:
        connections = [agent.connect(1) for _ in range(20)]
        for round_number in range(10):
            for haproxy in connections:
                paths = ["/open/x" if n % 2 else "/shut" for n in range(20)]
                haproxy.socket.sendall(b"".join(haproxy.notify(authorize(path)) for path in paths))
            for haproxy in connections:
                expected = ["allow" if n % 2 else "deny" for n in range(20)]
                answers = [haproxy.answer() for _ in range(20)]
                assert [answer["verdict"] for answer in answers] == expected, (round_number, answers)
        for haproxy in connections:
            haproxy.socket.close()

    def test_connections_that_say_nothing_do_not_keep_others_from_being_served(self, agent: Agent) -> None:
        silent = [agent.connect(1, greet=False) for _ in range(300)]
        with agent.connect(1) as haproxy:
            assert haproxy.ask()["verdict"] == "allow"
        for each in silent:
            each.socket.close()

    def test_the_counts_of_all_workers_add_up(self, agent: Agent) -> None:
        before = agent.metric('frames_total{type="notify"}')
        for _ in range(20):
            with agent.connect(1) as haproxy:
                haproxy.ask()
        assert agent.metric('frames_total{type="notify"}') - before == 20

    def test_the_unix_socket_is_for_owner_and_group(self, agent: Agent) -> None:
        path = Path(agent.address(0).path)
        assert path.stat().st_mode & 0o777 == 0o660


class TestEnd:
    def test_what_is_in_flight_is_answered_and_everything_removed(self, tmp_path: Path) -> None:
        unix = tmp_path / "spop.sock"
        with running_agent(tmp_path, "--listen", f"unix:{unix}", "--workers", "2") as agent:
            busy = [agent.connect() for _ in range(5)]
            for haproxy in busy:
                haproxy.socket.sendall(b"".join(haproxy.notify(authorize()) for _ in range(20)))
            began = time.monotonic()
            agent.process.send_signal(signal.SIGTERM)
            for haproxy in busy:
                assert [haproxy.answer()["verdict"] for _ in range(20)] == ["allow"] * 20
                assert haproxy.disconnected() == 0
                haproxy.socket.close()
            assert exit_status(agent) == 0
            assert time.monotonic() - began < 10
            assert not unix.exists()
            assert not (agent.state / "spoa-authz.pid").exists()

    def test_new_connections_are_refused_while_it_drains(self, tmp_path: Path) -> None:
        with running_agent(tmp_path) as agent:
            address = agent.address()
            with agent.connect() as busy:
                agent.process.send_signal(signal.SIGTERM)
                while not _is_refused(address.port):
                    assert busy.ask()["verdict"] == "allow"
                assert busy.ask()["verdict"] == "allow"
                assert busy.disconnected() == 0
            assert exit_status(agent) == 0

    def test_a_second_run_takes_over_at_once(self, tmp_path: Path) -> None:
        with running_agent(tmp_path) as agent:
            port = agent.address().port
            assert agent.stop() == 0
        with running_agent(tmp_path, "--listen", f"127.0.0.1:{port}") as agent, agent.connect() as haproxy:
            assert haproxy.ask()["verdict"] == "allow"

    def test_workers_follow_a_supervisor_that_is_killed_and_the_next_one_can_start(self, tmp_path: Path) -> None:
        with running_agent(tmp_path, "--workers", "2") as agent:
            port = agent.address().port
            pids = [worker["pid"] for worker in agent.status()["workers"]]
            agent.process.kill()
            agent.process.wait()
            began = time.monotonic()
            successor = start(tmp_path, "--listen", f"127.0.0.1:{port}")
            until(lambda: not any(_is_alive(pid) for pid in pids))
            assert time.monotonic() - began < 2.5
            until(lambda: "ready" in successor.log.read_text())
            assert successor.stop() == 0

    def test_a_dead_worker_is_replaced_and_readiness_comes_back(self, tmp_path: Path) -> None:
        with running_agent(tmp_path, "--workers", "2") as agent:
            victim = agent.status()["workers"][0]["pid"]
            os.kill(victim, signal.SIGKILL)
            until(lambda: agent.metric("worker_restarts_total") == 1)
            until(lambda: agent.get("/readyz")[0] == 200)
            assert victim not in {worker["pid"] for worker in agent.status()["workers"]}


def _is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it came while the socket was being closed; the next one is refused
        return False
    return False


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class TestReload:
    def test_requests_go_on_while_policies_change(self, tmp_path: Path) -> None:
        with running_agent(tmp_path, "--workers", "2") as agent, agent.connect() as haproxy:
            for text, verdict in ((SHUT, "deny"), (OPEN, "allow"), (SHUT, "deny")):
                agent.write_policy(text)
                until(lambda verdict=verdict: haproxy.ask()["verdict"] == verdict)  # type: ignore[misc] # its default is bound
            until(lambda: agent.metric('reload_total{result="activated"}') == 4)
            assert agent.metric("internal_errors_total") == 0

    def test_one_revision_is_used_by_all_workers(self, tmp_path: Path) -> None:
        with running_agent(tmp_path, "--workers", "2") as agent:
            connections = [agent.connect() for _ in range(6)]
            agent.write_policy(SHUT)
            until(lambda: agent.status()["last_reload"]["cause"] == "change")
            assert {haproxy.ask()["revision"] for haproxy in connections} == {agent.status()["revision"]}
            for haproxy in connections:
                haproxy.socket.close()


class TestDecisionLog:
    def test_the_standard_output_can_be_the_log(self, tmp_path: Path) -> None:
        with running_agent(tmp_path, "--decision-log", "-", "--log-allows", "never") as agent:
            with agent.connect() as haproxy:
                haproxy.ask("/open/x")
                haproxy.ask("/shut?secret")
            assert agent.stop() == 0
            assert agent.process.stdout is not None
            (line,) = [json.loads(text) for text in agent.process.stdout.read().splitlines()]
            assert (line["verdict"], line["path"]) == ("deny", "/shut?secret")


class TestFailure:
    def test_a_bad_policy_is_status_3_with_every_position_on_the_standard_error(self, tmp_path: Path) -> None:
        agent = start(tmp_path, policy=BAD)
        assert exit_status(agent) == 3
        assert "policy.yaml:2:1" in agent.log.read_text()

    def test_a_wrong_option_is_status_2_with_all_of_them_named(self, tmp_path: Path) -> None:
        agent = start(tmp_path, "--workers", "none", SPOA_AUTHZ_DEADLINE="soon")
        assert exit_status(agent) == 2
        text = agent.log.read_text()
        assert "--workers" in text
        assert "SPOA_AUTHZ_DEADLINE" in text

    def test_an_address_in_use_is_status_2(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            agent = start(tmp_path, "--listen", f"127.0.0.1:{other.getsockname()[1]}")
            assert exit_status(agent) == 2
        assert "can't be used" in agent.log.read_text()

    def test_a_state_directory_that_takes_nothing_more_is_status_1(self, tmp_path: Path) -> None:
        (tmp_path / "state" / "admin").mkdir(parents=True)
        agent = start(tmp_path)
        assert exit_status(agent) == 1
        assert "admin: can't be written" in agent.log.read_text()
        assert "Traceback" not in agent.log.read_text()

    def test_a_state_directory_in_use_is_status_1(self, tmp_path: Path) -> None:
        with running_agent(tmp_path):
            assert exit_status(start(tmp_path)) == 1


class TestCommand:
    """The same without a process of its own, where nothing is served."""

    @pytest.fixture(autouse=True)
    def _restored(self) -> Iterator[None]:
        yield
        structlog.reset_defaults()

    def invoke(self, *arguments: str, **environment: str) -> Any:
        return CliRunner().invoke(serve.command, arguments, env=environment)

    def test_every_option_has_its_help(self) -> None:
        text = self.invoke("--help").output
        assert all(f"--{option.name}" in text for option in OPTIONS)
        assert "spoa-authz serve --policies" in text

    def test_wrong_settings_are_named(self, tmp_path: Path) -> None:
        result = self.invoke("--last-good", "--listen", "x", "--listen", "y", "--deadline", "0")
        assert result.exit_code == 2
        assert "--listen" in result.stderr
        assert "--deadline" in result.stderr

    def test_what_keeps_it_from_starting_is_told(self, tmp_path: Path) -> None:
        state = tmp_path / "state"
        options = ["--state-dir", str(state), "--policies", str(tmp_path / "missing"), "--admin", "none"]
        assert self.invoke(*options, "--listen", "203.0.113.1:0").exit_code == 2
        assert self.invoke(*options, "--listen", "127.0.0.1:0").exit_code == 3
        (state / "newest-time").write_text("gibberish")
        result = self.invoke(*options, "--listen", "127.0.0.1:0")
        assert result.exit_code == 1
        assert "holds no time" in result.stderr


@pytest.mark.parametrize("content", [None, b"", b"\n"])
def test_a_token_file_that_holds_no_token_is_a_usage_error(tmp_path: Path, content: bytes | None) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    result = CliRunner().invoke(
        serve.command, ["--policies", "policies", "--state-dir", str(tmp_path / "s"), "--admin-token-file", str(token)]
    )
    assert result.exit_code == 2
    assert "--admin-token-file" in result.stderr


def test_the_key_of_tls_is_in_no_command_line_environment_file_or_log(tmp_path: Path) -> None:
    secrecy = Secrecy.made(tmp_path / "tls")
    pem = (secrecy.folder / "agent.pem").read_text()
    secret = pem[pem.index("-----BEGIN PRIVATE KEY") :].splitlines()[1][:40]
    with running_agent(tmp_path, "--workers", "2", *secrecy.options) as agent:
        status = json.dumps(agent.status()) + agent.get("/metrics")[1]
        pid = agent.process.pid
        found = []
        for child in [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]:
            with contextlib.suppress(
                FileNotFoundError
            ):  # a child may have ended: the one that builds does after a while
                found += [Path(f"/proc/{child}/{name}").read_bytes() for name in ("cmdline", "environ")]
    files = [path.read_bytes() for path in agent.state.rglob("*") if path.is_file()]
    assert len(found) >= 6
    assert len(files) > 3
    assert not [one for one in [*found, *files, status.encode(), agent.log.read_bytes()] if secret.encode() in one]
