"""Decision logs are read as they are, compressed, or from a pipe."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import click
import pytest

from spoa.cli.logs import lines_of

LINES = [b"one\n", b"two\n"]


def test_a_log_is_read_plain_or_compressed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"".join(LINES))
    (tmp_path / "packed").write_bytes(gzip.compress(b"".join(LINES)))
    assert list(lines_of(tmp_path / "plain")) == list(lines_of(tmp_path / "packed")) == LINES


def test_a_hyphen_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"".join(LINES))))
    assert list(lines_of(Path("-"))) == LINES


@pytest.mark.parametrize("content", [None, gzip.compress(b"".join(LINES))[:-9]])
def test_what_can_t_be_read_is_a_usage_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "log").write_bytes(content)
    with pytest.raises(click.BadParameter, match="can't be read"):
        list(lines_of(tmp_path / "log"))
