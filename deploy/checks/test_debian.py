"""The Debian package on a clean Debian 12, installed and used as a new user does, under the systemd of that Debian."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from deploy.checks.machine import Machine, booted, until
from docs.pages import pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BESIDE: Final = ("haproxy", "curl", "logrotate")
POLICY: Final = """\
apiVersion: authz/v1
issuers:
  corp: {ca: trust/clients-ca.pem, revocation: {none: "a test"}}
identities:
  staff: {issuer: corp, ou: staff}
rules:
  - {id: staff, effect: allow, who: staff}
"""
#: A collector of traces, which keeps what it is sent.
COLLECTOR: Final = """
import gzip, http.server
class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with open("/root/traces", "ab") as file:
            file.write(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 4318), Collector).serve_forever()
"""
#: Certificates, the shipped HAProxy configuration, and a server behind: what a new user does on the first day.
SET_UP: Final = """
mkdir /root/edge && cd /root/edge
spoa-authz pki init root && spoa-authz pki intermediate clients --under root
spoa-authz pki server root --dns localhost && spoa-authz pki client clients --cn alice --ou staff
mkdir -p /etc/haproxy/certs
cp root/issued/localhost.pem /etc/haproxy/certs/server.pem
cp clients/ca-bundle.pem /etc/haproxy/certs/clients-ca.pem
cp -r /usr/share/doc/spoa-authz/examples/haproxy/* /etc/haproxy/
# A machine inside a sandbox may not have as many descriptors as this asks for.
sed -i 's/maxconn 50000/maxconn 400/' /etc/haproxy/haproxy.cfg
printf '%s\\n' 'defaults' ' mode http' ' timeout client 5s' ' timeout server 5s' ' timeout connect 5s' \
    'frontend server' ' bind 127.0.0.1:8002' ' http-request return status 200 content-type text/plain string served' \
    > /etc/haproxy/server.cfg
haproxy -D -f /etc/haproxy/server.cfg
systemctl restart haproxy
"""
ASK: Final = (
    "curl -s -o /tmp/answer -w '%{http_code} ' --cacert /root/edge/root/ca.crt "
    "--cert /root/edge/clients/issued/alice.pem https://localhost:8443/ ; cat /tmp/answer"
)


@pytest.fixture(scope="module")
def machine(deb: Path) -> Iterator[Machine]:
    """Give a machine on which `apt install` has done its work."""
    with booted("12", [*BESIDE, f"/root/{deb.name}"], [deb]) as machine:
        machine.run(f"apt-get install -y -qq --no-install-recommends {' '.join(BESIDE)} /root/{deb.name}")
        yield machine


@pytest.fixture(scope="module")
def edge(machine: Machine) -> Machine:
    """Give the machine with HAProxy before the agent."""
    machine.run(SET_UP)
    return machine


@pytest.fixture(autouse=True)
def is_up(machine: Machine) -> None:
    """Begin each check with an agent that serves."""
    until(lambda: machine.property_of("spoa-authz.service", "ActiveState") == "active")


def status(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.run("spoa-authz status --json"))
    return found


def answers(machine: Machine, wanted: str) -> None:
    until(lambda: machine.run(ASK, status=None).strip() == wanted)


def test_the_service_runs_once_the_package_is_there_and_says_its_revision(machine: Machine) -> None:
    text = machine.property_of("spoa-authz.service", "StatusText")
    assert text == f"revision {status(machine)['revision']}, 1 workers"
    assert machine.run("systemctl is-enabled spoa-authz.service spoa-authz.socket").split() == ["enabled", "enabled"]
    assert machine.property_of("spoa-authz.service", "NotifyAccess") == "main"


def test_what_answers_is_compiled(machine: Machine) -> None:
    [worker] = status(machine)["workers"]
    assert "__mypyc.cpython-" in machine.run(f"cat /proc/{worker['pid']}/maps")


def test_it_runs_as_nobody_who_is_known_and_can_not_become_anybody(machine: Machine) -> None:
    pid = machine.property_of("spoa-authz.service", "MainPID")
    told = dict(line.split(":\t", 1) for line in machine.run(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
    assert 61184 <= int(told["Uid"].split()[0]) <= 65519  # the range of DynamicUser
    assert {told[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")


def test_systemd_finds_it_little_exposed_and_its_units_right(machine: Machine) -> None:
    last = machine.run("systemd-analyze security --no-pager spoa-authz.service").splitlines()[-1]
    assert float(last.partition(": ")[2].split()[0]) <= 2.0
    said = machine.run("systemd-analyze verify --man=no spoa-authz.service spoa-authz.socket 2>&1").splitlines()
    # Debian 12's systemd is older than notify-reload and its signal, skips both, and keeps the line before.
    newer = ("Failed to parse service type, ignoring: notify-reload", "Unknown key 'ReloadSignal'")
    assert [line for line in said if not any(words in line for words in newer)] == []


def test_everything_is_denied_until_somebody_writes_a_policy(edge: Machine) -> None:
    answers(edge, "403 issuer_unknown")
    edge.run("mkdir -p /etc/spoa-authz/policies/trust; cp /root/edge/clients/ca.crt "
             "/etc/spoa-authz/policies/trust/clients-ca.pem")  # fmt: skip
    (edge.root / "etc/spoa-authz/policies/policy.yaml").write_text(POLICY)
    answers(edge, "200 served")


def test_a_reload_tells_whether_the_policy_is_any_good(edge: Machine) -> None:
    policy = edge.root / "etc/spoa-authz/policies/policy.yaml"
    edge.run("systemctl reload spoa-authz")
    before = status(edge)["revision"]
    policy.write_text("nonsense: 1\n")
    edge.run("systemctl reload spoa-authz", status=1)
    assert "the last reload was rejected" in edge.property_of("spoa-authz.service", "StatusText")
    assert status(edge)["revision"] == before
    answers(edge, "200 served")
    policy.write_text(POLICY)
    edge.run("systemctl reload spoa-authz")
    assert "rejected" not in edge.property_of("spoa-authz.service", "StatusText")


def test_root_blocks_a_certificate_and_lifts_the_block(edge: Machine) -> None:
    edge.run("spoa-authz block /root/edge/clients/issued/alice.crt --reason 'a test'")
    answers(edge, "403 certificate_blocked")
    edge.run("spoa-authz unblock /root/edge/clients/issued/alice.crt")
    answers(edge, "200 served")


def test_the_last_denies_are_explained_in_whatever_folder_one_stands_as_runbooks_say(edge: Machine) -> None:
    said = edge.run("cd / && spoa-authz explain --last 1")  # the block was lifted, so that it would be allowed now
    assert re.search(r"^logged 20\S+ .*: deny certificate_blocked", said, re.MULTILINE), said


def test_whoever_has_the_token_reloads_over_the_admin_address(machine: Machine) -> None:
    assert machine.run("stat -c '%a %U' /etc/spoa-authz/token").split() == ["600", "root"]
    assert "unchanged" in machine.run("spoa-authz reload --admin 127.0.0.1:9124 --token-file /etc/spoa-authz/token")
    machine.run("curl -sf -X POST http://127.0.0.1:9124/reload", status=22)


def test_a_supervisor_that_is_stuck_is_replaced_and_its_address_stays(edge: Machine) -> None:
    before = edge.property_of("spoa-authz.service", "MainPID")
    edge.run(f"kill -STOP {before}")
    until(lambda: edge.property_of("spoa-authz.service", "MainPID") not in {before, "0"}, 120)
    assert edge.property_of("spoa-authz.socket", "ActiveState") == "active"
    answers(edge, "200 served")
    assert "Watchdog timeout" in edge.run("journalctl -u spoa-authz --no-pager")


def test_a_worker_that_is_stuck_is_replaced_without_a_restart(edge: Machine) -> None:
    main = edge.property_of("spoa-authz.service", "MainPID")
    [worker] = status(edge)["workers"]
    edge.run(f"kill -STOP {worker['pid']}")
    until(lambda: (found := status_or_none(edge)) and found["ready"] and found["workers"][0]["pid"] != worker["pid"])
    assert edge.property_of("spoa-authz.service", "MainPID") == main
    answers(edge, "200 served")


def status_or_none(machine: Machine) -> Any:
    text = machine.run("spoa-authz status --json", status=None)
    return json.loads(text) if text.startswith("{") else None


def test_the_decision_log_is_rotated_without_losing_a_line(edge: Machine) -> None:
    answers(edge, "200 served")
    log = "/var/log/spoa-authz/decisions.jsonl"
    until(lambda: edge.run(f"wc -l < {log}").strip() != "0")
    edge.run("logrotate --force /etc/logrotate.d/spoa-authz")
    answers(edge, "200 served")
    until(lambda: '"verdict":"allow"' in edge.run(f"cat {log}", status=None).replace(" ", ""))
    assert '"verdict"' in edge.run(f"cat {log}.1")


def test_a_restart_keeps_the_address_open_all_the_time(edge: Machine) -> None:
    edge.run("systemctl restart spoa-authz")
    answers(edge, "200 served")
    edge.run("systemctl stop spoa-authz.service")
    # Whoever connects has the agent started.
    edge.run("exec 3<>/dev/tcp/127.0.0.1/9123 || curl -s --max-time 1 telnet://127.0.0.1:9123", status=None)
    answers(edge, "200 served")


@contextlib.contextmanager
def drop_in(machine: Machine, text: str, then: str = "systemctl restart spoa-authz", status: int = 0) -> Iterator[None]:
    """Do what `systemctl edit spoa-authz.service` does, and then run a script; in the end all is as before."""
    folder = machine.root / "etc/systemd/system/spoa-authz.service.d"
    folder.mkdir(exist_ok=True)
    (folder / "override.conf").write_text(text)
    try:
        machine.run(f"systemctl daemon-reload\n{then}", status=status)
        yield
    finally:
        machine.run("systemctl revert spoa-authz.service && systemctl restart spoa-authz")


def test_traces_are_sent_by_what_the_package_brings(machine: Machine) -> None:
    (machine.root / "root/collector.py").write_text(COLLECTOR)
    machine.run("systemd-run --unit=collector /usr/bin/python3 /root/collector.py")
    with drop_in(machine, "[Service]\nEnvironment=SPOA_AUTHZ_OTLP_ENDPOINT=http://127.0.0.1:4318\n"):
        machine.run("systemctl reload spoa-authz")
        until(lambda: "reload" in machine.run("grep -ao reload /root/traces", status=None))
    machine.run("systemctl stop collector")


def drop_in_of_the_guide(name: str) -> str:
    """Return a drop-in that the hardening guide shows."""
    blocks = pages()["docs/how-to/harden.md"].blocks
    return next(block.text for block in blocks if block.word("drop-in") == name)


def test_a_key_that_is_root_s_alone_is_handed_over(edge: Machine) -> None:
    edge.run("(umask 377; od -An -N32 -tx1 /dev/urandom | tr -d ' \\n' > /etc/spoa-authz/chain.key)")
    log = "/var/log/spoa-authz/decisions.jsonl"
    with drop_in(edge, drop_in_of_the_guide("keys")):
        answers(edge, "200 served")
        until(lambda: '"alg":"hmac' in edge.run(f"tail -1 {log}").replace(" ", ""))
        edge.run(f"grep -a '\"chain\"' {log} > /tmp/chained")
        edge.run("spoa-authz audit verify --key-file /etc/spoa-authz/chain.key /tmp/chained")
    edge.run("rm -f /etc/spoa-authz/chain.key")


def test_a_key_that_nobody_hands_over_is_named_with_what_is_wrong(machine: Machine) -> None:
    machine.run("(umask 377; head -c 32 /dev/urandom | base64 > /etc/spoa-authz/other.key)")
    variables = "SPOA_AUTHZ_DECISION_LOG_CHAIN=true SPOA_AUTHZ_DECISION_LOG_KEY_FILE=/etc/spoa-authz/other.key"
    with drop_in(machine, f"[Service]\nEnvironment={variables}\n", status=1):
        said = "/etc/spoa-authz/other.key can't be read: Permission denied"
        until(lambda: said in machine.run("journalctl -u spoa-authz --no-pager"))
    machine.run("rm -f /etc/spoa-authz/other.key")


def test_policies_saved_under_a_tight_umask_are_rejected_until_the_service_may_read_them(edge: Machine) -> None:
    policy = "/etc/spoa-authz/policies/policy.yaml"
    before = status(edge)["revision"]
    edge.run(f"(umask 077; cp {policy} /root/saved; cp /root/saved {policy}.new; mv {policy}.new {policy})")
    edge.run("systemctl reload spoa-authz", status=1)
    assert "can't be read: Permission denied" in edge.run("spoa-authz status", status=None)
    assert status(edge)["revision"] == before
    answers(edge, "200 served")
    edge.run("chmod -R u=rwX,go=rX /etc/spoa-authz/policies")
    edge.run("systemctl reload spoa-authz")


@contextlib.contextmanager
def open_again(machine: Machine) -> Iterator[None]:
    """Let everybody read policies again in the end."""
    try:
        yield
    finally:
        machine.run("chmod -R u=rwX,g=rX,o=rX /etc/spoa-authz/policies && systemctl reload spoa-authz")


def test_policies_that_not_everybody_may_read_are_read_by_a_group(edge: Machine) -> None:
    policy = "/etc/spoa-authz/policies/policy.yaml"
    [script] = [block.text for block in pages()["docs/how-to/harden.md"].blocks if "groupadd" in block.text]
    with open_again(edge), drop_in(edge, drop_in_of_the_guide("group"), script.replace("sudo ", "")):
        assert edge.run(f"stat -c '%a %G' {policy}").split() == ["640", "spoa-policies"]
        edge.run("systemctl reload spoa-authz")
        edge.run(f"(umask 027; cp {policy} {policy}.new; mv {policy}.new {policy})")
        edge.run("systemctl reload spoa-authz")
        assert edge.run(f"stat -c '%a %G' {policy}").split() == ["640", "spoa-policies"]
        answers(edge, "200 served")


def test_the_admin_socket_is_where_the_unit_lets_the_agent_make_one(machine: Machine) -> None:
    place = "unix:/run/spoa-authz-admin/admin.sock"
    with drop_in(machine, f"[Service]\nEnvironment=SPOA_AUTHZ_ADMIN={place}\n"):
        assert machine.run("cat /var/lib/spoa-authz/admin").strip() == place
        assert status(machine)["ready"]
        assert "unchanged" in machine.run("spoa-authz reload")


def test_the_unit_runs_no_program_in_a_home_and_one_below_opt(machine: Machine) -> None:
    serve = "-m spoa serve --config /etc/spoa-authz/agent.yaml --admin-token-file %d/token"
    for place, runs in (("/root/agent", False), ("/opt/spoa-authz", True)):
        machine.run(f"cp -a /usr/lib/spoa-authz {place}")
        text = f"[Service]\nExecStart=\nExecStart={place}/bin/python {serve}\n"
        with drop_in(machine, text, status=0 if runs else 1):
            said = machine.run(
                "systemctl show --property=ExecMainStatus,MainPID spoa-authz; journalctl -u spoa-authz -n 8"
            )
            assert ("203/EXEC" in said) is not runs
            if runs:
                assert status(machine)["ready"]
        machine.run(f"rm -r {place}")


def is_heard_again(machine: Machine) -> None:
    before = machine.property_of("spoa-authz.service", "WatchdogTimestampMonotonic")
    until(lambda: machine.property_of("spoa-authz.service", "WatchdogTimestampMonotonic") != before)


def test_haproxy_connects_through_a_file_in_its_chroot_as_the_guide_shows(edge: Machine) -> None:
    """The file is HAProxy's group's, in which the agent isn't: it must be well all the same."""
    [text] = [block.text for block in pages()["docs/how-to/install.md"].blocks if block.text.startswith("[Socket]")]
    folder = edge.root / "etc/systemd/system/spoa-authz.socket.d"
    folder.mkdir()
    (folder / "override.conf").write_text(text)
    restart = "systemctl daemon-reload; systemctl restart spoa-authz.socket spoa-authz.service haproxy"
    edge.run(f"echo AUTHZ_AGENT=unix@/spoa-authz.sock >> /etc/default/haproxy; {restart}")
    try:
        assert edge.run("stat -c '%a %U %G' /var/lib/haproxy/spoa-authz.sock").split() == ["660", "root", "haproxy"]
        answers(edge, "200 served")
        is_heard_again(edge)
        is_heard_again(edge)  # the first may have been for the start
        assert edge.property_of("spoa-authz.service", "StatusText").startswith("revision ")
    finally:
        edge.run(f"sed -i /AUTHZ_AGENT/d /etc/default/haproxy; rm -r {'/' / folder.relative_to(edge.root)}; {restart}")


def test_every_alert_leads_to_a_runbook_that_is_there(machine: Machine) -> None:
    rules = yaml.safe_load(machine.run("spoa-authz monitoring rules"))
    urls = [
        rule["annotations"]["runbook_url"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule
    ]
    for url in urls:
        assert machine.run(f"head -1 {url.removeprefix('file://')}").startswith("# ")


def test_pages_of_the_package_lead_to_each_other(machine: Machine) -> None:
    """But for those about how the agent itself is made and measured."""
    doc = machine.root / "usr/share/doc/spoa-authz"
    assert (doc / "CHANGELOG.md").read_text().startswith("# Changelog")  # before an upgrade one is told to read it
    pages = [*(doc / "docs").rglob("*.md"), doc / "haproxy" / "README.md"]
    targets = {page: re.findall(r"\]\(([^)#:]+)[)#]", page.read_text()) for page in pages}
    assert {doc / "docs/how-to/install.md", doc / "docs/how-to/runbooks/agent-down.md"} <= targets.keys()
    lost = {name for page, names in targets.items() for name in names if not (page.parent / name).exists()}
    assert {name for name in lost if not re.match(r"(\.\./)+(benchmarks|tests|deploy|CONTRIBUTING)", name)} == set()


def test_the_manual_page_is_there_for_man(machine: Machine) -> None:
    assert "Written by docs/manpage.py" in machine.run("zcat /usr/share/man/man1/spoa-authz.1.gz")


def test_installed_again_it_keeps_what_was_configured_and_goes_on(edge: Machine, deb: Path) -> None:
    before = edge.run("cat /etc/spoa-authz/token /etc/spoa-authz/policies/policy.yaml")
    edge.run(f"apt-get install -y -qq --reinstall /root/{deb.name}")
    assert edge.run("cat /etc/spoa-authz/token /etc/spoa-authz/policies/policy.yaml") == before
    answers(edge, "200 served")


def test_purged_it_leaves_nothing_behind(edge: Machine) -> None:
    edge.run("apt-get purge -y -qq spoa-authz")
    places = "/etc/spoa-authz /usr/lib/spoa-authz /var/lib/spoa-authz /var/lib/private/spoa-authz /run/spoa-authz"
    left = edge.run(f"ls -d {places} /var/log/spoa-authz /var/log/private/spoa-authz 2>/dev/null", status=None).split()
    # What the user added to the policies is the user's.
    assert [place for place in left if place != "/etc/spoa-authz"] == []
    assert edge.run("find /etc/spoa-authz -type f").split() == ["/etc/spoa-authz/policies/trust/clients-ca.pem"]
    edge.run("curl -s --max-time 2 telnet://127.0.0.1:9123", status=7)
