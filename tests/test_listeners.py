"""Addresses are bound once, freed at the end, and never taken from somebody who uses them."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from spoa.addresses import Address, read_address
from spoa.exceptions import SettingsError
from spoa.listeners import Access, address_of, bind, close_all, obtain, removable_address_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_a_port_of_0_is_chosen_by_the_system_and_told(text: str) -> None:
    with contextlib.closing(bind(read_address(text), "listen")) as listener:
        address = address_of(listener)
        assert address is not None
        assert address.port > 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.host, address.port))
        listener.listen()
        socket.create_connection((address.host, address.port)).close()


def test_a_unix_socket_is_for_owner_and_group_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "spop.sock"
    listener = bind(Address("", 0, str(path)), "listen")
    assert path.stat().st_mode & 0o777 == 0o660
    assert address_of(listener) == Address("", 0, str(path))
    close_all([listener])
    assert not path.exists()
    assert address_of(listener) is None
    close_all([listener])


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o770])
def test_a_unix_socket_is_for_whom_it_is_meant(tmp_path: Path, mode: int) -> None:
    """Owner and group are those of this process, by name and by number; nobody else can be given here without root."""
    path = tmp_path / "spop.sock"
    user, group = pwd.getpwuid(os.geteuid()).pw_name, str(os.getegid())
    listeners, _ = obtain([Address("", 0, str(path))], None, {}, access=Access(mode, user, group))
    found = path.stat()
    assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (mode, os.geteuid(), os.getegid())
    close_all(listeners)


def test_whom_a_socket_shall_belong_to_must_be_there_and_the_admin_socket_stays_ours(tmp_path: Path) -> None:
    path = tmp_path / "spop.sock"
    for access, says in (
        (Access(user="no-such-user"), "--socket-user: there is no user 'no-such-user'"),
        (Access(group="no-such-group"), "--socket-group: there is no group 'no-such-group'"),
    ):
        with pytest.raises(SettingsError) as caught:
            bind(Address("", 0, str(path)), "listen", access=access)
        assert str(caught.value) == says
        assert not path.exists()
    _, admin = obtain([], Address("", 0, str(path)), {}, access=Access(0o666, "no-such-user"))
    assert admin is not None
    assert path.stat().st_mode & 0o777 == 0o660
    close_all([admin])


def test_a_socket_that_can_not_be_given_away_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is for everybody but root."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chown", refuse)
    path = tmp_path / "spop.sock"
    for access, option in ((Access(user="0"), "socket-user"), (Access(group="0"), "socket-group")):
        with pytest.raises(SettingsError, match="can't be given to 0: Operation not permitted") as caught:
            bind(Address("", 0, str(path)), "listen", access=access)
        assert caught.value.option == option
        assert not path.exists()


def test_a_number_above_any_of_the_system_is_refused_by_its_option(tmp_path: Path) -> None:
    path = tmp_path / "spop.sock"
    with pytest.raises(SettingsError, match="can't be given to 99999999999") as caught:
        bind(Address("", 0, str(path)), "listen", access=Access(group="99999999999"))
    assert caught.value.option == "socket-group"
    assert not path.exists()


def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "spop.sock"
    bind(Address("", 0, str(path)), "listen").close()
    assert path.exists()
    close_all([bind(Address("", 0, str(path)), "listen")])


def test_a_socket_that_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "spop.sock"
    with contextlib.closing(bind(Address("", 0, str(path)), "listen")) as listener:
        listener.listen()
        with pytest.raises(SettingsError, match="somebody listens there"):
            bind(Address("", 0, str(path)), "listen", patience=0.1)
        assert path.exists()


def test_another_kind_of_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SettingsError, match="is no socket"):
        bind(Address("", 0, str(tmp_path / "file")), "listen")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_address_in_use_names_its_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        with pytest.raises(SettingsError, match="can't be used") as caught:
            bind(Address("127.0.0.1", other.getsockname()[1]), "admin", patience=0.1)
        assert caught.value.option == "admin"


def test_an_address_that_is_about_to_be_freed_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        timer = threading.Timer(0.2, other.close)
        timer.start()
        bind(Address("127.0.0.1", port), "listen", patience=5).close()
        timer.join()


@pytest.mark.parametrize("text", ["203.0.113.1:0", "no-such-host.invalid:1", "unix:/no/such/directory/s"])
def test_an_address_that_is_not_ours_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="can't be used"):
        bind(read_address(text), "listen")


def test_all_addresses_are_bound_or_none(tmp_path: Path) -> None:
    good = Address("", 0, str(tmp_path / "spop.sock"))
    with pytest.raises(SettingsError):
        obtain([good], Address("203.0.113.1", 0), {})
    assert not (tmp_path / "spop.sock").exists()
    listeners, admin = obtain([good, Address("127.0.0.1", 0)], Address("127.0.0.1", 0), {})
    assert len(listeners) == 2
    assert admin is not None
    close_all([*listeners, admin])
    assert obtain([], None, {}) == ([], None)


def passed(*addresses: Address) -> tuple[int, ...]:
    """Return descriptors of listening sockets, blocking and inheritable, as a service manager leaves them."""
    descriptors = []
    for address in addresses:
        listener = bind(address, "test")
        listener.listen()
        listener.settimeout(None)
        descriptors.append(listener.detach())
        os.set_inheritable(descriptors[-1], True)  # noqa: FBT003 -- the system's own interface
    return tuple(descriptors)


def test_a_socket_that_is_passed_is_taken_over_and_its_file_left_to_whoever_passed_it(tmp_path: Path) -> None:
    path = tmp_path / "spop.sock"
    sockets = {"spop": passed(Address("", 0, str(path)), Address("127.0.0.1", 0)), "admin": passed(Address("::1", 0))}
    spop, loopback = Address("", 0, passed="spop"), Address("", 0, passed="admin")
    listeners, admin = obtain([spop, Address("127.0.0.1", 0)], loopback, sockets)
    assert [str(address_of(one)).partition(":")[0] for one in listeners] == ["unix", "127.0.0.1", "127.0.0.1"]
    assert [one.gettimeout() for one in listeners] == [0, 0, 0]
    assert not any(one.get_inheritable() for one in listeners)
    assert [removable_address_of(one) is None for one in listeners] == [True, True, False]
    assert admin is not None
    close_all([*listeners, admin])
    assert path.exists()


def test_a_socket_that_is_not_passed_is_an_error_that_names_it() -> None:
    with pytest.raises(SettingsError, match="passes no socket as systemd:spop") as caught:
        obtain([Address("", 0, passed="spop")], None, {})
    assert caught.value.option == "listen"


def test_a_socket_that_nobody_would_answer_on_is_an_error() -> None:
    with pytest.raises(SettingsError, match="no address names: systemd:other"):
        obtain([], None, {"other": (3,)})


def test_what_is_passed_must_be_a_socket_that_listens(tmp_path: Path) -> None:
    wanted = [Address("", 0, passed="spop")]
    with (tmp_path / "file").open("w") as file, pytest.raises(SettingsError, match="is no socket"):
        obtain(wanted, None, {"spop": (os.dup(file.fileno()),)})
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with pytest.raises(SettingsError, match="no stream socket that listens"):
            obtain(wanted, None, {"spop": (socket.socket(socket.AF_INET, kind).detach(),)})


def test_one_admin_socket_can_be_passed_and_it_must_be_a_local_one() -> None:
    loopback, admin = Address("127.0.0.1", 0), Address("", 0, passed="admin")
    with pytest.raises(SettingsError, match="passes 2 sockets"):
        obtain([], admin, {"admin": passed(loopback, loopback)})
    with pytest.raises(SettingsError, match="reached from elsewhere"):
        obtain([], admin, {"admin": passed(Address("0.0.0.0", 0))})
    _, remote = obtain([], admin, {"admin": passed(Address("0.0.0.0", 0))}, is_admin_remote=True)
    assert remote is not None
    remote.close()
