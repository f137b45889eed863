from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from spoa import revocation
from spoa.cli.revocation import SENTENCES, _content, _valid_until, command
from spoa.pem import write_block
from spoa.revocation import Reason
from tests.pki import CA
from tests.revocation.lists import FUTURE, NOW, answer, at, crl, instant

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

ROOT = CA("Root CA", now=NOW)
SUB = ROOT.intermediate("Sub CA")
ALICE = SUB.issue("alice")
AT = instant().isoformat()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "alice.pem").write_bytes(ALICE.pem)
    (tmp_path / "alice.der").write_bytes(ALICE.der)
    (tmp_path / "chain.pem").write_bytes(ALICE.chain_pem)
    (tmp_path / "sub.pem").write_bytes(SUB.pem)
    (tmp_path / "root.pem").write_bytes(ROOT.pem)
    (tmp_path / "fresh.crl").write_bytes(crl(SUB))
    (tmp_path / "all.pem").write_bytes(b"".join(write_block("X509 CRL", crl(ca)) for ca in (SUB, ROOT)))
    (tmp_path / "listed.crl").write_bytes(crl(SUB, at(ALICE, "keyCompromise")))
    (tmp_path / "unknown.ors").write_bytes(answer(ALICE, SUB, "UNKNOWN"))
    (tmp_path / "junk").write_bytes(b"junk")
    return tmp_path


def run(files: Path, *arguments: str) -> Result:
    named = [str(files / item) if (files / item).exists() else item for item in arguments]
    return CliRunner().invoke(command, named, catch_exceptions=False)


BASE = ("--cert", "alice.pem", "--issuer", "sub.pem", "--anchor", "root.pem", "--at", AT)


def test_good_is_said_with_its_end_and_exit_0(files: Path) -> None:
    result = run(files, *BASE, "--crl", "fresh.crl")
    assert result.exit_code == 0
    until = instant(FUTURE).strftime("%Y-%m-%dT%H:%M:%SZ")
    expected = ["status good", "reason ok - fresh evidence covers it and does not list it", f"holds until {until}"]
    assert expected == [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_revoked_is_said_with_the_cas_reason_and_exit_1(files: Path) -> None:
    result = run(files, *BASE, "--crl", "listed.crl")
    assert (
        result.exit_code,
        [" ".join(line.split()) for line in result.stdout.splitlines()],
    ) == (1, ["status revoked", "reason keyCompromise"])


def test_whose_certificate_it_is_about_is_said(files: Path) -> None:
    result = run(files, *BASE, "--crl", "fresh.crl", "--depth", "chain")
    assert result.exit_code == 1
    assert "about   the issuer 1 above the certificate" in result.stdout


def test_json_has_a_stable_schema(files: Path) -> None:
    good = json.loads(run(files, *BASE, "--crl", "all.pem", "--depth", "chain", "--json").stdout)
    until = instant(FUTURE).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert {"status": "good", "reason": "ok", "position": 0, "valid_until": until} == good
    unknown = json.loads(run(files, *BASE, "--ocsp-response", "unknown.ors", "--json").stdout)
    expected = {"status": "unknown", "reason": "responder_unknown", "position": 0, "valid_until": None}
    assert expected == unknown


def test_the_files_may_be_der_and_the_issuers_in_the_same_file(files: Path) -> None:
    der = run(files, "--cert", "alice.der", *BASE[2:], "--crl", "fresh.crl")
    chain = run(files, "--cert", "chain.pem", "--anchor", "root.pem", "--at", AT, "--crl", "fresh.crl")
    assert (der.exit_code, chain.exit_code) == (0, 0)


def test_junk_is_undetermined_and_no_crash(files: Path) -> None:
    for arguments in (
        ("--cert", "junk", *BASE[2:], "--crl", "fresh.crl"),
        ("--cert", "alice.pem", "--issuer", "junk", "--anchor", "root.pem", "--at", AT),
        (*BASE, "--crl", "junk", "--ocsp-response", "junk"),
    ):
        result = run(files, *arguments)
        assert (result.exit_code, "undetermined" in result.stdout) == (1, True)
    assert run(files, *BASE, "--crl", "fresh.crl", "--extra", "junk").exit_code == 0


def test_a_nonce_is_compared(files: Path) -> None:
    from cryptography import x509

    (files / "nonce.ors").write_bytes(answer(ALICE, SUB, extensions=[(x509.OCSPNonce(bytes(16)), False)]))
    assert run(files, *BASE, "--ocsp-response", "nonce.ors", "--nonce", "00" * 16).exit_code == 0
    other = run(files, *BASE, "--ocsp-response", "nonce.ors", "--nonce", "01" * 16)
    assert "nonce_mismatch" in other.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--at", "yesterday"), "2026-11-20T10:00:00Z"),
        (("--at", "2026-11-20T10:00:00"), "no time zone"),
        (("--nonce", "xyz"), "not hexadecimal"),
        (("--depth", "deep"), "'leaf', 'chain'"),
        (("--crl", "missing.crl"), "does not exist"),
    ],
)
def test_usage_errors_say_what_would_be_right(files: Path, arguments: tuple[str, str], message: str) -> None:
    result = run(files, "--cert", "alice.pem", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_file_that_cannot_be_read_is_named(files: Path) -> None:
    with pytest.raises(click.FileError) as caught:
        _content(str(files / "gone"))
    assert "gone" in caught.value.format_message()


def test_the_time_is_now_unless_given(files: Path) -> None:
    live = CA("Live CA")
    (files / "live.pem").write_bytes(live.issue("bob").pem)
    (files / "live-ca.pem").write_bytes(live.pem)
    (files / "live.crl").write_bytes(live.crl())
    assert run(files, "--cert", "live.pem", "--anchor", "live-ca.pem", "--crl", "live.crl").exit_code == 0


def test_an_end_beyond_the_calendar_is_left_out(files: Path) -> None:
    assert _valid_until(revocation.Result(revocation.Status.GOOD, Reason.OK, valid_until=2**62)) == ""


def test_every_reason_has_its_sentence() -> None:
    assert set(Reason) == set(SENTENCES)
