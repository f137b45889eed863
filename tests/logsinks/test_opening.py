"""Each target opens the place that it names, or is refused with a sentence before anything runs."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from spoa.exceptions import SettingsError
from spoa.logsinks.file import FileSink, head_path
from spoa.logsinks.journald import JournaldSink
from spoa.logsinks.opening import (
    SCHEMES,
    LogSettings,
    check_target,
    file_of,
    mask_of,
    open_sink,
    read_targets,
    try_sink,
)
from spoa.logsinks.stream import StreamSink
from spoa.logsinks.syslog import SyslogSink
from tests.decisions import row

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("-", StreamSink),
        ("/dev/null", StreamSink),
        ("syslog+unix:", SyslogSink),
        ("syslog+unix:///run/log.sock?facility=authpriv", SyslogSink),
        ("syslog+udp://127.0.0.1", SyslogSink),
        ("syslog+udp://[::1]:5514", SyslogSink),
        ("syslog+tcp://log.example:601/?facility=local7", SyslogSink),
        ("syslog+tls://log.example", SyslogSink),
        ("syslog+tls://log.example:6514/?facility=local7", SyslogSink),
        ("journald:", JournaldSink),
        ("journald:///run/other/socket", JournaldSink),
    ],
)
def test_a_target_opens_what_it_names(target: str, kind: type) -> None:
    assert check_target(target) == target
    sink = open_sink(LogSettings(target, is_chained=True))
    assert isinstance(sink, kind)
    sink.close()


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("a\0b", "name a file"),
        ("http://127.0.0.1", "the schemes are syslog"),
        ("syslog+tcp:", "name host and port"),
        ("syslog+udp://host:601/path", "name host and port"),
        ("syslog+udp://host:port", "invalid literal|Port"),
        ("syslog+unix://host/path", "three slashes"),
        ("syslog+unix:///dev/log?facility=mine", "an option is facility"),
        ("syslog+unix:///dev/log?color=red", "an option is facility"),
        ("syslog+unix:///dev/log?facility", "bad query|query"),
        ("journald://host", "three slashes"),
        ("syslog+tcp://log.example?ca=/ca.pem", "an option is facility"),
        ("syslog+tls://log.example?color=red", "the others are ca and cert"),
        ("syslog+tls:", "name host and port"),
    ],
)
def test_what_can_not_be_opened_is_refused(target: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_target(target)


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("", ()),
        ("/var/log/my decisions.jsonl", ("/var/log/my decisions.jsonl",)),
        ("/a.jsonl journald: syslog+udp://127.0.0.1\t-", ("/a.jsonl", "journald:", "syslog+udp://127.0.0.1", "-")),
        ("- /a.jsonl", ("-", "/a.jsonl")),
        ("first.jsonl\nsecond one.jsonl\n", ("first.jsonl", "second one.jsonl")),
        ("/a -b.jsonl", ("/a -b.jsonl",)),
    ],
)
def test_several_targets_stand_in_one_text(text: str, targets: tuple[str, ...]) -> None:
    assert read_targets(text) == targets


def test_a_target_is_named_once() -> None:
    with pytest.raises(ValueError, match=r"/a\.jsonl is named twice"):
        read_targets("/a.jsonl journald: /a.jsonl")


def test_a_file_is_what_has_no_scheme(tmp_path: Path) -> None:
    assert file_of("a:b") is not None
    assert [file_of(one) for one in ("", "-", *(f"{scheme}:" for scheme in SCHEMES))] == [None] * (len(SCHEMES) + 2)
    sink = open_sink(LogSettings(str(tmp_path / "log")))
    assert isinstance(sink, FileSink)
    sink.close()


def test_a_named_pipe_is_written_to_and_not_rotated(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    sink = open_sink(LogSettings(str(tmp_path / "pipe"), max_size=1))
    sink.write([row()])
    sink.write([row()])
    assert len(os.read(reading, 65536).splitlines()) == 2
    sink.close()
    os.close(reading)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_where_it_is_told_for_those_who_run_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert LogSettings("log").place == str(tmp_path / "log")
    assert [LogSettings(one).place for one in ("", "-", "journald:")] == [None, "-", "journald:"]


def test_what_can_not_be_used_is_said_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try_sink(LogSettings())
    (tmp_path / "short").write_text("short\n")
    for settings, says in (
        (LogSettings(str(tmp_path / "missing" / "log")), "missing/log can't be written: No such file"),
        (LogSettings("-", is_chained=True, key_file=str(tmp_path / "none")), "none can't be read: No such file"),
        (LogSettings("syslog+tls://log.example?ca=/none.pem"), "/none.pem can't be used as ca: No such file"),
        (LogSettings("-", masked=("src",), mask_key_file=str(tmp_path)), "can't be read: Is a directory"),
        (LogSettings("-", is_chained=True, key_file=str(tmp_path / "short")), "holds 5 bytes; a key has 16 or more"),
        (LogSettings("-", masked=("src",), mask_key_file=str(tmp_path / "short")), "holds 5 bytes"),
    ):
        with pytest.raises(SettingsError, match=says):
            try_sink(settings)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SettingsError, match="to rotate it the directory must be writable"):
        try_sink(LogSettings(str(tmp_path / "log"), max_age=1))


def test_keys_are_read_from_their_files_without_the_blanks_around_them(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef\n")
    settings = LogSettings(
        str(tmp_path / "log"),
        is_chained=True,
        key_file=str(tmp_path / "key"),
        masked=("src",),
        mask_key_file=str(tmp_path / "key"),
    )
    assert mask_of(settings).key == b"0123456789abcdef"
    sink = open_sink(settings)
    sink.write([row()])
    sink.close()
    assert json.loads((tmp_path / "log").read_text())["chain"]["alg"] == "hmac-sha256"


def test_the_head_of_a_file_s_chain_is_told(tmp_path: Path) -> None:
    settings = LogSettings(str(tmp_path / "log"), is_chained=True)
    assert settings.head() is None
    sink = open_sink(settings)
    assert settings.head() is None
    sink.write([row()])
    sink.close()
    head = settings.head()
    assert head is not None
    assert head.split(":")[1] == "1"
    assert LogSettings(str(tmp_path / "log")).head() is None
    assert LogSettings("-", is_chained=True).head() is None
    head_path(tmp_path / "log").write_text('{"version": 9}')
    assert settings.head() is None
