"""The worker processes: kept alive, told one thing together, added up.

A bundle is put to use in two steps. Every worker opens it beside what it uses; when all have, all swap. When one says
that it can't, none does. A worker that dies on the way doesn't count: its successor begins with what is active then,
because a worker begins, and a swap happens, only one at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import structlog

from spoa.control import Channel, Link, WorkerError
from spoa.jobs import child_environment
from spoa.metrics import Totals, samples_from_json
from spoa.starvation import Waits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from spoa.metrics import Samples
    from spoa.worker import Orders

__all__ = ["Asked", "Crew"]

#: Takes the questions of a worker.
Asked: TypeAlias = "Callable[[list[dict[str, str]]], None]"

_PREPARE_TIMEOUT: Final = 60.0
_ACTIVATE_TIMEOUT: Final = 5.0
_DRAIN_TIMEOUT: Final = 7.0
_LEAVE_TIMEOUT: Final = 0.5
_EXIT_TIMEOUT: Final = 1.0
_ROUND: Final = 1.0  # seconds between two rounds of reports
_COUNTERS_A_ROUND: Final = 1024  # of all workers; where there are more, not every round asks for what was decided
_PATIENCE: Final = 2.0  # seconds that a worker has for its report
_HUNG: Final = 3.6  # seconds of its own after which a worker that does not answer is taken for hung
_LOST: Final = 40  # rounds in a row without an answer after which it is replaced, whoever's fault that is
_IMPOSE_TIMEOUT: Final = 1.0  # seconds after which a worker that has not taken blocks or openings is replaced
_SECURE_TIMEOUT: Final = 10.0  # the same for credentials, which nobody is let in or kept out by sooner
_QUICK_DEATH: Final = 10.0  # seconds of life below which a successor waits before it starts
_MAX_DELAY: Final = 2.0  # seconds that it waits at most

_log = structlog.get_logger()


class _Worker:
    """One process and the line to it."""

    def __init__(self, process: asyncio.subprocess.Process, link: Link) -> None:
        self.process = process
        self.link = link
        self.began = time.time()
        self.is_serving = False
        self.missed = 0
        self.silent = 0.0
        self.waits = Waits(process.pid)
        self.policy: dict[str, Any] = {}
        self.connections = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def serves(self) -> bool:
        return self.is_serving and self.process.returncode is None and not self.missed

    def kill(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()

    @classmethod
    async def start(cls, orders: Orders, asked: Asked) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            orders = replace(orders, control=theirs.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "spoa.worker",
                orders.to_json(),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *orders.listeners),
                env=child_environment(),
            )
        return cls(process, Link(await Channel.open(ours), asked))


class Crew:
    """Keeps `size` workers alive from `start` to `drain`.

    Args:
        size: how many.
        orders: what each is told at its start; the clock's floor may be replaced later.
        asked: takes what workers ask about certificates, as `spoa.enquiries` writes it; must not raise.
    """

    def __init__(self, size: int, orders: Orders, asked: Asked) -> None:
        self._size = size
        self._orders = orders
        self._asked = asked
        self._workers: list[_Worker] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._bundle: Path | None = None
        self._imposed: dict[str, str] = {}
        self._candidate = ""
        self._evidence = "{}"
        self._telling: set[asyncio.Task[list[tuple[_Worker, dict[str, Any] | WorkerError]]]] = set()
        self._totals = Totals()
        self._restarts = 0
        self._failure: WorkerError | None = None
        self._rounds: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._is_leaving = False
        self._swapping = asyncio.Lock()
        self._changed = asyncio.Event()

    @property
    def is_complete(self) -> bool:
        """Every worker serves, answers when asked, and is not about to leave."""
        is_staying = not self._is_leaving and not self._ending.is_set()
        return is_staying and len([worker for worker in self._workers if worker.serves]) == self._size

    def describe(self) -> list[dict[str, Any]]:
        """Return what `status` shows of each worker."""
        return [
            {
                "pid": worker.pid,
                "serving": worker.serves,
                "since": worker.began,
                "connections": worker.connections,
            }
            for worker in self._workers
        ]

    @property
    def policy(self) -> dict[str, Any]:
        """The policy's own status, from whichever worker told it last."""
        return next((worker.policy for worker in self._workers if worker.policy), {})

    @property
    def content(self) -> dict[str, Any]:
        """What the workers judge by: the bundle, the blocks and openings that are imposed, and the evidence."""
        judged_by = {verb: text for verb, text in self._imposed.items() if verb != "secure"}
        return {**self._content, "imposed": judged_by}

    @property
    def _content(self) -> dict[str, Any]:
        return {"bundle": str(self._bundle), "imposed": self._imposed, "evidence": self._evidence}

    async def start(self, patience: float) -> None:
        """Start all workers on the bundle that was swapped in before, and wait until they serve.

        Raises:
            WorkerError: one can't open the bundle, or they do not serve within `patience` seconds.
        """
        self._keepers = [asyncio.create_task(self._keep(number)) for number in range(self._size)]
        self._rounds = asyncio.create_task(self._ask_around())
        try:
            async with asyncio.timeout(patience):
                while not self.is_complete:
                    if self._failure is not None:
                        raise self._failure
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise WorkerError("start", f"the workers do not serve after {patience:g} s") from None

    async def swap(self, bundle: Path | None = None, *, evidence: str | None = None) -> None:
        """Put a bundle, evidence (the text of a manifest) or both to use in all workers, or in none.

        Before `start` they are only remembered.

        Raises:
            WorkerError: a worker can't open it.
        """
        async with self._swapping:
            bundle = self._bundle if bundle is None else bundle
            evidence = self._evidence if evidence is None else evidence
            serving = [worker for worker in self._workers if worker.is_serving]
            content = {"bundle": str(bundle), "imposed": self._imposed, "evidence": evidence}
            answers = await _ask_all(serving, "prepare", _PREPARE_TIMEOUT, **content)
            refusals = [answer for _, answer in answers if isinstance(answer, WorkerError) and not answer.is_gone]
            if refusals:
                await _ask_all(serving, "discard", _ACTIVATE_TIMEOUT)
                raise refusals[0]
            self._bundle = bundle
            self._evidence = evidence
            await self._ask_or_replace(serving, "activate", _ACTIVATE_TIMEOUT)

    async def propose(self, bundle: Path) -> None:
        """Have every worker, also those to come, judge under the policy of a bundle too, without answering by it.

        Raises:
            WorkerError: a worker can't open it; some may judge under it, and some under the one before.
        """
        async with self._swapping:
            serving = [worker for worker in self._workers if worker.is_serving]
            for _, answer in await _ask_all(serving, "propose", _PREPARE_TIMEOUT, bundle=str(bundle)):
                if isinstance(answer, WorkerError) and not answer.is_gone:
                    raise answer
            self._candidate = str(bundle)

    async def impose(self, verb: str, text: str) -> None:
        """Put a text that was read before (blocks, openings, credentials) in force in every worker, also those to come.

        Doesn't wait for a swap that is under way, nor for a worker that hangs: that one is replaced.
        """
        self._imposed = {**self._imposed, verb: text}
        starting = [worker for worker in self._workers if not worker.is_serving]
        if starting:  # they take it when they have begun, which is not waited for
            task = asyncio.create_task(_ask_all(starting, verb, _PREPARE_TIMEOUT, text=text))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        serving = [worker for worker in self._workers if worker.is_serving]
        patience = _SECURE_TIMEOUT if verb == "secure" else _IMPOSE_TIMEOUT
        await self._ask_or_replace(serving, verb, patience, text=text)

    async def _ask_or_replace(
        self, workers: Iterable[_Worker], verb: str, patience: float, **arguments: object
    ) -> None:
        """Tell workers what can't fail, and replace whoever doesn't confirm: it judges by what nobody else does."""
        for worker, answer in await _ask_all(workers, verb, patience, **arguments):
            if isinstance(answer, WorkerError):
                _log.error("a worker did not follow and is replaced", worker=worker.pid, order=verb, error=str(answer))
                worker.kill()

    async def tell(self, verb: str, **arguments: object) -> None:
        """Tell every worker something that can't fail."""
        await _ask_all(self._workers, verb, _ACTIVATE_TIMEOUT, **arguments)

    async def set_clock_floor(self, floor: float) -> None:
        """Tell every worker, also those to come, before which time no clock is right."""
        self._orders = replace(self._orders, clock_floor=floor)
        await self.tell("floor", floor=floor)

    async def samples(self, patience: float, *, decisions: bool = True) -> Samples:
        """Return the sums over all workers, asking each; of one that is silent its last numbers count.

        Args:
            patience: in seconds.
            decisions: ask how often what was decided, too: of that there may be thousands. Else it may be old, a second
                for each thousand.
        """
        await self._collect(patience, decisions=decisions)
        found = self._totals.samples()
        found["workers", ()] = len([worker for worker in self._workers if worker.serves])
        found["worker_restarts_total", ()] = self._restarts
        return found

    async def leave(self) -> float | None:
        """Let every worker, also those to come, serve on but fail HAProxy's health checks.

        Returns:
            Seconds since the last health check that any of them had; None where none says that it had one.
        """
        self._is_leaving = True
        answers = [answer for _, answer in await _ask_all(self._workers, "leave", _LEAVE_TIMEOUT)]
        checks = [answer["since_check"] for answer in answers if not isinstance(answer, WorkerError)]
        return min((seconds for seconds in checks if seconds is not None), default=None)

    async def drain(self) -> None:
        """Let every worker finish, then end it; whoever is not done in time is killed."""
        self._ending.set()
        for worker, answer in await _ask_all(self._workers, "drain", _DRAIN_TIMEOUT):
            if not isinstance(answer, WorkerError):
                self._take(worker, answer)
        await self.close()

    async def close(self) -> None:
        """End all workers now: hang up, and kill whoever does not leave."""
        self._ending.set()
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)
        await asyncio.gather(*(worker.link.close() for worker in self._workers))
        if self._keepers:
            _, late = await asyncio.wait(self._keepers, timeout=_EXIT_TIMEOUT)
            for worker in self._workers if late else ():
                worker.kill()
            await asyncio.gather(*self._keepers)

    async def _keep(self, number: int) -> None:
        """Keep one worker running until the crew ends."""
        delay = 0.0
        while not self._ending.is_set():
            worker = await _Worker.start(replace(self._orders, number=number), self._asked)
            self._workers.append(worker)
            await self._begin(worker)
            status = await worker.process.wait()
            await worker.link.close()
            self._workers.remove(worker)
            self._totals.end(worker.pid)
            self._changed.set()
            if self._ending.is_set():
                return
            self._restarts += 1
            delay = min(max(2 * delay, 0.1), _MAX_DELAY) if time.time() - worker.began < _QUICK_DEATH else 0.0
            _log.error("a worker died and is replaced", worker=worker.pid, status=status, delay=delay)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), delay)

    async def _begin(self, worker: _Worker) -> None:
        """Let a new worker serve what is active now."""
        try:
            async with self._swapping:
                await worker.link.ask("prepare", _PREPARE_TIMEOUT, **self._content)
                await worker.link.ask("activate", _ACTIVATE_TIMEOUT)
                worker.is_serving = True
                if self._is_leaving:
                    await worker.link.ask("leave", _LEAVE_TIMEOUT)
                if self._candidate:
                    await worker.link.ask("propose", _PREPARE_TIMEOUT, bundle=self._candidate)
        except WorkerError as error:
            if not self._ending.is_set():
                _log.error("a worker can't begin", worker=worker.pid, error=str(error))
            self._failure = error
            worker.kill()
        self._changed.set()

    async def _ask_around(self) -> None:
        """Keep the numbers fresh, so that a death loses few of them, and replace a worker that hangs."""
        for number in itertools.count():
            await asyncio.sleep(_ROUND)
            for worker in self._workers:
                worker.waits.since_last()
            began = time.monotonic()
            # What a policy of thousands of rules has counted is not worth telling each second.
            is_turn = number % (1 + len(self._totals) // _COUNTERS_A_ROUND) == 0
            silent = await self._collect(_PATIENCE, decisions=False)
            late = time.monotonic() - began - _PATIENCE
            for worker in self._workers:
                self._judge_silence(worker, late, is_silent=worker in silent and worker.is_serving)
            if is_turn:
                await self._collect(_PATIENCE)

    def _judge_silence(self, worker: _Worker, late: float, *, is_silent: bool) -> None:
        """Replace a worker that has had the time to answer, and has not.

        On a machine that does much else a worker may be kept from running for seconds, and so may the supervisor, whose
        patience then ends late: neither is the worker's fault, nor would another one in its place answer sooner. But
        one that answers nothing for two minutes serves nobody, and may hang all the same.
        """
        if not is_silent:
            worker.missed, worker.silent = 0, 0.0
            return
        worker.missed += 1
        worker.silent += max(0.0, _PATIENCE - max(worker.waits.since_last(), late))
        if worker.silent >= _HUNG or worker.missed >= _LOST:
            _log.error("a worker hangs and is replaced", worker=worker.pid)
            worker.kill()

    async def _collect(self, patience: float, *, decisions: bool = True) -> set[_Worker]:
        silent = set()
        for worker, answer in await _ask_all(self._workers, "report", patience, decisions=decisions):
            if isinstance(answer, WorkerError):
                silent.add(worker)
            else:
                self._take(worker, answer)
        return silent

    def _take(self, worker: _Worker, report: dict[str, Any]) -> None:
        if worker not in self._workers:
            return  # it ended meanwhile, and its numbers are counted already
        worker.policy = report["policy"]
        worker.connections = report["connections"]
        self._totals.update(worker.pid, samples_from_json(report["counters"]))


async def _ask_all(
    workers: Iterable[_Worker],
    verb: str,
    patience: float,
    **arguments: object,
) -> list[tuple[_Worker, dict[str, Any] | WorkerError]]:
    """Ask workers all at once; an answer that does not come is the error that says so."""

    async def ask(worker: _Worker) -> tuple[_Worker, dict[str, Any] | WorkerError]:
        try:
            return worker, await worker.link.ask(verb, patience, **arguments)
        except WorkerError as error:
            return worker, error

    return list(await asyncio.gather(*(ask(worker) for worker in tuple(workers))))
