"""Every kind of edit is noticed, and told once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import watchfiles

import spoa.watcher
from spoa.watcher import Watcher, tree_state
from tests.agents import OPEN, SHUT, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    directory = tmp_path / "policies"
    directory.mkdir()
    (directory / "policy.yaml").write_text(OPEN)
    return directory


def save(policies: Path) -> None:
    (policies / "policy.yaml").write_text(SHUT)


def rename(policies: Path) -> None:
    (policies / ".new").write_text(SHUT)
    (policies / ".new").rename(policies / "policy.yaml")


def rename_of_the_same_age(policies: Path) -> None:
    before = (policies / "policy.yaml").stat()
    (policies / ".new").write_text(OPEN.replace("/open/**", "/nepo/**"))
    os.utime(policies / ".new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (policies / ".new").rename(policies / "policy.yaml")


def addition(policies: Path) -> None:
    (policies / "lists").mkdir()
    (policies / "lists" / "a.txt").write_text("")


def removal(policies: Path) -> None:
    (policies / "policy.yaml").unlink()


def replacement_of_the_directory(policies: Path) -> None:
    policies.rename(policies.with_name("old"))
    policies.mkdir()
    (policies / "policy.yaml").write_text(SHUT)


class TestTreeState:
    @pytest.mark.parametrize(
        "edit", [save, rename, rename_of_the_same_age, addition, removal, replacement_of_the_directory]
    )
    def test_it_differs_after_every_kind_of_edit(self, policies: Path, edit: Callable[[Path], None]) -> None:
        before = tree_state([policies])
        assert tree_state([policies]) == before
        edit(policies)
        assert tree_state([policies]) != before

    def test_a_loop_of_links_is_left(self, policies: Path) -> None:
        (policies / "loop").symlink_to(policies)
        assert tree_state([policies]) == tree_state([policies])

    def test_it_looks_at_so_many_files_and_no_more(self, policies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spoa.watcher, "_MAX_FILES", 1)
        before = tree_state([policies])
        (policies / "policy.yaml").write_text(SHUT)
        assert tree_state([policies]) == before


async def noticed(watcher: Watcher, edit: Callable[[], Any], seconds: float = 3) -> int:
    """Edit, and count what the watcher tells from then on until it has been silent for a while."""
    count = 0
    changes = watcher.changes()
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0.2)
    edit()
    with contextlib.suppress(TimeoutError):
        while True:
            await asyncio.wait_for(waiting, seconds if not count else 0.6)
            count += 1
            waiting = asyncio.ensure_future(anext(changes))
    await changes.aclose()
    return count


class TestWatcher:
    @pytest.mark.parametrize("edit", [save, rename, addition, removal, replacement_of_the_directory])
    def test_an_edit_is_told_once(self, policies: Path, edit: Callable[[Path], None]) -> None:
        async def run() -> int:
            return await noticed(Watcher([policies]), lambda: edit(policies))

        assert asyncio.run(run()) == 1

    def test_the_flip_of_a_mounted_config_map_is_told_once(self, tmp_path: Path) -> None:
        mount = tmp_path / "mount"
        for version, text in (("..1", OPEN), ("..2", SHUT)):
            (mount / version).mkdir(parents=True)
            (mount / version / "policy.yaml").write_text(text)
        (mount / "..data").symlink_to("..1")
        (mount / "policy.yaml").symlink_to("..data/policy.yaml")

        def flip() -> None:
            (mount / "..new").symlink_to("..2")
            (mount / "..new").rename(mount / "..data")

        async def run() -> int:
            return await noticed(Watcher([mount]), flip)

        assert asyncio.run(run()) == 1

    def test_the_flip_of_a_link_above_the_tree_is_told_without_notifications(self, tmp_path: Path) -> None:
        for version in ("one", "two"):
            (tmp_path / version).mkdir()
            (tmp_path / version / "policy.yaml").write_text(OPEN)
        link = tmp_path / "current"
        link.symlink_to("one")

        def flip() -> None:
            (tmp_path / "new").symlink_to("two")
            (tmp_path / "new").rename(link)

        async def run() -> int:
            return await noticed(Watcher([link]), flip)

        assert asyncio.run(run()) == 1

    def test_a_directory_may_appear_later(self, tmp_path: Path) -> None:
        async def run() -> int:
            return await noticed(Watcher([tmp_path / "later"]), (tmp_path / "later").mkdir)

        assert asyncio.run(run()) == 1

    def test_reading_is_no_change(self, policies: Path) -> None:
        async def run() -> int:
            watcher = Watcher([policies])
            return await noticed(watcher, lambda: str((policies / "policy.yaml").read_text()), 1)

        assert asyncio.run(run()) == 0

    def test_an_edit_in_several_steps_is_told_when_it_is_over(self, policies: Path) -> None:
        async def run() -> None:
            watcher = Watcher([policies], quiet=0.2)
            changes = watcher.changes()
            waiting = asyncio.ensure_future(anext(changes))
            for number in range(6):
                (policies / f"{number}.yaml").write_text(OPEN)
                assert not waiting.done()
                await asyncio.sleep(0.05)
            await asyncio.wait_for(waiting, 3)
            await changes.aclose()

        asyncio.run(run())
        assert len(list(policies.iterdir())) == 7

    def test_an_edit_that_never_ends_is_not_waited_for_for_ever(
        self, policies: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def run() -> None:
            watcher = Watcher([policies], quiet=0.001)
            numbers = iter(range(1_000_000))
            monkeypatch.setattr(spoa.watcher, "tree_state", lambda _: next(numbers))
            monkeypatch.setattr(spoa.watcher, "_MAX_UNREST", 0.2)
            changes = watcher.changes()
            await asyncio.wait_for(anext(changes), 3)
            await changes.aclose()

        asyncio.run(run())

    def test_other_paths_to_watch_count_as_a_change_and_the_same_do_not(self, policies: Path, tmp_path: Path) -> None:
        outside = tmp_path / "ca.pem"
        outside.write_text("")

        async def run() -> tuple[int, int, int]:
            watcher = Watcher([policies])
            same = await noticed(watcher, lambda: watcher.watch([policies]), 0.8)
            other = await noticed(watcher, lambda: watcher.watch([policies, outside]))
            return same, other, await noticed(watcher, lambda: str(outside.write_text("new")))

        assert asyncio.run(run()) == (0, 1, 1)

    def test_what_appears_later_is_listened_to_from_then_on(self, tmp_path: Path) -> None:
        """By notifications: the looks are a minute apart here."""
        later = tmp_path / "later"

        async def run() -> None:
            watcher = Watcher([tmp_path / "always", later], quiet=0.02, interval=60)
            changes = watcher.changes()
            waiting = asyncio.ensure_future(anext(changes))
            later.write_text("")
            watcher.watch([later])  # a reason to look
            await asyncio.wait_for(waiting, 30)
            await asyncio.to_thread(until, lambda: later in watcher._heard)
            waiting = asyncio.ensure_future(anext(changes))
            async with asyncio.timeout(30):
                while not waiting.done():  # who listens begins to, sooner or later, and long before the next look
                    later.write_text(later.read_text() + "x")
                    await asyncio.wait([waiting], timeout=0.5)
            await waiting
            await changes.aclose()

        asyncio.run(run())

    @pytest.mark.parametrize("first", ["there", "beside"])
    def test_it_listens_to_whatever_of_its_paths_is_there(self, first: str, tmp_path: Path) -> None:
        """One came later, or another one came to its place."""
        paths = [tmp_path / "there", tmp_path / "beside"]
        paths[0].mkdir()

        async def run() -> None:
            watcher = Watcher(paths, quiet=0.02, interval=0.2)
            changes = watcher.changes()
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0.05)
            before = dict(watcher._heard)
            if first == "there":
                paths[0].rename(tmp_path / "old")
            (tmp_path / first).mkdir()
            await asyncio.wait_for(waiting, 5)
            await asyncio.to_thread(until, lambda: watcher._heard != before)
            assert watcher._heard == {path: path.stat().st_ino for path in paths if path.exists()}
            await changes.aclose()

        asyncio.run(run())

    def test_a_change_of_what_it_listens_to_is_no_reason_to_listen_anew(
        self, policies: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch, calls = watchfiles.watch, [0]

        def counted(*paths: Any, **options: Any) -> Any:
            calls[0] += 1
            return watch(*paths, **options)

        monkeypatch.setattr("watchfiles.watch", counted)

        async def run() -> int:
            return await noticed(Watcher([policies]), lambda: save(policies))

        assert asyncio.run(run()) == 1
        assert calls == [1]

    @pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("x")])
    def test_where_the_kernel_watches_no_more_looks_go_on_and_it_is_tried_again(
        self, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries: list[object] = []

        def refuse(*paths: object, **_: object) -> object:
            tries.append(paths)
            raise error

        monkeypatch.setattr("watchfiles.watch", refuse)
        monkeypatch.setattr(spoa.watcher, "_RETRY", 0.05)

        async def run() -> int:
            return await noticed(Watcher([tmp_path], interval=0.1), (tmp_path / "new").mkdir)

        assert asyncio.run(run()) == 1
        assert len(tries) > 2

    def test_the_loop_is_not_woken_while_nothing_changes(self, policies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        looks: list[int] = []

        def look(_: object) -> int:
            looks.append(threading.get_ident())
            return 0

        monkeypatch.setattr(spoa.watcher, "tree_state", look)

        async def run() -> None:
            watcher = Watcher([policies], interval=0.01)
            changes = watcher.changes()
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0)
            # What wakes a loop is a timer, or comes from another thread.
            loop = asyncio.get_running_loop()
            assert not loop._scheduled  # type: ignore[attr-defined] # so it is, in CPython's
            woken: list[object] = []
            with monkeypatch.context() as patch:
                patch.setattr(loop, "call_soon_threadsafe", lambda *call: woken.append(call))
                while len(looks) < 20:
                    time.sleep(0.01)  # noqa: ASYNC251 -- the loop is to find nothing when it comes back
            assert woken == []
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

        asyncio.run(run())
        assert looks[0] == threading.get_ident(), "what it starts from is what was there when it was made"
        assert threading.get_ident() not in looks[1:]

    def test_where_nothing_is_watched_nothing_is_looked_at(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks: list[object] = []

        def look(paths: tuple[Path, ...]) -> int:
            looks.append(paths)
            return len(paths)

        monkeypatch.setattr(spoa.watcher, "tree_state", look)

        async def run() -> None:
            watcher = Watcher((), quiet=0.001, interval=0.001)
            changes = watcher.changes()
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0.05)
            assert set(looks) == {()}
            assert len(looks) <= 3, "when it is made, and when it begins"
            watcher.watch([tmp_path])
            await asyncio.wait_for(waiting, 5)
            assert (tmp_path,) in looks
            await changes.aclose()

        asyncio.run(run())

    def test_its_end_does_not_wait_for_a_file_system_that_does_not_answer(
        self, policies: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spoa.watcher, "_PATIENCE", 0.05)
        hangs, goes_on = threading.Event(), threading.Event()
        before = set(threading.enumerate())

        def hang(_: object) -> int:
            hangs.set()
            goes_on.wait(30)
            return 0

        async def run() -> threading.Thread:
            watcher = Watcher([policies], interval=0.01)
            monkeypatch.setattr(spoa.watcher, "tree_state", hang)
            changes = watcher.changes()
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.to_thread(hangs.wait)
            (thread,) = (one for one in set(threading.enumerate()) - before if one.name == "watcher")
            assert thread.daemon, "nor does the interpreter's"
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            return thread

        thread = asyncio.run(run())
        assert thread.is_alive()
        goes_on.set()  # and what it tells then is told to nobody
        thread.join(10)
        assert not thread.is_alive()

    def test_its_end_is_not_lost_behind_other_paths(
        self, policies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spoa.watcher, "_PATIENCE", 30.0)  # it ends at once; a busy machine may be late to see it
        before = set(threading.enumerate())

        async def run() -> None:
            watcher = Watcher([policies], interval=60)
            changes = watcher.changes()
            waiting = asyncio.ensure_future(anext(changes))
            await asyncio.to_thread(until, lambda: watcher._heard)
            (thread,) = (one for one in set(threading.enumerate()) - before if one.name == "watcher")
            watcher.watch([tmp_path])
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert not thread.is_alive()

        asyncio.run(run())

    def test_a_name_that_can_not_be_listened_to_is_looked_at(self, tmp_path: Path) -> None:
        odd = tmp_path / os.fsdecode(b"\xff")

        async def run() -> int:
            odd.mkdir()
            return await noticed(Watcher([odd], interval=0.1), (odd / "new").mkdir)

        assert asyncio.run(run()) == 1

    def test_a_look_that_fails_is_told_to_whoever_waits(self, policies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async def run() -> None:
            watcher = Watcher([policies], interval=0.01)
            monkeypatch.setattr(spoa.watcher, "tree_state", lambda _: 1 // 0)
            await anext(watcher.changes())

        with pytest.raises(ZeroDivisionError):
            asyncio.run(run())
