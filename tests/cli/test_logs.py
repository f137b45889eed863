"""Decision logs are read as they are, compressed, or from a pipe."""

from __future__ import annotations

import gzip
import http.server
import io
import json
import sys
import threading
from pathlib import Path

import click
import pytest

from spoa.cli.logs import Unread, decisions_of, lines_of, logs_of_agent

LINES = [b"one\n", b"two\n"]


def test_a_log_is_read_plain_or_compressed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"".join(LINES))
    (tmp_path / "packed").write_bytes(gzip.compress(b"".join(LINES)))
    assert list(lines_of(tmp_path / "plain")) == list(lines_of(tmp_path / "packed")) == LINES


def test_a_hyphen_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"".join(LINES))))
    assert list(lines_of(Path("-"))) == LINES


@pytest.mark.parametrize("content", [None, gzip.compress(b"".join(LINES), mtime=0)[:-9]])
def test_what_can_t_be_read_is_a_usage_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "log").write_bytes(content)
    with pytest.raises(click.BadParameter, match="can't be read"):
        list(lines_of(tmp_path / "log"))


DECISION = b'{"verdict": "deny"}\n'


def test_decisions_are_read_and_lines_that_are_none_counted_with_the_place_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DECISION * 2 + b"\n")
    (tmp_path / "b").write_bytes(b"\n{\n" + DECISION + b'7\n{"verdict": "allow"}\n')
    unread = Unread()
    found = list(decisions_of([tmp_path / "a", tmp_path / "b"], unread))
    assert [one["verdict"] for one in found] == ["deny", "deny", "deny", "allow"]
    assert unread == Unread(2, f"{tmp_path / 'b'}:2")


def test_of_decisions_only_those_that_hold_some_bytes_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'x\n{"verdict": "allow"}\ny\n' + DECISION + b'{"verdict": "deny"\n')
    unread = Unread()
    assert list(decisions_of([tmp_path / "a"], unread, holding=b"deny")) == [{"verdict": "deny"}]
    assert unread == Unread(2, f"{tmp_path / 'a'}:1")


def test_a_file_with_lines_but_no_decision_is_no_log_and_one_without_lines_is(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "allows").write_bytes(b'{"verdict": "allow"}\n')
    (tmp_path / "none").write_bytes(b"some text about deny\n")
    assert list(decisions_of([tmp_path / "empty", tmp_path / "allows"], Unread(), holding=b"deny")) == []
    with pytest.raises(click.BadParameter, match="none holds no decisions"):
        list(decisions_of([tmp_path / "allows", tmp_path / "none"], Unread()))


class Told(http.server.BaseHTTPRequestHandler):
    """Answers `/status` as an agent does that writes its decisions to a place."""

    place: str | None = None

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"decision_log": self.place}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("place", ["/var/log/decisions.jsonl", "-", "journald:", None])
def test_the_running_agent_tells_where_its_log_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str | None
) -> None:
    monkeypatch.setattr(Told, "place", place)
    monkeypatch.delenv("SPOA_AUTHZ_ADMIN", raising=False)
    with http.server.HTTPServer(("127.0.0.1", 0), Told) as server:
        (tmp_path / "admin").write_text(f"127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        if place is not None and place.startswith("/"):
            assert logs_of_agent(str(tmp_path)) == (Path(place),)
        else:
            with pytest.raises(click.UsageError, match="writes no decision log to a file"):
                logs_of_agent(str(tmp_path))
        thread.join(10)


def test_without_an_agent_a_log_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPOA_AUTHZ_ADMIN", raising=False)
    (tmp_path / "admin").write_text(f"unix:{tmp_path}/none.sock")
    with pytest.raises(click.UsageError, match="no agent answers"):
        logs_of_agent(str(tmp_path))
    (tmp_path / "admin").write_text("nowhere at all")
    with pytest.raises(click.UsageError, match="name the decision log"):
        logs_of_agent(str(tmp_path))


def test_files_that_the_agent_has_rotated_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "decisions.jsonl"
    older = [
        log.with_name(f"{log.name}.2026112{day}T000000Z{ending}") for day, ending in ((1, ".gz"), (0, ""), (2, ""))
    ]
    for path in (log, *older, log.with_name(f"{log.name}.chain")):
        path.touch()
    monkeypatch.setattr(Told, "place", str(log))
    monkeypatch.delenv("SPOA_AUTHZ_ADMIN", raising=False)
    with http.server.HTTPServer(("127.0.0.1", 0), Told) as server:
        (tmp_path / "admin").write_text(f"127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert logs_of_agent(str(tmp_path)) == (older[1], older[0], older[2], log)
        thread.join(10)
