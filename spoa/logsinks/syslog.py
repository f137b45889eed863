"""Decisions to syslog in the form of RFC 5424: by unix datagrams, UDP (RFC 5426), TCP with octet counting (RFC 6587),
and TLS (RFC 5425).

The message is the decision as JSON; what one filters by stands in structured data as well. Datagrams of the network
may be lost and are never confirmed; over TCP and TLS, what was on its way when a connection broke may be.
"""  # noqa: D205 -- a list of four

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from spoa.logsinks.sink import Encoder, RetryError, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from spoa.logchain import Chain

__all__ = ["FACILITIES", "Place", "SyslogSink", "message", "severity_of", "try_tls"]

Transport = Literal["unix", "udp", "tcp", "tls"]

#: RFC 5424, section 6.2.1.
FACILITIES: Final = {
    name: number
    for number, name in enumerate(
        (
            *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
            *("ntp", "audit", "alert", "clock"),
            *(f"local{number}" for number in range(8)),
        )
    )
}
_ERROR, _NOTICE, _INFO = 3, 5, 6

#: The element of structured data. Its number is the one that RFC 5612 sets aside for documentation: the project has
#: none of its own.
_ELEMENT: Final = "authz@32473"
_PARAMETERS: Final = ("id", "verdict", "reason", "rule", "identity", "route", "revision", "shadow")
_APP_NAME: Final = "spoa-authz"
_MESSAGE_ID: Final = "decision"
_MAX_HOSTNAME: Final = 255
_TIMEOUT: Final = 2.0
_TOO_LONG: Final = {errno.EMSGSIZE, errno.ENOBUFS}


class Place(NamedTuple):
    """Where a syslog receiver is: the path of its socket, or host and port.

    `ca` is the file of the CAs of which one has signed its certificate, the system's unless given; `cert` that of the
    agent's own certificate with its key, empty for none.
    """

    transport: Transport
    path: str = ""
    host: str = ""
    port: int = 0
    facility: str = "local0"
    ca: str = ""
    cert: str = ""


def severity_of(row: Mapping[str, Any]) -> int:
    """Return how grave a decision is: error where the agent failed, notice for a deny, informational for an allow."""
    if row["reason"] == "internal_error":
        return _ERROR
    return _INFO if row["verdict"] == "allow" else _NOTICE


def message(row: Mapping[str, Any], line: bytes, facility: int, hostname: str, pid: int) -> bytes:
    """Write a decision as one message; all of it is ASCII, so no byte order mark is due."""
    priority = facility * 8 + severity_of(row)
    data = "".join(f' {name}="{_escaped(row[name])}"' for name in _PARAMETERS if row.get(name))
    head = f"<{priority}>1 {row['time']} {hostname} {_APP_NAME} {pid} {_MESSAGE_ID} [{_ELEMENT}{data}] "
    return head.encode("ascii", "backslashreplace") + line


def _escaped(value: str) -> str:
    """Escape what RFC 5424, section 6.3.3, wants escaped, and write what isn't printable ASCII as JSON does."""
    text = re.sub(r"[^\x20-\x7e]", lambda found: f"u{ord(found[0]):04x}", value)
    return re.sub(r'(["\\\]])', r"\\\1", text)


def hostname() -> str:
    """Return this machine's name as a message may have it."""
    return re.sub(r"[^\x21-\x7e]", "", socket.gethostname())[:_MAX_HOSTNAME] or "-"


class SyslogSink:
    """Sends messages to one receiver, and connects anew where it was lost. Nothing is sent before the first line.

    Args:
        place: where the receiver is.
        chain: for the links of a chain of this process; None without.
    """

    problem = ""
    reads_rows = True

    def __init__(self, place: Place, chain: Chain | None = None) -> None:
        self._place = place
        self._facility = FACILITIES[place.facility]
        self._hostname = hostname()
        self._encoder = Encoder(chain)
        self._socket: socket.socket | None = None

    def write(self, rows: Sequence[dict[str, Any]]) -> int:
        """Send lines.

        Raises:
            RetryError: the receiver can't be reached or takes nothing.
        """
        for number, row in enumerate(rows):
            try:
                self._send(row)
            except OSError as error:
                self.close()
                raise RetryError(f"syslog can't be reached: {error.strerror or error}", number) from error
            self._encoder.keep()
        return len(rows)

    def reopen(self) -> None:
        """Connect anew before the next line."""
        self.close()

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, row: dict[str, Any]) -> None:
        data = self._message(row)
        if self._socket is None or _is_over(self._socket):
            self.close()
            self._socket = _CONNECT[self._place.transport](self._place)
        if self._socket.type == socket.SOCK_STREAM:
            self._socket.sendall(b"%d %s" % (len(data), data))
            return
        try:
            self._socket.send(data)
        except OSError as error:
            if error.errno not in _TOO_LONG:
                raise
            self._socket.send(self._message(shortened(row)))

    def _message(self, row: dict[str, Any]) -> bytes:
        return message(row, self._encoder.encode(row), self._facility, self._hostname, os.getpid())


def _is_over(connection: socket.socket) -> bool:
    """Tell whether the other end has hung up: what is sent then vanishes without an error."""
    if connection.type != socket.SOCK_STREAM:
        return False
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    try:
        connection.settimeout(0)  # what is there may be a part of TLS's own, behind which nothing comes
        while poll.poll(0):
            if not connection.recv(4096):  # what a receiver says, which none does, is passed over
                return True
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(_TIMEOUT)
    return False


def _connect_unix(place: Place) -> socket.socket:
    return _connected(socket.AF_UNIX, place.path)


def _connect_udp(place: Place) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_DGRAM)[0]
    return _connected(family, address)


def _connected(family: int, address: Any) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.settimeout(_TIMEOUT)
    try:
        made.connect(address)
    except OSError:
        made.close()
        raise
    return made


def _connect_tcp(place: Place) -> socket.socket:
    made = socket.create_connection((place.host, place.port), _TIMEOUT)
    with contextlib.suppress(OSError):
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return made


def _connect_tls(place: Place) -> socket.socket:
    made = _connect_tcp(place)
    try:
        return _context(place).wrap_socket(made, server_hostname=place.host)
    except BaseException:
        made.close()
        raise


def _context(place: Place) -> ssl.SSLContext:
    """Make it for each connection, so that files that were renewed are read."""
    context = ssl.create_default_context(cafile=place.ca or None)
    if place.cert:
        context.load_cert_chain(place.cert, password="")
    return context


def try_tls(place: Place) -> None:
    """Read the files that TLS to a receiver needs.

    Raises:
        ValueError: one can't be read or used, in a sentence.
    """
    for name, file, alone in (("ca", place.ca, place._replace(cert="")), ("cert", place.cert, place._replace(ca=""))):
        try:
            _context(alone)
        except OSError as error:
            raise ValueError(f"{file} can't be used as {name}: {error.strerror or error}") from error


_CONNECT: Final[Mapping[Transport, Callable[[Place], socket.socket]]] = {
    "unix": _connect_unix,
    "udp": _connect_udp,
    "tcp": _connect_tcp,
    "tls": _connect_tls,
}
