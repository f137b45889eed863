"""The end of a decision log, read as it grows: what is live on the console, at no cost to whoever judges.

Workers write the file as they always do; this reads it. What grows faster than it can be shown is skipped, and counted.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Filter", "Follower", "Portion"]

#: Bytes that one look reads at most, and that the first look goes back.
MAX_PORTION: Final = 1 << 20
#: Decisions that one look yields at most, the newest ones.
MAX_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Filter:
    """Which decisions are wanted; an empty text wants all.

    Attributes:
        verdict: `allow` or `deny`.
        reason, identity: as logged, whole.
        text: stands somewhere in the id, path, host, source address or the certificate's subject, in any case.
    """

    verdict: str = ""
    reason: str = ""
    identity: str = ""
    text: str = ""

    def wants(self, decision: dict[str, Any]) -> bool:
        """Tell whether a decision is wanted."""
        for key in ("verdict", "reason", "identity"):
            wanted = getattr(self, key)
            if wanted and decision.get(key) != wanted:
                return False
        return not self.text or self.text.casefold() in _searched(decision).casefold()


def _searched(decision: dict[str, Any]) -> str:
    certificate = decision.get("cert")
    subject = certificate.get("subject") if isinstance(certificate, dict) else ""
    return "\n".join(str(decision.get(key) or "") for key in ("id", "path", "host", "src", "rule")) + f"\n{subject}"


class Portion(NamedTuple):
    """What one look found.

    Attributes:
        decisions: those wanted, oldest first.
        skipped: how many wanted ones are left out, since there were more than can be shown.
        unread: bytes that were left out unread, since the file grew faster than that.
    """

    decisions: list[dict[str, Any]]
    skipped: int
    unread: int


class Follower:
    """Looks at the end of one file again and again; a file of the same name that takes its place is gone over to.

    Args:
        path: of the decision log.
        wanted: what is wanted of it.
    """

    def __init__(self, path: Path, wanted: Filter) -> None:
        self._path = path
        self._wanted = wanted
        self._file: int | None = None
        self._at = 0
        self._rest = b""

    def look(self) -> Portion:
        """Return what came since the last look; the first one goes back a little. Blocks for as long as a disk does."""
        rows: list[dict[str, Any]] = []
        unread = 0
        for data, left_out in self._read():
            unread += left_out
            if left_out:
                self._rest = b""
                _, _, data = data.partition(b"\n")  # noqa: PLW2901 -- what is left of the line that was cut into
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            rows += [row for line in lines if (row := _decision(line)) is not None and self._wanted.wants(row)]
        return Portion(rows[-MAX_SHOWN:], max(0, len(rows) - MAX_SHOWN), unread)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read(self) -> list[tuple[bytes, int]]:
        """Return what was appended, of the file and of its successor, each with the bytes left out before it."""
        found = []
        if self._file is None:
            if not self._open():
                return []
            size = os.fstat(self._file).st_size  # type: ignore[arg-type] # it was opened just now
            self._at = max(0, size - MAX_PORTION)
            cut = 1 if self._at else 0
            data = os.pread(self._file, MAX_PORTION, self._at)  # type: ignore[arg-type]
            self._at += len(data)
            return [(data, cut)]
        found.append(self._rest_of_file())
        if self._is_replaced():
            self.close()
            if self._open():
                self._at = 0
                found.append(self._rest_of_file())
        return found

    def _rest_of_file(self) -> tuple[bytes, int]:
        assert self._file is not None
        size = os.fstat(self._file).st_size
        if size < self._at:  # it was cut, as `copytruncate` does
            self._at = 0
            self._rest = b""
        start = max(self._at, size - MAX_PORTION)
        left_out = start - self._at
        data = os.pread(self._file, MAX_PORTION, start)
        self._at = start + len(data)
        return data, left_out

    def _is_replaced(self) -> bool:
        assert self._file is not None
        try:
            now = self._path.stat()
        except OSError:
            return False
        held = os.fstat(self._file)
        return (now.st_dev, now.st_ino) != (held.st_dev, held.st_ino)

    def _open(self) -> bool:
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        self._rest = b""
        return True


def _decision(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "verdict" in row else None
