"""`spoa-authz list`: look after the lists of a policy."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.cli.candidate import read_candidate, read_end, read_newcomer
from spoa.cli.list_import import import_
from spoa.cli.list_removal import Removal
from spoa.cli.list_review import audit, show
from spoa.cli.table import printable
from spoa.exceptions import ListError
from spoa.listedit import Addition, add_entries, finish_rotation, instant, new_list, remove_entries, start_rotation
from spoa.listindex import NEVER, Kind
from spoa.liststore import create_list, edit_list
from spoa.listtext import ListText

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spoa.cli.candidate import Candidate
    from spoa.listtext import Key, Listed

__all__ = ["command"]

_NOTHING: Final = 1

_EPILOG: Final = """
\b
Examples:
  spoa-authz list add policies/lists/docks.yaml scanner.pem --owner warehouse-ops
  spoa-authz list show policies/lists/docks.yaml --log decisions.jsonl
  spoa-authz list audit policies/lists/*.yaml --log decisions.jsonl
  spoa-authz list rotate policies/lists/docks.yaml old.pem new.pem
  spoa-authz list import policies/lists/docks.yaml /etc/haproxy/allowed.lst

\b
A changed list is taken up by a running agent as any edit of its policy is.
Comments, order and layout of a list survive every edit.
"""

_FILE = click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
_CERTS = click.argument("certs", metavar="CERT...", nargs=-1, required=True)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_STATUS: Final = "\b\nExit status: {}, 2 usage, 3 the file is no list."


_EXPIRES = click.option(
    "--expires",
    metavar="TIME",
    callback=read_end,
    help="When the entry ends, such as 2027-12-31; by default with a file.",
)


@click.group("list", short_help="Look after the lists of a policy.", epilog=_EPILOG)
def command() -> None:
    """Add to a list, remove from it, show it, audit it.

    FILE is a list of a policy: `.yaml` in the rich form, anything else one fingerprint a line. CERT is a certificate
    file, a fingerprint, `spki:HEX` or `ISSUER/SERIAL-HEX` (ISSUER as the policy names it).
    """


@command.command(
    epilog="\b\nExamples:\n"
    "  spoa-authz list add lists/docks.yaml scanner.pem --owner warehouse-ops\n"
    "  spoa-authz list add lists/docks.yaml spki:9f0c… --expires 2027-12-31\n\n"
    + _STATUS.format("0 all are on the list, 1 an entry that is there has ended")
)
@_FILE
@_CERTS
@click.option("--owner", default="", help="Who answers for the client.")
@click.option("--comment", default="", help="What the client is; by default the subject of a certificate file.")
@click.option("--ticket", default="", help="Where it was asked for.")
@_EXPIRES
@click.option("--key", "by_key", is_flag=True, help="List the key of certificate files: it survives a renewal.")
@click.option("--create", is_flag=True, help="Make the file where it is missing.")
@_JSON
def add(
    file: Path,
    certs: tuple[str, ...],
    expires: int | None,
    *,
    by_key: bool,
    create: bool,
    as_json: bool,
    **notes: str,
) -> None:
    """Put certificates on the list FILE, behind the last entry.

    What is on the list already stays as it is. An entry of a certificate file ends with the certificate, unless the
    list is permanent or --expires says otherwise. A certificate that has ended, or is a CA's, is refused, and then
    nothing is added: no entry would let it in.
    """
    wanted = [_addition(read_newcomer(text, by_key=by_key), expires, notes, by_key=by_key) for text in certs]
    if create and create_list(file, new_list(file.name)):
        click.echo(f"made {printable(str(file))}", err=True)

    def edit(text: bytes) -> tuple[bytes, tuple[list[Addition], list[Listed]]]:
        before = ListText(text, str(file))
        fresh: dict[Key, Addition] = {}
        for one in wanted:
            if not before.named(one.key):
                fresh.setdefault(one.key, _fitting(one, before, is_given=expires is not None))
        known = [entry for entry in before.entries if entry.key in {one.key for one in wanted}]
        return add_entries(text, str(file), list(fresh.values())), (list(fresh.values()), known)

    added, known = edit_list(file, edit)
    over = [entry for entry in known if entry.expires < time.time()]
    if as_json:
        already, ended = ([entry.key.text for entry in those] for those in (known, over))
        _print_json(file, added=[one.key.text for one in added], already=already, ended=ended)
    else:
        for one in added:
            click.echo(f"added {one.key.text} to {printable(str(file))}")
        for entry in known:
            click.echo(f"{entry.key.text} is on it already, {printable(str(file))}:{entry.first + 1}")
    for entry in over:
        message = f"{file}:{entry.first + 1}: this entry ended on {instant(entry.expires)} and lets nobody in; "
        click.echo(f"spoa-authz list: {printable(message)}give it another end, or remove it and add it again", err=True)
    raise SystemExit(_NOTHING if over else 0)


def _addition(candidate: Candidate, expires: int | None, notes: dict[str, str], *, by_key: bool) -> Addition:
    key = candidate.spki if by_key else candidate.key
    if key is None:
        raise click.UsageError("--key wants certificate files whose key can be read, not what names a certificate")
    comment = notes["comment"]
    if not comment and candidate.certificate is not None:
        comment = candidate.certificate.subject_text
    until = candidate.expires if expires is None else expires
    return Addition(key, notes["owner"], comment, notes["ticket"], until)


def _fitting(addition: Addition, text: ListText, *, is_given: bool) -> Addition:
    """Leave out an end that nobody asked for, where the list does without."""
    until = NEVER if text.is_permanent and not is_given else addition.expires
    if until < time.time():
        what = f"the certificate ended on {instant(until)}, and the entry would with it; give --expires"
        raise click.BadParameter(what, param_hint="CERT")
    return Addition(addition.key, addition.owner, addition.comment, addition.ticket, until)


@command.command(
    epilog="\b\nExample:\n  spoa-authz list remove lists/docks.yaml scanner.pem\n\n"
    + _STATUS.format("0 removed, 1 nothing named one of them, or something still does")
)
@_FILE
@_CERTS
@_JSON
def remove(file: Path, certs: tuple[str, ...], *, as_json: bool) -> None:
    """Take certificates off the list FILE.

    A certificate file is taken off by its fingerprints and its key, and as the successor of another. An entry under
    rotation goes with its `next`, since both are one client's; that is said, with the command that has it back. An
    entry by serial number is named, since only you know whether it means this certificate.
    """
    candidates = [read_candidate(text) for text in certs]
    keys = {key for candidate in candidates for key in candidate.keys}

    def edit(text: bytes) -> tuple[bytes, Removal]:
        after, named = remove_entries(text, str(file), keys)
        return after, Removal(named, frozenset(keys), ListText(after, str(file)).entries)

    removal = edit_list(file, edit)
    found = {key for entry in removal.named for key in entry.keys}
    missing = [text for text, one in zip(certs, candidates, strict=True) if found.isdisjoint(one.keys)]
    left = _by_serial(file, candidates)
    if as_json:
        _print_json(file, **removal.answer, missing=missing, perhaps=[entry.key.text for entry in left])
    else:
        for line in removal.lines(file):
            click.echo(line)
        for line in removal.hints(file):
            click.echo(f"spoa-authz list: {line}", err=True)
    for text in missing:
        click.echo(f"spoa-authz list: nothing on {printable(str(file))} names {printable(text)}", err=True)
    for entry in left:
        message = f"{file}:{entry.first + 1}: {entry.key.text} has the same serial number; if it is of this issuer, "
        click.echo(f"spoa-authz list: {printable(message)}remove it too", err=True)
    raise SystemExit(_NOTHING if missing or left else 0)


def _by_serial(file: Path, candidates: Sequence[Candidate]) -> list[Listed]:
    """Return the entries by serial number that may mean one of the certificates."""
    serials = {
        f"{one.certificate.serial:x}"
        for one in candidates
        if one.certificate and isinstance(one.certificate.serial, int)
    }
    if not serials:
        return []
    entries = edit_list(file, lambda text: (text, ListText(text, str(file)).entries))
    return [entry for entry in entries if entry.key.kind is Kind.SERIAL and entry.key.serial in serials]


@command.command(
    epilog="\b\nExamples:\n"
    "  spoa-authz list rotate lists/docks.yaml old.pem new.pem\n"
    "  spoa-authz list rotate lists/docks.yaml old.pem --finish\n\n" + _STATUS.format("0 done")
)
@_FILE
@click.argument("old")
@click.argument("new", required=False)
@click.option("--finish", is_flag=True, help="The successor takes the entry over; OLD matches no longer.")
@_EXPIRES
@_JSON
def rotate(file: Path, old: str, new: str | None, expires: int | None, *, finish: bool, as_json: bool) -> None:
    """Accept the certificate NEW beside OLD, which is on the list FILE; or finish that.

    While a rotation lasts, both certificates match, until the entry ends. `list audit --log` tells when the successor
    is in use, which a denied request doesn't show, and the old certificate no longer.
    """
    key = read_candidate(old).key
    candidate = None if new is None else read_newcomer(new, hint="NEW")
    if candidate is None and not finish:
        raise click.UsageError("name the certificate that comes: list rotate FILE OLD NEW; or --finish")
    if candidate is not None and candidate.key.kind is not Kind.SHA256:
        raise click.BadParameter("the successor is named by a certificate file or its SHA-256", param_hint="NEW")
    if not finish:
        assert candidate is not None
        if expires is not None:
            raise click.UsageError("--expires goes with --finish; until then the entry's own end holds")
        edit_list(file, lambda text: (_begun(text, file, key, candidate.key), None))
        _tell(file, f"accepts {candidate.key.text} beside {key.text}", as_json=as_json, rotating=key.text)
        return

    def finishing(text: bytes) -> tuple[bytes, None]:
        (entry,) = ListText(text, str(file)).named(key)[:1] or (None,)
        if candidate is not None and entry is not None and entry.next != candidate.key.digest:
            raise click.BadParameter(f"it is not the `next` of {key.text}", param_hint="NEW")
        until = expires
        if until is None and candidate is not None and entry is not None and entry.expires != NEVER:
            until = None if candidate.expires == NEVER else candidate.expires
        return finish_rotation(text, str(file), key, until), None

    edit_list(file, finishing)
    _tell(file, f"accepts {key.text} no longer, its successor has the entry", as_json=as_json, finished=key.text)


def _begun(text: bytes, file: Path, key: Key, successor: Key) -> bytes:
    """Begin a rotation, if the entry lasts: both match until it ends."""
    for entry in ListText(text, str(file)).named(key):
        if entry.expires < time.time():
            what = f"this entry ended on {instant(entry.expires)}, so neither would match; give it another end"
            raise ListError(str(file), entry.first + 1, f"{what}, or take it off and add the successor")
    return start_rotation(text, str(file), key, successor.digest)


def _tell(file: Path, text: str, *, as_json: bool, **said: Any) -> None:
    if as_json:
        _print_json(file, **said)
    else:
        click.echo(f"{printable(str(file))} {text}")


def _print_json(file: Path, **said: Any) -> None:
    click.echo(json.dumps({"file": str(file), **said}, indent=2, ensure_ascii=False))


for part in (show, audit, import_):
    command.add_command(part)
