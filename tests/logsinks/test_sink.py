"""A line is one line of ASCII whatever clients send, and one that is too long for a datagram is cut and says so."""

from __future__ import annotations

import json

from spoa.logchain import Chain
from spoa.logsinks.sink import Encoder, Line, RetryError, Text, encode, new_head, rest_of, shortened, text_of
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


def test_rows_and_lines_that_are_written_already_are_one_text() -> None:
    first, second, third = (encode(row(id=name)) for name in "abc")
    rows: list[Line] = [row(id="a"), Text(second + b"\n" + third + b"\n", 2)]
    assert text_of(rows) == (first + b"\n" + second + b"\n" + third + b"\n", 3)
    assert text_of([]) == (b"", 0)


def test_what_is_left_is_counted_in_lines_also_where_several_are_one_text() -> None:
    rows = [row(id=name) for name in "abcd"]
    assert rest_of(list(rows), 1) == rows[1:]
    texts = [text_of(rows[:3]), text_of(rows[3:])]
    assert [rest_of(list(texts), written) for written in (1, 3, 4)] == [
        [text_of([one]) for one in rows[written:]] for written in (1, 3, 4)
    ]


def test_no_two_chains_are_alike() -> None:
    assert new_head("file") != new_head("file")
    assert str(RetryError("not now", 3)) == "not now"
