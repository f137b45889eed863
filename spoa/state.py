"""The state directory: what must outlive a process, written so that a crash leaves the old or the new, never half.

::

    version             version of the layout: an older one is read and brought up to date, a newer one refused
    spoa-authz.pid      process id of the agent; locked while it runs, so two agents never share a directory
    admin               the admin address, for `status` and `reload`
    blocks.yaml         who is blocked, as commands and people write it; see `spoa.blocks`
    blocks.in-force     a copy of it as it was last in force; see `spoa.blockstore`
    newest-time         the newest time seen by a usable clock, seconds since the epoch
    bundles/N-REVISION  built policies, the newest five
    active              symbolic link to the bundle in use: what `--last-good` starts with
    evidence/           revocation lists in force; see `spoa.evidence_store`
    history.jsonl       what changed, when and by whom; see `spoa.console.chronicle`
    downloads/          copies of what was fetched last; see `spoa.download`
    revisions/          earlier revisions, to go back to; see `spoa.history`
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import re
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from spoa._version import BUILD_TIME
from spoa.exceptions import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "KEPT_BUNDLES",
    "MAX_CLOCK_SETBACK",
    "VERSION",
    "StateDirectory",
    "check_directory",
    "check_version",
    "read_file",
    "read_pid",
    "replace_file",
    "write_file",
]

#: Version of the layout that this agent writes. Directories of agents before there was one have none, and are the same
#: but for what is missing.
VERSION: Final = 1

#: How many built policies stay on disk.
KEPT_BUNDLES: Final = 5

#: Seconds by which the clock may stand before the newest time seen and still count as usable.
MAX_CLOCK_SETBACK: Final = 3600

#: Octets that are read or written at once. Few kernels leave a system call before it is done: one that copies a list of
#: forty megabytes keeps whoever shares the core waiting for thirty milliseconds.
_PIECE: Final = 1 << 20
_MOST: Final = 4096  # octets of the files that hold a number
_BUNDLE: Final = re.compile(r"(\d{6,12})-([0-9a-f]{12})")
_DRAFT_PREFIX: Final = "draft-"


_START_IT: Final = "start the version of the agent that wrote it"


def check_version(path: Path, version: object, newest: int, todo: str = _START_IT) -> None:
    """Refuse what a newer agent wrote: what it means isn't known here.

    Raises:
        StateError: *version* is newer than *newest*, or none; with what is to be done then.
    """
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version <= newest:
        raise StateError(
            str(path), f"has version {version}, and this version of spoa-authz reads up to {newest}; {todo}"
        )


def check_directory(directory: Path, todo: str = _START_IT) -> None:
    """Refuse a state directory whose layout is newer than what this agent knows; one that is missing is fine.

    Raises:
        StateError: it is newer, or its version can't be read.
    """
    path = directory / "version"
    try:
        text = read_file(path, _MOST)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StateError(str(path), f"can't be read: {error.strerror}") from error
    found = re.fullmatch(rb"(\d{1,6})\n", text)
    check_version(path, int(found[1]) if found else text.decode("latin-1").strip(), VERSION, todo)


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a pipe would keep us waiting for a writer otherwise, maybe for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_file(path: Path, limit: int | None = None) -> bytes:
    """Return what a file holds, read in pieces.

    Args:
        path: the file; a pipe, a device or a directory is none.
        limit: octets that it may have.

    Raises:
        OSError: it can't be read.
    """
    with io.FileIO(path, opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "this is no regular file", str(path))
        if limit is not None and status.st_size > limit:
            raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, and {limit} is the most", str(path))
        return b"".join(iter(lambda: file.read(_PIECE), b""))


def write_file(path: Path, content: bytes) -> None:
    """Write a file of which nobody knows yet, in pieces.

    Raises:
        OSError: it can't be written.
    """
    with path.open("wb") as file:
        _write_pieces(file, content)


def _write_pieces(file: BinaryIO, content: bytes) -> None:
    whole = memoryview(content)
    file.writelines(whole[start : start + _PIECE] for start in range(0, len(content), _PIECE))


def replace_file(path: Path, content: bytes, *, like: os.stat_result | None = None) -> None:
    """Write a file so that readers, also after a power cut, see the old content or the new.

    Args:
        path: the file.
        content: all that it will hold.
        like: whose mode, and as far as allowed whose owner, the file gets; unless given it is for its owner alone, and
            where root writes it, that is the directory's.

    Raises:
        StateError: the directory can't be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                _write_pieces(file, content)
                file.flush()
                if like is not None:
                    with contextlib.suppress(PermissionError):
                        os.fchown(file.fileno(), like.st_uid, like.st_gid)
                    os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
                elif os.geteuid() == 0:  # what root blocks, an agent that isn't root must be able to read
                    owner = path.parent.stat()
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise StateError(str(path), f"can't be written: {error.strerror}") from error


def read_pid(state_dir: Path) -> int | None:
    """Return the process id of the agent that runs on a state directory; None when no live one holds its lock.

    A pid file that a crash left behind names a process that may be anybody's by now, so the lock decides, not the text.
    """
    try:
        with (state_dir / "spoa-authz.pid").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read(32).strip()
                return int(text) if text.isdigit() else None
            return None
    except OSError:
        return None


def _claim(descriptor: int) -> bool:
    """Lock a file for good. Tried for a moment: `read_pid` of another process holds the lock for an instant."""
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


class StateDirectory:
    """The state directory of one running agent. Constructing it makes the directory where it is missing (mode 0700).

    Raises:
        StateError: it can't be made or written, is that of a newer agent, or its `bundles` could be written by other
            users: built policies are trusted as code is, so a foreign one must not get there.
    """

    def __init__(self, path: Path) -> None:
        check_directory(path)
        self.path = path.absolute()
        self.bundles = self.path / "bundles"
        self.evidence = self.path / "evidence"
        self.downloads = self.path / "downloads"
        self._lock: int | None = None
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            statuses = []
            for directory in (self.bundles, self.evidence, self.downloads):
                directory.mkdir(mode=0o700, exist_ok=True)
                statuses.append((directory, directory.stat()))
        except OSError as error:
            raise StateError(
                str(error.filename or path), f"can't be used as state directory: {error.strerror}"
            ) from error
        for directory, status in statuses:
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                raise StateError(str(directory), "must belong to the agent's user and be writable by nobody else")

    def lock(self) -> None:
        """Claim the directory for this process, and say so in the pid file, until `unlock` or the process ends.

        Raises:
            StateError: another agent runs on it, a newer agent has, or the pid file can't be written.
        """
        check_directory(self.path)
        path = self.path / "spoa-authz.pid"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StateError(str(path), f"can't be opened: {error.strerror}") from error
        if not _claim(descriptor):
            os.close(descriptor)
            owner = read_pid(self.path) or "unknown"
            raise StateError(
                str(self.path), f"process {owner} runs on it; stop it, or give this one its own --state-dir"
            )
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            os.close(descriptor)
            raise StateError(str(path), f"can't be written: {error.strerror}") from error
        self._lock = descriptor
        replace_file(self.path / "version", b"%d\n" % VERSION)

    def unlock(self) -> None:
        """Give the directory back: no pid, no admin address, no lock."""
        if self._lock is None:
            return
        for name in ("admin", "spoa-authz.pid"):
            with contextlib.suppress(
                OSError
            ):  # a pid file without a lock names nobody, and the next agent replaces both
                (self.path / name).unlink()
        os.close(self._lock)
        self._lock = None

    def write_admin_address(self, address: str) -> None:
        """Leave the admin address where `status` and `reload` look for it."""
        replace_file(self.path / "admin", address.encode() + b"\n")

    def clock_floor(self) -> float:
        """Return the time before which the clock can't be right, seconds since the epoch.

        Raises:
            StateError: the kept time is there and can't be read: without it a clock that was set back would pass.
        """
        path = self.path / "newest-time"
        try:
            text = read_file(path, _MOST)
        except FileNotFoundError:
            return BUILD_TIME
        except OSError as error:
            raise StateError(str(path), f"can't be read: {error.strerror}") from error
        if not re.fullmatch(rb"\d{1,12}\n", text):
            raise StateError(str(path), "holds no time; make sure that the clock is right, then delete the file")
        return max(BUILD_TIME, int(text) - MAX_CLOCK_SETBACK)

    def keep_time(self, now: float) -> None:
        """Remember `now` as the newest time unless a newer one is kept; the caller vouches that the clock is usable."""
        kept = self.clock_floor()
        if kept == BUILD_TIME or now > kept + MAX_CLOCK_SETBACK:
            replace_file(self.path / "newest-time", b"%d\n" % int(now))

    @contextlib.contextmanager
    def draft(self) -> Iterator[Path]:
        """Yield an empty directory to build a bundle in; what isn't `keep`-ed from it is gone afterwards."""
        try:
            path = Path(tempfile.mkdtemp(dir=self.bundles, prefix=_DRAFT_PREFIX))
        except OSError as error:
            raise StateError(str(self.bundles), f"can't be written: {error.strerror}") from error
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def keep(self, draft: Path, revision: str) -> Path:
        """Give a finished draft its lasting name and return it.

        Two bundles may have one revision: evidence such as revocation lists isn't part of it.

        Raises:
            StateError: it can't be renamed.
        """
        newest = max((number for number, _ in self._kept()), default=0)
        path = self.bundles / f"{newest + 1:06d}-{revision}"
        try:
            draft.rename(path)
        except OSError as error:
            raise StateError(str(path), f"can't be written: {error.strerror}") from error
        return path

    def activate(self, bundle: Path) -> None:
        """Mark a kept bundle as the one in use, and drop all but the newest few and this one.

        Raises:
            StateError: the mark can't be written.
        """
        mark = self.path / ".active.new"
        try:
            mark.unlink(missing_ok=True)
            mark.symlink_to(Path("bundles") / bundle.name)
            mark.replace(self.path / "active")
        except OSError as error:
            raise StateError(str(self.path / "active"), f"can't be written: {error.strerror}") from error
        for _, path in sorted(self._kept())[:-KEPT_BUNDLES]:
            if path != bundle:
                shutil.rmtree(path, ignore_errors=True)

    def discard(self, bundle: Path) -> None:
        """Drop a kept bundle that no worker could open."""
        shutil.rmtree(bundle, ignore_errors=True)

    def last_good(self) -> Path | None:
        """Return the bundle marked as in use, None when there is none (or the mark leads out of the directory)."""
        try:
            target = (self.path / "active").resolve(strict=True)
        except OSError:
            return None
        return target if target in {path.resolve() for _, path in self._kept()} else None

    def sweep(self) -> None:
        """Remove drafts that a crash left behind; only the agent that holds the lock may."""
        for path in self.bundles.glob(f"{_DRAFT_PREFIX}*"):
            shutil.rmtree(path, ignore_errors=True)

    def _kept(self) -> list[tuple[int, Path]]:
        found = []
        for path in self.bundles.iterdir():
            match = _BUNDLE.fullmatch(path.name)
            if match is not None and path.is_dir() and not path.is_symlink():
                found.append((int(match[1]), path))
        return found
