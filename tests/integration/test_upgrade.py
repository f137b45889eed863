"""HAProxy and the agents are upgraded one at a time under load: no request gets a wrong answer, and none gets none."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import pytest

from tests.client import Client
from tests.haproxy import CONFIGURATION, HAProxy, wait_until
from tests.haproxy_builds import haproxy_binary
from tests.integration.edge import PATIENT, SERVERS, policy_files
from tests.serving import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.client import Response
    from tests.echo import Echo
    from tests.integration.edge import Pki

pytestmark = pytest.mark.integration

POLICY: Final = b"""\
apiVersion: authz/v1
issuers: {corp: {ca: trust/clients-ca.pem, revocation: {none: "a test"}}}
rules:
  - {id: ok, effect: allow, who: {issuer: corp, ou: staff}, request: {path: "/ok/**"}}
routes:
  - {backend: internal_api}
"""
#: What each path must be answered, whatever is being restarted.
EXPECTED: Final = {"/ok/x": 200, "/no/x": 403}
#: What HAProxy answers where the engine failed: denied, with `Retry-After`. It is a request lost.
UNAVAILABLE: Final = 503
CLIENTS: Final = 3
#: Of all clients together: a steady load, that leaves a small machine time for the agents' starts.
REQUESTS_A_SECOND: Final = 250
SECONDS_OF_LOAD: Final = 0.7  # at least, before and after each step
#: Answered at least while an agent is restarted, which takes three seconds or more: the load is on all the time.
ANSWERS_MEANWHILE: Final = 200
MOST_SECONDS: Final = 30
#: How often each agent is restarted.
ROUNDS: Final = int(os.environ.get("UPGRADE_ROUNDS", "2"))
#: Makes HAProxy a master that starts another worker for SIGUSR2.
MASTER: Final = Path(__file__).parent / "faults" / "master.cfg"


class Load:
    """Clients that ask for what is allowed and for what isn't, all the time; `wrong` is every other answer."""

    def __init__(self, client: Callable[[], Client], *, keeps_alive: bool) -> None:
        self.client = client
        self.keeps_alive = keeps_alive
        self.answered = 0
        self.lost = 0
        self.wrong: list[str] = []
        self.began = time.monotonic()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(MOST_SECONDS)
        seconds = time.monotonic() - self.began
        print(f"{self.answered} answers, {self.answered / seconds:.0f} a second, {self.lost} lost")  # noqa: T201  # for whoever reads the failure

    def _run(self) -> None:
        client = self.client()
        while not self._end.is_set():
            try:
                if self.keeps_alive:
                    with client.http1() as connection:
                        while not self._end.is_set():
                            self._ask(connection.request)
                else:
                    self._ask(lambda _, path: client.get(path))
            except (OSError, AssertionError) as error:
                self._note(f"{type(error).__name__}: {error}")

    def _ask(self, ask: Callable[[str, str], Response]) -> None:
        began = time.monotonic()
        for path, status in EXPECTED.items():
            answer = ask("GET", path)
            with self._lock:
                self.answered += answer.status == status
                self.lost += answer.status == UNAVAILABLE
            if answer.status not in {status, UNAVAILABLE}:
                self._note(f"{path}: {answer.status} {answer.body!r}")
        self._end.wait(max(0.0, began + len(EXPECTED) * CLIENTS / REQUESTS_A_SECOND - time.monotonic()))

    def _note(self, what: str) -> None:
        with self._lock:
            self.wrong.append(f"{time.strftime('%H:%M:%S')} {what}")

    def go_on(self) -> None:
        """Wait until as much more was answered as takes a while, so that nothing happens unseen."""
        before, began = self.answered, time.monotonic()
        wait_until(
            lambda: self.answered > before + 50 and time.monotonic() - began > SECONDS_OF_LOAD,
            MOST_SECONDS,
            "more answers",
            lambda: "\n".join(self.wrong),
        )

    def check(self, report: Callable[[], str]) -> None:
        """Demand that until now every request was answered, and as it must be."""
        assert (self.lost, self.wrong) == (0, []), report()[-4000:]


@contextmanager
def agents(pki: Pki, folder: Path) -> Iterator[tuple[Agent, Agent]]:
    """Run two agents on one policy directory, each with a state directory of its own."""
    policies = folder / "policies"
    for name, content in {**policy_files("any-client", pki), "policy.yaml": POLICY}.items():
        (policies / name).parent.mkdir(parents=True, exist_ok=True)
        (policies / name).write_bytes(content)
    with ExitStack() as stack:
        made = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            made.append(stack.enter_context(Agent.running(policies, folder / name, "--deadline", "4000")))
        yield made[0], made[1]


def configuration(folder: Path) -> Path:
    """Write the shipped configuration with a second agent, as operators add one."""
    text = (CONFIGURATION / "haproxy.cfg").read_text()
    line = '    server agent1 "${AUTHZ_AGENT}"\n'
    assert text.count(line) == 1
    path = folder / "haproxy.cfg"
    path.write_text(text.replace(line, line + '    server agent2 "${AUTHZ_AGENT2}"\n'))
    shutil.copy(CONFIGURATION / "spoe-authz.conf", folder)
    return path


def environment(folder: Path, pki: Pki, echoes: Mapping[str, Echo], one: Agent, two: Agent) -> dict[str, str]:
    return {
        "AUTHZ_AGENT": one.address,
        "AUTHZ_AGENT2": two.address,
        "AUTHZ_SERVER_CERT": str(pki.server),
        "AUTHZ_CLIENT_CA": str(pki.ca),
        "AUTHZ_SPOE": str(folder / "spoe-authz.conf"),
        **{f"AUTHZ_SERVER_{name}": echoes[server].address for name, server in SERVERS.items()},
        **PATIENT,
    }


def upgrade(agent: Agent) -> None:
    """Replace an agent as a package does: stop it, and start the new one on what the old one left."""
    agent.stop()
    assert agent.process is not None
    assert agent.process.returncode == 0, agent.log()
    state = agent.folder / "state"
    (state / "version").unlink()  # what was before there were versions
    for path in (state / "bundles").glob("*/version"):
        path.unlink()
    shutil.rmtree(state / "revisions")
    agent.start()
    agent.wait_until_ready()
    assert (state / "version").exists()


def wait_until_up(status: Callable[[str], str], report: Callable[[], str]) -> None:
    """Wait until HAProxy takes both agents for healthy."""
    wait_until(lambda: {status("agent1"), status("agent2")} == {"UP"}, MOST_SECONDS, "both agents are up", report)


def upgrade_in_turn(
    agents: Sequence[Agent], load: Load, status: Callable[[str], str], report: Callable[[], str]
) -> None:
    """Upgrade one agent after the other, each when HAProxy has the one before back, and demand that nothing is lost."""
    for agent in agents:
        before = load.answered
        upgrade(agent)
        wait_until_up(status, report)
        assert load.answered - before >= ANSWERS_MEANWHILE, report()
        load.go_on()
        load.check(report)


@pytest.mark.timeout(180 + 90 * ROUNDS)
def test_agents_are_upgraded_one_at_a_time(binary: Path, pki: Pki, echoes: Mapping[str, Echo], tmp_path: Path) -> None:
    with agents(pki, tmp_path) as pair, ExitStack() as stack:
        proxy = stack.enter_context(
            HAProxy.started(
                binary, [configuration(tmp_path)], tmp_path, environment(tmp_path, pki, echoes, *pair),
                ["HTTP", "HTTPS", "MTLS", "STATS"],
            )
        )  # fmt: skip

        def status(server: str) -> str:
            return proxy.server_status("authz-agents", server)

        wait_until_up(status, proxy.report)
        alice = pki.client("alice", "staff")
        load = stack.enter_context(Load(lambda: Client(proxy.ports["MTLS"], pki.root.pem, alice), keeps_alive=True))
        load.go_on()
        for _ in range(ROUNDS):
            upgrade_in_turn(pair, load, status, proxy.report)
        assert len({agent.revision() for agent in pair}) == 1
    decided = [decision for agent in pair for decision in agent.decisions()]
    assert len(decided) >= load.answered
    assert all("failing health checks" in agent.log() for agent in pair)


class Proxy:
    """A HAProxy that hands its listening sockets over to the next one."""

    BINDS: Final = ("HTTP", "HTTPS", "MTLS", "STATS")

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        with ExitStack() as stack:
            free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in self.BINDS]
            self.ports = {name: one.getsockname()[1] for name, one in zip(self.BINDS, free, strict=True)}
        binds = {f"AUTHZ_BIND_{name}": f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.environment = {**os.environ, "AUTHZ_UNPRIVILEGED": "1", "AUTHZ_LOG": "stdout", **binds, **environment}
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, binary: Path, *files: Path) -> subprocess.Popen[bytes]:
        """Start a version; it takes the sockets of the one before, and tells that to finish."""
        number = len(self.started)
        rig = self.folder / f"rig{number}.cfg"
        rig.write_text(f"global\n    stats socket {self._socket(number)} mode 600 level admin expose-fd listeners\n")
        words = [str(binary), "-db"]
        words += [word for file in (configuration(self.folder), *files, rig) for word in ("-f", str(file))]
        if self.started:
            words += ["-x", str(self._socket(number - 1)), "-sf", str(self.started[-1].pid)]
        with (self.folder / "haproxy.log").open("ab") as log:
            process = subprocess.Popen(
                words,
                env={**self.environment, "AUTHZ_STATS_SOCKET": f"{self.folder}/shipped{number}.sock"},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        wait_until_up(self.status, self.log)
        return process

    def _socket(self, number: int) -> Path:
        return self.folder / f"admin{number}.sock"

    def newest(self) -> HAProxy:
        """Return the HAProxy that was started last, to be asked about itself."""
        assert self.started[-1].poll() is None, self.log()
        link = self.folder / "admin.sock"
        link.unlink(missing_ok=True)
        link.symlink_to(self._socket(len(self.started) - 1))
        return HAProxy(self.started[-1], self.folder, self.ports)

    def status(self, server: str) -> str:
        """Return what the newest HAProxy thinks of an agent; empty while it isn't there."""
        try:
            return self.newest().server_status("authz-agents", server)
        except (OSError, StopIteration):
            return ""

    def reload(self) -> None:
        """Have a master start another worker, and wait until that one has both agents."""
        before = self.newest().worker()
        self.started[-1].send_signal(signal.SIGUSR2)
        wait_until(lambda: self.newest().worker() not in {0, before}, MOST_SECONDS, "another worker", self.log)
        wait_until_up(self.status, self.log)

    def log(self) -> str:
        """Return what all of them have logged."""
        return (self.folder / "haproxy.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.started:
            process.kill()
            process.wait(MOST_SECONDS)


def strangers(proxy: Proxy, pki: Pki) -> Load:
    """Clients that connect for each request: one that is kept open may end, unasked, where a HAProxy hands over."""
    alice = pki.client("alice", "staff")
    return Load(lambda: Client(proxy.ports["MTLS"], pki.root.pem, alice), keeps_alive=False)


@pytest.mark.timeout(300)
def test_haproxy_is_upgraded_from_one_engine_to_the_other(pki: Pki, echoes: Mapping[str, Echo], tmp_path: Path) -> None:
    """The old one hands over its sockets (`-x`) and finishes (`-sf`), as a reload of a service does."""
    with agents(pki, tmp_path) as pair, Proxy(tmp_path, environment(tmp_path, pki, echoes, *pair)) as proxy:
        old = proxy.start(haproxy_binary("2.8"))
        with strangers(proxy, pki) as load:
            load.go_on()
            proxy.start(haproxy_binary("3.2"))
            wait_until(lambda: old.poll() is not None, MOST_SECONDS, "the old HAProxy has ended", proxy.log)
            load.go_on()
            upgrade_in_turn(pair, load, proxy.status, proxy.log)


@pytest.mark.timeout(300)
def test_haproxy_and_the_agents_are_restarted_by_turns(
    binary: Path, pki: Pki, echoes: Mapping[str, Echo], tmp_path: Path
) -> None:
    """A master reloads, then another HAProxy takes over its sockets and lets it finish, each with an agent between."""
    with agents(pki, tmp_path) as (one, two), Proxy(tmp_path, environment(tmp_path, pki, echoes, one, two)) as proxy:
        old = proxy.start(binary, MASTER)
        with strangers(proxy, pki) as load:
            load.go_on()
            proxy.reload()
            load.go_on()
            upgrade(one)
            wait_until_up(proxy.status, proxy.log)
            load.check(proxy.log)
            proxy.start(binary)
            wait_until(lambda: old.poll() is not None, MOST_SECONDS, "the old HAProxy has ended", proxy.log)
            load.go_on()
            upgrade(two)
            wait_until_up(proxy.status, proxy.log)
            load.go_on()
            load.check(proxy.log)
