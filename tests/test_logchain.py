"""A link covers its line, its place and who wrote it; without the key nobody makes one."""

from __future__ import annotations

import json

import pytest

from spoa.exceptions import StateError
from spoa.logchain import FIRST_PREV, Chain, Head, KeptHead, read_link

START = Head("file-0123456789abcdef")


@pytest.mark.parametrize("key", [b"", b"secret"])
def test_a_line_with_its_link_is_json_and_holds(key: bytes) -> None:
    line, head = Chain(key).extend(b'{"a":1}', START)
    assert json.loads(line)["chain"] == {
        "alg": "hmac-sha256" if key else "sha256",
        "writer": START.writer,
        "seq": 1,
        "prev": FIRST_PREV,
        "hash": head.hash,
    }
    link = read_link(line + b"\n")
    assert link is not None
    assert link.head == head
    assert Chain(key).holds(link)
    assert not Chain(b"another").holds(link)


@pytest.mark.parametrize(
    ("old", "new"), [(b'"a":1', b'"a":2'), (b'"seq":1', b'"seq":2'), (b"0123456789abcdef", b"0123456789abcdee")]
)
def test_whatever_of_a_line_is_changed_no_longer_holds(old: bytes, new: bytes) -> None:
    line, _ = Chain().extend(b'{"a":1}', START)
    link = read_link(line.replace(old, new, 1))
    assert link is not None
    assert not Chain().holds(link)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"a":1}',
        b'{"a":1,"chain":{}}',
        b'{"a":1,"chain":{"alg":"sha256","writer":"file-0123456789abcdef","seq":0,"prev":"' + b"0" * 64,
    ],
)
def test_a_line_without_a_whole_link_has_none(line: bytes) -> None:
    assert read_link(line) is None


def test_a_path_that_looks_like_a_link_is_none() -> None:
    line, head = Chain().extend(b'{"path":"' + b',\\"chain\\":{' + b'"}', START)
    link = read_link(line)
    assert link is not None
    assert link.head == head
    assert link.body == b'{"path":",\\"chain\\":{"'


def test_a_head_is_read_as_it_is_written() -> None:
    head = Head("process-0123456789abcdef", 7, "ab" * 32)
    assert Head.from_text(str(head)) == head
    with pytest.raises(ValueError, match="WRITER:SEQ:HASH"):
        Head.from_text("file-1:2:3")
    kept = KeptHead(head, 10, 20)
    assert KeptHead.from_bytes(kept.to_bytes(), "x") == kept
    assert KeptHead.from_bytes(kept.to_bytes().replace(b'"seq": 7', b'"seq": 0'), "x") is None


def test_a_kept_head_of_a_newer_agent_is_refused_with_what_to_do() -> None:
    with pytest.raises(StateError, match=r"log\.chain: has version 9, and this agent reads up to 1; use the version"):
        KeptHead.from_bytes(b'{"version": 9}', "log.chain")
