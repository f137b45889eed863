"""The service manager's words: an environment read, and datagrams written, to the letter of systemd's manual pages."""

from __future__ import annotations

import pytest

from spoa import sdprotocol
from spoa.exceptions import SettingsError
from spoa.sdprotocol import VARIABLES, Activation

PID = 4711


def test_without_a_service_manager_nothing_is_wanted_and_nothing_given() -> None:
    assert Activation.from_environment({}, PID) == Activation() == Activation("", 0.0, {})
    assert Activation.from_environment(dict.fromkeys(VARIABLES, ""), PID) == Activation()


def test_all_that_a_service_manager_says_is_read() -> None:
    environment = {
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_USEC": "20000000",
        "WATCHDOG_PID": str(PID),
        "LISTEN_PID": str(PID),
        "LISTEN_FDS": "3",
        "LISTEN_FDNAMES": "spop:admin:spop",
    }
    assert set(environment) == set(VARIABLES)
    assert Activation.from_environment(environment, PID) == Activation(
        "/run/systemd/notify", 20.0, {"spop": (3, 5), "admin": (4,)}
    )


def test_what_is_meant_for_another_process_is_not_taken() -> None:
    environment = {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "LISTEN_PID": "1", "LISTEN_FDS": "1"}
    assert Activation.from_environment(environment, PID) == Activation()
    assert Activation.from_environment({"LISTEN_FDS": "1"}, PID) == Activation()


def test_a_watchdog_without_a_process_is_everybodys() -> None:
    assert Activation.from_environment({"WATCHDOG_USEC": "500000"}, PID).watchdog == 0.5


def test_sockets_without_names_are_called_as_systemd_calls_them() -> None:
    environment = {"LISTEN_PID": str(PID), "LISTEN_FDS": "2"}
    assert Activation.from_environment(environment, PID).sockets == {"unknown": (3, 4)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTEN_FDS", "two"),
        ("LISTEN_FDS", "-1"),
        ("LISTEN_PID", "me"),
        ("LISTEN_FDNAMES", "a:b"),
        ("WATCHDOG_USEC", "1s"),
        ("WATCHDOG_USEC", "²"),
        ("WATCHDOG_PID", "x"),
    ],
)
def test_what_no_service_manager_writes_is_refused_by_its_name(name: str, value: str) -> None:
    environment = {"LISTEN_FDS": "1", "LISTEN_PID": str(PID), "WATCHDOG_USEC": "1", name: value}
    with pytest.raises(SettingsError) as caught:
        Activation.from_environment(environment, PID)
    assert caught.value.option == name


def test_messages_are_lines_of_assignments() -> None:
    assert sdprotocol.ready("revision 1") == b"READY=1\nSTATUS=revision 1"
    assert sdprotocol.reloading(12.5, "x") == b"RELOADING=1\nMONOTONIC_USEC=12500000\nSTATUS=x"
    assert sdprotocol.stopping("draining") == b"STOPPING=1\nSTATUS=draining"
    assert sdprotocol.WATCHDOG == b"WATCHDOG=1"


def test_a_status_can_not_smuggle_in_another_assignment() -> None:
    assert sdprotocol.status("bad\nMAINPID=1\r\n\udcff") == b"STATUS=bad MAINPID=1 ?"
    assert len(sdprotocol.status("é" * 5000)) == len("STATUS=") + 2 * 1024
