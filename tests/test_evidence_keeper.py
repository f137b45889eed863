"""The keeper alone: what it loads and when, what workers get of it, and what it says of its lists."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import structlog.testing

import spoa.crl_fetcher
import spoa.evidence_keeper
from spoa.bundle import build_bundle
from spoa.control import WorkerError
from spoa.crl_builder import build
from spoa.evidence_keeper import EvidenceKeeper, state_of_lists
from spoa.evidence_store import Held, Source, fitting_deltas, manifest_from_rows
from spoa.exceptions import StateError
from spoa.fetch import Fetcher
from spoa.jobs import Workshop
from spoa.state import StateDirectory
from tests.agents import OPEN, until
from tests.crl_rigs import POLICY, Remote, Rig
from tests.httpservers import Background, hang, plain
from tests.pki import CA, DAY, HOUR
from tests.revocation.lists import NOW, asked, crl

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.httpservers import Request


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    with Background() as background:
        yield Remote(tmp_path, background)


class Swaps:
    """Workers that take everything, or refuse it."""

    def __init__(self) -> None:
        self.taken: list[tuple[Path | None, dict[str, Any]]] = []
        self.refuses = False
        self.came = asyncio.Event()

    async def __call__(self, bundle: Path | None, text: str) -> None:
        if self.refuses:
            raise WorkerError("prepare", "no")
        self.taken.append((bundle, json.loads(text)))
        self.came.set()


class Desk:
    """A keeper, and the bundle of a policy."""

    def __init__(self, rig: Rig, directory: Path, policy: str = POLICY % "") -> None:
        self.swaps = Swaps()
        state = StateDirectory(directory / "state")
        self.evidence = state.evidence
        self.downloads = state.downloads
        self.fetcher = Fetcher()
        self.keeper = EvidenceKeeper(state.evidence, state.downloads, self.fetcher, self.swaps)
        self.rig = rig
        self._directory = directory
        self._number = len(list(directory.glob("bundle-*")))
        self.bundle = self.make(policy)

    def make(self, policy: str) -> Path:
        self._number += 1
        bundle = self._directory / f"bundle-{self._number}"
        bundle.mkdir()
        (self.rig.policies / "policy.yaml").write_text(policy)
        build_bundle(self.rig.policies, bundle)
        return bundle

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await self.fetcher.start()
            try:
                await work()
            finally:
                await self.keeper.close()
                await self.fetcher.close()

        asyncio.run(run())

    @property
    def crl(self) -> dict[str, Any]:
        found = self.keeper.describe(time.time(), lambda _: 0)
        return dict(found["corp"])


def test_a_policy_of_the_same_sources_loads_nothing_again(rig: Rig, tmp_path: Path) -> None:
    rig.publish()
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        first = desk.crl["last_attempt"]
        await desk.keeper.swap_bundle(desk.bundle)
        assert desk.crl["last_attempt"] == first
        assert desk.swaps.taken[0] == desk.swaps.taken[1]

    desk.run(script)


def test_a_swap_that_workers_refuse_changes_nothing_and_is_tried_again(rig: Rig, tmp_path: Path) -> None:
    rig.publish()
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        desk.swaps.refuses = True
        with pytest.raises(WorkerError):
            await desk.keeper.swap_bundle(desk.bundle)
        assert desk.keeper.describe(0, lambda _: 0) == {}
        desk.swaps.refuses = False
        await desk.keeper.swap_bundle(desk.bundle)
        rig.publish()
        desk.swaps.refuses = True
        await desk.keeper.update()
        assert (desk.crl["lists"][0]["number"], desk.crl["error"]) == (1, "prepare: no")
        assert desk.keeper.samples(time.time())["revocation_loads_total", ("failed",)] == 1
        desk.swaps.refuses = False
        await desk.keeper.update()
        assert (desk.crl["lists"][0]["number"], desk.crl["error"]) == (2, "")

    desk.run(script)


def test_a_process_that_dies_leaves_the_lists_in_force(rig: Rig, tmp_path: Path) -> None:
    rig.publish()
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        await desk.keeper._builder.close()
        desk.keeper._builder = Workshop(("-c", "input(); raise SystemExit(9)"), "the builder")
        rig.publish()
        with structlog.testing.capture_logs():
            await desk.keeper.update()
        assert (desk.crl["lists"][0]["number"], desk.crl["state"]) == (1, "good")
        assert "status 9" in desk.crl["error"]

    desk.run(script)


def test_what_time_may_mend_is_tried_again(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.evidence_keeper, "_RETRY", 0.01)
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        rig.publish(this_update=rig.ca.now + HOUR)
        await desk.keeper.swap_bundle(desk.bundle)
        assert desk.crl["problems"][0]["reason"] == "not_yet_valid"
        rig.publish()
        desk.swaps.came.clear()
        retrying = asyncio.create_task(desk.keeper.retry())
        await asyncio.wait_for(desk.swaps.came.wait(), 30)
        await desk.keeper.update()
        assert desk.crl["state"] == "good"
        attempted = desk.crl["last_attempt"]
        await asyncio.sleep(0.05)
        assert desk.crl["last_attempt"] == attempted
        retrying.cancel()
        await asyncio.wait([retrying])

    desk.run(script)


def test_a_change_is_followed_by_a_process_that_waits_for_it(rig: Rig, tmp_path: Path) -> None:
    rig.publish()
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        desk.swaps.came.clear()
        watching = asyncio.create_task(desk.keeper.watch())
        rig.publish()
        await asyncio.wait_for(desk.swaps.came.wait(), 30)
        assert desk.swaps.taken[-1][0] is None
        assert desk.swaps.taken[-1][1]["lists"]["corp"][0]["number"] == 2
        watching.cancel()
        await asyncio.wait([watching])

    desk.run(script)


def test_a_bundle_without_sources_is_swapped_in_and_one_that_can_not_be_read_is_not(rig: Rig, tmp_path: Path) -> None:
    rig.publish()
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        await desk.keeper.swap_bundle(desk.make(OPEN))
        assert desk.swaps.taken[-1][1] == {"lists": {}, "outages": {}}
        assert {path.name for path in desk.evidence.iterdir()} == {"manifest.json"}
        with pytest.raises(StateError, match="build the bundle again"):
            await desk.keeper.swap_bundle(tmp_path)

    desk.run(script)


def test_those_who_wait_for_a_load_share_the_next_one(rig: Rig, tmp_path: Path) -> None:
    rig.publish()
    desk = Desk(rig, tmp_path)

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        rig.publish()
        await asyncio.gather(*(desk.keeper.update() for _ in range(10)))
        assert desk.crl["lists"][0]["number"] == 2
        samples = desk.keeper.samples(time.time())
        loads = [count for (name, _), count in samples.items() if name == "revocation_loads_total"]
        assert sum(loads) <= 3

    desk.run(script)


def test_an_outage_is_told_with_the_policy_and_taken_back_when_it_ends(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoa.crl_fetcher, "backoff", lambda *_: 0.05)
    remote.publish(b"no list")
    remote.background.stop()
    desk = Desk(remote, tmp_path, remote.policy())

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        assert desk.swaps.taken[-1][1] == {"lists": {"corp": []}, "outages": {"corp": "unreachable"}}
        assert (desk.crl["state"], desk.crl["reason"]) == ("unreachable", "unreachable")
        desk.swaps.refuses = True
        with structlog.testing.capture_logs():
            await asyncio.to_thread(remote.background.start)
            failed = ("revocation_loads_total", ("failed",))
            await asyncio.to_thread(until, lambda: desk.keeper.samples(0).get(failed, 0) >= 2)
        assert (desk.crl["state"], desk.crl["error"]) == ("unreachable", "prepare: no")
        desk.swaps.refuses = False
        await asyncio.to_thread(until, lambda: desk.crl["state"] == "not_loaded")
        assert desk.swaps.taken[-1][0] is None
        assert desk.swaps.taken[-1][1]["outages"] == {}

    desk.run(script)


def test_a_list_that_came_cut_off_is_asked_for_again_without_condition(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoa.crl_fetcher, "backoff", lambda *_: 0.05)
    whole = remote.ca.crl()
    bodies = [whole[:-7], whole]

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        is_known = request.headers.get("if-none-match") == '"1"'
        body = bodies[0] if is_known else bodies.pop(0)
        await (plain(status=304) if is_known else plain(body, ETag='"1"'))(request, writer)

    remote.server.answer = answer
    desk = Desk(remote, tmp_path, remote.policy())

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        await asyncio.to_thread(until, lambda: desk.crl["state"] == "good")

    desk.run(script)


def test_an_older_list_of_the_ca_is_told_once_and_asked_for_with_its_condition(remote: Remote, tmp_path: Path) -> None:
    older = remote.ca.crl()
    remote.publish()
    desk = Desk(remote, tmp_path, remote.policy())

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        with structlog.testing.capture_logs() as logs:
            remote.publish(older)
            await asyncio.to_thread(until, lambda: desk.crl["problems"])
            await desk.keeper.update()
            await asyncio.to_thread(until, lambda: desk.crl["urls"][0]["status"] == 304)
        assert [log["reason"] for log in logs if log["log_level"] == "error"] == ["rollback"]
        assert desk.crl["lists"][0]["number"] == 2

    desk.run(script)


def test_a_url_is_not_waited_for_where_what_it_left_is_still_good(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.publish()
    desk = Desk(remote, tmp_path, remote.policy("/a.crl", "/mirror.crl"))
    desk.run(lambda: desk.keeper.swap_bundle(desk.bundle))
    assert len(desk.crl["lists"]) == 1
    remote.server.answer = hang
    again = Desk(remote, tmp_path, remote.policy("/a.crl", "/mirror.crl"))

    async def script() -> None:
        await again.keeper.swap_bundle(again.bundle)
        assert [row["last_success"] for row in again.crl["urls"]] == [None, None]
        assert again.crl["state"] == "good"

    monkeypatch.setattr(spoa.evidence_keeper, "FIRST_FETCH_TIMEOUT", 1000.0)
    again.run(script)


def test_a_url_is_waited_for_where_nothing_good_is_left_but_not_for_long(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoa.evidence_keeper, "FIRST_FETCH_TIMEOUT", 0.2)
    remote.publish(next_update=int(time.time()) - 1)
    desk = Desk(remote, tmp_path, remote.policy())
    desk.run(lambda: desk.keeper.swap_bundle(desk.bundle))
    assert desk.crl["state"] == "stale"
    remote.server.answer = hang
    again = Desk(remote, tmp_path, remote.policy())

    async def script() -> None:
        started = time.monotonic()
        await again.keeper.swap_bundle(again.bundle)
        assert time.monotonic() - started >= 0.2
        assert (again.crl["state"], again.crl["urls"][0]["last_success"]) == ("stale", None)

    again.run(script)


def test_a_policy_that_is_refused_leaves_no_url_behind(remote: Remote, tmp_path: Path) -> None:
    remote.publish()
    desk = Desk(remote, tmp_path, remote.policy("/a.crl"))

    async def script() -> None:
        await desk.keeper.swap_bundle(desk.bundle)
        desk.swaps.refuses = True
        with pytest.raises(WorkerError):
            await desk.keeper.swap_bundle(desk.make(remote.policy("/b.crl")))
        await desk.keeper.update()
        assert [row["url"] for row in desk.crl["urls"]] == [remote.server.url("/a.crl")]
        asked = len([one for one in remote.server.requests if one.path == "/b.crl"])
        await asyncio.sleep(1.5)
        assert len([one for one in remote.server.requests if one.path == "/b.crl"]) == asked

    desk.run(script)


def held(**fields: Any) -> Held:
    return Held(
        **{"digest": "", "source": "", "number": 1, "this_update": 0, "next_update": 100, "entries": 0, **fields}
    )


def delta(**fields: Any) -> Held:
    return held(**{"digest": "delta", "is_delta": True, **fields})


#: The deltas of that digest may be applied to the complete lists here.
FITTING = {"": frozenset({"delta"})}


@pytest.mark.parametrize(
    ("lists", "now", "expected"),
    [
        ((), 0, ("not_loaded", "not_loaded")),
        ((held(is_delta=True),), 0, ("not_loaded", "not_loaded")),
        ((held(),), 99, ("good", "ok")),
        ((held(),), 100, ("good", "late")),
        ((held(),), 110, ("stale", "stale")),
        ((held(), delta(next_update=200)), 199, ("good", "ok")),
        ((held(), delta(next_update=200)), 209, ("good", "late")),
        ((held(), delta(next_update=200), delta(number=2, next_update=150)), 155, ("good", "late")),
        ((held(), delta(next_update=200), delta(number=2, next_update=150)), 165, ("good", "ok")),
        ((held(), delta(next_update=200)), 210, ("stale", "stale")),
        ((held(), delta(next_update=200, problem="number_missing")), 110, ("stale", "stale")),
        ((held(), delta(next_update=200, digest="another")), 110, ("stale", "stale")),
        ((held(), delta(next_update=None)), 110, ("stale", "stale")),
        ((held(), delta(next_update=None, this_update=106)), 110, ("good", "ok")),
        ((held(next_update=None),), 4, ("good", "ok")),
        ((held(next_update=None),), 5, ("undetermined", "no_next_update")),
        ((held(problem="unsupported"),), 0, ("undetermined", "unsupported")),
    ],
)
def test_the_state_of_a_source_is_that_of_its_worst_list(
    lists: tuple[Held, ...], now: int, expected: tuple[str, str]
) -> None:
    source = Source((), (), max_stale=10, max_age_without_next_update=5)
    assert state_of_lists(source, lists, now, fitting=FITTING) == expected
    has_list = any(not one.is_delta for one in lists)
    found = state_of_lists(source, lists, now, "unreachable", FITTING)
    assert found == (expected if has_list else ("unreachable",) * 2)


@pytest.mark.parametrize(
    ("lists", "left", "life"),
    [
        ((held(this_update=20),), 110, 90),
        ((held(), held(next_update=60)), 70, 70),
        ((held(), delta(next_update=50)), 110, 110),
        ((held(), delta(next_update=200)), 210, 210),
        ((held(), delta(next_update=200, digest="another")), 110, 110),
        ((held(), delta(next_update=None)), 110, 110),
        ((held(next_update=None, this_update=20), delta()), 25, 5),
        ((held(is_delta=True),), None, None),
    ],
)
def test_what_is_told_to_be_left_of_the_lists_ends_when_they_are_used_no_more(
    rig: Rig, tmp_path: Path, lists: tuple[Held, ...], left: int | None, life: int | None
) -> None:
    keeper = Desk(rig, tmp_path).keeper
    source = Source((), (), max_stale=10, max_age_without_next_update=5)
    keeper._sources, keeper._manifest, keeper._fitting = {"corp": source}, {"corp": lists}, FITTING
    samples = keeper.samples(0)
    assert samples.get(("revocation_expiry_seconds", ("corp", "crl"))) == left
    assert samples.get(("revocation_life_seconds", ("corp", "crl"))) == life
    if left is not None:
        states = [state_of_lists(source, lists, left - second, fitting=FITTING)[0] for second in (1, 0)]
        assert states[0] == "good" != states[1]


class Dated(NamedTuple):
    """A list beside one of number 5 that alone is stale from an hour ago; with a base a delta. Seconds around `NOW`."""

    number: int | None
    base: int | None
    ends: int = 60


BESIDE: tuple[tuple[Dated, ...], ...] = (
    (),
    (Dated(6, 5),),
    (Dated(6, 5), Dated(7, 5, ends=30)),
    (Dated(6, 5), Dated(7, 5, ends=-HOUR)),
    (Dated(7, 6),),  # for a newer list than there is
    (Dated(5, 4),),
    (Dated(4, 3),),  # older than the list itself
    (Dated(6, None),),  # the newest list
    (Dated(None, 5),),
)


@pytest.mark.parametrize("beside", BESIDE, ids=str)
def test_the_state_of_lists_is_what_a_judgement_by_them_says(beside: tuple[Dated, ...], tmp_path: Path) -> None:
    ca = CA("corp", now=NOW)
    alice = ca.issue("alice", not_before=NOW - DAY)
    lists = [crl(ca, number=5, this_update=NOW - DAY, next_update=NOW - HOUR)]
    lists += [
        crl(ca, number=one.number, base=one.base, this_update=NOW - 4 * HOUR, next_update=NOW + one.ends)
        for one in beside
    ]
    for position, content in enumerate(lists):
        (tmp_path / f"{position}.crl").write_bytes(content)
    source = Source((str(tmp_path),), (base64.b64encode(ca.der).decode(),))
    (tmp_path / "evidence").mkdir()
    for now in (NOW - 2 * HOUR, NOW, NOW + 29, NOW + 30, NOW + 59, NOW + 60):
        manifest = manifest_from_rows(build(tmp_path / "evidence", {"corp": source}, now)["manifest"])
        fitting = fitting_deltas(tmp_path / "evidence", manifest)
        in_force = {one.digest for one in manifest["corp"]}
        said = asked(alice, ca, *(one for one in lists if hashlib.sha256(one).hexdigest() in in_force), now=now)
        told = state_of_lists(source, manifest["corp"], now, fitting=fitting)[0]
        assert told == (said.status if said.status == "good" else said.reason), now - NOW
