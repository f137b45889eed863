"""Policy directories as git keeps them: any revision may stand in for a directory."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spoa.exceptions import SpoaError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MARK", "RevisionError", "directory_of"]

#: What a revision begins with, in place of a directory.
MARK: Final = "git:"
#: The folder that is looked at where neither side names one.
_DEFAULT: Final = "policies"
#: Seconds that git may take.
_PATIENCE: Final = 60
_NO_REPOSITORY: Final = "not a git repository"


class RevisionError(SpoaError):
    """A revision that can't stand in for a policy directory.

    Attributes:
        text: as it was given.
        detail: what git said, and what to write.
    """

    def __init__(self, text: str, detail: str) -> None:
        super().__init__(text, detail)
        self.text = text
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.text}: {self.detail}"


@contextlib.contextmanager
def directory_of(text: str, beside: str) -> Iterator[Path]:
    """Yield the directory that *text* names: a path, `git:REV` or `git:REV:DIR`, the last two written out meanwhile.

    Args:
        text: as on a command line. DIR counts from the top of the repository.
        beside: the other side of the comparison; `git:REV` is the same directory of the same repository. Where it lies
            in none, the repository is that of the working directory.

    Raises:
        RevisionError: there is no such directory, revision or repository.
    """
    if not text.startswith(MARK):
        if not Path(text).is_dir():
            raise RevisionError(text, f"there is no such directory; a revision is written {MARK}REV or {MARK}REV:DIR")
        yield Path(text)
        return
    revision, _, folder = text.removeprefix(MARK).partition(":")
    where = Path.cwd() if beside.startswith(MARK) else Path(beside)
    if not where.is_dir():
        raise RevisionError(beside, "there is no such directory")
    is_inside = not beside.startswith(MARK) and _is_in_repository(text, where)
    if not folder:
        other = beside.removeprefix(MARK).partition(":")[2] if beside.startswith(MARK) else ""
        folder = _git(text, where, "rev-parse", "--show-prefix") if is_inside else other or _DEFAULT
    where = where if is_inside else Path.cwd()
    commit = _git(text, where, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    top = Path(_git(text, where, "rev-parse", "--show-toplevel"))
    archive = _run(text, top, "archive", "--format=tar", f"{commit}:{folder.strip('/')}")
    with tempfile.TemporaryDirectory(prefix="spoa-authz-") as temporary:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(temporary, filter="data")
        yield Path(temporary)


def _is_in_repository(text: str, where: Path) -> bool:
    try:
        return bool(_git(text, where, "rev-parse", "--show-toplevel"))
    except RevisionError as error:
        if _NO_REPOSITORY in error.detail:
            return False
        raise


def _git(text: str, where: Path, *arguments: str) -> str:
    return _run(text, where, *arguments).decode(errors="replace").strip()


def _run(text: str, where: Path, *arguments: str) -> bytes:
    """Return what git prints."""
    command = ["git", "-C", str(where), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE)  # noqa: S603 -- no shell
    except FileNotFoundError:
        raise RevisionError(text, "git is not installed; name a directory") from None
    except subprocess.TimeoutExpired:
        raise RevisionError(text, f"git took more than {_PATIENCE} seconds") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or "git knows no such revision"
        raise RevisionError(text, f"{said.splitlines()[-1]}; a revision is written as {MARK}REV or {MARK}REV:DIR")
    return done.stdout
