from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from cryptography.x509 import ocsp

from spoa.exceptions import StateError
from spoa.pki import Template
from spoa.pki_directory import PkiDirectory, file_name

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000
DAY = 24 * 3600
CA_TEMPLATE = Template(cn=("Root",), is_ca=True, not_before=NOW - DAY, not_after=NOW + 100 * DAY)
ALICE = Template(cn=("alice",), not_before=NOW, not_after=NOW + DAY)


@pytest.fixture
def pki(tmp_path: Path) -> PkiDirectory:
    return PkiDirectory.create(tmp_path / "ca", CA_TEMPLATE)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestFileNames:
    @pytest.mark.parametrize(
        ("name", "file"),
        [
            ("alice", "alice"),
            ("Dock 4 scanner", "Dock-4-scanner"),
            ("a@b.example.com", "a@b.example.com"),
            ("../../etc/passwd", "etc-passwd"),
            (".hidden", "hidden"),
            ("*.example.com", "example.com"),
            ("spiffe://x/y", "spiffe-x-y"),
        ],
    )
    def test_a_name_becomes_a_safe_file_name(self, name: str, file: str) -> None:
        assert file == file_name(name)

    @pytest.mark.parametrize("name", ["", "..", "/", "é"])
    def test_a_name_of_which_nothing_is_left_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="no file name"):
            file_name(name)


class TestMaking:
    def test_a_root_is_made_of_these_files(self, pki: PkiDirectory) -> None:
        names = sorted(path.name for path in pki.path.iterdir())
        assert names == ["ca-bundle.pem", "ca.crt", "ca.key", "crlnumber", "index.json", "issued"]
        assert mode(pki.path / "ca.key") == 0o600
        assert mode(pki.path / "ca.crt") == 0o644

    def test_a_second_ca_in_one_directory_is_refused(self, pki: PkiDirectory) -> None:
        with pytest.raises(StateError, match="already"):
            PkiDirectory.create(pki.path, CA_TEMPLATE)
        with pytest.raises(StateError, match="already"):
            pki.intermediate(pki.path, CA_TEMPLATE)

    def test_a_directory_without_a_ca_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(StateError, match="holds no certificate authority"):
            PkiDirectory(tmp_path)

    def test_a_place_that_is_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StateError, match="directory"):
            PkiDirectory.create(tmp_path / "file" / "ca", CA_TEMPLATE)

    def test_an_intermediate_has_the_whole_bundle_and_no_key_above(self, pki: PkiDirectory, tmp_path: Path) -> None:
        below = pki.intermediate(tmp_path / "issuing", replace(CA_TEMPLATE, cn=("Issuing",)))
        bundle = x509.load_pem_x509_certificates((below.path / "ca-bundle.pem").read_bytes())
        assert [certificate.subject.rfc4514_string() for certificate in bundle] == ["CN=Issuing", "CN=Root"]
        assert [path.name for path in (pki.path / "issued").iterdir()] == ["issuing.crt"]
        assert [entry.name for entry in pki.entries()] == ["issuing"]

    def test_an_intermediate_of_the_same_name_needs_force(self, pki: PkiDirectory, tmp_path: Path) -> None:
        pki.intermediate(tmp_path / "a" / "issuing", CA_TEMPLATE)
        with pytest.raises(StateError, match="issued before"):
            pki.intermediate(tmp_path / "b" / "issuing", CA_TEMPLATE)
        pki.intermediate(tmp_path / "b" / "issuing", CA_TEMPLATE, is_forced=True)


class TestIssuing:
    def test_files_with_a_key_are_for_their_owner_only(self, pki: PkiDirectory) -> None:
        issued, files = pki.issue("alice", ALICE, password="secret")
        assert {kind: mode(file) for kind, file in files.items()} == {
            "certificate": 0o644,
            "key": 0o600,
            "bundle": 0o600,
            "pkcs12": 0o600,
        }
        assert issued.bundle_pem == files["bundle"].read_bytes()
        assert pkcs12.load_pkcs12(files["pkcs12"].read_bytes(), b"secret").key is not None

    def test_a_pkcs12_file_is_written_only_when_asked_for(self, pki: PkiDirectory) -> None:
        assert "pkcs12" not in pki.issue("alice", ALICE)[1]

    def test_a_name_is_issued_once_unless_forced(self, pki: PkiDirectory) -> None:
        pki.issue("alice", ALICE)
        with pytest.raises(StateError, match="alice was issued before"):
            pki.issue("alice", ALICE)
        pki.issue("alice", ALICE, is_forced=True)
        assert [entry.name for entry in pki.entries()] == ["alice", "alice"]

    def test_no_certificate_outlives_its_ca(self, pki: PkiDirectory) -> None:
        issued, _ = pki.issue("alice", replace(ALICE, not_after=NOW + 1000 * DAY))
        assert issued.certificate.not_valid_after_utc == pki.authority().issued.certificate.not_valid_after_utc

    def test_writers_take_turns(self, pki: PkiDirectory) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: pki.issue(f"client-{number}", ALICE), range(12)))
        assert {f"client-{number}" for number in range(12)} == {entry.name for entry in pki.entries()}

    def test_no_unfinished_file_is_left(self, pki: PkiDirectory) -> None:
        pki.issue("alice", ALICE)
        assert [path for path in pki.path.rglob("*") if path.name.startswith(".")] == []

    def test_a_file_that_cannot_be_written_is_told_by_name(self, pki: PkiDirectory) -> None:
        (pki.path / "issued").rmdir()
        with pytest.raises(StateError, match="No such file") as caught:
            pki.issue("alice", ALICE)
        assert caught.value.path == str(pki.path / "issued" / "alice.crt")


class TestRevoking:
    def test_a_name_stands_for_all_that_was_issued_under_it(self, pki: PkiDirectory) -> None:
        pki.issue("alice", ALICE)
        pki.issue("bob", ALICE)
        pki.issue("alice", ALICE, is_forced=True)
        revoked = pki.revoke("alice", at=NOW, reason="superseded")
        assert [(entry.name, entry.revoked, entry.reason) for entry in revoked] == [
            ("alice", "2027-01-15T08:00:00+00:00", "superseded")
        ] * 2
        assert [not entry.revoked for entry in pki.entries()] == [False, True, False]

    def test_a_serial_number_stands_for_one_certificate(self, pki: PkiDirectory) -> None:
        issued, _ = pki.issue("alice", ALICE)
        pki.issue("alice", ALICE, is_forced=True)
        assert len(pki.revoke(f"{issued.certificate.serial_number:x}", at=NOW)) == 1

    def test_the_first_revocation_stands(self, pki: PkiDirectory) -> None:
        pki.issue("alice", ALICE)
        first = pki.revoke("alice", at=NOW, reason="keyCompromise")
        assert first == pki.revoke("alice", at=NOW + DAY, reason="superseded")

    def test_what_was_never_issued_is_an_error(self, pki: PkiDirectory) -> None:
        with pytest.raises(StateError, match="no certificate named nobody"):
            pki.revoke("nobody", at=NOW)

    def test_crls_are_numbered_upwards_in_hex(self, pki: PkiDirectory) -> None:
        pki.issue("alice", ALICE)
        numbers = [pki.write_crl(now=NOW, valid_for=DAY)[1] for _ in range(10)]
        assert list(range(1, 11)) == numbers
        assert (pki.path / "crlnumber").read_text() == "0b\n"

    def test_a_crl_holds_what_is_revoked(self, pki: PkiDirectory) -> None:
        issued, _ = pki.issue("alice", ALICE)
        pki.revoke("alice", at=NOW, reason="keyCompromise")
        file, _ = pki.write_crl(now=NOW, valid_for=DAY)
        crl = x509.load_pem_x509_crl(file.read_bytes())
        assert [issued.certificate.serial_number] == [entry.serial_number for entry in crl]
        assert crl.public_bytes(Encoding.DER) == pki.crl_der()

    def test_a_crl_that_was_never_written_is_an_error(self, pki: PkiDirectory) -> None:
        with pytest.raises(StateError, match="No such file"):
            pki.crl_der()

    def test_ocsp_answers_follow_the_index(self, pki: PkiDirectory) -> None:
        issued, _ = pki.issue("alice", ALICE)
        builder = ocsp.OCSPRequestBuilder().add_certificate(issued.certificate, issued.chain[0], hashes.SHA1())
        request = builder.build().public_bytes(Encoding.DER)

        def status() -> ocsp.OCSPCertStatus:
            return ocsp.load_der_ocsp_response(pki.ocsp_answer(request, now=NOW)).certificate_status

        assert status() is ocsp.OCSPCertStatus.GOOD
        pki.revoke("alice", at=NOW)
        assert status() is ocsp.OCSPCertStatus.REVOKED


class TestDamage:
    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"certificates": [{}]}', '{"certificates": 1}'])
    def test_a_damaged_index_is_an_error_not_an_empty_one(self, pki: PkiDirectory, text: str) -> None:
        (pki.path / "index.json").write_text(text)
        with pytest.raises(StateError, match="not an index"):
            pki.issue("alice", ALICE)

    def test_a_damaged_key_is_an_error(self, pki: PkiDirectory) -> None:
        (pki.path / "ca.key").write_text("junk")
        with pytest.raises(StateError, match="can't be read"):
            pki.authority()

    def test_the_index_is_json_for_others_to_read(self, pki: PkiDirectory) -> None:
        issued, _ = pki.issue("alice", ALICE)
        (entry,) = json.loads((pki.path / "index.json").read_text())["certificates"]
        assert {
            "name": "alice",
            "serial": f"{issued.certificate.serial_number:x}",
            "subject": "CN=alice",
            "not_after": "2027-01-16T08:00:00+00:00",
            "revoked": "",
            "reason": "",
        } == entry
