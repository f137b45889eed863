"""The alerts: what wakes somebody, for which reason, and where it is written what to do.

A `page` means that requests are denied that should not be, or let through unchecked: now. A `ticket` becomes one if
nobody looks within a day or so. A `notice` is a thing that somebody did on purpose and others should know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from spoa.monitoring.series import over, quantile, rate, rise, select

__all__ = ["ALERTS", "JOB", "RECORDINGS", "Alert", "alerts", "recordings"]

#: The scrape job that the rules are about.
JOB: Final = "spoa-authz"
#: HAProxy's backend of the agents, which its own exporter tells about.
BACKEND: Final = "authz-agents"

_DAY: Final = 86_400
_HOUR: Final = 3600
_QUIET: Final = 0.1  # requests a second below which a share says nothing
_DENY_SHARE: Final = 0.2
_WHOLE: Final = 'printf "%.0f"'


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    Attributes:
        name: in upper camel case; its runbook is the page of the same name in lower case with hyphens.
        expr: PromQL that yields a sample for each instance, and whatever else, that it is about.
        lasts: for how long that must hold, as Prometheus writes it.
        severity: `page`, `ticket` or `notice`.
        summary: one sentence; `{{ $labels.x }}` and `{{ $value }}` are filled in.
    """

    name: str
    expr: str
    lasts: str
    severity: str
    summary: str

    @property
    def runbook(self) -> str:
        """The name of its page below `docs/how-to/runbooks`, without `.md`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", self.name).lower()


#: Names of recorded series.
RECORDINGS: Final = {
    "verdicts": "instance_verdict:spoa_authz_decisions:rate5m",
    "reasons": "instance_reason:spoa_authz_denies:rate5m",
    "denied": "instance:spoa_authz_denied:ratio_rate5m",
    "median": "instance:spoa_authz_request_duration_seconds:p50_rate5m",
    "p99": "instance:spoa_authz_request_duration_seconds:p99_rate5m",
}


def recordings() -> dict[str, str]:
    """Return the recording rules: name → expression."""
    duration = "request_duration_seconds"
    asked, denied = rate("decisions_total", "5m"), rate("decisions_total", "5m", verdict="deny")
    return {
        RECORDINGS["verdicts"]: rate("decisions_total", "5m", "verdict"),
        RECORDINGS["reasons"]: rate("decisions_total", "5m", "reason", verdict="deny"),
        # Where nothing was ever denied there is no series of it, and the first denies would rise above nothing.
        RECORDINGS["denied"]: f"({denied} or 0 * {asked}) / ({asked} > 0)",
        RECORDINGS["median"]: quantile(duration, "5m", 0.5),
        RECORDINGS["p99"]: quantile(duration, "5m", 0.99),
    }


def alerts(job: str = JOB, timeout: float | None = None) -> tuple[Alert, ...]:
    """Return all alerts.

    Args:
        job: the name of the scrape job.
        timeout: HAProxy's `timeout processing`, seconds, where it may be shorter than an agent's own deadline.
    """
    return (*_availability(job, timeout), *_policies(), *_revocation(), *_people())


def _availability(job: str, timeout: float | None) -> tuple[Alert, ...]:
    asked = rate("frames_total", "5m", type="notify")
    asked_before = rate("frames_total", "1h", offset="10m", type="notify")
    # Each agent tells its own deadline, after which it denies, so that one rule suits agents that differ.
    deadline = over((), select("request_deadline_seconds"), aggregate="max")
    patience = deadline if timeout is None else f"clamp_max({deadline}, {timeout:g})"
    known = f'count by (job) (up{{job="{job}"}})'
    # A machine renews what is short-lived when a third or so of its life is left.
    expiry, life = select("tls_certificate_expiry_timestamp_seconds"), select("tls_certificate_life_seconds")
    return (
        Alert("AgentDown", f'up{{job="{job}"}} == 0', "1m", "page",
              "{{ $labels.instance }} does not answer; HAProxy denies all that it would have judged."),
        Alert("AgentsVanished", f'absent(up{{job="{job}"}})', "2m", "page",
              "Prometheus knows no agent of job {{ $labels.job }} any more, so no other alert can tell how they are."),
        Alert("FewerAgents", f"{known} < quantile_over_time(0.5, {known}[1h:1m])", "10m", "ticket",
              "Prometheus knows {{ $value }} agents of job {{ $labels.job }}, fewer than for most of the last hour."),
        Alert("NoAgentForHaproxy", f'haproxy_backend_active_servers{{proxy="{BACKEND}"}} == 0', "30s", "page",
              f"HAProxy at {{{{ $labels.instance }}}} has no agent in {BACKEND} that is well, and denies everything."),
        Alert("WorkersMissing", f"{select('workers')} < {select('workers_wanted')}", "1m", "page",
              "{{ $value }} workers of {{ $labels.instance }} serve, fewer than it should have."),
        Alert("WorkersDie", f"{rise('worker_restarts_total', '1h')} > 2", "0m", "ticket",
              f"Workers of {{{{ $labels.instance }}}} died {{{{ $value | {_WHOLE} }}}} times within an hour."),
        Alert("RequestsStopped", f"{asked} == 0 and {asked_before} > {_QUIET}", "5m", "page",
              "HAProxy asks {{ $labels.instance }} nothing any more, and did within the last hour."),
        Alert("InternalErrors", f"{rise('internal_errors_total', '5m', cause='exception')} > 0", "0m", "page",
              "{{ $labels.instance }} denied requests because of a defect of its own."),
        Alert("DeadlinesMissed", f"{rise('internal_errors_total', '5m', cause='deadline')} > 0", "0m", "page",
              "{{ $labels.instance }} denied requests because it could not judge them in time."),
        Alert("AnswersLate", f"{RECORDINGS['p99']} > {patience} / 2", "5m", "ticket",
              "1 % of the answers of {{ $labels.instance }} take more than {{ $value | humanizeDuration }}, over half "
              "of the time that they have."),
        Alert("ProtocolErrors", f"{rise('protocol_errors_total', '10m', 'status')} > 0", "0m", "ticket",
              "{{ $labels.instance }} and HAProxy disagree about SPOP (status {{ $labels.status }})."),
        Alert("ClockUnusable", f"{select('clock_usable')} == 0", "0m", "page",
              "The clock of {{ $labels.instance }} can't be right, so every certificate is denied."),
        Alert("AgentCertificateExpires", f"{expiry} - time() < clamp_max({life} / 5, {14 * _DAY})", "0m", "ticket",
              "The certificate that {{ $labels.instance }} shows HAProxy expires in {{ $value | humanizeDuration }}."),
        Alert("AgentCredentialsRefused", f"{select('tls_credentials_in_force')} == 0", "0m", "ticket",
              "The TLS files of {{ $labels.instance }} can't be used; it shows the certificate that it had before."),
        Alert("DecisionLogLoses", f"{rise('decision_log_dropped_total', '15m')} > 0", "0m", "ticket",
              f"{{{{ $labels.instance }}}} lost {{{{ $value | {_WHOLE} }}}} decisions that should be in its log."),
    )  # fmt: skip


def _policies() -> tuple[Alert, ...]:
    denied = RECORDINGS["denied"]
    asked = rate("decisions_total", "5m")
    # Short-lived certificates always expire soon; that others live longer than these says nothing about these.
    soon = over(("issuer",), select("client_certificates", left="~1d|7d", life="long"))
    return (
        Alert("PolicyRejected", f"{select('policy_directory_in_force')} == 0", "0m", "ticket",
              "What the policy directory of {{ $labels.instance }} holds is not in force."),
        Alert("StateFileRefused", f"{select('state_file_in_force')} == 0", "0m", "page",
              "{{ $labels.file }} of {{ $labels.instance }} can't be read; blocks or openings written since are not in "
              "force."),
        Alert("DeniesRise", f"({denied} > {_DENY_SHARE} and {denied} > 3 * avg_over_time({denied}[1h] offset 10m)) "
              f"and {asked} > {_QUIET}", "5m", "page",
              "{{ $value | humanizePercentage }} of the requests at {{ $labels.instance }} are denied, more than three "
              "times as many as before."),
        Alert("ListEntryExpires", f"{select('list_soonest_expiry_timestamp_seconds')} - time() < {7 * _DAY}", "0m",
              "ticket", "An entry of list {{ $labels.list }} expires in {{ $value | humanizeDuration }}."),
        Alert("IssuerCertificateExpires", f"{select('issuer_certificate_expiry_timestamp_seconds')} - time() < "
              f"{30 * _DAY}", "0m", "ticket",
              "A CA certificate of issuer {{ $labels.issuer }} expires in {{ $value | humanizeDuration }}."),
        Alert("ClientCertificatesExpire", f"{soon} > 0", "0m", "ticket",
              "{{ $value }} client certificates of issuer {{ $labels.issuer }} expire within a week."),
    )  # fmt: skip


def _revocation() -> tuple[Alert, ...]:
    state = select("revocation_state", state="!good")
    # What is short-lived is asked for anew at its half, and once more at three quarters if it was the same still.
    enough = f"clamp_max({select('revocation_life_seconds')} / 5, {_HOUR})"
    return (
        Alert("RevocationRunsOut", f"{select('revocation_expiry_seconds')} < {enough}", "0m", "page",
              "What {{ $labels.source }} says about issuer {{ $labels.issuer }} counts for another "
              "{{ $value | humanizeDuration }}; then its `on_failure` decides."),
        Alert("RevocationUnusable", f"{state} == 1", "5m", "page",
              "Source {{ $labels.source }} of issuer {{ $labels.issuer }} is {{ $labels.state }}."),
        Alert("RevocationListRefused", f"{select('revocation_problems')} > 0", "0m", "ticket",
              "A revocation list of issuer {{ $labels.issuer }} was refused: {{ $labels.reason }}."),
        Alert("RevocationHostAlone", f"{select('revocation_circuit_open')} == 1", "5m", "ticket",
              "{{ $labels.host }} failed so often that {{ $labels.instance }} leaves it alone."),
        Alert("PassedUnchecked", f"{rise('revocation_soft_fails_total', '15m', 'issuer', 'source')} > 0", "0m", "page",
              f"{{{{ $value | {_WHOLE} }}}} requests of issuer {{{{ $labels.issuer }}}} passed although "
              "{{ $labels.source }} could not say that their certificates are not revoked."),
    )  # fmt: skip


def _people() -> tuple[Alert, ...]:
    return (
        Alert("BreakGlassOpen", f"{select('break_glass_open')} == 1", "0m", "notice",
              "Break glass: switch {{ $labels.switch }} of {{ $labels.instance }} is open."),
        Alert("RolledBack", f"{select('rolled_back')} == 1", "0m", "notice",
              "{{ $labels.instance }} serves an earlier revision by a rollback, not what its policy directory holds."),
    )  # fmt: skip


#: The alerts as they are shipped.
ALERTS: Final = alerts()
