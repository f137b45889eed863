"""The rules file that Prometheus loads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from spoa.monitoring.alerts import JOB, alerts, recordings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.monitoring.alerts import Alert

__all__ = ["RUNBOOKS", "write_rules"]

#: Where the pages of the runbooks are on a machine that has the Debian package.
RUNBOOKS: Final = "file:///usr/share/doc/spoa-authz/runbooks"

_HEAD: Final = (
    "# Written by `spoa-authz monitoring rules` from the definitions of the metrics. Change nothing here: load a file\n"
    "# of your own beside this one, or silence an alert in Alertmanager.\n"
)


def write_rules(
    *, job: str = JOB, timeout: float | None = None, runbooks: str = RUNBOOKS, is_impatient: bool = False
) -> str:
    """Return the recording and alerting rules as YAML.

    Args:
        job: the name of the scrape job.
        timeout: HAProxy's `timeout processing`, seconds, where it may be shorter than an agent's own deadline.
        runbooks: what the pages' names are put behind, as `https://wiki.example/runbooks`.
        is_impatient: fire at once, without waiting for the condition to last; for trying the rules out.
    """
    lines = [_HEAD + "groups:", "  - name: spoa-authz-recordings", "    rules:"]
    for name, expr in recordings().items():
        lines += [f"      - record: {name}", f"        expr: {json.dumps(expr)}"]
    lines += ["  - name: spoa-authz-alerts", "    rules:"]
    for alert in alerts(job, timeout):
        lines += _written(alert, runbooks.rstrip("/"), "0s" if is_impatient else alert.lasts)
    return "\n".join(lines) + "\n"


def _written(alert: Alert, runbooks: str, lasts: str) -> Iterator[str]:
    """Yield one rule; what JSON quotes is YAML too."""
    yield f"      - alert: {alert.name}"
    yield f"        expr: {json.dumps(alert.expr)}"
    yield f"        for: {lasts}"
    yield f"        labels: {{severity: {alert.severity}}}"
    yield "        annotations:"
    yield f"          summary: {json.dumps(alert.summary)}"
    yield f"          runbook_url: {json.dumps(f'{runbooks}/{alert.runbook}.md')}"
