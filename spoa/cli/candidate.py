"""What the verbs about lists are told to act on: a certificate file, or what names a certificate."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spoa.exceptions import CertificateError
from spoa.identity import fingerprints, identity_from_der, parts_from_der
from spoa.listedit import instant
from spoa.listindex import NEVER, Kind
from spoa.listtext import Key, read_key
from spoa.pem import read_blocks
from spoa.policy.scalars import Date, Timestamp

if TYPE_CHECKING:
    from spoa.facts import Certificate

__all__ = ["Candidate", "read_candidate", "read_end", "read_newcomer"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A certificate that is to be on a list, or no longer.

    Attributes:
        key: what names it best: of a file, its SHA-256.
        keys: all that names it, but for the serial number, which needs the issuer's name in the policy.
        certificate: what it says; None where no file was given, or it can't be read.
    """

    key: Key
    keys: tuple[Key, ...]
    certificate: Certificate | None = None

    @property
    def spki(self) -> Key | None:
        """What names its public key."""
        return next((key for key in self.keys if key.kind is Kind.SPKI_SHA256), None)

    @property
    def expires(self) -> int:
        """When the certificate ends, seconds since the epoch; `NEVER` where nobody knows."""
        return NEVER if self.certificate is None else self.certificate.not_after


def read_candidate(text: str) -> Candidate:
    """Return what *text* names: the first certificate of a file, or the certificate that a fingerprint names.

    Raises:
        click.BadParameter: it is neither, or the file holds no certificate.
    """
    path = Path(text)
    if not path.is_file():
        try:
            key = read_key(text)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="CERT") from None
        return Candidate(key, (key,))
    try:
        found = read_blocks(path.read_bytes(), "CERTIFICATE")
    except OSError as error:
        raise click.BadParameter(f"{text}: {error.strerror}", param_hint="CERT") from None
    if not found or found[0].problem:
        raise click.BadParameter(f"{text} holds no certificate", param_hint="CERT")
    # The first one is the certificate itself; what follows in a bundle is its chain.
    return _of_der(found[0].der)


def _of_der(der: bytes) -> Candidate:
    sha256, sha1 = fingerprints(der)
    keys = [Key(Kind.SHA256, sha256), Key(Kind.SHA1, sha1)]
    try:
        keys.append(Key(Kind.SPKI_SHA256, hashlib.sha256(parts_from_der(der).spki).digest()))
        return Candidate(keys[0], tuple(keys), identity_from_der(der))
    except CertificateError:
        return Candidate(keys[0], tuple(keys))


def read_newcomer(text: str, *, hint: str = "CERT", by_key: bool = False) -> Candidate:
    """Return what *text* names, of which an entry is to let somebody in.

    There is no option to overrule a refusal, since such an entry is of no use; a fingerprint is taken without a
    look at what it names.

    Args:
        text: as `read_candidate` takes it.
        hint: the argument's name.
        by_key: the entry is to name the key, which a certificate to come may have as well.

    Raises:
        click.BadParameter: it names nothing, or a file's certificate has ended or is a CA's, which a gate refuses
            whatever lists say.
    """
    candidate = read_candidate(text)
    certificate = candidate.certificate
    if certificate is None:
        return candidate
    if certificate.is_ca:
        raise click.BadParameter(
            f"{text} is a CA's certificate ({certificate.subject_text}), no client's", param_hint=hint
        )
    if certificate.not_after < time.time() and not by_key:
        what = f"{text} ended on {instant(certificate.not_after)}; list the one that the client has now"
        raise click.BadParameter(what, param_hint=hint)
    return candidate


def read_end(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Return a day or an instant to come as seconds since the epoch; for options."""
    if value is None:
        return None
    shape = Timestamp() if ":" in value else Date()
    try:
        end = shape.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if end <= time.time():
        raise click.BadParameter(f"{value} is past, and an entry that ended matches nobody")
    return end
