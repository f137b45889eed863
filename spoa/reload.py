"""From an edit on disk to one swap in all workers, or to the reasons why not.

`Watcher` tells that something below the watched paths changed and has been quiet since; `Reloader` has a bundle built
in a process of its own and hands it over. The road is the same for an editor's save, a rename, a flipped symbolic link,
a signal and a request: whatever fails on it, the policy in use stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
import watchfiles

from spoa.control import WorkerError
from spoa.exceptions import Problem, StateError
from spoa.metrics import RELOAD_BUCKETS, Histogram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from spoa.metrics import Samples
    from spoa.state import StateDirectory

__all__ = ["BUILD_TIMEOUT", "Outcome", "Reloader", "Watcher", "child_environment", "sentence", "tell", "tree_state"]

#: Seconds after which a build is given up.
BUILD_TIMEOUT: Final = 120

_MAX_FILES: Final = 100_000
_MAX_REREADS: Final = 5
_MAX_REPORT: Final = 64 << 20
_UNKNOWN: Final = -2  # no `tree_state` is: Python's hashes never are

_log = structlog.get_logger()


def child_environment() -> dict[str, str]:
    """Return the environment in which a child process finds this very package, wherever the agent was started."""
    environment = dict(os.environ)
    root = str(Path(__file__).resolve().parent.parent)
    if not root.endswith("-packages"):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    return environment


def tree_state(paths: Iterable[Path]) -> int:
    """Return a number that differs when a file below the paths was written, replaced, added, removed or re-linked.

    Symbolic links are followed, so the flip of a link that leads to another directory shows too. Looks at no more than
    100,000 files.
    """
    seen: list[tuple[str, int, int, int, int]] = []
    pending = [str(path) for path in paths]
    visited: set[tuple[int, int]] = set()
    while pending and len(seen) < _MAX_FILES:
        name = pending.pop()
        try:
            status = os.stat(name)  # noqa: PTH116 -- a Path for each file would double the cost of a look
            seen.append((name, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
            if (status.st_dev, status.st_ino) not in visited:
                visited.add((status.st_dev, status.st_ino))
                pending.extend(f"{name}/{entry}" for entry in os.listdir(name))  # noqa: PTH208 -- the same
        except NotADirectoryError:
            continue
        except OSError as error:
            seen.append((name, -1, error.errno or 0, 0, 0))
    return hash(tuple(sorted(seen)))


class Watcher:
    """Tells about changes below some paths, once they have been quiet for a moment.

    The kernel's notifications make it fast. Looking at the files themselves makes it sure: notifications miss network
    file systems, a link outside the tree that is flipped, and a directory that is replaced as a whole.

    Args:
        paths: files and directories; they may come and go.
        quiet: seconds without a further change after which an edit counts as finished.
        interval: seconds between two looks.
    """

    def __init__(self, paths: Iterable[Path], *, quiet: float = 0.1, interval: float = 0.5) -> None:
        self._paths = tuple(paths)
        self._quiet = quiet
        self._interval = interval
        self._known = tree_state(self._paths)
        self._noticed = asyncio.Event()
        self._moved = asyncio.Event()

    def watch(self, paths: Iterable[Path]) -> None:
        """Watch other paths from now on; if they are other ones, that counts as a change."""
        if tuple(paths) != self._paths:
            self._paths = tuple(paths)
            self._known = _UNKNOWN
            self._moved.set()
            self._noticed.set()

    async def changes(self) -> AsyncIterator[None]:
        """Yield once for each finished change, for ever."""
        notifications = asyncio.create_task(self._listen())
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._noticed.wait(), self._interval)
                self._noticed.clear()
                state = await asyncio.to_thread(tree_state, self._paths)
                if state != self._known:
                    self._known = await self._settled(state)
                    yield
        finally:
            notifications.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await notifications

    async def _settled(self, state: int) -> int:
        """Wait until two looks agree; an editor that never stops is not waited for longer than two seconds."""
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            await asyncio.sleep(self._quiet)
            latest = await asyncio.to_thread(tree_state, self._paths)
            if latest == state:
                break
            state = latest
        return state

    async def _listen(self) -> None:
        while True:
            self._moved.clear()
            present = [path for path in self._paths if path.exists()]
            with contextlib.suppress(OSError, RuntimeError):  # a path vanished meanwhile: the looks see it
                if present:
                    async for _ in watchfiles.awatch(*present, watch_filter=None, step=20, stop_event=self._moved):
                        self._noticed.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), self._interval)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt to activate the policy directory ended.

    Attributes:
        result: `activated`; `unchanged` (the same bytes came out); `rejected` (the policy has problems); `failed` (a
            process or disk has).
        cause: what asked for it: `start`, `change`, `signal`, `request`.
        revision: the revision active afterwards; empty when there is none.
        at: when it ended, seconds since the epoch.
        seconds: how long it took.
        problems: why not, as the builder reports them; with `warnings` the ones that do not stop an activation.
    """

    result: str
    cause: str
    revision: str
    at: float
    seconds: float
    problems: tuple[dict[str, Any], ...] = ()
    warnings: tuple[dict[str, Any], ...] = ()

    @property
    def is_fine(self) -> bool:
        """What the directory holds is active now."""
        return self.result in {"activated", "unchanged"}


@dataclass(slots=True)
class _Builder:
    """A builder process that has started and waits for its job."""

    process: asyncio.subprocess.Process

    @classmethod
    async def start(cls) -> _Builder:
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "spoa.builder",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=child_environment(),
                limit=_MAX_REPORT,
            )
        )

    async def build(self, job: dict[str, str], patience: float) -> dict[str, Any]:
        """Run the job and return the report; what went wrong with the process itself is reported as `error`."""
        try:
            output, _ = await asyncio.wait_for(self.process.communicate(json.dumps(job).encode() + b"\n"), patience)
        except TimeoutError:
            await self.end()
            return {"error": f"building took longer than {patience:g} s"}
        except asyncio.CancelledError:
            await self.end()
            raise
        try:
            report = json.loads(output)
        except ValueError:
            return {"error": f"the builder ended with status {self.process.returncode} and no report"}
        return report if isinstance(report, dict) else {"error": "the builder's report is none"}

    async def end(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.process.communicate()


@dataclass(slots=True)
class Reloader:
    """Builds what the policy directory holds and hands it to `swap`, one attempt at a time.

    Args:
        directory: the policy directory.
        state: where bundles are kept.
        swap: puts a bundle to use in every worker, or in none; raises WorkerError.
        build_timeout: seconds.
    """

    directory: Path
    state: StateDirectory
    swap: Callable[[Path], Awaitable[None]]
    build_timeout: float = BUILD_TIMEOUT
    active: Path | None = None
    digest: str = ""
    since: float = 0.0
    files: tuple[Path, ...] = ()
    last: Outcome | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _spare: _Builder | None = None
    _results: dict[str, int] = field(default_factory=dict)
    _seconds: Histogram = field(default_factory=lambda: Histogram(RELOAD_BUCKETS))

    @property
    def revision(self) -> str:
        """The active revision, 12 hex digits; empty before the first activation."""
        return self.active.name.rpartition("-")[2] if self.active is not None else ""

    @property
    def watched(self) -> tuple[Path, ...]:
        """What to watch: the directory, and the files elsewhere that the last good build read."""
        return (self.directory, *(path for path in self.files if not path.is_relative_to(self.directory)))

    async def reload(self, cause: str) -> Outcome:
        """Try to activate what is on disk now; one that is under way is waited for first."""
        async with self._lock:
            started = time.monotonic()
            try:
                outcome = await self._attempt(cause)
            except (WorkerError, StateError, OSError) as error:
                outcome = self._outcome("failed", cause, ({"message": str(error)},))
            outcome = replace(outcome, seconds=time.monotonic() - started)
            self._results[outcome.result] = self._results.get(outcome.result, 0) + 1
            self._seconds.observe(outcome.seconds)
            self.last = outcome
        return outcome

    async def resume(self) -> bool:
        """Activate the bundle that was in use when an earlier run ended; False when there is none.

        Raises:
            WorkerError: it can't be opened either.
        """
        bundle = self.state.last_good()
        if bundle is None:
            return False
        await self.swap(bundle)
        self.active = bundle
        self.since = time.time()
        _log.warning("the last good policy is used, since the policy directory has a bad one", revision=self.revision)
        return True

    async def prepare_builder(self) -> None:
        """Have a builder process wait for the next job, which is then done sooner by the time its imports take."""
        if self._spare is None:
            self._spare = await _Builder.start()

    async def close(self) -> None:
        """End the waiting builder process."""
        if self._spare is not None:
            await self._spare.end()
            self._spare = None

    def samples(self) -> Samples:
        """Return the counts of attempts and their durations."""
        found: Samples = {("reload_total", (result,)): count for result, count in self._results.items()}
        found.update(self._seconds.samples("reload_duration_seconds"))
        return found

    async def _attempt(self, cause: str) -> Outcome:
        for _ in range(_MAX_REREADS):
            before = await asyncio.to_thread(tree_state, [self.directory])
            with self.state.draft() as draft:
                report = await self._build(draft)
                # What was read while somebody wrote may be half an edit: read again.
                if before != await asyncio.to_thread(tree_state, [self.directory]):
                    continue
                return await self._activate(cause, draft, report)
        return self._outcome("failed", cause, ({"message": f"{self.directory} does not stop changing"},))

    async def _activate(self, cause: str, draft: Path, report: dict[str, Any]) -> Outcome:
        if "problems" in report:
            return self._outcome("rejected", cause, tuple(report["problems"]))
        if "error" in report:
            return self._outcome("failed", cause, ({"message": report["error"]},))
        warnings = tuple(report["warnings"])
        self.files = tuple(Path(os.path.normpath(name)) for name in report["files"])
        if self.active is not None and report["digest"] == self.digest:
            return self._outcome("unchanged", cause, warnings=warnings)
        bundle = self.state.keep(draft, report["revision"])
        try:
            await self.swap(bundle)
        except BaseException:
            self.state.discard(bundle)
            raise
        self.active = bundle
        self.since = time.time()
        self.digest = report["digest"]
        self.state.activate(bundle)
        return self._outcome("activated", cause, warnings=warnings)

    async def _build(self, draft: Path) -> dict[str, Any]:
        builder, self._spare = self._spare, None
        if builder is None or builder.process.returncode is not None:
            builder = await _Builder.start()
        job = {"directory": str(self.directory), "bundle": str(draft), "state": str(self.state.path)}
        return await builder.build(job, self.build_timeout)

    def _outcome(
        self,
        result: str,
        cause: str,
        problems: tuple[dict[str, Any], ...] = (),
        warnings: tuple[dict[str, Any], ...] = (),
    ) -> Outcome:
        return Outcome(result, cause, self.revision, time.time(), 0.0, problems, warnings)


def sentence(problem: dict[str, Any]) -> str:
    """Write a reported problem as `file:line:col path: message`."""
    if not problem.get("file"):
        return str(problem["message"])
    return str(Problem(**problem))


def tell(outcome: Outcome) -> None:
    """Log how an attempt ended, and every problem with its position."""
    seconds = round(outcome.seconds, 3)
    if outcome.is_fine:
        _log.info("policy " + outcome.result, revision=outcome.revision, cause=outcome.cause, seconds=seconds)
    else:
        _log.error("policy " + outcome.result, active_revision=outcome.revision, cause=outcome.cause, seconds=seconds)
    for problem in outcome.problems:
        _log.error("policy problem", problem=sentence(problem))
    for problem in outcome.warnings:
        _log.warning("policy warning", problem=sentence(problem))
