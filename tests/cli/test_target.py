"""What is to be blocked is named by a file, a digest, a key or a serial number."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import click
import pytest

from spoa.cli.target import read_target_or_file
from tests.pki import CA

if TYPE_CHECKING:
    from pathlib import Path


def test_the_first_certificate_of_a_file_is_meant(tmp_path: Path) -> None:
    alice = CA("corp").intermediate().issue("alice")
    for name, content in (("alice.pem", alice.bundle_pem), ("alice.der", alice.der)):
        (tmp_path / name).write_bytes(content)
        assert read_target_or_file(str(tmp_path / name)) == ("sha256", hashlib.sha256(alice.der).digest())


def test_what_is_no_file_is_read_as_a_name() -> None:
    assert read_target_or_file("corp/1f") == ("serial", ("corp", 0x1F))


@pytest.mark.parametrize("content", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"])
def test_a_file_without_a_certificate_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pem").write_bytes(content)
    with pytest.raises(click.BadParameter, match="holds no certificate"):
        read_target_or_file(str(tmp_path / "x.pem"))


def test_what_names_nothing_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="write a certificate file"):
        read_target_or_file("nothing")
