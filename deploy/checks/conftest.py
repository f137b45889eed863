"""What the checks of the built packages share."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def dist() -> Path:
    """Give the folder with the packages, which `make packages` fills."""
    return Path(os.environ.get("SPOA_AUTHZ_DIST") or ROOT / "dist").absolute()


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    """Give the wheel that runs anywhere."""
    return only(dist, "*-py3-none-any.whl")


@pytest.fixture(scope="session")
def compiled(dist: Path) -> Path:
    """Give the wheel whose hot path is compiled."""
    return only(dist, "*-cp*.whl")


@pytest.fixture(scope="session")
def sdist(dist: Path) -> Path:
    """Give the source distribution."""
    return only(dist, "spoa_authz-*.tar.gz")


@pytest.fixture(scope="session")
def deb(dist: Path) -> Path:
    """Give the Debian package."""
    return only(dist, "*.deb")


@pytest.fixture(scope="session")
def archive(dist: Path) -> Path:
    """Give the archive of the image."""
    return only(dist, "*.oci.tar")


@pytest.fixture(scope="session")
def tree(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the file tree that the archive's layer holds."""
    folder = tmp_path_factory.mktemp("image")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)  # the user of the image passes here
    with tarfile.open(archive) as outer:
        outer.extractall(folder / "layout", filter="data")
    index = json.loads((folder / "layout" / "index.json").read_text())
    manifest = json.loads(_blob(folder, index["manifests"][0]).read_text())
    tree = folder / "tree"
    tree.mkdir()
    for layer in manifest["layers"]:
        words = ["tar", "--extract", "--numeric-owner", "--same-owner", "--file", str(_blob(folder, layer))]
        subprocess.run([*words, "--directory", str(tree)], check=True)
    return tree


def _blob(folder: Path, described: dict[str, Any]) -> Path:
    return folder / "layout" / "blobs" / str(described["digest"]).replace(":", "/")


def only(folder: Path, pattern: str) -> Path:
    """Return the one file that a pattern finds."""
    found = sorted(folder.glob(pattern))
    assert len(found) == 1, f"{folder} has {len(found)} files {pattern}: run `make packages`"
    return found[0]
