"""Finding the running agent and asking it."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from spoa.addresses import Address
from spoa.cli.asking import (
    UnreachableError,
    UnwillingError,
    ask,
    change,
    find_admin,
    find_state_dir,
    usual_policies,
)
from spoa.exceptions import SettingsError
from spoa.settings import default_state_dir

if TYPE_CHECKING:
    from pathlib import Path


def test_the_state_directory_is_the_given_one_or_that_of_the_environment_or_the_usual_one(tmp_path: Path) -> None:
    environ = {"SPOA_AUTHZ_STATE_DIR": "/from/environment", "HOME": "/home/u"}
    assert str(find_state_dir("/given", environ)) == "/given"
    assert str(find_state_dir(None, environ)) == "/from/environment"
    del environ["SPOA_AUTHZ_STATE_DIR"]
    assert str(find_state_dir(None, environ)) in {default_state_dir(environ, 0), default_state_dir(environ, 1)}


def test_the_admin_address_is_the_given_one_or_that_of_the_environment_or_of_the_running_agent(tmp_path: Path) -> None:
    assert find_admin(None, tmp_path, {}) == Address("127.0.0.1", 9124)
    (tmp_path / "admin").write_text("127.0.0.1:1\n")
    assert find_admin(None, tmp_path, {}) == Address("127.0.0.1", 1)
    assert find_admin(None, tmp_path, {"SPOA_AUTHZ_ADMIN": "unix:/s"}) == Address("", 0, "/s")
    assert find_admin("127.0.0.1:3", tmp_path, {"SPOA_AUTHZ_ADMIN": "unix:/s"}) == Address("127.0.0.1", 3)
    with pytest.raises(SettingsError, match="--admin"):
        find_admin("nowhere", tmp_path, {})


@pytest.mark.parametrize(("body", "answer"), [(b'{"a": 1}', {"a": 1}), (b"[1]", {}), (b"text", {})])
def test_an_answer_is_its_status_and_its_object(tmp_path: Path, body: bytes, answer: dict[str, int]) -> None:
    path = tmp_path / "s"
    received: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            end, _ = listener.accept()
            with end:
                received.append(end.recv(65536))
                end.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        thread = threading.Thread(target=serve)
        thread.start()
        assert ask(Address("", 0, str(path)), "POST", "/reload", "token") == (201, answer)
        thread.join()
    assert b"Authorization: Bearer token" in received[0]


def test_nobody_there_is_an_error_with_the_address(tmp_path: Path) -> None:
    address = Address("", 0, str(tmp_path / "s"))
    with pytest.raises(UnreachableError, match="no agent answers at unix:") as caught:
        ask(address, "GET", "/status")
    assert caught.value.address == address


def test_what_is_no_answer_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            end, _ = listener.accept()
            with end:
                end.recv(65536)
                end.sendall(b"gibberish\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(UnreachableError, match="gibberish"):
            ask(Address("127.0.0.1", listener.getsockname()[1]), "GET", "/status")
        thread.join()


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "wants its bearer token: name the file with --token-file"), (500, "answers with status 500")],
)
def test_an_agent_that_answers_and_changes_nothing_is_not_said_to_be_gone(status: int, says: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            end, _ = listener.accept()
            with end:
                end.recv(65536)
                end.sendall(b"HTTP/1.1 %d x\r\nContent-Length: 2\r\n\r\n{}" % status)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(UnwillingError) as caught:
            change(Address("127.0.0.1", listener.getsockname()[1]), "/promote", "")
        thread.join()
    assert says in str(caught.value)
    assert "no agent" not in str(caught.value)


def answering(listener: socket.socket, body: bytes) -> threading.Thread:
    """Answer one request with a JSON object."""

    def serve() -> None:
        end, _ = listener.accept()
        with end:
            end.recv(65536)
            end.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("body", "meant"), [(b'{"policies": "/etc/x/policies"}', "/etc/x/policies"), (b"{}", "policies")]
)
def test_the_policies_of_the_running_agent_are_meant_where_there_are_none_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, meant: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("SPOA_AUTHZ_ADMIN", f"127.0.0.1:{listener.getsockname()[1]}")
        thread = answering(listener, body)
        assert usual_policies() == meant
        thread.join()


def test_the_policies_of_this_folder_come_first_and_are_missed_where_no_agent_answers_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPOA_AUTHZ_ADMIN", f"unix:{tmp_path}/none.sock")
    assert usual_policies() == "policies"
    monkeypatch.setenv("SPOA_AUTHZ_ADMIN", "nowhere at all")
    assert usual_policies() == "policies"
    (tmp_path / "policies").mkdir()
    assert usual_policies() == "policies"
