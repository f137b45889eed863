"""How `status` and `reload` find the running agent and ask it."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spoa.addresses import read_address
from spoa.exceptions import SettingsError, SpoaError
from spoa.reload import sentence
from spoa.settings import default_state_dir

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spoa.addresses import Address

__all__ = [
    "AbsentError",
    "UnreachableError",
    "UnwillingError",
    "ask",
    "change",
    "find_admin",
    "find_agent",
    "find_state_dir",
    "read_token",
    "usual_policies",
]

#: HTTP status → why the agent changes nothing, and what to do.
_UNWILLING: Final = {
    401: "wants its bearer token: name the file with --token-file, or run it with a unix socket as --admin",
    404: "knows no such request; is it of another version?",
}
_TIMEOUT: Final = 150.0  # seconds: a reload is answered when it is done
_POLICIES: Final = "policies"


class UnreachableError(SpoaError):
    """No agent answers.

    Attributes:
        address: where it was asked.
        detail: what the system said.
    """

    def __init__(self, address: Address, detail: str) -> None:
        super().__init__(address, detail)
        self.address = address
        self.detail = detail

    def __str__(self) -> str:
        return f"no agent answers at {self.address}: {self.detail}"


class UnwillingError(UnreachableError):
    """An agent answers, and doesn't do it."""

    def __str__(self) -> str:
        return f"the agent at {self.address} {self.detail}"


class AbsentError(UnreachableError):
    """No agent runs on the state directory that was given."""

    def __str__(self) -> str:
        return f"no agent runs on {self.detail}; give the state directory of one that does, or its --admin"


def find_state_dir(state_dir: str | None, environ: Mapping[str, str]) -> Path:
    """Return the state directory: as given, or from the environment, or where `serve` keeps it by default."""
    return Path(state_dir or environ.get("SPOA_AUTHZ_STATE_DIR") or default_state_dir(environ, os.geteuid()))


def find_admin(admin: str | None, state_dir: Path, environ: Mapping[str, str]) -> Address:
    """Return the admin address: as given, or from the environment, or as the running agent wrote it down.

    Raises:
        SettingsError: what was given is no address.
    """
    try:
        text = admin or environ.get("SPOA_AUTHZ_ADMIN") or (state_dir / "admin").read_text().strip()
    except OSError:
        text = "127.0.0.1:9124"
    try:
        return read_address(text)
    except ValueError as error:
        raise SettingsError("admin", str(error)) from None


def find_agent(admin: str | None, state_dir: str | None, environ: Mapping[str, str]) -> tuple[Path, Address]:
    """Return the state directory and the admin address of the agent that was meant.

    Raises:
        SettingsError: what was given is no address.
        AbsentError: a state directory was given, and no agent runs on it. Somebody else's agent on the usual address is
            not the one that was meant.
    """
    directory = find_state_dir(state_dir, environ)
    address = find_admin(admin, directory, environ)
    if state_dir and not admin and not (directory / "admin").exists():
        raise AbsentError(address, str(directory))
    return directory, address


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    address: Address, method: str, path: str, token: str = "", content: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Send one request and return the HTTP status and the JSON object of the answer (empty where it is none).

    Raises:
        UnreachableError: nobody answers.
    """
    connection: http.client.HTTPConnection = (
        _UnixConnection(address.path)
        if address.path
        else http.client.HTTPConnection(address.host, address.port, timeout=_TIMEOUT)
    )
    try:
        body = None if content is None else json.dumps(content).encode()
        connection.request(method, path, body, {"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        answered = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(address, str(error) or type(error).__name__) from error
    finally:
        connection.close()
    try:
        answer = json.loads(answered)
    except ValueError:
        answer = {}
    return response.status, answer if isinstance(answer, dict) else {}


def change(address: Address, path: str, token: str, content: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Ask the agent to change something, and return the outcome with its problems as sentences.

    Raises:
        UnreachableError: nobody answers, or not with an outcome.
    """
    code, outcome = ask(address, "POST", path, token, content)
    if "result" not in outcome:
        raise UnwillingError(address, _UNWILLING.get(code, f"answers with status {code}"))
    outcome["problems"] = [sentence(problem) for problem in outcome["problems"]]
    outcome["warnings"] = [sentence(problem) for problem in outcome["warnings"]]
    return outcome


def read_token(file: str | None) -> str:
    """Return the bearer token in a file, or in the one that the environment names; empty where neither is.

    Raises:
        SettingsError: the file can't be read.
    """
    name = file or os.environ.get("SPOA_AUTHZ_ADMIN_TOKEN_FILE")
    if not name:
        return ""
    try:
        return Path(name).read_text().strip()
    except (OSError, ValueError) as error:
        raise SettingsError("token-file", f"{name} can't be read: {error}") from error


def usual_policies() -> str:
    """Return the policy directory that is meant where none is given: `policies` here, or else the running agent's.

    Whoever looks for a reason at night stands in no particular directory. Where there is neither it is `policies`,
    which then is what is missing.
    """
    if Path(_POLICIES).is_dir():
        return _POLICIES
    try:
        _, address = find_agent(None, None, os.environ)
        _, status = ask(address, "GET", "/status")
    except (SettingsError, UnreachableError):
        return _POLICIES
    found = status.get("policies")
    return found if isinstance(found, str) else _POLICIES
