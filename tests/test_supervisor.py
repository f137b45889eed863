"""The agent from start to end, in this process: what fails at the start, what happens while it runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import structlog.testing

import spoa.departure
import spoa.supervisor
from spoa._version import BUILD_TIME
from spoa.addresses import read_address
from spoa.exceptions import SettingsError, StateError
from spoa.sdprotocol import WATCHDOG, Activation
from spoa.settings import read_settings
from spoa.state import StateDirectory
from spoa.supervisor import Supervisor
from tests.agents import OPEN, PATIENCE, SHUT, Haproxy, is_healthy, until
from tests.secrecy import Secrecy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BAD = "apiVersion: authz/v1\nrulez: []\n"


class Running:
    """A supervisor that runs, and the thread that tries it."""

    def __init__(self, supervisor: Supervisor, policies: Path) -> None:
        self.supervisor = supervisor
        self.policies = policies

    def get(self, path: str) -> str:
        admin = (self.supervisor._state.path / "admin").read_text().strip()
        with urllib.request.urlopen(f"http://{admin}{path}", timeout=10) as response:
            return str(response.read().decode())

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        admin = (self.supervisor._state.path / "admin").read_text().strip()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{admin}{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return dict(json.loads(response.read()))

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.get("/status")))

    def is_ready(self) -> bool:
        with suppress(OSError):
            return self.get("/readyz") == "ready\n"
        return False

    def verdict(self) -> str:
        with Haproxy(read_address(self.status()["listen"][0])) as haproxy:
            return str(haproxy.ask()["verdict"])

    def write(self, text: str) -> None:
        (self.policies / "policy.yaml").write_text(text)


class Rig:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.policies = directory / "policies"
        self.policies.mkdir()
        (self.policies / "policy.yaml").write_text(OPEN)
        self.shown: list[str] = []
        self.logs: list[Any] = []

    def run(
        self,
        script: Callable[[Running], None] | None = None,
        activation: Activation | None = None,
        **flags: str,
    ) -> int:
        """Run a supervisor; a script tries it from a thread, and at its end the supervisor is told to stop."""
        given = {name.replace("_", "-"): value for name, value in flags.items()}
        state = str(self.directory / "state")
        defaults = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "state-dir": state, "policies": str(self.policies)}
        settings = read_settings({"log-level": "error", **defaults, **given}, {})

        async def serve() -> int:
            supervisor = Supervisor(settings, self.shown.append, activation)
            trial: asyncio.Task[None] | None = None
            if script is not None:
                trial = asyncio.create_task(asyncio.to_thread(self.trial, script, Running(supervisor, self.policies)))
            status = await supervisor.run()
            if trial is not None:
                await trial
            return status

        with structlog.testing.capture_logs() as self.logs:
            return asyncio.run(serve())

    def trial(self, script: Callable[[Running], None], running: Running) -> None:
        try:
            until(running.is_ready, 60)
            script(running)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


class TestPeers:
    def test_an_agent_that_is_shut_to_itself_still_asks_itself_whether_it_is_well(self, rig: Rig) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(rig.directory / "notify"))
            manager.settimeout(PATIENCE)

            def script(running: Running) -> None:
                while manager.recv(4096) != WATCHDOG:
                    pass
                tcp, unix = running.status()["listen"]
                assert unix == f"unix:{rig.directory}/spop.sock"
                with Haproxy(read_address(tcp), greet=False) as stranger:
                    assert stranger.is_closed()
                own = rig.directory / "state" / "self.sock"
                assert own.stat().st_mode & 0o777 == 0o600

            addresses = f"127.0.0.1:0 unix:{rig.directory}/spop.sock"
            activation = Activation(str(rig.directory / "notify"), watchdog=8.0)
            assert rig.run(script, activation, allow_from="192.0.2.1", listen=addresses) == 0
        assert not (rig.directory / "state" / "self.sock").exists()

    def test_a_socket_that_is_open_to_others_alone_does_not_make_it_look_unwell(self, rig: Rig) -> None:
        """Root may open every file: what it can't reach here is a socket whose file isn't there for it."""
        spop = rig.directory / "spop.sock"
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as passed,
        ):
            manager.bind(str(rig.directory / "notify"))
            manager.settimeout(PATIENCE)
            passed.bind(str(spop))
            passed.listen()
            spop.rename(rig.directory / "elsewhere.sock")

            def script(running: Running) -> None:
                while manager.recv(4096) != WATCHDOG:
                    pass
                assert running.status()["listen"] == [f"unix:{spop}"]
                with Haproxy(read_address(f"unix:{rig.directory}/elsewhere.sock")) as haproxy:
                    assert haproxy.ask()["verdict"] == "allow"

            sockets = {"spop": (os.dup(passed.fileno()),)}
            activation = Activation(str(rig.directory / "notify"), watchdog=8.0, sockets=sockets)
            assert rig.run(script, activation, listen="systemd:spop") == 0
        assert not any(line["event"] == "the agent does not answer itself" for line in rig.logs)

    def test_where_it_can_not_ask_itself_nothing_is_left_bound(self, rig: Rig) -> None:
        state, spop = rig.directory / "state", rig.directory / "spop.sock"
        state.mkdir(mode=0o700)
        (state / "self.sock").write_text("in the way")
        activation = Activation(str(rig.directory / "notify"), watchdog=8.0)
        with pytest.raises(SettingsError, match="is there and is no socket"):
            rig.run(None, activation, allow_from="192.0.2.1", listen=f"127.0.0.1:0 unix:{spop}")
        assert not spop.exists()

    def test_a_certificate_that_can_not_be_renewed_fails_the_reload_and_is_told(self, rig: Rig) -> None:
        secrecy = Secrecy.made(rig.directory / "tls")

        def script(running: Running) -> None:
            in_force = "spoa_authz_tls_credentials_in_force {}"
            assert in_force.format("1.0") in running.get("/metrics")
            secrecy.write("agent.pem", b"")
            os.kill(os.getpid(), signal.SIGHUP)
            until(lambda: in_force.format("0.0") in running.get("/metrics"))
            secrecy.renew()
            os.kill(os.getpid(), signal.SIGHUP)
            until(lambda: in_force.format("1.0") in running.get("/metrics"))

        assert rig.run(script, tls_cert=secrecy.options[1], tls_client_ca=secrecy.options[3]) == 0
        assert any(line["event"] == "TLS is renewed" for line in rig.logs)
        assert any("--tls-cert" in str(line) and line["log_level"] == "error" for line in rig.logs)


class TestStart:
    def test_a_good_policy_is_served_and_everything_is_tidied_up_at_the_end(self, rig: Rig) -> None:
        def script(running: Running) -> None:
            assert running.verdict() == "allow"
            status = running.status()
            assert status["ready"]
            assert status["last_reload"]["result"] == "activated"
            assert status["revision"] == status["last_reload"]["revision"]
            assert len(status["workers"]) == 2
            assert status["decision_log"] is None

        assert rig.run(script, workers="2") == 0
        assert rig.shown == []
        left = sorted(path.name for path in (rig.directory / "state").iterdir())
        lasting = ["active", "bundles", "changes.jsonl", "downloads", "evidence", "history.jsonl", "ocsp.sqlite"]
        assert left == [*lasting, "revisions", "version"]

    def test_a_bad_policy_is_shown_with_all_its_problems_and_is_status_3(self, rig: Rig) -> None:
        (rig.policies / "policy.yaml").write_text(BAD)
        assert rig.run() == 3
        assert any(line.startswith("policy.yaml:2:1") for line in rig.shown)

    def test_a_missing_directory_is_status_3_too(self, rig: Rig) -> None:
        assert rig.run(policies=str(rig.directory / "missing")) == 3
        assert rig.shown

    def test_the_last_good_policy_is_used_only_when_it_is_wanted(self, rig: Rig) -> None:
        assert rig.run(lambda _: None) == 0
        (rig.policies / "policy.yaml").write_text(BAD)
        assert rig.run() == 3

        def script(running: Running) -> None:
            assert running.verdict() == "allow"
            status = running.status()
            assert status["last_reload"]["result"] == "rejected"
            assert status["last_reload"]["problems"]
            running.write(SHUT)
            until(lambda: running.verdict() == "deny")

        assert rig.run(script, last_good="true") == 0

    def test_without_a_last_good_policy_there_is_none_to_use(self, rig: Rig) -> None:
        (rig.policies / "policy.yaml").write_text(BAD)
        assert rig.run(last_good="true") == 3

    def test_a_last_good_policy_that_is_broken_does_not_start(self, rig: Rig) -> None:
        assert rig.run(lambda _: None) == 0
        (rig.policies / "policy.yaml").write_text(BAD)
        (rig.directory / "state" / "active" / "policy").write_bytes(b"gibberish")
        assert rig.run(last_good="true") == 1
        assert "can't be read" in rig.shown[-1]

    def test_a_builder_that_fails_is_status_1(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("spoa.reload._BUILDER", ("-c", "pass"))
        assert rig.run() == 1

    def test_an_address_in_use_is_an_error_and_frees_what_was_taken(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("spoa.listeners._PATIENCE", 0.1)
        path = rig.directory / "spop.sock"
        with pytest.raises(SettingsError, match="can't be used"):
            rig.run(listen=f"unix:{path}", admin="203.0.113.1:0", admin_remote="true")
        assert not path.exists()
        assert rig.run(lambda _: None) == 0

    def test_a_state_directory_that_is_used_already_is_an_error(self, rig: Rig) -> None:
        state = StateDirectory(rig.directory / "state")
        state.lock()
        with pytest.raises(StateError, match="runs on it"):
            rig.run()
        state.unlock()

    def test_a_decision_log_that_can_not_be_written_is_an_error(self, rig: Rig) -> None:
        with pytest.raises(SettingsError, match="decision-log"):
            rig.run(decision_log=str(rig.directory / "missing" / "log"))

    def test_before_it_stops_it_serves_on_and_fails_health_checks(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spoa.departure, "_ECHO", -1.0)

        def script(running: Running) -> None:
            address = read_address(running.status()["listen"][0])
            assert is_healthy(address)
            assert running.status()["leaves_at"] is None
            os.kill(os.getpid(), signal.SIGTERM)
            until(lambda: running.status()["leaves_at"] is not None)
            assert running.status()["leaves_at"] > time.time()
            assert not is_healthy(address)
            assert not running.is_ready()
            assert running.verdict() == "allow"

        assert rig.run(script, stop_notice="60") == 0  # a second signal, at the end of the script, ends the notice

    def test_a_signal_to_stop_ends_a_start_that_takes_long(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("spoa.reload._BUILDER", ("-c", "import time; time.sleep(60)"))
        timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGTERM))
        timer.start()
        began = time.monotonic()
        assert rig.run() == 0
        assert time.monotonic() - began < 5


class TestChange:
    def test_an_edit_takes_effect_and_a_bad_one_does_not(self, rig: Rig) -> None:
        def script(running: Running) -> None:
            running.write(SHUT)
            until(lambda: running.verdict() == "deny")
            running.write(BAD)
            until(lambda: running.status()["last_reload"]["result"] == "rejected")
            assert running.verdict() == "deny"
            assert 'reload_total{result="rejected"} 1.0' in running.get("/metrics")
            running.write(OPEN)
            until(lambda: running.verdict() == "allow")

        assert rig.run(script) == 0

    def test_a_signal_and_a_request_reload_too(self, rig: Rig) -> None:
        socket_path = rig.directory / "admin.sock"

        def script(_: Running) -> None:
            raise AssertionError("not over TCP")

        def asked(running: Running) -> None:
            os.kill(os.getpid(), signal.SIGHUP)
            until(lambda: running.supervisor._reloader.last.cause == "signal")  # type: ignore[union-attr] # it started
            until(lambda: not running.supervisor._reloader._lock.locked())
            outcome = asyncio.run_coroutine_threadsafe(running.supervisor._reload("request"), loops[0]).result(10)
            assert outcome.result == "unchanged"

        loops: list[asyncio.AbstractEventLoop] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Running, "is_ready", lambda running: _seen(running, loops))
            assert rig.run(asked, admin=f"unix:{socket_path}") == 0
        assert not socket_path.exists()

    def test_a_reload_that_fails_for_another_reason_is_tried_again(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spoa.supervisor, "_RETRY_DELAY", 0.01)
        monkeypatch.setattr(spoa.supervisor, "_MAX_RETRY_DELAY", 0.01)

        def script(running: Running) -> None:
            builder = running.supervisor._reloader.builder
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(builder, "_arguments", ("-c", "pass"))
                assert builder.pid is not None
                os.kill(builder.pid, signal.SIGKILL)
                running.write(SHUT)
                until(lambda: running.supervisor._reloader.samples().get(("reload_total", ("failed",)), 0) > 5)
            until(lambda: running.verdict() == "deny")

        assert rig.run(script) == 0

    def test_files_elsewhere_that_the_policy_reads_are_watched(self, rig: Rig) -> None:
        outside = rig.directory / "list.txt"
        outside.write_text("")
        (rig.policies / "policy.yaml").write_text(OPEN + "lists:\n  scanners: {file: ../list.txt}\n")

        def script(running: Running) -> None:
            before = running.status()["revision"]
            outside.write_text("ab" * 32 + "\n")
            until(lambda: running.status()["revision"] != before)
            assert 'list_entries{list="scanners"} 1.0' in running.get("/metrics")

        status = rig.run(script)
        assert status == 0, rig.shown

    def test_the_decision_log_is_opened_anew_by_a_signal(self, rig: Rig) -> None:
        log = rig.directory / "decisions.log"

        def script(running: Running) -> None:
            assert running.verdict() == "allow"
            until(log.read_text)
            log.unlink()
            os.kill(os.getpid(), signal.SIGUSR1)
            until(log.exists)
            assert running.status()["decision_log"] == str(log)

        assert rig.run(script, decision_log=str(log)) == 0


def _seen(running: Running, loops: list[asyncio.AbstractEventLoop]) -> bool:
    crew = running.supervisor._crew
    if crew.is_complete and crew._rounds is not None and running.supervisor._reloader.builder.pid is not None:
        loops.append(crew._rounds.get_loop())
        return True
    return False


class TestClock:
    def test_the_time_is_kept_while_the_clock_runs_evenly(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spoa.supervisor, "_CLOCK_INTERVAL", 0.05)
        kept = rig.directory / "state" / "newest-time"

        def script(_: Running) -> None:
            until(kept.exists)

        assert rig.run(script) == 0
        assert abs(int(kept.read_text()) - time.time()) < 60

    def test_a_clock_that_stands_before_the_kept_time_is_not_usable(self, rig: Rig) -> None:
        StateDirectory(rig.directory / "state").keep_time(time.time() + 100_000)

        def script(running: Running) -> None:
            assert not running.status()["clock_usable"]
            assert "clock_usable 0.0" in running.get("/metrics")

        assert rig.run(script) == 0

    def test_a_clock_that_jumps_is_not_believed(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spoa.supervisor, "_CLOCK_INTERVAL", 0.05)
        monkeypatch.setattr(spoa.supervisor, "_MAX_JUMP", -1.0)

        def script(_: Running) -> None:
            time.sleep(0.3)

        assert rig.run(script) == 0
        assert not (rig.directory / "state" / "newest-time").exists()

    def test_a_time_that_can_not_be_kept_is_logged_and_nothing_worse(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spoa.supervisor, "_CLOCK_INTERVAL", 0.05)

        def script(running: Running) -> None:
            place = running.supervisor._state.path / "newest-time"
            until(lambda: _is_taken(place))
            until(lambda: any(line["event"] == "the time can't be kept" for line in rig.logs))
            assert running.verdict() == "allow"

        assert rig.run(script) == 0
        assert StateDirectory(rig.directory / "other").clock_floor() == BUILD_TIME


def _is_taken(place: Path) -> bool:
    """Put a directory where the time is kept; false when the time was kept once more in between."""
    try:
        place.unlink(missing_ok=True)
        place.mkdir()
    except (FileExistsError, IsADirectoryError):
        return place.is_dir()
    return True


def test_without_an_admin_address_nothing_listens_there(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    monkeypatch.setattr(Running, "is_ready", lambda running: _seen(running, loops))
    assert rig.run(lambda _: None, admin="none") == 0
    assert not (rig.directory / "state" / "admin").exists()


class TestConsole:
    def test_it_explains_by_what_is_in_force_and_tells_of_changes(self, rig: Rig) -> None:
        def script(running: Running) -> None:
            assert "<title>spoa-authz console</title>" in running.get("/console")
            assert running.ask("/console/explain", {"request": "GET /open/x"})["verdict"] == "allow"
            running.write(SHUT)
            until(lambda: running.verdict() == "deny")
            assert running.ask("/console/explain", {"request": "GET /open/x"})["reason"] == "no_rule_allows"
            (newest, oldest) = json.loads(running.get("/console/history"))["entries"]
            assert (newest["cause"], newest["revision"]) == ("change", running.status()["revision"])
            assert [file["file"] for file in newest["files"]] == [str(rig.policies / "policy.yaml")]
            assert oldest["cause"] == "start"
            blocks = "apiVersion: authz/v1\nkind: blocks\nentries: [{issuer: corp, serial: 7}]\n"
            (rig.directory / "state" / "blocks.yaml").write_text(blocks)
            until(lambda: json.loads(running.get("/console/history"))["entries"][0]["what"] == "in force")
            newest = json.loads(running.get("/console/history"))["entries"][0]
            assert (newest["file"], newest["came"], newest["went"]) == ("blocks.yaml", ["corp/7"], [])

        assert rig.run(script, console="true", decision_log=str(rig.directory / "log")) == 0

    def test_it_is_not_there_unless_asked_for(self, rig: Rig) -> None:
        def script(running: Running) -> None:
            with pytest.raises(urllib.error.HTTPError, match="404") as caught:
                running.get("/console")
            caught.value.close()

        assert rig.run(script) == 0


def test_an_address_that_is_meant_for_other_machines_answers_monitoring_by_any_name(rig: Rig) -> None:
    """Written so, 127.0.0.1 isn't taken for loopback, and still nobody else reaches this test."""

    def script(running: Running) -> None:
        admin = (running.supervisor._state.path / "admin").read_text().strip()
        told = {}
        for path in ("/metrics", "/status"):
            request = urllib.request.Request(f"http://{admin}{path}", headers={"Host": "edge1.example:9124"})
            try:
                with urllib.request.urlopen(request, timeout=10) as response:
                    told[path] = response.status
            except urllib.error.HTTPError as error:
                told[path] = error.code
        assert told == {"/metrics": 200, "/status": 421}

    assert rig.run(script, admin="127.1:0", admin_remote="true") == 0
