"""What the agent shows over TLS, and whom it believes: read from files, tried, and kept as text for every worker.

Workers get the text and never read the files, so that all of them show the same, whatever happens to the files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import ssl
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from spoa.exceptions import CertificateError, SettingsError
from spoa.identity import identity_from_der
from spoa.pem import read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Credentials"]


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """PEM: the certificate with those between it and its root, the key, and the CAs whose certificates peers show."""

    certificate: str
    key: str
    client_ca: str

    @classmethod
    def from_files(cls, certificate: Path, key: Path | None, client_ca: Path) -> Credentials:
        """Read the files, and try what they hold; without *key* it is in the file of the certificate.

        Raises:
            SettingsError: one can't be read or used, with the name of its option.
        """
        texts = {"tls-cert": _text("tls-cert", certificate), "tls-client-ca": _text("tls-client-ca", client_ca)}
        texts["tls-key"] = _text("tls-key", key) if key is not None else texts["tls-cert"]
        found = cls(texts["tls-cert"], texts["tls-key"], texts["tls-client-ca"])
        context = _bare_context()
        try:
            found._believe(context)
        except (ssl.SSLError, ValueError) as error:
            raise SettingsError("tls-client-ca", f"{client_ca} holds no CA certificates: {error}") from error
        try:
            found._show(context)
            bool(found.fingerprint)  # the library also takes certificates under names that this does not know
        except (ssl.SSLError, ValueError) as error:
            raise SettingsError("tls-cert", f"{certificate} and its key can't be used: {error}") from error
        return found

    @classmethod
    def from_json(cls, text: str) -> Credentials:
        """Read what `to_json` wrote.

        Raises:
            ValueError, TypeError: it is none.
        """
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Write them, the key included, for a process of the agent's own."""
        return json.dumps(asdict(self))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, hex."""
        first = self.certificate[self.certificate.index("-----BEGIN CERTIFICATE") :]
        end = first.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[:end])).hexdigest()

    def validity(self) -> tuple[int, int] | None:
        """Return from when until when the first of the certificates to expire is valid, seconds since the epoch.

        Those between the agent's own and its root count too: with one of them expired, nobody believes the other.
        None where it can't be told. Not for several threads at once, as `identity_from_der`.
        """
        found = []
        for block in read_blocks(self.certificate.encode(), "CERTIFICATE"):
            try:
                certificate = identity_from_der(block.der)
            except CertificateError:  # shown all the same, since the library takes it
                continue
            found.append((certificate.not_after, certificate.not_before))
        if not found:
            return None
        not_after, not_before = min(found)
        return not_before, not_after

    def context(self) -> ssl.SSLContext:
        """Make a server's context: TLS 1.3, a certificate of the peer's compulsory, nothing resumed.

        Each connection is thereby checked by what is in force when it begins.

        Raises:
            ssl.SSLError, ValueError: the texts don't fit one another.
        """
        context = _bare_context()
        self._believe(context)
        self._show(context)
        return context

    def _believe(self, context: ssl.SSLContext) -> None:
        context.load_verify_locations(cadata=self.client_ca)

    def _show(self, context: ssl.SSLContext) -> None:
        with _in_memory(self.certificate) as certificate, _in_memory(self.key) as key:
            # An encrypted key must not have a server ask for its password on a terminal.
            context.load_cert_chain(certificate, key, password="")


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """Give a file to a library that takes nothing else; it has no name that others could open."""
    descriptor = os.memfd_create("credentials")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{descriptor}"


def _bare_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    return context


def _text(option: str, path: Path) -> str:
    try:
        # Remarks between the certificates may be in any language; what the library takes as text is ASCII.
        return path.read_text("ascii", "ignore")
    except OSError as error:
        raise SettingsError(option, f"{path} can't be read: {error.strerror}") from error
