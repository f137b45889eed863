"""The journal gets entries by its native protocol, in which no client adds a field."""

from __future__ import annotations

import array
import fcntl
import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest

from spoa.chainaudit import Audit
from spoa.logchain import Chain
from spoa.logsinks.journald import FIELDS, MESSAGE_ID, JournaldSink
from spoa.logsinks.sink import RetryError
from tests.decisions import row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def fields(data: bytes) -> dict[str, str]:
    """Read an entry as systemd does: NAME=VALUE, or NAME, its length as 64 bits and VALUE."""
    found: dict[str, str] = {}
    while data:
        head, _, rest = data.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            (length,) = struct.unpack_from("<Q", rest)
            value, data = rest[8 : 8 + length], rest[8 + length :]
            assert data.startswith(b"\n")
            data = data[1:]
        else:
            data = rest
        assert name.isascii()
        assert name.decode().replace("_", "").isalnum()
        assert name.decode() not in found
        found[name.decode()] = value.decode()
    return found


class Journal:
    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(20)
        self.socket.bind(str(path))

    def receive(self) -> dict[str, str]:
        data, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(8))
        if not ancillary:
            return fields(data)
        assert data == b""
        ((_, _, rights),) = ancillary
        (descriptor,) = array.array("i", rights[:4])
        assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
        with os.fdopen(descriptor, "rb") as file:
            file.seek(0)
            return fields(file.read())


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "socket")
    yield made
    made.socket.close()


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[JournaldSink]:
    made = JournaldSink(str(tmp_path / "socket"), Chain())
    yield made
    made.close()


def test_each_value_is_a_field_and_the_line_is_one_too(journal: Journal, sink: JournaldSink) -> None:
    assert sink.write([row(rule="staff-only")]) == 1
    got = journal.receive()
    line = got.pop("AUTHZ_DECISION")
    assert got == {
        "MESSAGE": "deny no_rule_allows by staff-only: GET /x",
        "MESSAGE_ID": MESSAGE_ID,
        "PRIORITY": "5",
        "SYSLOG_IDENTIFIER": "spoa-authz",
        "AUTHZ_ID": "id-1",
        "AUTHZ_VERDICT": "deny",
        "AUTHZ_STATUS": "403",
        "AUTHZ_REASON": "no_rule_allows",
        "AUTHZ_RULE": "staff-only",
        "AUTHZ_IDENTITY": "staff",
        "AUTHZ_REVISION": "0123456789ab",
        "AUTHZ_REVOCATION": "good",
        "AUTHZ_SRC": "10.0.0.1",
        "AUTHZ_METHOD": "GET",
        "AUTHZ_HOST": "api",
        "AUTHZ_PATH": "/x",
        "AUTHZ_CERT_SHA256": "ab" * 32,
        "AUTHZ_CERT_SUBJECT": "CN=alice,OU=staff",
        "AUTHZ_CERT_ISSUER": "CN=CA",
        "AUTHZ_CERT_SERIAL": "ff",
    }
    assert json.loads(line)["rule"] == "staff-only"
    audit = Audit()
    audit.read("journal", [line.encode() + b"\n"])
    audit.finish("journal")
    assert audit.findings == []


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "/\nAUTHZ_VERDICT=allow\n"},
        {"cert_subject": "CN=a\nPRIORITY=7"},
        {"path": None, "method": None, "cert": None},
        {"path": "/\udcff\u2028"},
    ],
)
def test_a_client_adds_no_field(journal: Journal, sink: JournaldSink, changes: dict[str, Any]) -> None:
    sink.write([row(**changes)])
    got = journal.receive()
    assert (got["AUTHZ_VERDICT"], got["PRIORITY"]) == ("deny", "5")
    assert json.loads(got["AUTHZ_DECISION"])["path"] == row(**changes)["path"]


def test_an_entry_that_no_datagram_holds_goes_as_a_sealed_file(journal: Journal, sink: JournaldSink) -> None:
    path = "/" + "\u00e9" * 200_000
    assert sink.write([row(path=path), row(id="next")]) == 2
    assert journal.receive()["AUTHZ_PATH"] == path
    assert journal.receive()["AUTHZ_ID"] == "next"


def test_a_journal_that_does_not_listen_is_tried_again_later(tmp_path: Path, sink: JournaldSink) -> None:
    with pytest.raises(RetryError, match="the journal can't be reached: No such file") as raised:
        sink.write([row()])
    assert raised.value.written == 0
    journal = Journal(tmp_path / "socket")
    sink.reopen()
    assert sink.write([row()]) == 1
    assert journal.receive()["AUTHZ_ID"] == "id-1"
    journal.socket.close()


def test_fields_have_names_that_the_journal_takes() -> None:
    assert set(FIELDS) <= set(row())
