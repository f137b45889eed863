"""What is written about a metric is what its definition allows."""

from __future__ import annotations

import pytest

from spoa.metrics import METRICS
from spoa.monitoring.series import metric_named, over, quantile, rate, rise, select


def test_a_metric_is_found_by_its_name() -> None:
    assert all(metric_named(metric.name) is metric for metric in METRICS)
    with pytest.raises(KeyError):
        metric_named("nothing")


@pytest.mark.parametrize(
    ("value", "written"),
    [("deny", '="deny"'), ("~a|b", '=~"a|b"'), ("!", '!=""'), ("!good", '!="good"'), ("!~x.*", '!~"x.*"')],
)
def test_a_value_says_how_it_is_matched(value: str, written: str) -> None:
    assert select("decisions_total", verdict=value) == f"spoa_authz_decisions_total{{verdict{written}}}"


def test_labels_of_the_scrape_may_be_asked_for() -> None:
    assert select("workers", job="a", instance="b") == 'spoa_authz_workers{job="a",instance="b"}'
    assert select("workers") == "spoa_authz_workers"


@pytest.mark.parametrize(
    ("name", "suffix", "labels"),
    [
        ("decision_total", "", {}),
        ("decisions_total", "", {"reasons": "x"}),
        ("decisions_total", "_bucket", {}),
        ("request_duration_seconds", "", {}),
        ("request_duration_seconds", "_count", {"le": "1"}),
    ],
)
def test_what_is_not_defined_cannot_be_written(name: str, suffix: str, labels: dict[str, str]) -> None:
    with pytest.raises(KeyError):
        select(name, suffix, **labels)


def test_a_rate_is_one_of_a_counter_by_its_own_labels() -> None:
    assert rate("decisions_total", "5m", "verdict", offset="1h", rule="x") == (
        'sum by (job, instance, verdict) (rate(spoa_authz_decisions_total{rule="x"}[5m] offset 1h))'
    )
    assert rise("worker_restarts_total", "1h") == (
        "sum by (job, instance) (increase(spoa_authz_worker_restarts_total[1h]))"
    )
    for name, by in (("workers", ()), ("decisions_total", ("switch",))):
        with pytest.raises(KeyError):
            rate(name, "5m", *by)


def test_a_quantile_is_one_of_a_histogram() -> None:
    assert quantile("request_duration_seconds", "5m", 0.5, job="j") == (
        "histogram_quantile(0.5, sum by (job, instance, le) "
        '(rate(spoa_authz_request_duration_seconds_bucket{job="j"}[5m])))'
    )
    with pytest.raises(KeyError):
        quantile("decisions_total", "5m", 0.5)
    assert over(("a",), "x", aggregate="max") == "max by (job, instance, a) (x)"
