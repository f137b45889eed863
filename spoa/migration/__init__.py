"""From ACLs to a policy: what a frontend of HAProxy's decides, drafted as a policy directory with its tests.

`draft_policy` makes the draft, which grants nothing that HAProxy refused; `draft_tests` holds it to what it says.
"""

from __future__ import annotations

from spoa.migration.drafting import Draft, choose_frontend, draft_policy
from spoa.migration.notes import NOTES, Note
from spoa.migration.testing import draft_tests

__all__ = ["NOTES", "Draft", "Note", "choose_frontend", "draft_policy", "draft_tests"]
