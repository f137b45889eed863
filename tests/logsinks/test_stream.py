"""The standard output, a pipe or a device gets whole lines."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from spoa.chainaudit import Audit
from spoa.logchain import Chain
from spoa.logsinks.sink import text_of
from spoa.logsinks.stream import StreamSink
from tests.decisions import row

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_lines_reach_the_standard_output_in_a_chain_of_the_process(capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        sink = StreamSink(1, Chain())
        assert sink.write([row(), row()]) == 2
        assert sink.write([row()]) == 1
        sink.reopen()
        sink.close()
    audit = Audit()
    audit.read("stdout", capfd.readouterr().out.encode().splitlines(keepends=True))
    audit.finish("stdout")
    assert (audit.findings, audit.chained, len(audit.heads)) == ([], 6, 2)


def test_a_pipe_gets_portions_that_it_takes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    sizes: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    sink = StreamSink(writing, is_owner=True)
    assert sink.write([row()] * 60) == 60
    sink.close()
    with os.fdopen(reading, "rb") as file:
        assert len([json.loads(line) for line in file]) == 60
    assert len(sizes) > 1
    assert max(sizes) <= 4096


def test_lines_that_are_one_text_are_told_apart_for_a_pipe_and_for_a_chain(capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    sink = StreamSink(writing, is_owner=True)
    assert sink.write([text_of([row(id="a"), row(id="b")]), text_of([row(id="c")] * 20)]) == 22
    sink.close()
    with os.fdopen(reading, "rb") as file:
        assert [json.loads(line)["id"] for line in file] == ["a", "b", *["c"] * 20]
    assert StreamSink(1, Chain()).write([text_of([row()] * 3)]) == 3
    assert [json.loads(line)["chain"]["seq"] for line in capfd.readouterr().out.splitlines()] == [1, 2, 3]


def test_a_full_device_loses_lines_and_says_how_many() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    sink = StreamSink(descriptor, is_owner=True)
    assert sink.write([row()] * 3) == 0
    sink.close()


def test_what_was_cut_off_does_not_swallow_the_next_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out"
    sink = StreamSink(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), is_owner=True)
    write = os.write
    room = [len(json.dumps(row(), separators=(",", ":"))) + 20]

    def limited(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        portion = min(room[0], len(data))
        room[0] -= portion
        return write(descriptor, data[:portion])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", limited)
        assert sink.write([row()] * 3) == 1
        assert sink.write([row()]) == 0
    assert sink.write([row(id="last")]) == 1
    sink.close()
    text = path.read_text().splitlines()
    assert [json.loads(text[number])["id"] for number in (0, 2)] == ["id-1", "last"]
