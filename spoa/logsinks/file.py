"""Decisions in a file that several workers share, that is rotated by them or by others, and may be a hash chain.

Each batch is written under a lock on the file itself, by whoever is its turn. So lines stand whole even where a disk
fills up, exactly one worker rotates, and one chain runs through the lines of all. Where the file that is open isn't the
one by that name any more, somebody has rotated it, and the new one is opened.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.logchain import Head, KeptHead, read_link
from spoa.logsinks.sink import Text, new_head, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from spoa.logchain import Chain
    from spoa.logsinks.sink import Line

__all__ = ["FileSink", "Rotation", "head_path", "kept_head", "rotated_files"]

#: Bytes at the end of a file in which its last line is looked for: twice the longest line.
_TAIL: Final = 1 << 20
#: Bytes at the begin of a file in which the time of its first line is looked for.
_BEGIN: Final = 1 << 16
_TIME: Final = re.compile(rb'"time":"([^"]{1,40})"')
_STAMP: Final = re.compile(r"\.(\d{8}T\d{6}Z)(?:-(\d{1,9}))?(?:\.gz)?")
#: Bytes that a link adds to a line, at most.
_LINK_SIZE: Final = 260
#: Bytes that a kept head takes, so that it is replaced in place by one write.
_HEAD_SIZE: Final = 512
_REPLACED: Final = "the log does not end as it was written; its chain goes on from what was written"


class Rotation(NamedTuple):
    """When the agent itself begins a new file.

    Attributes:
        max_size: bytes; 0 for never.
        max_age: seconds since the first line of the file; 0 for never. Looked at when a line is to be written.
        keep: how many older files are left.
    """

    max_size: int = 0
    max_age: float = 0
    keep: int = 10

    @property
    def is_on(self) -> bool:
        """The agent rotates at all."""
        return bool(self.max_size or self.max_age)


def head_path(path: Path) -> Path:
    """Return where the head of a file's chain is kept."""
    return path.with_name(f"{path.name}.chain")


def kept_head(path: Path) -> Head | None:
    """Return the head that is kept beside a file; None where there is none, or nothing was written yet.

    Raises:
        OSError: it can't be read.
        StateError: a newer agent wrote it.
    """
    place = head_path(path)
    try:
        kept = KeptHead.from_bytes(place.read_bytes(), str(place))
    except FileNotFoundError:
        return None
    return None if kept is None or not kept.head.seq else kept.head


def rotated_files(path: Path) -> list[Path]:
    """Return the files that the agent made of a log by rotation, the oldest first."""
    return [one for _, _, one in sorted(_stamps(path))]


def _stamps(path: Path) -> Iterator[tuple[str, int, Path]]:
    """Yield the second in which each older file was rotated, and its number in that second."""
    for one in path.parent.glob(f"{_escaped(path.name)}.*"):
        match = _STAMP.fullmatch(one.name.removeprefix(path.name))
        if match is not None:
            yield match[1], int(match[2] or 0), one


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


class FileSink:
    """Appends to a regular file, made with mode 0640 where it is missing.

    Args:
        path: the file.
        rotation: when a new one is begun.
        chain: for the links of the file's chain; None without.
        clock: seconds since the epoch.

    Raises:
        OSError: the file, or the one that keeps the head of its chain, can't be opened.
        StateError: a newer agent wrote the head of the chain.
    """

    reads_rows = False

    def __init__(
        self,
        path: Path,
        rotation: Rotation = Rotation(),  # noqa: B008 -- a tuple
        chain: Chain | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.problem = ""
        self._path = path
        self._rotation = rotation
        self._chain = chain
        self._clock = clock
        self._descriptor = self._open()
        self._head = -1
        if chain is not None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            try:
                self._head = os.open(head_path(path), flags, 0o640)
                self._kept()
            except BaseException:
                self.close()
                raise

    def write(self, rows: Sequence[Line]) -> int:
        """Write lines as far as the disk takes them whole; whoever has the file locked is waited for."""
        plain = text_of(rows)
        more = len(plain.text) if self._chain is None else len(plain.text) + plain.lines * (_LINK_SIZE - 1)
        with self._locked():
            if not (self._is_due(more) and self._rotate()):
                return (
                    self._append(plain, []) if self._chain is None else self._append(*self._linked(self._chain, plain))
                )
        # The new file has a lock of its own, and somebody may have filled even that one before it is had.
        return self.write(rows)

    def reopen(self) -> None:
        """Open the file by its name again, if it is another one now."""
        with self._locked():
            pass

    def close(self) -> None:
        """Close the file."""
        for descriptor in (self._descriptor, self._head):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._head = -1

    # -- which file -------------------------------------------------------------------------------------------------

    def _open(self) -> int:
        # Read as well as written: the end of the file is looked at.
        return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the file that has the name now."""
        while True:
            self._follow()
            self._lock()
            if self._is_current():
                break
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            if not self._follow():  # the new one can't be opened: the old one takes the lines on
                self._lock()
                break
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _lock(self) -> None:
        # The system is fair: whoever tried now and then would starve beside a busy worker. A worker that
        # hangs is replaced, which ends its lock.
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def _is_current(self) -> bool:
        try:
            named = self._path.stat()
        except OSError:
            return False
        own = os.fstat(self._descriptor)
        return (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)

    def _follow(self) -> bool:
        """Open the file that has the name now; False where that can't be done."""
        if self._is_current():
            return True
        try:
            descriptor = self._open()
        except OSError as error:
            self.problem = f"{self._path} can't be opened anew: {error.strerror}; the file before takes the lines on"
            return False
        os.close(self._descriptor)
        self._descriptor = descriptor
        self.problem = ""
        return True

    # -- rotation ---------------------------------------------------------------------------------------------------

    def _is_due(self, more: int) -> bool:
        """Tell whether the next line, with *more* bytes to come, belongs in a new file."""
        if not self._rotation.is_on:
            return False
        status = os.fstat(self._descriptor)
        if not status.st_size:
            return False
        if self._rotation.max_size and status.st_size + more > self._rotation.max_size:
            return True
        return bool(self._rotation.max_age) and self._clock() - self._beginning(status) >= self._rotation.max_age

    def _beginning(self, status: os.stat_result) -> float:
        """Return the time of the file's first line, or where that has none, when it was changed last."""
        match = _TIME.search(os.pread(self._descriptor, _BEGIN, 0))
        try:
            return datetime.fromisoformat(match[1].decode()).timestamp() if match else status.st_mtime
        except ValueError:
            return status.st_mtime

    def _rotate(self) -> bool:
        """Give the file another name, so that whoever follows makes a new one; False where that can't be done."""
        if self._chain is not None and not self._keep(self._current_head()):
            # The next file would go on behind what was kept last, and not behind what was written last.
            self.problem = f"{self._path} can't be rotated: {head_path(self._path)} can't be written; it grows on"
            return False
        try:
            self._path.rename(self._path.with_name(self._next_name()))
        except OSError as error:
            self.problem = f"{self._path} can't be rotated: {error.strerror}; it grows on"
            return False
        self.problem = ""
        older = rotated_files(self._path)
        for one in older[: max(len(older) - self._rotation.keep, 0)]:
            with contextlib.suppress(OSError):
                one.unlink()
        return True

    def _next_name(self) -> str:
        """Return a name that sorts behind those of all older files, also where the clock was set back."""
        stamp = datetime.fromtimestamp(self._clock(), UTC).strftime("%Y%m%dT%H%M%SZ")
        last = max(_stamps(self._path), default=None)
        if last is None or last[0] < stamp:
            return f"{self._path.name}.{stamp}"
        return f"{self._path.name}.{last[0]}-{last[1] + 1}"

    # -- lines ------------------------------------------------------------------------------------------------------

    def _linked(self, chain: Chain, plain: Text) -> tuple[Text, list[Head]]:
        """Return lines with their links, and the head behind each."""
        head, lines, heads = self._current_head(), [], []
        for one in plain.text.splitlines():
            line, head = chain.extend(one, head)
            lines.append(line)
            heads.append(head)
        return Text(b"\n".join((*lines, b"")), plain.lines), heads

    def _append(self, plain: Text, heads: list[Head]) -> int:
        """Write lines; what a full disk cut off is taken back, so that no line stands half."""
        size = os.fstat(self._descriptor).st_size
        # What a crash cut off must not swallow this line too.
        begin = int(bool(size) and os.pread(self._descriptor, 1, size - 1) != b"\n")
        data = b"\n" + plain.text if begin else plain.text
        done = 0
        with contextlib.suppress(OSError):
            while done < len(data):
                done += os.write(self._descriptor, data[done:] if done else data)
        written = plain.lines
        if done < len(data):
            end = data.rfind(b"\n", begin, done) + 1
            written = data.count(b"\n", begin, end)
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, size + end)
        if written and heads:
            self._keep(heads[written - 1])
        return written

    # -- the chain --------------------------------------------------------------------------------------------------

    def _kept(self) -> KeptHead | None:
        return KeptHead.from_bytes(os.pread(self._head, _HEAD_SIZE, 0), str(head_path(self._path)))

    def _keep(self, head: Head) -> bool:
        """Keep the head; tell whether that could be done. Where it couldn't, the end of the file tells as well."""
        status = os.fstat(self._descriptor)
        content = KeptHead(head, status.st_size, status.st_ino).to_bytes().rstrip(b"\n").ljust(_HEAD_SIZE - 1) + b"\n"
        with contextlib.suppress(OSError):
            return os.pwrite(self._head, content, 0) == len(content)
        return False

    def _current_head(self) -> Head:
        """Return where the chain goes on: behind what was written last, whatever has become of the file since.

        Where lines were taken away, the numbers of those that follow show it.
        """
        kept, status = self._kept(), os.fstat(self._descriptor)
        if kept is not None and (kept.inode, kept.size) == (status.st_ino, status.st_size):
            return kept.head
        last = self._last_head(status.st_size)
        if last is not None and (kept is None or (last.writer == kept.head.writer and last.seq >= kept.head.seq)):
            return last
        if kept is None:
            return new_head("file")
        if kept.inode == status.st_ino or (last is not None and last.writer == kept.head.writer):
            self.problem = _REPLACED
        return kept.head

    def _last_head(self, size: int) -> Head | None:
        assert self._chain is not None
        begin = max(size - _TAIL, 0)
        tail = os.pread(self._descriptor, size - begin, begin)
        whole = tail[: tail.rfind(b"\n") + 1].rstrip(b"\n")
        link = read_link(whole[whole.rfind(b"\n") + 1 :])
        return link.head if link is not None and self._chain.holds(link) else None
