"""What is masked can't be read or tried out, and the line says that it was masked."""

from __future__ import annotations

import json

import pytest

from spoa.masking import ALONG, MASKABLE, Mask
from tests.decisions import row

ALL = list(dict.fromkeys(name for field in MASKABLE for name in (field, *ALONG.get(field, ()))))


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


def test_an_address_is_gone_from_the_id_that_holds_it_too() -> None:
    line = Mask(("src",), b"key").apply(row(src="10.0.0.1", id="0A000001:C5A2_7F000001:20FB_65_0001:2A"))
    assert "0A000001" not in json.dumps(line)
    assert line["masked"] == ["src", "id"]
    assert line["id"].startswith("masked:")
    address = Mask(("src",)).apply(row(src="2001:db8::1", id="20010DB8000000000000000000000001"))
    assert address["id"] == "masked"


def test_an_id_that_tells_nothing_stays_unless_it_is_named() -> None:
    uuid = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
    kept = Mask(("src",)).apply(row(id=uuid))
    assert (kept["src"], kept["id"], kept["masked"]) == ("masked", uuid, ["src"])
    for fields in (("id",), ("src", "id"), ("id", "src")):
        gone = Mask(fields).apply(row(id=uuid))
        assert (gone["id"], sorted(gone["masked"])) == ("masked", sorted(fields))


def test_what_is_named_and_masked_along_is_masked_once() -> None:
    both, one = Mask(("src", "id"), b"key").apply(row()), Mask(("id",), b"key").apply(row())
    assert (both["id"], both["masked"]) == (one["id"], ["src", "id"])


def test_whatever_a_certificate_can_be_listed_by_is_masked_with_what_hides_it() -> None:
    cert = Mask(("sha256", "serial"), b"key").apply(row())["cert"]
    shown = {name: value for name, value in cert.items() if not value.startswith("masked:")}
    assert set(shown) == {"subject", "issuer", "not_after", "issuer_name"}
    assert len({cert[name] for name in ("sha256", "spki_sha256", "sha1")}) == 3


def test_what_is_not_there_stays_so() -> None:
    made = Mask(tuple(MASKABLE)).apply(row(cert=None, src=None, host=None, path=None, id=None))
    assert made == row(cert=None, src=None, host=None, path=None, id=None, masked=ALL)


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
