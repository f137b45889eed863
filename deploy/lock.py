"""Pins, with hashes, what is installed with the agent and what builds it: for every platform, from Python 3.11 on."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

__all__ = ["EXTRAS", "main"]

#: What the Debian package and the image bring beside what the agent can't do without: a setting asks for traces, and
#: nothing can be installed into either of them later.
EXTRAS: Final = ("fast", "otel")
#: What builds the wheels, as the tests use it: the plain one, and the one whose hot path is compiled.
BUILDERS: Final = ("hatchling", "hatch-mypyc", "mypy", "setuptools")
_HERE: Final = Path(__file__).parent
_OPTIONS: Final = (
    "--universal",
    "--python-version",
    "3.11",
    "--generate-hashes",
    "--no-header",
    "--no-annotate",
    "--quiet",
)


def _compile(source: str, target: str, *options: str, given: str | None = None) -> None:
    # From PyPI and nowhere else, whatever the machine is set up for: the hashes are what others will check.
    words = [sys.executable, "-m", "uv", "pip", "compile", source, *options, *_OPTIONS, "--upgrade"]
    words += ["--default-index", "https://pypi.org/simple", "--output-file", str(_HERE / target)]
    subprocess.run(words, check=True, cwd=_HERE.parent, input=given, text=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Write both lock files.

    Raises:
        subprocess.CalledProcessError: no set of versions fits, or PyPI can't be reached.
    """
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    _compile("pyproject.toml", "requirements.lock", *extras)
    dev = tomllib.loads((_HERE.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    builders = [text for text in dev if re.split(r"[<>=]", text)[0] in BUILDERS]
    # What is compiled is checked against what is installed with it: both lists are for one environment.
    _compile("-", "build.lock", "--constraint", "deploy/requirements.lock", given="\n".join(builders) + "\n")


if __name__ == "__main__":
    main()
