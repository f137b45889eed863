"""Decisions to systemd's journal by its native protocol, each value in a field of its own.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL/: one datagram an entry; one that is too long goes as a sealed memory file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

from spoa.logsinks.sink import Encoder, RetryError
from spoa.logsinks.syslog import severity_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from spoa.logchain import Chain

__all__ = ["FIELDS", "JOURNAL", "MESSAGE_ID", "JournaldSink", "datagram"]

#: Where the journal listens.
JOURNAL: Final = "/run/systemd/journal/socket"
#: Names the kind of entry, as `journalctl MESSAGE_ID=…` finds it.
MESSAGE_ID: Final = "3f8d0a5f4a5b4c37a1d1f5c0e6b72a94"
#: Members of a line that are fields of their own; those of the certificate follow.
FIELDS: Final = (
    "id",
    "verdict",
    "status",
    "reason",
    "rule",
    "identity",
    "route",
    "revision",
    "shadow",
    "revocation",
    "src",
    "method",
    "host",
    "path",
    "detail",
)
_OF_CERTIFICATE: Final = ("sha256", "subject", "issuer", "serial")
_LENGTH: Final = struct.Struct("<Q")
_TIMEOUT: Final = 2.0
_TOO_LONG: Final = {errno.EMSGSIZE, errno.ENOBUFS}
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def _fields(row: Mapping[str, Any], line: bytes) -> Iterator[tuple[str, bytes]]:
    request = " ".join(str(row[name]) for name in ("method", "path") if row[name])
    by = f" by {row['rule']}" if row["rule"] else ""
    yield "MESSAGE", _text(f"{row['verdict']} {row['reason']}{by}: {request or 'connection'}")
    yield "MESSAGE_ID", MESSAGE_ID.encode()
    yield "PRIORITY", b"%d" % severity_of(row)
    yield "SYSLOG_IDENTIFIER", b"spoa-authz"
    for name in FIELDS:
        if row[name] not in {None, ""}:
            yield f"AUTHZ_{name.upper()}", _text(str(row[name]))
    certificate = row["cert"] or {}
    for name in _OF_CERTIFICATE:
        if certificate.get(name):
            yield f"AUTHZ_CERT_{name.upper()}", _text(str(certificate[name]))
    yield "AUTHZ_DECISION", line


def _text(value: str) -> bytes:
    return value.encode("utf-8", "backslashreplace")


def datagram(row: Mapping[str, Any], line: bytes) -> bytes:
    """Write a decision as one entry; a value with a line break goes with its length, so that it can't add fields."""
    parts = []
    for name, value in _fields(row, line):
        if b"\n" in value:
            parts.append(b"%s\n%s%s\n" % (name.encode(), _LENGTH.pack(len(value)), value))
        else:
            parts.append(b"%s=%s\n" % (name.encode(), value))
    return b"".join(parts)


class JournaldSink:
    """Sends entries to the journal's socket.

    Args:
        path: of the socket.
        chain: for the links of a chain of this process; None without.
    """

    problem = ""
    reads_rows = True

    def __init__(self, path: str = JOURNAL, chain: Chain | None = None) -> None:
        self._path = path
        self._encoder = Encoder(chain)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(_TIMEOUT)

    def write(self, rows: Sequence[dict[str, Any]]) -> int:
        """Send lines.

        Raises:
            RetryError: the journal doesn't listen or takes nothing.
        """
        for number, row in enumerate(rows):
            try:
                self._send(datagram(row, self._encoder.encode(row)))
            except OSError as error:
                raise RetryError(f"the journal can't be reached: {error.strerror or error}", number) from error
            self._encoder.keep()
        return len(rows)

    def reopen(self) -> None:
        """Do nothing: each entry goes by the socket's name."""

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendto(data, self._path)
        except OSError as error:
            if error.errno not in _TOO_LONG:
                raise
            self._send_file(data)

    def _send_file(self, data: bytes) -> None:
        descriptor = os.memfd_create("spoa-authz-decision", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(data)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))]
            self._socket.sendmsg([b""], rights, 0, self._path)
        finally:
            os.close(descriptor)
