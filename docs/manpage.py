"""Writes the manual page from the table of verbs: what `--help` says, in the form that `man` reads.

Run `python -m docs.manpage` after a change of a verb; `--check` changes nothing and ends with 1 where the page is out
of date.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from docs.generate import commands, value_of
from spoa._version import BUILD_TIME, __version__
from spoa.cli import VERBS, verbs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["PAGE", "main", "page"]

PAGE: Final = Path(__file__).parents[1] / "deploy" / "man" / "spoa-authz.1"

_FILES: Final = {
    "/etc/spoa-authz/agent.yaml": "options of serve, where the unit of systemd runs it",
    "/etc/spoa-authz/policies": "the policy directory",
    "/etc/spoa-authz/token": "what changes over the admin address need",
    "/var/lib/spoa-authz": "state: blocks, break glass, built policies, revocation lists",
    "/var/log/spoa-authz/decisions.jsonl": "the decision log",
}


def _text(words: str) -> str:
    """Escape for roff: backslashes, hyphens that are to be typed, what a line must not begin with, what isn't ASCII."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-")
    escaped = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", escaped)
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)


def _bold(words: str) -> str:
    return f"\\fB{_text(words)}\\fR"


def _italic(words: str) -> str:
    return f"\\fI{_text(words)}\\fR"


def _paragraphs(text: str) -> Iterator[str]:
    """Yield click's help text; a paragraph that click does not wrap stays as it is."""
    for part in inspect.cleandoc(text).split("\n\n"):
        body = part.removeprefix("\b\n")
        yield ".PP"
        if body == part:
            yield _text(" ".join(part.split()))
        else:
            yield from (".nf", _text(body), ".fi")


def _option(option: click.Option) -> Iterator[str]:
    kind: click.ParamType[Any] = option.type
    value = "" if option.is_flag else option.metavar or value_of(kind).replace("`", "")
    yield ".TP"
    yield ", ".join(map(_bold, option.opts)) + (f" {_italic(value)}" if value else "")
    text = option.help or ""
    if option.show_default and isinstance(option.default, str | int) and option.default is not False:
        text += f" Default {option.default}."
    yield _text(text + (" Compulsory." if option.required else ""))


def _command(name: str, command: click.Command) -> Iterator[str]:
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    words = " ".join(one.metavar or one.human_readable_name for one in arguments)
    yield f".SS {_text(name)}"
    yield f"{_bold(f'spoa-authz {name}')} [{_italic('OPTIONS')}] {_italic(words) if words else ''}".rstrip()
    if command.help:
        yield from _paragraphs(command.help)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from _option(parameter)
    if command.epilog:
        yield from _paragraphs(command.epilog)


def page() -> str:
    """Return the manual page."""
    context = click.Context(verbs)
    day = datetime.fromtimestamp(BUILD_TIME, UTC).date().isoformat()
    lines = [
        '.\\" Written by docs/manpage.py from the table of verbs; change those.',
        f'.TH SPOA\\-AUTHZ 1 "{day}" "spoa\\-authz {__version__}" "User Commands"',
        ".SH NAME",
        f"spoa\\-authz \\- {_text('authorization agent for HAProxy: client certificates judged by policies')}",
        ".SH SYNOPSIS",
        f"{_bold('spoa-authz')} {_italic('VERB')} [{_italic('OPTIONS')}] [{_italic('ARGUMENTS')}]",
        ".SH DESCRIPTION",
        _text(str(verbs.help)),
        ".PP",
        _text("HAProxy asks the agent about every request, over SPOP, with the client's certificate. What isn't "
              "explicitly allowed by the policy is denied, also when no agent answers."),
        ".SH VERBS",
    ]  # fmt: skip
    for verb in VERBS:
        top = verbs.get_command(context, verb)
        assert top is not None
        for name, command in commands(top, verb):
            lines += _command(name, command)
    lines.append(".SH FILES")
    for path, meaning in _FILES.items():
        lines += [".TP", _italic(path), _text(meaning)]
    lines += [".SH EXIT STATUS", _text(str(verbs.epilog).partition("Exit status: ")[2])]
    lines += [".SH SEE ALSO", ".BR haproxy (1),", ".BR systemd.service (5)"]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or say that it is out of date."""
    parser = argparse.ArgumentParser(description="Write the manual page.")
    parser.add_argument("--check", action="store_true", help="change nothing; end with 1 where it is out of date")
    is_check = parser.parse_args(arguments).check
    text = page()
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    if not is_check:
        PAGE.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{PAGE.name} {'is out of date' if is_check else 'written'}\n")
    return 1 if is_check else 0


if __name__ == "__main__":
    sys.exit(main())
