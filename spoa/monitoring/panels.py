"""What the dashboard shows: rows of panels, each a question that an operator asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from spoa.metrics import METRICS
from spoa.monitoring.series import over, quantile, rate, rise, select

__all__ = ["ROWS", "TIMEOUT", "TIMEOUT_VARIABLE", "Panel", "Row", "rows"]

#: Grafana's choice of a window that suits the resolution of a graph.
_WINDOW: Final = "$__rate_interval"
#: The instances that were picked at the top of the dashboard.
_PICKED: Final = {"job": "~$job", "instance": "~$instance"}
#: HAProxy's `timeout processing` as shipped, seconds.
TIMEOUT: Final = 0.1
TIMEOUT_VARIABLE: Final = "spoe_timeout"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: what it shows.
        queries: legend → PromQL.
        unit: as Grafana names it.
        kind: of panel: `timeseries`, `stat` or `table`.
        about: what to look for.
        width: in 24ths of the page.
        bad_from: the value from which it is shown red; None for no such value.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    about: str = ""
    width: int = 8
    bad_from: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of panels under a heading; `is_collapsed` ones are opened by hand."""

    title: str
    panels: tuple[Panel, ...]
    is_collapsed: bool = False


def _now(name: str, **labels: str) -> str:
    return select(name, **_PICKED, **labels)


def _rate(name: str, *by: str, **labels: str) -> str:
    return rate(name, _WINDOW, *by, **_PICKED, **labels)


def _rise(name: str, window: str, *by: str, **labels: str) -> str:
    return rise(name, window, *by, **_PICKED, **labels)


def _quantile(share: float) -> str:
    return quantile("request_duration_seconds", _WINDOW, share, **_PICKED)


def _until(name: str) -> str:
    return f"{_now(name)} - time()"


_GLANCE: Final = Row("At a glance", (
    Panel("Workers missing", {"{{instance}}": f"{_now('workers_wanted')} - {_now('workers')}"}, kind="stat", width=4,
          bad_from=1),
    Panel("Policy directory not in force", {"{{instance}}": f"1 - {_now('policy_directory_in_force')}"}, kind="stat",
          width=4, bad_from=1, about="1: what the directory holds was rejected, and the revision before it serves."),
    Panel("Break glass", {"{{switch}} at {{instance}}": _now("break_glass_open")}, kind="stat", width=4, bad_from=1),
    Panel("Clock unusable", {"{{instance}}": f"1 - {_now('clock_usable')}"}, kind="stat", width=4, bad_from=1),
    Panel("Revision", {"{{instance}} {{revision}}": _now("policy_info")}, kind="table", width=8,
          about="All instances should show one revision."),
))  # fmt: skip

_DECISIONS: Final = Row("Decisions", (
    Panel("By verdict", {"{{verdict}} at {{instance}}": _rate("decisions_total", "verdict")}, "reqps"),
    Panel("Denies by reason", {"{{reason}}": _rate("decisions_total", "reason", verdict="deny")}, "reqps"),
    Panel("By rule", {"{{verdict}} {{rule}}": _rate("decisions_total", "verdict", "rule", rule="!")}, "reqps"),
    Panel("Share denied", {"{{instance}}":
          f"{_rate('decisions_total', verdict='deny')} / {_rate('decisions_total')}"}, "percentunit"),
    Panel("Denied by a defect or a deadline", {"{{cause}}": _rate("internal_errors_total", "cause")}, "reqps"),
    Panel("Lost by the decision log", {"{{target}} at {{instance}}":
          _rate("decision_log_target_dropped_total", "target")}, "reqps"),
))  # fmt: skip

_SHADOW: Final = Row("Shadow and candidate", (
    Panel("Would be denied by shadow mode or a shadow rule", {"{{instance}}": _rate("shadow_denies_total")}, "reqps",
          width=12),
    Panel("Answered otherwise by the candidate", {"{{change}}: {{rule}} → {{candidate_rule}}":
          _rate("candidate_decisions_total", "change", "rule", "candidate_rule", change="!same")}, "reqps", width=12,
          about="`newly_allowed` deserves a look before `promote`."),
))  # fmt: skip

_REVOCATION: Final = Row("Freshness of revocation", (
    Panel("Until the evidence is too old to count", {"{{issuer}} {{source}}": _now("revocation_expiry_seconds")}, "s",
          about="Below zero the issuer's `on_failure` decides."),
    Panel("Age, and how long it counts in all", {
        "{{issuer}} {{source}}": _now("revocation_age_seconds"),
        "{{issuer}} {{source}}: in all": _now("revocation_life_seconds"),
    }, "s"),
    Panel("Sources that are not good",
          {"{{issuer}} {{source}}: {{state}}": f"{_now('revocation_state', state='!good')} > 0"}),
    Panel("Passed unchecked", {"{{issuer}} {{source}}": _rate("revocation_soft_fails_total", "issuer", "source")},
          "reqps"),
    Panel("Fetches", {"{{source}} {{result}}": _rate("revocation_fetches_total", "source", "result")}, "reqps"),
    Panel("Waits for an OCSP answer", {"{{result}}": _rate("revocation_waits_total", "result")}, "reqps"),
))  # fmt: skip

_LATENCY: Final = Row("Latency against HAProxy's timeout", (
    Panel("From a frame read to its answer written", {
        "median": _quantile(0.5), "99 %": _quantile(0.99), "99.9 %": _quantile(0.999),
        "deadline": over((), _now("request_deadline_seconds"), aggregate="max"),
        "timeout processing": f"vector(${TIMEOUT_VARIABLE} / 1000)",
    }, "s", width=16, about="Beyond the deadline the agent denies, beyond `timeout processing` HAProxy does."),
    Panel("Connections from HAProxy", {"{{instance}}": _now("connections")}),
))  # fmt: skip

_RELOADS: Final = Row("Reloads", (
    Panel("Attempts an hour by result", {"{{result}}": _rise("reload_total", "1h", "result")}),
    Panel("Mean time of an attempt", {"{{instance}}":
          f"{_rate('reload_duration_seconds', suffix='_sum')} / "
          f"{_rate('reload_duration_seconds', suffix='_count')}"}, "s"),
    Panel("Rolled back", {"{{instance}}": _now("rolled_back")}),
    Panel("Active since", {"{{instance}}": f"time() - {_now('policy_active_since_timestamp_seconds')}"}, "s"),
))  # fmt: skip

_WORKERS: Final = Row("Workers", (
    Panel("Serving", {"{{instance}}": _now("workers"), "wanted at {{instance}}": _now("workers_wanted")}),
    Panel("Died and replaced, an hour", {"{{instance}}": _rise("worker_restarts_total", "1h")}),
    Panel("Connections ended by the agent", {"{{cause}}": _rate("connections_closed_total", "cause"),
          "SPOP status {{status}}": _rate("protocol_errors_total", "status")}, "reqps"),
))  # fmt: skip

_EXPIRY: Final = Row("Expiry of certificates", (
    Panel("Shown by agents over TLS", {"{{instance}}": _until("tls_certificate_expiry_timestamp_seconds"),
          "{{instance}}: life in all": _now("tls_certificate_life_seconds")}, "s"),
    Panel("TLS files not in force", {"{{instance}}": f"1 - {_now('tls_credentials_in_force')}"}, bad_from=1,
          about="1: they can't be used, and what was shown before is shown still."),
    Panel("CA certificates", {"{{issuer}}": _until("issuer_certificate_expiry_timestamp_seconds")}, "s"),
    Panel("Client certificates in memory", {"{{issuer}}: {{left}}":
          over(("issuer", "left"), _now("client_certificates"))},
          about="By how long they are still valid; counted once by each worker that knows them."),
    Panel("Next entry of a list", {"{{list}}": _until("list_soonest_expiry_timestamp_seconds")}, "s"),
))  # fmt: skip

_GLASS: Final = Row("Break glass and blocks", (
    Panel("Open switches", {"{{switch}} at {{instance}}": _now("break_glass_open")}),
    Panel("Judged while a switch was open", {"{{verdict}}": _rate("break_glass_decisions_total", "verdict")}, "reqps"),
    Panel("Blocks", {"{{instance}}": _now("blocks")}),
))  # fmt: skip

_SHOWN: Final = (_GLANCE, _DECISIONS, _SHADOW, _REVOCATION, _LATENCY, _RELOADS, _WORKERS, _EXPIRY, _GLASS)


def _rest() -> Row:
    """Return every metric that no other panel shows, so that none is forgotten when it is defined."""
    shown = " ".join(query for row in _SHOWN for panel in row.panels for query in panel.queries.values())
    panels = []
    for metric in METRICS:
        if f"spoa_authz_{metric.name}" in shown:
            continue
        legend = " ".join(f"{{{{{label}}}}}" for label in metric.labels) or "{{instance}}"
        query = _now(metric.name) if metric.kind == "gauge" else _rate(metric.name, *metric.labels)
        panels.append(Panel(metric.name, {legend: query}, about=metric.help))
    return Row("Everything else", tuple(panels), is_collapsed=True)


def rows() -> tuple[Row, ...]:
    """Return all rows of the dashboard."""
    return (*_SHOWN, _rest())


#: The rows as they are shipped.
ROWS: Final = rows()
