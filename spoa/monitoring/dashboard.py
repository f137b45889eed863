"""The dashboard as Grafana imports it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from spoa.monitoring.panels import ROWS, TIMEOUT, TIMEOUT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.monitoring.panels import Panel, Row

__all__ = ["write_dashboard"]

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
#: Height of a panel, in Grafana's units; the page is 24 wide.
_HEIGHT: Final = {"timeseries": 8, "stat": 5, "table": 5}
_PAGE: Final = 24
#: Of the format, as of Grafana 10.
_SCHEMA: Final = 38


def write_dashboard(*, timeout: float = TIMEOUT) -> str:
    """Return the dashboard as JSON; `timeout` is HAProxy's `timeout processing`, seconds."""
    dashboard = {
        "uid": "spoa-authz",
        "title": "spoa-authz",
        "description": "Written by `spoa-authz monitoring dashboard` from the definitions of the metrics.",
        "tags": ["haproxy", "spoa-authz"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": list(_variables(timeout))},
        "annotations": {"list": [_changes()]},
        "panels": list(_panels()),
    }
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


def _variables(timeout: float) -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    for name, query in (
        ("job", "label_values(spoa_authz_build_info, job)"),
        ("instance", 'label_values(spoa_authz_build_info{job=~"$job"}, instance)'),
    ):
        yield {
            "name": name,
            "type": "query",
            "datasource": _SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "current": {"text": "All", "value": "$__all"},
        }
    value = f"{timeout * 1000:g}"
    yield {
        "name": TIMEOUT_VARIABLE,
        "type": "textbox",
        "label": "timeout processing, ms",
        "query": value,
        "current": {"text": value, "value": value},
    }


def _changes() -> dict[str, Any]:
    """Return the marks for each change of the policy."""
    return {
        "name": "Policy activated",
        "datasource": _SOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": 'changes(spoa_authz_policy_active_since_timestamp_seconds{job=~"$job",instance=~"$instance"}[1m]) > 0',
        "titleFormat": "policy activated at {{instance}}",
    }


def _panels() -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for row in ROWS:
        number += 1
        header = {"id": number, "type": "row", "title": row.title, "collapsed": row.is_collapsed, "panels": []}
        header["gridPos"] = {"x": 0, "y": top, "w": _PAGE, "h": 1}
        made = list(_row(row, number, top + 1))
        number += len(made)
        top = max((panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in made), default=top + 1)
        if row.is_collapsed:
            header["panels"] = made
            yield header
            continue
        yield header
        yield from made


def _row(row: Row, number: int, top: int) -> Iterator[dict[str, Any]]:
    left, lowest = 0, top
    for panel in row.panels:
        number += 1
        if left + panel.width > _PAGE:
            left, top = 0, lowest
        lowest = max(lowest, top + _HEIGHT[panel.kind])
        yield _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": _HEIGHT[panel.kind]})
        left += panel.width


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.bad_from is not None:
        steps.append({"color": "red", "value": panel.bad_from})
    is_table = panel.kind == "table"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {
                "refId": f"{chr(ord('A') + place_in_panel)}",
                "datasource": _SOURCE,
                "expr": query,
                "legendFormat": legend,
                **({"instant": True, "format": "table"} if is_table else {}),
            }
            for place_in_panel, (legend, query) in enumerate(panel.queries.items())
        ],
    }
