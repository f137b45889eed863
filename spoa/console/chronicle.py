"""What changed, when and by whom: the last revisions, blocks, openings and requests for change, for whoever asks later.

Kept in the state directory, a line of JSON for each, so that a restart forgets nothing.
"""

from __future__ import annotations

import json
import pwd
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import structlog

from spoa.exceptions import StateError
from spoa.state import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from spoa.reload import Outcome

__all__ = ["FILE", "Chronicle"]

FILE: Final = "history.jsonl"
"""Name of the file in the state directory."""

_MOST: Final = 200  # entries that are kept
_MOST_FILES: Final = 20  # changed files, or blocks, that an entry names

_log = structlog.get_logger()


class Chronicle:
    """The history of one agent.

    Args:
        state: the state directory.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / FILE
        self._entries: deque[dict[str, Any]] = deque(_read(self._path), maxlen=_MOST)
        self._seen: dict[str, tuple[int, int]] = {}

    @property
    def entries(self) -> list[dict[str, Any]]:
        """All entries, the newest first."""
        return list(reversed(self._entries))

    def tell(self, what: str, **details: object) -> None:
        """Add an entry; a disk that takes none is a line in the log, and nothing worse."""
        self._entries.append({"at": time.time(), "what": what, **details})
        text = "".join(json.dumps(entry) + "\n" for entry in self._entries)
        try:
            replace_file(self._path, text.encode())
        except StateError as error:
            _log.error("the history can't be kept", error=str(error))

    def tell_of(self, outcome: Outcome, files: Iterable[Path], by: str = "") -> None:
        """Add how a reload ended, with the files that changed since the last one and who owns them, or who asked.

        Blocks for as long as the disk takes to tell about the files.
        """
        changed = self._changed(files)
        if outcome.result == "unchanged":
            return
        self.tell(
            "policy",
            result=outcome.result,
            cause=outcome.cause,
            revision=outcome.revision,
            files=changed,
            by=[by] if by else sorted({file["owner"] for file in changed}),
            problems=len(outcome.problems),
        )

    def tell_of_file(self, path: Path, told: dict[str, Any]) -> None:
        """Add what came into a file and went from it, and who owns it now."""
        try:
            owner = _owner(path.stat().st_uid)
        except OSError:
            owner = ""  # it is gone
        cut = {key: value[:_MOST_FILES] if isinstance(value, list) else value for key, value in told.items()}
        self.tell("in force", by=[owner] if owner else [], **cut)

    def _changed(self, files: Iterable[Path]) -> list[dict[str, Any]]:
        found: dict[str, tuple[int, int]] = {}
        owners: dict[str, str] = {}
        for path in files:
            try:
                status = path.stat()
            except OSError:
                continue  # looked for, and not there
            found[str(path)] = (status.st_mtime_ns, status.st_size)
            owners[str(path)] = _owner(status.st_uid)
        before, self._seen = self._seen, found
        new = [name for name, mark in found.items() if before and before.get(name) != mark]
        rows = [{"file": name, "change": "written", "owner": owners[name]} for name in new]
        rows += [{"file": name, "change": "removed", "owner": ""} for name in before if name not in found]
        return rows[:_MOST_FILES]


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a user without a name
        return str(uid)


def _read(path: Path) -> list[dict[str, Any]]:
    """Return what was kept; lines that are none are left out, since a broken history must not keep an agent down."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "what" in entry and isinstance(entry.get("at"), int | float):
            found.append(entry)
    return found
