"""The certificate that a verb asks about: a file, or what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from spoa.cli.subjects import is_map, read_der, read_subject
from spoa.policy import oids
from tests.pki import CA
from tests.policies import HEAD, NOW, model

if TYPE_CHECKING:
    from pathlib import Path

MODEL = model(
    HEAD + "lists: {docks: {file: x.txt}}\nrules: [{id: d, effect: deny, who: {issuer: corp, in_list: docks}}]"
)


def test_a_file_holds_the_certificate_first(tmp_path: Path) -> None:
    alice = CA("corp").issue("alice")
    (tmp_path / "alice.pem").write_bytes(alice.bundle_pem)
    assert read_der(str(tmp_path / "alice.pem")) == alice.der


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "can't be read"), (b"x", "holds no certificate"), (b"-----BEGIN CERTIFICATE-----\n", ":1: ")],
)
def test_what_holds_none_says_why(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "c").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_der(str(tmp_path / "c"))


def test_a_map_says_what_a_certificate_says() -> None:
    text = " {issuer: corp, cn: alice,\n ou: [a, b], in_list: docks}"
    assert is_map(text)
    assert not is_map("alice.pem")
    subject = read_subject(text, MODEL, NOW)
    assert (subject.issuer, subject.lists) == ("corp", {"docks": True})
    assert subject.certificate.subject == {oids.CN: ("alice",), oids.OU: ("a", "b")}
    assert subject.certificate.not_before == subject.certificate.not_after == NOW


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{isuer: corp}", 'did you mean "issuer"'),
        ("{issuer: crop}", 'unknown issuer "crop"; did you mean "corp"'),
        ("{issuer: corp", "--cert"),
        ("{issuer: corp, in_list: yard}", "unknown list"),
        ("{pem: a.pem}", "give the file itself"),
    ],
)
def test_what_is_wrong_with_a_map_is_told(text: str, message: str) -> None:
    with pytest.raises(click.BadParameter) as error:
        read_subject(text, MODEL, NOW)
    assert message in str(error.value.format_message()) or message == "--cert"
