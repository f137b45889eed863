"""spoa-authz: the policy-driven authorization agent for HAProxy.

To embed the judgement::

    import time
    import spoa

    policy = spoa.load_policy("policies")
    request = spoa.Request(cert=der, used=True, verify=0, method="GET", path="/")
    policy.evaluate(request, time.time()).decision.verdict  # "allow" or "deny"

Names are imported when they are first asked for: the command line needs few of them at a time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from spoa._version import __version__

if TYPE_CHECKING:
    from spoa import revocation
    from spoa.authorizer import Judgement, Policy
    from spoa.exceptions import PolicyError, Problem, SpoaError
    from spoa.facts import ABSENT, UNAVAILABLE, Certificate, Request
    from spoa.loading import load_policy
    from spoa.policy.decision import Decision

__all__ = [
    "ABSENT",
    "UNAVAILABLE",
    "Certificate",
    "Decision",
    "Judgement",
    "Policy",
    "PolicyError",
    "Problem",
    "Request",
    "SpoaError",
    "__version__",
    "load_policy",
    "revocation",
]

_HOMES = {
    "ABSENT": "spoa.facts",
    "UNAVAILABLE": "spoa.facts",
    "Certificate": "spoa.facts",
    "Decision": "spoa.policy.decision",
    "Judgement": "spoa.authorizer",
    "Policy": "spoa.authorizer",
    "PolicyError": "spoa.exceptions",
    "Problem": "spoa.exceptions",
    "Request": "spoa.facts",
    "SpoaError": "spoa.exceptions",
    "load_policy": "spoa.loading",
}


def __getattr__(name: str) -> Any:
    if name == "revocation":
        return importlib.import_module("spoa.revocation")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
