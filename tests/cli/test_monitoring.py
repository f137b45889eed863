"""What is printed is what the repository ships, for another job, timeout or place of the runbooks if so told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from spoa.cli.monitoring import command

SHIPPED = Path(__file__).parents[2] / "deploy" / "monitoring"


@pytest.mark.parametrize(
    ("verb", "file"), [("rules", "spoa-authz.rules.yaml"), ("dashboard", "spoa-authz.dashboard.json")]
)
def test_what_is_shipped_is_printed(verb: str, file: str) -> None:
    result = CliRunner().invoke(command, [verb])
    assert (result.exit_code, result.stdout) == (0, (SHIPPED / file).read_text())


def test_the_rules_are_those_of_the_operator_s_installation() -> None:
    options = ["--job", "edge", "--runbooks", "https://wiki.example/authz", "--spoe-timeout", "200"]
    result = CliRunner().invoke(command, ["rules", *options])
    _, alerting = (group["rules"] for group in yaml.safe_load(result.stdout)["groups"])
    assert alerting[0]["expr"] == 'up{job="edge"} == 0'
    assert alerting[0]["annotations"]["runbook_url"] == "https://wiki.example/authz/agent-down.md"
    assert any(", 0.2) / 2" in rule["expr"] for rule in alerting)


def test_the_dashboard_draws_the_timeout() -> None:
    result = CliRunner().invoke(command, ["dashboard", "--spoe-timeout", "250"])
    variables = {one["name"]: one for one in json.loads(result.stdout)["templating"]["list"]}
    assert variables["spoe_timeout"]["query"] == "250"


def test_a_timeout_that_is_none_is_a_usage_error() -> None:
    assert CliRunner().invoke(command, ["rules", "--spoe-timeout", "0"]).exit_code == 2
