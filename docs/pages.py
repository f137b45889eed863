"""The documentation as data: pages with their links, headings and code, read as CommonMark.

The words after a code block's language say what becomes of it; `tests/documents.py` does what they say:

    ```sh run                   run in the shell; ends with status 0
    ```sh run status=1          ends with that one
    ```sh run until=FILE:TEXT   then wait until a file holds a text, or `:PORT` is listened on
    ```text output              lines that the last run printed, in order; `…` stands for anything
    ```LANGUAGE file=PATH       write the block into a file
    ```yaml WORD                YAML of another kind than policies, lists and tests
    ```LANGUAGE not-run=REASON  not run by the tests, for a reason of `REASONS`, which the reference shows
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from markdown_it.token import Token

__all__ = ["ELSEWHERE", "PAGES", "REASONS", "ROOT", "Block", "Page", "Reason", "pages", "slug"]

PAGES: Final = Path(__file__).parent
ROOT: Final = PAGES.parent
#: Pages that lie outside `docs`.
ELSEWHERE: Final = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "haproxy/README.md")


@dataclass(frozen=True)
class Reason:
    """Why a block isn't run by the tests, and what of it is tested beside its syntax, verbs, options and files."""

    why: str
    instead: str


REASONS: Final[Mapping[str, Reason]] = {
    "make": Reason(
        "It installs into the clone that the tests run from, runs them, or runs for long.",
        "`make help` names each target. `make demo`, `make test` and `make site` are run before a change lands.",
    ),
    "bench": Reason(
        "It measures, which takes a quiet machine and half an hour.",
        "The programs are there; their own tests run small parts of them.",
    ),
    "root": Reason(
        "It installs into the system, as root, what `make packages` has built.",
        "`make check-packages` does the same on a clean Debian that boots.",
    ),
    "registry": Reason(
        "It installs what a registry has.",
        "`make check-packages` does the same with the wheel that `make packages` has built. The extras exist.",
    ),
    "engine": Reason(
        "It needs a container engine, and images of others.",
        "`make check-packages` starts what is inside the image. Each variable that is set is one that the file reads.",
    ),
    "cluster": Reason(
        "It needs a cluster.",
        "`helm` renders the chart with the values of the page, and Kubernetes' own schemas take what it renders.",
    ),
    "journal": Reason(
        "It needs systemd's journal.",
        "The id and the fields are those that the agent sends.",
    ),
    "go": Reason(
        "It needs Go.",
        "The files that it names are those of the tutorial. Nothing compiles it.",
    ),
}


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    text = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return text.replace(" ", "-")


@dataclass(frozen=True)
class Block:
    """A code block: its words and text, the line on which it begins, and the heading that it stands below."""

    page: str
    line: int
    heading: str
    language: str
    words: tuple[str, ...]
    text: str

    def word(self, name: str) -> str:
        """Return what stands behind `name=`; empty where it doesn't."""
        return next((word.partition("=")[2] for word in self.words if word.startswith(f"{name}=")), "")

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Page:
    """One page."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """The path below the root of the project."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def _tokens(self) -> list[Token]:
        return MarkdownIt("commonmark").enable("table").parse(self.text)

    @cached_property
    def prose(self) -> str:
        """The text without its code blocks."""
        lines = self.text.splitlines(keepends=True)
        for token in self._tokens:
            if token.type in {"fence", "code_block"} and token.map is not None:
                lines[slice(*token.map)] = [""] * (token.map[1] - token.map[0])
        return "".join(lines)

    @cached_property
    def blocks(self) -> list[Block]:
        """The code blocks, in order."""
        return list(self._blocks())

    def _blocks(self) -> Iterator[Block]:
        heading = ""
        for before, token in zip([None, *self._tokens], self._tokens, strict=False):
            if token.type == "inline" and before is not None and before.type == "heading_open":
                heading = _plain(token)
            elif token.type in {"fence", "code_block"}:
                assert token.map is not None
                language, *words = token.info.split() or [""]
                yield Block(self.name, token.map[0] + 1, heading, language, tuple(words), token.content)

    @cached_property
    def anchors(self) -> set[str]:
        """What a link may name behind `#`."""
        pairs = zip(self._tokens, self._tokens[1:], strict=False)
        return {slug(_plain(inline)) for opening, inline in pairs if opening.type == "heading_open"}

    @cached_property
    def links(self) -> list[str]:
        """The targets of all links, as they are written."""
        return [
            str(child.attrs["href"])
            for token in self._tokens
            for child in token.children or ()
            if child.type == "link_open"
        ]


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())


def pages() -> dict[str, Page]:
    """Return every page of the documentation by its name."""
    files = [*PAGES.rglob("*.md"), *(ROOT / name for name in ELSEWHERE)]
    found = [Page(path, path.read_text(encoding="utf-8")) for path in sorted(files)]
    return {page.name: page for page in found}
