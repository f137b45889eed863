"""Evidence about revocation that an agent has gathered, for verbs that explain what it would say."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from spoa.ocsp_store import stored_answers
from spoa.policy.model import Reason
from spoa.revocation.evidence import read_responses
from spoa.revocation.ocsp_memory import OcspKnowledge, OcspMemory

if TYPE_CHECKING:
    from pathlib import Path

    from spoa.authorizer import Policy

__all__ = ["hint_of", "with_answers"]

_HINT: Final = (
    "agents ask OCSP responders, this command doesn't: --state-dir has what an agent learnt, --revocation says it"
)
_SETTLED: Final = ("good", "revoked", "")


def with_answers(policy: Policy, state_dir: Path, der: bytes) -> Policy:
    """Return the policy with what an agent has learnt by OCSP about a certificate (DER) and the CAs above it.

    Raises:
        StateError: the agent's answers can't be read.
    """
    if all(issuer.revocation.ocsp is None for issuer in policy.model.issuers):
        return policy
    above = [one for issuer in policy.model.issuers for one in policy.issuers.certificates(issuer.name)]
    memory = OcspMemory()
    for answer in stored_answers(state_dir / "ocsp.sqlite", [hashlib.sha256(one).digest() for one in (der, *above)]):
        responses, _ = read_responses([answer.response])
        for response in responses:
            memory.put(answer.key, OcspKnowledge(response))
    return policy.with_crls(policy.assurance.crls, policy.assurance.outages, memory)


def hint_of(policy: Policy, issuer: str, state: str, refusal: str) -> str:
    """Return what to do where a state of revocation may be due to nobody having been asked; else an empty text."""
    asks = any(one.name == issuer and one.revocation.ocsp is not None for one in policy.model.issuers)
    is_open = state not in _SETTLED or refusal == Reason.REVOCATION_NOT_LOADED
    return _HINT if asks and is_open else ""
