"""What is counted, where it is counted, and how the counts of all workers become one page for Prometheus.

Workers count in plain attributes and lists, since a look-up by label would cost more than a decision. They hand their
numbers over as `Samples` when asked; `Totals` adds them up and keeps those of workers that ended, so that no counter
ever falls while the agent runs. `METRICS` defines each name once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from spoa.spop.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric as Family

__all__ = [
    "METRICS",
    "RELOAD_BUCKETS",
    "REQUEST_BUCKETS",
    "Metric",
    "Samples",
    "Totals",
    "exposition",
    "samples_from_json",
    "samples_to_json",
    "summed",
]

#: (metric name without its prefix, label values in the metric's order) → value. A histogram has one more label value
#: than its metric names: the index of the bucket, or `sum`.
Samples: TypeAlias = dict[tuple[str, tuple[str, ...]], float]
Sample: TypeAlias = tuple[tuple[str, tuple[str, ...]], float]

#: Upper bounds, seconds: fine up to HAProxy's usual `timeout processing`, then up to half of the longest `--deadline`.
REQUEST_BUCKETS: Final = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip

#: Upper bounds, seconds, up to the time that a list of a million lines may take.
RELOAD_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name without the prefix `spoa_authz_`, its kind, what it says, its labels.

    `values` are label values that are shown as 0 before the first event, so that a first rise is a rise.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()
    buckets: tuple[float, ...] = ()


def _names(*words: str) -> tuple[tuple[str, ...], ...]:
    return tuple((word,) for word in words)


METRICS: Final = (
    Metric("build_info", "gauge", "1, with the agent's version.", ("version",)),
    Metric("policy_info", "gauge", "1, with the active revision.", ("revision",)),
    Metric("policy_active_since_timestamp_seconds", "gauge", "When the active policy was swapped in."),
    Metric("rolled_back", "gauge", "1 while a rollback is in force, else 0.", (), ((),)),
    Metric("clock_usable", "gauge", "1 while the clock can be right, else 0 and certificate dates deny.", (), ((),)),
    Metric("decisions_total", "counter", "Requests judged.", ("verdict", "reason", "rule")),
    Metric(
        "shadow_denies_total", "counter", "Requests allowed that shadow mode or a shadow rule would deny.", (), ((),)
    ),
    Metric(
        "request_duration_seconds", "histogram", "From a frame read to its answer written.", (), ((),), REQUEST_BUCKETS
    ),
    Metric("request_deadline_seconds", "gauge", "Within this time every request is answered (`--deadline`)."),
    Metric("connections", "gauge", "Connections from HAProxy that are open.", (), ((),)),
    Metric("connections_total", "counter", "Connections accepted.", (), ((),)),
    Metric(
        "connections_closed_total",
        "counter",
        "Connections that the agent ended, by cause.",
        ("cause",),
        _names("hello_timeout", "idle_timeout", "slow_peer", "drain"),
    ),
    Metric(
        "peers_refused_total",
        "counter",
        "Connections over TCP that were not let in: the address is not allowed, or TLS failed.",
        ("cause",),
        _names("address", "tls"),
    ),
    Metric(
        "tls_credentials_in_force",
        "gauge",
        "1 while the agent shows over TLS what its files held at the last reload, 0 where they could not be used.",
    ),
    Metric(
        "tls_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the first certificate expires that the agent shows over TLS.",
    ),
    Metric("tls_certificate_life_seconds", "gauge", "For how long that certificate is valid in all."),
    Metric("frames_total", "counter", "Frames received and sent.", ("type",), _names("hello", "notify", "ack")),
    Metric(
        "protocol_errors_total",
        "counter",
        "Connections ended by a broken frame, by SPOP status.",
        ("status",),
        _names(*(str(int(status)) for status in Status if status is not Status.NORMAL)),
    ),
    Metric(
        "internal_errors_total",
        "counter",
        "Requests denied as internal_error, by cause.",
        ("cause",),
        _names("exception", "deadline"),
    ),
    Metric("cache_misses_total", "counter", "Look-ups that a cache could not answer.", ("cache",)),
    Metric("cache_evictions_total", "counter", "Entries that a full cache dropped.", ("cache",)),
    Metric("cache_entries", "gauge", "Entries of a cache, all workers together.", ("cache",)),
    Metric("decision_log_lines_total", "counter", "Lines written to the decision log.", (), ((),)),
    Metric("decision_log_dropped_total", "counter", "Decisions that the log lost: full queue or disk.", (), ((),)),
    Metric("decision_log_target_lines_total", "counter", "Those written, by `--decision-log`.", ("target",)),
    Metric("decision_log_target_dropped_total", "counter", "Those lost, by `--decision-log`.", ("target",)),
    Metric(
        "reload_total",
        "counter",
        "Attempts to activate what the policy directory holds.",
        ("result",),
        _names("activated", "unchanged", "rejected", "failed"),
    ),
    Metric("reload_duration_seconds", "histogram", "From a change noticed to its end.", (), ((),), RELOAD_BUCKETS),
    Metric(
        "policy_directory_in_force",
        "gauge",
        "1 while what the policy directory held at the last look is in force, or is what was rolled back from.",
        (),
        ((),),
    ),
    Metric(
        "state_file_in_force",
        "gauge",
        "1 while a file of the state directory that people edit is what is in force, 0 where it can't be read.",
        ("file",),
    ),
    Metric(
        "issuer_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the first CA certificate of an issuer expires.",
        ("issuer",),
    ),
    Metric(
        "client_certificates",
        "gauge",
        "Client certificates in memory by how long they are still valid, and whether that is at most 30 days in all "
        "(`short`) or more (`long`); each worker counts its own.",
        ("issuer", "left", "life"),
    ),
    Metric("list_entries", "gauge", "Entries of a list.", ("list",)),
    Metric("list_soonest_expiry_timestamp_seconds", "gauge", "When the next entry of a list expires.", ("list",)),
    Metric("blocks", "gauge", "Certificates, keys and serial numbers on the block list.", (), ((),)),
    Metric(
        "candidate_decisions_total",
        "counter",
        "Requests judged under the candidate too, by how its answer differs.",
        ("change", "rule", "candidate_rule"),
    ),
    Metric("candidate_info", "gauge", "1, with the revision of the candidate that is judged under.", ("revision",)),
    Metric("break_glass_open", "gauge", "1 while a break-glass switch is open.", ("switch",)),
    Metric("break_glass_opened_total", "counter", "Openings of break-glass switches.", (), ((),)),
    Metric(
        "break_glass_decisions_total",
        "counter",
        "Requests judged while a switch was open.",
        ("verdict",),
        _names("allow", "deny"),
    ),
    Metric(
        "revocation_soft_fails_total",
        "counter",
        "Requests let pass although a source gave no assurance about revocation.",
        ("issuer", "source"),
    ),
    Metric(
        "revocation_failures_total",
        "counter",
        "Judgements without enough evidence about a certificate, by why; a remembered answer counts once.",
        ("issuer", "state", "reason"),
    ),
    Metric(
        "revocation_problems",
        "gauge",
        "Revocation lists that the last load found and refused, by why.",
        ("issuer", "source", "reason"),
    ),
    Metric(
        "revocation_state",
        "gauge",
        "1 for the state that a source is in; all 0 of an OCSP responder that was not asked yet.",
        ("issuer", "source", "state"),
    ),
    Metric(
        "revocation_age_seconds",
        "gauge",
        "Since the thisUpdate of a source's oldest list; of OCSP, since its last answer.",
        ("issuer", "source"),
    ),
    Metric(
        "revocation_expiry_seconds",
        "gauge",
        "Until a source's first list, or answer in use, is too old to count; negative past it.",
        ("issuer", "source"),
    ),
    Metric(
        "revocation_life_seconds",
        "gauge",
        "From thisUpdate for how long that list or answer counts in all.",
        ("issuer", "source"),
    ),
    Metric(
        "revocation_entries", "gauge", "Revocations that a source lists; of OCSP, answers in use.", ("issuer", "source")
    ),
    Metric(
        "revocation_fetches_total",
        "counter",
        "Questions to CRL servers and OCSP responders, by what came of them.",
        ("issuer", "source", "result"),
    ),
    Metric(
        "revocation_waits_total",
        "counter",
        "Requests that waited for an OCSP answer, and those that could not.",
        ("result",),
        _names("answered", "timed_out", "refused"),
    ),
    Metric("revocation_waiting", "gauge", "Requests that wait for an OCSP answer.", (), ((),)),
    Metric(
        "revocation_loads_total",
        "counter",
        "Attempts to load revocation lists.",
        ("result",),
        _names("loaded", "unchanged", "rejected", "failed"),
    ),
    Metric("revocation_circuit_open", "gauge", "1 while a host that failed too often is left alone.", ("host",)),
    Metric("workers", "gauge", "Workers that serve the active policy.", (), ((),)),
    Metric("workers_wanted", "gauge", "Workers that should serve (`--workers`)."),
    Metric("worker_restarts_total", "counter", "Workers that died and were replaced.", (), ((),)),
)

_BY_NAME: Final = {metric.name: metric for metric in METRICS}


class Totals:
    """The sum over all workers, those that ended included: a counter never falls; gauges are the living ones' only."""

    def __init__(self) -> None:
        self._ended: Samples = {}
        self._living: dict[int, Samples] = {}

    def update(self, worker: int, samples: Samples) -> None:
        """Take over what a worker (by process id) tells: its gauges, and as many of its counters as it likes.

        No counter falls for it: a report may leave some out, or come behind one that was asked for later.
        """
        before = self._living.get(worker, {})
        latest = {key: value for key, value in before.items() if _BY_NAME[key[0]].kind != "gauge"}
        for key, value in samples.items():
            latest[key] = max(value, latest.get(key, value))
        self._living[worker] = latest

    def end(self, worker: int) -> None:
        """Keep the counters of a worker that ended, and forget its gauges."""
        for key, value in self._living.pop(worker, {}).items():
            if _BY_NAME[key[0]].kind != "gauge":
                self._ended[key] = self._ended.get(key, 0) + value

    def __len__(self) -> int:
        """How many numbers the living workers told."""
        return sum(map(len, self._living.values()))

    def samples(self) -> Samples:
        """Return the sums."""
        total = dict(self._ended)
        for samples in self._living.values():
            for key, value in samples.items():
                total[key] = total.get(key, 0) + value
        return total


def samples_to_json(samples: Iterable[Sample]) -> Iterator[list[Any]]:
    """Yield samples as rows that JSON can carry."""
    return ([name, list(labels), value] for (name, labels), value in samples)


def samples_from_json(rows: Iterable[Any]) -> Samples:
    """Turn `samples_to_json`'s rows back; rows of names that are not in `METRICS` are left out, the same one summed."""
    return summed(((name, tuple(labels)), value) for name, labels, value in rows if name in _BY_NAME)


def summed(samples: Iterable[Sample]) -> Samples:
    """Return each sample once, with the sum of its values."""
    found: Samples = {}
    for key, value in samples:
        found[key] = found.get(key, 0) + value
    return found


class _Page(Collector):
    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Family]:
        by_name: dict[str, dict[tuple[str, ...], float]] = {}
        for (name, labels), value in self._samples.items():
            by_name.setdefault(name, {})[labels] = value
        for metric in METRICS:
            rows = by_name.get(metric.name, {})
            yield _histogram(metric, rows) if metric.kind == "histogram" else _plain(metric, rows)


def _plain(metric: Metric, rows: dict[tuple[str, ...], float]) -> Family:
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = make(f"spoa_authz_{metric.name}", metric.help, labels=metric.labels)
    for labels in sorted({*metric.values, *rows}):
        family.add_metric(labels, rows.get(labels, 0))
    return family


def _histogram(metric: Metric, rows: dict[tuple[str, ...], float]) -> Family:
    family = HistogramMetricFamily(f"spoa_authz_{metric.name}", metric.help)
    buckets: list[tuple[str, float]] = []
    running = 0.0
    for index, bound in enumerate((*metric.buckets, float("inf"))):
        running += rows.get((str(index),), 0)
        buckets.append(("+Inf" if bound == float("inf") else str(bound), running))
    family.add_metric((), buckets, rows.get(("sum",), 0.0))
    return family


def exposition(samples: Samples) -> bytes:
    """Write samples in Prometheus' text format; a metric of `METRICS` without samples shows its zeros."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(samples))
    return generate_latest(registry)
