"""The running agent inside one worker: accepts connections, watches over them, and dismisses them at the end.

There is no timer per connection: one sweep looks at all of them, often enough for the shortest limit.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from spoa.acceptor import Acceptor
from spoa.answering import Answering
from spoa.gate import Gate
from spoa.listindex import NEVER
from spoa.openings import Openings
from spoa.peer import Peer
from spoa.spop import Status
from spoa.turn import Turn

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from spoa.authorizer import Policy
    from spoa.decision_log import DecisionLog
    from spoa.metrics import Sample, Samples
    from spoa.tracing import Tracing

__all__ = ["Agent", "Limits"]

_MAX_STALL: Final = 10.0  # seconds that a peer may leave our answers untaken
_DRAIN_QUIET: Final = 0.1  # seconds without a frame after which a draining agent dismisses a connection
_DRAIN_HOPE: Final = 1.0  # seconds after which it says goodbye along with the next answer, where none is owed then
_DRAIN_PATIENCE: Final = 5.0  # seconds after which it dismisses busy ones too
_DRAIN_SWEEP: Final = 0.02  # seconds between two sweeps while draining

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a connection may ask for; times in seconds, sizes in bytes, `max_connections` per worker."""

    max_frame_size: int = 65532
    deadline: float = 0.08
    max_connections: int = 4096
    hello_timeout: float = 10.0
    idle_timeout: float = 300.0


class Agent:
    """Serves HAProxy on listening sockets that other workers may share.

    Args:
        policy: what to judge by, until `swap`.
        limits: per connection, and how many connections.
        clock_floor: seconds since the epoch; a clock that stands before is not used (`floor` replaces it).
        decision_log: where decisions go, or None.
        clock: seconds since the epoch.
        send: passes questions about certificates on, whose answers come to `take`; None where nobody can be asked.
        tracing: is told of requests that waited.
        gate: says who may connect; everybody without one.
    """

    def __init__(
        self,
        policy: Policy,
        limits: Limits,
        clock_floor: float = 0.0,
        decision_log: DecisionLog | None = None,
        clock: Callable[[], float] = time.time,
        send: Callable[[list[dict[str, str]]], None] | None = None,
        tracing: Tracing | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._limits = limits
        self._gate = gate or Gate()
        self._clock = clock
        self._floor = clock_floor
        self._answering = Answering(policy, limits.deadline, clock, decision_log, send, tracing)
        self._turn = Turn(self._answering)
        self._peers: set[Peer] = set()
        self._acceptor = Acceptor(self._gate, self._make_peer, limits.hello_timeout, self._room)
        self._accepted = 0
        self._ended: dict[str, int] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._openings = Openings()
        self._turning: asyncio.TimerHandle | None = None
        self._is_clock_usable = True
        self._drain_started = 0.0
        self._is_empty = asyncio.Event()
        self.set_clock_floor(clock_floor)

    @property
    def policy(self) -> Policy:
        """The policy in use."""
        return self._answering.policy

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._peers)

    def swap(self, policy: Policy) -> None:
        """Judge every read from now on by another policy; connections stay."""
        old = self._answering.swap(policy)
        self._set_circumstances()
        self._go_on(old)

    def _go_on(self, work: Iterator[None]) -> None:
        """Do work piece by piece, and answer what comes meanwhile."""
        if next(work, self) is None:
            asyncio.get_running_loop().call_soon(self._go_on, work)

    def compare_with(self, candidate: Policy | None) -> None:
        """Judge every request under a candidate too, or no more."""
        self._go_on(self._answering.compare_with(candidate))

    def take(self, rows: Iterable[dict[str, Any]]) -> None:
        """Learn answers to questions about certificates.

        Raises:
            KeyError, ValueError, TypeError: a row is none.
        """
        self._answering.take(rows)

    def set_clock_floor(self, floor: float) -> None:
        """Take over the time before which the clock can't be right, seconds since the epoch."""
        self._floor = floor
        self._answering.watch_clock(floor, self._set_circumstances)
        self._set_circumstances()

    def set_openings(self, openings: Openings) -> None:
        """Let break-glass switches be open as far as the policy lets them, each until its time is over."""
        self._openings = openings
        self._set_circumstances()

    def pace_by(self, look: Callable[[int], int]) -> None:
        """Tell somebody now and then how many requests were answered; see `Turn.pace_by`."""
        self._turn.pace_by(look)

    def serve(self, listeners: Sequence[socket.socket], stands_by: Callable[[], bool] | None = None) -> None:
        """Accept connections on listening, non-blocking sockets, which stay their owner's to close.

        Args:
            listeners: the sockets.
            stands_by: tells whether other workers are to take connections first.
        """
        self._acceptor.serve(listeners, stands_by)
        self._sweep()

    @property
    def since_check(self) -> float | None:
        """Seconds since HAProxy's last health check; None where there was none."""
        return self._answering.since_check

    def fail_checks(self) -> None:
        """Serve as before, but fail HAProxy's health checks from now on, so that it asks another agent."""
        self._answering.fail_checks()

    def stop_accepting(self) -> None:
        """Let go of the listening sockets, for good; they can then be closed."""
        self._acceptor.stop()

    async def drain(self) -> None:
        """Stop accepting, answer what is in flight, dismiss each connection when it is quiet; return when all are gone.

        Takes as long as the busiest connection needs to fall quiet, at most some seven seconds.
        """
        self._drain_started = perf_counter()
        self.stop_accepting()
        self._sweep()
        if self._peers:
            await self._is_empty.wait()

    def close(self) -> None:
        """Drop everything at once."""
        self.stop_accepting()
        for timer in (self._sweeping, self._turning):
            if timer is not None:
                timer.cancel()
        for peer in tuple(self._peers):
            peer.abort()

    def decisions(self) -> Iterator[list[Sample]]:
        """Yield how often what was decided; some twice, to be summed. Between two yields, requests may be answered."""
        return self._answering.decisions()

    def samples(self) -> Samples:
        """Return all other counts of this worker."""
        found = self._answering.samples()
        found["connections", ()] = len(self._peers)
        found["connections_total", ()] = self._accepted
        found.update({("connections_closed_total", (cause,)): count for cause, count in self._ended.items()})
        found.update(self._gate.samples())
        return found

    def _set_circumstances(self) -> None:
        """Tell the policy whether the clock can be right, and which switches are open; none is by a wrong clock."""
        now, policy = self._clock(), self.policy
        policy.clock_usable = now >= self._floor
        self._tell_of_clock(usable=policy.clock_usable)
        policy.switches, until = self._openings.in_force(policy.model.switches, int(now))
        if not policy.clock_usable:
            policy.switches = frozenset()
        if self._turning is not None:
            self._turning.cancel()
            self._turning = None
        if until < NEVER:  # the sweep would notice too, up to a second late
            self._turning = asyncio.get_running_loop().call_later(max(0.0, until - now), self._set_circumstances)

    def _tell_of_clock(self, *, usable: bool) -> None:
        """Log that the clock has turned unusable, or usable again: whoever runs the agent must mend the one, not it."""
        if usable == self._is_clock_usable:
            return
        self._is_clock_usable = usable
        if usable:
            _log.warning("the clock can be right again")
        else:
            _log.error(
                "the clock can't be right, so certificates are denied", newest_time_less_an_hour=int(self._floor)
            )

    def _room(self) -> int:
        return self._limits.max_connections - len(self._peers) - self._acceptor.arriving

    def _make_peer(self) -> asyncio.Protocol:
        peer = Peer(self._answering, self._turn, self._limits.max_frame_size, self._made, self._lost)
        return cast("asyncio.Protocol", peer)

    def _made(self, peer: Peer) -> None:
        self._acceptor.arriving -= 1
        self._accepted += 1
        self._peers.add(peer)
        if self._drain_started:
            peer.abort()

    def _lost(self, peer: Peer) -> None:
        self._peers.discard(peer)
        if self._drain_started and not self._peers:
            self._is_empty.set()
        else:
            self._acceptor.go_on()

    def _sweep(self) -> None:
        """Look at every connection and at the clock, and come back in time."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._set_circumstances()
        self._turn.look()
        now = perf_counter()
        look = self._dismiss if self._drain_started else self._watch
        for peer in tuple(self._peers):
            look(peer, now)
        interval = min(1.0, self._limits.hello_timeout / 4, self._limits.idle_timeout / 4)
        self._sweeping = asyncio.get_running_loop().call_later(
            _DRAIN_SWEEP if self._drain_started else interval, self._sweep
        )

    def _watch(self, peer: Peer, now: float) -> None:
        if peer.is_leaving:
            return
        if peer.stalled and now - peer.stalled > _MAX_STALL:
            self._end(peer, "slow_peer")
        elif not peer.has_greeted:
            if now - peer.opened > self._limits.hello_timeout:
                self._end(peer, "hello_timeout")
        elif not peer.is_busy and now - peer.heard > self._limits.idle_timeout:
            self._end(peer, "idle_timeout")

    def _dismiss(self, peer: Peer, now: float) -> None:
        if now - self._drain_started > _DRAIN_PATIENCE + 2:
            peer.abort()
        elif not peer.is_leaving:
            is_quiet = not peer.is_busy and now - peer.heard > _DRAIN_QUIET
            if is_quiet or not peer.has_greeted or now - self._drain_started > _DRAIN_PATIENCE:
                self._end(peer, "drain")
            elif now - self._drain_started > _DRAIN_HOPE and not peer.is_parting:
                # HAProxy up to 3.0 uses a connection as long as it has it, whatever its health checks say.
                self._ended["drain"] = self._ended.get("drain", 0) + 1
                peer.part(Status.NORMAL)

    def _end(self, peer: Peer, cause: str) -> None:
        self._ended[cause] = self._ended.get(cause, 0) + 1
        if cause == "slow_peer":
            peer.abort()
        else:
            peer.leave(Status.NORMAL if cause == "drain" else Status.TIMEOUT)
