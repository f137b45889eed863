"""Alerts fired by causing them: real agents, a real Prometheus that scrapes them, and the rules as they are shipped.

Those that look back over an hour are fired by a second Prometheus, whose rules look back over minutes where the shipped
ones do over hours, and over seconds where those do over minutes. What takes a defect of the agent has one put in.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
import yaml

from spoa.monitoring import ALERTS, write_rules
from spoa.monitoring.panels import ROWS
from tests.agents import OPEN, PATIENCE, ROOT, authorize, running_agent, until
from tests.echo import Echo
from tests.haproxy_builds import haproxy_binary
from tests.httpservers import hang
from tests.integration.edge import SERVERS, Pki, start_edge
from tests.pki import CA, DAY
from tests.prometheus import prometheus
from tests.responders import Responder, asking_agent, judged
from tests.secrecy import Secrecy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.agents import Agent

pytestmark = [pytest.mark.monitoring, pytest.mark.timeout(300)]

#: How much shorter the second Prometheus looks back.
SHORTER: Final = {"h": "m", "m": "s"}
#: A defect of the agent, for whatever Python starts with this on its path.
DEFECT: Final = """\
import spoa.answering
read_request = spoa.answering.read_request
def failing(arguments, *others):
    request = read_request(arguments, *others)
    if request.path == "/defect":
        raise RuntimeError("a defect")
    return request
spoa.answering.read_request = failing
"""


@dataclass
class Watched:
    """A Prometheus and the agents that it scrapes."""

    url: str
    agents: dict[str, Agent]
    instances: dict[str, str]
    targets: Path

    def ask(self, query: str) -> list[dict[str, object]]:
        """Return what a query yields now."""
        address = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            return list(json.load(answer)["data"]["result"])

    def is_firing(self, alert: str) -> bool:
        """Tell whether an alert about whatever is firing now."""
        return bool(self.ask(f'ALERTS{{alertname="{alert}",alertstate="firing"}}'))

    def has_fired(self, alert: str, agent: str) -> bool:
        """Tell whether an alert about an agent, or about none that there is, has fired at any time."""
        series = f'ALERTS{{alertname="{alert}",alertstate="firing",instance="{self.instances.get(agent, "")}"}}'
        return bool(self.ask(f"count_over_time({series}[1h])"))

    def discover(self, *agents: str) -> None:
        """Have Prometheus find these agents and no others."""
        found = [{"targets": [self.instances[name] for name in agents]}]
        new = self.targets.with_suffix(".new")
        new.write_text(json.dumps(found))
        new.rename(self.targets)

    def scrapes(self) -> int:
        """Return how often the agent was scraped that was scraped least."""
        counts = self.ask("min(count_over_time(up[1h]))")
        return int(str(counts[0]["value"][1])) if counts else 0  # type: ignore[index] # a pair of time and value


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def scraping(folder: Path, agents: dict[str, Agent], proxy: str = "", rules: str = "") -> Iterator[Watched]:
    """Run Prometheus with the shipped rules, impatient, or with others; wait until it has seen every agent twice."""
    (folder / "rules.yaml").write_text(rules or write_rules(is_impatient=True))
    instances = {**{name: agent.admin for name, agent in agents.items()}, "haproxy": proxy}
    targets = folder / "targets.json"
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": "spoa-authz", "file_sd_configs": [{"files": [str(targets)]}]},
            {"job_name": "haproxy", "static_configs": [{"targets": [proxy] if proxy else []}]},
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    options = {
        "config.file": folder / "prometheus.yml",
        "storage.tsdb.path": folder / "data",
        "web.listen-address": f"127.0.0.1:{port}",
        "query.lookback-delta": "5s",
    }
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [prometheus(), *(f"--{name}={value}" for name, value in options.items())], stdout=log, stderr=log
        )
    watched = Watched(f"http://127.0.0.1:{port}", agents, instances, targets)
    watched.discover(*agents)
    try:
        with contextlib.suppress(OSError):
            until(lambda: "Server is ready" in (folder / "prometheus.log").read_text(), 60)
        until(lambda: watched.scrapes() >= 2, 60)
        yield watched
    finally:
        process.terminate()
        process.wait(PATIENCE)


GLASS: Final = (
    OPEN
    + """\
  - {id: incident, effect: allow, who: anonymous, request: {path: "/shut/**"}, active_during: incident}
break_glass: {incident: {max_duration: 1h, ticket: "INC-[0-9]+"}}
"""
)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Run agents, each of which something will happen to, or has."""
    corp, partner, retiring = CA("corp"), CA("partner"), CA("retiring", not_after=int(time.time()) + 10 * DAY)
    with contextlib.ExitStack() as stack:

        def folder(name: str) -> Path:
            return tmp_path_factory.mktemp(name)

        def plain(name: str, *options: str, policy: str = OPEN) -> Agent:
            return stack.enter_context(running_agent(folder(name), *options, policy=policy))

        responder = stack.enter_context(Responder.running(hang))
        ocsp = f'ocsp: {{responder: "{responder.url}", timeout: 300ms, on_unknown: deny, on_failure: allow}}'
        asking = stack.enter_context(asking_agent(folder("asking"), {"partner": (partner, ocsp)}, "--deadline", "2000"))
        backward = folder("backward")
        (backward / "state").mkdir()
        (backward / "state" / "newest-time").write_text(f"{int(time.time()) + DAY}\n")
        secrecy = Secrecy.made(folder("tls"))
        secrecy.renew(not_before=secrecy.ca.now - 60 * DAY, not_after=secrecy.ca.now + DAY)
        token = folder("token") / "token"
        token.write_text("s3cret\n")
        agents = {
            "gone": plain("gone"),
            "workers": plain("workers", "--workers", "2"),
            "hasty": plain("hasty", "--deadline", "1", "--admin-token-file", str(token)),
            "full": plain("full", "--decision-log", "/dev/full"),
            "glass": plain("glass", policy=GLASS),
            "secret": plain("secret", *secrecy.options),
            "backward": stack.enter_context(running_agent(backward)),
            "asking": asking,
            "dated": stack.enter_context(dated_agent(folder("dated"), corp, retiring)),
            "defective": stack.enter_context(defective_agent(folder("defective"))),
        }  # fmt: skip
        proxy = stack.enter_context(haproxy_before(agents["gone"], folder("edge")))
        watched = stack.enter_context(scraping(folder("prometheus"), agents, proxy))
        cause(watched, {"partner": partner, "corp": corp, "retiring": retiring}, token)
        secrecy.write("agent.pem", b"half of a certificate")
        agents["secret"].process.send_signal(signal.SIGHUP)
        yield watched


@contextlib.contextmanager
def dated_agent(folder: Path, corp: CA, retiring: CA) -> Iterator[Agent]:
    """Run an agent whose list, CA and evidence are about to expire, with a revocation list that nobody signed."""
    policies = folder / "policies"
    (policies / "crl").mkdir(parents=True)
    (policies / "lists").mkdir()
    for name, ca in (("corp", corp), ("retiring", retiring)):
        (policies / f"{name}.pem").write_bytes(ca.pem)
    (policies / "crl" / "corp.crl").write_bytes(corp.crl(this_update=corp.now - DAY, next_update=corp.now + 1800))
    (policies / "crl" / "forged.crl").write_bytes(CA("corp").crl())
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + DAY))
    (policies / "lists" / "scanners.yaml").write_text(
        f'apiVersion: authz/v1\nkind: list\nentries:\n  - {{sha256: "{"ab" * 32}", owner: dock, expires: {soon}}}\n'
    )
    policy = """\
apiVersion: authz/v1
issuers:
  corp: {ca: corp.pem, revocation: {crl: {files: [crl/corp.crl, crl/forged.crl]}}}
  retiring: {ca: retiring.pem, revocation: {none: "retires soon"}}
lists: {scanners: {file: lists/scanners.yaml}}
identities: {scanners: {issuer: corp, in_list: scanners}}
rules:
  - {id: all, effect: allow, who: any_certificate, request: {path: "/**"}}
  - {id: scan, effect: allow, who: scanners, request: {path: "/scan"}}
"""
    with running_agent(folder, policy=policy) as agent:
        yield agent


@contextlib.contextmanager
def defective_agent(folder: Path) -> Iterator[Agent]:
    """Run an agent that fails at one path."""
    path = folder / "path"
    path.mkdir()
    (path / "sitecustomize.py").write_text(DEFECT)
    with running_agent(folder, PYTHONPATH=str(path)) as agent:
        yield agent


@contextlib.contextmanager
def haproxy_before(agent: Agent, folder: Path) -> Iterator[str]:
    """Run HAProxy on the shipped configuration before an agent, and give where its metrics are."""
    with (
        Echo.running("whatever") as server,
        start_edge(
            haproxy_binary("3.2"),
            Pki(folder),
            dict.fromkeys(SERVERS.values(), server),
            folder,
            str(agent.address()),
            {},
        ) as edge,
    ):
        yield f"127.0.0.1:{edge.proxy.ports['STATS']}"


def cause(watched: Watched, authorities: dict[str, CA], token: Path) -> None:
    """Cause all that alerts are about."""
    agents = watched.agents
    gone = agents["gone"].process
    gone.terminate()
    gone.wait(PATIENCE)
    stop_workers(agents["workers"])
    with agents["hasty"].connect() as haproxy:  # a burst that nobody could judge within a millisecond
        haproxy.socket.sendall(b"".join(haproxy.notify(authorize(f"/open/{number}")) for number in range(3000)))
        for _ in range(3000):
            haproxy.answer()
    with agents["full"].connect() as haproxy:
        haproxy.ask("/shut")
    with agents["defective"].connect() as haproxy:
        assert haproxy.ask("/defect")["reason"] == "internal_error"
    with agents["workers"].connect() as haproxy:  # a frame that is none
        haproxy.socket.sendall(b"\x00\x00\x00\x08" + b"\xff" * 8)
        haproxy.socket.recv(65536)
    agents["workers"].write_policy("rules: nonsense\n")
    (agents["full"].state / "blocks.yaml").write_text("no block list\n")
    command(agents["glass"], "breakglass", "open", "incident", "--ticket", "INC-7", "--for", "10m")
    before = agents["hasty"].status()["revision"]
    agents["hasty"].write_policy(GLASS)
    until(lambda: agents["hasty"].status()["revision"] != before)
    command(agents["hasty"], "rollback", "--reason", "too hasty", "--token-file", str(token))
    partner, corp = authorities["partner"], authorities["corp"]
    with agents["asking"].connect() as haproxy:  # the responder hangs, so each of them waits, and passes
        for number in range(12):
            assert judged(haproxy, partner.issue(f"client-{number}"))[0] == "allow"
    with agents["dated"].connect() as haproxy:
        for days in (3, 90, 91):
            began, ends = corp.now - 60 * DAY, corp.now + days * DAY
            judged(haproxy, corp.issue(f"for-{days}-days", not_before=began, not_after=ends))


def command(agent: Agent, *words: str) -> None:
    """Run a verb about an agent."""
    argv = [sys.executable, "-m", "spoa", *words, "--state-dir", str(agent.state)]
    subprocess.run(argv, check=True, cwd=ROOT, timeout=PATIENCE)


def serving_workers(agent: Agent) -> list[int]:
    """Wait until all workers serve, and return their process ids."""

    def found() -> list[int]:
        workers = agent.status()["workers"]
        return [worker["pid"] for worker in workers] if all(worker["serving"] for worker in workers) else []

    pids: list[int] = until(found)
    return pids


def is_gone(agent: Agent, pid: int) -> bool:
    return pid not in serving_workers(agent)


def stop_workers(agent: Agent) -> None:
    """Kill a worker three times, as soon as its successor serves; then let one hang."""
    for _ in range(3):
        gone = serving_workers(agent)[0]
        os.kill(gone, signal.SIGKILL)
        until(partial(is_gone, agent, gone))
    os.kill(serving_workers(agent)[0], signal.SIGSTOP)  # until it is noticed and replaced


CAUSED: Final = {
    "AgentDown": "gone",
    "WorkersMissing": "workers",
    "WorkersDie": "workers",
    "DeadlinesMissed": "hasty",
    "AnswersLate": "hasty",
    "ProtocolErrors": "workers",
    "ClockUnusable": "backward",
    "AgentCertificateExpires": "secret",
    "AgentCredentialsRefused": "secret",
    "DecisionLogLoses": "full",
    "PolicyRejected": "workers",
    "StateFileRefused": "full",
    "ListEntryExpires": "dated",
    "IssuerCertificateExpires": "dated",
    "ClientCertificatesExpire": "dated",
    "RevocationRunsOut": "dated",
    "RevocationUnusable": "asking",
    "RevocationListRefused": "dated",
    "RevocationHostAlone": "asking",
    "PassedUnchecked": "asking",
    "BreakGlassOpen": "glass",
    "RolledBack": "hasty",
    "InternalErrors": "defective",
    "NoAgentForHaproxy": "haproxy",
}
#: By the second Prometheus.
CAUSED_SHORTLY: Final = {
    "RequestsStopped": "deserted",
    "DeniesRise": "denying",
    "FewerAgents": "",
    "AgentsVanished": "",
}


def test_every_alert_is_caused_here() -> None:
    assert sorted([*CAUSED, *CAUSED_SHORTLY]) == sorted(alert.name for alert in ALERTS)


@pytest.mark.parametrize(("alert", "agent"), CAUSED.items(), ids=CAUSED)
def test_the_alert_fires(alert: str, agent: str, watched: Watched) -> None:
    until(lambda: watched.has_fired(alert, agent), 90)


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Run two agents that are asked as usual for a while; then one is asked no more, and the other for what is shut."""
    rules = re.sub(
        r"(\[|:|offset )(\d+)([hm])\b",
        lambda found: f"{found[1]}{found[2]}{SHORTER[found[3]]}",
        write_rules(is_impatient=True),
    )
    with contextlib.ExitStack() as stack:
        agents = {
            name: stack.enter_context(running_agent(tmp_path_factory.mktemp(name))) for name in ("deserted", "denying")
        }
        watched = stack.enter_context(scraping(tmp_path_factory.mktemp("hurried"), agents, rules=rules))
        deserted, denying = (stack.enter_context(agent.connect()) for agent in agents.values())

        def is_known_as_usual() -> bool:
            deserted.ask("/open/x")
            denying.ask("/open/x")
            share = "avg_over_time(instance:spoa_authz_denied:ratio_rate5m[1m] offset 10s)"
            return len(watched.ask(share)) == len(agents)

        def is_denied_more() -> bool:
            denying.ask("/shut")
            return watched.has_fired("DeniesRise", "denying")

        until(is_known_as_usual)
        until(is_denied_more)
        until(lambda: watched.has_fired("RequestsStopped", "deserted"))
        watched.discover("denying")
        until(lambda: watched.has_fired("FewerAgents", ""))
        assert not watched.is_firing("AgentsVanished")  # as it was before the first scrape
        watched.discover()
        until(lambda: watched.is_firing("AgentsVanished"))
        yield watched


@pytest.mark.parametrize(("alert", "agent"), CAUSED_SHORTLY.items(), ids=CAUSED_SHORTLY)
def test_an_alert_that_looks_back_over_an_hour_fires_too(alert: str, agent: str, hurried: Watched) -> None:
    until(lambda: hurried.has_fired(alert, agent), 90)


def test_alerts_fire_for_no_agent_that_gave_no_cause(watched: Watched) -> None:
    quiet = watched.instances["glass"]
    fired = watched.ask(f'count_over_time(ALERTS{{alertstate="firing",instance="{quiet}"}}[1h])')
    assert {row["metric"]["alertname"] for row in fired} == {"BreakGlassOpen"}  # type: ignore[index]


FILLED_IN: Final = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*", "$spoe_timeout": "100"}


def test_prometheus_answers_every_query_of_the_dashboard(watched: Watched) -> None:
    queries = [query for row in ROWS for panel in row.panels for query in panel.queries.values()]
    for name, value in FILLED_IN.items():
        queries = [query.replace(name, value) for query in queries]
    empty = [query for query in queries if not watched.ask(query)]
    assert len(empty) < len(queries) / 2  # most of it is there even of agents that did little
