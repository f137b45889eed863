"""The documentation as tests see it: pages with their links, headings and code, and a shell that runs what they show.

The words after a code block's language say what becomes of it:

    ```sh run                   run in the shell; ends with status 0
    ```sh run status=1          ends with that one
    ```sh run until=FILE:TEXT   then wait until a file holds a text, or `:PORT` is listened on
    ```text output              lines that the last run printed, in order; `…` stands for anything
    ```LANGUAGE file=PATH       write the block into a file
    ```yaml WORD                YAML of another kind than policies, lists and tests

An example that calls `curl`, `jq`, `node` or `openssl` is run where the machine has it: none of them is needed to use
or to test the agent. Ports are replaced by free ones of this machine, the same in all pages of a session.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from docs.generate import PAGES, slug
from tests.haproxy import is_listening, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ROOT", "Block", "Page", "Shell", "pages"]

ROOT: Final = PAGES.parent
#: Every port that a page may name.
PORTS: Final = ("8080", "8081", "8443", "8444", "8404", "8002", "8003", "8888", "9123", "9124", "9125", "9126")

_FENCE: Final = re.compile(r"^```(\w*)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
_SECONDS: Final = 120
#: What an example may call that a machine need not have; without it, the block and what it prints are left out.
_TOOLS: Final = re.compile(r"\b(curl|jq|node|openssl)\b")


@dataclass(frozen=True)
class Block:
    """A code block: its language, the words behind that, its text, and the line on which it begins."""

    page: str
    line: int
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
        return str(self.path.relative_to(ROOT))

    @property
    def prose(self) -> str:
        """The text without its code blocks."""
        return _FENCE.sub("", self.text)

    @property
    def blocks(self) -> list[Block]:
        """The code blocks, in order."""
        return [
            Block(self.name, self.text.count("\n", 0, found.start()) + 1, found[1], tuple(found[2].split()), found[3])
            for found in _FENCE.finditer(self.text)
        ]

    @property
    def anchors(self) -> set[str]:
        """What a link may name behind `#`."""
        return {slug(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)) for heading in _HEADING.findall(self.prose)}

    @property
    def links(self) -> list[str]:
        """The targets of all links."""
        return _LINK.findall(self.prose)


def pages() -> dict[str, Page]:
    """Return every page of the documentation by its name."""
    files = [*PAGES.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "haproxy" / "README.md"]
    found = [Page(path, path.read_text(encoding="utf-8")) for path in sorted(files)]
    return {page.name: page for page in found}


def _free_ports(count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [str(probe.getsockname()[1]) for probe in probes]


@dataclass
class Shell:
    """A bash that lives as long as the session, so that directories, variables and jobs last from block to block."""

    process: subprocess.Popen[bytes]
    folder: Path
    ports: Mapping[str, str]
    output: str = ""
    _count: int = field(default=0, repr=False)

    @classmethod
    @contextlib.contextmanager
    def started(cls, folder: Path, path: str) -> Iterator[Shell]:
        """Start a shell whose home is `folder` and whose PATH begins with `path`; all that it started ends with it."""
        environment = {name: text for name, text in os.environ.items() if not name.startswith("SPOA_AUTHZ_")}
        environment |= {"HOME": str(folder), "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
        process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield cls(process, folder, dict(zip(PORTS, _free_ports(len(PORTS)), strict=True)))
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            # The agent drains; its end is that of the pipe, since it holds the other side.
            with contextlib.suppress(TimeoutError):
                _read_until(process.stdout.fileno(), b"", 15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()

    def play(self, page: Page) -> None:
        """Do what the blocks of a page say, one after the other.

        Raises:
            AssertionError: one came out otherwise than the page says.
        """
        is_run = True
        for block in page.blocks:
            if block.word("file"):
                self._write(block)
            elif "run" in block.words:
                is_run = all(shutil.which(tool) for tool in _TOOLS.findall(block.text))
                if is_run:
                    self._run(block)
            elif "output" in block.words and is_run:
                self._compare(block)

    def ask(self, command: str) -> tuple[int, str]:
        """Run a command; return its exit status and all that it printed."""
        self._count += 1
        script = self.folder / f"block-{self._count}.sh"
        script.write_text(self._local(command))
        mark = f"--- {self._count} ended with "
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f". {script} < /dev/null; printf '\\n{mark}%d.\\n' $?\n".encode())
        self.process.stdin.flush()
        text = _read_until(self.process.stdout.fileno(), mark.encode() + b"%d", _SECONDS).decode()
        output, _, status = text.replace("\r\n", "\n").rpartition(mark)
        return int(status.rstrip(".\n")), output

    def _local(self, text: str) -> str:
        return re.sub(r"\b(" + "|".join(PORTS) + r")\b", lambda found: self.ports[found[1]], text)

    def _here(self) -> Path:
        return Path(self.ask("pwd")[1].strip())

    def _write(self, block: Block) -> None:
        path = self._here() / block.word("file")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._local(block.text))

    def _run(self, block: Block) -> None:
        status, self.output = self.ask(block.text)
        wanted = int(block.word("status") or 0)
        assert status == wanted, f"{block} ended with {status}, not {wanted}:\n{block.text}\n{self.output}"
        until = block.word("until")
        if not until:
            return
        file, _, text = until.partition(":")
        path = self._here() / file

        def came() -> bool:
            return is_listening(int(self.ports[text])) if not file else path.exists() and text in path.read_text()

        wait_until(came, 30, f"{block}: {until}", lambda: _logs(path if file else path / "x"))

    def _compare(self, block: Block) -> None:
        position = 0
        for line in self._local(block.text).splitlines():
            pattern = ".*".join(re.escape(part) for part in line.split("…"))
            found = re.compile(rf"^{pattern}$", re.MULTILINE).search(self.output, position)
            assert found, f"{block} says\n{line}\nbut what was printed is\n{self.output}"
            position = found.end()


def _logs(path: Path) -> str:
    return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in path.parent.glob("*.log"))


def _read_until(descriptor: int, mark: bytes, seconds: float) -> bytes:
    """Read up to a line that begins with `mark` and ends with a number, or to the end where there is no mark."""
    begin = time.monotonic()
    expression = re.compile(re.escape(mark.removesuffix(b"%d")) + rb"\d+\.\n")
    data = b""
    while not (mark and expression.search(data)):
        if not select.select([descriptor], [], [], max(0.0, begin + seconds - time.monotonic()))[0]:
            raise TimeoutError(data.decode(errors="replace"))
        piece = os.read(descriptor, 65536)
        if not piece:
            assert not mark, data.decode(errors="replace")
            break
        data += piece
    return data
