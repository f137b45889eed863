"""A wall clock for processes of a test that can be set: libfaketime from Debian, unpacked without root.

clock = Clock(tmp_path / "clock")
subprocess.Popen(..., env={**os.environ, **clock.environment})
clock.set(-86400)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.debian_packages import own_suite, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Clock", "library"]


def library() -> Path:
    """Return the library that answers for the system's clock, fetching it once if need be.

    Raises:
        PackageUnavailableError: it can't be had.
    """
    home = unpacked("libfaketime", lambda _: ["libfaketime"], [own_suite()])
    return next(home.rglob("libfaketime.so.1"))


class Clock:
    """A clock beside the machine's, for the processes that are started with its `environment`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that make a process go by this clock; clocks that only measure durations stay as they are."""
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, seconds: int) -> None:
        """Let it differ from the machine's clock by so many seconds."""
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{seconds:+d}s\n")
        beside.replace(self._file)
