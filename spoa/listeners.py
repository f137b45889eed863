"""Listening sockets: bound once by the supervisor, or passed to it by the service manager; shared by all workers."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spoa.addresses import Address
from spoa.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["BACKLOG", "Access", "address_of", "bind", "close_all", "obtain", "removable_address_of", "remove_file"]

#: Connections that the system holds for us; HAProxy re-opens all of its own at once when it is reloaded.
BACKLOG: Final = 4096

_PATIENCE: Final = 3.0  # seconds that the workers of an agent that was killed may still hold an address


@dataclass(frozen=True, slots=True)
class Access:
    """Who may connect to a unix socket: its mode, and the user and group that own it, by name or number.

    Without a user or group it is the agent's own.
    """

    mode: int = 0o660
    user: str = ""
    group: str = ""


_OURS: Final = Access()


def bind(address: Address, option: str, patience: float | None = None, access: Access = _OURS) -> socket.socket:
    """Bind an address; connections are refused until the caller listens.

    The file of a unix socket has the mode and owners of *access*; one that nobody listens on any more is replaced.

    Raises:
        SettingsError: the address can't be used, with the name of the option that gave it; or the file can't be given
            to whom it shall belong.
    """
    deadline = time.monotonic() + (_PATIENCE if patience is None else patience)
    while True:
        try:
            return _bind_unix(Path(address.path), option, access) if address.path else _bind_tcp(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise SettingsError(option, f"{address} can't be used: {error.strerror or error}") from error
            time.sleep(0.05)


def obtain(
    listen: Iterable[Address],
    admin: Address | None,
    passed: Mapping[str, tuple[int, ...]],
    *,
    is_admin_remote: bool = False,
    access: Access = _OURS,
) -> tuple[list[socket.socket], socket.socket | None]:
    """Bind every address or take it over, or none.

    Args:
        listen: where HAProxy connects.
        admin: the admin address, if there is one.
        passed: name → descriptors of the sockets that the service manager passes.
        is_admin_remote: whether the admin address may be one that other machines reach.
        access: who may connect to the unix sockets among *listen* that are bound here.

    Returns:
        The sockets for HAProxy, several where several are passed under one name; and the admin address's.

    Raises:
        SettingsError: an address can't be used, is not passed, or a socket is passed that no address names.
    """
    left = dict(passed)
    listeners: list[socket.socket] = []
    try:
        for address in listen:
            listeners += _obtained(address, left, "listen", access)
        admins = _obtained(admin, left, "admin") if admin is not None else []
        listeners += admins
        _check_obtained(admins, left, is_admin_remote=is_admin_remote)
    except BaseException:
        close_all(listeners)
        raise
    return [one for one in listeners if one not in admins], admins[0] if admins else None


def _obtained(
    address: Address, left: dict[str, tuple[int, ...]], option: str, access: Access = _OURS
) -> list[socket.socket]:
    if address.passed:
        return _take_over(address, left.pop(address.passed, ()), option)
    return [bind(address, option, access=access)]


def _check_obtained(admins: list[socket.socket], left: Mapping[str, tuple[int, ...]], *, is_admin_remote: bool) -> None:
    if left:
        # Whoever connects there would wait for an answer for ever.
        names = ", ".join(f"systemd:{name}" for name in sorted(left))
        raise SettingsError("listen", f"systemd passes sockets that no address names: {names}")
    if len(admins) > 1:
        raise SettingsError("admin", f"systemd passes {len(admins)} sockets under that name; it can be one")
    address = address_of(admins[0]) if admins else None
    if address is not None and not address.is_local and not is_admin_remote:
        raise SettingsError(
            "admin", f"{address} can be reached from elsewhere; use loopback, unix:/PATH, or add --admin-remote"
        )


def close_all(listeners: Iterable[socket.socket]) -> None:
    """Close listening sockets, and remove the files of those that were bound here."""
    for listener in listeners:
        address = removable_address_of(listener)
        listener.close()
        remove_file(address)


def removable_address_of(listener: socket.socket) -> Address | None:
    """Say where a socket is bound; None when it is closed, or is the service manager's, who goes on listening."""
    return None if isinstance(listener, _Passed) else address_of(listener)


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


class _Passed(socket.socket):
    """A socket that the service manager bound, and whose file is not ours to remove."""


def _take_over(address: Address, descriptors: tuple[int, ...], option: str) -> list[socket.socket]:
    if not descriptors:
        raise SettingsError(option, f"systemd passes no socket as {address}; is its socket unit started?")
    taken: list[socket.socket] = []
    try:
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 -- the system's own interface
            listener = _Passed(fileno=descriptor)
            taken.append(listener)
            listener.settimeout(0)
    except OSError as error:
        close_all(taken)
        raise SettingsError(option, f"a descriptor of {address} is no socket: {error.strerror}") from error
    if all(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for one in taken):  # only stream sockets do
        return taken
    close_all(taken)
    raise SettingsError(option, f"{address} is no stream socket that listens")


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


def _bind_unix(path: Path, option: str, access: Access) -> socket.socket:
    user = _number_of(access.user, "socket-user", lambda name: pwd.getpwnam(name).pw_uid)
    group = _number_of(access.group, "socket-group", lambda name: grp.getgrnam(name).gr_gid)
    _remove_stale(path, option)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.settimeout(0)
        previous = os.umask(0o777 & ~access.mode)
        try:
            listener.bind(str(path))
        finally:
            os.umask(previous)
        _give(path, user, group, access)
    except BaseException:
        listener.close()
        raise
    return listener


def _number_of(name: str, option: str, look_up: Callable[[str], int]) -> int:
    if not name:
        return -1
    if name.isascii() and name.isdigit():
        return int(name)
    try:
        return look_up(name)
    except KeyError:
        raise SettingsError(option, f"there is no {option.removeprefix('socket-')} {name!r}") from None


def _give(path: Path, user: int, group: int, access: Access) -> None:
    """Hand the file over; nobody can connect yet, so that whom it belonged to before doesn't matter."""
    if user < 0 and group < 0:
        return
    try:
        os.chown(path, user, group, follow_symlinks=False)
    except (OSError, OverflowError) as error:  # the latter for a number above any that the system knows
        path.unlink()
        option, name = ("socket-user", access.user) if access.user else ("socket-group", access.group)
        why = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(option, f"{path} can't be given to {name}: {why}") from error


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
