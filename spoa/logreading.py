"""One line of a decision log as `replay` reads it: its members by type, and nothing that isn't asked for.

A log of a busy day has a hundred million lines, most of which tell of clients and requests that others told of before.
So a line is read by a reader that skips what nobody asks for, and its certificate stays the bytes that it is, until it
turns out to be one that wasn't seen yet.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from spoa.decision_fields import SCHEMA, check_version, hidden

__all__ = ["NO_CERTIFICATE", "LogLine", "LoggedCertificate", "read_certificate", "read_line"]

#: The bytes of `cert` where none was sent.
NO_CERTIFICATE: Final = b"null"


class LogLine(msgspec.Struct, gc=False):
    """What a decision log says of a decision.

    Attributes:
        certificate: the bytes of the member `cert`.
        identity: the first named identity that the client had; None where the log doesn't tell, empty for none.
        break_glass: names of the switches that were open; None where the log, an older one, doesn't tell.
        masked, cut, schema: as `decision_fields` describes them.
    """

    time: str
    verdict: str
    reason: str
    rule: str
    certificate: msgspec.Raw = msgspec.field(name="cert")
    src: str | None
    method: str | None
    host: str | None
    path: str | None
    identity: str | None = None
    break_glass: list[str] | None = None
    masked: list[str] | None = None
    cut: list[str] | None = None
    schema: Any = 0

    @property
    def hidden(self) -> frozenset[str]:
        """What the line has, but not as it was: masked or cut."""
        return hidden({"masked": self.masked, "cut": self.cut})


class LoggedCertificate(msgspec.Struct):
    """What a line says of a certificate; without a subject where it couldn't be read."""

    sha256: str
    subject: str | None
    issuer: str | None
    serial: str | None
    spki_sha256: str | None = None
    sha1: str | None = None
    issuer_name: str | None = None


_read: Final = msgspec.json.Decoder(LogLine).decode
_read_certificate: Final = msgspec.json.Decoder(LoggedCertificate).decode


# Hot path: some 3 us a line, where `json.loads` takes 10. Benchmark: benchmarks/replay.py.
def read_line(line: bytes) -> LogLine:
    """Return what a line says.

    Raises:
        ValueError: it is none of a decision log: no JSON, a member missing or of another type.
        NewerLogError: a newer agent wrote it.
    """
    if not line.isascii():
        line.decode()  # what is skipped isn't decoded, and must be text all the same
    try:
        found = _read(line)
    except msgspec.DecodeError:
        found = _read_leniently(line)
    if found.schema != SCHEMA:
        check_version({"schema": found.schema})
    return found


def _read_leniently(line: bytes) -> LogLine:
    """Read what Python's own reader takes: halves of surrogate pairs, as which bytes that aren't UTF-8 are logged."""
    row = json.loads(line.decode())
    if not isinstance(row, dict) or "cert" not in row:
        raise ValueError("no line of a decision log")
    certificate = json.dumps(row.pop("cert")).encode()
    found = msgspec.convert({**row, "cert": msgspec.Raw(NO_CERTIFICATE)}, LogLine)
    found.certificate = msgspec.Raw(certificate)
    return found


def read_certificate(raw: bytes) -> LoggedCertificate:
    """Return what the bytes of a line's certificate say.

    Raises:
        ValueError: they say something else.
    """
    try:
        return _read_certificate(raw)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return msgspec.convert(json.loads(raw), LoggedCertificate)
