"""Copies of what URLs sent last, on disk.

::

    downloads/SHA-256-of-URL        the body, whatever it is: others judge it
    downloads/SHA-256-of-URL.json   its digest, and the validators by which the server tells whether it has changed
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Self

from spoa.state import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Copy", "Draft", "download_path", "read_copy", "sweep", "write_copy"]

#: Version of the notes; those before there was one say the same.
_VERSION: Final = 1


def download_path(downloads: Path, url: str) -> Path:
    """Return where the body that a URL sent last is."""
    return downloads / hashlib.sha256(url.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Copy:
    """What is known of a body on disk: its SHA-256, and its validators as the server sent them, empty without."""

    digest: str
    etag: str = ""
    last_modified: str = ""

    @property
    def conditions(self) -> dict[str, str]:
        """The headers by which a server may answer that nothing has changed."""
        named = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in named.items() if value}


class Draft:
    """A body that is being written beside its place, for its owner alone to read; what isn't kept is gone in the end.

    Raises:
        OSError: it can't be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = path.with_name(f".new-{path.name}")
        self._new.unlink(missing_ok=True)
        self._file = os.fdopen(os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a full disk may show again when the rest is flushed
            self._file.close()
        self._new.unlink(missing_ok=True)

    @property
    def digest(self) -> str:
        """SHA-256 of what was written so far."""
        return self._digest.hexdigest()

    def write(self, piece: bytes) -> None:
        """Write the next piece.

        Raises:
            OSError: it can't be written.
        """
        self._digest.update(piece)
        self._file.write(piece)

    def keep(self) -> None:
        """Put the body in its place; after a power cut there is the old one or this one.

        Raises:
            OSError: it can't be written.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        self._new.replace(self._path)


def read_copy(path: Path) -> Copy | None:
    """Return what is on disk; the validators only where they are those of this very body."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
    try:
        row = json.loads(_note(path).read_bytes())
        if row.get("version", 0) > _VERSION:
            return Copy(digest)  # a newer agent's, which isn't understood: the body is fetched whole again
        copy = Copy(str(row["digest"]), str(row["etag"]), str(row["last_modified"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Copy(digest)
    return copy if copy.digest == digest else Copy(digest)


def write_copy(path: Path, copy: Copy) -> None:
    """Remember what is known of a body.

    Raises:
        StateError: it can't be written.
    """
    replace_file(_note(path), json.dumps({"version": _VERSION, **asdict(copy)}).encode())


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def sweep(downloads: Path, wanted: Iterable[str]) -> None:
    """Remove all that does not belong to one of these bodies, given by their names."""
    with contextlib.suppress(OSError):
        for path in downloads.iterdir():
            if not any(name in path.name for name in wanted):
                path.unlink(missing_ok=True)
