"""`spoa-authz pki`: a throw-away certificate authority for trying things."""

from __future__ import annotations

import functools
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeAlias

import click

from spoa.cli.table import print_rows
from spoa.exceptions import StateError
from spoa.identity import fingerprints
from spoa.ocsp_responder import CRL_PATH, OcspResponder
from spoa.pki import CLIENT_AUTH, KEY_KINDS, REASONS, SERVER_AUTH, Template
from spoa.pki_directory import PkiDirectory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spoa.pki import Issued

__all__ = ["command"]

P = ParamSpec("P")
Decorator: TypeAlias = "Callable[[Callable[..., None]], Callable[..., None]]"

_DAY: Final = 24 * 3600
_BACKDATED: Final = 300  # seconds; the clocks of those who try things disagree
_EKUS: Final = {"client": (CLIENT_AUTH,), "server": (SERVER_AUTH,), "none": None}

_EXAMPLES: Final = """
\b
Examples:
  spoa-authz pki init root
  spoa-authz pki intermediate issuing --under root
  spoa-authz pki server issuing --dns localhost --ip 127.0.0.1
  spoa-authz pki client issuing --cn alice --ou administrators
  spoa-authz pki revoke issuing alice --reason keyCompromise
  spoa-authz pki crl issuing
"""

_DIRECTORY = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_FORCE = click.option("--force", is_flag=True, help="Issue a name again; the old certificate stays valid.")


_KEY = click.option("--key", type=click.Choice(list(KEY_KINDS)), default="ec", show_default=True, help="Kind of key.")


def _days(default: int, what: str) -> Decorator:
    days = click.IntRange(1, 36500)
    return click.option("--days", type=days, default=default, show_default=True, help=f"How long {what} is valid.")


def _reporting(run: Callable[P, None]) -> Callable[P, None]:
    """Turn what a directory refuses into a message and exit status 2."""

    @functools.wraps(run)
    def reported(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            run(*arguments, **options)
        except StateError as error:
            raise click.UsageError(str(error)) from error
        except ValueError as error:  # cryptography's, for names that can't stand in a certificate
            raise click.UsageError(f"not possible in a certificate: {error}") from error

    return reported


@click.group("pki", epilog=_EXAMPLES)
def command() -> None:
    """Make a throw-away CA, for trying things; never for production.

    Keys are not encrypted and nobody approves anything.
    """


@command.command(epilog="\b\nExample:\n  spoa-authz pki init root --cn 'Demo Root CA'")
@_DIRECTORY
@click.option("--cn", default="Throw-away Root CA", show_default=True, help="Common name of the CA.")
@_KEY
@_days(3650, "the CA")
@_JSON
@_reporting
def init(directory: Path, cn: str, key: str, days: int, *, as_json: bool) -> None:
    """Make a root CA in DIR."""
    made = PkiDirectory.create(directory, _template(days, cn=(cn,), key=key, is_ca=True))
    _print_authority(made, as_json=as_json)


@command.command(epilog="\b\nExample:\n  spoa-authz pki intermediate issuing --under root")
@_DIRECTORY
@click.option("--under", required=True, type=click.Path(path_type=Path), help="Directory of the CA above.")
@click.option("--cn", default="Throw-away Issuing CA", show_default=True, help="Common name of the CA.")
@_KEY
@_days(1825, "the CA")
@_FORCE
@_JSON
@_reporting
def intermediate(directory: Path, under: Path, cn: str, key: str, days: int, *, force: bool, as_json: bool) -> None:
    """Make a CA in DIR, certified by another."""
    template = _template(days, cn=(cn,), key=key, is_ca=True, path_length=0)
    made = PkiDirectory(under).intermediate(directory, template, is_forced=force)
    _print_authority(made, as_json=as_json)


def _naming(run: Callable[..., None]) -> Callable[..., None]:
    options: list[Decorator] = [
        click.option("--name", help="Name of the files; default: the first common name, DNS name or address."),
        click.option("--o", multiple=True, help="Organization; repeatable."),
        click.option("--dns", multiple=True, help="DNS name; repeatable."),
        click.option("--ip", multiple=True, help="IP address; repeatable."),
        click.option("--ocsp-url", default="", help="Where its revocation can be asked."),
        click.option("--crl-url", default="", help="Where the CRL is to be had."),
        click.option("--p12", is_flag=True, help="Write a PKCS#12 file as well."),
        click.option("--password", default="", help="Password of the PKCS#12 file; it is unencrypted without."),
    ]
    for option in reversed(options):
        run = option(run)
    return run


@command.command(epilog="\b\nExample:\n  spoa-authz pki client issuing --cn alice --ou administrators --p12")
@_DIRECTORY
@click.option("--cn", multiple=True, help="Common name; repeatable.")
@click.option("--ou", multiple=True, help="Organizational unit; repeatable.")
@click.option("--uri", multiple=True, help="URI, such as spiffe://example.org/alice; repeatable.")
@click.option("--email", multiple=True, help="E-mail address; repeatable.")
@click.option("--eku", type=click.Choice(list(_EKUS)), default="client", show_default=True, help="Purpose.")
@_naming
@_KEY
@_days(90, "the certificate")
@_FORCE
@_JSON
@_reporting
def client(directory: Path, days: int, eku: str, **options: Any) -> None:
    """Issue a client certificate."""
    _issue(directory, days, eku=_EKUS[eku], **options)


@command.command(epilog="\b\nExample:\n  spoa-authz pki server issuing --dns localhost --ip 127.0.0.1")
@_DIRECTORY
@click.option("--cn", multiple=True, help="Common name; default: the first DNS name or address.")
@_naming
@_KEY
@_days(90, "the certificate")
@_FORCE
@_JSON
@_reporting
def server(directory: Path, days: int, **options: Any) -> None:
    """Issue a server certificate."""
    names = (*options["dns"], *options["ip"])
    if not names:
        raise click.UsageError("a server needs --dns or --ip")
    _issue(directory, days, eku=_EKUS["server"], **{**options, "cn": options["cn"] or names[:1]})


def _issue(
    directory: Path,
    days: int,
    *,
    name: str | None,
    p12: bool,
    password: str,
    force: bool,
    as_json: bool,
    **fields: Any,
) -> None:
    names = [name or "", *(value for kind in ("cn", "dns", "ip", "uri", "email") for value in fields.get(kind, ()))]
    chosen = next(filter(None, names), None)
    if chosen is None:
        raise click.UsageError("a certificate needs a name: --cn, --dns, --ip, --uri, --email or --name")
    issued, files = PkiDirectory(directory).issue(
        chosen, _template(days, **fields), password=password if p12 or password else None, is_forced=force
    )
    _print_issued(issued, files, as_json=as_json)


@command.command(epilog="\b\nExample:\n  spoa-authz pki revoke issuing alice --reason keyCompromise")
@_DIRECTORY
@click.argument("name")
@click.option("--reason", type=click.Choice(REASONS), help="Why (RFC 5280 section 5.3.1).")
@_JSON
@_reporting
def revoke(directory: Path, name: str, reason: str | None, *, as_json: bool) -> None:
    """Revoke what was issued under NAME, or the certificate with that serial number in hex.

    It takes effect with the next CRL (`pki crl`), and at once in a running OCSP responder.
    """
    entries = PkiDirectory(directory).revoke(name, at=int(time.time()), reason=reason or "")
    if as_json:
        _print_json(
            {"revoked": [{"name": e.name, "serial": e.serial, "at": e.revoked, "reason": e.reason} for e in entries]}
        )
        return
    print_rows([("revoked", e.name, e.serial, e.revoked, e.reason or "-") for e in entries])


@command.command(epilog="\b\nExample:\n  spoa-authz pki crl issuing --days 1")
@_DIRECTORY
@_days(7, "the CRL")
@_JSON
@_reporting
def crl(directory: Path, days: int, *, as_json: bool) -> None:
    """Sign a CRL of what is revoked, and write it."""
    file, number = PkiDirectory(directory).write_crl(now=int(time.time()), valid_for=days * _DAY)
    if as_json:
        _print_json({"number": number, "files": {"crl": str(file)}})
        return
    print_rows([("number", str(number)), ("CRL", str(file))])


@command.command(
    "ocsp-responder", epilog="\b\nExample:\n  spoa-authz pki ocsp-responder issuing --listen 127.0.0.1:8888"
)
@_DIRECTORY
@click.option("--listen", default="127.0.0.1:0", show_default=True, help="HOST:PORT; port 0 draws one.")
@click.option("--valid-for", type=click.IntRange(1), default=3600, show_default=True, help="Seconds an answer holds.")
@_JSON
@_reporting
def ocsp_responder(directory: Path, listen: str, valid_for: int, *, as_json: bool) -> None:
    """Answer OCSP requests over HTTP until stopped; serves the last CRL as /ca.crl too."""
    pki = PkiDirectory(directory)
    host, separator, port = listen.rpartition(":")
    if not separator or not port.isascii() or not port.isdigit():
        raise click.UsageError(f"--listen: {listen} is not HOST:PORT")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stopped.set())
    documents = {CRL_PATH: lambda: ("application/pkix-crl", pki.crl_der())}
    try:
        responder = OcspResponder(
            lambda request: pki.ocsp_answer(request, now=int(time.time()), valid_for=valid_for),
            host=host.strip("[]"),
            port=int(port),
            documents=documents,
        )
    except (OSError, OverflowError) as error:
        raise click.UsageError(f"--listen: {listen}: {error}") from error
    with responder:
        if as_json:
            _print_json({"ocsp": responder.url, "crl": responder.url + CRL_PATH})
        else:
            print_rows([("OCSP", responder.url), ("CRL", responder.url + CRL_PATH)])
        sys.stdout.flush()
        stopped.wait()


def _template(days: int, **fields: Any) -> Template:
    now = int(time.time())
    return Template(not_before=now - _BACKDATED, not_after=now + days * _DAY, **fields)


def _print_authority(made: PkiDirectory, *, as_json: bool) -> None:
    files = {kind: made.path / name for kind, name in (("certificate", "ca.crt"), ("key", "ca.key"))}
    _print_issued(made.authority().issued, {**files, "bundle": made.path / "ca-bundle.pem"}, as_json=as_json)


def _print_issued(issued: Issued, files: Mapping[str, Path], *, as_json: bool) -> None:
    certificate = issued.certificate
    subject = certificate.subject.rfc4514_string()
    serial = f"{certificate.serial_number:x}"
    sha256, _ = fingerprints(issued.der)
    until = f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    if as_json:
        written = {kind: str(file) for kind, file in files.items()}
        _print_json(
            {"subject": subject, "serial": serial, "sha256": sha256.hex(), "not_after": until, "files": written}
        )
        return
    facts = [("subject", subject), ("serial", serial), ("SHA-256", sha256.hex()), ("not after", until)]
    print_rows([*facts, *((kind, str(file)) for kind, file in files.items())])


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))
