"""Explanations come from a process of their own, one at a time, and whoever would have to wait too long is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from spoa.bundle import build_bundle
from spoa.console.explaining import Explaining
from tests.agents import OPEN

if TYPE_CHECKING:
    from pathlib import Path

ASKED = {"request": "GET /open/x"}


def content(folder: Path) -> dict[str, Any]:
    policies, bundle = folder / "policies", folder / "bundle"
    policies.mkdir()
    bundle.mkdir()
    (folder / "evidence").mkdir()
    (policies / "policy.yaml").write_text(OPEN)
    build_bundle(policies, bundle)
    return {"bundle": str(bundle), "imposed": {}, "evidence": "{}", "state": str(folder)}


def test_requests_are_explained_by_what_the_same_process_has_imported(tmp_path: Path) -> None:
    given = content(tmp_path)

    async def run() -> None:
        explaining = Explaining(lambda: given)
        assert (await explaining.explain(ASKED))["verdict"] == "allow"
        pid = explaining._explainer.pid
        assert pid is not None
        assert (await explaining.explain(ASKED))["verdict"] == "allow"
        assert explaining._explainer.pid == pid
        await explaining.close()
        await explaining.close()

    asyncio.run(run())


def test_a_process_that_died_while_it_waited_is_replaced(tmp_path: Path) -> None:
    given = content(tmp_path)

    async def run() -> None:
        explaining = Explaining(lambda: given)
        await explaining.explain(ASKED)
        process = explaining._explainer._process
        assert process is not None
        process.kill()
        await process.wait()
        assert (await explaining.explain(ASKED))["verdict"] == "allow"
        await explaining.close()

    asyncio.run(run())


def test_more_than_a_few_at_a_time_are_sent_away(tmp_path: Path) -> None:
    given = content(tmp_path)

    async def run() -> None:
        explaining = Explaining(lambda: given)
        answers = await asyncio.gather(*(explaining.explain(ASKED) for _ in range(6)))
        assert sorted("error" in answer for answer in answers) == [False] * 4 + [True] * 2
        await explaining.close()

    asyncio.run(run())
