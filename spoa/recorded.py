"""Decisions read back from the decision log: when a certificate was last seen, and what was judged.

A log holds less than a request: neither headers nor SNI nor TLS version, and of a certificate only what finds it again;
and it may mask some of that. What isn't there is unavailable; so what is judged again may come out otherwise, and
whoever shows it says so.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from spoa.decision_fields import check_version, hidden
from spoa.facts import ABSENT, UNAVAILABLE, Request
from spoa.identity import subject_from_text
from spoa.listindex import Kind, serial_key
from spoa.policy.cases import BLANK
from spoa.policy.model import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from spoa.facts import Certificate, Missing, Unavailable

__all__ = [
    "Sighting",
    "Sightings",
    "certificate_of",
    "digest_of",
    "path_of",
    "read_decision",
    "request_of",
    "time_of",
]

_SIZES: Final = {"sha256": 32, "spki_sha256": 32, "sha1": 20}


def read_decision(line: bytes) -> dict[str, Any] | None:
    """Return one line of a decision log; None for what is none, such as one that a full disk cut off.

    Raises:
        NewerLogError: a newer agent wrote it.
    """
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("verdict"), str):
        return None
    check_version(found)
    return found


def time_of(decision: dict[str, Any]) -> float | None:
    """Return when a decision was made, seconds since the epoch; None where the line doesn't tell."""
    text = decision.get("time")
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return None if moment is None or moment.tzinfo is None else moment.timestamp()


@dataclass(slots=True)
class Sighting:
    """When a certificate was seen first and last, and allowed last and first (0: never); seconds since the epoch."""

    first: float
    last: float
    allowed: float = 0
    admitted: float = 0


@dataclass(slots=True)
class Sightings:
    """What decision logs tell of certificates.

    Attributes:
        by_key: kind and digest, as lists hold them → the sighting; also a certificate that was denied was seen.
        kinds: what certificates are named by in the logs; older ones have the SHA-256 alone, and masked ones less.
        since, until: the first and last time in the logs, seconds since the epoch; None without any line.
        allows: how many allows the logs hold: without any, nobody can tell who is unused.
        masked: what certificates would be named by, had no line masked it: of these nobody can tell who wasn't seen.
        unreadable: how many lines were none.
    """

    by_key: dict[tuple[Kind, bytes], Sighting] = field(default_factory=dict)
    kinds: set[Kind] = field(default_factory=set)
    since: float | None = None
    until: float | None = None
    allows: int = 0
    masked: set[Kind] = field(default_factory=set)
    unreadable: int = 0

    def read(self, lines: Iterable[bytes]) -> None:
        """Take note of all lines of a log."""
        for line in lines:
            decision = read_decision(line)
            when = None if decision is None else time_of(decision)
            if decision is None or when is None:
                self.unreadable += bool(line.strip())
                continue
            self._see(decision, when)

    def _see(self, decision: dict[str, Any], when: float) -> None:
        self.since = when if self.since is None else min(self.since, when)
        self.until = when if self.until is None else max(self.until, when)
        is_allow = decision["verdict"] == "allow"
        self.allows += is_allow
        certificate = decision.get("cert")
        if certificate is not None:
            masked = hidden(decision)
            self.masked |= {kind for name, kind in _KINDS.items() if name in masked}
        for key in _keys(certificate):
            self.kinds.add(key[0])
            sighting = self.by_key.setdefault(key, Sighting(when, when))
            sighting.first, sighting.last = min(sighting.first, when), max(sighting.last, when)
            if is_allow:
                sighting.allowed = max(sighting.allowed, when)
                sighting.admitted = min(sighting.admitted or when, when)


#: Key of a certificate in the log → what it is in lists.
_KINDS: Final = {
    "sha256": Kind.SHA256,
    "spki_sha256": Kind.SPKI_SHA256,
    "sha1": Kind.SHA1,
    "serial": Kind.SERIAL,
}


def _keys(certificate: object) -> Iterator[tuple[Kind, bytes]]:
    """Yield all by which lists may name a certificate, as far as the log tells."""
    if not isinstance(certificate, dict):
        return
    for name in _SIZES:
        digest = digest_of(certificate, name)
        if digest is not None:
            yield _KINDS[name], digest
    issuer, serial = certificate.get("issuer_name"), certificate.get("serial")
    if isinstance(issuer, str) and issuer and isinstance(serial, str):
        try:
            yield Kind.SERIAL, serial_key(issuer, int(serial, 16))
        except ValueError:
            return


def digest_of(certificate: Mapping[str, object], name: str = "sha256") -> bytes | None:
    """Return a digest that a line holds of its certificate; None where it doesn't."""
    text = certificate.get(name)
    try:
        digest = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    return digest if len(digest) == _SIZES[name] else None


# -- judged again -----------------------------------------------------------------------------------------------


def request_of(decision: dict[str, Any]) -> Request:
    """Return the request of a decision as far as the log tells; without its certificate."""
    masked = hidden(decision)
    decision = {**decision, **{name: None for name in masked if name in decision and name != "path"}}
    method, path = _text(decision.get("method")), _text(decision.get("path"))
    is_malformed = decision.get("reason") == "malformed_message"
    return Request(
        cert=ABSENT,
        used=decision.get("reason") == "certificate_unavailable",
        source=_address(decision.get("src")),
        method=UNAVAILABLE if method is None else method,
        path=UNAVAILABLE if "path" in masked else path_of(method, path, decision.get("reason")),
        host=_text(decision.get("host")) or UNAVAILABLE,
        id=_text(decision.get("id")) or "",
        malformed=(_text(decision.get("detail")) or "malformed_message") if is_malformed else "",
    )


def path_of(method: str | None, path: str | None, reason: object) -> str | Missing:
    """Return the path of a line: `*` is that of `OPTIONS *`, which HAProxy sends as no path at all.

    One that HAProxy should have sent and did not was refused for it; any other that isn't there could not be seen.
    """
    if reason == Reason.PATH_NOT_CANONICAL:
        return ABSENT if path is None else path
    if path is None:
        return UNAVAILABLE
    return ABSENT if path == "*" and method == "OPTIONS" else path


def certificate_of(decision: dict[str, Any], now: int) -> tuple[Certificate, str] | None:
    """Return what the log says of a certificate, and its issuer's name; None where it wasn't read or has no subject.

    It begins at *now*, seconds since the epoch: the log tells only when it ends.
    """
    said = decision.get("cert")
    masked = hidden(decision)
    digest = UNAVAILABLE if "sha256" in masked else digest_of(said) if isinstance(said, dict) else None
    if digest is None or "subject" in masked or not isinstance(said, dict) or not isinstance(said.get("subject"), str):
        return None
    ends = time_of({"time": said.get("not_after")})
    try:
        subject = subject_from_text(said["subject"])
        serial = UNAVAILABLE if "serial" in masked else int(str(said.get("serial")), 16)
    except ValueError:
        return None
    certificate = replace(
        BLANK,
        sha256=digest,
        spki_sha256=digest_of(said, "spki_sha256") or UNAVAILABLE,
        sha1=digest_of(said, "sha1") or UNAVAILABLE,
        serial=serial,
        subject=subject,
        subject_text=said["subject"],
        issuer_text=str(said.get("issuer")),
        not_before=now,
        not_after=now if ends is None else int(ends),
    )
    return certificate, str(said.get("issuer"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _address(value: object) -> bytes | Unavailable:
    try:
        return ipaddress.ip_address(str(value)).packed
    except ValueError:
        return UNAVAILABLE
