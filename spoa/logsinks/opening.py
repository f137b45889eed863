"""From what the settings say of the decision log to the place that takes its lines. `SCHEMES` is the table."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlsplit

from spoa.exceptions import SettingsError, StateError
from spoa.logchain import Chain
from spoa.logsinks.file import FileSink, Rotation, kept_head
from spoa.logsinks.journald import JOURNAL, JournaldSink
from spoa.logsinks.stream import STANDARD_OUTPUT, StreamSink
from spoa.logsinks.syslog import FACILITIES, Place, SyslogSink, try_tls
from spoa.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from spoa.logsinks.sink import Sink
    from spoa.logsinks.syslog import Transport

__all__ = ["SCHEMES", "LogSettings", "check_target", "file_of", "mask_of", "open_sink", "read_targets", "try_sink"]

_MIN_KEY: Final = 16
_DEFAULT_PORTS: Final = {"udp": 514, "tcp": 601, "tls": 6514}
_UNIX: Final = "/dev/log"
_TLS: Final = "syslog+tls"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What the settings say of the decision log.

    Attributes:
        target: a file, `-`, or a URL with a scheme of `SCHEMES`; empty for nowhere.
        max_size: bytes after which a file is rotated; 0 for never.
        max_age: seconds after which it is; 0 for never.
        keep: how many rotated files are left.
        is_chained: lines are links of a hash chain.
        key_file: holds the key of the chain; empty for none.
        masked: what is masked.
        mask_key_file: holds the key of pseudonyms; empty for none.
    """

    target: str = ""
    max_size: int = 0
    max_age: float = 0
    keep: int = 10
    is_chained: bool = False
    key_file: str = ""
    masked: tuple[str, ...] = ()
    mask_key_file: str = ""

    @property
    def place(self) -> str | None:
        """Where decisions are, for those who run elsewhere: None nowhere, a file by its whole path."""
        path = file_of(self.target)
        return str(path.absolute()) if path is not None else self.target or None

    def head(self) -> str | None:
        """Return the last line of a file's chain, to be noted elsewhere; None without one."""
        path = file_of(self.target) if self.is_chained else None
        try:
            head = None if path is None else kept_head(path)
        except (OSError, StateError):
            return None
        return None if head is None else str(head)


def _open_syslog(transport: Transport) -> Callable[[SplitResult, Chain | None], Sink]:
    return lambda url, chain: SyslogSink(_place_of(transport, url), chain)


def _place_of(transport: Transport, url: SplitResult) -> Place:
    options = dict(parse_qsl(url.query, strict_parsing=bool(url.query)))
    facility = options.pop("facility", "local0")
    files = {name: options.pop(name, "") for name in ("ca", "cert") if transport == "tls"}
    if options or facility not in FACILITIES:
        others = "; the others are ca and cert" if files else ""
        raise ValueError(f"an option is facility, one of {', '.join(FACILITIES)}{others}")
    if transport == "unix":
        if url.netloc:
            raise ValueError("write the path of the socket behind three slashes, as in syslog+unix:///dev/log")
        return Place(transport, path=url.path or _UNIX, facility=facility)
    if not url.hostname or url.path not in {"", "/"}:
        raise ValueError(f"name host and port, as in syslog+{transport}://127.0.0.1:{_DEFAULT_PORTS[transport]}")
    port = url.port or _DEFAULT_PORTS[transport]
    return Place(transport, host=url.hostname, port=port, facility=facility, **files)


def _open_journald(url: SplitResult, chain: Chain | None) -> Sink:
    if url.netloc or url.query:
        raise ValueError("write journald:, or the path of its socket behind three slashes")
    return JournaldSink(url.path or JOURNAL, chain)


#: Scheme of a target → what opens it; what has none of these is a file, or `-`.
SCHEMES: Final[Mapping[str, Callable[[SplitResult, Chain | None], Sink]]] = {
    "syslog+unix": _open_syslog("unix"),
    "syslog+udp": _open_syslog("udp"),
    "syslog+tcp": _open_syslog("tcp"),
    "syslog+tls": _open_syslog("tls"),
    "journald": _open_journald,
}


#: What parts two targets in one text: a file may have blanks in its name.
_BETWEEN: Final = re.compile(rf"\s*\n\s*|\s+(?=/|-(?:\s|$)|(?:{'|'.join(map(re.escape, SCHEMES))}):)")


def check_target(target: str) -> str:
    """Return a target, which can be opened as far as can be told without doing so.

    Raises:
        ValueError: it can't, in a sentence.
    """
    if "\0" in target:
        raise ValueError("name a file, - for the standard output, or a URL")
    scheme = _scheme_of(target)
    if scheme:
        SCHEMES[scheme](urlsplit(target), None).close()
    elif "://" in target:
        raise ValueError(f"the schemes are {', '.join(SCHEMES)}; a file is named by its path")
    return target


def read_targets(text: str) -> tuple[str, ...]:
    """Read targets: one a line, or parted by blanks where the next begins as a path from the root, a URL or - does.

    Raises:
        ValueError: one can't be used, or stands there twice; in a sentence.
    """
    targets = tuple(check_target(part) for part in _BETWEEN.split(text.strip()) if part)
    twice = [target for target in targets if targets.count(target) > 1]
    if twice:
        raise ValueError(f"{twice[0]} is named twice")
    return targets


def file_of(target: str) -> Path | None:
    """Return the file that a target names; None where it is something else."""
    return None if target in {"", "-"} or _scheme_of(target) else Path(target)


def _scheme_of(target: str) -> str:
    scheme, colon, _ = target.partition(":")
    return scheme if colon and scheme in SCHEMES else ""


def open_sink(settings: LogSettings) -> Sink:
    """Open the place for decisions.

    Raises:
        OSError: the file can't be opened.
        ValueError: a key or target can't be read or used, in a sentence.
        StateError: a newer agent wrote the chain.
    """
    chain = Chain(_key(settings.key_file)) if settings.is_chained else None
    scheme = _scheme_of(settings.target)
    if scheme:
        return SCHEMES[scheme](urlsplit(settings.target), chain)
    if settings.target == "-":
        return StreamSink(STANDARD_OUTPUT, chain)
    path = Path(settings.target)
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        return StreamSink(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), chain, is_owner=True)
    rotation = Rotation(settings.max_size, settings.max_age, settings.keep)
    if rotation.is_on and not os.access(path.absolute().parent, os.W_OK):
        raise PermissionError(13, "Permission denied: to rotate it the directory must be writable")
    return FileSink(path, rotation, chain)


def try_sink(settings: LogSettings) -> None:
    """Open the place for decisions once, so that a wrong path or key fails at the start rather than in every worker.

    Raises:
        SettingsError: it can't be used.
        StateError: a newer agent wrote the chain.
    """
    if not settings.target:
        return
    try:
        open_sink(settings).close()
        if _scheme_of(settings.target) == _TLS:
            try_tls(_place_of("tls", urlsplit(settings.target)))
        mask_of(settings)
    except OSError as error:
        detail = f"{error.filename or settings.target} can't be written: {error.strerror}"
        raise SettingsError("decision-log", detail) from error
    except ValueError as error:
        raise SettingsError("decision-log", str(error)) from error


def mask_of(settings: LogSettings) -> Mask:
    """Return what is masked.

    Raises:
        ValueError: the key can't be read or used, in a sentence.
    """
    return Mask(settings.masked, _key(settings.mask_key_file))


def _key(file: str) -> bytes:
    """Return the key in a file, without blanks around it; empty without a file.

    Raises:
        ValueError: it can't be read, or is too short.
    """
    if not file:
        return b""
    try:
        key = Path(file).read_bytes().strip()
    except OSError as error:
        raise ValueError(f"{file} can't be read: {error.strerror}") from error
    if len(key) < _MIN_KEY:
        raise ValueError(f"{file} holds {len(key)} bytes; a key has {_MIN_KEY} or more")
    return key
