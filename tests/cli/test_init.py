"""The command line as a whole: its verbs, its usage errors, and what becomes of errors raised on purpose."""

from __future__ import annotations

import importlib
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from spoa import __version__, cli
from spoa.cli import VERBS, main, verbs
from spoa.exceptions import PolicyError, Problem, SettingsError, SpoaError


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_a_command(verb: str) -> None:
    assert isinstance(importlib.import_module(f"spoa.cli.{VERBS[verb].module}").command, click.Command)


def test_help_names_every_verb_without_importing_them() -> None:
    program = """
import sys
from spoa.cli import main
try:
    main()
finally:
    print([name for name in sys.modules if name.startswith("spoa.cli.")])
"""
    result = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True)
    assert all(f"  {verb} " in result.stdout for verb in VERBS)
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_verb_is_run() -> None:
    result = CliRunner().invoke(verbs, ["check", "--schema"])
    assert (result.exit_code, result.stdout[0]) == (0, "{")


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(verbs, ["--version"]).stdout == f"spoa-authz, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["chek"], 'there is no verb "chek"; did you mean "check"?'), (["--nope"], "No such option"), (["check"], "DIR")],
)
def test_usage_errors_exit_with_2(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(verbs, arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_unknown_verb_is_none_of_the_table() -> None:
    assert verbs.get_command(click.Context(verbs), "nope") is None
    assert verbs.list_commands(click.Context(verbs)) == list(VERBS)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (PolicyError((Problem("p.yaml", 1, 2, "a", "b"),)), 3, "spoa-authz: p.yaml:1:2 a: b\n"),
        (SettingsError("listen", "is no address"), 2, "spoa-authz: --listen: is no address\n"),
    ],
)
def test_errors_raised_on_purpose_become_messages(
    error: SpoaError, status: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli.verbs, "main", fail)
    with pytest.raises(SystemExit) as exit_:
        main()
    assert (exit_.value.code, capsys.readouterr().err) == (status, message)
