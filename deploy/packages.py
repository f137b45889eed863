"""Builds what is handed out, into `dist`: wheel, sdist, SBOM, Debian package, image, chart.

    python -m deploy.packages                                # all of it
    python -m deploy.packages wheel sdist compiled sbom deb  # some

Wheel and sdist need no network. The others fetch what the lock files name, from PyPI, and Debian's packages; the wheel
that is compiled needs a C compiler, Debian's `python3-dev` and `python3-venv`, the Debian package `debhelper` and
`dh-virtualenv`, the image `mmdebstrap` and root. Package and image hold what is compiled, for Debian's own Python. The
program stops at the first thing that can't be built.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from deploy import bill, image
from deploy.compiled import HATCHLING_TIME, build_compiled
from spoa._version import BUILD_TIME, __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["BUILDERS", "ROOT", "build", "main", "run"]

ROOT: Final = Path(__file__).parents[1]
_DEPLOY: Final = ROOT / "deploy"
_LOCK: Final = _DEPLOY / "requirements.lock"
_WHEEL: Final = f"spoa_authz-{__version__}-py3-none-any.whl"
_COMPILED: Final = f"spoa_authz-{__version__}-cp*.whl"
_SDIST: Final = f"spoa_authz-{__version__}.tar.gz"
#: Debian's, which the Debian package and the image run.
_PYTHON: Final = "/usr/bin/python3"
_SBOM: Final = f"spoa-authz-{__version__}.cdx.json"
_IMAGE_SBOM: Final = f"spoa-authz-{__version__}.image.cdx.json"


def run(words: Sequence[str | Path], folder: Path | None = None, **variables: str) -> None:
    """Run a program, in the root of the repository unless told otherwise.

    It builds the same today as tomorrow: its clock for files is the release's.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(BUILD_TIME), "LC_ALL": "C.UTF-8", **variables}
    subprocess.run([str(word) for word in words], cwd=folder or ROOT, env=environment, check=True)


def _hatch(kind: str, out: Path) -> None:
    words: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", out]
    run(words, SOURCE_DATE_EPOCH=HATCHLING_TIME)


def build_wheel(out: Path) -> None:
    """Build the wheel."""
    _hatch("wheel", out)


def build_sdist(out: Path) -> None:
    """Build the source distribution."""
    _hatch("sdist", out)


def build_compiled_wheel(out: Path) -> None:
    """Build the wheel whose hot path is compiled, for Debian's Python and this kind of machine."""
    for older in out.glob(_COMPILED):
        older.unlink()
    build_compiled(out, _PYTHON)


def _compiled(out: Path) -> Path:
    """Return the wheel that `build_compiled_wheel` made, of the sources as they are now."""
    found = list(out.glob(_COMPILED))
    if len(found) != 1:
        raise FileNotFoundError(f"{out} has {len(found)} wheels {_COMPILED}; build `compiled` first")
    with zipfile.ZipFile(found[0]) as archive:
        sources = [name for name in archive.namelist() if name.startswith("spoa/") and name.endswith(".py")]
        for name in sources:
            if not (ROOT / name).exists() or archive.read(name) != (ROOT / name).read_bytes():
                raise FileNotFoundError(f"{found[0]} is of another {name}; build `compiled` again")
    return found[0]


def build_sbom(out: Path) -> None:
    """Write a CycloneDX bill of materials of an environment with the agent and what the lock file names."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "environment"
        run([sys.executable, "-m", "venv", "--without-pip", home])
        python = home / "bin" / "python"
        pip: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "--python",
            python,
            "install",
        ]
        run([*pip, "--no-deps", "--require-hashes", "--requirement", _LOCK])
        run([*pip, "--no-deps", "--no-index", out / _WHEEL])
        tool = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--of", "JSON"]
        run([*tool, "--pyproject", ROOT / "pyproject.toml", "-o", out / _SBOM, python])
    document = json.loads((out / _SBOM).read_text())
    document["metadata"]["component"]["version"] = __version__  # the tool can't see one that is computed
    _write(out / _SBOM, document)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def build_deb(out: Path) -> None:
    """Build the Debian package, with Debian's own tools, from the sdist, the compiled wheel and the lock file."""
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(out / _SDIST) as archive:
            archive.extractall(scratch, filter="data")
        source = Path(scratch) / _SDIST.removesuffix(".tar.gz")
        _debianize(source, out)
        run(["dpkg-buildpackage", "--build=binary", "--no-sign"], source)
        for made in Path(scratch).glob("*.deb"):
            shutil.move(made, out / made.name)


def _debianize(source: Path, out: Path) -> None:
    debian = source / "debian"
    shutil.copytree(_DEPLOY / "debian", debian)
    for unit in (_DEPLOY / "systemd").iterdir():
        shutil.copy(unit, debian)
    wheel = _compiled(out)
    shutil.copy(wheel, debian)
    shutil.copy(out / _SBOM, debian / "spoa-authz.cdx.json")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (debian / "requirements.txt").write_text(f"{_LOCK.read_text()}./debian/{wheel.name} --hash=sha256:{digest}\n")
    (debian / "changelog").write_text(
        f"spoa-authz ({__version__}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n"
        f" -- The spoa-authz contributors <maintainers@spoa-authz.invalid>  {formatdate(BUILD_TIME)}\n"
    )


def build_image(out: Path) -> None:
    """Assemble the image's file tree, and pack it as an OCI archive that engines load; its SBOM is in it and beside."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        run(["sh", _DEPLOY / "oci" / "rootfs.sh", tree, _compiled(out), _LOCK], PATH=path)
        _write(out / _IMAGE_SBOM, bill.of_image(json.loads((out / _SBOM).read_text()), tree))
        shutil.copy(out / _IMAGE_SBOM, tree / "usr" / "share" / "doc" / "spoa-authz" / "sbom.cdx.json")
        target = out / f"spoa-authz-{__version__}.oci.tar"
        image.write_archive(tree, target, __version__, BUILD_TIME)


def build_chart(out: Path) -> None:
    """Pack the chart as `helm package` does."""
    from tests.helm import helm  # noqa: PLC0415 -- fetches a program that only this needs

    run([helm(), "package", _DEPLOY / "helm" / "spoa-authz", "--destination", out])


#: In the order in which one needs the other.
BUILDERS: Final[Mapping[str, Callable[[Path], None]]] = {
    "wheel": build_wheel,
    "sdist": build_sdist,
    "compiled": build_compiled_wheel,
    "sbom": build_sbom,
    "deb": build_deb,
    "image": build_image,
    "chart": build_chart,
}


def build(names: Sequence[str], out: Path) -> None:
    """Build what is named, into a folder that is made where it is missing.

    Raises:
        subprocess.CalledProcessError: a tool failed.
        OSError: a tool or a file is missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in BUILDERS:
        if name in names:
            sys.stdout.write(f"{name} …\n")
            sys.stdout.flush()
            BUILDERS[name](out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what the command line names."""
    parser = argparse.ArgumentParser(description="Build packages.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(BUILDERS)}; all unless given")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where to put them")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(BUILDERS):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    build(given.names or tuple(BUILDERS), given.out.absolute())
    return 0


if __name__ == "__main__":
    sys.exit(main())
