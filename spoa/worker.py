"""One worker process: an `Agent` under the orders of the supervisor.

It is given everything it needs as open descriptors and one line of JSON, and reads no settings of its own. It accepts
connections from the first `activate` on. When the supervisor is gone it stops, within two seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
import time
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from spoa import diagnostics
from spoa.acceptor import is_spare
from spoa.agent import Agent, Limits
from spoa.blocks import BlockList
from spoa.bundle import open_bundle
from spoa.control import Channel
from spoa.credentials import Credentials
from spoa.decision_log import DecisionLog, Outlet
from spoa.disposal import let_go
from spoa.evidence_store import evidence_from_text, open_crls
from spoa.exceptions import SpoaError
from spoa.expiries import census
from spoa.gate import Gate
from spoa.logsinks.opening import LogSettings, mask_of, open_sink
from spoa.metrics import samples_to_json
from spoa.openings import Openings
from spoa.precedence import Precedence
from spoa.revocation.ocsp_memory import OcspMemory
from spoa.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from spoa.authorizer import Policy
    from spoa.metrics import Samples
    from spoa.revocation.crl import Crl

__all__ = ["SWITCH_INTERVAL", "Orders", "Worker", "exempt_survivors", "loop_factory", "main"]

#: Seconds that another thread, the decision log's above all, may keep the loop from running.
SWITCH_INTERVAL: Final = 0.0005
_CENSUS_INTERVAL: Final = 10.0  # seconds between two counts of the certificates in memory
_ORPHAN_PATIENCE: Final = 1.5  # seconds for a last goodbye when the supervisor is gone

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is told when it starts; descriptors are open in it under these numbers, and it has one, too."""

    control: int
    listeners: tuple[int, ...]
    limits: Limits
    clock_floor: float
    decision_logs: tuple[LogSettings, ...]
    log_allows: float
    log_format: str
    log_level: str
    evidence: str = ""
    otlp_endpoint: str = ""
    allow_from: tuple[str, ...] = ()
    is_secret: bool = False
    number: int = 0

    def to_json(self) -> str:
        """Write the orders as one argument of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Orders:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        values["listeners"] = tuple(values["listeners"])
        values["allow_from"] = tuple(values["allow_from"])
        values["limits"] = Limits(**values["limits"])
        logs = values["decision_logs"]
        values["decision_logs"] = tuple(LogSettings(**{**log, "masked": tuple(log["masked"])}) for log in logs)
        return cls(**values)


class Worker:
    """Does what comes over the control channel until that ends.

    Args:
        orders: what it was told when it started.
        channel: to the supervisor.
        decision_log: where decisions go; None for nowhere.
        look: is told now and then how many requests were answered; see `Turn.pace_by`.
    """

    def __init__(
        self,
        orders: Orders,
        channel: Channel,
        decision_log: DecisionLog | None,
        look: Callable[[int], int] | None = None,
    ) -> None:
        self._orders = orders
        self._channel = channel
        self._decision_log = decision_log
        self._listeners = [socket.socket(fileno=number) for number in orders.listeners]
        self._floor = orders.clock_floor
        self._agent: Agent | None = None
        self._prepared: Policy | None = None
        self._blocks: BlockList | None = None
        self._openings = Openings()
        self._gate = Gate(orders.allow_from, is_secret=orders.is_secret)
        self._opening = self._active = ""
        self._crls: dict[str, dict[str, Crl]] = {}
        self._memory = OcspMemory()
        self._look = look
        self.tracing = Tracing(orders.otlp_endpoint)
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining: asyncio.Task[None] | None = None
        self._certificates: Samples = {}
        self._counting: asyncio.Task[None] | None = None
        self._verbs = {
            "prepare": self._prepare,
            "activate": self._activate,
            "block": self._block,
            "secure": self._secure,
            "learn": self._learn,
            "open": self._open_switches,
            "propose": self._propose,
            "discard": self._discard,
            "report": self._report,
            "floor": self._take_floor,
            "reopen": self._reopen,
            "leave": self._leave,
            "drain": self._drain,
        }

    async def run(self) -> None:
        """Obey until the supervisor hangs up or is gone, or a drain is over."""
        while (message := await self._channel.receive()) is not None:
            task = asyncio.create_task(self._obey(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._draining is None:
            _log.warning("the supervisor is gone")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.stop()), _ORPHAN_PATIENCE)
        self._close()

    def stop(self) -> asyncio.Task[None]:
        """Begin to drain, once."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain_agent())
        return self._draining

    def reopen(self) -> None:
        """Open the decision log anew."""
        if self._decision_log is not None:
            self._decision_log.reopen()

    async def _obey(self, message: dict[str, Any]) -> None:
        try:
            answer = await self._verbs[message["do"]](message)
        except SpoaError as error:
            gc.enable()
            answer = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 -- a defect must not leave the supervisor without an answer
            _log.exception("an order could not be carried out", order=message.get("do"))
            gc.enable()
            answer = {"error": f"{type(error).__name__}: {error}"}
        self._channel.send({"id": message["id"], **answer})

    async def _prepare(self, message: dict[str, Any]) -> dict[str, Any]:
        # A full collection over an old and a new policy would take longer than a request may wait; it is put off to
        # the swap, where all that lives then is exempted from it.
        gc.disable()
        if self._agent is None and self._blocks is None:
            imposed = message["imposed"]
            self._blocks = BlockList.from_text(imposed.get("block", "").encode())
            self._openings = Openings.from_text(imposed.get("open", "").encode())
            if "secure" in imposed:
                self._gate.secure(Credentials.from_json(imposed["secure"]).context())
        policy = await self._open(message["bundle"])
        if policy is None:
            gc.enable()
            return {"error": "the bundle holds no policy"}
        manifest, outages = evidence_from_text(message["evidence"])
        # A large list takes some milliseconds to open: in a thread, requests are answered meanwhile.
        self._crls = await asyncio.to_thread(
            open_crls, Path(self._orders.evidence), manifest, tuple(self._crls.values())
        )
        crls = {issuer: tuple(lists.values()) for issuer, lists in self._crls.items()}
        self._prepared = policy.with_crls(crls, outages, self._memory)
        self._opening = message["bundle"]
        return {"revision": policy.revision}

    async def _open(self, bundle: str) -> Policy | None:
        """Return the policy of a bundle; the one in use where it is the same."""
        if self._agent is not None and bundle == self._active:
            return self._agent.policy
        previous = None if self._agent is None else self._agent.policy
        policy: Policy | None = None
        for opened in open_bundle(Path(bundle), previous):
            policy = opened
            await asyncio.sleep(0)  # requests come between two slices
        return policy

    async def _activate(self, _: dict[str, Any]) -> dict[str, Any]:
        policy, self._prepared = self._prepared, None
        if policy is None:
            return {"error": "nothing is prepared"}
        if self._active != self._opening:
            self._memory.doubt()
        self._active = self._opening
        if self._blocks is not None:
            policy = policy.with_blocks(self._blocks)
        gc.freeze()
        gc.enable()
        if self._agent is None:
            self._agent = Agent(
                policy,
                self._orders.limits,
                self._floor,
                self._decision_log,
                send=self._ask,
                tracing=self.tracing,
                gate=self._gate,
            )
            self._agent.set_openings(self._openings)
            if self._look is not None:
                self._agent.pace_by(self._look)
            if self._draining is None:
                self._agent.serve(self._listeners, lambda: is_spare(self._orders.number))
        else:
            self._agent.swap(policy)
        return {"revision": policy.revision}

    async def _block(self, message: dict[str, Any]) -> dict[str, Any]:
        self._blocks = BlockList.from_text(message["text"].encode())
        if self._agent is not None:
            self._agent.swap(self._agent.policy.with_blocks(self._blocks))
        return {}

    async def _secure(self, message: dict[str, Any]) -> dict[str, Any]:
        self._gate.secure(Credentials.from_json(message["text"]).context())
        return {}

    def _ask(self, questions: list[dict[str, str]]) -> None:
        self._channel.send({"asks": questions})

    async def _learn(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._agent is not None:
            self._agent.take(message["rows"])
        return {}

    async def _open_switches(self, message: dict[str, Any]) -> dict[str, Any]:
        self._openings = Openings.from_text(message["text"].encode())
        if self._agent is not None:
            self._agent.set_openings(self._openings)
        return {}

    async def _propose(self, message: dict[str, Any]) -> dict[str, Any]:
        """Judge under a candidate too; it shares nothing with the policy in use but what certificates say."""
        if self._agent is None:
            return {"error": "nothing is active yet"}
        candidate: Policy | None = None
        for opened in open_bundle(Path(message["bundle"]), self._agent.policy):
            candidate = opened
            await asyncio.sleep(0)  # requests come between two slices
        self._agent.compare_with(candidate)
        return {}

    async def _discard(self, _: dict[str, Any]) -> dict[str, Any]:
        gc.enable()
        for _step in self._let_go_of_prepared():
            await asyncio.sleep(0)
        return {}

    def _let_go_of_prepared(self) -> Iterator[None]:
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            return iter(())
        is_last = self._agent is None or prepared.evaluator is not self._agent.policy.evaluator
        return let_go(prepared, None, is_last=is_last)

    async def _report(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._agent is None:
            return {"counters": [], "policy": {}, "connections": 0}
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count_certificates(self._agent))
        agent = self._agent
        # With many rules there are many counters, and all of them written at one go would keep requests waiting.
        few = {**agent.samples(), **self._certificates}
        many = agent.decisions() if message.get("decisions", True) else ()
        for some in chain([few.items()], many):
            self._channel.send({"id": message["id"], "part": {"counters": list(samples_to_json(some))}})
            await asyncio.sleep(0)
        return {"policy": agent.policy.status(), "connections": agent.connections}

    async def _count_certificates(self, agent: Agent) -> None:
        self._certificates = await census(agent.policy, time.time())
        await asyncio.sleep(_CENSUS_INTERVAL)

    async def _take_floor(self, message: dict[str, Any]) -> dict[str, Any]:
        self._floor = message["floor"]
        if self._agent is not None:
            self._agent.set_clock_floor(self._floor)
        return {}

    async def _reopen(self, _: dict[str, Any]) -> dict[str, Any]:
        self.reopen()
        return {}

    async def _leave(self, _: dict[str, Any]) -> dict[str, Any]:
        if self._agent is None:
            return {"since_check": None}
        self._agent.fail_checks()
        return {"since_check": self._agent.since_check}

    async def _drain(self, message: dict[str, Any]) -> dict[str, Any]:
        await self.stop()
        return await self._report(message)

    async def _drain_agent(self) -> None:
        if self._agent is not None:
            self._agent.stop_accepting()
        for listener in self._listeners:
            listener.close()  # the last process to do so makes the system refuse connections
        if self._agent is not None:
            await self._agent.drain()

    def _close(self) -> None:
        if self._counting is not None:
            self._counting.cancel()
        if self._agent is not None:
            self._agent.close()


def _open_log(orders: Orders) -> DecisionLog | None:
    """Return the log for all targets; None where there is none."""
    if not orders.decision_logs:
        return None
    first, *others = orders.decision_logs
    beside = [Outlet(open_sink(other), mask_of(other), other.place or "") for other in others]
    return DecisionLog(open_sink(first), orders.log_allows, mask=mask_of(first), name=first.place or "", beside=beside)


async def _run(orders: Orders, precedence: Precedence) -> None:
    channel = await Channel.open(socket.socket(fileno=orders.control))
    decision_log = _open_log(orders)
    worker = Worker(orders, channel, decision_log, precedence.look)
    loop = asyncio.get_running_loop()
    # A terminal or an init system may signal the whole group: when to leave and to reload is the supervisor's to say,
    # who gives HAProxy notice before; when it is gone, we leave.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)
    loop.add_signal_handler(signal.SIGUSR1, worker.reopen)
    try:
        await worker.run()
    finally:
        if decision_log is not None:
            await asyncio.to_thread(decision_log.close)
        await asyncio.to_thread(worker.tracing.close)
        await channel.close()


def main(arguments: list[str] | None = None) -> int:
    """Run a worker; its one argument is `Orders.to_json`."""
    orders = Orders.from_json((sys.argv[1:] if arguments is None else arguments)[0])
    diagnostics.configure(orders.log_format, orders.log_level)
    structlog.contextvars.bind_contextvars(worker=os.getpid())
    sys.setswitchinterval(SWITCH_INTERVAL)
    precedence = Precedence()  # before any thread starts: it is for them, too
    factory = loop_factory()
    # Connections of asyncio's own loop end as cycles, which only a collection frees; and from 3.14 on, one of an older
    # generation looks at a part of it at a time, and says nothing of the rest.
    if factory is not None and sys.version_info < (3, 14):
        gc.callbacks.append(exempt_survivors)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_run(orders, precedence))
    return 0


# Trick: what a collection leaves is mostly remembered for long: certificates, answers. No later one walks over it:
# that took 20 ms where there was much. It is freed all the same when nothing refers to it any more. What would end as a
# circle is kept for good, so nothing here may that lives for long (`tests/test_agent.py`). Benchmark:
# benchmarks/agent.py, the slowest answers of new certificates.
def exempt_survivors(phase: str, collection: Mapping[str, int]) -> None:
    """Have the collector leave alone what a collection of more than the youngest leaves; one of `gc.callbacks`."""
    if phase == "stop" and collection["generation"] > 0:
        gc.freeze()


def loop_factory() -> Any:
    """Return what makes a worker's event loop; None for asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 -- an extra; without it asyncio's own loop serves
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
