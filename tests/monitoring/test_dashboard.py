"""What Grafana imports is whole: panels that don't overlap, queries with a source, and the timeout that was told."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from spoa.monitoring.dashboard import write_dashboard
from spoa.monitoring.panels import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    dashboard = json.loads(write_dashboard())
    found = list(panels(dashboard))
    assert len({panel["id"] for panel in found}) == len(found)
    assert len(found) == len(ROWS) + sum(len(row.panels) for row in ROWS)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in found)
        for x, y in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_only_the_last_row_is_folded_and_holds_its_panels() -> None:
    heads = [panel for panel in json.loads(write_dashboard())["panels"] if panel["type"] == "row"]
    assert [head["collapsed"] for head in heads] == [False] * (len(ROWS) - 1) + [True]
    assert [bool(head["panels"]) for head in heads] == [head["collapsed"] for head in heads]


def test_variables_that_queries_use_are_declared() -> None:
    text = write_dashboard(timeout=0.25)
    dashboard = json.loads(text)
    declared = {one["name"]: one for one in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval", "__all"}
    assert used == declared.keys()
    assert declared["spoe_timeout"]["query"] == "250"
    for panel in panels(dashboard):
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"


def test_a_table_asks_for_the_present_only(monkeypatch: pytest.MonkeyPatch) -> None:
    revision = next(panel for panel in panels(json.loads(write_dashboard())) if panel["title"] == "Revision")
    assert (revision["type"], revision["targets"][0]["instant"]) == ("table", True)
