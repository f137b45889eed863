"""The console as somebody uses it, in a real browser before a real agent, with clients who would like to be markup."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.agents import PATIENCE, ROOT, running_agent, until
from tests.browser import Browser
from tests.pki import CA, DAY
from tests.responders import judged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.agents import Agent
    from tests.browser import Page
    from tests.pki import Issued

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

POLICY: Final = """\
apiVersion: authz/v1
issuers: {corp: {ca: corp.pem, revocation: {crl: {files: [corp.crl]}}}}
lists: {scanners: {file: scanners.yaml}}
identities:
  staff: {issuer: corp, ou: staff}
  scanners: {issuer: corp, in_list: scanners}
break_glass: {incident: {max_duration: 1h, ticket: "INC-[0-9]+"}}
rules:
  - {id: office, effect: require, request: {path: "/admin/**"}, when: {source: [10.0.0.0/8]}, overridable_by: incident}
  - {id: staff, effect: allow, who: staff, request: {path: "/**"}}
  - {id: scan, effect: allow, who: scanners, request: {path: "/scan"}}
"""
#: Names that a careless page would run, follow, or show backwards; quotes, ends of attributes, templates, a NUL's twin.
HOSTILE: Final = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "javascript:alert(1)",
    "</title><base href=//evil.example>",
    "ecila\u202egpj.exe",
    "a\u200bb\ufeffc",
)  # fmt: skip


#: How many elements have an attribute that is a script.
HANDLERS: Final = """[...document.querySelectorAll('#rows *')]
  .filter((e) => [...e.attributes].some((a) => a.name.startsWith('on'))).length"""


#: Whether the browser refuses to make markup from a text, whoever tries, as the page's policy has it.
REFUSED: Final = "(() => { try { document.body.innerHTML = '<b>'; return false; } catch { return true; } })()"


class Edge:
    """A running agent with a console, and whoever asks it."""

    def __init__(self, agent: Agent, ca: CA, folder: Path) -> None:
        self.agent = agent
        self.ca = ca
        self.folder = folder
        self.alice = ca.issue("alice", ["staff"])

    def ask(self, issued: Issued, path: str = "/x") -> None:
        with self.agent.connect() as haproxy:
            judged(haproxy, issued, path)

    @asynccontextmanager
    async def page(self, **options: object) -> AsyncIterator[Page]:
        """Open the console in a browser of its own, and close it without a complaint."""
        profile = self.folder / f"browser-{time.monotonic_ns()}"
        async with Browser.started(profile) as browser:
            page = await browser.open(f"http://{self.agent.admin}/console", **options)  # type: ignore[arg-type] # as `open` has them
            await page.until("document.querySelector('#ready').textContent === 'ready'")
            yield page
            assert page.complaints == []


@contextmanager
def serving(folder: Path) -> Iterator[Edge]:
    ca, policies = CA("corp"), folder / "policies"
    policies.mkdir()
    (policies / "corp.pem").write_bytes(ca.pem)
    (policies / "corp.crl").write_bytes(ca.crl())
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 20 * DAY))
    entry = f'  - {{sha256: "{"ab" * 32}", owner: dock, expires: {soon}}}\n'
    (policies / "scanners.yaml").write_text(f"apiVersion: authz/v1\nkind: list\nentries:\n{entry}")
    (folder / "token").write_text("s3cret\n")
    options = ("--console", "--decision-log", str(folder / "log"), "--admin-token-file", str(folder / "token"))
    with running_agent(folder, *options, policy=POLICY) as agent:
        yield Edge(agent, ca, folder)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with serving(tmp_path_factory.mktemp("edge")) as edge:
        yield edge


async def rows(page: Page, count: int) -> None:
    await page.until(f"document.querySelectorAll('#rows > li').length >= {count}")


def test_hostile_names_are_text_and_nothing_else(edge: Edge) -> None:
    for name in HOSTILE:
        edge.ask(edge.ca.issue(name, [name]), "/x")
    edge.ask(edge.alice, "/<script>alert(1)</script>")

    async def script() -> None:
        async with edge.page() as page:
            await page.press("2")
            await rows(page, len(HOSTILE) + 1)
            await page.run("document.querySelectorAll('#rows > li > button').forEach((one) => one.click())")
            shown = str(await page.run("document.querySelector('#rows').textContent"))
            for text in ("<img src=x onerror=alert(1)>", "<script>", "javascript:alert(1)", "${alert(1)}"):
                assert text in shown.replace("\\", "")
            assert "\\u{202e}" in shown or "\\E2\\80\\AE" in shown
            assert not {"\u202e", "\u200b", "\ufeff"} & set(shown)
            made = "document.querySelectorAll('#rows img, #rows script, #rows svg, #rows base, #rows a').length"
            assert await page.run(made) == 0
            assert await page.run(HANDLERS) == 0
            assert await page.run(REFUSED) is True
            while not page.complaints:  # the browser tells of it a little later
                await page.run("0")
            assert "TrustedHTML" in page.complaints.pop()
            await page.press("k")
            await page.press("w")
            await page.until("document.querySelector('#explanation .explained, #explanation .wrong')")
            assert await page.run("document.querySelectorAll('#explanation img, #explanation script').length") == 0

    asyncio.run(script())


def test_decisions_come_live_and_are_filtered(edge: Edge) -> None:
    async def script() -> None:
        async with edge.page() as page:
            await page.press("/")
            await page.type("/live-")
            await page.until("document.querySelector('#stream').textContent.startsWith('Live')")
            await asyncio.to_thread(edge.ask, edge.alice, "/live-1")
            await asyncio.to_thread(edge.ask, edge.ca.issue("bob"), "/live-2")
            await rows(page, 2)
            await page.run("(e => { e.value = 'deny'; e.dispatchEvent(new Event('input', {bubbles: true})); })"
                           "(document.querySelector('#filter [name=verdict]'))")  # fmt: skip
            await page.until("document.querySelectorAll('#rows > li').length === 1")
            text = str(await page.run("document.querySelector('#rows').textContent"))
            assert "/live-2" in text
            assert "no_rule_allows" in text
            await page.press("Escape")
            await page.press("p")
            await asyncio.to_thread(edge.ask, edge.ca.issue("carl"), "/live-3")
            await page.until("document.querySelector('#stream').textContent.startsWith('Paused; 1 ')")
            assert await page.run("document.querySelectorAll('#rows > li').length") == 1
            await page.press("p")
            await rows(page, 2)

    asyncio.run(script())


def test_a_deny_is_explained_from_the_keyboard_alone(edge: Edge) -> None:
    edge.ask(edge.alice, "/admin/why")

    async def script() -> None:
        async with edge.page(width=390, height=844) as page:
            await page.press("2")
            await rows(page, 1)
            await page.press("j")
            await page.press("Enter")
            await page.until("document.querySelector('#rows .details')")
            await page.press("w")
            await page.until("document.querySelector('.explained')")
            text = str(await page.run("document.querySelector('#explanation').textContent"))
            assert "requirement_not_met by rule office" in text
            assert "Nearest miss: would be allowed" in text
            assert "source = 10.0.0.0/8, seen: 127.0.0.1" in text

    asyncio.run(script())


def test_what_if_takes_a_pasted_certificate(edge: Edge) -> None:
    async def script() -> None:
        async with edge.page() as page:
            await page.press("3")
            await page.fill("#what-if [name=cert]", edge.alice.pem.decode())
            await page.fill("#what-if [name=request]", "GET /admin/x")
            await page.fill("#what-if [name=source]", "10.1.2.3")
            await page.press("Enter")
            await page.until("document.querySelector('.explained')")
            assert "allow" in str(await page.run("document.querySelector('.explained .headline').textContent"))
            await page.fill("#what-if [name=cert]", "<b>no certificate</b>")
            await page.click("#what-if button")
            await page.until("document.querySelector('#explanation .wrong')")
            assert await page.run("document.querySelectorAll('#explanation b').length") == 0

    asyncio.run(script())


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_view_fits_and_can_be_read(width: int, dark: bool, edge: Edge) -> None:
    """No view is wider than the screen, its text stands out from its ground, and fingers can hit what is to be hit."""

    async def script() -> None:
        async with edge.page(width=width, height=844, dark=dark) as page:
            for number in range(1, 7):
                await page.press(str(number))
                assert await page.run("document.documentElement.scrollWidth") <= width
                assert await page.run(CONTRAST) >= 4.5
                assert await page.run(SMALL) == 0
            before = await page.run("getComputedStyle(document.body).backgroundColor")
            await page.press("t")
            assert await page.run("getComputedStyle(document.body).backgroundColor") != before

    asyncio.run(script())


#: How many things to be hit are lower than a finger is wide.
SMALL: Final = """[...document.querySelectorAll('button, main input, main select')]
  .filter((e) => e.offsetParent && e.getBoundingClientRect().height < 36).length"""

#: The lowest contrast of visible text to the ground behind it, by the formula of WCAG 2.
CONTRAST: Final = """(() => {
  const part = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const read = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = read(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0.99) return c;
    }
    return [255, 255, 255];
  };
  const ratio = (e) => {
    const [a, b] = [light(read(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  };
  const hasText = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  const seen = [...document.querySelectorAll("body *")].filter((e) => e.offsetParent && !e.closest(".new"));
  return Math.min(...seen.filter(hasText).map(ratio));
})()"""


def test_nothing_can_be_changed_without_the_token(edge: Edge) -> None:
    async def script() -> None:
        async with edge.page() as page:
            await page.press("5")
            assert await page.run("[...document.querySelectorAll('.changes')].every((form) => form.hidden)")
            await page.click("#right")
            await page.fill("#token", "guessed")
            await page.click("#token-dialog [value=use]")
            await page.until("document.querySelector('#notice').textContent.includes('take this token')")
            assert await page.run("document.querySelector('#right').textContent") == "Read only"

    asyncio.run(script())


def test_with_the_token_a_certificate_is_blocked_and_a_switch_opened(tmp_path: Path) -> None:
    with serving(tmp_path) as edge:
        asyncio.run(_change(edge))
        log = edge.agent.log.read_text()
        assert "console: changed" in log
        assert "s3cret" not in log


async def _change(edge: Edge) -> None:
    target = f"corp/{edge.alice.certificate.serial_number:x}"
    async with edge.page() as page:
        await page.click("#right")
        await page.fill("#token", "s3cret")
        await page.click("#token-dialog [value=use]")
        await page.until("document.querySelector('#right').textContent === 'May change'")
        await page.press("5")
        await page.until("document.querySelector('#block').checkVisibility()")  # once it knows what may be changed
        await page.fill("#block [name=target]", target)
        await page.fill("#block [name=reason]", "<b>stolen</b>")
        await page.click("#block button")
        await page.until("document.querySelector('#sure-dialog').open")
        await page.click("#sure-dialog [value=yes]")
        await page.until(f"document.querySelector('#block-rows').textContent.includes({json.dumps(target)})")
        assert await page.run("document.querySelectorAll('#block-rows b').length") == 0
        await asyncio.to_thread(edge.ask, edge.alice)
        await page.press("2")
        await page.until("document.querySelector('#rows').textContent.includes('certificate_blocked')")
        await page.press("5")
        await page.fill("#open [name=ticket]", "INC-7")
        await page.fill("#open [name=ttl]", "10m")
        await page.fill("#open [name=by]", "ann")
        await page.click("#open button")
        await page.click("#sure-dialog [value=yes]")
        await page.until("document.querySelector('#switch-rows .pill').textContent === 'open'")
        await page.click("#tab-history")
        await page.until("document.querySelectorAll('#entries > li').length >= 3")
        stored = await page.run("JSON.stringify([localStorage, sessionStorage, document.cookie])")
        assert "s3cret" not in str(stored)


def test_what_is_wrong_stands_on_the_first_view(tmp_path: Path) -> None:
    with serving(tmp_path) as edge:
        edge.agent.write_policy("rules: nonsense\n")
        until(lambda: edge.agent.status()["last_reload"]["result"] == "rejected")
        opened = [sys.executable, "-m", "spoa", "breakglass", "open", "incident", "--ticket", "INC-7", "--for", "10m",
                  "--state-dir", str(edge.agent.state)]  # fmt: skip
        subprocess.run(opened, check=True, cwd=ROOT, timeout=PATIENCE)
        until(lambda: edge.agent.status()["break_glass"]["open"])

        async def script() -> None:
            async with edge.page() as page:
                text = str(await page.run("document.querySelector('#wrong').textContent"))
                assert "policy.yaml:1" in text
                assert "Break glass: incident is open." in text
                await page.press("6")
                await page.until("document.querySelector('#entries').textContent.includes('rejected')")

        asyncio.run(script())


def test_the_history_names_who_rolled_back(tmp_path: Path) -> None:
    with serving(tmp_path) as edge:
        before = edge.agent.status()["revision"]
        edge.agent.write_policy(POLICY.replace("id: scan,", "id: scanned,"))
        until(lambda: edge.agent.status()["revision"] != before)
        words = [sys.executable, "-m", "spoa", "rollback", "--admin", str(edge.agent.admin), "--token-file",
                 str(tmp_path / "token"), "--state-dir", str(edge.agent.state)]  # fmt: skip
        subprocess.run(words, check=True, cwd=ROOT, timeout=PATIENCE)

        async def script() -> None:
            async with edge.page() as page:
                await page.press("6")
                told = f"activated (rollback): revision {before}, by token from 127.0.0.1"
                await page.until(f"document.querySelector('#entries').textContent.includes({json.dumps(told)})")

        asyncio.run(script())
