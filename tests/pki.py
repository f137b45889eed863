"""Certificates for tests, in trustme's manner: one class, nothing to learn before the first line works.

    ca = CA("corp")
    alice = ca.issue(cn="alice", ous=["administrators"])
    alice.der, alice.bundle_pem, alice.certificate
    ca.revoke(alice, "keyCompromise")
    ca.crl()          # DER
    ca.ocsp_response(request_der)

Everything is valid around now unless told otherwise; any field of `spoa.pki.Template` may be given by name.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding

from spoa.ocsp_responder import ocsp_answer
from spoa.pem import write_block
from spoa.pki import SERVER_AUTH, CertificateAuthority, Issued, PrivateKey, Template

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CA", "DAY", "HOUR", "Issued"]

HOUR = 3600
DAY = 24 * HOUR


class CA:
    """A root CA, or with `parent` an intermediate one; `now` is the time around which its certificates are valid."""

    def __init__(self, cn: str = "Test CA", *, parent: CA | None = None, now: int | None = None, **fields: Any) -> None:
        if now is None:
            now = parent.now if parent else int(time.time())
        self.now: int = now
        self.number = 0
        given: dict[str, Any] = {"cn": (cn,), "is_ca": True, "not_before": now - DAY, "not_after": now + 3650 * DAY}
        template = Template(**{**given, **fields})
        self.authority: CertificateAuthority = (
            parent.authority.intermediate(template) if parent else CertificateAuthority.root(template)
        )

    @property
    def der(self) -> bytes:
        """The CA certificate as DER."""
        return self.authority.issued.der

    @property
    def pem(self) -> bytes:
        """The CA certificate as PEM."""
        return self.authority.issued.pem

    @property
    def key(self) -> PrivateKey:
        """The CA's private key."""
        return self.authority.issued.key

    @property
    def trust_pem(self) -> bytes:
        """This CA and all above it as PEM, for HAProxy's `ca-file`."""
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.authority.chain)

    def intermediate(self, cn: str = "Test Intermediate CA", **fields: Any) -> CA:
        """Make a CA below this one."""
        return CA(cn, parent=self, **fields)

    def issue(
        self, cn: str | None = None, ous: Sequence[str] = (), *, with_key: PrivateKey | None = None, **fields: Any
    ) -> Issued:
        """Issue a client certificate; `fields` are those of `Template`, and any sequence will do for a tuple."""
        given: dict[str, Any] = {
            "cn": () if cn is None else (cn,),
            "ou": tuple(ous),
            "not_before": self.now - HOUR,
            "not_after": self.now + 30 * DAY,
        }
        given |= {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
        template = Template(**given)
        return self.authority.issue(template, with_key)

    def server(self, *dns: str, ip: Sequence[str] = ("127.0.0.1",), **fields: Any) -> Issued:
        """Issue a server certificate for `localhost`, or the names given."""
        names = dns or ("localhost",)
        return self.issue(names[0], dns=names, ip=tuple(ip), eku=(SERVER_AUTH,), **fields)

    def revoke(self, issued: Issued | int, reason: str = "", *, at: int | None = None) -> None:
        """Revoke a certificate, or a serial number."""
        serial = issued if isinstance(issued, int) else issued.certificate.serial_number
        self.authority.revoke(serial, self.now - HOUR if at is None else at, reason)

    def crl(
        self, *, this_update: int | None = None, next_update: int | None = None, number: int | None = None
    ) -> bytes:
        """Return a CRL (DER), by default fresh for a day and numbered one above the last."""
        self.number = self.number + 1 if number is None else number
        return self.authority.crl(
            this_update=self.now - HOUR if this_update is None else this_update,
            next_update=self.now + DAY if next_update is None else next_update,
            number=self.number,
        )

    def crl_pem(self, **fields: int) -> bytes:
        """Return a CRL as PEM; `fields` as for `crl`."""
        return write_block("X509 CRL", self.crl(**fields))

    def ocsp_response(self, request: bytes, *, responder: Issued | None = None, **fields: Any) -> bytes:
        """Answer an OCSP request (DER) as the CA's own responder, or as a delegated one (see `ocsp_answer`)."""
        return ocsp_answer(self.authority, request, **{"now": self.now, "responder": responder, **fields})
