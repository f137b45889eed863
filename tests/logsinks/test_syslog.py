"""Receivers on loopback get messages of RFC 5424, whole and in order, also after they were gone."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import pytest

from spoa.chainaudit import Audit
from spoa.logchain import Chain
from spoa.logsinks.sink import RetryError
from spoa.logsinks.syslog import FACILITIES, Place, SyslogSink, message, try_tls
from tests.agents import until
from tests.decisions import row
from tests.secrecy import Secrecy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: RFC 5424, section 6, as far as a message of ours has parts: header, one element of structured data, message.
MESSAGE = re.compile(
    rb"<(?P<priority>\d{1,3})>1 "
    rb"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) "
    rb"(?P<pid>[!-~]{1,128}) (?P<id>[!-~]{1,32}) "
    rb'\[(?P<element>[!-<>-\\^-~]{1,32})(?P<data>(?: [!-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*)\] (?P<text>.*)',
    re.DOTALL,
)


def parsed(data: bytes) -> dict[str, Any]:
    match = MESSAGE.fullmatch(data)
    assert match is not None, data
    values = re.findall(rb' ([^=]+)="((?:[^"\\\]]|\\.)*)"', match["data"])
    told = {name.decode(): re.sub(rb"\\(.)", rb"\1", value).decode() for name, value in values}
    return {**{key: value.decode() for key, value in match.groupdict().items()}, "data": told}


def frames(data: bytes) -> list[bytes]:
    """Split a stream by octet counting: MSG-LEN SP SYSLOG-MSG (RFC 6587, section 3.4.1)."""
    found = []
    while data:
        length, _, rest = data.partition(b" ")
        found.append(rest[: int(length)])
        assert len(found[-1]) == int(length)
        data = rest[int(length) :]
    return found


class Receiver:
    """A receiver of datagrams on a socket of its own."""

    def __init__(self, transport: str, directory: Path) -> None:
        family = socket.AF_UNIX if transport == "unix" else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(20)
        self.socket.bind(str(directory / "log.sock") if transport == "unix" else ("127.0.0.1", 0))
        name = self.socket.getsockname()
        self.place = (
            Place("unix", path=name, facility="authpriv")
            if transport == "unix"
            else Place("udp", host=name[0], port=name[1], facility="authpriv")
        )

    def receive(self) -> dict[str, Any]:
        return parsed(self.socket.recv(1 << 20))


@pytest.mark.parametrize("transport", ["unix", "udp"])
class TestDatagrams:
    def test_each_decision_is_a_message_whose_text_is_the_line(self, transport: str, tmp_path: Path) -> None:
        receiver = Receiver(transport, tmp_path)
        sink = SyslogSink(receiver.place)
        assert sink.write([row(rule='say "no" [\\]', identity="na\u00efve\n")]) == 1
        got = receiver.receive()
        assert (got["priority"], got["app"], got["id"], got["time"]) == (
            str(FACILITIES["authpriv"] * 8 + 5), "spoa-authz", "decision", row()["time"],
        )  # fmt: skip
        assert got["data"] == {
            "id": "id-1", "verdict": "deny", "reason": "no_rule_allows", "rule": 'say "no" [\\]',
            "identity": "nau00efveu000a", "revision": "0123456789ab",
        }  # fmt: skip
        assert json.loads(got["text"])["rule"] == 'say "no" [\\]'
        sink.close()
        receiver.socket.close()

    def test_a_line_that_no_datagram_holds_is_cut_and_not_lost(self, transport: str, tmp_path: Path) -> None:
        receiver = Receiver(transport, tmp_path)
        receiver.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sink = SyslogSink(receiver.place, Chain())
        assert sink.write([row(path="/" + "\u00e9" * 100_000), row()]) == 2
        lines = [receiver.receive()["text"].encode() + b"\n" for _ in range(2)]
        assert json.loads(lines[0])["cut"] == ["path"]
        assert len(json.loads(lines[0])["path"]) == 512
        audit = Audit()
        audit.read("syslog", lines)
        audit.finish("syslog")
        assert (audit.findings, audit.chained) == ([], 2)
        sink.close()
        receiver.socket.close()


def test_the_journey_goes_on_when_a_receiver_comes_back(tmp_path: Path) -> None:
    sink = SyslogSink(Place("unix", path=str(tmp_path / "log.sock")))
    with pytest.raises(RetryError, match="syslog can't be reached: No such file"):
        sink.write([row()])
    receiver = Receiver("unix", tmp_path)
    assert sink.write([row()]) == 1
    receiver.socket.close()
    with pytest.raises(RetryError) as raised:
        sink.write([row(), row()])
    assert raised.value.written == 0
    (tmp_path / "log.sock").unlink()
    receiver = Receiver("unix", tmp_path)
    sink.reopen()
    assert sink.write([row(id="again")]) == 1
    assert receiver.receive()["data"]["id"] == "again"
    sink.close()
    receiver.socket.close()


class TestStream:
    def test_messages_are_counted_in_octets_also_over_several_writes(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            sink = SyslogSink(Place("tcp", host="127.0.0.1", port=server.getsockname()[1]))
            got: list[bytes] = []

            def read() -> None:
                connection, _ = server.accept()
                with connection:
                    while data := connection.recv(65536):
                        got.append(data)

            thread = threading.Thread(target=read)
            thread.start()
            assert sink.write([row(), row(path="/\n")]) == 2
            assert sink.write([row(id="last", path="/" + "x" * 100_000)]) == 1
            sink.close()
            thread.join(20)
        messages = [parsed(frame) for frame in frames(b"".join(got))]
        assert [one["data"]["id"] for one in messages] == ["id-1", "id-1", "last"]
        assert len(json.loads(messages[2]["text"])["path"]) == 100_001

    def test_a_receiver_that_hung_up_is_noticed_before_a_line_is_lost(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(20)
            sink = SyslogSink(Place("tcp", host="127.0.0.1", port=server.getsockname()[1]))
            assert sink.write([row()]) == 1
            first, _ = server.accept()
            first.recv(65536)
            first.close()
            connection = sink._socket
            assert connection is not None
            until(lambda: connection.recv(1, socket.MSG_PEEK) == b"")
            assert sink.write([row(id="second")]) == 1
            second, _ = server.accept()
            assert parsed(frames(second.recv(65536))[0])["data"]["id"] == "second"
            second.sendall(b"no receiver says anything")
            until(lambda: sink._socket is not None and sink._socket.recv(1, socket.MSG_PEEK))
            assert sink.write([row(id="third")]) == 1
            assert parsed(frames(second.recv(65536))[0])["data"]["id"] == "third"
            second.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            second.close()  # by a reset
            assert sink.write([row(id="fourth")]) == 1
            third, _ = server.accept()
            assert parsed(frames(third.recv(65536))[0])["data"]["id"] == "fourth"
            third.close()
            sink.close()

    def test_nobody_there_is_tried_again_later(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        with pytest.raises(RetryError, match="Connection refused"):
            SyslogSink(Place("tcp", host="127.0.0.1", port=port)).write([row()])


@dataclass
class TlsReceiver:
    """A receiver of RFC 5425 on loopback, which takes any number of connections, and sends tickets of TLS with each."""

    secrecy: Secrecy
    wants_certificate: bool = False
    got: list[bytes] = field(default_factory=list)
    accepted: list[ssl.SSLSocket] = field(default_factory=list)
    port: int = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[Self]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.secrecy.folder / "agent.pem")
        context.load_verify_locations(self.secrecy.folder / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED if self.wants_certificate else ssl.CERT_NONE
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
            thread = threading.Thread(target=self._serve, args=(server, context))
            thread.start()
            try:
                yield self
            finally:
                server.shutdown(socket.SHUT_RDWR)
                thread.join(20)

    def _serve(self, server: socket.socket, context: ssl.SSLContext) -> None:
        """Serve one after the other, until nobody can come any more."""
        while True:
            try:
                plain, _ = server.accept()
            except OSError:
                return
            # Some don't believe it, show nothing or are cut off.
            with plain, contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
                self.accepted.append(connection)
                while data := connection.recv(65536):
                    self.got.append(data)

    @property
    def ids(self) -> list[str]:
        return [parsed(frame)["data"]["id"] for frame in frames(b"".join(self.got))]

    def place(self, ca: str = "ca.pem", cert: str = "", host: str = "127.0.0.1") -> Place:
        folder = self.secrecy.folder
        return Place("tls", "", host, self.port, ca=ca and str(folder / ca), cert=cert and str(folder / cert))


class TestTls:
    def test_lines_go_over_one_connection_to_whom_the_ca_vouches_for(self, tmp_path: Path) -> None:
        with TlsReceiver(Secrecy.made(tmp_path)).running() as receiver:
            sink = SyslogSink(receiver.place())
            for number in range(3):  # the tickets that came with the handshake are no end of it
                assert sink.write([row(id=f"id-{number}")]) == 1
                until(lambda: len(receiver.ids) > number)  # noqa: B023 -- waited for at once
            assert receiver.ids == ["id-0", "id-1", "id-2"]
            assert len(receiver.accepted) == 1
            receiver.accepted[0].shutdown(socket.SHUT_RDWR)
            poll = select.poll()
            assert sink._socket is not None
            poll.register(sink._socket, select.POLLIN)
            assert poll.poll(20_000)
            assert sink.write([row(id="again")]) == 1
            until(lambda: receiver.ids[-1] == "again")
            sink.close()

    def test_a_receiver_that_is_not_believed_gets_nothing(self, tmp_path: Path) -> None:
        Secrecy.made(tmp_path / "other")
        with TlsReceiver(Secrecy.made(tmp_path)).running() as receiver:
            for place in (receiver.place(ca="other/ca.pem"), receiver.place(ca="")):
                with pytest.raises(RetryError, match="CERTIFICATE_VERIFY_FAILED"):
                    SyslogSink(place).write([row()])
            with pytest.raises(RetryError, match="syslog can't be reached"):
                SyslogSink(receiver.place(host="localhost")).write([row()])  # its certificate has another name
            assert receiver.got == []

    def test_a_certificate_is_shown_where_the_receiver_wants_one(self, tmp_path: Path) -> None:
        secrecy = Secrecy.made(tmp_path)
        with TlsReceiver(secrecy, wants_certificate=True).running() as receiver:
            sink = SyslogSink(receiver.place(cert="haproxy.pem"))
            assert sink.write([row()]) == 1
            until(lambda: receiver.ids == ["id-1"])
            sink.close()
        with TlsReceiver(secrecy, wants_certificate=True).running() as receiver:
            sink = SyslogSink(receiver.place())
            with contextlib.suppress(RetryError):  # with TLS 1.3 one hears of it only after having spoken
                sink.write([row()])
            sink.close()
        assert receiver.got == []

    def test_files_that_can_not_be_used_are_told_by_their_option(self, tmp_path: Path) -> None:
        secrecy = Secrecy.made(tmp_path)
        try_tls(Place("tls", ca=str(tmp_path / "ca.pem"), cert=str(tmp_path / "haproxy.pem")))
        secrecy.write("empty", b"")
        for place, says in (
            (Place("tls", ca=str(tmp_path / "none")), "none can't be used as ca: No such file"),
            (Place("tls", ca=str(tmp_path / "empty")), "empty can't be used as ca: "),
            (Place("tls", cert=str(tmp_path / "ca.pem")), r"ca\.pem can't be used as cert: "),
        ):
            with pytest.raises(ValueError, match=says):
                try_tls(place)


def test_an_address_of_a_datagram_receiver_that_can_not_be_had_is_tried_again_later() -> None:
    with pytest.raises(RetryError, match="syslog can't be reached"):
        SyslogSink(Place("udp", host="fe80::1", port=514)).write([row()])


@pytest.mark.parametrize(
    ("changes", "severity"),
    [({}, 5), ({"verdict": "allow", "reason": "ok"}, 6), ({"reason": "internal_error"}, 3)],
)
def test_a_deny_is_graver_than_an_allow_and_a_failure_graver_than_both(changes: dict[str, Any], severity: int) -> None:
    assert message(row(**changes), b"{}", 16, "host", 1).startswith(b"<%d>1 " % (16 * 8 + severity))
