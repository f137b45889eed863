from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from spoa.cli.pki import command
from spoa.identity import fingerprints, identity_from_der
from spoa.issuers import Issuers
from spoa.ocsp_responder import OcspResponder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

ROOT = Path(__file__).parents[2]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def done(*arguments: str) -> dict[str, object]:
    result = run(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    loaded: dict[str, object] = json.loads(result.stdout)
    return loaded


class TestThrough:
    def test_the_examples_of_the_help_make_a_working_pki(self, directory: Path) -> None:
        lines = [line.strip() for line in run("--help").stdout.splitlines()]
        examples = [line.split()[2:] for line in lines if line.startswith("spoa-authz pki")]
        assert len(examples) == 6
        for arguments in examples:
            assert ((result := run(*arguments)).exit_code, result.stderr) == (0, "")
        verify = ["openssl", "verify", "-x509_strict", "-CAfile", "issuing/ca-bundle.pem"]
        for name, purpose in (("alice", "sslclient"), ("localhost", "sslserver")):
            subprocess.run(
                [*verify, "-purpose", purpose, f"issuing/issued/{name}.crt"], check=True, capture_output=True
            )
        revoked = [*verify, "-crl_check", "-CRLfile", "issuing/crl.pem", "issuing/issued/alice.crt"]
        checked = subprocess.run(revoked, check=False, capture_output=True, text=True)
        assert "certificate revoked" in checked.stderr

    @pytest.mark.parametrize("verb", ["init", "intermediate", "client", "server", "revoke", "crl", "ocsp-responder"])
    def test_every_verb_has_help_with_an_example(self, verb: str) -> None:
        assert f"spoa-authz pki {verb} " in run(verb, "--help").stdout


class TestIssuing:
    def test_a_client_certificate_says_what_the_options_say(self, directory: Path) -> None:
        ca = done("init", "ca", "--cn", "Corp CA", "--key", "rsa:2048")
        made = done(
            "client", "ca", "--cn", "alice", "--cn", "second", "--ou", "a", "--ou", "b", "--o", "Example",
            "--dns", "a.example.com", "--uri", "spiffe://example.com/a", "--email", "a@example.com",
            "--ip", "192.0.2.1", "--days", "7", "--key", "ed25519",
        )  # fmt: skip
        files = made["files"]
        assert isinstance(files, dict)
        assert {"certificate", "key", "bundle"} == set(files)
        der = x509.load_pem_x509_certificate(Path(files["certificate"]).read_bytes()).public_bytes(Encoding.DER)
        read = identity_from_der(der)
        assert read.subject == {"2.5.4.3": ("alice", "second"), "2.5.4.11": ("a", "b"), "2.5.4.10": ("Example",)}
        assert read.dns_san == ("a.example.com",)
        assert read.uri_san == ("spiffe://example.com/a",)
        assert read.email_san == ("a@example.com",)
        assert read.ip_san == (b"\xc0\x00\x02\x01",)
        assert (read.key_type, read.not_after - read.not_before) == ("ED25519", 7 * 86400 + 300)
        assert (made["sha256"], made["serial"]) == (fingerprints(der)[0].hex(), f"{read.serial:x}")
        ca_files = ca["files"]
        assert isinstance(ca_files, dict)
        issuers = Issuers.from_files({"corp": [("ca.crt", Path(ca_files["certificate"]).read_bytes())]})
        assert issuers.issuer_of(der) == "corp"

    @pytest.mark.parametrize(("eku", "oids"), [("client", 1), ("server", 1), ("none", 0)])
    def test_the_purpose_can_be_chosen(self, directory: Path, eku: str, oids: int) -> None:
        run("init", "ca")
        run("client", "ca", "--cn", "alice", "--eku", eku)
        extensions = x509.load_pem_x509_certificate(Path("ca/issued/alice.crt").read_bytes()).extensions
        assert oids == sum(isinstance(item.value, x509.ExtendedKeyUsage) for item in extensions)

    def test_a_server_is_named_after_its_first_name(self, directory: Path) -> None:
        run("init", "ca")
        assert done("server", "ca", "--dns", "a.test", "--ip", "::1")["subject"] == "CN=a.test"
        assert done("server", "ca", "--ip", "127.0.0.1")["subject"] == "CN=127.0.0.1"
        assert done("server", "ca", "--dns", "b.test", "--cn", "other")["subject"] == "CN=other"

    @pytest.mark.parametrize(("options", "password"), [(("--p12",), None), (("--password", "x"), b"x")])
    def test_a_pkcs12_file_is_written_when_asked_for(
        self, directory: Path, options: tuple[str, ...], password: bytes | None
    ) -> None:
        run("init", "ca")
        run("client", "ca", "--cn", "alice", *options)
        assert pkcs12.load_pkcs12(Path("ca/issued/alice.p12").read_bytes(), password).key is not None

    def test_text_says_what_was_written_where(self, directory: Path) -> None:
        assert "ca/ca.key" in run("init", "ca").stdout
        assert "ca/issued/alice.pem" in run("client", "ca", "--cn", "alice").stdout

    def test_the_name_of_the_files_can_be_chosen(self, directory: Path) -> None:
        run("init", "ca")
        run("client", "ca", "--cn", "alice", "--name", "laptop")
        assert Path("ca/issued/laptop.crt").exists()

    def test_a_name_is_issued_again_by_force_only(self, directory: Path) -> None:
        run("init", "ca")
        run("client", "ca", "--cn", "alice")
        result = run("client", "ca", "--cn", "alice")
        assert result.exit_code == 2
        assert "--force" in result.stderr
        assert run("client", "ca", "--cn", "alice", "--force").exit_code == 0


class TestRevoking:
    def test_what_was_revoked_is_told_and_in_the_next_crl(self, directory: Path) -> None:
        run("init", "ca")
        run("client", "ca", "--cn", "alice")
        assert "keyCompromise" in run("revoke", "ca", "alice", "--reason", "keyCompromise").stdout
        revoked = done("revoke", "ca", "alice")["revoked"]
        assert isinstance(revoked, list)
        assert [(item["name"], item["reason"]) for item in revoked] == [("alice", "keyCompromise")]
        assert done("crl", "ca") == {"number": 1, "files": {"crl": "ca/crl.pem"}}
        assert "2" in run("crl", "ca", "--days", "1").stdout
        assert len(x509.load_pem_x509_crl(Path("ca/crl.pem").read_bytes())) == 1


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("client", "nowhere", "--cn", "a"), "holds no certificate authority"),
            (("client", "ca"), "needs a name"),
            (("server", "ca"), "needs --dns or --ip"),
            (("client", "ca", "--cn", "a" * 65), "not possible in a certificate"),
            (("client", "ca", "--cn", "a", "--ip", "300.1.1.1"), "not possible in a certificate"),
            (("client", "ca", "--cn", "é"), "no file name"),
            (("client", "ca", "--cn", "a", "--key", "des"), "--key"),
            (("revoke", "ca", "nobody"), "no certificate named nobody"),
            (("init", "ca"), "already"),
            (("ocsp-responder", "ca", "--listen", "8888"), "not HOST:PORT"),
            (("ocsp-responder", "ca", "--valid-for", "0"), "--valid-for"),
            (("ocsp-responder", "ca", "--listen", "127.0.0.1:x"), "not HOST:PORT"),
            (("ocsp-responder", "ca", "--listen", "127.0.0.1:99999"), "--listen"),
        ],
        ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
    )
    def test_what_is_not_possible_is_status_2_with_a_message(
        self, directory: Path, arguments: tuple[str, ...], message: str
    ) -> None:
        run("init", "ca")
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr

    def test_a_port_in_use_is_status_2(self, directory: Path) -> None:
        run("init", "ca")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            result = run("ocsp-responder", "ca", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        assert result.exit_code == 2
        assert "in use" in result.stderr


class TestResponder:
    @pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
    def test_it_prints_its_address_answers_and_ends_well(self, directory: Path, stop: signal.Signals) -> None:
        run("init", "ca")
        run("client", "ca", "--cn", "alice")
        run("crl", "ca")
        process = start("ocsp-responder", "ca", "--json", "--valid-for", "600")
        try:
            assert process.stdout is not None
            printed = json.loads("".join(process.stdout.readline() for _ in range(4)))
            ask = ["openssl", "ocsp", "-issuer", "ca/ca.crt", "-cert", "ca/issued/alice.crt", "-CAfile", "ca/ca.crt"]
            for expected in ("good", "revoked"):
                answer = subprocess.run([*ask, "-url", printed["ocsp"]], check=True, capture_output=True, text=True)
                assert f"alice.crt: {expected}" in answer.stdout
                dates = re.findall(r"(?:This|Next) Update: (.*) GMT", answer.stdout)
                this_update, next_update = (datetime.strptime(date, "%b %d %H:%M:%S %Y") for date in dates)  # noqa: DTZ007 -- GMT
                assert (next_update - this_update).total_seconds() == 600
                run("revoke", "ca", "alice")
            crl = urlsplit(printed["crl"])
            connection = http.client.HTTPConnection(crl.netloc, timeout=10)
            connection.request("GET", crl.path)
            assert connection.getresponse().status == 200
            connection.close()
            process.send_signal(stop)
            assert process.wait(timeout=10) == 0
        finally:
            end(process)

    @pytest.mark.parametrize("options", [(), ("--json",)])
    def test_a_signal_ends_it_at_once(
        self, directory: Path, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started = OcspResponder.start

        def start_and_stop(responder: OcspResponder) -> None:
            started(responder)
            signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr(OcspResponder, "start", start_and_stop)
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            run("init", "ca")
            result = run("ocsp-responder", "ca", *options)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        assert (result.exit_code, result.stderr) == (0, "")
        assert "http://127.0.0.1:" in result.stdout

    def test_it_prints_its_address_as_text_too(self, directory: Path) -> None:
        run("init", "ca")
        process = start("ocsp-responder", "ca")
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("OCSP  http://127.0.0.1:")
        finally:
            end(process)


def start(*arguments: str) -> subprocess.Popen[str]:
    code = "import sys; from spoa.cli.pki import command; command(sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
