"""Debian packages without root: fetched with a private apt state, and unpacked into a folder of their own."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Apt", "PackageUnavailableError", "cache", "locked", "own_suite", "unpacked"]

MIRROR: Final = "http://deb.debian.org/debian"
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SECONDS: Final = 300


class PackageUnavailableError(RuntimeError):
    """A package could not be fetched; the sentence says why."""


def cache() -> Path:
    """Return the folder that holds what was fetched."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spoa-authz"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time do something."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def own_suite() -> str:
    """Return the Debian suite of this machine, whose packages run on its libraries."""
    found = re.search(r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    if found is None:
        raise PackageUnavailableError("/etc/os-release names no suite of Debian")
    return found.group(1)


def unpacked(name: str, choose: Callable[[Apt], Sequence[str]], suites: Sequence[str]) -> Path:
    """Return the folder `name` of the cache with packages in it, fetching them once if need be.

    Safe to call from many processes at once: one of them fetches, the others wait for it.

    Args:
        name: of the folder.
        choose: returns the packages, given an apt that knows the suites.
        suites: of Debian.

    Raises:
        PackageUnavailableError: a tool is missing, or apt fails.
    """
    home = cache() / name
    lacking = [tool for tool in ("apt-get", "apt-cache", "dpkg-deb") if shutil.which(tool) is None]
    with locked(home.with_name(f"{home.name}.lock")):
        if home.exists():
            return home
        if lacking:
            raise PackageUnavailableError(f"no {', '.join(lacking)} to fetch it with")
        with tempfile.TemporaryDirectory(dir=home.parent, prefix=f"{home.name}-") as scratch:
            apt = Apt(Path(scratch) / "apt", suites)
            apt.extract(choose(apt), Path(scratch) / "root")
            (Path(scratch) / "root").rename(home)
    return home


class Apt:
    """An apt of our own: its sources, lists and cache lie in one folder, and it believes nothing is installed."""

    def __init__(self, home: Path, suites: Sequence[str]) -> None:
        self._debs = home / "debs"
        for folder in (home / "lists/partial", home / "cache/archives/partial", self._debs):
            folder.mkdir(parents=True)
        (home / "status").touch()
        signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        sources = "".join(f"deb {signed}{_mirror()} {suite} main\n" for suite in dict.fromkeys(suites))
        (home / "sources.list").write_text(sources)
        options = {
            "Dir::Etc::sourcelist": home / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State": home,
            "Dir::State::lists": home / "lists",
            "Dir::State::status": home / "status",
            "Dir::Cache": home / "cache",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
        }
        self._options = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        self.call("apt-get", "update")

    def call(self, tool: str, verb: str, *words: str) -> str:
        """Run one of apt's tools and return what it prints."""
        try:
            return _run([tool, *self._options, verb, *words], self._debs)
        except subprocess.CalledProcessError as error:
            raise PackageUnavailableError(f"{tool} {verb} failed: {error.stderr.strip()[-500:]}") from error

    def extract(self, packages: Sequence[str], root: Path) -> None:
        """Fetch packages, and unpack them below `root`."""
        self.call("apt-get", "download", *packages)
        root.mkdir()
        for deb in sorted(self._debs.glob("*.deb")):
            _run(["dpkg-deb", "-x", str(deb), str(root)], None)

    def with_libraries(self, packages: Sequence[str], suite: str) -> list[str]:
        """Return packages and the libraries that they are linked with: binaries need no tools to be run in place."""
        wanted, level = list(packages), list(packages)
        seen = {package.partition("=")[0] for package in packages}
        while level:
            told = self.call("apt-cache", "show", "--no-all-versions", *level)
            named = re.findall(r"^(?:Pre-)?Depends: (.*)$", told, re.MULTILINE)
            firsts = [clause.split("|")[0].split()[0].partition(":")[0] for line in named for clause in line.split(",")]
            names = [name for name in dict.fromkeys(firsts) if _is_library(name) and name not in seen]
            seen.update(names)
            level = [f"{name}/{suite}" for name in names]
            wanted += level
        return wanted


def _is_library(package: str) -> bool:
    return package.startswith(("lib", "zlib")) and not package.startswith(("libc-gconv", "libpam"))


def _mirror() -> str:
    """Return the Debian mirror that this machine uses, so that a local one is honoured."""
    told = _run(["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)"], None)
    found = re.search(r"^Debian (\S+)$", told, re.MULTILINE)
    return found.group(1).rstrip("/") if found else MIRROR


def _run(words: Sequence[str], folder: Path | None) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        words, check=True, capture_output=True, text=True, timeout=SECONDS, cwd=folder, env=environment
    )
    return done.stdout
