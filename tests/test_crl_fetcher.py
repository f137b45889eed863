"""What URLs send is kept, looked at again in time, and never trusted to be a list."""

from __future__ import annotations

import asyncio
import stat
import time
from typing import TYPE_CHECKING, Any

import pytest
import structlog.testing

import spoa.crl_fetcher
from spoa.crl_fetcher import CRL_LIMITS, CrlFetcher
from spoa.download import download_path
from spoa.evidence_store import Source
from spoa.fetch import Fetcher, Limits
from spoa.revocation.crl_index import MAX_CRL_SIZE
from tests.httpservers import Server, close_halfway, endless, hang, head, plain, raw, sequence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.httpservers import Request


class Desk:
    """A server, and who looks at it. Waits are as short as can be, and written down.

    Attributes:
        looks: for each look that ended: the URL, and whether another body came.
        waits: for each wait, which rule gave it and its first argument.
    """

    def __init__(self, downloads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = Server()
        self.fetcher = Fetcher()
        self.downloads = downloads
        self.looks: list[tuple[str, bool]] = []
        self.waits: list[tuple[str, float]] = []
        self.pause = 0.01
        self.end: float | None = None
        self.fails = False
        self._look_ended = asyncio.Event()
        self.urls = self.another()
        monkeypatch.setattr(spoa.crl_fetcher, "backoff", self._wait("backoff"))
        monkeypatch.setattr(spoa.crl_fetcher, "refresh_delay", self._wait("refresh"))

    def another(self) -> CrlFetcher:
        """Make another one for the same directory, as after a restart."""
        return CrlFetcher(self.fetcher, self.downloads, lambda _: self.end, self._looked)

    def _wait(self, rule: str) -> Callable[..., float]:
        def wait(first: float, *_: object) -> float:
            self.waits.append((rule, first))
            return self.pause

        return wait

    async def _looked(self, url: str, *, is_new: bool) -> None:
        self.looks.append((url, is_new))
        self._look_ended.set()
        if self.fails:
            raise RuntimeError

    async def wait_for_looks(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.looks) < count:
                self._look_ended.clear()
                await self._look_ended.wait()

    @property
    def url(self) -> str:
        return self.server.url("/a.crl")

    @property
    def file(self) -> Path:
        return download_path(self.downloads, self.url)

    def follow(self, *issuers: str, refresh: int = 300) -> None:
        self.urls.follow({issuer: Source((), (), urls=(self.url,), refresh=refresh) for issuer in issuers or ("corp",)})

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            async with self.server:
                await self.fetcher.start()
                try:
                    await work()
                finally:
                    await self.urls.close()
                    await self.fetcher.close()

        asyncio.run(run())


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_a_body_is_kept_and_asked_for_again_with_its_validators(desk: Desk) -> None:
    async def script() -> None:
        modified = "Sat, 28 Nov 2026 12:00:00 GMT"
        desk.server.answer = sequence(
            plain(b"first", ETag='"1"', Last_Modified=modified), raw(head(304, {})), plain(b"second", ETag='"2"')
        )
        desk.follow()
        await desk.wait_for_looks(1)
        assert desk.file.read_bytes() == b"first"
        assert stat.S_IMODE(desk.file.stat().st_mode) == 0o600
        await desk.wait_for_looks(4)
        assert desk.file.read_bytes() == b"second"
        assert [is_new for _, is_new in desk.looks[:4]] == [True, False, True, False]
        conditions = [
            (request.headers.get("if-none-match"), request.headers.get("if-modified-since"))
            for request in desk.server.requests[:4]
        ]
        assert conditions == [(None, None), ('"1"', modified), ('"1"', modified), ('"2"', None)]
        assert {rule for rule, _ in desk.waits} == {"refresh"}

    desk.run(script)


def test_the_same_body_again_is_nothing_new(desk: Desk) -> None:
    async def script() -> None:
        desk.server.answer = plain(b"same")
        desk.follow("corp", "partner")
        await desk.wait_for_looks(3)
        assert [is_new for _, is_new in desk.looks[:3]] == [True, False, False]
        samples = desk.urls.samples()
        for issuer in ("corp", "partner"):
            assert samples["revocation_fetches_total", (issuer, "crl", "new")] == 1
            assert samples["revocation_fetches_total", (issuer, "crl", "unchanged")] >= 2

    desk.run(script)


def test_a_restart_asks_with_the_validators_of_the_copy(desk: Desk) -> None:
    async def script() -> None:
        desk.server.answer = plain(b"body", ETag='"1"')
        desk.follow()
        await desk.wait_for_looks(1)
        await desk.urls.close()
        desk.urls, desk.looks[:], desk.server.requests[:] = desk.another(), [], []
        desk.server.answer = raw(head(304, {}))
        desk.follow()
        await desk.wait_for_looks(1)
        assert desk.server.requests[0].headers["if-none-match"] == '"1"'
        assert desk.looks[0] == (desk.url, False)
        assert desk.file.read_bytes() == b"body"

    desk.run(script)


def test_a_copy_that_was_changed_by_others_is_fetched_anew(desk: Desk) -> None:
    async def script() -> None:
        desk.server.answer = plain(b"body", ETag='"1"')
        desk.follow()
        await desk.wait_for_looks(1)
        await desk.urls.close()
        desk.file.write_bytes(b"spoilt")
        desk.urls, desk.looks[:], desk.server.requests[:] = desk.another(), [], []
        desk.follow()
        await desk.wait_for_looks(1)
        assert "if-none-match" not in desk.server.requests[0].headers
        assert desk.looks[0] == (desk.url, True)
        assert desk.file.read_bytes() == b"body"

    desk.run(script)


def test_a_copy_without_worth_is_asked_for_without_condition_and_soon(desk: Desk) -> None:
    async def script() -> None:
        desk.server.answer = plain(b"half a list", ETag='"1"')
        desk.follow()
        await desk.wait_for_looks(1)
        desk.urls.distrust({desk.url})
        desk.server.requests.clear()
        await desk.wait_for_looks(len(desk.looks) + 3)
        assert "if-none-match" not in desk.server.requests[-1].headers
        assert desk.waits[-1][0] == "backoff"
        desk.urls.distrust(())
        await desk.wait_for_looks(len(desk.looks) + 2)
        assert desk.server.requests[-1].headers["if-none-match"] == '"1"'
        assert desk.waits[-1][0] == "refresh"

    desk.run(script)


def test_a_list_past_its_next_update_is_asked_for_ever_less_often_up_to_the_usual_rhythm(desk: Desk) -> None:
    async def script() -> None:
        desk.server.answer = plain(b"old")
        desk.end = time.time() - 1
        desk.follow()
        await desk.wait_for_looks(4)
        assert desk.waits[:3] == [("backoff", 1), ("backoff", 2), ("backoff", 3)]
        desk.end = time.time() + 1000
        await desk.wait_for_looks(len(desk.looks) + 2)
        assert desk.waits[-1] == ("refresh", 300)

    desk.run(script)


def test_failures_are_followed_by_a_backoff_and_logged_once(desk: Desk) -> None:
    async def script() -> None:
        desk.server.answer = sequence(plain(status=404), plain(status=404), plain(status=404), plain(b"back"))
        with structlog.testing.capture_logs() as logs:
            desk.follow()
            await desk.wait_for_looks(1)
            assert desk.urls.is_failing(desk.url)
            assert not desk.file.exists()
            await desk.wait_for_looks(5)
        assert not desk.urls.is_failing(desk.url)
        assert desk.waits[:4] == [("backoff", 1), ("backoff", 2), ("backoff", 3), ("refresh", 300)]
        assert [is_new for _, is_new in desk.looks[:4]] == [False, False, False, True]
        assert [(log["log_level"], log["url"]) for log in logs] == [("error", desk.url), ("info", desk.url)]
        assert (logs[0]["problem"], logs[1]["failures"]) == ("status", 3)
        assert desk.urls.samples()["revocation_fetches_total", ("corp", "crl", "status")] == 3

    desk.run(script)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (close_halfway(b"x" * 1000), "protocol"),
        (plain(status=302, Location="http://127.0.0.1:1/"), "redirect"),
        (plain(status=304), "status"),
        (plain(b"x", Content_Encoding="gzip"), "protocol"),
        (endless, "too_large"),
        (hang, "timeout"),
    ],
)
def test_a_fetch_that_fails_leaves_the_copy_as_it_was(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: Any, problem: str
) -> None:
    monkeypatch.setattr(spoa.crl_fetcher, "CRL_LIMITS", Limits(total=0.3, max_size=1 << 20))

    async def script() -> None:
        desk.server.answer = sequence(plain(b"good"), answer)
        desk.follow()
        await desk.wait_for_looks(2)
        found = desk.urls.describe(desk.url)
        assert found["problem"] == problem
        assert found["detail"]
        assert desk.file.read_bytes() == b"good"
        await desk.urls.close()
        assert {path.name for path in desk.downloads.iterdir()} == {desk.file.name, f"{desk.file.name}.json"}

    desk.run(script)


def test_the_state_of_a_url_is_told(desk: Desk) -> None:
    async def script() -> None:
        assert desk.urls.describe("http://other.example/") == {"url": "http://other.example/"}
        before = time.time()
        desk.pause = 100.0
        desk.server.answer = plain(b"body", ETag='"1"')
        desk.follow()
        await desk.wait_for_looks(1)
        await asyncio.sleep(0)
        found = desk.urls.describe(desk.url)
        assert before <= found.pop("last_attempt") <= found.pop("last_success") <= time.time()
        assert before + 99 < found.pop("next_attempt") < time.time() + 101
        assert found == {
            "url": desk.url,
            "status": 200,
            "problem": None,
            "detail": "",
            "failures": 0,
            "etag": '"1"',
            "circuit": "closed",
        }

    desk.run(script)


def test_a_host_that_fails_too_often_is_shown_as_left_alone(desk: Desk) -> None:
    async def script() -> None:
        desk.server.answer = plain(status=500)
        desk.follow()
        await desk.wait_for_looks(7)
        found = desk.urls.describe(desk.url)
        assert (found["problem"], found["status"], found["circuit"]) == ("circuit_open", None, "open")
        assert len(desk.server.requests) == 5

    desk.run(script)


def test_the_first_look_is_waited_for_but_not_for_ever(desk: Desk) -> None:
    async def script() -> None:
        desk.server.answer = hang
        desk.follow()
        started = time.monotonic()
        await desk.urls.wait_for([desk.url, "http://other.example/"], 0.1)
        assert 0.09 < time.monotonic() - started < 5
        assert desk.looks == []
        await desk.urls.wait_for([], 100)

    desk.run(script)


def test_a_look_that_has_ended_is_not_waited_for(desk: Desk) -> None:
    async def script() -> None:
        desk.server.answer = sequence(plain(status=404), hang)
        desk.follow()
        await desk.wait_for_looks(1)
        await asyncio.wait_for(desk.urls.wait_for([desk.url], 100), 5)

    desk.run(script)


def test_a_url_that_nobody_names_any_more_loses_its_copy(desk: Desk) -> None:
    async def script() -> None:
        desk.server.answer = plain(b"body", ETag='"1"')
        desk.follow()
        await desk.wait_for_looks(1)
        assert desk.urls.has_copy(desk.url)
        await desk.urls.sweep()
        assert desk.urls.has_copy(desk.url)
        desk.urls.follow({})
        await desk.urls.sweep()
        assert list(desk.downloads.iterdir()) == []
        assert not desk.urls.is_failing(desk.url)
        count = len(desk.server.requests)
        await asyncio.sleep(0.05)
        assert len(desk.server.requests) == count

    desk.run(script)


def test_a_shorter_rhythm_takes_effect_at_once(desk: Desk) -> None:
    async def script() -> None:
        desk.pause = 100.0
        desk.follow()
        await desk.wait_for_looks(1)
        await asyncio.sleep(0.01)
        desk.follow(refresh=300)
        desk.follow(refresh=10)
        await desk.wait_for_looks(2)
        await asyncio.sleep(0.01)
        assert desk.waits == [("refresh", 300), ("refresh", 10)]

    desk.run(script)


def test_a_disk_that_takes_nothing_is_a_problem_of_ours(desk: Desk) -> None:
    async def script() -> None:
        desk.downloads = desk.downloads / "gone"
        desk.urls = desk.another()
        desk.follow()
        await desk.wait_for_looks(2)
        found = desk.urls.describe(desk.url)
        assert found["problem"] == "disk"
        assert "can't be written" in found["detail"]

    desk.run(script)


def test_a_defect_ends_neither_the_looks_nor_what_follows_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script() -> None:
        with structlog.testing.capture_logs() as logs:
            desk.fails = True
            desk.follow()
            await desk.wait_for_looks(2)
            monkeypatch.setattr(spoa.crl_fetcher, "Draft", lambda _: 1 / 0)
            await desk.wait_for_looks(len(desk.looks) + 3)
            assert desk.urls.describe(desk.url)["problem"] == "defect"
            monkeypatch.undo()
        events = {log["event"] for log in logs if log["log_level"] == "error"}
        assert {"what was fetched could not be put to use", "a revocation list could not be fetched"} <= events

    desk.run(script)


def test_a_list_of_a_million_entries_may_take_a_minute() -> None:
    assert (CRL_LIMITS.total, CRL_LIMITS.max_size) == (60, MAX_CRL_SIZE)
    assert CRL_LIMITS.min_rate > 0


def test_a_look_that_is_ended_half_way_leaves_nothing_behind(desk: Desk) -> None:
    async def script() -> None:
        began = asyncio.Event()

        async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(head(200, {"Content-Length": "1000"}) + b"x" * 500)
            began.set()
            await hang(request, writer)

        desk.server.answer = slow
        desk.follow()
        await asyncio.wait_for(began.wait(), 10)
        await desk.urls.close()
        assert list(desk.downloads.iterdir()) == []

    desk.run(script)
