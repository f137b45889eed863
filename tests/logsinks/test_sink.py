"""A line is one line of ASCII whatever clients send, and one that is too long for a datagram is cut and says so."""

from __future__ import annotations

import json

from spoa.logchain import Chain
from spoa.logsinks.sink import Encoder, RetryError, encode, new_head, shortened
from tests.decisions import row


def test_whatever_a_client_sends_stays_on_its_line() -> None:
    line = encode(row(path="/\x00\r\n\x1b[2J\x85\u2028\xff\udcff"))
    assert line.isascii()
    assert not any(byte < 0x20 for byte in line)
    assert json.loads(line)["path"] == "/\x00\r\n\x1b[2J\x85\u2028\xff\udcff"


def test_only_long_texts_are_cut_and_named() -> None:
    made = shortened(row(path="/" * 600, host="h" * 513, detail=""))
    assert (len(made["path"]), len(made["host"]), made["cut"]) == (512, 512, ["path", "host"])
    assert shortened(row(path=None)) == {**row(path=None), "cut": []}


def test_a_line_that_was_not_written_takes_no_place_in_the_chain() -> None:
    encoder = Encoder(Chain())
    first = [json.loads(encoder.encode(row()))["chain"]["seq"] for _ in range(2)]
    encoder.keep()
    assert [*first, json.loads(encoder.encode(row()))["chain"]["seq"]] == [1, 1, 2]
    assert "chain" not in json.loads(Encoder(None).encode(row()))


def test_no_two_chains_are_alike() -> None:
    assert new_head("file") != new_head("file")
    assert str(RetryError("not now", 3)) == "not now"
