"""Decisions read back from the decision log: when a certificate was last seen, and what was judged."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Sighting", "Sightings", "read_decision", "time_of"]

_SHA256_SIZE = 32


def read_decision(line: bytes) -> dict[str, Any] | None:
    """Return one line of a decision log; None for what is none, such as one that a full disk cut off."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("verdict"), str) else None


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
    """When a certificate was seen first, last, and last allowed (0: never); seconds since the epoch."""

    first: float
    last: float
    allowed: float = 0


@dataclass(slots=True)
class Sightings:
    """What decision logs tell of certificates.

    Attributes:
        by_sha256: fingerprint → its sighting; also a certificate that was denied was seen.
        since, until: the first and last time in the logs, seconds since the epoch; None without any line.
        allows: how many allows the logs hold: without any, nobody can tell who is unused.
        unreadable: how many lines were none.
    """

    by_sha256: dict[bytes, Sighting] = field(default_factory=dict)
    since: float | None = None
    until: float | None = None
    allows: int = 0
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
        digest = _digest(decision.get("cert"))
        if digest is None:
            return
        sighting = self.by_sha256.setdefault(digest, Sighting(when, when))
        sighting.first, sighting.last = min(sighting.first, when), max(sighting.last, when)
        if is_allow:
            sighting.allowed = max(sighting.allowed, when)


def _digest(certificate: object) -> bytes | None:
    text = certificate.get("sha256") if isinstance(certificate, dict) else None
    try:
        digest = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    return digest if len(digest) == _SHA256_SIZE else None
