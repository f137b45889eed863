"""Fills the generated blocks of the documentation, and generated files, from the tables that the agent runs on.

A page holds `<!-- generated: NAME -->` and `<!-- end of generated -->`; what stands between them is replaced by what
`BLOCKS[NAME]` returns, and all else is written by hand. Run `python -m docs.generate` after a change of a table;
`--check` changes nothing and ends with 1 where a page is out of date.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from docs.pages import PAGES, REASONS, slug
from docs.pages import ROOT as _ROOT
from docs.pages import pages as all_pages
from spoa.adapter import ARGUMENTS
from spoa.cli import VERBS, verbs
from spoa.decision_fields import FIELDS, json_schema
from spoa.doctor import FINDINGS
from spoa.facts import Missing
from spoa.haproxy_config import ALWAYS_SENT, SAMPLES
from spoa.lint.catalogue import ERRORS, WARNINGS, Advice
from spoa.metrics import METRICS
from spoa.monitoring import ALERTS, write_dashboard, write_rules
from spoa.policy import grammar, oids
from spoa.policy.casegrammar import TESTS
from spoa.policy.listfile import LIST_FILE
from spoa.policy.model import Reason
from spoa.policy.scalars import Choice
from spoa.policy.shapes import UNSET, AnyOf, Field, ListOf, MapOf, Named, OneOrMany, Record
from spoa.settings import OPTIONS, environment_name
from spoa.spop import TRANSITIONS, DataType, Happening, Role, State, Status
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from spoa.policy.reading import Shape

__all__ = ["BLOCKS", "PAGES", "commands", "main", "outdated", "rendered", "slug", "value_of"]

_BLOCK: Final = re.compile(
    r"(?P<open>^<!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<close>^<!-- end of generated -->)",
    re.DOTALL | re.MULTILINE,
)


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def _code(words: Iterable[object]) -> str:
    return ", ".join(f"`{word}`" for word in words)


# -- the policy language ----------------------------------------------------------------------------------------


def _record_of(shape: Shape) -> Record | None:
    """Return the record inside a shape, where there is exactly one to be described."""
    while isinstance(shape, Named | OneOrMany | ListOf | MapOf):
        shape = shape.shape if isinstance(shape, Named) else shape.item
    return shape if isinstance(shape, Record) else None


def _stands(shape: Shape) -> str:
    """Say in a few words what may stand behind a key."""
    match shape:
        case Named():
            return _stands(shape.shape)
        case OneOrMany():
            return f"{_stands(shape.item)}, or a list"
        case ListOf():
            return "a list"
        case MapOf():
            return f"names, each with {_stands(shape.item)}"
        case Record():
            return "a mapping"
        case AnyOf():
            ways = ["a value"] if shape.scalar is not None else []
            ways += ["a list"] if shape.sequence is not None else []
            ways += ["a mapping"] if shape.mapping is not None else []
            return " or ".join(ways + [f"`{{{key}: …}}`" for key in shape.keyed])
        case Choice():
            return _code(word for word in shape.values if word)
    return shape.expected


def _field_row(key: str, field: Field) -> tuple[str, str, str, str]:
    words = {True: "`true`", False: "`false`"}
    is_told = field.default is UNSET or "unless given" in field.doc
    default = "" if is_told else f" Default {words.get(field.default, f'`{field.default}`')}."
    return f"`{key}`", "yes" if field.required else "", _stands(field.shape), field.doc + default


def _fields(fields: Mapping[str, Field]) -> str:
    return _table(
        ("key", "must be there", "what stands there", "meaning"), (_field_row(*pair) for pair in fields.items())
    )


def _at(shape: Shape, *keys: str) -> Mapping[str, Field]:
    for key in keys:
        record = _record_of(shape)
        assert record is not None, key
        shape = record.fields[key].shape
    record = _record_of(shape)
    assert record is not None, keys
    return record.fields


def _rule_fields() -> str:
    """Describe the keys of all three effects in one table."""
    records = grammar.RULE.records
    keys = dict.fromkeys(key for record in records.values() for key in record.fields)
    rows = []
    for key in keys:
        found = {effect: record.fields[key] for effect, record in records.items() if key in record.fields}
        must = [effect for effect, field in found.items() if field.required]
        meaning = dict.fromkeys(field.doc for field in found.values())
        first = next(iter(found.values()))
        rows.append(
            (
                f"`{key}`",
                "all" if len(found) == len(records) else _code(found),
                "all" if len(must) == len(records) else _code(must),
                _stands(first.shape),
                " ".join(meaning) + _field_row(key, first)[3].removeprefix(first.doc),
            )
        )
    return _table(("key", "in", "must be there", "what stands there", "meaning"), rows)


def _only(fields: Mapping[str, Field], block: Mapping[str, Field]) -> Mapping[str, Field]:
    return {key: field for key, field in fields.items() if key in block}


def _deny(key: str) -> Mapping[str, Field]:
    return _at(grammar.RULE.records["deny"].fields[key].shape)


# -- HAProxy ----------------------------------------------------------------------------------------------------


def _arguments() -> str:
    nulls = {Missing.ABSENT: "absent", Missing.UNAVAILABLE: "unavailable", False: "false", "": "empty"}
    rows = []
    for name, row in ARGUMENTS.items():
        types = ", ".join(sorted(kind.name.lower() for kind in row.types))
        when = "always" if name.decode() in ALWAYS_SENT else "where the policy reads it"
        rows.append((f"`{name.decode()}`", f"`{SAMPLES[name.decode()]}`", types, str(nulls[row.null]), when))
    headers = ("argument", "sample", "types, beside NULL", "NULL means", "`haproxy-config` sends it")
    return _table(headers, rows)


def _doctor_findings() -> str:
    rows = ((f"`{code}`", str(kind.severity), kind.happens, kind.remedy) for code, kind in FINDINGS.items())
    return _table(("code", "severity", "what can happen", "what to do"), rows)


def _states(role: Role) -> str:
    """Draw a role's table of transitions; happenings that lead the same way share an arrow."""
    arrows: dict[tuple[State, State], list[Happening]] = {}
    for state, row in TRANSITIONS[role].items():
        for happening, target in row.items():
            arrows.setdefault((state, target), []).append(happening)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.NEW.name}"]
    lines += [
        f"    {state.name} --> {target.name}: {', '.join(happening.value for happening in happenings)}"
        for (state, target), happenings in arrows.items()
    ]
    return "\n".join([*lines, "```"])


def _data_types() -> str:
    return _table(("id", "type"), ((str(int(kind)), kind.name.lower()) for kind in DataType))


# -- command line and settings ----------------------------------------------------------------------------------


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command, or each of those below it."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for word in command.list_commands(context):
        child = command.get_command(context, word)
        assert child is not None
        yield from commands(child, f"{name} {word}")


def _option_row(option: click.Option) -> tuple[str, str]:
    flags = ", ".join(f"`{flag}`" for flag in option.opts)
    value = option.metavar or ("" if option.is_flag else value_of(option.type))
    text = option.help or ""
    if option.show_default and isinstance(option.default, str | int) and option.default is not False:
        text += f" Default `{option.default}`."
    return f"{flags} {value}".strip(), text + (" Compulsory." if option.required else "")


def value_of(kind: click.ParamType[Any]) -> str:
    """Return what stands for the value of an option."""
    if isinstance(kind, click.Choice):
        return " or ".join(f"`{word}`" for word in kind.choices)
    return {"integer range": "N", "integer": "N"}.get(kind.name, kind.name.upper())


def _paragraphs(text: str) -> str:
    """Return click's help text as Markdown; a paragraph that click does not wrap becomes code."""
    parts = []
    for part in inspect.cleandoc(text).split("\n\n"):
        body = part.removeprefix("\b\n")
        if body == part:
            parts.append(" ".join(part.split()))
        else:
            parts.append(f"```text\n{body}\n```")
    return "\n\n".join(parts)


def _command_line() -> str:
    context = click.Context(verbs)
    sections = []
    for verb in VERBS:
        top = verbs.get_command(context, verb)
        assert top is not None
        sections.append(f"## {verb}\n\n{VERBS[verb].summary}")
        for name, command in commands(top, verb):
            sections += _command_section(verb, name, command)
    return "\n\n".join(sections)


def _command_section(verb: str, name: str, command: click.Command) -> Iterator[str]:
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if name != verb:
        yield f"### {name}"
    words = " ".join(argument.metavar or argument.human_readable_name for argument in arguments)
    yield f"`spoa-authz {name} [OPTIONS] {words}".rstrip() + "`"
    if command.help:
        yield _paragraphs(command.help)
    if options:
        yield _table(("option", "meaning"), map(_option_row, options))
    if command.epilog:
        yield _paragraphs(command.epilog)


def _decision_fields() -> str:
    return _table(("field", "value"), ((f"`{name}`", field.doc) for name, field in FIELDS.items()))


def _settings() -> str:
    rows = []
    for option in OPTIONS:
        default = f"`{option.default}`" if option.default else "none"
        if option.name == "state-dir":
            default = "see below"
        name = f"`--{option.name}`" + (" (repeatable)" if option.is_repeatable else "")
        rows.append((name, f"`{environment_name(option.name)}`", default, option.unit, option.help))
    return _table(("option", "variable", "default", "unit or kind", "meaning"), rows)


def _metrics() -> str:
    rows = []
    for metric in METRICS:
        labels = _code(metric.labels)
        rows.append((f"`spoa_authz_{metric.name}`", metric.kind, labels, metric.help))
    return _table(("metric", "kind", "labels", "meaning"), rows)


def _reasons() -> str:
    return "\n".join(f"{number}. [`{reason}`](#{slug(reason)})" for number, reason in enumerate(Reason, 1))


def _examples() -> str:
    """Tell of each block that the tests don't run, where it is and why."""
    rows = []
    for page in all_pages().values():
        for block in page.blocks:
            if why := block.word("not-run"):
                to = os.path.relpath(page.path, PAGES / "reference")
                first = block.text.splitlines()[0]
                rows.append((f"[{block.heading}]({to}#{slug(block.heading)})", f"`{first}`", f"[{why}](#{why})"))
    return _table(("stands below", "begins with", "why not"), rows)


def _reasons_not_to_run() -> str:
    return "\n\n".join(f"### {name}\n\n{reason.why} Instead: {reason.instead}" for name, reason in REASONS.items())


def _statuses() -> str:
    return _table(("status", "words"), ((str(int(status)), status.text) for status in Status))


def _names(names: Mapping[str, str]) -> str:
    return _table(("name", "OID"), ((f"`{name}`", oid) for name, oid in names.items()))


def _findings(table: Mapping[str, Advice]) -> str:
    return "\n\n".join(f"### {code}\n\n{advice.meaning}\n\n{advice.remedy}" for code, advice in table.items())


def _alerts() -> str:
    rows = (
        (f"[`{alert.name}`]({alert.runbook}.md)", alert.severity, alert.lasts, f"`{alert.expr}`") for alert in ALERTS
    )
    return _table(("alert", "severity", "lasts", "while"), rows)


#: Files that are generated whole.
FILES: Final[Mapping[str, Callable[[], str]]] = {
    "deploy/monitoring/spoa-authz.rules.yaml": write_rules,
    "deploy/monitoring/spoa-authz.dashboard.json": write_dashboard,
    "docs/reference/decision-log.schema.json": lambda: json.dumps(json_schema(), indent=2) + "\n",
}


def _fuzz_targets() -> str:
    rows = (
        (
            f"`{target.name}`",
            (inspect.getdoc(target.read) or "").partition("\n")[0],
            ", ".join(f"`{error.__name__}`" for error in target.documented) or "nothing",
            str(target.longest),
        )
        for target in TARGETS.values()
    )
    return _table(("target", "what must hold", "may raise", "bytes tried"), rows)


BLOCKS: Final[Mapping[str, Callable[[], str]]] = {
    "alerts": _alerts,
    "arguments": _arguments,
    "command-line": _command_line,
    "data-types": _data_types,
    "decision-fields": _decision_fields,
    "doctor-findings": _doctor_findings,
    "examples": _examples,
    "examples-reasons": _reasons_not_to_run,
    "fuzz-targets": _fuzz_targets,
    "findings-errors": lambda: _findings(ERRORS),
    "findings-warnings": lambda: _findings(WARNINGS),
    "metrics": _metrics,
    "names-eku": lambda: _names(oids.EKU),
    "names-subject": lambda: _names(oids.SUBJECT),
    "policy-break-glass": lambda: _fields(_at(grammar.POLICY, "break_glass")),
    "policy-crl": lambda: _fields(_at(grammar.REVOCATION, "crl")),
    "policy-defaults": lambda: _fields(_at(grammar.POLICY, "defaults")),
    "policy-identity": lambda: _fields(grammar.IDENTITY_FIELDS),
    "policy-issuer": lambda: _fields(_at(grammar.POLICY, "issuers")),
    "policy-list-entry": lambda: _fields(_at(LIST_FILE, "entries")),
    "policy-list-file": lambda: _fields(LIST_FILE.fields),
    "policy-lists": lambda: _fields(_at(grammar.POLICY, "lists")),
    "policy-ocsp": lambda: _fields(_at(grammar.REVOCATION, "ocsp")),
    "policy-request": lambda: _fields(_deny("request")),
    "policy-revocation": lambda: _fields(grammar.REVOCATION.fields),
    "policy-routes": lambda: _fields(_at(grammar.POLICY, "routes")),
    "policy-rules": _rule_fields,
    "policy-test": lambda: _fields(_at(TESTS, "tests")),
    "policy-tests": lambda: _fields(TESTS.fields),
    "policy-time": lambda: _fields(_at(grammar.TIME_WINDOW)),
    "policy-top": lambda: _fields(grammar.POLICY.fields),
    "policy-when": lambda: _fields(_deny("when")),
    "reasons": _reasons,
    "settings": _settings,
    "states-agent": lambda: _states(Role.AGENT),
    "states-haproxy": lambda: _states(Role.HAPROXY),
    "statuses": _statuses,
}


def rendered(text: str) -> str:
    """Return a page with all its generated blocks as they must be now.

    Raises:
        KeyError: a block that no row of `BLOCKS` fills.
    """

    def replace(match: re.Match[str]) -> str:
        return f"{match['open']}\n{BLOCKS[match['name']]()}\n\n{match['close']}"

    return _BLOCK.sub(replace, text)


def outdated() -> dict[Path, str]:
    """Return page or file → what it must be, of those that are not."""
    texts = {page: page.read_text(encoding="utf-8") for page in sorted(PAGES.rglob("*.md"))}
    found = {page: new for page, old in texts.items() if (new := rendered(old)) != old}
    for name, write in FILES.items():
        path, new = _ROOT / name, write()
        if not path.exists() or path.read_text(encoding="utf-8") != new:
            found[path] = new
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring every page up to date, or say which are not."""
    parser = argparse.ArgumentParser(description="Fill the generated blocks of the documentation.")
    parser.add_argument("--check", action="store_true", help="change nothing; end with 1 where a page is out of date")
    is_check = parser.parse_args(arguments).check
    pages = outdated()
    for page, text in pages.items():
        if not is_check:
            page.write_text(text, encoding="utf-8")
        name = page.relative_to(PAGES if page.is_relative_to(PAGES) else _ROOT)
        sys.stdout.write(f"{name} {'is out of date' if is_check else 'written'}\n")
    return 1 if is_check and pages else 0


if __name__ == "__main__":
    sys.exit(main())
