"""The process that is started: it owns the addresses, the state directory and the workers, and judges nothing.

It binds, has the policy built, starts the workers, and then waits for what may come: a change on disk, a signal, a
request to the admin address, a worker's death. What can fail at the start fails before anything listens.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from spoa._version import __version__
from spoa.accounts import checked, first_soft_fails, policy_samples, soft_fails
from spoa.addresses import Address
from spoa.admin import Admin, Sources, try_token_file
from spoa.agent import Limits
from spoa.announcer import Announcer
from spoa.authorizer import joint_revision
from spoa.blocker import Blocker
from spoa.bundle import read_switches
from spoa.candidate import Candidate
from spoa.console import Console, Ground
from spoa.console.changing import Changing
from spoa.console.chronicle import Chronicle
from spoa.console.explaining import Explaining
from spoa.control import WorkerError
from spoa.credentials_keeper import CredentialsKeeper
from spoa.crew import Crew
from spoa.departure import Departure
from spoa.evidence_keeper import EvidenceKeeper
from spoa.exceptions import StateError
from spoa.fetch import Fetcher
from spoa.followed import follow
from spoa.glass import Glass
from spoa.history import History
from spoa.listeners import BACKLOG, Access, address_of, bind, close_all, obtain, removable_address_of, remove_file
from spoa.logsinks.opening import try_sink
from spoa.metrics import exposition
from spoa.ocsp_keeper import OcspKeeper
from spoa.ocsp_store import read_responders
from spoa.reload import Reloader, sentence, tell
from spoa.sdprotocol import Activation
from spoa.state import StateDirectory
from spoa.tracing import Tracing
from spoa.watcher import Watcher
from spoa.worker import Orders

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

    from spoa.metrics import Samples
    from spoa.reload import Outcome
    from spoa.settings import Settings

__all__ = ["Supervisor"]

_START_TIMEOUT: Final = 60.0
_REPORT_TIMEOUT: Final = 0.5
_METRICS_TIMEOUT: Final = 2.0  # where there are thousands of counters, a busy worker takes a while
_CLOCK_INTERVAL: Final = 60.0
_RETRY_DELAY: Final = 1.0  # seconds until a reload that failed for another reason than the policy is tried again
_MAX_RETRY_DELAY: Final = 8.0  # seconds between two tries, unless one itself takes longer
_MAX_JUMP: Final = 5.0  # seconds by which the clock may differ from a steady one within a minute

#: Exit status: the policy is invalid; anything else that keeps the agent from starting.
_POLICY_INVALID: Final = 3
_FAILED: Final = 1

#: Why somebody asks for a reload who wants files to be read that nobody watches.
_ASKED: Final = frozenset({"request", "signal"})

#: What is said of a reload that changed nothing.
_ENDED: Final = {"rejected": "was rejected", "failed": "failed"}

_log = structlog.get_logger()


class Supervisor:
    """Runs the agent from start to drain.

    Args:
        settings: what `serve` was told.
        show: prints a line for whoever started it.
        activation: what the service manager that started it wants to be told, and the sockets that it passes.

    Raises:
        SettingsError, StateError: an address, the state directory or the decision log can't be used.
    """

    def __init__(self, settings: Settings, show: Callable[[str], object], activation: Activation | None = None) -> None:
        activation = activation or Activation()
        self._settings = settings
        self._show = show
        self._state = StateDirectory(settings.state_dir)
        self._state.lock()
        self._own = Address("", 0, str(self._state.path / "self.sock"))
        self._listeners: list[socket.socket] = []
        self._admin_listener: socket.socket | None = None
        self._departure = Departure(settings.stop_notice)
        self._tracing = Tracing()
        self._tasks: set[asyncio.Task[None]] = set()
        try:
            self._state.sweep()
            self._floor = self._state.clock_floor()
            self._tracing = Tracing(settings.otlp_endpoint)
            for log in settings.logs:
                try_sink(log)
            try_token_file(settings.admin_token_file)
            self._credentials = CredentialsKeeper(
                settings.tls_cert,
                settings.tls_key,
                settings.tls_client_ca,
                lambda text: self._crew.impose("secure", text),
            )
            self._listeners, self._admin_listener = obtain(
                settings.listen,
                settings.admin,
                activation.sockets,
                is_admin_remote=settings.admin_remote,
                access=Access(settings.socket_mode, settings.socket_user, settings.socket_group),
            )
            self._watched = self._watched_addresses(activation)
        except BaseException:
            close_all([*self._listeners, *([] if self._admin_listener is None else [self._admin_listener])])
            self._state.unlock()
            raise
        self._announcer = Announcer(activation, self._describe)
        self._fetcher = Fetcher(tracing=self._tracing)
        self._ocsp = OcspKeeper(
            self._state.path / "ocsp.sqlite", self._fetcher, lambda rows: self._crew.tell("learn", rows=rows)
        )
        self._crew = Crew(settings.workers, self._orders(), self._ocsp.ask)
        self._evidence = EvidenceKeeper(
            self._state.evidence,
            self._state.downloads,
            self._fetcher,
            lambda bundle, text: self._crew.swap(bundle, evidence=text),
        )
        self._history = History(self._state.path)
        self._reloader = Reloader(settings.policies.absolute(), self._state, self._swap, history=self._history)
        self._watcher = Watcher(self._reloader.watched)
        self._chronicle = Chronicle(self._state.path)
        self._blocker = Blocker(self._state.path, partial(self._crew.impose, "block"), self._file_changed)
        self._glass = Glass(self._state.path, partial(self._crew.impose, "open"), self._file_changed)
        self._candidate: Candidate | None = None
        if settings.candidate is not None:
            self._candidate = Candidate(
                settings.candidate.absolute(), self._state.path / "candidate", self._crew.propose
            )
        sources = Sources(
            self._metrics,
            self.status,
            lambda: self._crew.is_complete,
            lambda: self._reload("request"),
            self._promote,
            self._roll_back,
        )
        admin = settings.admin
        self._admin = Admin(
            sources,
            admin.host if admin else "",
            settings.admin_token_file,
            self._console() if settings.console else None,
            is_remote=admin is not None and not admin.is_local,
        )

    async def run(self) -> int:
        """Serve until told to stop; return the exit status: 0, 3 for a bad policy, 1 for anything else."""
        try:
            self._handle_signals()
            await self._fetcher.start()
            if self._admin_listener is not None:
                await self._admin.start(self._admin_listener)
                self._state.write_admin_address(str(address_of(self._admin_listener)))  # whoever finds it may ask
            stopping = asyncio.create_task(self._departure.told())
            beginning = asyncio.create_task(self._begin())
            await asyncio.wait([stopping, beginning], return_when=asyncio.FIRST_COMPLETED)
            if not beginning.done():
                beginning.cancel()
                await asyncio.wait([beginning])
                return 0
            status = await beginning
            if status == 0:
                await stopping
                await self._announcer.stopping()
                await self._departure.give_notice(self._crew.leave)
                _log.info("draining")
            stopping.cancel()
            return status
        finally:
            await self._end()

    async def status(self) -> dict[str, Any]:
        """Return what `/status` shows."""
        counts = await self._crew.samples(_REPORT_TIMEOUT, decisions=False)
        last = self._reloader.last
        policy = self._crew.policy
        now = time.time()
        settings, own = self._settings, self._settings.log.place
        history = await asyncio.to_thread(self._history.describe, self._reloader.rollback)
        logs = await asyncio.to_thread(lambda: [{"target": log.place, "head": log.head()} for log in settings.logs])
        crl = self._evidence.describe(now, partial(soft_fails, counts, "crl"))
        ocsp = self._ocsp.describe(now, partial(soft_fails, counts, "ocsp"))
        return {
            **policy,
            "issuers": {**policy.get("issuers", {}), **checked(crl, ocsp, counts)},
            "version": __version__,
            "pid": os.getpid(),
            "ready": self._crew.is_complete,
            "revision": self._revision,
            "since": self._reloader.since,
            "leaves_at": self._departure.leaves_at,
            "policies": str(settings.policies.absolute()),
            "listen": self._listening(),
            "decision_log": own,
            "decision_log_head": next((log["head"] for log in logs if log["target"] == own), None),
            "decision_logs": logs,
            "workers": self._crew.describe(),
            "blocks": self._blocker.describe(),
            "break_glass": self._glass.describe(int(now)),
            "candidate": None if self._candidate is None else self._candidate.describe(counts),
            "clock_usable": self._is_clock_usable(),
            **history,
            "last_reload": None if last is None else last.describe(),
        }

    async def _swap(self, bundle: Path) -> None:
        """Put a bundle to use, and ask the responders that its policy names.

        Raises:
            WorkerError, StateError: it can't be used.
        """
        before = self._ocsp.responders
        switches = await asyncio.to_thread(read_switches, bundle)
        self._ocsp.use(await asyncio.to_thread(read_responders, bundle))
        try:
            await self._evidence.swap_bundle(bundle)
        except BaseException:
            self._ocsp.use(before)
            raise
        self._glass.use(switches)

    def _console(self) -> Console:
        admin = self._settings.admin
        place = self._settings.log.place
        return Console(
            Ground(
                decision_log=Path(place) if place is not None and place.startswith("/") else None,
                explaining=Explaining(lambda: {**self._crew.content, "state": str(self._state.path)}),
                changing=Changing(self._state.path, lambda: self._glass.switches),
                chronicle=self._chronicle,
                needs_token_to_look=admin is not None and not admin.is_local,
            )
        )

    def _orders(self) -> Orders:
        settings = self._settings
        return Orders(
            control=-1,
            listeners=tuple(listener.fileno() for listener in self._listeners),
            limits=Limits(
                max_frame_size=settings.max_frame_size,
                deadline=settings.deadline / 1000,
                max_connections=settings.max_connections,
                hello_timeout=settings.hello_timeout,
                idle_timeout=settings.idle_timeout,
            ),
            clock_floor=self._floor,
            decision_logs=settings.logs,
            log_allows=settings.log_allows,
            log_format=settings.log_format,
            log_level=settings.log_level,
            evidence=str(self._state.evidence),
            otlp_endpoint=settings.otlp_endpoint,
            allow_from=settings.allow_from,
            is_secret=self._credentials.is_needed,
        )

    def _watched_addresses(self, activation: Activation) -> list[Address]:
        """Say where the agent asks itself whether it is well: a socket of its own in place of any not open to it."""
        addresses = [address for listener in self._listeners if (address := address_of(listener)) is not None]
        is_shut = self._credentials.is_needed or bool(self._settings.allow_from)
        # A service manager may give a socket's file to HAProxy's group, in which the agent isn't.
        found = [one for one in addresses if (os.access(one.path, os.W_OK) if one.path else not is_shut)]
        if activation.watchdog and found != addresses:
            self._listeners.append(bind(self._own, "state-dir", access=Access(0o600)))
            found.insert(0, self._own)
        return found

    def _listening(self) -> list[str]:
        """Say where HAProxy can connect."""
        return [name for listener in self._listeners if (name := str(address_of(listener))) != str(self._own)]

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._departure.tell)
        loop.add_signal_handler(signal.SIGINT, self._departure.tell)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self._reload_on_signal()))
        loop.add_signal_handler(signal.SIGUSR1, lambda: self._spawn(self._crew.tell("reopen")))

    async def _begin(self) -> int:
        """Have the policy built and the workers started; return the exit status."""
        if not await self._blocker.begin():
            self._show(f"the block list can't be used: {self._blocker.problem}")
            return _FAILED
        await self._credentials.begin()
        await self._glass.update()  # a file that can't be read opens nothing, which keeps nobody from starting
        outcome = await self._reloader.reload("start")
        await self._remember(outcome)
        if outcome.is_fine:
            tell(outcome)
        else:
            for problem in outcome.problems:
                self._show(sentence(problem))
            if not self._settings.last_good or not await self._reloader.resume():
                return _POLICY_INVALID if outcome.result == "rejected" else _FAILED
        for listener in self._listeners:
            listener.listen(BACKLOG)
        try:
            await self._crew.start(_START_TIMEOUT)
        except WorkerError as error:
            self._show(f"the agent can't start: {error}")
            return _FAILED
        self._spawn(self._watch())
        self._spawn(follow(self._blocker, self._glass))
        self._spawn(self._glass.remind())
        if self._candidate is not None:
            self._spawn(self._candidate.watch())
        self._spawn(self._evidence.watch())
        self._spawn(self._evidence.retry())
        self._spawn(self._look_at_clock())
        self._spawn(self._announcer.watch(self._watched))
        await self._announcer.ready()
        names = self._listening()
        _log.info("ready", listen=names, revision=self._revision, workers=self._settings.workers)
        return 0

    async def _end(self) -> None:
        """Stop listening, let the workers finish, and leave nothing behind."""
        close_all(self._listeners)
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        ending = self._departure.finish(self._crew.drain, self._crew.close)
        await asyncio.gather(ending, *tasks, return_exceptions=True)
        await self._reloader.builder.close()
        await self._evidence.close()
        if self._candidate is not None:
            await self._candidate.close()
        await self._ocsp.close()
        await self._fetcher.close()
        await asyncio.to_thread(self._tracing.close)
        if self._admin_listener is not None:
            address = removable_address_of(self._admin_listener)
            await self._admin.close()
            self._admin_listener.close()
            remove_file(address)
        self._state.unlock()
        _log.info("stopped")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self) -> None:
        self._watcher.watch(self._reloader.watched)
        await self._reloader.builder.prepare()
        async for _ in self._watcher.changes():
            # A full disk or too few descriptors are nothing that whoever edited could mend by another edit.
            delay = _RETRY_DELAY
            while (outcome := await self._reload("change")).result == "failed":
                await asyncio.sleep(max(delay, outcome.seconds))
                delay = min(2 * delay, _MAX_RETRY_DELAY)

    async def _reload(self, cause: str) -> Outcome:
        async with self._announcer.reloading():
            outcome = await self._reloader.reload(cause)
            problem = await self._credentials.renew() if cause in _ASKED else ""
            if problem and outcome.is_fine:
                outcome = self._reloader.failed(cause, problem)
            tell(outcome)
        await self._remember(outcome)
        self._watcher.watch(self._reloader.watched)
        await self._reloader.builder.prepare()
        return outcome

    async def _remember(self, outcome: Outcome, by: str = "") -> None:
        """Let the history and the traces tell of a reload, and who asked for it where that is known."""
        said = {"result": outcome.result, "cause": outcome.cause, "revision": outcome.revision}
        told = {f"spoa_authz.{key}": value for key, value in said.items()}
        self._tracing.ended("reload", outcome.seconds, told, "" if outcome.is_fine else outcome.result)
        await asyncio.to_thread(self._chronicle.tell_of, outcome, self._reloader.files, by)

    def _file_changed(self, name: str, came: set[str], went: set[str]) -> None:
        """Let the history tell of blocks or openings that are in force now, or no longer, whoever wrote them."""
        told = {"file": name, "came": sorted(came), "went": sorted(went)}
        self._spawn(asyncio.to_thread(self._chronicle.tell_of_file, self._state.path / name, told))

    async def _promote(self) -> Outcome:
        """Put the candidate in the place of the active policy, and activate it."""
        if self._candidate is None:
            return self._reloader.failed("promote", "there is no candidate; start the agent with --candidate DIR")
        if not await self._candidate.is_good():
            return self._reloader.failed("promote", "the candidate has problems, which `status` shows; mend them first")
        try:
            await self._candidate.promote(self._settings.policies.absolute())
        except StateError as error:
            return self._reloader.failed("promote", str(error))
        return await self._reload("promote")

    async def _roll_back(self, revision: str, by: str, reason: str) -> Outcome:
        """Go back to a kept revision, named by its own name or by what answers carry under the blocks of now."""
        kept = await asyncio.to_thread(self._history.revisions)
        joint = {joint_revision(one.revision, self._blocker.blocks): one.revision for one in kept}
        async with self._announcer.reloading():
            outcome = await self._reloader.roll_back(joint.get(revision, revision), by, reason)
            tell(outcome)
        await self._remember(outcome, by)
        await self._reloader.builder.prepare()
        return outcome

    async def _reload_on_signal(self) -> None:
        self._spawn(self._crew.tell("reopen"))  # whoever rotates logs sends this signal too
        await self._reload("signal")

    async def _look_at_clock(self) -> None:
        """Remember the time now and then, so that a clock that is set back later is noticed, also after a restart.

        A clock that has just jumped is not believed: a passing error must not make the right time look wrong for ever.
        """
        wall, steady = time.time(), time.monotonic()
        while True:
            await asyncio.sleep(_CLOCK_INTERVAL)
            jump = (time.time() - wall) - (time.monotonic() - steady)
            wall, steady = time.time(), time.monotonic()
            if abs(jump) < _MAX_JUMP and self._is_clock_usable():
                try:
                    await asyncio.to_thread(self._state.keep_time, wall)
                    self._floor = await asyncio.to_thread(self._state.clock_floor)
                except StateError as error:
                    _log.error("the time can't be kept", error=str(error))
                await self._crew.set_clock_floor(self._floor)

    @property
    def _revision(self) -> str:
        """What answers carry: the policy's own revision, and the block list's where there is one."""
        own = self._reloader.revision
        return joint_revision(own, self._blocker.blocks) if own else own

    def _describe(self) -> str:
        """Say in a line what `systemctl status` shows."""
        last, rollback = self._reloader.last, self._reloader.rollback
        problem = "" if last is None or last.is_fine else f"; the last reload {_ENDED[last.result]}, see `status`"
        back = "" if rollback is None else f"; rolled back from {rollback.source}"
        clock = "" if self._is_clock_usable() else "; the clock can't be right"
        return f"revision {self._revision or 'none'}, {self._settings.workers} workers{back}{problem}{clock}"

    def _is_clock_usable(self) -> bool:
        return time.time() >= self._floor

    def _circuit_samples(self) -> Samples:
        circuits = self._fetcher.circuits()
        return {("revocation_circuit_open", (host,)): state != "closed" for host, state in circuits.items()}

    async def _metrics(self) -> bytes:
        found = await self._crew.samples(_METRICS_TIMEOUT)
        found.update(self._reloader.samples())
        found.update(self._evidence.samples(time.time()))
        found.update(self._ocsp.samples(time.time()))
        found.update(self._glass.samples(int(time.time())))
        found.update(self._candidate.samples() if self._candidate is not None else {})
        found.update(self._circuit_samples())
        found["build_info", (__version__,)] = 1
        found["rolled_back", ()] = self._reloader.rollback is not None
        found["clock_usable", ()] = self._is_clock_usable()
        found.update(self._credentials.samples())
        found["blocks", ()] = len(self._blocker.blocks)
        found["request_deadline_seconds", ()] = self._settings.deadline / 1000
        found["workers_wanted", ()] = self._settings.workers
        found["policy_directory_in_force", ()] = self._reloader.is_directory_good
        for followed in (self._blocker, self._glass):
            found["state_file_in_force", (followed.name,)] = not followed.problem
        if self._revision:
            found["policy_info", (self._revision,)] = 1
            found["policy_active_since_timestamp_seconds", ()] = self._reloader.since
        found.update(policy_samples(self._crew.policy))
        found.update(first_soft_fails(found))
        return exposition(found)
