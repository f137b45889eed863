"""PromQL about the agent's own metrics: a name or label that `METRICS` does not define can't be written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from spoa.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spoa.metrics import Metric

__all__ = ["SCRAPED", "metric_named", "over", "quantile", "rate", "rise", "select"]

#: Labels that Prometheus gives to each series of a scrape.
SCRAPED: Final = ("job", "instance")

_METRICS: Final = {metric.name: metric for metric in METRICS}
_PREFIX: Final = "spoa_authz_"
#: What a label's value may begin with, and the operator that it stands for; the longer ones first.
_OPERATORS: Final = {"!~": "!~", "!": "!=", "~": "=~", "": "="}
_SUFFIXES: Final = {"histogram": ("_bucket", "_sum", "_count")}


def metric_named(name: str) -> Metric:
    """Return a metric by its name without the prefix.

    Raises:
        KeyError: there is none.
    """
    return _METRICS[name]


def select(name: str, suffix: str = "", **labels: str) -> str:
    """Write a selector; a value that begins with `!`, `~` or `!~` is matched as in PromQL.

    Raises:
        KeyError: the metric has no such name, label or suffix.
    """
    metric = metric_named(name)
    allowed = {*metric.labels, *SCRAPED, *(("le",) if suffix == "_bucket" else ())}
    if suffix not in _SUFFIXES.get(metric.kind, ("",)) or not labels.keys() <= allowed:
        raise KeyError(f"{name}{suffix} with {', '.join(labels) or 'no labels'}")
    written = ",".join(_matcher(label, value) for label, value in labels.items())
    return f"{_PREFIX}{name}{suffix}" + (f"{{{written}}}" if written else "")


def _matcher(label: str, value: str) -> str:
    mark = next(mark for mark in _OPERATORS if value.startswith(mark))
    return f"{label}{_OPERATORS[mark]}{json.dumps(value.removeprefix(mark))}"


def over(by: Sequence[str], expression: str, *, aggregate: str = "sum") -> str:
    """Aggregate by the scraped labels and others."""
    return f"{aggregate} by ({', '.join((*SCRAPED, *by))}) ({expression})"


def rate(name: str, window: str, *by: str, suffix: str = "", offset: str = "", **labels: str) -> str:
    """Write how much of a counter there is a second, by some of its labels; `offset` ago where that is given.

    Raises:
        KeyError: the metric has no such name, label or suffix, or is a gauge, which has no rate.
    """
    metric = metric_named(name)
    if metric.kind == "gauge" or not set(by) <= {*metric.labels, "le"}:
        raise KeyError(f"rate of {name} by {', '.join(by)}")
    ago = f" offset {offset}" if offset else ""
    return over(by, f"rate({select(name, suffix, **labels)}[{window}]{ago})")


def rise(name: str, window: str, *by: str, **labels: str) -> str:
    """Write by how much a counter rose.

    Raises:
        KeyError: as `rate`.
    """
    return rate(name, window, *by, **labels).replace("rate(", "increase(")


def quantile(name: str, window: str, share: float, **labels: str) -> str:
    """Write the value below which a share of a histogram's observations lies.

    Raises:
        KeyError: as `rate`.
    """
    return f"histogram_quantile({share}, {rate(name, window, 'le', suffix='_bucket', **labels)})"
