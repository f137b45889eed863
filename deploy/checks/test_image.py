"""The image: small, without a shell, and an agent in it that serves a real HAProxy as nobody on a read-only root.

Without a container engine: the archive is read by skopeo, unpacked, and run by `unshare` as an engine would run it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from deploy import image
from deploy.checks.machine import until
from spoa._version import __version__
from spoa.addresses import Address
from spoa.agentprobe import probe
from tests.agents import OPEN, Haproxy

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST: Final = 150 * 1000 * 1000  # bytes, unpacked
#: What an engine does to start a process: mounts of its own, a read-only root, a user without rights.
CONTAIN: Final = """
set -e
tree=$1; shift
mount --bind "$tree" "$tree"
mount -o remount,ro,bind "$tree"
mount -t proc proc "$tree/proc"
mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
mount -t tmpfs -o mode=0700,uid=65532,gid=65532 tmpfs "$tree/var/lib/spoa-authz"
mount --bind "$POLICIES" "$tree/etc/spoa-authz/policies"
mount --bind /dev "$tree/dev"
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all \
    chroot --userspec=65532:65532 --skip-chdir "$tree" "$@"
"""


@pytest.fixture(scope="module")
def config(archive: Path) -> dict[str, Any]:
    """Give what the image says of itself, as skopeo reads it."""
    words = ["skopeo", "inspect", "--config", f"oci-archive:{archive}:spoa-authz:{__version__}"]
    found: dict[str, Any] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return found


@pytest.fixture(scope="module")
def tree(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the file tree that the archive's layer holds."""
    folder = tmp_path_factory.mktemp("image")
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


@contextmanager
def started(tree: Path, policies: Path, *words: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of the image until the block ends."""
    config = image.configuration(image.CONTAINERFILE.read_text())
    environment = dict(line.split("=", 1) for line in config["Env"]) | variables
    process = subprocess.Popen(
        [
            "unshare",
            "--mount",
            "--pid",
            "--ipc",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            CONTAIN,
            "sh",
            str(tree),
            *words,
        ],
        env={**environment, "POLICIES": str(policies), "PATH": f"/usr/sbin:/sbin:/bin:{environment['PATH']}"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_it_is_small_and_has_no_shell_and_nothing_that_makes_root(tree: Path) -> None:
    files = [path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < LARGEST
    assert [path for path in files if path.stat().st_mode & 0o6000] == []
    programs = {path.name for place in ("bin", "usr/bin", "usr/local/bin") for path in (tree / place).glob("*")}
    assert programs == {"python3.11", "spoa-authz"}


def test_only_what_the_agent_writes_belongs_to_its_user(tree: Path) -> None:
    owned = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.lstat().st_uid}
    assert owned == {"run/spoa-authz", "var/lib/spoa-authz", "var/log/spoa-authz"}
    loose = {
        str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_symlink() and path.stat().st_mode & 2
    }
    assert loose == {"tmp"}


def test_it_says_to_engines_what_the_containerfile_says(config: dict[str, Any]) -> None:
    said = config["config"]
    wanted = image.configuration(image.CONTAINERFILE.read_text())
    assert said["User"] == wanted["User"] == "65532:65532"
    assert said["Entrypoint"] == wanted["Entrypoint"] == ["/usr/local/bin/spoa-authz"]
    assert sorted(said["Env"]) == sorted(wanted["Env"])
    assert wanted["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/spoa-authz", "status"]


def test_the_agent_serves_haproxy_as_nobody_and_its_health_is_seen(tree: Path, tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "policy.yaml").write_text(OPEN)
    tmp_path.chmod(0o755)
    options = {"SPOA_AUTHZ_LISTEN": "127.0.0.1:9173", "SPOA_AUTHZ_ADMIN": "127.0.0.1:9174"}
    address = Address("127.0.0.1", 9173)
    with started(tree, policies, "/usr/local/bin/spoa-authz", "serve", **options) as process:
        until(lambda: process.poll() is not None or not probe(address, 5))
        assert process.poll() is None
        with Haproxy(address) as haproxy:
            assert haproxy.ask(path="/open/door")["verdict"] == "allow"
            assert haproxy.ask(path="/shut")["verdict"] == "deny"
        healthy = ["/usr/local/bin/spoa-authz", "status", "--admin", "127.0.0.1:9174"]
        with started(tree, policies, *healthy) as check:
            assert check.wait(60) == 0
        inside = _only_child(_only_child(process.pid)) if not _is_python(process.pid) else process.pid
        told = Path(f"/proc/{inside}/status").read_text()
        assert "Uid:\t65532\t65532" in told
        assert "CapBnd:\t0000000000000000" in told
        os.kill(inside, signal.SIGTERM)
        assert process.wait(60) == 0
    with started(tree, policies, *healthy) as check:
        assert check.wait(60) == 1


def _is_python(pid: int) -> bool:
    return "python" in Path(f"/proc/{pid}/comm").read_text()


def _only_child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def test_the_containerfile_is_built_by_a_real_builder(tmp_path: Path) -> None:
    """Its base image is made here from the same Debian, since no registry of images is reached."""
    assert shutil.which("buildah"), "buildah is missing"
    assert time.time()
