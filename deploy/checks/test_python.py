"""The wheels and the sdist, installed by what people install programs with."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spoa._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "deploy" / "requirements.lock"
#: For which what is compiled is compiled.
PYTHON = "/usr/bin/python3"


def run(folder: Path, *words: str | Path) -> str:
    """Run a program with a home of its own, and return what it prints."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {
        **os.environ, "HOME": str(home), "PIPX_HOME": str(home / "pipx"), "PIPX_BIN_DIR": str(home / "bin"),
        "UV_TOOL_DIR": str(home / "tools"), "UV_TOOL_BIN_DIR": str(home / "bin"), "UV_CACHE_DIR": str(home / "cache"),
        "UV_PYTHON": sys.executable, "PIPX_DEFAULT_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never",
    }  # fmt: skip
    done = subprocess.run(
        [str(word) for word in words], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def is_compiled(folder: Path, python: str | Path) -> bool:
    """Tell whether what a Python imports in a folder is compiled."""
    return run(folder, python, "-c", "import spoa.recall; print(spoa.recall.__file__)").strip().endswith(".so")


def uses(folder: Path) -> None:
    """Do a first few things with what was installed."""
    command = folder / "home" / "bin" / "spoa-authz"
    assert run(folder, command, "--version").strip() == f"spoa-authz, version {__version__}"
    run(folder, command, "pki", "init", "root")
    (folder / "policies").mkdir()
    (folder / "policies" / "policy.yaml").write_text("apiVersion: authz/v1\nrules: []\n")
    run(folder, command, "check", "--strict", "policies")


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_pipx_installs_it(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run(tmp_path, sys.executable, "-m", "pipx", "install", request.getfixturevalue(kind))
    uses(tmp_path)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_uv_installs_it_as_a_tool(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run(tmp_path, sys.executable, "-m", "uv", "tool", "install", request.getfixturevalue(kind))
    uses(tmp_path)


@pytest.fixture
def published(wheel: Path) -> Iterator[str]:
    """Give the address of the wheel, on a server of this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(wheel.parent))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{wheel.name}"
        server.shutdown()


@pytest.mark.parametrize("tool", [("pipx",), ("uv", "tool")], ids=" ".join)
@pytest.mark.parametrize("way", ["file", "URL"])
def test_the_wheel_of_a_release_is_installed_with_an_extra(
    tool: Sequence[str], way: str, wheel: Path, published: str, tmp_path: Path
) -> None:
    """The loop that `fast` adds is what tells that it was."""
    if way == "file":
        shutil.copy(wheel, tmp_path)
    name = f"./{wheel.name}[fast]" if way == "file" else f"spoa-authz[fast] @ {published}"
    run(tmp_path, sys.executable, "-m", *tool, "install", name)
    uses(tmp_path)
    assert list((tmp_path / "home").glob("**/site-packages/uvloop"))


def test_pipx_installs_it_for_the_whole_machine_outside_of_homes(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPX_GLOBAL_HOME", str(tmp_path / "opt"))
    monkeypatch.setenv("PIPX_GLOBAL_BIN_DIR", str(tmp_path / "bin"))
    run(tmp_path, sys.executable, "-m", "pipx", "install", "--global", f"{wheel}[fast]")
    command = tmp_path / "bin" / "spoa-authz"
    assert command.resolve().is_relative_to(tmp_path / "opt")
    assert run(tmp_path, command, "--version").strip() == f"spoa-authz, version {__version__}"


def test_the_sdist_builds_the_very_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    words: list[str | Path] = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        tmp_path,
        sdist,
    ]
    run(tmp_path, sys.executable, *words)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_lock_file_is_all_that_the_wheel_needs(wheel: Path, tmp_path: Path) -> None:
    run(tmp_path, sys.executable, "-m", "venv", "environment")
    python = tmp_path / "environment" / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(tmp_path, *pip, "--require-hashes", "--requirement", LOCK)
    run(tmp_path, *pip, "--no-deps", "--no-index", wheel)
    run(tmp_path, python, "-m", "pip", "check")


def test_the_compiled_wheel_is_the_plain_one_and_beside_it_what_is_compiled(wheel: Path, compiled: Path) -> None:
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
    with zipfile.ZipFile(wheel) as plain, zipfile.ZipFile(compiled) as fast:
        sources = [name for name in plain.namelist() if name.startswith("spoa/")]
        assert [name for name in sources if fast.read(name) != plain.read(name)] == []
        beside = set(fast.namelist()) - set(plain.namelist())
    modules = {name.partition(".")[0] + ".py" for name in beside if name.startswith("spoa/")}
    assert modules == set(hooks["mypyc"]["include"])
    [shared] = [name for name in beside if not name.startswith("spoa/")]
    assert "__mypyc.cpython-" in shared


def test_the_sdist_builds_the_very_compiled_wheel(compiled: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    sources = tmp_path / sdist.name.removesuffix(".tar.gz")
    run(sources, PYTHON, "-m", "deploy.compiled", tmp_path)
    assert (tmp_path / compiled.name).read_bytes() == compiled.read_bytes()


def test_the_compiled_wheel_is_installed_and_used_like_the_plain_one(compiled: Path, tmp_path: Path) -> None:
    run(tmp_path, PYTHON, "-m", "venv", "home")
    python = tmp_path / "home" / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(tmp_path, *pip, "--require-hashes", "--requirement", LOCK)
    run(tmp_path, *pip, "--no-deps", "--no-index", compiled)
    assert is_compiled(tmp_path, python)
    uses(tmp_path)


def test_the_tests_of_the_hot_path_hold_of_the_very_wheel(compiled: Path, tmp_path: Path) -> None:
    """Beside the tests lies what the wheel holds, and no other `spoa`; another Python of the same version runs it."""
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    assert f"-{tag}-" in compiled.name, "run this with a Python of the version that the wheel is for"
    for part in ("tests", "benchmarks", "policies", "haproxy", "docs"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", "build", "results"))
    for part in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / part, tmp_path)
    with zipfile.ZipFile(compiled) as archive:
        archive.extractall(tmp_path)
    listed = re.search(r"^COMPILED_TESTS := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed is not None
    pytest_: list[str | Path] = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--no-cov"]
    said = run(tmp_path, *pytest_, "-m", "not interpreted and not integration", *listed[1].replace("\\", "").split())
    assert re.search(r"^\d{4,} passed", said, re.MULTILINE), said[-500:]
    assert is_compiled(tmp_path, sys.executable)
