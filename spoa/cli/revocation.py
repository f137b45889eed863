"""`spoa-authz revocation`: what given evidence says of a certificate, judged by the code that the agent runs."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from spoa.cli.table import print_rows
from spoa.pem import read_blocks
from spoa.revocation import Depth, Reason, Status, check
from spoa.revocation.status import FOREVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spoa.revocation import Result

__all__ = ["SENTENCES", "command"]

_NOT_GOOD: Final = 1
_FILE: Final = click.Path(exists=True, dir_okay=False, allow_dash=False)

_EXAMPLES: Final = """
\b
Examples:
  spoa-authz revocation --cert alice.pem --anchor ca.pem --crl ca.crl
  spoa-authz revocation --cert alice.pem --issuer sub.pem --anchor root.pem \\
      --crl all-crls.pem --depth chain --at 2026-11-20T10:00:00Z --json
  spoa-authz revocation --cert alice.pem --anchor ca.pem --ocsp-response alice.ors

Exit status: 0 the certificate is good, 1 it is anything else (revoked,
unknown, undetermined), 2 usage.
"""

#: What each reason means, for people.
SENTENCES: Final[dict[Reason, str]] = {
    Reason.OK: "fresh evidence covers it and does not list it",
    Reason.NOT_LOADED: "none of the evidence is about this certificate's issuer",
    Reason.NO_RESPONDER: "the certificate names no OCSP responder that may be asked",
    Reason.UNREACHABLE: "nobody who could say could be reached",
    Reason.WRONG_CERTIFICATE: "the OCSP response is about another certificate, or another issuer",
    Reason.PARSE_ERROR: "the evidence can't be read",
    Reason.TOO_LARGE: "the CRL is larger than is ever read",
    Reason.RESPONDER_ERROR: "the OCSP responder gave no answer but an error",
    Reason.WRONG_SCOPE: "the issuer's CRL is for other certificates: compare the distribution points of both",
    Reason.SIGNER_UNKNOWN: "whoever signed the evidence is not among the certificates given",
    Reason.BAD_SIGNATURE: "the signature on the evidence is wrong",
    Reason.WEAK_SIGNATURE: "the evidence is signed with an algorithm that is not trusted any more, or not known",
    Reason.RESPONDER_NOT_AUTHORIZED: "the OCSP responder was not authorized by this certificate's issuer",
    Reason.CRL_SIGN_MISSING: "the signer of the CRL has a keyUsage without cRLSign",
    Reason.SIGNER_NOT_TRUSTED: "the signer of the evidence has no valid path to the anchor, or is another CA",
    Reason.SIGNER_REVOKED: "the signer of the evidence is itself revoked",
    Reason.SIGNER_UNDETERMINED: "nothing proves that the signer of the evidence is not revoked",
    Reason.NUMBER_MISSING: "the CRL has no number, which a version 2 CRL must have",
    Reason.UNKNOWN_CRITICAL: "the evidence has a critical extension that is not known here",
    Reason.UNSUPPORTED: "the CRL has entries of other issuers, and doesn't say that it is an indirect one",
    Reason.NONCE_MISMATCH: "the OCSP response has not the nonce that was sent",
    Reason.ROLLBACK: "the CRL is older than the one that was loaded",
    Reason.DELTA_WITHOUT_BASE: "there is a delta CRL, and no CRL that it fits",
    Reason.NO_NEXT_UPDATE: "the CRL doesn't say how long it is valid",
    Reason.NOT_YET_VALID: "the evidence is from the future",
    Reason.STALE: "the evidence is past its nextUpdate",
    Reason.SOME_REASONS_ONLY: "the CRLs together don't speak for all reasons of revocation",
    Reason.RESPONDER_UNKNOWN: "the OCSP responder doesn't know the certificate",
    Reason.CERTIFICATE_UNPARSABLE: "the certificate, or one of its issuers, can't be read",
    Reason.ISSUER_UNKNOWN: "the issuers given don't lead from the certificate to an anchor",
    Reason.CERTIFICATE_NOT_VALID_NOW: "the certificate is not valid at this time, and lists forget what has expired",
}


def _moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> dt.datetime:
    if value is None:
        return dt.datetime.now(dt.UTC)
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write it as 2026-11-20T10:00:00Z") from None
    if moment.tzinfo is None:
        raise click.BadParameter("it has no time zone; write it as 2026-11-20T10:00:00Z")
    return moment


def _nonce(_context: click.Context, _parameter: click.Parameter, value: str | None) -> bytes | None:
    try:
        return None if value is None else bytes.fromhex(value)
    except ValueError:
        raise click.BadParameter("it is not hexadecimal") from None


@click.command("revocation", epilog=_EXAMPLES)
@click.option("--cert", "certificate", required=True, type=_FILE, help="The certificate in question.")
@click.option("--issuer", "issuers", multiple=True, type=_FILE, help="The CA certificates above it, nearest first.")
@click.option("--anchor", "anchors", multiple=True, type=_FILE, help="Whom to trust; by default the last issuer.")
@click.option("--extra", multiple=True, type=_FILE, help="Certificates that may have signed CRLs, and their issuers.")
@click.option("--crl", "crls", multiple=True, type=_FILE, help="CRLs, complete, delta or indirect.")
@click.option("--ocsp-response", "responses", multiple=True, type=_FILE, help="OCSP responses, as DER.")
@click.option("--at", "moment", callback=_moment, metavar="TIME", help="The time to judge at; by default now.")
@click.option("--depth", type=click.Choice([depth.value for depth in Depth]), default="leaf", show_default=True)
@click.option("--nonce", callback=_nonce, metavar="HEX", help="The nonce that the OCSP request had.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(  # noqa: PLR0913 - one for each option
    *,
    certificate: str,
    issuers: tuple[str, ...],
    anchors: tuple[str, ...],
    extra: tuple[str, ...],
    crls: tuple[str, ...],
    responses: tuple[str, ...],
    moment: dt.datetime,
    depth: str,
    nonce: bytes | None,
    as_json: bool,
) -> None:
    """Tell whether a certificate is revoked, by the evidence given and nothing else.

    Files are PEM with any number of blocks, or DER; options that take several may be repeated. Further certificates in
    the file of --cert are its issuers, unless --issuer names some. Nothing is fetched.
    """
    asked, *above = _certificates([certificate])
    result = check(
        asked,
        _certificates(issuers) or above,
        anchors=_certificates(anchors),
        extra=_certificates(extra),
        crls=[_content(file) for file in crls],
        ocsp_responses=[_content(file) for file in responses],
        now=moment,
        depth=depth,
        request_nonce=nonce,
    )
    if as_json:
        click.echo(json.dumps(_as_json(result), indent=2))
    else:
        _print_text(result)
    raise SystemExit(0 if result.status is Status.GOOD else _NOT_GOOD)


def _content(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise click.FileError(file, error.strerror) from error


def _certificates(files: Iterable[str]) -> list[bytes]:
    found: list[bytes] = []
    for file in files:
        content = _content(file)
        # What is no certificate goes on as it is, to be judged as such.
        found += [block.der for block in read_blocks(content, "CERTIFICATE")] or [content]
    return found


def _as_json(result: Result) -> dict[str, object]:
    return {
        "status": result.status.value,
        "reason": str(result.reason),
        "position": result.position,
        "valid_until": _valid_until(result) or None,
    }


def _valid_until(result: Result) -> str:
    if result.status is not Status.GOOD or result.valid_until == FOREVER:
        return ""
    try:
        return f"{dt.datetime.fromtimestamp(result.valid_until, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return ""  # beyond the year 9999, where some write their last day


def _print_text(result: Result) -> None:
    why = str(result.reason)
    if result.status is not Status.REVOKED:
        why = f"{why} - {SENTENCES[Reason(result.reason)]}"
    rows = [("status", result.status.value), ("reason", why)]
    if result.position:
        rows.append(("about", f"the issuer {result.position} above the certificate"))
    until = _valid_until(result)
    if until:
        rows.append(("holds until", until))
    print_rows(rows)
