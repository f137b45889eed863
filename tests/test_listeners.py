"""Addresses are bound once, freed at the end, and never taken from somebody who uses them."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from spoa.addresses import Address, read_address
from spoa.exceptions import SettingsError
from spoa.listeners import address_of, bind, bind_all, close_all

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
        bind_all([good, Address("203.0.113.1", 0)])
    assert not (tmp_path / "spop.sock").exists()
    close_all(bind_all([good, Address("127.0.0.1", 0)]))
