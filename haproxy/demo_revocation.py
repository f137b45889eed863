"""The part of the demo that takes access away: by a block, a CRL file, a CRL from a URL and OCSP, against the clock.

Each time a client's connection stays open, and requests go on over it until one is denied.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from spoa.ocsp_responder import CRL_PATH, OcspResponder
from tests.haproxy import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spoa.pki_directory import PkiDirectory
    from tests.client import Http1, Response

__all__ = ["WAYS", "Authority", "Way", "revoke"]

_DAY: Final = 86_400
_OCSP_LIFE: Final = 10
_REFRESH: Final = 2
_SECONDS: Final = 30


class Authority:
    """What the CA of the demo's clients publishes: a list as a file, the same over HTTP, and an OCSP responder.

    The server of the last two answers while the block of the context manager lasts.
    """

    def __init__(self, pki: PkiDirectory, policies: Path) -> None:
        self._pki = pki
        self._file = policies / "crl" / "clients.crl"
        self._server = OcspResponder(self._answer, documents={CRL_PATH: self._served})

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def keys(self) -> str:
        """What a policy says about it, as the value of `revocation`."""
        url = self._server.url
        crl = f'files: crl/clients.crl, urls: "{url}{CRL_PATH}", refresh: {_REFRESH}s'
        return f'{{crl: {{{crl}}}, ocsp: {{responder: "{url}", timeout: 1s}}}}'

    def revoke(self, name: str) -> None:
        """Revoke a client in the CA's own books, by which its responder answers; no list says so yet."""
        self._pki.revoke(name, at=int(time.time()), reason="keyCompromise")

    def sign(self) -> Path:
        """Have a new list signed, and so served."""
        signed, _ = self._pki.write_crl(now=int(time.time()), valid_for=_DAY)
        return signed

    def publish(self) -> None:
        """Have a new list signed, and renamed over the file that the policy names."""
        beside = self._file.with_name(".new")
        shutil.copy(self.sign(), beside)
        beside.rename(self._file)

    def _answer(self, request: bytes) -> bytes:
        return self._pki.ocsp_answer(request, now=int(time.time()), valid_for=_OCSP_LIFE)

    def _served(self) -> tuple[str, bytes]:
        return "application/pkix-crl", self._pki.crl_der()


@dataclass(frozen=True)
class Way:
    """One way to take access away, shown with one client, who is served until then.

    Attributes:
        says: what it is.
        note: what decides how long it takes.
        reason: of the deny.
        take: does it, given the client's name, the file with its certificate, and the agent's state directory.
    """

    says: str
    note: str
    who: str
    request: str
    reason: str
    take: Callable[[Authority, str, Path, Path], None]


def _block(_: Authority, __: str, certificate: Path, state: Path) -> None:
    words = ["block", str(certificate), "--reason", "lost", "--state-dir", str(state)]
    subprocess.run([sys.executable, "-m", "spoa", *words], check=True, capture_output=True)


def _by_file(authority: Authority, who: str, _: Path, __: Path) -> None:
    authority.revoke(who)
    authority.publish()


def _by_url(authority: Authority, who: str, _: Path, __: Path) -> None:
    authority.revoke(who)
    authority.sign()


def _by_ocsp(authority: Authority, who: str, _: Path, __: Path) -> None:
    authority.revoke(who)


#: The first are fast, and OCSP comes last: the responder knows of every revocation, and would be first some day.
WAYS: Final = (
    Way(
        "spoa-authz block",
        "when the command returns",
        "scanner-2",
        "POST /api/scan",
        "certificate_blocked",
        _block,
    ),
    Way("a CRL file", "at once", "audit", "GET /api/orders", "certificate_revoked", _by_file),
    Way(
        "a CRL URL",
        f"looked at every {_REFRESH} s",
        "scanner-1",
        "POST /api/scan",
        "certificate_revoked",
        _by_url,
    ),
    Way(
        "OCSP",
        f"asked after half of the {_OCSP_LIFE} s that answers hold",
        "acme",
        "GET /api/partner/orders",
        "certificate_revoked",
        _by_ocsp,
    ),
)


def revoke(
    connection: Http1, request: str, take: Callable[[], None], report: Callable[[], str]
) -> tuple[float, Response]:
    """Take access away while a connection is open; return the seconds until a request was denied, and that answer."""
    method, target = request.split()
    denied: list[Response] = []

    def is_denied() -> bool:
        response = connection.request(method, target)
        denied.extend([response] if response.status != 200 else [])
        return bool(denied)

    assert not is_denied(), f"{request} is denied already: {denied[0].reason}"
    take()
    return wait_until(is_denied, _SECONDS, f"{request} is denied", report), denied[0]
