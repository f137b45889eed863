"""The edge under test: certificates, echo servers, and the HAProxy in front of them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.client import Client
from tests.haproxy import CONFIGURATION, HAProxy
from tests.pki import CA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.echo import Echo
    from tests.pki import Issued

__all__ = ["PATIENT", "SERVERS", "Edge", "Pki", "example_files", "policy_files", "start_edge"]

#: The part of `AUTHZ_SERVER_*` after the underscore → the name that the echo server behind it answers with.
SERVERS: Final = {
    "PUBLIC": "public",
    "INTERNAL": "internal",
    "ADMIN": "admin",
    "PARTNER": "partner",
    "MONITORING": "monitoring",
    "API": "api",
}
#: For tests that are not about lateness: a busy machine must not turn them into one.
PATIENT: Final = {"AUTHZ_TIMEOUT_PROCESSING": "5s"}


class Pki:
    """Root, intermediate and a second authority, with the certificates that the tests show; files lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = CA("Acme Root CA")
        self.clients = self.root.intermediate("Acme Clients CA")
        self.stranger = CA("Stranger CA")
        self.server = self.write("server.pem", self.root.server("localhost", "api.example.com").bundle_pem)
        self.ca = self.write("clients-ca.pem", self.clients.trust_pem)
        self._issued: dict[tuple[str, tuple[str, ...]], Issued] = {}

    def write(self, name: str, content: bytes) -> Path:
        """Write a file beside the others."""
        path = self.folder / name
        path.write_bytes(content)
        return path

    def client(self, cn: str, *ous: str, **fields: Any) -> Issued:
        """Return a client certificate; the same for the same names, a fresh one where more is said."""
        if fields:
            return self.clients.issue(cn, ous, **fields)
        if (cn, ous) not in self._issued:
            self._issued[cn, ous] = self.clients.issue(cn, ous)
        return self._issued[cn, ous]


@dataclass
class Edge:
    """HAProxy, and what stands before and behind it."""

    binary: Path
    proxy: HAProxy
    pki: Pki
    echoes: Mapping[str, Echo]

    def client(self, certificate: Issued | None = None, *, port: str = "", host: str = "localhost") -> Client:
        """Return a client of the frontend where certificates are asked for, or of another named port."""
        name = port or next(name for name in ("MTLS", "HTTPS") if name in self.proxy.ports)
        return Client(self.proxy.ports[name], self.pki.root.pem, certificate, host=host)

    def received(self) -> int:
        """Return how many requests have reached any server."""
        return sum(len(echo.received) for echo in self.echoes.values())


def example_files(name: str) -> list[Path]:
    """Return the files with which an example of the shipped configuration is started."""
    return [CONFIGURATION / "authz.cfg", CONFIGURATION / "examples" / f"{name}.cfg"]


def policy_files(name: str, pki: Pki) -> dict[str, bytes]:
    """Return the files of an example's policy, with the CA where its comment says."""
    directory = CONFIGURATION / "examples" / "policies" / name
    files = {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    return {**files, "trust/clients-ca.pem": pki.clients.pem}


@contextmanager
def start_edge(
    binary: Path,
    pki: Pki,
    echoes: Mapping[str, Echo],
    folder: Path,
    agent: str,
    environment: Mapping[str, str],
    *,
    files: Sequence[Path] = (),
    binds: Sequence[str] = (),
) -> Iterator[Edge]:
    """Start HAProxy on the shipped configuration, or on other files, with an agent at an address."""
    variables = {
        "AUTHZ_AGENT": agent,
        "AUTHZ_SERVER_CERT": str(pki.server),
        "AUTHZ_CLIENT_CA": str(pki.ca),
        **{f"AUTHZ_SERVER_{name}": echoes[server].address for name, server in SERVERS.items()},
        **environment,
    }
    with ExitStack() as stack:
        proxy = stack.enter_context(
            HAProxy.started(
                binary,
                files or [CONFIGURATION / "haproxy.cfg"],
                folder,
                variables,
                binds or (["HTTPS"] if files else ["HTTP", "HTTPS", "MTLS", "STATS"]),
            )
        )
        yield Edge(binary, proxy, pki, echoes)
