"""What watches the agent: alerts, recording rules and a dashboard, written from the definitions of its metrics."""

from spoa.monitoring.alerts import ALERTS, Alert
from spoa.monitoring.dashboard import write_dashboard
from spoa.monitoring.rules import write_rules

__all__ = ["ALERTS", "Alert", "write_dashboard", "write_rules"]
