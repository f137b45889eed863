"""Observations are counted by bucket."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from spoa.histogram import Histogram
from spoa.metrics import REQUEST_BUCKETS, exposition


def test_a_histogram_counts_up_to_and_with_its_bound() -> None:
    histogram = Histogram(REQUEST_BUCKETS)
    histogram.observe(REQUEST_BUCKETS[0], 2)
    histogram.observe(0.07)
    histogram.observe(0.3)
    histogram.observe(31.0)
    families = text_string_to_metric_families(exposition(histogram.samples("request_duration_seconds")).decode())
    shown = {(sample.name, sample.labels.get("le")): sample.value for family in families for sample in family.samples}
    name = "spoa_authz_request_duration_seconds"
    assert shown[f"{name}_bucket", "5e-05"] == 2
    assert shown[f"{name}_bucket", "0.06"] == 2
    assert shown[f"{name}_bucket", "0.08"] == 3
    assert [shown[f"{name}_bucket", bound] for bound in ("0.25", "0.5", "30.0")] == [3, 4, 4]
    assert shown[f"{name}_bucket", "+Inf"] == shown[f"{name}_count", None] == 5
    assert abs(shown[f"{name}_sum", None] - 31.3701) < 1e-9
