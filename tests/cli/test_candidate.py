"""What verbs about lists are told: certificate files, what names a certificate, and times."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
import pytest

from spoa.cli.candidate import read_candidate, read_end, read_newcomer
from spoa.listindex import NEVER, Kind
from tests.pki import CA

if TYPE_CHECKING:
    from pathlib import Path


def test_a_certificate_file_is_named_in_every_way(tmp_path: Path) -> None:
    alice = CA("corp").issue("alice")
    (tmp_path / "alice.pem").write_bytes(alice.bundle_pem)
    found = read_candidate(str(tmp_path / "alice.pem"))
    assert [key.kind for key in found.keys] == [Kind.SHA256, Kind.SHA1, Kind.SPKI_SHA256]
    assert (found.key, found.spki) == (found.keys[0], found.keys[2])
    assert found.certificate is not None
    assert found.expires == found.certificate.not_after


def test_a_certificate_that_can_t_be_read_still_has_its_fingerprints(tmp_path: Path) -> None:
    (tmp_path / "bad.der").write_bytes(b"\x30\x03\x02\x01\x01")
    found = read_candidate(str(tmp_path / "bad.der"))
    assert [key.kind for key in found.keys] == [Kind.SHA256, Kind.SHA1]
    assert (found.certificate, found.spki, found.expires) == (None, None, NEVER)


def test_what_names_a_certificate_is_taken_as_it_is() -> None:
    found = read_candidate("corp/1f")
    assert (found.key.text, found.keys, found.certificate) == ("corp/1f", (found.key,), None)


@pytest.mark.parametrize("text", ["nothing", "{tmp}/empty.pem", "{tmp}/broken.pem"])
def test_what_names_none_is_a_usage_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(click.BadParameter):
        read_candidate(text.format(tmp=tmp_path))


def test_a_file_that_can_t_be_read_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x.pem").touch()
    monkeypatch.setattr("pathlib.Path.read_bytes", fail)
    with pytest.raises(click.BadParameter, match="Permission denied"):
        read_candidate(str(tmp_path / "x.pem"))


def test_an_end_is_a_day_or_an_instant() -> None:
    context = click.Context(click.Command("x"))
    option = click.Option(["--expires"])
    assert read_end(context, option, None) is None
    assert read_end(context, option, "2027-12-31") == 1830211200
    assert read_end(context, option, "2027-12-31T01:00:00+01:00") == 1830211200
    with pytest.raises(click.BadParameter):
        read_end(context, option, "soon")


class TestNewcomers:
    def test_one_that_has_ended_or_is_a_ca_s_is_refused(self, tmp_path: Path) -> None:
        ca, then = CA("corp"), int(time.time())
        (tmp_path / "old.pem").write_bytes(ca.issue("old", not_before=then - 7200, not_after=then - 3600).pem)
        (tmp_path / "ca.pem").write_bytes(ca.pem)
        with pytest.raises(click.BadParameter, match="; list the one that the client has now"):
            read_newcomer(str(tmp_path / "old.pem"))
        with pytest.raises(click.BadParameter, match="a CA's certificate"):
            read_newcomer(str(tmp_path / "ca.pem"), by_key=True)

    def test_its_key_a_renewal_may_have_and_of_a_fingerprint_nothing_is_known(self, tmp_path: Path) -> None:
        then = int(time.time())
        issued = CA("corp").issue("old", not_before=then - 7200, not_after=then - 3600)
        (tmp_path / "old.pem").write_bytes(issued.pem)
        assert read_newcomer(str(tmp_path / "old.pem"), by_key=True).certificate is not None
        assert read_newcomer("aa" * 32).certificate is None
