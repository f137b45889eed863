"""What is masked can't be read or tried out, and the line says that it was masked."""

from __future__ import annotations

import json

import pytest

from spoa.masking import ALONG, MASKABLE, Mask
from tests.decisions import row

ALL = [name for field in MASKABLE for name in (field, *ALONG.get(field, ()))]


@pytest.mark.parametrize("name", MASKABLE)
def test_each_value_can_be_masked_alone(name: str) -> None:
    plain, masked = row(), Mask((name,)).apply(row())
    before, after = (one["cert"] if MASKABLE[name] else one for one in (plain, masked))
    gone = [name, *ALONG.get(name, ())]
    assert [after[one] for one in gone] == ["masked"] * len(gone)
    assert masked["masked"] == gone
    after |= {one: before[one] for one in gone}
    masked["masked"] = []
    assert masked == plain


def test_whatever_a_certificate_can_be_listed_by_is_masked_with_what_hides_it() -> None:
    cert = Mask(("sha256", "serial"), b"key").apply(row())["cert"]
    shown = {name: value for name, value in cert.items() if not value.startswith("masked:")}
    assert set(shown) == {"subject", "issuer", "not_after", "issuer_name"}
    assert len({cert[name] for name in ("sha256", "spki_sha256", "sha1")}) == 3


def test_what_is_not_there_stays_so() -> None:
    made = Mask(tuple(MASKABLE)).apply(row(cert=None, src=None, host=None, path=None))
    assert made == row(cert=None, src=None, host=None, path=None, masked=ALL)


def test_with_a_key_a_value_has_a_pseudonym_of_its_own_that_another_key_gives_otherwise() -> None:
    def masked(key: bytes, name: str) -> str:
        return str(Mask(("path",), key).apply(row(path=name))["path"])

    assert masked(b"k", "/a") == masked(b"k", "/a")
    assert len({masked(b"k", "/a"), masked(b"k", "/b"), masked(b"l", "/a")}) == 3
    assert masked(b"k", "/a").startswith("masked:")
    one = Mask(("src", "host"), b"k").apply(row(src="x", host="x"))
    assert one["src"] != one["host"]
    assert masked(b"k", "/\udcff")


def test_nothing_of_a_masked_value_is_left_in_the_line() -> None:
    text = json.dumps(Mask(tuple(MASKABLE), b"key").apply(row(path="/secret-path", host="secret-host")))
    assert not any(value in text for value in ("alice", "10.0.0.1", "secret", "abab", "cdcd", "efef", '"ff"'))
