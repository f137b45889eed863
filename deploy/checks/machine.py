"""A clean Debian with a systemd of its own: a folder from debootstrap, booted by systemd-nspawn without a network.

What apt needs is downloaded before the machine starts, so that the machine itself reaches nobody but its own loopback,
and nobody reaches it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Machine", "booted", "root_of", "until"]

SUITES: Final = {"12": "bookworm", "13": "trixie"}
MIRROR: Final = "http://deb.debian.org/debian"
BASE: Final = "systemd,systemd-sysv,dbus,ca-certificates"
SECONDS_TO_MAKE: Final = 900
SECONDS_TO_BOOT: Final = 120
SECONDS: Final = 300


def until(holds: object, seconds: float = 60) -> None:
    """Wait for a callable to return something true; fails when it does not in time."""
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"does not hold after {seconds} s"
        time.sleep(0.2)


class Machine:
    """A booted machine.

    Attributes:
        root: its root directory, seen from outside.
    """

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._leader = leader

    def run(self, script: str, *, status: int | None = 0, seconds: float = SECONDS) -> str:
        """Run a shell script as root in the machine and return what it prints, both streams together.

        Raises:
            AssertionError: it ended with another status; None is any.
        """
        done = subprocess.run(
            ["nsenter", "--target", str(self._leader), "--all", "sh", "-ec", script],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
                 "DEBIAN_FRONTEND": "noninteractive"},
            check=False,
        )  # fmt: skip
        assert status is None or done.returncode == status, f"{script}\nended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def property_of(self, unit: str, name: str) -> str:
        """Return a property of a unit, as systemd tells it."""
        return self.run(f"systemctl show --value --property={name} {unit}").strip()


def root_of(release: str) -> Path:
    """Return a debootstrap root, making it where it isn't in the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spoa-authz"
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / f"debian-{release}"
    with (cache / f"debian-{release}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            partly = cache / f"debian-{release}.partly"
            shutil.rmtree(partly, ignore_errors=True)
            words = ["debootstrap", "--variant=minbase", f"--include={BASE}", SUITES[release], str(partly), MIRROR]
            subprocess.run(words, check=True, timeout=SECONDS_TO_MAKE, stdout=subprocess.DEVNULL)
            partly.rename(root)
    return root


def _download(root: Path, packages: Sequence[str]) -> None:
    """Have apt hold the packages and all that they need, without installing any."""
    script = (
        f"apt-get update -qq && apt-get install -y -qq --download-only --no-install-recommends {' '.join(packages)}"
    )
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}
    words = ["chroot", str(root), "sh", "-ec", script]
    subprocess.run(words, check=True, timeout=SECONDS_TO_MAKE, env=environment, stdout=subprocess.DEVNULL)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


@contextmanager
def booted(release: str, packages: Sequence[str], debs: Sequence[Path] = ()) -> Iterator[Machine]:
    """Boot a clean machine that has packages downloaded, and files below /root; it ends with the block.

    Args:
        release: `12` or `13`.
        packages: by name, or `/root/FILE` for one of `debs`.
        debs: what is laid into /root.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        subprocess.run(["cp", "--archive", str(root_of(release)), str(root)], check=True)
        for deb in debs:
            shutil.copy(deb, root / "root")
        _download(root, packages)
        console = (Path(scratch) / "console").open("w")
        words = ["systemd-nspawn", "--quiet", f"--directory={root}", "--register=no", "--keep-unit"]
        nspawn = subprocess.Popen(
            [*words, "--private-network", "--boot"], stdin=subprocess.DEVNULL, stdout=console, stderr=console
        )
        try:
            until(lambda: _children(nspawn.pid) or nspawn.poll() is not None, SECONDS_TO_BOOT)
            assert nspawn.poll() is None, (Path(scratch) / "console").read_text()
            machine = Machine(root, _children(nspawn.pid)[0])
            ended = {"running", "degraded"}
            until(lambda: machine.run("systemctl is-system-running", status=None).strip() in ended, SECONDS_TO_BOOT)
            yield machine
        finally:
            # The machine's first process ends, and all others with it.
            for leader in _children(nspawn.pid):
                os.kill(leader, 9)
            nspawn.wait(SECONDS)
            console.close()
