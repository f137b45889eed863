"""The throw-away CA as files, so that the command line can go on where it stopped.

::

    ca.crt  ca.key            the CA's certificate and key
    ca-bundle.pem             its certificate and all above it, for HAProxy's `ca-file`
    issued/NAME.crt  .key     what it issued
    issued/NAME.pem           certificate, intermediates and key, for HAProxy's `crt` and curl's `--cert`
    issued/NAME.p12           the same for browsers, where asked for
    index.json                every certificate issued, and whether it is revoked
    crlnumber  crl.pem        number of the next CRL, in hex; the last CRL

Files with a private key in them are readable by their owner only. Writers take turns by a lock on the directory.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import re
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from spoa.exceptions import StateError
from spoa.ocsp_responder import ocsp_answer
from spoa.pem import write_block
from spoa.pki import CertificateAuthority, Issued, PrivateKey, Template, moment

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Entry", "PkiDirectory", "file_name"]

_SECRET: Final = 0o600
_PUBLIC: Final = 0o644
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._@-]+")


def file_name(name: str) -> str:
    """Return the name under which a certificate's files are kept: letters, digits and `._@-`, never hidden.

    Raises:
        ValueError: nothing is left of the name.
    """
    kept = _UNSAFE.sub("-", name).strip(".-")
    if not kept:
        raise ValueError(f"no file name can be made of {name!r}")
    return kept


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate in the index; `serial` is hex, times are RFC 3339, `revoked` is empty while it is not."""

    name: str
    serial: str
    subject: str
    not_after: str
    revoked: str = ""
    reason: str = ""


class PkiDirectory:
    """A CA directory that exists.

    Attributes:
        path: the directory.
    """

    def __init__(self, path: Path) -> None:
        """Open a directory that `create` or `intermediate` made.

        Raises:
            StateError: there is no CA in it.
        """
        self.path = path
        if not (path / "ca.crt").is_file():
            raise StateError(str(path), "holds no certificate authority; make one with `spoa-authz pki init`")

    @classmethod
    def create(cls, path: Path, template: Template) -> PkiDirectory:
        """Make a root CA in a directory that has none yet.

        Raises:
            StateError: there is one already, or the directory can't be written.
        """
        _refuse_existing(path)
        return cls._written(path, CertificateAuthority.root(template))

    def intermediate(self, path: Path, template: Template, *, is_forced: bool = False) -> PkiDirectory:
        """Make a CA below this one in a directory of its own; this one keeps a copy under that directory's name.

        Raises:
            StateError: there is a CA already, or a directory can't be written.
        """
        _refuse_existing(path)
        name = file_name(path.resolve().name)
        issued = self._issue(name, template, is_forced=is_forced)
        _write(self.path / "issued" / f"{name}.crt", issued.pem, _PUBLIC)
        return self._written(path, CertificateAuthority(issued))

    @classmethod
    def _written(cls, path: Path, authority: CertificateAuthority) -> PkiDirectory:
        try:
            (path / "issued").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(str(path), str(error.strerror)) from error
        chain = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in authority.chain)
        _write(path / "ca.key", authority.issued.key_pem, _SECRET)
        _write(path / "ca-bundle.pem", chain, _PUBLIC)
        _write(path / "index.json", b'{"certificates": []}\n', _PUBLIC)
        _write(path / "crlnumber", b"01\n", _PUBLIC)
        _write(path / "ca.crt", authority.issued.pem, _PUBLIC)  # last: with it the directory is a CA
        return cls(path)

    def issue(
        self, name: str, template: Template, *, password: str | None = None, is_forced: bool = False
    ) -> tuple[Issued, dict[str, Path]]:
        """Issue a certificate and write its files; returns it and the files by kind.

        With `password` there is a PKCS#12 file as well; an empty one leaves that unencrypted. A certificate that
        outlives its CA would be refused, so the template's end is brought forward where it must be.

        Raises:
            StateError: the name was issued before and `is_forced` is false, or a file can't be written.
        """
        name = file_name(name)
        issued = self._issue(name, template, is_forced=is_forced)
        return issued, self._write_issued(name, issued, password)

    def _issue(self, name: str, template: Template, *, is_forced: bool) -> Issued:
        with self._locked():
            entries = self.entries()
            if not is_forced and any(entry.name == name for entry in entries):
                raise StateError(str(self.path), f"{name} was issued before; --force issues it again")
            authority = self.authority()
            end = int(authority.issued.certificate.not_valid_after_utc.timestamp())
            issued = authority.issue(replace(template, not_after=min(template.not_after, end)))
            certificate = issued.certificate
            entry = Entry(
                name=name,
                serial=f"{certificate.serial_number:x}",
                subject=certificate.subject.rfc4514_string(),
                not_after=certificate.not_valid_after_utc.isoformat(),
            )
            # Before the certificate is handed out: one that is not in the index could never be revoked.
            self._write_entries([*entries, entry])
            return issued

    def _write_issued(self, name: str, issued: Issued, password: str | None) -> dict[str, Path]:
        contents = {
            "certificate": ("crt", issued.pem, _PUBLIC),
            "key": ("key", issued.key_pem, _SECRET),
            "bundle": ("pem", issued.bundle_pem, _SECRET),
        }
        if password is not None:
            contents["pkcs12"] = ("p12", issued.p12(password, name), _SECRET)
        files = {}
        for kind, (ending, content, mode) in contents.items():
            files[kind] = self.path / "issued" / f"{name}.{ending}"
            _write(files[kind], content, mode)
        return files

    def revoke(self, name: str, *, at: int, reason: str = "") -> list[Entry]:
        """Revoke every certificate issued under a name, or the one with that serial number in hex.

        Returns the entries as they are now; those revoked before keep their time and reason.

        Raises:
            StateError: there is no such certificate, or the index can't be written.
        """
        with self._locked():
            entries = self.entries()
            chosen = [entry for entry in entries if name in {entry.name, entry.serial}]
            if not chosen:
                raise StateError(str(self.path), f"no certificate named {name}, nor one with that serial number")
            revoked = moment(at).isoformat()
            now = [
                replace(entry, revoked=revoked, reason=reason) if entry in chosen and not entry.revoked else entry
                for entry in entries
            ]
            self._write_entries(now)
            return [entry for entry in now if name in {entry.name, entry.serial}]

    def write_crl(self, *, now: int, valid_for: int) -> tuple[Path, int]:
        """Sign and write a CRL that holds for `valid_for` seconds; returns its file and number.

        Raises:
            StateError: a file can't be read or written.
        """
        with self._locked():
            number = int(self._read("crlnumber"), 16)
            crl = self.authority().crl(this_update=now, next_update=now + valid_for, number=number)
            _write(self.path / "crl.pem", write_block("X509 CRL", crl), _PUBLIC)
            _write(self.path / "crlnumber", f"{number + 1:02x}\n".encode(), _PUBLIC)
            return self.path / "crl.pem", number

    def ocsp_answer(self, request: bytes, *, now: int, valid_for: int = 3600) -> bytes:
        """Answer an OCSP request (DER) by the index as it is now; the answer holds for `valid_for` seconds.

        Raises:
            StateError: the directory can't be read.
        """
        return ocsp_answer(self.authority(), request, now=now, valid_for=valid_for)

    def crl_der(self) -> bytes:
        """Return the last CRL as DER.

        Raises:
            StateError: there is none.
        """
        return x509.load_pem_x509_crl(self._read("crl.pem")).public_bytes(Encoding.DER)

    def authority(self) -> CertificateAuthority:
        """Load the CA with what it issued and revoked.

        Raises:
            StateError: a file can't be read.
        """
        try:
            first, *above = x509.load_pem_x509_certificates(self._read("ca-bundle.pem"))
            key = cast("PrivateKey", load_pem_private_key(self._read("ca.key"), None))
        except ValueError as error:
            raise StateError(str(self.path), f"the CA's certificate or key can't be read: {error}") from error
        authority = CertificateAuthority(Issued(first, key, tuple(above)))
        for entry in self.entries():
            serial = int(entry.serial, 16)
            authority.serials.add(serial)
            if entry.revoked:
                at = int(dt.datetime.fromisoformat(entry.revoked).timestamp())
                authority.revoke(serial, at, entry.reason)
        return authority

    def entries(self) -> list[Entry]:
        """Return the index, oldest first.

        Raises:
            StateError: it can't be read.
        """
        try:
            return [Entry(**entry) for entry in json.loads(self._read("index.json"))["certificates"]]
        except (ValueError, TypeError, KeyError) as error:
            raise StateError(str(self.path / "index.json"), f"not an index of certificates: {error}") from error

    def _write_entries(self, entries: list[Entry]) -> None:
        text = json.dumps({"certificates": [asdict(entry) for entry in entries]}, indent=1)
        _write(self.path / "index.json", f"{text}\n".encode(), _PUBLIC)

    def _read(self, file: str) -> bytes:
        try:
            return (self.path / file).read_bytes()
        except OSError as error:
            raise StateError(str(self.path / file), str(error.strerror)) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _refuse_existing(path: Path) -> None:
    if (path / "ca.crt").exists():
        raise StateError(str(path), "holds a certificate authority already; choose another directory")


def _write(path: Path, content: bytes, mode: int) -> None:
    # Written beside and renamed, so that a reader sees the old file or the new one; mkstemp makes it 0600 at birth.
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except OSError as error:
        raise StateError(str(path), str(error.strerror)) from error
