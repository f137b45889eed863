"""`spoa-authz fingerprint`: what to put into a list so that it names this certificate."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from spoa.cli.table import print_rows, printable
from spoa.exceptions import CertificateError
from spoa.identity import fingerprints, identity_from_der, parts_from_der
from spoa.pem import read_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Fingerprint", "command", "fingerprint_of"]

_BAD: Final = 1
_UNREADABLE: Final = 2

_EXAMPLES: Final = """
\b
Examples:
  spoa-authz fingerprint scanner.pem
  spoa-authz fingerprint --json clients/*.crt
  openssl s_client ... | spoa-authz fingerprint -

Exit status: 0 all is well, 1 a certificate can't be read beyond its
fingerprint (the agent would refuse it), 2 a file holds no certificate.
"""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What names one certificate; hex in lower case, empty where the certificate can't be read that far."""

    file: str
    line: int
    sha256: str
    spki_sha256: str
    sha1: str
    subject: str
    issuer: str
    serial: str
    not_after: str
    problem: str


def fingerprint_of(file: str, line: int, der: bytes) -> Fingerprint:
    """Read what names a certificate; its fingerprints can always be read."""
    sha256, sha1 = (digest.hex() for digest in fingerprints(der))
    try:
        spki_sha256 = hashlib.sha256(parts_from_der(der).spki).hexdigest()
    except CertificateError:
        spki_sha256 = ""
    try:
        certificate = identity_from_der(der)
    except CertificateError as error:
        return Fingerprint(file, line, sha256, spki_sha256, sha1, "", "", "", "", str(error))
    assert isinstance(certificate.serial, int)  # only a certificate written as a map in a policy test may lack it
    return Fingerprint(
        file=file,
        line=line,
        sha256=sha256,
        spki_sha256=spki_sha256,
        sha1=sha1,
        subject=certificate.subject_text,
        issuer=certificate.issuer_text,
        serial=f"{certificate.serial:x}",
        not_after=f"{dt.datetime.fromtimestamp(certificate.not_after, dt.UTC):%Y-%m-%dT%H:%M:%SZ}",
        problem="",
    )


@click.command("fingerprint", epilog=_EXAMPLES)
@click.argument("files", metavar="CERT...", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option("--owner", default="FILL-IN", show_default=True, help="Who answers for the list entries.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(files: tuple[str, ...], owner: str, *, as_json: bool) -> None:
    """Print the fingerprints of certificates, and list entries to paste.

    CERT is a PEM file with any number of certificates, a DER file, or `-` for standard input.
    """
    found: list[Fingerprint] = []
    status = 0
    for file in files:
        try:
            found += _read(file)
        except _UnreadableError as error:
            click.echo(f"spoa-authz fingerprint: {printable(str(error))}", err=True)
            status = _UNREADABLE
    if as_json:
        click.echo(json.dumps({"certificates": [asdict(item) for item in found]}, indent=2))
    elif found:
        _print_text(found, owner)
    bad = [item for item in found if item.problem]
    for item in bad:
        click.echo(f"spoa-authz fingerprint: {item.file}:{item.line}: {printable(item.problem)}", err=True)
    raise SystemExit(status or (_BAD if bad else 0))


class _UnreadableError(Exception):
    def __init__(self, file: str, line: int, detail: str) -> None:
        super().__init__(file, line, detail)
        self.file, self.line, self.detail = file, line, detail

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.detail}" if self.line else f"{self.file}: {self.detail}"


def _read(file: str) -> list[Fingerprint]:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise _UnreadableError(file, 0, str(error.strerror)) from error
    blocks = read_blocks(content, "CERTIFICATE")
    for block in blocks:
        if block.problem:
            raise _UnreadableError(file, block.line, block.problem)
    if not blocks:
        raise _UnreadableError(file, 0, "holds no certificate, neither PEM nor DER")
    return [fingerprint_of(file, block.line, block.der) for block in blocks]


def _print_text(found: Sequence[Fingerprint], owner: str) -> None:
    for item in found:
        click.echo(printable(f"{item.file}:{item.line}" if item.line else item.file))
        print_rows(
            [
                ("  SHA-256", item.sha256),
                ("  SPKI SHA-256", item.spki_sha256 or "can't be read"),
                ("  SHA-1 (legacy)", item.sha1),
                ("  subject", item.subject),
                ("  issuer", item.issuer),
                ("  serial", item.serial),
                ("  not after", item.not_after),
            ]
        )
        click.echo()
    click.echo("To paste into a list, below `entries:`")
    for item in found:
        click.echo()
        click.echo(_entry(item, owner))


def _entry(item: Fingerprint, owner: str) -> str:
    lines = [
        f'  - sha256: "{item.sha256}"',
        f"    owner: {_quoted(owner)}",
        f"    comment: {_quoted(item.subject)}",
    ]
    if item.not_after:
        lines.append(f"    expires: {item.not_after}")
    if item.spki_sha256:
        lines.append("    # in place of sha256, to hold through a renewal with the same key:")
        lines.append(f'    # spki_sha256: "{item.spki_sha256}"')
    if item.serial:
        lines.append("    # in place of sha256, with the issuer's name in the policy:")
        lines.append(f'    # issuer: ISSUER\n    # serial: "{item.serial}"')
    return "\n".join(lines)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    # `printable` escapes in the notation that YAML's double-quoted text reads.
    return f'"{printable(escaped)}"'
