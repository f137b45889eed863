"""Builds the wheel whose hot path is compiled to C, for one version of Python and one kind of machine.

    python3 -m deploy.compiled FOLDER

It is for the Python that runs this, and needs no more of it than `venv`, its headers, and a C compiler. What builds is
what `build.lock` pins; what is installed with the agent is there, too, since it is checked against it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CFLAGS", "HATCHLING_TIME", "build_compiled", "main"]

_ROOT: Final = Path(__file__).parents[1]
_LOCKS: Final = (_ROOT / "deploy" / "requirements.lock", _ROOT / "deploy" / "build.lock")
_SOURCES: Final = ("pyproject.toml", "README.md", "LICENSE", "spoa")
#: What hatchling takes where nobody says anything, so that a wheel built by `pip` from the sdist is this very wheel.
HATCHLING_TIME: Final = "1580601600"
#: What comes from whoever builds: where programs and packages are. All else could change what is built.
_KEPT: Final = re.compile(r"PATH|HOME|TMPDIR|SSL_CERT_FILE|PIP_\w+|\w+_proxy", re.IGNORECASE)
#: The same sources make the same bytes; and what Debian asks of whatever reads what others send.
_SETTINGS: Final = {
    "HATCH_BUILD_HOOK_ENABLE_MYPYC": "true",
    "SOURCE_DATE_EPOCH": HATCHLING_TIME,
    "PYTHONHASHSEED": "0",
    "LC_ALL": "C.UTF-8",
    "LDFLAGS": "-s -Wl,-z,relro -Wl,-z,now",
}
#: They take the place of those that Python was built with: arithmetic that wraps is what the generated code counts on.
#: Trick: functions that nobody else can see are called without a detour, and those of others by their address: one
#: line of code in thirteen less is touched for an answer. Benchmark: benchmarks/cold.py.
CFLAGS: Final = "-DNDEBUG -fwrapv -g0 -fvisibility=hidden -fno-plt -fstack-protector-strong -D_FORTIFY_SOURCE=2"


def build_compiled(out: Path, python: str | Path = sys.executable) -> None:
    """Build the wheel into a folder, in an environment of its own and from a copy of the sources: two minutes.

    Raises:
        subprocess.CalledProcessError: a tool failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        home, sources = Path(scratch) / "tools", Path(scratch) / "sources"
        _run([python, "-m", "venv", home])
        tool: list[str | Path] = [home / "bin" / "python", "-m"]
        locks = [word for lock in _LOCKS for word in ("--requirement", lock)]
        pip = ["pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
        _run([*tool, *pip, "--require-hashes", *locks])
        sources.mkdir()
        for name in _SOURCES:
            _copy(_ROOT / name, sources / name)
        generated = Path(scratch) / "generated"
        generated.mkdir()
        # Whatever C says of the place of a source is the same wherever that is.
        flags = f"{CFLAGS} -ffile-prefix-map={scratch}=."
        build = [*tool, "hatchling", "build", "--target", "wheel", "--directory", out.absolute()]
        _run(build, sources, CFLAGS=flags, HATCH_MYPYC_BUILD_DIR=str(generated))


def _run(words: Sequence[str | Path], folder: Path = _ROOT, **variables: str) -> None:
    kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    subprocess.run(words, cwd=folder, env={**kept, **_SETTINGS, **variables}, check=True)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    else:
        shutil.copy(source, target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build into the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Build the wheel whose hot path is compiled.")
    parser.add_argument("out", type=Path, metavar="FOLDER", help="where to put it")
    build_compiled(parser.parse_args(arguments).out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
