"""A shell that does what the pages of the documentation show: `docs.pages` tells how blocks say what becomes of them.

An example that calls `curl`, `jq`, `node` or `openssl` is run where the machine has it: none of them is needed to use
or to test the agent. Ports are replaced by free ones of this machine, the same in all pages of a session.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from spoa.cli import verbs
from tests.haproxy import is_listening, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from docs.pages import Block, Page

__all__ = ["Shell", "commands_of", "wrong_in"]

#: Every port that a page may name.
PORTS: Final = ("8080", "8081", "8443", "8444", "8404", "8002", "8003", "8888", "9123", "9124", "9125", "9126")

_SECONDS: Final = 120
_COMMAND: Final = re.compile(r"(?<![\w/.@-])spoa-authz +((?:'[^']*'|\"[^\"]*\"|[^'\"\n|;&<>`()])+)")
#: What an example may call that a machine need not have; without it, the block and what it prints are left out.
_TOOLS: Final = re.compile(r"\b(curl|jq|node|openssl)\b")


def commands_of(page: Page) -> Iterator[list[str]]:
    """Yield the words behind each `spoa-authz` that a page shows, in blocks and in sentences."""
    code = [block.text.replace("\\\n", " ") for block in page.blocks]
    for found in _COMMAND.findall("\n".join([*code, *re.findall(r"`([^`\n]+)`", page.prose)])):
        yield shlex.split(found, comments=True)


def wrong_in(words: Sequence[str]) -> str:
    """Say which verb or option of a command isn't there; empty where all are."""
    command: click.Command = verbs
    for number, word in enumerate(words):
        if isinstance(command, click.Group) and not word.startswith("-"):
            below = command.get_command(click.Context(command), word)
            # Where a page speaks of any verb, it writes it in capitals.
            if below is None:
                return "" if number == 0 and not word[:1].islower() else f"no verb {word}"
            command = below
        elif word.startswith("-") and word != "-" and word.partition("=")[0] not in _options_of(command):
            return f"no option {word}"
    return ""


def _options_of(command: click.Command) -> set[str]:
    context = click.Context(command, help_option_names=["-h", "--help"])
    return {
        option for parameter in command.get_params(context) for option in (*parameter.opts, *parameter.secondary_opts)
    }


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
        # What a page shows is who gets in, not how soon on a machine that runs other tests beside.
        environment["AUTHZ_TIMEOUT_PROCESSING"] = "2s"
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

        wait_until(came, 90, f"{block}: {until}", lambda: _logs(path if file else path / "x"))

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
