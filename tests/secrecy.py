"""What TLS between HAProxy and an agent needs, as files: a CA of its own, the agent's certificate, HAProxy's."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.pki import CA

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NAME", "Secrecy"]

#: What the agent's certificate is called.
NAME = "agent1.example"


@dataclass
class Secrecy:
    """Files in a folder; `ca` signs both sides' certificates."""

    folder: Path
    ca: CA

    @classmethod
    def made(cls, folder: Path) -> Secrecy:
        """Write `ca.pem`, `agent.pem` and `haproxy.pem` into a folder, which is made."""
        folder.mkdir(exist_ok=True)
        made = cls(folder, CA("Agents CA"))
        made.write("ca.pem", made.ca.pem)
        made.renew()
        made.write("haproxy.pem", made.ca.issue("haproxy").bundle_pem)
        return made

    def write(self, name: str, content: bytes) -> Path:
        """Write a file, and return where it is."""
        path = self.folder / name
        path.write_bytes(content)
        return path

    def renew(self, **fields: Any) -> bytes:
        """Issue the agent's certificate, with another key, and return its DER; `fields` are those of `Template`."""
        issued = self.ca.server(NAME, **fields)
        self.write("agent.pem", issued.bundle_pem)
        return issued.der

    @property
    def options(self) -> tuple[str, ...]:
        """Return the options of `serve`."""
        return ("--tls-cert", str(self.folder / "agent.pem"), "--tls-client-ca", str(self.folder / "ca.pem"))

    def client(self, certificate: str = "haproxy.pem", **limits: Any) -> ssl.SSLContext:
        """Return how HAProxy connects, with the certificate of a file, or with none where the name is empty."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        for name, value in limits.items():
            setattr(context, name, value)
        if certificate:
            context.load_cert_chain(self.folder / certificate)
        return context
