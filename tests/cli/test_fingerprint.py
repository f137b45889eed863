from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner

from spoa.cli.fingerprint import command, fingerprint_of
from spoa.identity import fingerprints, identity_from_der
from tests.der import element, name, rebuilt, replaced
from tests.pki import CA, Issued

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA("Corp CA")


@pytest.fixture(scope="module")
def alice(ca: CA) -> Issued:
    return ca.issue("alice", ["administrators"])


@pytest.fixture
def pem(alice: Issued, tmp_path: Path) -> Path:
    file = tmp_path / "alice.pem"
    file.write_bytes(alice.pem)
    return file


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], input=stdin)


def unreadable(ca: CA, alice: Issued) -> bytes:
    return rebuilt(alice.der, ca.key, replaced(5, name([("2.5.4.3", element(0x0C, b"\xff"))])))


class TestText:
    def test_everything_that_names_a_certificate_is_printed(self, pem: Path, alice: Issued) -> None:
        result = run(pem)
        read = identity_from_der(alice.der)
        assert (result.exit_code, result.stderr) == (0, "")
        rows = dict(line.strip().split("  ", 1) for line in result.stdout.splitlines()[1:8])
        assert {
            "SHA-256": read.sha256,
            "SPKI SHA-256": read.spki_sha256,
            "SHA-1 (legacy)": read.sha1,
        } == {key: bytes.fromhex(rows[key].strip()) for key in ("SHA-256", "SPKI SHA-256", "SHA-1 (legacy)")}
        assert ("CN=Corp CA", f"{read.serial:x}") == (rows["issuer"].strip(), rows["serial"].strip())

    def test_openssl_prints_the_same_fingerprint(self, pem: Path) -> None:
        opened = ["openssl", "x509", "-in", str(pem), "-noout", "-fingerprint", "-sha256"]
        theirs = subprocess.run(opened, check=True, capture_output=True, text=True).stdout.split("=")[1].strip()
        assert theirs.replace(":", "").lower() in run(pem).stdout

    def test_what_is_to_be_pasted_is_a_list_entry(self, pem: Path, alice: Issued) -> None:
        printed = run(pem, "--owner", 'ops "night"').stdout
        pasted = printed.split("below `entries:`\n")[1]
        (entry,) = yaml.safe_load("entries:\n" + pasted)["entries"]
        assert identity_from_der(alice.der).sha256 == bytes.fromhex(entry["sha256"])
        assert (entry["owner"], entry["comment"]) == ('ops "night"', "CN=alice,OU=administrators")
        assert entry["expires"].timestamp() == identity_from_der(alice.der).not_after

    @pytest.mark.parametrize(
        ("old", "new"),
        [("# spki_sha256:", "spki_sha256:"), ("# serial:", "serial:")],
    )
    def test_the_alternatives_stand_beside_it_as_comments(self, pem: Path, old: str, new: str) -> None:
        printed = run(pem).stdout
        assert old in printed
        pasted = printed.replace(old, new).split("below `entries:`\n")[1]
        assert new.rstrip(":") in yaml.safe_load("entries:\n" + pasted)["entries"][0]

    def test_a_subject_can_neither_steer_the_terminal_nor_break_the_yaml(self, ca: CA, tmp_path: Path) -> None:
        file = tmp_path / "evil.pem"
        evil = 'a\x1b[2J"\n- sha256: x\u202e\\'
        file.write_bytes(ca.issue(evil).pem)
        printed = run(file).stdout
        assert "\x1b" not in printed
        assert "\u202e" not in printed
        (entry,) = yaml.safe_load("entries:\n" + printed.split("below `entries:`\n")[1])["entries"]
        assert "\x1b[2J" in entry["comment"]

    def test_several_certificates_in_one_file_are_told_apart_by_line(self, pem: Path, alice: Issued, ca: CA) -> None:
        pem.write_bytes(alice.pem + ca.pem)
        printed = run(pem).stdout
        assert f"{pem}:1\n" in printed
        below = alice.pem.count(b"\n") + 1
        assert f"{pem}:{below}\n" in printed


class TestJson:
    def test_json_holds_the_same_with_file_and_line(self, pem: Path, alice: Issued, ca: CA, tmp_path: Path) -> None:
        pem.write_bytes(alice.pem + ca.pem)
        der = tmp_path / "ca.der"
        der.write_bytes(ca.der)
        found = json.loads(run("--json", pem, der).stdout)["certificates"]
        below = alice.pem.count(b"\n") + 1
        assert [(str(pem), 1), (str(pem), below), (str(der), 0)] == [(item["file"], item["line"]) for item in found]
        assert found[1]["sha256"] == found[2]["sha256"] == fingerprints(ca.der)[0].hex()
        assert set(found[0]) == {
            "file", "line", "sha256", "spki_sha256", "sha1", "subject", "issuer", "serial", "not_after", "problem",
        }  # fmt: skip

    def test_a_serial_number_below_zero_has_a_minus_sign(self, ca: CA, alice: Issued) -> None:
        der = rebuilt(alice.der, ca.key, replaced(1, element(0x02, b"\x80")))
        assert fingerprint_of("x", 0, der).serial == "-80"


class TestWhatIsWrong:
    def test_an_unreadable_certificate_has_fingerprints_and_status_1(
        self, ca: CA, alice: Issued, tmp_path: Path
    ) -> None:
        der = tmp_path / "odd.der"
        der.write_bytes(unreadable(ca, alice))
        result = run(der)
        assert result.exit_code == 1
        assert "certificate not usable at subject" in result.stderr
        found = fingerprint_of("x", 0, der.read_bytes())
        assert found.sha256 in result.stdout
        assert found.spki_sha256 in result.stdout
        assert "expires" not in result.stdout

    def test_what_is_no_certificate_at_all_has_no_key(self, tmp_path: Path) -> None:
        file = tmp_path / "junk.der"
        file.write_bytes(b"\x30\x03abc")
        result = run(file)
        assert result.exit_code == 1
        assert "can't be read" in result.stdout
        assert "spki_sha256" not in result.stdout

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "holds no certificate"),
            (b"junk", "holds no certificate"),
            (b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "file.pem:1: not base64"),
        ],
    )
    def test_a_file_without_a_certificate_is_status_2(self, tmp_path: Path, content: bytes, message: str) -> None:
        file = tmp_path / "file.pem"
        file.write_bytes(content)
        result = run(file)
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr

    def test_a_missing_file_is_status_2_and_hides_no_other(self, pem: Path) -> None:
        result = run("missing.pem", pem)
        assert result.exit_code == 2
        assert "missing.pem: No such file" in result.stderr
        assert "SHA-256" in result.stdout

    def test_without_a_file_it_is_a_usage_error(self) -> None:
        assert run().exit_code == 2


def test_standard_input_is_read_for_a_dash(alice: Issued) -> None:
    result = run("-", "--json", stdin=alice.pem)
    assert json.loads(result.stdout)["certificates"][0]["file"] == "-"


def test_help_has_an_example() -> None:
    assert "spoa-authz fingerprint scanner.pem" in run("--help").stdout
