"""What a service manager and a service say to each other: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).

The one half is an environment that the service manager sets, the other are datagrams that the service sends; neither
the environment nor the socket is touched here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from spoa.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["VARIABLES", "WATCHDOG", "Activation", "ready", "reloading", "status", "stopping"]

#: What a service manager sets for the one process that it started, and for none of that process's children.
VARIABLES: Final = (
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)
#: Says that the service is well; to be sent more often than `Activation.watchdog` seconds.
WATCHDOG: Final = b"WATCHDOG=1"

_FIRST_DESCRIPTOR: Final = 3
_UNNAMED: Final = "unknown"  # what sd_listen_fds_with_names calls a socket without a name
_MICROSECONDS: Final = 1_000_000
_LONGEST_STATUS: Final = 1024  # characters; it is one line of `systemctl status`


@dataclass(frozen=True, slots=True)
class Activation:
    """What the service manager that started this process wants and gives; nothing at all where there is none.

    Attributes:
        notify: the address of the socket for messages, a path or `@` and an abstract name; empty where nobody listens.
        watchdog: seconds within which it wants to hear `WATCHDOG`; 0 where it doesn't.
        sockets: name → descriptors of listening sockets that are open in this process.
    """

    notify: str = ""
    watchdog: float = 0.0
    sockets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], pid: int) -> Self:
        """Read what the environment says to the process `pid`; what it says to another is not for us.

        Raises:
            SettingsError: a variable holds what no service manager writes.
        """
        return cls(environ.get("NOTIFY_SOCKET", ""), _watchdog(environ, pid), _sockets(environ, pid))


def _whole(environ: Mapping[str, str], name: str) -> int:
    text = environ[name]
    if not text.isascii() or not text.isdigit():
        raise SettingsError(name, f"write a whole number, not {text!r}")
    return int(text)


def _watchdog(environ: Mapping[str, str], pid: int) -> float:
    if not environ.get("WATCHDOG_USEC"):
        return 0.0
    if environ.get("WATCHDOG_PID") and _whole(environ, "WATCHDOG_PID") != pid:
        return 0.0
    return _whole(environ, "WATCHDOG_USEC") / _MICROSECONDS


def _sockets(environ: Mapping[str, str], pid: int) -> dict[str, tuple[int, ...]]:
    if not environ.get("LISTEN_FDS") or not environ.get("LISTEN_PID") or _whole(environ, "LISTEN_PID") != pid:
        return {}
    count = _whole(environ, "LISTEN_FDS")
    names = environ["LISTEN_FDNAMES"].split(":") if environ.get("LISTEN_FDNAMES") else [_UNNAMED] * count
    if len(names) != count:
        raise SettingsError("LISTEN_FDNAMES", f"names {len(names)} sockets, and LISTEN_FDS is {count}")
    found: dict[str, tuple[int, ...]] = {}
    for descriptor, name in enumerate(names, _FIRST_DESCRIPTOR):
        found[name] = (*found.get(name, ()), descriptor)
    return found


def ready(text: str) -> bytes:
    """Say that the service serves, for the first time or again after a reload; the text is its status."""
    return b"READY=1\n" + status(text)


def reloading(monotonic: float, text: str) -> bytes:
    """Say that a reload began at `monotonic`, seconds of CLOCK_MONOTONIC; `ready` says that it ended."""
    return b"RELOADING=1\nMONOTONIC_USEC=%d\n" % int(monotonic * _MICROSECONDS) + status(text)


def stopping(text: str) -> bytes:
    """Say that the service is about to end."""
    return b"STOPPING=1\n" + status(text)


def status(text: str) -> bytes:
    """Say in one line how the service is; line breaks become blanks, and 1,024 characters pass."""
    return b"STATUS=" + " ".join(text.split())[:_LONGEST_STATUS].encode("utf-8", "replace")
