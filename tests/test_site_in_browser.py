"""The site that `make site` has left in build/site, in a real browser."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

import pytest

from docs.pages import ROOT
from tests.browser import Browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.browser import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

BUILT: Final = ROOT / "build" / "site"
#: Addresses that a page has loaded from other servers than its own.
FROM_ELSEWHERE: Final = (
    "performance.getEntriesByType('resource').map((e) => e.name).filter((name) => !name.startsWith(location.origin))"
)
FOUND: Final = "[...document.querySelectorAll('.md-search-result__link')].map((e) => new URL(e.href).pathname)"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing about requests."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


async def _search(page: Page, words: str) -> list[str]:
    await page.fill("[data-md-component=search-query]", words)
    await page.until("document.querySelector('.md-search-result__link')")
    found: list[str] = await page.run(FOUND)
    return found


def test_the_search_finds_a_page_and_nothing_is_asked_of_another_server(tmp_path: Path) -> None:
    assert BUILT.is_dir(), "run `make site` first"

    async def script(address: str) -> None:
        async with Browser.started(tmp_path) as browser:
            page = await browser.open(f"{address}/index.html")
            assert "/how-to/runbooks/clock-unusable.html" in await _search(page, "ClockUnusable")
            assert await page.run(FROM_ELSEWHERE) == []
            for name in ("reference/spop-support.html", "reference/cli.html", "how-to/runbooks/index.html"):
                page = await browser.open(f"{address}/{name}", width=390, dark=True)
                assert await page.run(FROM_ELSEWHERE) == []
                # Tables and code scroll within themselves: the page is no wider than a phone.
                assert await page.run("document.documentElement.scrollWidth <= window.innerWidth")
                assert page.complaints == []

    with serving(BUILT) as address:
        asyncio.run(script(address))
