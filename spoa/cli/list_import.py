"""`spoa-authz list import`: put on a list what others keep in another form."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from spoa.cli.candidate import read_end
from spoa.cli.table import printable
from spoa.exceptions import ListError
from spoa.listedit import Addition, add_entries, check_addition, instant, new_list
from spoa.listimport import FORMATS, read_entries
from spoa.listindex import NEVER
from spoa.liststore import create_list, edit_list
from spoa.listtext import ListText

if TYPE_CHECKING:
    from spoa.listimport import Imported
    from spoa.listtext import Key

__all__ = ["import_"]

_LEFT: Final = 1


@click.command(
    "import",
    epilog="\b\nExamples:\n"
    "  spoa-authz list import lists/docks.yaml /etc/haproxy/allowed.lst --expires 2027-12-31\n"
    "  spoa-authz list import lists/docks.yaml register.csv clients/*.pem --dry-run\n"
    "  openssl x509 -in c.pem -noout -sha256 -fingerprint -dates | \\\n"
    "      spoa-authz list import lists/docks.yaml -\n\n"
    "\b\nExit status: 0 all was taken, 1 lines could not be taken, 2 usage,\n3 the file is no list.",
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option("--format", "kind", type=click.Choice(list(FORMATS)), help="By default what a source looks like.")
@click.option("--owner", default="", help="Who answers for entries of which a source doesn't say it.")
@click.option("--ticket", default="", help="Where they were asked for, likewise.")
@click.option("--expires", metavar="TIME", callback=read_end, help="When they end, likewise; such as 2027-12-31.")
@click.option("--create", is_flag=True, help="Make the file where it is missing.")
@click.option("--dry-run", is_flag=True, help="Tell what would be taken, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def import_(
    file: Path, sources: tuple[str, ...], kind: str | None, *, create: bool, dry_run: bool, as_json: bool, **given: Any
) -> None:
    """Put certificates on the list FILE that other programs keep in another form.

    A SOURCE (`-` is standard input) holds PEM or DER certificates, the output of `openssl x509 -fingerprint`, one
    fingerprint a line as HAProxy's acl and map files do, or CSV with names of columns in its first line: fingerprint,
    spki, serial, issuer, owner, comment, ticket, expires, or similar. Each line that can't be taken is named.
    """
    read = {source: read_entries(_content(source), kind or "") for source in sources}
    if create and not dry_run:
        create_list(file, new_list(file.name))
    outcome = _Outcome(file, given)
    if dry_run:
        outcome.edit(file.read_bytes() if file.exists() else new_list(file.name), read)
    else:
        edit_list(file, lambda text: (outcome.edit(text, read), None))
    outcome.tell(as_json=as_json, is_dry=dry_run)
    sys.exit(_LEFT if outcome.refused else 0)


def _content(source: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{source} can't be read: {error.strerror}", param_hint="SOURCE") from None


class _Outcome:
    """What became of every line."""

    def __init__(self, file: Path, given: dict[str, Any]) -> None:
        self.file = file
        self.given = given
        self.added: list[Addition] = []
        self.known: list[str] = []
        self.refused: list[tuple[str, int, str]] = []

    def edit(self, text: bytes, read: dict[str, Imported]) -> bytes:
        """Return the list with all that could be taken."""
        before = ListText(text, str(self.file))
        fresh: dict[Key, Addition] = {}
        on_it = {entry.key for entry in before.entries}
        for source, imported in read.items():
            self.refused += [(source, refusal.line, refusal.why) for refusal in imported.refusals]
            for line, entry in imported.entries:
                if entry.key in on_it or entry.key in fresh:
                    self.known.append(entry.key.text)
                    continue
                if entry.expires < time.time():
                    why = f"{entry.key.text} ended on {instant(entry.expires)}, and would let nobody in"
                    self.refused.append((source, line, why))
                    continue
                addition = self._completed(entry, before)
                try:
                    check_addition(before, addition)
                except ListError as error:
                    self.refused.append((source, line, error.detail))
                    continue
                fresh[entry.key] = addition
        self.added = list(fresh.values())
        return add_entries(text, str(self.file), self.added)

    def _completed(self, entry: Addition, before: ListText) -> Addition:
        expires = entry.expires if entry.expires != NEVER else self.given["expires"] or NEVER
        if before.is_permanent and not (before.is_rich and self.given["expires"]):
            expires = NEVER
        owner, ticket = entry.owner or self.given["owner"], entry.ticket or self.given["ticket"]
        return Addition(entry.key, owner, entry.comment, ticket, expires)

    def tell(self, *, as_json: bool, is_dry: bool) -> None:
        """Print it."""
        if as_json:
            answer = {
                "file": str(self.file),
                "added": [one.key.text for one in self.added],
                "already": self.known,
                "refused": [{"source": source, "line": line, "why": why} for source, line, why in self.refused],
            }
            click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        for source, line, why in self.refused:
            click.echo(printable(f"{source}:{line}: {why}" if line else f"{source}: {why}"), err=True)
        if not as_json:
            verb = "would be added" if is_dry else "added"
            counts = f"{len(self.added)} {verb}, {len(self.known)} already there, {len(self.refused)} not taken"
            click.echo(f"{printable(str(self.file))}: {counts}")
