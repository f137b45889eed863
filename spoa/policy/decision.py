"""What is answered: made once for each different answer, and counted where it is kept.

Plain classes, so that the hot path can have them in C. Benchmark: benchmarks/hotpath.py.
"""

from __future__ import annotations

__all__ = ["Decision", "Tally"]


class Tally:
    """How often one answer was given; shared by all decisions that differ in identity or route only."""

    __slots__ = ("count", "reason", "rule", "shadow", "verdict")

    def __init__(self, verdict: str, reason: str, rule: str, shadow: str) -> None:
        self.verdict = verdict
        self.reason = reason
        self.rule = rule
        self.shadow = shadow
        self.count = 0


class Decision:
    """What is answered, made once for each different answer and shared by all requests that get it.

    Compared by identity, which makes it a cheap key.

    Attributes:
        verdict: `allow` or `deny`.
        status: HTTP status; 200 on allow.
        reason: a `Reason`, or a rule's own.
        rule: id of the deciding rule, empty where none did.
        identity: the first named identity that matches strictly.
        route: backend, on allow.
        shadow: `deny` where shadow mode or a shadow rule would have denied.
        rules: ids of all rules that matched, in file order.
        log_reason, log_rule: what would have been answered without shadow mode; else as `reason` and `rule`.
        tally: counts the requests that got it.
    """

    __slots__ = (
        "identity",
        "log_reason",
        "log_rule",
        "reason",
        "route",
        "rule",
        "rules",
        "shadow",
        "status",
        "tally",
        "verdict",
    )

    def __init__(  # noqa: PLR0913 -- its fields, given by name
        self,
        *,
        verdict: str,
        status: int,
        reason: str,
        rule: str,
        identity: str,
        route: str,
        shadow: str,
        rules: tuple[str, ...],
        log_reason: str,
        log_rule: str,
        tally: Tally,
    ) -> None:
        self.verdict = verdict
        self.status = status
        self.reason = reason
        self.rule = rule
        self.identity = identity
        self.route = route
        self.shadow = shadow
        self.rules = rules
        self.log_reason = log_reason
        self.log_rule = log_rule
        self.tally = tally
