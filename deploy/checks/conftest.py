"""What the checks of the built packages share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def dist() -> Path:
    """Give the folder with the packages, which `make packages` fills."""
    return Path(os.environ.get("SPOA_AUTHZ_DIST") or ROOT / "dist").absolute()


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    """Give the wheel."""
    return only(dist, "*.whl")


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


def only(folder: Path, pattern: str) -> Path:
    """Return the one file that a pattern finds."""
    found = sorted(folder.glob(pattern))
    assert len(found) == 1, f"{folder} has {len(found)} files {pattern}: run `make packages`"
    return found[0]
