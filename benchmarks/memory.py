"""What processes hold in memory, as the kernel accounts it (proc(5))."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Mapping", "anonymous_size", "mapped_sizes", "mapping_of", "peak_size", "proportional_size"]

_HEAD: Final = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ (\S+) (\d+)\s+(.*)$")
_KB: Final = 1024


class Mapping(NamedTuple):
    """What a process has mapped of one file, in bytes.

    Attributes:
        file: device and inode; the same in two processes that share it, and none where it isn't mapped.
        resident: of the pages that it touched; proportional: the same, divided among those who share them.
    """

    file: tuple[str, str] | None
    resident: int = 0
    proportional: int = 0


def _fields(text: str) -> dict[str, int]:
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) * _KB for row in rows if len(row) == 3 and row[2] == "kB"}


def anonymous_size(pid: int) -> int:
    """Return the bytes that a process has for itself: no pages of files."""
    return _fields(Path(f"/proc/{pid}/smaps_rollup").read_text())["Anonymous"]


def proportional_size(pid: int) -> int:
    """Return the bytes that a process has resident; what it shares is divided among those who share it (PSS)."""
    return _fields(Path(f"/proc/{pid}/smaps_rollup").read_text())["Pss"]


def peak_size(pid: int) -> int:
    """Return the most that was resident of a process until now; 0 where it is gone."""
    try:
        return _fields(Path(f"/proc/{pid}/status").read_text().replace(":\t", ": ")).get("VmHWM", 0)
    except OSError:
        return 0


def mapping_of(pid: int, name: str) -> Mapping:
    """Return what a process has mapped of the file with that name, in all its parts."""
    found = Mapping(None)
    is_wanted = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = _HEAD.match(line)
        if head:
            device, inode, path = head.groups()
            is_wanted = path.endswith(f"/{name}")
            if is_wanted:
                found = found._replace(file=(device, inode))
        elif is_wanted and line.startswith(("Rss:", "Pss:")):
            key, size = line.split()[0], int(line.split()[1]) * _KB
            if key == "Rss:":
                found = found._replace(resident=found.resident + size)
            else:
                found = found._replace(proportional=found.proportional + size)
    return found


def mapped_sizes(pid: int, directory: Path) -> dict[tuple[str, str], int]:
    """Return how large each file below a directory is that a process has mapped, by device and inode; in bytes."""
    found: dict[tuple[str, str], int] = {}
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        head = _HEAD.match(line)
        if head and head[3].startswith(f"{directory}/"):
            begin, end = (int(place, 16) for place in line.split()[0].split("-"))
            found[head[1], head[2]] = found.get((head[1], head[2]), 0) + end - begin
    return found
