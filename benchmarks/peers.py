"""Agents in Python that others have published, in environments of their own; they answer "allow" and judge nothing.

One that doesn't install here (spoe-forge wants Python 3.12) is left out, and the report says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.programs import Program, wait_until_listening

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PEERS", "Peer", "PeerUnavailableError"]

_HERE: Final = Path(__file__).resolve().parent
#: Name in the package registry → the version that is compared with, and the program that answers with it.
PEERS: Final[Mapping[str, tuple[str, str]]] = {
    "haproxyspoa": ("0.0.1", "peer_haproxyspoa.py"),
    "spoe-forge": ("0.0.8", "peer_spoe_forge.py"),
}
_SECONDS_TO_INSTALL: Final = 180


class PeerUnavailableError(RuntimeError):
    """A peer could not be installed or started; the text says why."""


def _pythons() -> list[str]:
    """Return the Pythons to try: the one that runs, then newer ones that are at hand."""
    kept = sorted(Path.home().glob(".pyenv/versions/3.1[2-9]*/bin/python"), reverse=True)
    named = [shutil.which(f"python3.{minor}") for minor in (14, 13, 12)]
    return [sys.executable, *(one for one in named if one), *map(str, kept)]


def _environment(build: Path, name: str) -> Path:
    """Return the Python of a peer's environment, made once.

    Raises:
        PeerUnavailableError: it installs with no Python that is here.
    """
    version, _ = PEERS[name]
    home = build / "peers" / f"{name}-{version}"
    done = home / ".installed"
    if done.exists():
        return home / "bin" / "python"
    told = ""
    for python in _pythons():
        shutil.rmtree(home, ignore_errors=True)
        commands = [
            [python, "-m", "venv", str(home)],
            [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", f"{name}=={version}"],
        ]
        for command in commands:
            result = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_TO_INSTALL, check=False)
            told = result.stderr.strip()[-300:]
            if result.returncode:
                break
        else:
            done.touch()
            return home / "bin" / "python"
    raise PeerUnavailableError(f"{name} {version} does not install: {told}")


class Peer(Program):
    """Another agent, which answers "allow" to everything.

    Raises:
        PeerUnavailableError: it can't be installed.
    """

    def __init__(self, build: Path, name: str) -> None:
        python = _environment(build, name)
        super().__init__(name, [str(python), str(_HERE / PEERS[name][1]), "PORT"], output=Path(os.devnull))
        try:
            wait_until_listening(self.port, self.process)
        except BaseException:
            self.close()
            raise
