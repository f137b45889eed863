"""The site that `make site` builds: every page has its place in it, and what is wrong with a built page is found."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from docs import sitecheck
from docs.pages import ELSEWHERE, ROOT, pages
from docs.sitecheck import SITE, differences, loads_from_elsewhere, main, sources
from spoa.monitoring import ALERTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG: Final[dict[str, Any]] = yaml.safe_load(SITE.read_text())
MARKDOWN: Final = "# Title\n\nSay `a | b`.\n\n* one\n* two\n\n| a | b |\n|---|---|\n| `c` | d |\n"
BUILT: Final = (
    '<nav>Menu</nav><article class="md-content"><h1>Title<a class="headerlink" href="#t">¶</a></h1>'
    "<p>Say <code>a | b</code>.</p><ul><li>one</li><li>two</li></ul>"
    "<table><tr><th>a</th><th>b</th></tr><tr><td>c</td><td>d</td></tr></table></article><footer>End</footer>"
)


def places(navigation: list[Any]) -> Iterator[str]:
    """Yield the pages that a navigation names."""
    for entry in navigation:
        for below in entry.values() if isinstance(entry, dict) else [entry]:
            yield from [below] if isinstance(below, str) else places(below)


def test_the_navigation_names_every_page_once() -> None:
    assert sorted(places(CONFIG["nav"])) == sorted(sources())


def test_the_site_has_every_page_but_those_that_speak_of_the_repository() -> None:
    named = {str(path.relative_to(ROOT)) for path in sources().values()}
    assert set(pages()) - named == {"README.md", "CONTRIBUTING.md"}
    assert set(CONFIG["extra"]["elsewhere"]) <= set(ELSEWHERE)


def test_every_alert_stands_in_the_navigation_under_its_name() -> None:
    text = SITE.read_text()
    for alert in ALERTS:
        assert f"- {alert.name}: how-to/runbooks/{alert.runbook}.md\n" in text


def test_the_site_is_built_strictly_and_loads_nothing_from_elsewhere() -> None:
    assert CONFIG["strict"] is True
    assert CONFIG["validation"]["links"] == dict.fromkeys(
        ("not_found", "anchors", "absolute_links", "unrecognized_links"), "warn"
    )
    assert CONFIG["theme"]["font"] is False
    assert "search" in CONFIG["plugins"]


def test_a_page_that_is_as_its_markdown_has_no_difference() -> None:
    assert list(differences(MARKDOWN, BUILT)) == []


@pytest.mark.parametrize(
    ("was", "becomes", "found"),
    [
        ("d</td>", "e</td>", "says"),
        ("a | b", r"a \| b", "says"),
        ("<li>one</li><li>two</li>", "<li>onetwo</li>", "1 <li> instead of 2"),
        ("<table>", "<div>", "0 <table> instead of 1"),
    ],
)
def test_a_page_that_is_not_as_its_markdown_is_found(was: str, becomes: str, found: str) -> None:
    assert any(found in said for said in differences(MARKDOWN, BUILT.replace(was, becomes)))


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.html", '<script src="https://cdn.example/x.js"></script>', ["<script> https://cdn.example/x.js"]),
        ("a.html", '<link rel="stylesheet" href="//fonts.example/f.css">', ["<link> //fonts.example/f.css"]),
        ("a.html", '<p style="background: url(http://cdn.example/a.png)">', ["http://cdn.example/a.png"]),
        ("a.html", "<style>@import 'https://cdn.example/b.css'</style>", ["https://cdn.example/b.css"]),
        ("a.css", "a{background:url('https://cdn.example/c.png')}", ["https://cdn.example/c.png"]),
        ("a.html", '<link rel="canonical" href="https://docs.example/"><script src="assets/x.js"></script>', []),
        ("a.html", '<a href="https://elsewhere.example/">only a link</a>', []),
        ("a.css", "a{background:url(data:image/svg+xml;charset=utf-8,x)}", []),
    ],
)
def test_what_a_browser_would_load_from_elsewhere_is_found(name: str, text: str, found: list[str]) -> None:
    assert loads_from_elsewhere(name, text) == found


def test_a_site_is_checked_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(MARKDOWN)
    monkeypatch.setattr(sitecheck, "sources", lambda: {"page.md": page, "folder/README.md": page})
    (tmp_path / "folder").mkdir()
    (tmp_path / "search").mkdir()
    index = {"docs": [{"location": "page.html"}, {"location": "folder/index.html#title"}]}
    (tmp_path / "search" / "search_index.json").write_text(json.dumps(index))
    for name in ("page.html", "folder/index.html"):
        (tmp_path / name).write_text(BUILT)
    assert main([str(tmp_path)]) == 0
    assert "2 pages as they are in the repository" in capsys.readouterr().out
    (tmp_path / "page.html").write_text(BUILT.replace("Title", '<img src="https://cdn.example/t.png">'))
    (tmp_path / "search" / "search_index.json").write_text(json.dumps({"docs": index["docs"][:1]}))
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "folder/README.md: the search doesn't know it" in said
    assert "page.md: says" in said
    assert "page.html: loads <img> https://cdn.example/t.png" in said
