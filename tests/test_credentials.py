"""Files become what is shown over TLS, or an error that names the option; workers get text."""

from __future__ import annotations

import hashlib
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from spoa.credentials import Credentials
from spoa.exceptions import SettingsError
from tests.pki import CA, DAY, HOUR
from tests.secrecy import Secrecy

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def secrecy(tmp_path: Path) -> Secrecy:
    return Secrecy.made(tmp_path / "tls")


def read(secrecy: Secrecy, key: str = "") -> Credentials:
    folder = secrecy.folder
    return Credentials.from_files(folder / "agent.pem", folder / key if key else None, folder / "ca.pem")


def test_what_is_read_goes_to_workers_as_text_and_is_the_same_there(secrecy: Secrecy) -> None:
    certificate = secrecy.renew()
    found = read(secrecy)
    assert Credentials.from_json(found.to_json()) == found
    assert found.fingerprint == hashlib.sha256(certificate).hexdigest()
    assert "PRIVATE KEY" not in repr(found)


def test_a_context_takes_tls_1_3_with_a_certificate_and_resumes_nothing(secrecy: Secrecy) -> None:
    context = read(secrecy).context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.num_tickets == 0
    assert [ca["subject"] for ca in context.get_ca_certs()] == [((("commonName", "Agents CA"),),)]


def test_what_expires_first_is_told_of_all_that_is_shown(secrecy: Secrecy) -> None:
    between = CA("between", not_after=secrecy.ca.now + DAY)
    pem = (secrecy.folder / "agent.pem").read_bytes()
    began = secrecy.ca.now - HOUR
    assert read(secrecy).validity() == (began, secrecy.ca.now + 30 * DAY)
    secrecy.write("agent.pem", pem + between.pem)
    validity = read(secrecy).validity()
    assert validity is not None
    assert validity[1] == secrecy.ca.now + DAY
    unread = Credentials("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "", "")
    assert unread.validity() is None


def test_the_key_may_have_a_file_of_its_own(secrecy: Secrecy) -> None:
    pem = (secrecy.folder / "agent.pem").read_bytes()
    start = pem.index(b"-----BEGIN PRIVATE KEY")
    end = pem.index(b"-----END PRIVATE KEY-----") + len(b"-----END PRIVATE KEY-----\n")
    secrecy.write("key.pem", pem[start:end])
    secrecy.write("agent.pem", pem[:start] + pem[end:])
    read(secrecy, "key.pem").context()
    with pytest.raises(SettingsError, match="its key can't be used"):
        read(secrecy)


@pytest.mark.parametrize(
    ("name", "content", "option"),
    [
        ("agent.pem", b"", "tls-cert"),
        ("agent.pem", b"no PEM \xff", "tls-cert"),
        ("agent.pem", CA("other").pem, "tls-cert"),
        ("ca.pem", "# Größe".encode(), "tls-client-ca"),
        ("ca.pem", b"", "tls-client-ca"),
        ("ca.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "tls-client-ca"),
    ],
)
def test_what_can_not_be_used_names_its_option(secrecy: Secrecy, name: str, content: bytes, option: str) -> None:
    secrecy.write(name, content)
    with pytest.raises(SettingsError) as caught:
        read(secrecy)
    assert caught.value.option == option


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_remarks_between_certificates_may_be_in_any_language(secrecy: Secrecy, encoding: str) -> None:
    remark = "# Größe GmbH\n".encode(encoding)
    plain = read(secrecy)
    for name in ("agent.pem", "ca.pem"):
        secrecy.write(name, remark + (secrecy.folder / name).read_bytes())
    found = read(secrecy)
    assert found.fingerprint == plain.fingerprint
    assert len(found.context().get_ca_certs()) == 1


def test_a_certificate_under_an_older_name_is_refused_when_it_is_read(secrecy: Secrecy) -> None:
    pem = (secrecy.folder / "agent.pem").read_bytes()
    secrecy.write("agent.pem", pem.replace(b" CERTIFICATE-----", b" X509 CERTIFICATE-----"))
    with pytest.raises(SettingsError, match="can't be used"):
        read(secrecy)


def test_a_key_of_another_certificate_is_found(secrecy: Secrecy) -> None:
    secrecy.write("other.pem", secrecy.ca.server("other.example").bundle_pem)
    with pytest.raises(SettingsError, match="its key can't be used"):
        read(secrecy, "other.pem")


def test_a_key_behind_a_password_is_refused_and_asks_nobody(secrecy: Secrecy) -> None:
    issued = secrecy.ca.server("agent1.example")
    locked = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    secrecy.write("agent.pem", issued.pem)
    secrecy.write("key.pem", locked)
    with pytest.raises(SettingsError, match="its key can't be used"):
        read(secrecy, "key.pem")


@pytest.mark.parametrize(("name", "option"), [("agent.pem", "tls-cert"), ("ca.pem", "tls-client-ca")])
def test_a_file_that_is_not_there_names_its_option(secrecy: Secrecy, name: str, option: str) -> None:
    (secrecy.folder / name).unlink()
    with pytest.raises(SettingsError, match="can't be read") as caught:
        read(secrecy)
    assert caught.value.option == option
    with pytest.raises(SettingsError, match="can't be read"):
        read(Secrecy.made(secrecy.folder), "no-key.pem")
