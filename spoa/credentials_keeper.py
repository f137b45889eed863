"""Keeps what workers show over TLS, and renews it when somebody says that the files have changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from spoa.credentials import Credentials
from spoa.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from spoa.metrics import Samples

__all__ = ["CredentialsKeeper"]

_log = structlog.get_logger()


class CredentialsKeeper:
    """Reads credentials once at the start, and again at each `renew`.

    Args:
        certificate, key, client_ca: files, as `Credentials.from_files` takes them; without certificate or CA there is
            nothing to keep.
        impose: puts credentials, as text, in force in all workers, also those to come.

    Raises:
        SettingsError: a file can't be used.
    """

    def __init__(
        self,
        certificate: Path | None,
        key: Path | None,
        client_ca: Path | None,
        impose: Callable[[str], Awaitable[None]],
    ) -> None:
        self._files = (certificate, key, client_ca)
        self._impose = impose
        self._is_renewed = True
        self._shown = self._read()

    @property
    def is_needed(self) -> bool:
        """TLS is spoken over TCP."""
        return self._shown is not None

    async def begin(self) -> None:
        """Have workers show what was read at the start."""
        if self._shown is not None:
            await self._impose(self._shown.to_json())

    async def renew(self) -> str:
        """Have workers show what the files hold now to whoever connects from now on.

        Returns:
            Why not, where it can't be used: then nothing changes. Empty where all is well.
        """
        try:
            found = await asyncio.to_thread(self._read)
        except SettingsError as error:
            self._is_renewed = False
            _log.error("the TLS certificate is not renewed", error=str(error))
            return str(error)
        if found is not None and found != self._shown:
            self._shown = found
            await self._impose(found.to_json())
            _log.info("TLS is renewed", certificate_sha256=found.fingerprint)
        self._is_renewed = True
        return ""

    def samples(self) -> Samples:
        """Return whether what is shown is what the files held at the last look, and when it expires."""
        if self._shown is None:
            return {}
        found: Samples = {("tls_credentials_in_force", ()): self._is_renewed}
        validity = self._shown.validity()
        if validity is not None:
            not_before, not_after = validity
            found["tls_certificate_expiry_timestamp_seconds", ()] = not_after
            found["tls_certificate_life_seconds", ()] = not_after - not_before
        return found

    def _read(self) -> Credentials | None:
        certificate, key, client_ca = self._files
        if certificate is None or client_ca is None:
            return None
        return Credentials.from_files(certificate, key, client_ca)
