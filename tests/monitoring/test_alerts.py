"""Each alert says what happened, where it is written what to do, and how bad it is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from spoa.cli import verbs
from spoa.metrics import REQUEST_BUCKETS
from spoa.monitoring.alerts import ALERTS, RECORDINGS, Alert, alerts, recordings

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "how-to" / "runbooks"


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_each_alert_has_its_runbook(alert: Alert) -> None:
    text = (RUNBOOKS / f"{alert.runbook}.md").read_text()
    assert text.startswith(f"# {alert.name}\n")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == ["What it means", "Look first", "Do", "So that it does not come back"]
    assert f"**{alert.severity}**" in text


def test_no_runbook_is_left_over() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == {alert.runbook for alert in ALERTS}


def command_of(words: list[str]) -> click.Command:
    """Return what a command line calls, as far as it names verbs."""
    command: click.Command = verbs
    for word in words:
        below = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        if below is None:
            break
        command = below
    return command


def test_runbooks_name_verbs_and_options_that_are_there() -> None:
    """Nobody has the patience at night for a command that is a usage error."""
    for page in sorted(RUNBOOKS.glob("*.md")):
        for line in re.findall(r"`(spoa-authz [a-z][^`]*)`", page.read_text()):
            words = shlex.split(line.partition("|")[0])[1:]
            command = command_of(words)
            assert command is not verbs, f"{page.name}: {line}"
            known = {name for parameter in command.params for name in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known, f"{page.name}: {line}"


def test_runbooks_ask_for_no_core_file_that_the_shipped_unit_forbids() -> None:
    assert "LimitCORE=0" in (ROOT / "deploy" / "systemd" / "spoa-authz.service").read_text()
    asking = [text for page in RUNBOOKS.glob("*.md") if "core file" in (text := page.read_text())]
    assert asking
    assert all("LimitCORE=0" in text for text in asking)


def test_names_are_unique_and_severities_known() -> None:
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)
    assert {alert.severity for alert in ALERTS} == {"page", "ticket", "notice"}
    assert Alert("DecisionLogLoses", "", "", "", "").runbook == "decision-log-loses"


def test_summaries_are_sentences_that_say_where() -> None:
    for alert in ALERTS:
        assert alert.summary.endswith(".")
        assert re.search(r"\$labels\.(instance|issuer|list|switch|host|job)", alert.summary), alert.name


def test_the_timeout_and_the_job_are_the_operator_s() -> None:
    down, *_ = alerts(job="edge")
    assert down.expr == 'up{job="edge"} == 0'
    late = next(alert for alert in alerts(timeout=0.2) if alert.name == "AnswersLate")
    assert "clamp_max(max by (job, instance) (spoa_authz_request_deadline_seconds), 0.2) / 2" in late.expr


def test_the_histogram_tells_half_of_the_longest_deadline_apart() -> None:
    assert REQUEST_BUCKETS[-1] >= 60 / 2
    assert RECORDINGS.keys() == {"verdicts", "reasons", "denied", "median", "p99"}
    assert recordings().keys() == set(RECORDINGS.values())
