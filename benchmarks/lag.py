"""How late an event loop is that does what a worker's loop does when revocation lists change, and nothing else.

Run by `benchmarks/revocation.py` as `python benchmarks/lag.py EVIDENCE`, on the cores of the agent: the same kind of
loop, with the same switch interval, that maps each new index below EVIDENCE in a thread as a worker does, the moment it
appears. A timer is set for each millisecond; its lag is by how much it comes too late. Each line on standard input is
answered with a line of JSON about the time since the last: `p50_ms`, `p99_ms`, `max_ms`, `ticks` and `opened`. The end
of the input ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import re
import sys
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that a clone is measured without installing it

import watchfiles

from spoa.evidence_store import open_index
from spoa.worker import SWITCH_INTERVAL, loop_factory

_TICK: Final = 0.001
_INDEX: Final = re.compile(r"[0-9a-f]{64}")


class Probe:
    """The lags since the last report, and the indexes that were mapped."""

    def __init__(self, evidence: Path) -> None:
        self._evidence = evidence
        self._lags: list[float] = []
        self._index: object = None
        self._known: set[str] = set()
        self._count = 0

    async def tick(self) -> None:
        """Measure for ever."""
        while True:
            due = time.perf_counter() + _TICK  # uvloop's own clock counts milliseconds only
            await asyncio.sleep(_TICK)
            self._lags.append(time.perf_counter() - due)

    async def follow(self) -> None:
        """Map each new index, and let go of the one before."""
        async for _ in watchfiles.awatch(self._evidence, watch_filter=None, step=20):
            present = {path.name for path in self._evidence.iterdir() if _INDEX.fullmatch(path.name)}
            for digest in present - self._known:
                with contextlib.suppress(OSError):
                    self._index = await asyncio.to_thread(open_index, self._evidence, digest)
                    self._count += 1
            self._known |= present

    def report(self) -> str:
        """Return what was seen since the last time."""
        lags = sorted(self._lags) or [0.0]
        found = {
            "p50_ms": 1000 * lags[len(lags) // 2],
            "p99_ms": 1000 * lags[len(lags) * 99 // 100],
            "max_ms": 1000 * lags[-1],
            "ticks": len(self._lags),
            "opened": self._count,
        }
        self._lags, self._count = [], 0
        return json.dumps(found)


async def _run(evidence: Path) -> None:
    probe = Probe(evidence)
    tasks = [asyncio.create_task(probe.tick()), asyncio.create_task(probe.follow())]
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    gc.freeze()
    while await reader.readline():
        print(probe.report(), flush=True)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> int:
    sys.setswitchinterval(SWITCH_INTERVAL)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_run(Path(sys.argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
