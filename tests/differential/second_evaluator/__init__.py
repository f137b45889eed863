"""A second evaluator of the policy language, written from its specification alone.

It shares no code with the agent, so that the two can only agree on what the specification says. It is slow and plain on
purpose: every function is meant to be read beside the sentence of the specification that it quotes.
"""

from tests.differential.second_evaluator.judging import judge
from tests.differential.second_evaluator.loading import load_policy
from tests.differential.second_evaluator.words import (
    MISSING,
    NULL,
    UNKNOWN,
    Certificate,
    RefusedError,
    Request,
    Verdict,
    World,
)

__all__ = [
    "MISSING",
    "NULL",
    "UNKNOWN",
    "Certificate",
    "RefusedError",
    "Request",
    "Verdict",
    "World",
    "judge",
    "load_policy",
]
