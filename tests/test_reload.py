"""Only what is good gets through, and what was good stays."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import structlog.testing

import spoa.reload
from spoa.control import WorkerError
from spoa.reload import Outcome, Reloader, sentence, tell
from spoa.state import StateDirectory
from tests.agents import OPEN, SHUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    directory = tmp_path / "policies"
    directory.mkdir()
    (directory / "policy.yaml").write_text(OPEN)
    return directory


def save(policies: Path) -> None:
    (policies / "policy.yaml").write_text(SHUT)


class Swaps:
    """Workers that take every bundle, or that refuse."""

    def __init__(self) -> None:
        self.bundles: list[Path] = []
        self.refusal: Exception | None = None

    async def __call__(self, bundle: Path) -> None:
        if self.refusal is not None:
            raise self.refusal
        assert (bundle / "policy").exists()
        self.bundles.append(bundle)


class Rig:
    def __init__(self, policies: Path, state: Path) -> None:
        self.swaps = Swaps()
        self.reloader = Reloader(policies, StateDirectory(state), self.swaps)

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            try:
                return await work()
            finally:
                await self.reloader.close()

        return asyncio.run(run())


@pytest.fixture
def rig(policies: Path, tmp_path: Path) -> Rig:
    return Rig(policies, tmp_path / "state")


class TestReloader:
    def test_a_good_policy_is_activated_and_marked(self, rig: Rig) -> None:
        outcome = rig.run(lambda: rig.reloader.reload("start"))
        assert outcome.is_fine
        assert outcome.result == "activated"
        assert outcome.revision == rig.reloader.revision != ""
        assert rig.reloader.state.last_good() == rig.reloader.active == rig.swaps.bundles[0]
        assert rig.reloader.samples()["reload_total", ("activated",)] == 1

    def test_the_same_files_are_not_swapped_in_again(self, rig: Rig) -> None:
        async def work() -> list[str]:
            await rig.reloader.prepare_builder()
            await rig.reloader.prepare_builder()
            return [(await rig.reloader.reload("request")).result for _ in range(2)]

        assert rig.run(work) == ["activated", "unchanged"]
        assert len(rig.swaps.bundles) == 1

    def test_when_a_reload_began_can_be_told_from_when_it_ended(self, rig: Rig) -> None:
        async def work() -> list[tuple[float, Outcome]]:
            return [(time.time(), await rig.reloader.reload("signal")) for _ in range(2)]

        for asked, outcome in rig.run(work):
            assert outcome.at - outcome.seconds >= asked, "whoever asked would wait for ever"

    def test_a_bad_policy_leaves_the_good_one(self, rig: Rig, policies: Path) -> None:
        async def work() -> tuple[Outcome, Outcome]:
            good = await rig.reloader.reload("start")
            (policies / "policy.yaml").write_text("apiVersion: authz/v1\nrulez: []\n")
            return good, await rig.reloader.reload("change")

        good, bad = rig.run(work)
        assert bad.result == "rejected"
        assert not bad.is_fine
        assert bad.revision == good.revision
        assert sentence(bad.problems[0]).startswith("policy.yaml:2:1")
        assert len(rig.swaps.bundles) == 1
        assert len(list(rig.reloader.state.bundles.iterdir())) == 1

    def test_a_worker_that_refuses_leaves_the_old_bundle(self, rig: Rig, policies: Path) -> None:
        async def work() -> Outcome:
            await rig.reloader.reload("start")
            save(policies)
            rig.swaps.refusal = WorkerError("prepare", "no")
            return await rig.reloader.reload("change")

        outcome = rig.run(work)
        assert outcome.result == "failed"
        assert rig.reloader.state.last_good() == rig.swaps.bundles[0]
        assert list(rig.reloader.state.bundles.iterdir()) == rig.swaps.bundles

    def test_a_builder_that_dies_is_a_failure(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spoa.reload, "_BUILDER", ("-c", "import sys; sys.stdin.readline(); sys.exit(9)"))
        outcome = rig.run(lambda: rig.reloader.reload("start"))
        assert outcome.result == "failed"
        assert sentence(outcome.problems[0]) == "the builder ended with status 9 and no report"

    def test_a_builder_that_talks_nonsense_is_a_failure(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spoa.reload, "_BUILDER", ("-c", "input(); print([1])"))
        assert rig.run(lambda: rig.reloader.reload("start")).result == "failed"

    def test_a_builder_that_hangs_is_ended(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spoa.reload, "_BUILDER", ("-c", "import time; time.sleep(60)"))
        rig.reloader.build_timeout = 0.2
        outcome = rig.run(lambda: rig.reloader.reload("start"))
        assert outcome.result == "failed"
        assert "longer than 0.2 s" in sentence(outcome.problems[0])

    def test_a_reload_that_is_given_up_ends_its_builder(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spoa.reload, "_BUILDER", ("-c", "import time; time.sleep(60)"))

        async def work() -> None:
            task = asyncio.create_task(rig.reloader.reload("start"))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        rig.run(work)
        assert not list(rig.reloader.state.bundles.iterdir())

    def test_a_spare_builder_that_died_is_replaced(self, rig: Rig) -> None:
        async def work() -> Outcome:
            await rig.reloader.prepare_builder()
            spare = rig.reloader._spare
            assert spare is not None
            spare.process.kill()
            await spare.process.wait()
            return await rig.reloader.reload("start")

        assert rig.run(work).result == "activated"

    def test_the_last_good_bundle_of_an_earlier_run_can_be_resumed(self, rig: Rig, policies: Path) -> None:
        assert not rig.run(rig.reloader.resume)
        outcome = rig.run(lambda: rig.reloader.reload("start"))
        later = Rig(policies, rig.reloader.state.path)
        with structlog.testing.capture_logs():
            assert later.run(later.reloader.resume)
        assert later.reloader.revision == outcome.revision
        assert later.swaps.bundles == rig.swaps.bundles

    def test_files_outside_the_directory_are_watched_too(self, rig: Rig, policies: Path, tmp_path: Path) -> None:
        inside, outside = policies / "policy.yaml", tmp_path / "ca.pem"
        rig.reloader.files = (inside, outside)
        assert rig.reloader.watched == (policies, outside)


def outcome(result: str, **rows: Any) -> Outcome:
    return Outcome(result, "change", "0123456789ab", 0.0, 0.1, **rows)


def test_a_good_reload_is_one_line_and_a_bad_one_a_line_for_each_problem() -> None:
    row = {"file": "a.yaml", "line": 1, "column": 2, "path": "rules", "message": "no", "code": "x", "is_warning": False}
    with structlog.testing.capture_logs() as logs:
        tell(outcome("activated", warnings=(row,)))
        tell(outcome("rejected", problems=(row, {"message": "disk full"})))
    assert [line["log_level"] for line in logs] == ["info", "warning", "error", "error", "error"]
    assert logs[3]["problem"] == "a.yaml:1:2 rules: no"
    assert logs[4]["problem"] == "disk full"
