"""A wall clock for processes of a test that can be set: libfaketime from Debian, unpacked without root.

clock = Clock(tmp_path / "clock")
subprocess.Popen(..., env={**os.environ, **clock.environment})
clock.set(-86400)
"""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.haproxy_builds import cache_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Clock", "library"]

_PACKAGE: Final = "libfaketime"
_SECONDS_FOR_APT: Final = 180


def library() -> Path:
    """Return the library that answers for the system's clock, fetching it once if need be.

    Raises:
        subprocess.CalledProcessError: apt can't be had, or doesn't have it.
    """
    home = cache_folder().parent / _PACKAGE
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = sorted(home.rglob("libfaketime.so.1"))
        if not found:
            with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
                _run("apt-get", "-o", "APT::Sandbox::User=root", "download", _PACKAGE, folder=scratch)
                (package,) = Path(scratch).glob("*.deb")
                _run("dpkg-deb", "-x", str(package), str(Path(scratch) / "root"), folder=scratch)
                (Path(scratch) / "root").rename(home)
            found = sorted(home.rglob("libfaketime.so.1"))
    return found[0]


def _run(*words: str, folder: str) -> None:
    subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=_SECONDS_FOR_APT)


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
