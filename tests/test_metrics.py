"""Names, sums and the page."""

from __future__ import annotations

import json

from prometheus_client.parser import text_string_to_metric_families

from spoa.metrics import (
    METRICS,
    Samples,
    Totals,
    exposition,
    samples_from_json,
    samples_to_json,
)


def page(samples: Samples) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(exposition(samples).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_metric_is_defined_once_and_says_what_it_counts() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.help.endswith(".")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert (metric.kind == "histogram") == bool(metric.buckets)
        assert all(len(values) == len(metric.labels) for values in metric.values)


def test_the_page_of_an_agent_that_did_nothing_shows_zeros() -> None:
    shown = page({})
    assert shown["spoa_authz_reload_total", (("result", "rejected"),)] == 0
    assert shown["spoa_authz_connections", ()] == 0
    assert shown["spoa_authz_decision_log_dropped_total", ()] == 0


def test_nothing_is_said_of_tls_where_none_is_spoken() -> None:
    """An alert on 0 would fire for everybody who speaks none."""
    assert not [name for name, _ in page({}) if name.startswith("spoa_authz_tls_")]


def test_labels_stand_on_the_page() -> None:
    shown = page({("decisions_total", ("deny", "no_rule_allows", 'a"\n')): 3})
    labels = (("reason", "no_rule_allows"), ("rule", 'a"\n'), ("verdict", "deny"))
    assert shown["spoa_authz_decisions_total", labels] == 3


def test_workers_are_added_up() -> None:
    totals = Totals()
    totals.update(1, {("connections", ()): 2, ("connections_total", ()): 5})
    totals.update(2, {("connections", ()): 3, ("connections_total", ()): 7})
    assert totals.samples() == {("connections", ()): 5, ("connections_total", ()): 12}


def test_counters_that_are_not_told_anew_stay_as_they_were_told_and_gauges_are_gone() -> None:
    totals = Totals()
    decided = ("decisions_total", ("allow", "ok", "r"))
    totals.update(1, {("connections", ()): 2, ("client_certificates", ("corp", "7d", "long")): 5, decided: 8})
    totals.update(1, {("connections", ()): 3})
    totals.update(2, {("connections", ()): 1})
    assert totals.samples() == {("connections", ()): 4, decided: 8}


def test_a_report_that_comes_behind_a_later_one_lets_no_counter_fall() -> None:
    totals = Totals()
    early: Samples = {("connections", ()): 2, ("connections_total", ()): 5, ("request_duration_seconds", ("3",)): 7}
    late: Samples = {("connections", ()): 1, ("connections_total", ()): 6, ("request_duration_seconds", ("3",)): 9}
    for report in (late, early):
        totals.update(1, report)
    assert totals.samples() == {**late, ("connections", ()): 2}


def test_a_worker_that_ended_leaves_its_counters_and_takes_its_gauges() -> None:
    totals = Totals()
    for _ in range(2):
        totals.update(1, {("connections", ()): 2, ("connections_total", ()): 5})
        totals.end(1)
    totals.end(99)
    totals.update(2, {("connections", ()): 1, ("connections_total", ()): 1})
    assert totals.samples() == {("connections", ()): 1, ("connections_total", ()): 11}


def test_samples_survive_json_and_names_that_nobody_knows_do_not() -> None:
    samples: Samples = {("decisions_total", ("allow", "ok", "r")): 3, ("connections", ()): 1}
    rows = json.loads(json.dumps(list(samples_to_json(samples.items()))))
    assert samples_from_json([*rows, ["of_a_later_release", [], 1]]) == samples


def test_a_sample_that_is_told_twice_is_summed() -> None:
    rows = [
        ["decisions_total", ["allow", "ok", "r"], 3],
        ["connections", [], 1],
        ["decisions_total", ["allow", "ok", "r"], 4],
    ]
    assert samples_from_json(rows) == {("decisions_total", ("allow", "ok", "r")): 7, ("connections", ()): 1}
