"""The dashboard shows every metric, each in a query that Prometheus can read."""

from __future__ import annotations

import json
import re

from spoa.metrics import METRICS
from spoa.monitoring.panels import ROWS, rows


def test_every_metric_is_shown_somewhere() -> None:
    queries = " ".join(query for row in ROWS for panel in row.panels for query in panel.queries.values())
    assert [
        metric.name for metric in METRICS if not re.search(rf"spoa_authz_{metric.name}\b|{metric.name}_", queries)
    ] == []


def test_the_rows_are_what_operators_ask_about() -> None:
    assert [row.title for row in ROWS] == [
        "At a glance",
        "Decisions",
        "Shadow and candidate",
        "Freshness of revocation",
        "Latency against HAProxy's timeout",
        "Reloads",
        "Workers",
        "Expiry of certificates",
        "Break glass and blocks",
        "Everything else",
    ]
    assert rows() == ROWS


def test_legends_name_labels_that_the_query_leaves() -> None:
    """A legend with a label that was aggregated away would show an empty word."""
    for panel in (panel for row in ROWS for panel in row.panels):
        for legend, query in panel.queries.items():
            labels = set(re.findall(r"\{\{(\w+)\}\}", legend))
            kept = re.findall(r"by \(([^)]*)\)", query)
            for names in kept:
                assert labels <= set(names.split(", ")), f"{panel.title}: {legend}"


def test_descriptions_and_units_are_plain_text() -> None:
    assert json.dumps([[panel.title, panel.about, panel.unit] for row in ROWS for panel in row.panels])
