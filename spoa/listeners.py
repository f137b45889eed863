"""Listening sockets: bound once by the supervisor, shared by all workers."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spoa.addresses import Address
from spoa.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BACKLOG", "address_of", "bind", "bind_all", "close_all", "remove_file"]

#: Connections that the system holds for us; HAProxy re-opens all of its own at once when it is reloaded.
BACKLOG: Final = 4096

_SOCKET_MODE: Final = 0o660
_PATIENCE: Final = 3.0  # seconds that the workers of an agent that was killed may still hold an address


def bind(address: Address, option: str, patience: float | None = None) -> socket.socket:
    """Bind an address; connections are refused until the caller listens.

    A unix socket gets mode 0660; one that nobody listens on any more is replaced.

    Raises:
        SettingsError: the address can't be used, with the name of the option that gave it.
    """
    deadline = time.monotonic() + (_PATIENCE if patience is None else patience)
    while True:
        try:
            return _bind_unix(Path(address.path), option) if address.path else _bind_tcp(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise SettingsError(option, f"{address} can't be used: {error.strerror or error}") from error
            time.sleep(0.05)


def bind_all(addresses: Iterable[Address]) -> list[socket.socket]:
    """Bind every address, or none.

    Raises:
        SettingsError: one can't be used.
    """
    bound: list[socket.socket] = []
    try:
        bound.extend(bind(address, "listen") for address in addresses)
    except SettingsError:
        close_all(bound)
        raise
    return bound


def close_all(listeners: Iterable[socket.socket]) -> None:
    """Close listening sockets, and remove those of them that have a file."""
    for listener in listeners:
        address = address_of(listener)
        listener.close()
        remove_file(address)


def remove_file(address: Address | None) -> None:
    """Remove the file of a unix socket, if the address is one."""
    if address is not None and address.path:
        with contextlib.suppress(OSError):
            Path(address.path).unlink()


def address_of(listener: socket.socket) -> Address | None:
    """Say where a socket is bound, None when it is closed: the port that the system chose where 0 was asked for."""
    try:
        name = listener.getsockname()
    except OSError:
        return None
    return Address("", 0, name) if isinstance(name, str) else Address(name[0], name[1])


def _bind_tcp(address: Address) -> socket.socket:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, name = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.settimeout(0)
        listener.bind(name)
    except OSError:
        listener.close()
        raise
    return listener


def _bind_unix(path: Path, option: str) -> socket.socket:
    _remove_stale(path, option)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.settimeout(0)
        previous = os.umask(0o777 & ~_SOCKET_MODE)
        try:
            listener.bind(str(path))
        finally:
            os.umask(previous)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path, option: str) -> None:
    """Remove a socket that an agent left behind when it was killed; never one that answers, never another file."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SettingsError(option, f"{path} is there and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, "somebody listens there")
