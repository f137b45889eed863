"""Only what is good gets through, and what was good stays."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog.testing

import spoa.reload
from spoa.builder import build
from spoa.control import WorkerError
from spoa.evidence_store import read_sources
from spoa.history import History, Rollback, keep_files
from spoa.jobs import Workshop
from spoa.reload import Outcome, Reloader, sentence, tell
from spoa.state import StateDirectory
from tests.agents import OPEN, SHUT
from tests.pki import CA

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


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
                await self.reloader.builder.close()

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
            await rig.reloader.builder.prepare()
            await rig.reloader.builder.prepare()
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

    def test_a_builder_that_dies_is_a_failure(self, rig: Rig) -> None:
        rig.reloader.builder = Workshop(("-c", "import sys; sys.stdin.readline(); sys.exit(9)"), "the builder")
        outcome = rig.run(lambda: rig.reloader.reload("start"))
        assert outcome.result == "failed"
        assert sentence(outcome.problems[0]) == "the builder ended with status 9 and no report"

    def test_a_builder_that_talks_nonsense_is_a_failure(self, rig: Rig) -> None:
        rig.reloader.builder = Workshop(("-c", "input(); print([1])"), "the builder")
        assert rig.run(lambda: rig.reloader.reload("start")).result == "failed"

    def test_a_builder_that_hangs_is_ended(self, rig: Rig) -> None:
        rig.reloader.builder = Workshop(("-c", "import time; time.sleep(60)"), "the builder")
        rig.reloader.build_timeout = 0.2
        outcome = rig.run(lambda: rig.reloader.reload("start"))
        assert outcome.result == "failed"
        assert "longer than 0.2 s" in sentence(outcome.problems[0])

    def test_a_reload_that_is_given_up_ends_its_builder(self, rig: Rig) -> None:
        rig.reloader.builder = Workshop(("-c", "import time; time.sleep(60)"), "the builder")

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
            await rig.reloader.builder.prepare()
            process = rig.reloader.builder._process
            assert process is not None
            process.kill()
            await process.wait()
            return await rig.reloader.reload("start")

        assert rig.run(work).result == "activated"

    def test_the_last_good_bundle_of_an_earlier_run_can_be_resumed(self, rig: Rig, policies: Path) -> None:
        async def work() -> Outcome:
            assert not await rig.reloader.resume()
            return await rig.reloader.reload("start")

        outcome = rig.run(work)
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


class Going(Rig):
    """A reloader that keeps revisions; `edit` replaces the policy and activates it."""

    def __init__(self, policies: Path, state: Path) -> None:
        super().__init__(policies, state)
        self.policies = policies
        self.reloader.history = self.history = History(state)

    async def edit(self, text: str, cause: str = "change") -> Outcome:
        (self.policies / "policy.yaml").write_text(text)
        return await self.reloader.reload(cause)

    def again(self) -> Going:
        """Return the same in a later run of the agent."""
        return Going(self.policies, self.reloader.state.path)


def version(number: int) -> str:
    return OPEN.replace("/open/**", f"/open/{number}/**")


def in_force(going: Going) -> Rollback | None:
    """Return the rollback in force, which must be the one that is remembered."""
    assert going.reloader.rollback == going.history.rollback()
    return going.reloader.rollback


class Inline:
    """A builder in a thread of this process: what it does is the same, and it needs no second to start."""

    def __init__(self, *_: object) -> None:
        pass

    async def run(self, job: dict[str, str], _: float) -> dict[str, Any]:
        paths = (Path(job[name]) for name in ("directory", "bundle", "live", "keep"))
        return dict(json.loads(json.dumps(await asyncio.to_thread(build, *paths))))

    async def prepare(self) -> None:
        """Everything is imported."""

    async def close(self) -> None:
        """Nothing runs on."""


@pytest.fixture
def going(policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Going:
    monkeypatch.setattr(spoa.reload, "Workshop", Inline)
    return Going(policies, tmp_path / "state")


#: What waits for the disk in the files of the agent's state, or is at the bottom of what does.
WAITING = [
    (os, "fsync"), (os, "mkdir"), (os, "open"), (shutil, "rmtree"), (tempfile, "mkdtemp"), (Path, "glob"),
    (Path, "iterdir"),
    (Path, "open"), (Path, "read_bytes"), (Path, "rename"), (Path, "replace"), (Path, "symlink_to"), (Path, "unlink"),
]  # fmt: skip


def test_nothing_waits_for_the_disk_on_the_loop(going: Going, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor's loop hands on what workers ask of responders, and answers the watchdog."""
    waited: list[tuple[str, int]] = []

    def watch(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any, **options: Any) -> Any:
            waited.append((name, threading.get_ident()))
            return original(*args, **options)

        monkeypatch.setattr(owner, name, watched)

    for owner, name in WAITING:
        watch(owner, name)

    async def work() -> None:
        texts = [version(1), version(2), version(2), "apiVersion: authz/v1\nrulez: []\n", *map(version, range(3, 9))]
        assert not await going.reloader.resume()
        for number, text in enumerate(texts):
            await asyncio.to_thread((going.policies / "policy.yaml").write_text, text)
            await going.reloader.reload("change" if number else "start")
        await going.reloader.roll_back("", "alice", "")
        await going.reloader.reload("signal")
        await going.reloader.roll_back("0" * 12, "alice", "")
        going.swaps.refusal = WorkerError("swap", "no")
        await asyncio.to_thread((going.policies / "policy.yaml").write_text, version(9))
        await going.reloader.reload("change")

    going.run(work)
    assert [name for name, thread in waited if thread == threading.get_ident()] == []
    assert {name for name, _ in waited} == {name for _, name in WAITING}


class TestRollback:
    def test_the_revision_before_is_built_and_held_while_the_directory_stays_as_it_is(self, going: Going) -> None:
        async def work() -> None:
            one, two = await going.edit(version(1), "start"), await going.edit(version(2))
            with structlog.testing.capture_logs() as logs:
                back = await going.reloader.roll_back("", "alice", "INC-7")
            assert (back.result, back.cause, back.revision) == ("activated", "rollback", one.revision)
            assert going.reloader.state.last_good() == going.swaps.bundles[-1]
            assert logs[-1] == {
                "event": "rolled back", "log_level": "warning", "revision": one.revision, "from": two.revision,
                "by": "alice", "reason": "INC-7",
            }  # fmt: skip
            for cause in ("signal", "request", "change"):
                held = await going.reloader.reload(cause)
                assert (held.result, held.revision) == ("unchanged", one.revision)
                assert f"`spoa-authz rollback {two.revision}`" in held.warnings[-1]["message"]
            assert going.history.describe(going.reloader.rollback)["rollback"]["by"] == "alice"
            assert [change["what"] for change in going.history.changes(9)] == ["rolled_back", "activated", "activated"]

        going.run(work)

    def test_the_next_good_policy_of_the_directory_takes_its_place_and_a_bad_one_does_not(self, going: Going) -> None:
        async def work() -> None:
            one = await going.edit(version(1), "start")
            await going.edit(version(2))
            await going.reloader.roll_back("", "alice", "")
            assert going.reloader.is_directory_good
            bad = await going.edit("apiVersion: authz/v1\nrulez: []\n")
            assert (bad.result, bad.revision) == ("rejected", one.revision)
            assert not going.reloader.is_directory_good
            assert in_force(going) is not None
            three = await going.edit(version(3))
            assert three.result == "activated"
            assert in_force(going) is None
            assert going.history.changes(1)[0]["ends_rollback_to"] == one.revision

        going.run(work)

    def test_an_edit_back_to_what_was_rolled_back_to_ends_it_without_a_swap(self, going: Going) -> None:
        async def work() -> None:
            one = await going.edit(version(1), "start")
            await going.edit(version(2))
            await going.reloader.roll_back("", "alice", "")
            swaps = len(going.swaps.bundles)
            same = await going.edit(version(1))
            assert (same.result, same.revision) == ("unchanged", one.revision)
            assert (in_force(going), len(going.swaps.bundles)) == (None, swaps)

        going.run(work)

    def test_one_may_go_further_back_and_forward_again(self, going: Going) -> None:
        async def work() -> None:
            revisions = [(await going.edit(version(number))).revision for number in range(4)]
            for back in (2, 1, 0):
                assert (await going.reloader.roll_back("", "a", "")).revision == revisions[back]
            held = in_force(going)
            assert held is not None
            assert held.source == revisions[3]
            assert (await going.reloader.roll_back(revisions[0], "a", "")).result == "unchanged"
            assert (await going.reloader.roll_back("", "a", "")).result == "failed"
            forward = await going.reloader.roll_back(revisions[3][:6], "a", "")
            assert (forward.result, forward.revision, going.history.rollback()) == ("activated", revisions[3], None)

        going.run(work)

    def test_it_outlives_a_restart(self, going: Going) -> None:
        async def before() -> str:
            one = await going.edit(version(1), "start")
            await going.edit(version(2))
            await going.reloader.roll_back("", "alice", "")
            return one.revision

        one = going.run(before)
        later = going.again()
        outcome = later.run(lambda: later.reloader.reload("start"))
        assert (outcome.result, outcome.revision) == ("activated", one)
        assert "rolled back to" in outcome.warnings[-1]["message"]

    def test_what_can_not_be_held_at_a_start_does_not_bring_back_what_was_rolled_back_from(self, going: Going) -> None:
        async def before() -> None:
            await going.edit(version(1), "start")
            await going.edit(version(2))
            await going.reloader.roll_back("", "alice", "")

        going.run(before)
        for path in (going.reloader.state.path / "revisions").glob("*.json"):
            path.unlink()
        later = going.again()
        outcome = later.run(lambda: later.reloader.reload("start"))
        assert (outcome.result, later.swaps.bundles) == ("failed", [])
        assert "to go by the policy directory again" in sentence(outcome.problems[0])

    def test_a_revision_whose_tests_fail_now_is_refused_and_nothing_changes(self, going: Going) -> None:
        async def work() -> None:
            tests = going.policies / "tests"
            tests.mkdir()
            (tests / "t.yaml").write_text(
                "apiVersion: authz/v1\nkind: tests\ntests:\n"
                "  - {name: open, cert: none, request: GET /open/1/x, expect: allow}\n"
            )
            one = await going.edit(version(1), "start")
            (tests / "t.yaml").unlink()
            two = await going.edit(version(2))
            kept = going.history.find(one.revision)
            text = (going.history.files / kept.files["tests/t.yaml"]).read_bytes().replace(b"allow", b"deny")
            files = {**kept.files, **keep_files({"tests/t.yaml": text}, going.history.files)}
            going.history.keep(replace(kept, files=files), ())
            back = await going.reloader.roll_back("", "alice", "")
            assert (back.result, back.revision) == ("rejected", two.revision)
            assert in_force(going) is None

        going.run(work)

    def test_workers_that_refuse_leave_what_was_in_force(self, going: Going) -> None:
        async def work() -> None:
            await going.edit(version(1), "start")
            two = await going.edit(version(2))
            three = await going.edit(version(3))
            await going.reloader.roll_back(two.revision, "alice", "")
            held = in_force(going)
            going.swaps.refusal = WorkerError("prepare", "no")
            back = await going.reloader.roll_back("", "alice", "")
            assert (back.result, back.revision) == ("failed", two.revision)
            assert in_force(going) == held
            back = await going.reloader.roll_back(three.revision, "alice", "")
            assert in_force(going) == held

        going.run(work)

    def test_files_that_are_not_kept_must_not_have_changed(self, going: Going, tmp_path: Path) -> None:
        """A list that is named by an absolute path isn't rolled back, so the revision would be another."""

        async def work() -> None:
            lists = tmp_path / "list.txt"
            lists.write_text("ab" * 32 + "\n")
            text = version(1) + "  - {id: l, effect: deny, who: {issuer: any, in_list: l}}\n"
            text += f"lists: {{l: {{file: {lists}}}}}\n"
            await going.edit(text, "start")
            lists.write_text("cd" * 32 + "\n")
            await going.edit(version(2))
            back = await going.reloader.roll_back("", "alice", "")
            assert back.result == "failed"
            assert "absolute path has changed" in sentence(back.problems[0])

        going.run(work)

    def test_a_promotion_wins(self, going: Going) -> None:
        async def work() -> None:
            await going.edit(version(1), "start")
            two = await going.edit(version(2))
            await going.reloader.roll_back("", "alice", "")
            promoted = await going.reloader.reload("promote")
            assert (promoted.result, promoted.revision) == ("activated", two.revision)
            assert in_force(going) is None

        going.run(work)

    def test_before_anything_is_active_there_is_no_way_back(self, going: Going, rig: Rig) -> None:
        for one in (going, rig):
            outcome = one.run(partial(one.reloader.roll_back, "", "alice", ""))
            assert sentence(outcome.problems[0]) == "nothing is active yet"

    def test_revocation_lists_are_those_of_the_directory(self, going: Going) -> None:
        """A rollback must not bring back certificates that were revoked since."""
        going.policies.joinpath("ca.pem").write_bytes(CA("corp").pem)
        text = OPEN + "issuers: {corp: {ca: ca.pem, revocation: {crl: {files: [crl/a.crl]}}}}\n"

        async def work() -> None:
            await going.edit(text, "start")
            await going.edit(version(2))
            back = await going.reloader.roll_back("", "alice", "")
            assert back.result == "activated", back.problems
            sources = read_sources(going.swaps.bundles[-1])
            assert sources["corp"].files == (str(going.policies / "crl/a.crl"),)

        going.run(work)


class TestUpgrade:
    def test_the_last_good_policy_of_another_version_is_built_anew_from_its_files(
        self, going: Going, policies: Path
    ) -> None:
        outcome = going.run(lambda: going.reloader.reload("start"))
        (going.swaps.bundles[0] / "version").write_text("1 0.0.1\n")
        later = going.again()
        with structlog.testing.capture_logs():
            assert later.run(later.reloader.resume)
        assert later.reloader.revision == outcome.revision
        assert later.swaps.bundles[0] != going.swaps.bundles[0]

    @pytest.mark.parametrize("is_kept", [True, False])
    def test_one_that_can_not_be_built_anew_is_not_used(self, going: Going, is_kept: bool) -> None:
        going.run(lambda: going.reloader.reload("start"))
        (going.swaps.bundles[0] / "version").unlink()
        for path in going.history.files.iterdir():
            path.unlink()
        later = going.again()
        if not is_kept:
            later.reloader.history = None
        with structlog.testing.capture_logs():
            assert not later.run(later.reloader.resume)
        assert later.swaps.bundles == []
