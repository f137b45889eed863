"""The life of an OCSP answer: refreshed, out of use, past its time, over a restart; and OpenSSL's own responder."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from spoa.ocsp_store import OcspStore, StoredAnswer
from spoa.revocation.ocsp import write_request
from spoa.spop import AckReceived
from tests.agents import running_agent, until, variables
from tests.pki import CA, HOUR
from tests.responders import (
    PATIENT,
    Responder,
    asking_agent,
    certified,
    judged,
    policy_asking,
    said,
    said_by,
    seconds_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.agents import Agent
    from tests.pki import Issued

pytestmark = pytest.mark.integration

GOOD: Final = ("allow", "ok")
REVOKED: Final = ("deny", "certificate_revoked")
#: Seconds that a busy machine may add.
SLACK: Final = 4


def asking(responder: Responder, keys: str = "") -> str:
    return f'ocsp: {{responder: "{responder.url}", timeout: 4s{keys}}}'


def test_past_its_time_an_answer_counts_as_late_for_the_grace_and_then_by_the_mode(tmp_path: Path) -> None:
    hard, soft = CA("hard"), CA("soft")
    clients = {"hard": hard.issue("client"), "soft": soft.issue("client")}
    life, grace = 4, 3
    with Responder.running(said_by(hard, soft, valid_for=life)) as responder:
        issuers = {
            "hard": (hard, asking(responder, f", stale_grace: {grace}s")),
            "soft": (soft, asking(responder, f", stale_grace: {grace}s, on_failure: allow")),
        }
        with asking_agent(tmp_path, issuers) as agent, agent.connect() as haproxy:
            assert [judged(haproxy, client) for client in clients.values()] == [GOOD, GOOD]
            said = int(time.time())
            responder.stop()
            until(lambda: judged(haproxy, clients["hard"]) != GOOD, life + grace + SLACK)
            assert time.time() >= said - 1 + life + grace
            assert judged(haproxy, clients["hard"]) == ("deny", "revocation_stale")
            assert agent.metric("revocation_soft_fails_total") == 0
            assert judged(haproxy, clients["soft"]) == GOOD
            assert agent.metric('revocation_soft_fails_total{issuer="soft",source="ocsp"}') == 1
            source = agent.status()["issuers"]["hard"]["revocation"]["sources"]["ocsp"]
            assert (source["state"], source["certificates"]) == ("unreachable", {"stale": 1})


def test_after_a_restart_with_the_responder_gone_what_was_known_still_counts(tmp_path: Path) -> None:
    ca, root = CA("corp"), CA("other")
    good, bad, lost, new = (ca.issue(name) for name in ("good", "bad", "lost", "new"))
    ca.revoke(bad)
    life = 30
    with Responder.running(said_by(ca, valid_for=life)) as responder:
        issuers = {"corp": (ca, asking(responder)), "other": (root, 'none: "nobody has one"')}
        with asking_agent(tmp_path, issuers) as agent, agent.connect() as haproxy:
            said = int(time.time())
            assert [judged(haproxy, one) for one in (good, bad, lost)] == [GOOD, REVOKED, GOOD]
        responder.stop()
        with asking_agent(tmp_path, issuers) as agent, agent.connect() as haproxy:
            assert [judged(haproxy, one) for one in (good, bad, lost)] == [GOOD, REVOKED, GOOD]
            assert judged(haproxy, new) == ("deny", "revocation_unreachable")
            (tmp_path / "lost.pem").write_bytes(lost.pem)
            blocked(agent, tmp_path / "lost.pem")
            until(lambda: judged(haproxy, lost) == ("deny", "certificate_blocked"), SLACK)
            assert judged(haproxy, good) == GOOD
            until(lambda: judged(haproxy, good) != GOOD, life + SLACK)
            assert time.time() >= said + life
            assert judged(haproxy, good) == ("deny", "revocation_stale")
        # And once more, with nothing but what is on disk, which is out of date by now.
        with asking_agent(tmp_path, issuers) as agent, agent.connect() as haproxy:
            assert judged(haproxy, good) == ("deny", "revocation_stale")
            assert judged(haproxy, bad) == REVOKED
            assert judged(haproxy, lost) == ("deny", "certificate_blocked")


def blocked(agent: Agent, certificate: Path) -> None:
    """Block a certificate by the command line."""
    command = [sys.executable, "-m", "spoa", "block", str(certificate), "--state-dir", str(agent.state)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def test_what_was_out_of_use_for_half_of_its_time_is_asked_about_when_it_is_used_again(tmp_path: Path) -> None:
    ca = CA()
    client = ca.issue("client")
    now = int(time.time())
    response = ca.ocsp_response(write_request(client.der, ca.der), now=now - 40 * 60, valid_for=HOUR)
    keep(tmp_path, {client: response})
    ca.revoke(client, at=now - 60)
    with (
        Responder.running(said_by(ca)) as responder,
        asking_agent(tmp_path, {"corp": (ca, asking(responder))}) as agent,
        agent.connect() as haproxy,
        responder.holding() as release,
    ):
        assert judged(haproxy, client) == GOOD, "the answer holds for another twenty minutes"
        until(lambda: responder.hits == 1)
        release()
        assert seconds_until(lambda: judged(haproxy, client) == REVOKED, SLACK) < SLACK


def keep(folder: Path, answers: Mapping[Issued, bytes]) -> None:
    """Leave answers behind as an earlier run of the agent would."""
    (folder / "state").mkdir(mode=0o700)
    store = OcspStore(folder / "state" / "ocsp.sqlite")
    rows = [(("corp", hashlib.sha256(issued.der).digest()), response) for issued, response in answers.items()]
    store.put([StoredAnswer(key, response, int(time.time())) for key, response in rows])
    store.close()


def test_whoever_writes_the_state_directory_still_can_not_sign(tmp_path: Path) -> None:
    ca, stranger = CA("corp"), CA("corp")
    names = ("of another", "by a stranger", "by itself", "cut off")
    clients = [ca.issue(name) for name in names]
    for client in clients:
        ca.revoke(client)
    questions = [write_request(client.der, ca.der) for client in clients]
    another = ca.ocsp_response(write_request(ca.issue("another").der, ca.der))
    delegated = stranger.issue("responder", eku=(ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string,))
    free = CA("corp", parent=None)
    free.authority.issued = ca.authority.issued
    free.authority.serials = ca.authority.serials  # the same CA, but that it revokes nothing
    forged = {
        clients[0]: another,
        clients[1]: free.ocsp_response(questions[1], responder=delegated),
        clients[2]: free.ocsp_response(questions[2], responder=clients[2]),
        clients[3]: free.ocsp_response(questions[3])[:-1],
    }
    keep(tmp_path, forged)
    with (
        Responder.running(said_by(ca)) as responder,
        asking_agent(tmp_path, {"corp": (ca, asking(responder))}) as agent,
        agent.connect() as haproxy,
    ):
        with responder.holding() as release:
            for client in clients:
                haproxy.socket.sendall(haproxy.notify(certified(client)))
            until(lambda: agent.metric("revocation_waiting") == len(clients))
            release()
        verdicts = [variables(haproxy.receive(AckReceived).ack)["reason"] for _ in clients]
        assert verdicts == ["certificate_revoked"] * len(clients)
        assert responder.hits == len(clients)


def test_an_older_answer_does_not_free_who_is_revoked(tmp_path: Path) -> None:
    ca = CA()
    client = ca.issue("client")
    recorded = ca.ocsp_response(write_request(client.der, ca.der), now=int(time.time()) - 60, valid_for=HOUR)
    ca.revoke(client, "certificateHold")
    with (
        Responder.running(said_by(ca, valid_for=4)) as responder,
        asking_agent(tmp_path, {"corp": (ca, asking(responder))}) as agent,
        agent.connect() as haproxy,
    ):
        assert judged(haproxy, client) == REVOKED
        responder.answer = said(lambda _: recorded)
        began = time.monotonic()
        while responder.hits < 2:
            assert judged(haproxy, client) == REVOKED
            assert time.monotonic() - began < 30
        until(lambda: agent.metric('revocation_fetches_total{issuer="corp",result="unusable"') == 1)
        assert judged(haproxy, client) == REVOKED


def test_a_chain_is_asked_about_up_to_its_root(tmp_path: Path) -> None:
    root = CA("root")
    sound, broken = root.intermediate("sound"), root.intermediate("broken")
    client, victim = sound.issue("client"), broken.issue("victim")
    root.revoke(broken.authority.issued, "cACompromise")
    with Responder.running(said_by(sound, broken, root)) as responder:
        issuers = {
            "root": (root, 'none: "it issues to CAs only"'),
            "sound": (sound, asking(responder) + ", depth: chain"),
            "broken": (broken, asking(responder) + ", depth: chain"),
        }
        with asking_agent(tmp_path, issuers) as agent, agent.connect() as haproxy:
            for _ in range(2):
                assert judged(haproxy, client) == GOOD
                assert judged(haproxy, victim) == REVOKED
            assert responder.hits == 4


# -- OpenSSL ----------------------------------------------------------------------------------------------------

CONFIGURATION: Final = """\
[ca]
default_ca = own
[own]
dir = .
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 30
default_crl_days = 1
policy = any
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
[client]
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
[responder]
keyUsage = critical, digitalSignature
extendedKeyUsage = OCSPSigning
noCheck = ignored
"""


class OpenSslCa:
    """A CA kept with `openssl ca`, and its `openssl ocsp`, which ends at the first request that is none."""

    def __init__(self, folder: Path) -> None:
        assert shutil.which("openssl"), "openssl must be there"
        self.folder = folder
        folder.mkdir()
        for name, text in {"ca.cnf": CONFIGURATION, "index.txt": "", "serial": "1000\n", "crlnumber": "01\n"}.items():
            (folder / name).write_text(text)
        self.run("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=OpenSSL -days 30")
        self.issue("responder", "responder")

    def run(self, words: str) -> None:
        """Run a command of `openssl`."""
        command = ["openssl", *words.split()]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    def issue(self, name: str, extensions: str = "client") -> Shown:
        """Issue a certificate."""
        self.run(f"req -new -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name} -config ca.cnf")
        self.run(f"ca -batch -config ca.cnf -extensions {extensions} -in {name}.csr -out {name}.pem -notext")
        return Shown((self.folder / f"{name}.pem").read_bytes())

    def revoke(self, name: str) -> None:
        """Revoke one."""
        self.run(f"ca -config ca.cnf -revoke {name}.pem -crl_reason keyCompromise")

    @contextlib.contextmanager
    def responding(self, *options: str) -> Iterator[str]:
        """Run the responder and return its URL."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        words = f"ocsp -index index.txt -port {port} -rsigner responder.pem -rkey responder.key -CA ca.pem"
        with (self.folder / "responder.log").open("wb") as log:
            process = subprocess.Popen(
                ["openssl", *words.split(), *options], cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            # A connection without a request would be its end, so it is not tried.
            until(lambda: "waiting" in self.log() or "ACCEPT" in self.log())
            yield f"http://127.0.0.1:{port}"
            assert process.poll() is None, self.log()
        finally:
            process.terminate()
            process.wait(10)

    def log(self) -> str:
        """Return what the responder has printed."""
        return (self.folder / "responder.log").read_text(errors="replace")


class Shown:
    """A certificate that a client shows."""

    def __init__(self, pem: bytes) -> None:
        self.pem = pem
        self.der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def test_openssls_own_responder_is_understood(tmp_path: Path) -> None:
    ca = OpenSslCa(tmp_path / "ca")
    alice, bob, carol = (ca.issue(name) for name in ("alice", "bob", "carol"))
    ca.revoke("bob")
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "corp.pem").write_bytes((ca.folder / "ca.pem").read_bytes())
    with ca.responding() as url:  # without -nmin, so that its answers have no nextUpdate
        keys = f'ocsp: {{responder: "{url}", timeout: 4s, nonce: require}}, max_age_without_next_update: 10s'
        text = policy_asking({"corp": (CA(), keys)})
        with running_agent(tmp_path, *PATIENT, policy=text) as agent, agent.connect() as haproxy:
            assert judged(haproxy, alice) == GOOD
            assert judged(haproxy, bob) == REVOKED
            assert judged(haproxy, carol) == GOOD
            ca.revoke("alice")
            # Its first answer after a change is the old one: it looks at its index only between two requests.
            took = seconds_until(lambda: judged(haproxy, alice) == REVOKED, 20)
            assert judged(haproxy, bob) == REVOKED
    assert took < 20


def test_openssls_own_responder_is_asked_by_get_too(tmp_path: Path) -> None:
    ca = OpenSslCa(tmp_path / "ca")
    alice = ca.issue("alice")
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "corp.pem").write_bytes((ca.folder / "ca.pem").read_bytes())
    with ca.responding("-nmin", "5") as url:
        text = policy_asking({"corp": (CA(), f'ocsp: {{responder: "{url}", timeout: 4s, method: get}}')})
        with running_agent(tmp_path, *PATIENT, policy=text) as agent, agent.connect() as haproxy:
            assert judged(haproxy, alice) == GOOD
