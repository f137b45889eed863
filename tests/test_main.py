from __future__ import annotations

import importlib
import subprocess
import sys

from spoa import __version__


def test_python_m_spoa_is_the_command() -> None:
    result = subprocess.run([sys.executable, "-m", "spoa", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"spoa-authz, version {__version__}\n"


def test_importing_it_runs_nothing() -> None:
    assert importlib.import_module("spoa.__main__").__all__ == []
