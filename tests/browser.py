"""A headless Chromium, driven by its own protocol over a web socket.

    async with Browser.started(folder) as browser:
        page = await browser.open("http://127.0.0.1:9124/console", width=390)
        await page.run("document.title")
        await page.until("document.querySelector('#rows li')")
        await page.press("w")
        await page.picture(Path("shot.png"))

It is the Chromium of the PATH; where there is none, Debian's package is fetched once and unpacked, with the libraries
and a font, into the cache.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from tests.debian_packages import own_suite, unpacked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Browser", "Page", "chromium"]

PATIENCE: Final = 30.0
OPTIONS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
#: What the machine has anyway, in a version that goes with its loader.
OF_THE_MACHINE: Final = ("libc6",)
FONTS: Final = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{fonts}</dir><cachedir>{cache}</cachedir></fontconfig>
"""


@functools.cache
def chromium() -> tuple[Path, dict[str, str]]:
    """Return the browser's program, and the environment that it needs."""
    found = shutil.which("chromium")
    if found is not None:
        return Path(found), {}
    suite = own_suite()
    home = unpacked(
        f"chromium-{suite}",
        lambda apt: [
            package
            for package in apt.with_libraries(["chromium", "chromium-common", "fonts-dejavu-core"], suite)
            if package.partition("/")[0] not in OF_THE_MACHINE
        ],
        [suite],
    )
    places = {path.parent for path in home.rglob("lib*.so*") if "share" not in path.parts}
    (home / "fonts.conf").write_text(FONTS.format(fonts=home / "usr/share/fonts", cache=home / "fonts-cache"))
    return home / "usr/lib/chromium/chromium", {
        "LD_LIBRARY_PATH": ":".join(map(str, sorted(places))),
        "FONTCONFIG_FILE": str(home / "fonts.conf"),
    }


@dataclass
class Page:
    """One page.

    Attributes:
        complaints: what the page wrote to its console as an error, and what it refused to load or run.
    """

    socket: aiohttp.ClientWebSocketResponse
    session: str
    complaints: list[str] = field(default_factory=list)
    _answers: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _number: int = 0

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        self._number += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        message = {"id": self._number, "method": method, "params": parameters}
        await self.socket.send_json({**message, "sessionId": self.session} if self.session else message)
        return await asyncio.wait_for(answer, PATIENCE)

    async def hear(self) -> None:
        """Take what the browser says, until it says nothing more."""
        async for message in self.socket:
            said = json.loads(message.data)
            answer = self._answers.pop(said.get("id", 0), None)
            if answer is not None:
                answer.set_result(said.get("result", {"error": said.get("error")}))
            elif said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.complaints.append(said["params"]["entry"]["text"])
            elif said.get("method") == "Runtime.exceptionThrown":
                details = said["params"]["exceptionDetails"]
                self.complaints.append(str(details.get("exception", details).get("description", details)))
            elif said.get("method") == "Page.javascriptDialogOpening":
                self.complaints.append("a dialog of a script: " + said["params"]["message"])

    async def run(self, expression: str) -> Any:
        """Return the value of an expression in the page, awaited where it is a promise."""
        found = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait for an expression to be true."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not await self.run(f"Boolean({expression})"):
            assert asyncio.get_running_loop().time() < deadline, f"never true: {expression}; {self.complaints}"
            await asyncio.sleep(0.02)

    async def press(self, key: str) -> None:
        """Press a key and let it go."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, **({"text": text} if kind == "keyDown" else {})
            )

    async def type(self, text: str) -> None:
        """Write a text where the focus is."""
        await self.call("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        """Click the element that a selector finds."""
        await self.run(f"document.querySelector({json.dumps(selector)}).click()")

    async def fill(self, selector: str, text: str) -> None:
        """Write a text into a field, in the place of what is there."""
        await self.run(f"(e => {{ e.focus(); e.select(); }})(document.querySelector({json.dumps(selector)}))")
        await self.type(text)

    async def picture(self, path: Path) -> None:
        """Write what is seen to a file."""
        found = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(found["data"]))


class Browser:
    """One process with one page at a time."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = address
        self._hearing: list[asyncio.Task[None]] = []
        self._sockets: list[aiohttp.ClientWebSocketResponse] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, folder: Path) -> AsyncIterator[Browser]:
        """Run a browser with an empty profile until the block ends."""
        program, environment = chromium()
        process = await asyncio.create_subprocess_exec(
            program,
            *OPTIONS,
            f"--user-data-dir={folder / 'profile'}",
            "about:blank",
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        try:
            address = await asyncio.wait_for(_address_told(process.stderr), PATIENCE)
            draining = asyncio.create_task(process.stderr.read())
            async with aiohttp.ClientSession() as session:
                browser = cls(session, address)
                yield browser
                for socket in browser._sockets:
                    await socket.close()
                for task in browser._hearing:
                    task.cancel()
                await asyncio.gather(*browser._hearing, return_exceptions=True)
            draining.cancel()
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()

    async def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        """Open a page of a size; its complaints are heard from the beginning."""
        socket = await self._session.ws_connect(self._address, max_msg_size=1 << 26)
        self._sockets.append(socket)
        page = Page(socket, "")
        self._hearing.append(asyncio.create_task(page.hear()))
        target = (await page.call("Target.createTarget", url="about:blank"))["targetId"]
        attached = await page.call("Target.attachToTarget", targetId=target, flatten=True)
        page.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await page.call(f"{domain}.enable")
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await page.call("Emulation.setEmulatedMedia", features=[scheme])
        await page.call("Page.navigate", url=url)
        await page.until("document.readyState === 'complete'")
        return page


async def _address_told(stream: asyncio.StreamReader) -> str:
    while line := (await stream.readline()).decode():
        if found := re.search(r"DevTools listening on (ws://\S+)", line):
            return found.group(1)
    raise AssertionError("the browser ended before it listened")
