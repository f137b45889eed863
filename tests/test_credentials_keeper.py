"""What is shown over TLS is what the files held when somebody last said so, as long as that can be used."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import structlog.testing

from spoa.credentials import Credentials
from spoa.credentials_keeper import CredentialsKeeper
from spoa.exceptions import SettingsError
from tests.pki import DAY, HOUR
from tests.secrecy import Secrecy

if TYPE_CHECKING:
    from pathlib import Path

IN_FORCE = ("tls_credentials_in_force", ())
EXPIRY = ("tls_certificate_expiry_timestamp_seconds", ())
LIFE = ("tls_certificate_life_seconds", ())


async def nobody(_: str) -> None:
    raise AssertionError("there is nothing to impose")


def test_without_files_there_is_nothing_to_keep() -> None:
    async def live() -> None:
        keeper = CredentialsKeeper(None, None, None, nobody)
        assert not keeper.is_needed
        await keeper.begin()
        assert await keeper.renew() == ""
        assert keeper.samples() == {}

    asyncio.run(live())


def test_a_file_that_can_not_be_used_keeps_the_agent_from_starting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        CredentialsKeeper(tmp_path / "none", None, tmp_path / "none", nobody)


def test_files_are_read_again_when_told_and_what_is_broken_changes_nothing(tmp_path: Path) -> None:
    secrecy = Secrecy.made(tmp_path / "tls")
    imposed: list[str] = []

    async def impose(text: str) -> None:
        imposed.append(text)

    def shown() -> str:
        return Credentials.from_json(imposed[-1]).certificate

    async def live() -> None:
        first = (secrecy.folder / "agent.pem").read_text()
        keeper = CredentialsKeeper(secrecy.folder / "agent.pem", None, secrecy.folder / "ca.pem", impose)
        assert keeper.is_needed
        await keeper.begin()
        assert await keeper.renew() == ""
        assert (len(imposed), shown()) == (1, first)
        secrecy.write("agent.pem", b"half of a certificate")
        assert "--tls-cert" in await keeper.renew()
        assert keeper.samples()[IN_FORCE] is False
        assert keeper.samples()[EXPIRY] == secrecy.ca.now + 30 * DAY
        assert keeper.samples()[LIFE] == 30 * DAY + HOUR
        assert (len(imposed), shown()) == (1, first)
        secrecy.renew(not_after=secrecy.ca.now + DAY)
        assert await keeper.renew() == ""
        assert keeper.samples() == {IN_FORCE: True, EXPIRY: secrecy.ca.now + DAY, LIFE: DAY + HOUR}
        assert (len(imposed), shown()) == (2, (secrecy.folder / "agent.pem").read_text())

    with structlog.testing.capture_logs() as logs:
        asyncio.run(live())
    assert [line["event"] for line in logs] == ["the TLS certificate is not renewed", "TLS is renewed"]
    assert "PRIVATE" not in str(logs)
