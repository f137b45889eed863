"""The YAML language server that VS Code and other editors run, started for tests and spoken to as an editor does."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from tests.npm_packages import node, npm_package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LanguageServer", "language_server"]

VERSION: Final = "1.25.0"
SECONDS_TO_ANSWER: Final = 60


class LanguageServer:
    """A running server, and the little of LSP that a test needs.

    Attributes:
        diagnostics: document → what was last said about it.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._number = 0
        self.diagnostics: dict[str, list[dict[str, Any]]] = {}

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        """Return the next message, after what it asks for is answered."""
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        message: dict[str, Any] = json.loads(self._process.stdout.read(length))
        if message.get("method") == "textDocument/publishDiagnostics":
            self.diagnostics[message["params"]["uri"]] = message["params"]["diagnostics"]
        elif "method" in message and "id" in message:
            items = message.get("params", {}).get("items") if message["method"] == "workspace/configuration" else None
            result = [self._settings(item.get("section")) for item in items] if items is not None else None
            self._send({"id": message["id"], "result": result})
        return message

    def _settings(self, section: str | None) -> dict[str, Any]:
        own = {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}
        return own if section == "yaml" else {}

    def ask(self, method: str, **params: Any) -> Any:
        """Return the result of a request."""
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == self._number and "method" not in message:
                assert "error" not in message, message
                return message.get("result")

    def tell(self, method: str, **params: Any) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def open(self, uri: str, text: str) -> list[dict[str, Any]]:
        """Open a document, and return what is said about it."""
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.tell("textDocument/didOpen", textDocument=document)
        while uri not in self.diagnostics:
            self._receive()
        return self.diagnostics[uri]

    def at(self, method: str, uri: str, line: int, character: int) -> Any:
        """Ask about a place, counted from 0."""
        place = {"line": line, "character": character}
        return self.ask(f"textDocument/{method}", textDocument={"uri": uri}, position=place)


@contextmanager
def language_server(workspace: Path) -> Iterator[LanguageServer]:
    """Run the server on a folder."""
    program = npm_package("yaml-language-server", VERSION) / "bin" / "yaml-language-server"
    command = [node()[0], str(program), "--stdio"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=workspace)
    try:
        server = LanguageServer(process)
        server.ask(
            "initialize",
            processId=os.getpid(),
            rootUri=workspace.as_uri(),
            workspaceFolders=[{"uri": workspace.as_uri(), "name": "policies"}],
            capabilities={
                "textDocument": {
                    "hover": {"contentFormat": ["markdown"]},
                    "completion": {"completionItem": {"documentationFormat": ["markdown"]}},
                    "publishDiagnostics": {},
                },
                "workspace": {"configuration": True},
            },
        )
        server.tell("initialized")
        yield server
        server.ask("shutdown")
        server.tell("exit")
        process.wait(SECONDS_TO_ANSWER)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
