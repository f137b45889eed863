"""The files by which others run `check`, `test` and `fmt`: hooks of pre-commit and a GitHub action."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from spoa.cli import VERBS

ROOT: Final = Path(__file__).parents[1]
HOOKS: Final = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
ACTION: Final = yaml.safe_load((ROOT / "deploy" / "action.yml").read_text())
STEPS: Final = {step["name"]: step for step in ACTION["runs"]["steps"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a repository with the shipped policies, in which `spoa-authz` can be called."""
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    program = tmp_path / "bin" / "spoa-authz"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m spoa "$@"\n')
    program.chmod(0o755)
    return tmp_path


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_passes_on_what_is_shipped(hook: dict[str, Any], folder: Path) -> None:
    program, verb, *_ = command = shlex.split(hook["entry"])
    assert program == "spoa-authz"
    assert verb in VERBS
    assert hook["language"] == "python"
    assert re.search(hook["files"], "policies/rules.yaml")
    given = (
        hook.get("args", []) if hook.get("pass_filenames") is False else ["policies/rules.yaml", "policies/api.yaml"]
    )
    result = run(folder, *command, *given)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_hooks_fail_on_what_is_wrong(folder: Path) -> None:
    rules = folder / "policies" / "rules.yaml"
    rules.write_text(rules.read_text().replace("who: administrators", "who: staff", 1))
    commands = {hook["id"]: [*shlex.split(hook["entry"]), *hook.get("args", [])] for hook in HOOKS}
    assert run(folder, *commands["spoa-authz-test"]).returncode == 4
    rules.write_text(rules.read_text() + "  - {backend: late}\n")
    assert run(folder, *commands["spoa-authz-check"]).returncode == 5


def test_the_action_annotates_fails_and_writes_sarif(folder: Path) -> None:
    variables = {"POLICIES": "policies", "STRICT": "true", "SARIF": "found.sarif"}
    steps = {name: ("bash", "-euo", "pipefail", "-c", step["run"]) for name, step in STEPS.items()}
    for name in ("Write SARIF", "Check", "Test"):
        assert run(folder, *steps[name], **variables).returncode == 0
    rules = folder / "policies" / "rules.yaml"
    rules.write_text(rules.read_text() + "  - {backend: late}\n")
    assert run(folder, *steps["Write SARIF"], **variables).returncode == 0
    (result,) = json.loads((folder / "found.sarif").read_text())["runs"][0]["results"]
    assert result["ruleId"] == "unreachable-route"
    checked = run(folder, *steps["Check"], **variables)
    assert checked.returncode == 5
    assert checked.stdout.startswith("::warning file=policies/rules.yaml,line=41,")
    assert run(folder, *steps["Check"], **{**variables, "STRICT": "false"}).returncode == 0


def test_every_input_of_the_action_is_used_and_none_else() -> None:
    text = (ROOT / "deploy" / "action.yml").read_text()
    assert set(re.findall(r"inputs\.(\w+)", text)) == set(ACTION["inputs"])
    assert all("${{" not in step["run"] for step in STEPS.values())  # an input in a script could be a command
