"""What `make site` needs beside mkdocs.yml, so that pages stay as they are read in the repository.

MkDocs reads pages with another parser than a repository's host does. It is told to make the same anchors; the words
behind a fence, which say how an example is tested, are taken away, but for a file's name, which becomes a title; and
links to files outside `docs` lead to copies inside the site.
"""

from __future__ import annotations

import html
import posixpath
import re
from typing import TYPE_CHECKING, Any, Final

from mkdocs.structure.files import File

from docs.generate import PAGES, slug

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = ["on_config", "on_files", "on_page_markdown"]

_FENCE: Final = re.compile(r"^(?P<fence> *```)(?P<language>\w+)(?P<words>(?: [^\n`]*)?)$", re.MULTILINE)
_FILE: Final = re.compile(r"\bfile=(\S+)")
_LINK: Final = re.compile(r"\]\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
#: A bar in the code of a table's cell, which only the host's parser takes for a bar.
_BAR: Final = re.compile(r"`([^`\n]*\\\|[^`\n]*)`")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Have anchors made as the repository's host makes them."""
    toc: dict[str, Any] = config.mdx_configs.setdefault("toc", {})
    toc["slugify"] = lambda heading, _: slug(heading)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside `docs`, where `extra.elsewhere` of mkdocs.yml puts them."""
    for name, place in config.extra["elsewhere"].items():
        files.append(File.generated(config, place, abs_src_path=str(PAGES.parent / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Take out what only the tests read, and have links lead to where things are in the site."""
    places: dict[str, str] = config.extra["elsewhere"]
    place = page.file.src_uri
    name = next((name for name, other in places.items() if other == place), f"docs/{place}")

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), found["target"]))
        there = places.get(target, target.removeprefix("docs/"))
        return f"]({posixpath.relpath(there, posixpath.dirname(place) or '.')}{found['anchor'] or ''})"

    lines = (_BAR.sub(_bar, line) if line.startswith("|") else line for line in markdown.split("\n"))
    return _FENCE.sub(_fence, _LINK.sub(link, "\n".join(lines)))


def _bar(found: re.Match[str]) -> str:
    code = html.escape(found[1].replace("\\|", "|"), quote=False)
    return f"<code>{code.replace('|', '&#124;')}</code>"


def _fence(found: re.Match[str]) -> str:
    name = _FILE.search(found["words"])
    title = f' title="{name[1]}"' if name else ""
    return f"{found['fence']}{found['language']}{title}"
