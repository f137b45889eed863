"""Holds a built site to what the repository's pages say, and to its promise of loading nothing from elsewhere.

    python -m docs.sitecheck build/site

A page must have the same text, tables, lists and code as its Markdown has by the rules of CommonMark, which are those
of a repository's host; the search must know every page; and nothing may make a browser ask another server. Links and
anchors are MkDocs's own business: it was told that each which leads nowhere is an error.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml
from markdown_it import MarkdownIt

from docs.generate import PAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["SITE", "differences", "loads_from_elsewhere", "main", "sources", "unknown_to_the_search"]

ROOT: Final = PAGES.parent
SITE: Final = ROOT / "mkdocs.yml"
_COUNTED: Final = frozenset({"h1", "h2", "h3", "li", "ol", "p", "pre", "strong", "table", "td", "ul"})
#: Tag → the attribute whose address a browser loads without being asked.
_LOADED: Final = {
    "audio": "src", "embed": "src", "iframe": "src", "img": "src", "link": "href", "object": "data", "script": "src",
    "source": "src", "video": "src",
}  # fmt: skip
#: Kinds of `<link>` that load nothing.
_ONLY_SAID: Final = frozenset({"canonical", "next", "prev"})
_ADDRESS: Final = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)
_IN_STYLES: Final = re.compile(r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)


def sources() -> dict[str, Path]:
    """Return each page of the site, as MkDocs names its source → the Markdown that it is made of."""
    elsewhere = yaml.safe_load(SITE.read_text(encoding="utf-8"))["extra"]["elsewhere"]
    found = {page.relative_to(PAGES).as_posix(): page for page in sorted(PAGES.rglob("*.md"))}
    return found | {place: ROOT / name for name, place in elsewhere.items()}


class _Reader(HTMLParser):
    """What of a document is read: its text without white space, and how many there are of each kind of part."""

    def __init__(self, *, is_site: bool) -> None:
        super().__init__()
        self.text: list[str] = []
        self.parts: Counter[str] = Counter()
        self._is_inside = not is_site
        self._beside = ""  # the tag of something that the site adds

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        classes = dict(attributes).get("class") or ""
        if tag == "article":
            self._is_inside = True
        elif self._is_inside and re.search(r"\b(?:headerlink|filename)\b", classes):
            self._beside = tag
        elif self._is_inside and tag in _COUNTED:
            self.parts[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._is_inside = False
        elif tag == self._beside:
            self._beside = ""

    def handle_data(self, data: str) -> None:
        if self._is_inside and not self._beside:
            self.text.append("".join(data.split()))


def _read(text: str, *, is_site: bool) -> tuple[str, Counter[str]]:
    reader = _Reader(is_site=is_site)
    reader.feed(text)
    return "".join(reader.text), reader.parts


def differences(markdown: str, built: str) -> Iterator[str]:
    """Yield how a built page differs from its Markdown."""
    wanted, parts = _read(MarkdownIt("commonmark").enable("table").render(markdown), is_site=False)
    text, built_parts = _read(built, is_site=True)
    if text != wanted:
        at = next((at for at, (one, other) in enumerate(zip(wanted, text, strict=False)) if one != other), 0)
        begin = max(0, at - 40)
        yield f"says …{text[begin : at + 40]}… instead of …{wanted[begin : at + 40]}…"
    for part in sorted(_COUNTED):
        if parts[part] != built_parts[part]:
            yield f"has {built_parts[part]} <{part}> instead of {parts[part]}"


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        address = values.get(_LOADED.get(tag, "")) or ""
        if _ADDRESS.match(address) and not (tag == "link" and values.get("rel") in _ONLY_SAID):
            self.found.append(f"<{tag}> {address}")
        self.found += _IN_STYLES.findall(values.get("style") or "")


def loads_from_elsewhere(name: str, text: str) -> list[str]:
    """Return what a page or a style sheet makes a browser load from another server."""
    if name.endswith(".css"):
        return _IN_STYLES.findall(text)
    loads = _Loads()
    loads.feed(text)
    return loads.found + _IN_STYLES.findall("".join(re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL)))


def unknown_to_the_search(site: Path) -> set[str]:
    """Return the pages that the search of a site doesn't know."""
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    known = {entry["location"].partition("#")[0] for entry in index["docs"]}
    return {place for place in sources() if _built(place) not in known}


def _built(place: str) -> str:
    """Return where the page of a source is in the site."""
    return re.sub(r"(?:README|index)\.md$", "index.html", place).removesuffix(".md").removesuffix(".html") + ".html"


def main(arguments: Sequence[str] | None = None) -> int:
    """Say what is wrong with the site in a directory; 1 where anything is."""
    site = Path((sys.argv[1:] if arguments is None else arguments)[0])
    wrong = [f"{place}: the search doesn't know it" for place in sorted(unknown_to_the_search(site))]
    for place, source in sources().items():
        built = (site / _built(place)).read_text(encoding="utf-8")
        wrong += [f"{place}: {what}" for what in differences(source.read_text(encoding="utf-8"), built)]
    for file in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        found = loads_from_elsewhere(file.name, file.read_text(encoding="utf-8"))
        wrong += [f"{file.relative_to(site)}: loads {what}" for what in found]
    sys.stdout.write("".join(f"{line}\n" for line in wrong))
    if not wrong:
        sys.stdout.write(
            f"{site}: {len(sources())} pages as they are in the repository, nothing is loaded from elsewhere\n"
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
