"""The agent's own log: two forms, one threshold."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING

import structlog

from spoa import diagnostics

if TYPE_CHECKING:
    from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_json_lines_hold_event_level_time_and_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    diagnostics.configure("json", "info")
    log = structlog.get_logger()
    log.debug("unseen")
    try:
        int("why")
    except ValueError:
        log.exception("seen", path="/a\nb")
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["path"]) == ("seen", "error", "/a\nb")
    assert "ValueError: invalid literal" in entry["exception"]
    assert entry["timestamp"].endswith("Z")


def test_text_lines_are_plain_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    diagnostics.configure("text", "warning")
    log = structlog.get_logger()
    log.info("unseen")
    log.warning("seen", number=1)
    error = capsys.readouterr().err
    assert "seen" in error
    assert "number=1" in error
    assert "unseen" not in error
    assert "\x1b" not in error


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_shows_code_and_no_values(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    def judge(header: str) -> None:
        raise RuntimeError(str(len(header)))

    diagnostics.configure(log_format, "info")
    try:
        judge("Bearer " + "s3cret")
    except RuntimeError:
        structlog.get_logger().exception("seen")
    error = capsys.readouterr().err
    assert "RuntimeError: 13" in error
    assert "in judge" in error
    assert "Bearer s3cret" not in error


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_full_disk_does_not_stop_whoever_logs(monkeypatch: pytest.MonkeyPatch, log_format: str) -> None:
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", buffering=1)
    monkeypatch.setattr(sys, "stderr", full)
    diagnostics.configure(log_format, "info")
    for _ in range(300):
        structlog.get_logger().warning("lost" * 100)
    with contextlib.suppress(OSError):
        full.close()
