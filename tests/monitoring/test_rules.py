"""The rules do what they say, as Prometheus itself reads them: each alert fires on its condition and on no other."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from spoa.metrics import exposition
from spoa.monitoring.alerts import ALERTS
from spoa.monitoring.rules import RUNBOOKS, write_rules
from tests.prometheus import promtool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLACE = {"job": "spoa-authz", "instance": "edge1:9124"}
#: What is told about agents by others: Prometheus, and HAProxy.
OTHERS = {"up", "haproxy_backend_active_servers"}
HOURS = 2
MINUTES = HOURS * 60


@dataclass(frozen=True)
class Condition:
    """How a condition looks in numbers, once a minute for two hours; what is said of it, and when it is not there."""

    name: str
    series: Mapping[str, str]
    quiet: Mapping[str, str]
    summary: str
    labels: Mapping[str, str]


def series(name: str, **labels: str) -> str:
    written = ",".join(f'{label}="{value}"' for label, value in {**PLACE, **labels}.items())
    return f"{name if name in OTHERS else f'spoa_authz_{name}'}{{{written}}}"


def steady(value: float) -> str:
    return f"{value}x{MINUTES}"


def condition(
    name: str, metric: str, bad: str, good: str, summary: str, *, extra: Mapping[str, str] | None = None, **labels: str
) -> Condition:
    key = series(metric, **labels)
    more = extra or {}
    return Condition(name, {key: bad, **more}, {key: good, **more}, summary, {**PLACE, **labels})


#: A clock that begins at the epoch: what expires does so at a number of seconds after it.
LATER = MINUTES * 60
DAY = 86_400
NEVER = f"{100 * DAY}x{MINUTES}"
ISSUER: dict[str, Any] = {"issuer": "corp"}
SOURCE: dict[str, Any] = {"issuer": "corp", "source": "crl"}


def took(deadline: float, within: Mapping[float, int]) -> dict[str, str]:
    """Return the numbers of an agent that answers a hundred requests a minute, so many of them within so long."""
    buckets = {f"{bound:g}": count for bound, count in within.items()} | {"+Inf": 100}
    told = {series("request_duration_seconds_bucket", le=le): f"0+{count}x{MINUTES}" for le, count in buckets.items()}
    return {series("request_deadline_seconds"): steady(deadline), **told}


CONDITIONS = (
    condition("AgentDown", "up", f"1x{MINUTES - 5} 0x4", steady(1),
              "edge1:9124 does not answer; HAProxy denies all that it would have judged."),
    # Beside the one that is down; the other two of its job are no instance's.
    Condition("FewerAgents", {series("up"): f"1x{MINUTES - 16} stale"}, {series("up"): steady(1)},
              "Prometheus knows 1 agents of job spoa-authz, fewer than for most of the last hour.",
              {"job": "spoa-authz"}),
    condition("NoAgentForHaproxy", "haproxy_backend_active_servers", steady(0), steady(1),
              "HAProxy at edge1:9124 has no agent in authz-agents that is well, and denies everything.",
              proxy="authz-agents"),
    condition("WorkersMissing", "workers", steady(1), steady(2),
              "1 workers of edge1:9124 serve, fewer than it should have.",
              extra={series("workers_wanted"): steady(2)}),
    condition("WorkersDie", "worker_restarts_total", f"0x{MINUTES - 30} 3x29", f"0x{MINUTES - 30} 2x29",
              "Workers of edge1:9124 died 3 times within an hour."),
    Condition("RequestsStopped",
              {series("frames_total", type="notify"): f"0+60x{MINUTES - 20} {60 * (MINUTES - 20)}x19"},
              {series("frames_total", type="notify"): f"0+60x{MINUTES}"},
              "HAProxy asks edge1:9124 nothing any more, and did within the last hour.", PLACE),
    Condition("InternalErrors", {series("internal_errors_total", cause="exception"): f"0x{MINUTES - 2} 1x1"},
              {series("internal_errors_total", cause="exception"): steady(1)},
              "edge1:9124 denied requests because of a defect of its own.", PLACE),
    Condition("DeadlinesMissed", {series("internal_errors_total", cause="deadline"): f"0x{MINUTES - 2} 1x1"},
              {series("internal_errors_total", cause="deadline"): steady(1)},
              "edge1:9124 denied requests because it could not judge them in time.", PLACE),
    Condition("AnswersLate",
              took(0.08, {0.04: 98, 0.06: 100}), took(0.08, {0.02: 98, 0.04: 100}),
              "1 % of the answers of edge1:9124 take more than 50ms, over half of the time that they have.",
              PLACE),
    condition("ProtocolErrors", "protocol_errors_total", f"0x{MINUTES - 2} 1x1", steady(4),
              "edge1:9124 and HAProxy disagree about SPOP (status 4).", status="4"),
    condition("ClockUnusable", "clock_usable", steady(0), steady(1),
              "The clock of edge1:9124 can't be right, so every certificate is denied."),
    condition("AgentCertificateExpires", "tls_certificate_expiry_timestamp_seconds", steady(LATER + DAY), NEVER,
              "The certificate that edge1:9124 shows HAProxy expires in 1d 0h 0m 0s.",
              extra={series("tls_certificate_life_seconds"): steady(90 * DAY)}),
    condition("AgentCredentialsRefused", "tls_credentials_in_force", steady(0), steady(1),
              "The TLS files of edge1:9124 can't be used; it shows the certificate that it had before."),
    condition("DecisionLogLoses", "decision_log_dropped_total", f"0x{MINUTES - 15} 28x14", steady(28),
              "edge1:9124 lost 28 decisions that should be in its log."),
    condition("PolicyRejected", "policy_directory_in_force", steady(0), steady(1),
              "What the policy directory of edge1:9124 holds is not in force."),
    condition("StateFileRefused", "state_file_in_force", steady(0), steady(1),
              "blocks.yaml of edge1:9124 can't be read; blocks or openings written since are not in force.",
              file="blocks.yaml"),
    Condition("DeniesRise",
              # The first denies ever: before them there is no series.
              {series("decisions_total", verdict="deny", reason="no_rule_allows", rule=""):
               f"_x{MINUTES - 15} 0+60x14",
               series("decisions_total", verdict="allow", reason="ok", rule="staff"): f"0+60x{MINUTES}"},
              {series("decisions_total", verdict="deny", reason="no_rule_allows", rule=""): f"0+60x{MINUTES}",
               series("decisions_total", verdict="allow", reason="ok", rule="staff"): f"0+60x{MINUTES}"},
              "50% of the requests at edge1:9124 are denied, more than three times as many as before.", PLACE),
    condition("ListEntryExpires", "list_soonest_expiry_timestamp_seconds", steady(LATER + DAY), NEVER,
              "An entry of list scanners expires in 1d 0h 0m 0s.", list="scanners"),
    condition("IssuerCertificateExpires", "issuer_certificate_expiry_timestamp_seconds", steady(LATER + DAY), NEVER,
              "A CA certificate of issuer corp expires in 1d 0h 0m 0s.", **ISSUER),
    Condition("ClientCertificatesExpire",
              {series("client_certificates", left="7d", life="long", **ISSUER): steady(2),
               series("client_certificates", left="longer", life="long", **ISSUER): steady(9)},
              {series("client_certificates", left="1d", life="short", **ISSUER): steady(2),
               series("client_certificates", left="longer", life="long", **ISSUER): steady(9)},
              "2 client certificates of issuer corp expire within a week.", {**PLACE, **ISSUER}),
    condition("RevocationRunsOut", "revocation_expiry_seconds", steady(1800), steady(7200),
              "What crl says about issuer corp counts for another 30m 0s; then its `on_failure` decides.",
              extra={series("revocation_life_seconds", **SOURCE): steady(DAY)}, **SOURCE),
    condition("RevocationUnusable", "revocation_state", steady(1), steady(0),
              "Source crl of issuer corp is stale.", **SOURCE, state="stale"),
    condition("RevocationListRefused", "revocation_problems", steady(1), steady(0),
              "A revocation list of issuer corp was refused: bad_signature.", **SOURCE, reason="bad_signature"),
    condition("RevocationHostAlone", "revocation_circuit_open", steady(1), steady(0),
              "crl.corp.example failed so often that edge1:9124 leaves it alone.", host="crl.corp.example"),
    condition("PassedUnchecked", "revocation_soft_fails_total", f"0x{MINUTES - 15} 28x14", steady(28),
              "28 requests of issuer corp passed although crl could not say that their certificates are not revoked.",
              **SOURCE),
    condition("BreakGlassOpen", "break_glass_open", steady(1), steady(0),
              "Break glass: switch incident of edge1:9124 is open.", switch="incident"),
    condition("RolledBack", "rolled_back", steady(1), steady(0),
              "edge1:9124 serves an earlier revision by a rollback, not what its policy directory holds."),
)  # fmt: skip


def run(*words: str) -> str:
    done = subprocess.run([promtool(), *words], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def at_home(text: str, one: Condition) -> str:
    """Return a text about the one instance as one about the instance that this condition alone concerns."""
    return text.replace(PLACE["instance"], f"{one.name}:9124")


def expected(one: Condition) -> dict[str, object]:
    alert = next(alert for alert in ALERTS if alert.name == one.name)
    return {
        "exp_labels": {name: at_home(value, one) for name, value in {**one.labels, "severity": alert.severity}.items()},
        "exp_annotations": {
            "summary": at_home(one.summary, one),
            "runbook_url": f"{RUNBOOKS}/{alert.runbook}.md",
        },
    }


def scenario(*, fires: bool) -> dict[str, object]:
    """Return a test in which each condition concerns an instance of its own, so that no alert may name another one."""
    numbers = [(at_home(name, one), values) for one in CONDITIONS
               for name, values in (one.series if fires else one.quiet).items()]  # fmt: skip
    return {
        "name": "fires" if fires else "is quiet",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in numbers],
        "alert_rule_test": [
            {"alertname": one.name, "eval_time": f"{MINUTES}m", "exp_alerts": [expected(one)] if fires else []}
            for one in CONDITIONS
        ],
    }


def nobody() -> dict[str, object]:
    """Return a test in which agents were there and are not any more, by which one alert about them is left."""
    [alert] = [alert for alert in ALERTS if alert.name == "AgentsVanished"]
    summary = "Prometheus knows no agent of job spoa-authz any more, so no other alert can tell how they are."
    fired = {
        "exp_labels": {"job": "spoa-authz", "severity": alert.severity},
        "exp_annotations": {"summary": summary, "runbook_url": f"{RUNBOOKS}/{alert.runbook}.md"},
    }
    numbers = [
        (series("up"), f"1x{MINUTES - 3} stale"),
        (series("up", instance="edge2:9124"), f"1x{MINUTES - 3} stale"),
    ]
    return {
        "name": "nobody is left",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in numbers],
        "alert_rule_test": [
            {"alertname": one.name, "eval_time": f"{minute}m",
             "exp_alerts": [fired] if one is alert and minute == MINUTES else []}
            for one in ALERTS
            for minute in (MINUTES // 2, MINUTES)
        ],
    }  # fmt: skip


def test_prometheus_reads_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(write_rules())
    assert f"{len(ALERTS) + 5} rules found" in run("check", "rules", str(path))


def test_prometheus_finds_nothing_to_mend_in_the_metrics() -> None:
    page = exposition({})
    done = subprocess.run([promtool(), "check", "metrics"], input=page, capture_output=True, timeout=60, check=True)
    assert done.stdout + done.stderr == b""


def test_each_alert_has_its_condition() -> None:
    assert {one.name for one in CONDITIONS} == {alert.name for alert in ALERTS} - {"AgentsVanished"}


def test_each_alert_fires_on_its_condition_alone_and_is_quiet_without_it(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(write_rules())
    cases = [scenario(fires=True), scenario(fires=False), nobody()]
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": cases}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    assert "SUCCESS" in run("test", "rules", str(tmp_path / "tests.yaml"))


def expiring(life: str, **left: int) -> dict[str, str]:
    return {series("client_certificates", left=name.strip("_"), life=life, **ISSUER): steady(count)
            for name, count in left.items()}  # fmt: skip


def evidence(left: int, life: int) -> dict[str, str]:
    return {series("revocation_expiry_seconds", **SOURCE): steady(left),
            series("revocation_life_seconds", **SOURCE): steady(life)}  # fmt: skip


def shown(left: int, life: int) -> dict[str, str]:
    return {series("tls_certificate_expiry_timestamp_seconds"): f"{left}+60x{MINUTES}",
            series("tls_certificate_life_seconds"): steady(life)}  # fmt: skip


#: What an alert that goes by how long things live makes of numbers; none fires where none is named.
LIVES = (
    (expiring("long", _7d=500), "ClientCertificatesExpire"),
    (expiring("long", _1d=1), "ClientCertificatesExpire"),
    (expiring("long", _7d=9, _30d=2), "ClientCertificatesExpire"),
    (expiring("long", _30d=1, longer=1, expired=1), ""),
    (expiring("short", _1d=500, _7d=3, _30d=1), ""),
    (evidence(3599, 7 * DAY), "RevocationRunsOut"),
    (evidence(3600, 7 * DAY), ""),
    (evidence(719, 3600), "RevocationRunsOut"),
    (evidence(1700, 3600), ""),  # as the own responder answers, just before it is asked again
    (evidence(800, 3600), ""),
    (evidence(-1, 3600), "RevocationRunsOut"),
    (took(0.8, {0.25: 99, 0.5: 100}), ""),
    (took(0.8, {0.25: 90, 0.5: 100}), "AnswersLate"),
    (took(0.08, {0.04: 98, 0.06: 100}), "AnswersLate"),
    (took(0.4, {0.04: 98, 0.06: 100}), ""),  # each by the deadline of its own
    (took(4, {0.5: 90, 1: 100}), ""),
    (took(4, {1: 10, 2.5: 98}), "AnswersLate"),
    (took(60, {10: 100}), ""),
    (shown(14 * DAY - 1, 90 * DAY), "AgentCertificateExpires"),
    (shown(14 * DAY, 90 * DAY), ""),
    (shown(DAY // 3, DAY), ""),  # as its successor is issued for a day
    (shown(DAY // 5 - 1, DAY), "AgentCertificateExpires"),
    (shown(-1, DAY), "AgentCertificateExpires"),
)


def test_alerts_go_by_how_long_things_live(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(write_rules())
    query = 'count by (alertname) (ALERTS{alertstate="firing"})'
    tests = [
        {
            "name": f"{numbers}",
            "interval": "1m",
            "input_series": [
                {"series": name, "values": values} for name, values in {series("up"): steady(1), **numbers}.items()
            ],
            "promql_expr_test": [
                {
                    "expr": query,
                    "eval_time": f"{MINUTES}m",
                    "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert else [],
                }
            ],
        }
        for numbers, alert in LIVES
    ]
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    assert "SUCCESS" in run("test", "rules", str(tmp_path / "tests.yaml"))


def test_runbooks_may_be_elsewhere_and_the_impatient_wait_for_nothing() -> None:
    rules = yaml.safe_load(write_rules(runbooks="https://wiki.example/", is_impatient=True))["groups"][1]["rules"]
    assert rules[0]["annotations"]["runbook_url"] == "https://wiki.example/agent-down.md"
    assert {rule["for"] for rule in rules} == {"0s"}
