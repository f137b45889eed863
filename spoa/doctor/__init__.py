"""The doctor: proves that a configuration of HAProxy's lets through what the agent allowed and nothing else.

`examine` reads and reasons, and touches nothing; whether agents answer is asked elsewhere.
"""

from __future__ import annotations

from spoa.doctor.examination import Examination, Needs, examine
from spoa.doctor.findings import FINDINGS, Finding, Severity

__all__ = ["FINDINGS", "Examination", "Finding", "Needs", "Severity", "examine"]
