"""The console answers its own page and nobody else's, and changes nothing without the token."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spoa.blocks import BlockList
from spoa.console.routes import HEADERS
from tests.console.serving import TOKEN, Client, serve

if TYPE_CHECKING:
    from collections.abc import Iterable

    import aiohttp

STATIC = Path(__file__).parents[2] / "spoa" / "console" / "static"
TARGET = f"sha256:{'ab' * 32}"


def line(number: int, **fields: object) -> str:
    return json.dumps({"id": f"id-{number}", "verdict": "deny", "reason": "no_rule_allows", **fields}) + "\n"


def test_the_page_and_its_files_are_served_with_a_strict_policy(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        page = await client.get("/console")
        named = re.findall(r'(?:src|href)="(/console/[\w.]+)"', page.text)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        for path in {"/console", *named, "/console/agent.js", "/console/shown.js", "/console/explanation.js"}:
            answer = await client.get(path)
            assert answer.status == 200, path
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert (await client.get("/console/routes.py")).status == 405  # the name of a change, which is no file
        assert (await client.get("/console/static/../routes.py")).status in {404, 405}

    serve(script, tmp_path)


def test_nothing_comes_from_elsewhere_and_no_script_makes_markup() -> None:
    """What a build step or a careless line would bring in: addresses, inline handlers and styles, `innerHTML`."""
    for path in STATIC.iterdir():
        text = path.read_text()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    page = (STATIC / "console.html").read_text()
    assert not re.search(r"\son\w+=|style=|<script>|<style", page)
    directives = dict(part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";"))
    assert directives["default-src"] == "'none'"
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


def test_every_file_of_the_page_is_served(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        for path in STATIC.iterdir():
            assert (await client.get(f"/console/{path.name}")).status == 200

    serve(script, tmp_path)


def test_an_explanation_is_asked_for_as_json(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        answer = await client.post("/console/explain", {"request": "GET /"})
        assert (answer.status, answer.body) == (200, {"verdict": "deny"})
        assert client.explained.asked == [{"request": "GET /"}]
        assert (await client.post("/console/explain", **{"Content-Type": "text/plain"})).status == 415
        assert (await client.post("/console/explain", b"{")).status == 400
        assert (await client.post("/console/explain", [])).status == 400
        assert len(client.explained.asked) == 1

    serve(script, tmp_path)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer s3cre"}, {"Authorization": "Basic s3cret"}])
def test_nothing_is_changed_without_the_token(headers: dict[str, str], tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        for change in ("block", "unblock", "open", "close", "anything"):
            answer = await client.post(f"/console/{change}", {"target": TARGET}, **headers)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert (await client.get("/console/right", **headers)).body["may_change"] is False
        assert not (tmp_path / "blocks.yaml").exists()
        assert (await client.get("/console/history")).body == {"entries": []}

    serve(script, tmp_path)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_gets_nothing_even_with_the_token(site: str, tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        headers = {**TOKEN, "Sec-Fetch-Site": site}
        for path in ("/console/decisions", "/console/history"):
            assert (await client.get(path, **headers)).status == 403
        for path in ("/console/explain", "/console/block"):
            assert (await client.post(path, {"target": TARGET}, **headers)).status == 403
        assert not (tmp_path / "blocks.yaml").exists()

    serve(script, tmp_path, log=tmp_path / "log")


def test_a_form_of_another_site_changes_nothing(tmp_path: Path) -> None:
    """A form can send no JSON; a browser that says nothing about sites is still no way in."""

    async def script(client: Client) -> None:
        for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
            answer = await client.post("/console/block", {"target": TARGET}, **{**TOKEN, "Content-Type": kind})
            assert answer.status == 415

    serve(script, tmp_path)


def test_a_change_is_made_and_told_of(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        answer = await client.post("/console/block", {"target": TARGET, "reason": "stolen"}, **TOKEN)
        assert (answer.status, answer.body) == (200, {"blocked": TARGET, "expires": None})
        assert [block.reason for block in BlockList.from_text((tmp_path / "blocks.yaml").read_bytes()).blocks] == [
            "stolen"
        ]
        (entry,) = (await client.get("/console/history")).body["entries"]
        assert (entry["what"], entry["by"], entry["blocked"]) == ("block", "console", TARGET)
        assert (await client.post("/console/nothing", {}, **TOKEN)).status == 404
        assert (await client.get("/console/right", **TOKEN)).body == {
            "may_change": True,
            "may_look": True,
            "has_decisions": False,
        }

    serve(script, tmp_path)


def test_a_change_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        answer = await client.post("/console/block", {"target": "nonsense"}, **TOKEN)
        assert answer.status == 422
        assert answer.body["error"]
        (tmp_path / "blocks.yaml").write_text("no block list\n")
        assert (await client.post("/console/block", {"target": TARGET}, **TOKEN)).status == 422
        assert (await client.get("/console/history")).body == {"entries": []}

    serve(script, tmp_path)


async def events(content: aiohttp.StreamReader, count: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    while len(found) < count:
        text = (await content.readline()).decode()
        found += [json.loads(text.removeprefix("data: "))] if text.startswith("data: ") else []
    return found


def ids(decisions: Iterable[object]) -> list[str]:
    return [str(one["id"]) for one in decisions]  # type: ignore[index] # a decision


def test_decisions_come_as_they_are_written_and_only_those_wanted(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    log.write_text(line(1) + line(2, verdict="allow"))

    async def script(client: Client) -> None:
        async with client.session.get(f"{client.base}/console/decisions?verdict=deny") as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            (first,) = await events(response.content, 1)
            assert ids(first["decisions"]) == ["id-1"]  # type: ignore[arg-type]
            with log.open("a") as file:
                file.write(line(3, verdict="allow") + line(4))
            (second,) = await events(response.content, 1)
            assert ids(second["decisions"]) == ["id-4"]  # type: ignore[arg-type]

    serve(script, tmp_path, log=log)


def test_without_a_file_there_is_nothing_to_stream(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        assert (await client.get("/console/decisions")).status == 404

    serve(script, tmp_path)


def test_streams_are_bounded_and_end_with_the_agent(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    log.write_text("")

    async def script(client: Client) -> None:
        async with contextlib.AsyncExitStack() as stack:

            async def stream() -> aiohttp.ClientResponse:
                return await stack.enter_async_context(client.session.get(f"{client.base}/console/decisions"))

            opened = [await stream() for _ in range(8)]
            assert (await stream()).status == 429
            opened[0].close()
            while (await stream()).status == 429:
                pass  # each try lets the server run

    serve(script, tmp_path, log=log)


def test_where_others_reach_the_address_looking_wants_the_token(tmp_path: Path) -> None:
    log = tmp_path / "decisions.jsonl"
    log.write_text(line(1))

    async def script(client: Client) -> None:
        assert (await client.get("/console")).status == 200
        assert (await client.get("/console/right")).body["may_look"] is False
        for path in ("/console/decisions", "/console/history"):
            assert (await client.get(path)).status == 401
        assert (await client.post("/console/explain")).status == 401
        assert (await client.get("/console/history", **TOKEN)).status == 200
        assert (await client.post("/console/explain", **TOKEN)).status == 200

    serve(script, tmp_path, log=log, needs_token=True)


def test_a_page_that_was_closed_leaves_its_stream_to_the_next_one(tmp_path: Path) -> None:
    """An operator who reloads the page again and again is never told that there are too many of him."""
    log = tmp_path / "log"
    log.write_text("")  # nothing to tell, so that no writing finds out that nobody listens

    async def script(client: Client) -> None:
        for _ in range(12):
            async with client.session.get(f"{client.base}/console/decisions") as response:
                assert response.status == 200
            # Leaving the block closes the connection, since the stream has no end.

    serve(script, tmp_path, log=log)


def test_a_silent_stream_is_kept_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.console.routes._SILENCE", 0.5)
    log = tmp_path / "decisions.jsonl"
    log.write_text("")

    async def script(client: Client) -> None:
        async with client.session.get(f"{client.base}/console/decisions") as response:
            assert await response.content.readline() == b": still here\n"

    serve(script, tmp_path, log=log)
