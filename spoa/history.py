"""Revisions that were active before, kept as the files they were built from, and what was activated when and by whom.

::

    revisions/REVISION.json   the names of its files and their digests, and when it was activated
    revisions/files/SHA-256   what one of them held; two revisions share what is the same
    rollback.json             the rollback in force, if any
    changes.jsonl             every activation and rollback, the newest last

Files are kept rather than built policies: another version of the agent builds, checks and tests them anew. Revocation
lists are no part of it, and neither are blocks: nothing that was revoked comes back by going back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from spoa.exceptions import StateError
from spoa.state import check_version, read_file, replace_file, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["KEPT_BYTES", "KEPT_REVISIONS", "History", "Kept", "Rollback", "keep_files"]

#: How many revisions are kept.
KEPT_REVISIONS: Final = 10
#: Bytes that they may take; the newest and the one before are kept whatever they take.
KEPT_BYTES: Final = 1 << 30
#: Lines of `changes.jsonl` that are left when it has grown to twice as many.
_KEPT_CHANGES: Final = 1000
_SHOWN_CHANGES: Final = 20
_VERSION: Final = 1
_REVISION: Final = re.compile(r"[0-9a-f]{12}")
_SHORTEST: Final = 4


@dataclass(frozen=True, slots=True)
class Kept:
    """A revision that can be gone back to.

    Attributes:
        revision: 12 hex digits of policies, lists and CA certificates.
        activated: when it was last activated from the policy directory, seconds since the epoch.
        cause: what asked for that.
        files: name → SHA-256, hex; names are relative to the policy directory, as its policies write them.
    """

    revision: str
    activated: float
    cause: str
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rollback:
    """A rollback in force: `to` is active though the policy directory holds `source`."""

    source: str
    to: str
    by: str
    at: float
    reason: str = ""


def keep_files(contents: Mapping[str, bytes], files: Path) -> dict[str, str]:
    """Keep what files hold, and return name → SHA-256.

    Raises:
        StateError: the directory can't be written.
    """
    found = {}
    for name, content in contents.items():
        digest = found[name] = hashlib.sha256(content).hexdigest()
        if not (files / digest).exists():
            replace_file(files / digest, content)
    return found


class History:
    """The kept revisions in a state directory.

    Args:
        state: the state directory.

    Raises:
        StateError: it can't be used.
    """

    def __init__(self, state: Path) -> None:
        self._revisions = state / "revisions"
        self.files = self._revisions / "files"
        self._rollback = state / "rollback.json"
        self._changes = state / "changes.jsonl"
        try:
            self.files.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(str(self.files), f"can't be made: {error.strerror}") from error

    # -- revisions --------------------------------------------------------------------------------------------------

    def keep(self, kept: Kept, needed: Iterable[str]) -> None:
        """Keep a revision whose files are kept; drop the oldest that are too many or too large, and that nobody needs.

        Raises:
            StateError: it can't be written.
        """
        row = {"version": _VERSION, **asdict(kept)}
        replace_file(self._revisions / f"{kept.revision}.json", json.dumps(row).encode())
        spared = {kept.revision, *needed}
        for one in self._superfluous():
            if one.revision not in spared:
                (self._revisions / f"{one.revision}.json").unlink(missing_ok=True)
        wanted = {digest for one in self.revisions() for digest in one.files.values()}
        with contextlib.suppress(OSError):
            for path in self.files.iterdir():
                if path.name not in wanted:
                    path.unlink(missing_ok=True)

    def _superfluous(self) -> list[Kept]:
        """Return what goes beyond the count or the size that is kept: all behind the first that does."""
        seen: dict[str, int] = {}
        revisions = self.revisions()
        for number, one in enumerate(revisions):
            for digest in one.files.values():
                with contextlib.suppress(OSError):
                    seen[digest] = (self.files / digest).stat().st_size
            if number >= KEPT_REVISIONS or (number > 1 and sum(seen.values()) > KEPT_BYTES):
                return revisions[number:]
        return []

    def revisions(self) -> list[Kept]:
        """Return what is kept, the newest first.

        Raises:
            StateError: a newer agent wrote one.
        """
        found = [self._read(path) for path in self._revisions.glob("*.json") if _REVISION.fullmatch(path.stem)]
        return sorted((one for one in found if one is not None), key=lambda one: one.activated, reverse=True)

    def find(self, text: str) -> Kept:
        """Return the kept revision that *text* names or begins.

        Raises:
            StateError: none is, or several are.
        """
        revisions = self.revisions()
        found = [one for one in revisions if len(text) >= _SHORTEST and one.revision.startswith(text)]
        if len(found) != 1:
            names = ", ".join(one.revision for one in revisions) or "none"
            what = "several revisions begin with" if found else "there is no kept revision"
            raise StateError(str(self._revisions), f"{what} {text!r}; kept are {names}")
        return found[0]

    def before(self, revision: str) -> Kept:
        """Return what was activated before a revision.

        Raises:
            StateError: nothing that is kept was.
        """
        revisions = self.revisions()
        since = next((one.activated for one in revisions if one.revision == revision), float("inf"))
        found = next((one for one in revisions if one.activated < since and one.revision != revision), None)
        if found is None:
            raise StateError(str(self._revisions), f"no kept revision was active before {revision}")
        return found

    def write_out(self, kept: Kept, directory: Path) -> Path:
        """Write a revision's files below an empty directory, and return which is the policy directory there.

        What policies name by an absolute path stays where it is.

        Raises:
            StateError: a file is missing or isn't what was kept.
        """
        names = {name: PurePosixPath(os.path.normpath(name)) for name in kept.files}
        inside = {name: path for name, path in names.items() if not path.is_absolute()}
        above = max((path.parts.count("..") for path in inside.values()), default=0)
        root = directory.joinpath(*["above"] * above, "policies")
        try:
            root.mkdir(parents=True)
            for name, path in inside.items():
                content = read_file(self.files / kept.files[name])
                if hashlib.sha256(content).hexdigest() != kept.files[name]:
                    raise StateError(str(self.files / kept.files[name]), "was damaged; choose another revision")
                (root / name).parent.mkdir(parents=True, exist_ok=True)  # also what a `..` leads out of again
                write_file(Path(os.path.normpath(root / path)), content)
        except OSError as error:
            detail = f"can't be used: {error.strerror}; choose another revision"
            raise StateError(str(error.filename or self.files), detail) from error
        return root

    def _read(self, path: Path) -> Kept | None:
        try:
            row = json.loads(path.read_bytes())
            version = row.pop("version", 0)
            kept = Kept(**row) if version == _VERSION else None
        except (OSError, ValueError, TypeError, AttributeError):
            return None  # half of one, or none: what isn't whole is not gone back to
        check_version(path, version, _VERSION)
        return kept

    def describe(self, rollback: Rollback | None) -> dict[str, Any]:
        """Return what `status` shows."""
        try:
            revisions = [
                {"revision": one.revision, "activated": one.activated, "cause": one.cause} for one in self.revisions()
            ]
        except StateError:
            revisions = []
        return {
            "rollback": None if rollback is None else asdict(rollback),
            "revisions": revisions,
            "changes": self.changes(_SHOWN_CHANGES),
        }

    # -- the rollback in force --------------------------------------------------------------------------------------

    def rollback(self) -> Rollback | None:
        """Return the rollback in force.

        Raises:
            StateError: the file is there and can't be read: what was rolled back from must not come back by that.
        """
        try:
            row = json.loads(self._rollback.read_bytes())
            version = row.pop("version")
            check_version(self._rollback, version, _VERSION)
            return Rollback(**row)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            detail = f"can't be read ({error}); {self.way_out}"
            raise StateError(str(self._rollback), detail) from error

    @property
    def way_out(self) -> str:
        """How to go by the policy directory again where a rollback can't be held."""
        return f"delete {self._rollback} to go by the policy directory again"

    def roll_back(self, rollback: Rollback) -> None:
        """Remember a rollback.

        Raises:
            StateError: it can't be written.
        """
        replace_file(self._rollback, json.dumps({"version": _VERSION, **asdict(rollback)}).encode())

    def release(self) -> None:
        """Forget the rollback in force.

        Raises:
            StateError: it can't be removed.
        """
        try:
            self._rollback.unlink(missing_ok=True)
        except OSError as error:
            raise StateError(str(self._rollback), f"can't be removed: {error.strerror}") from error

    # -- who changed what -------------------------------------------------------------------------------------------

    def note(self, **change: Any) -> None:
        """Add a line to the record of changes; a disk that doesn't take it changes nothing else."""
        line = json.dumps({"version": _VERSION, **change}, separators=(",", ":")).encode() + b"\n"
        with contextlib.suppress(OSError, StateError):
            lines = self._changes.read_bytes().splitlines(keepends=True) if self._changes.exists() else []
            if len(lines) >= 2 * _KEPT_CHANGES:
                replace_file(self._changes, b"".join([*lines[1 - _KEPT_CHANGES :], line]))
                return
            with self._changes.open("ab") as file:
                file.write(line)

    def changes(self, count: int) -> list[dict[str, Any]]:
        """Return the last changes, the newest first."""
        try:
            lines = self._changes.read_bytes().splitlines()
        except OSError:
            return []
        found = []
        for line in reversed(lines[-count:]):
            with contextlib.suppress(ValueError):
                found.append(dict(json.loads(line)))
        return found
