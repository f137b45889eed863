"""What an agent has learnt by OCSP counts for verbs that explain, and where nobody asked, that is said."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from spoa.cli.evidence import hint_of, with_answers
from spoa.exceptions import StateError
from spoa.facts import ABSENT, Request
from spoa.ocsp_store import OcspStore, StoredAnswer
from spoa.revocation.ocsp import write_request
from tests.pki import CA
from tests.policies import HEAD, policy

if TYPE_CHECKING:
    from pathlib import Path

CORP = CA("Corp")
ALICE = CORP.issue("alice", ["staff"])
RULES = HEAD.replace('{none: "a test"}', "{ocsp: {responder: 'http://127.0.0.1:1'}}", 1) + (
    "rules: [{id: a, effect: allow, who: {issuer: corp, ou: staff}}]"
)


def judge(rules: str = RULES) -> Any:
    return policy(rules, authorities={"corp": [CORP.der]})


def answered(state: Path, ca: CA) -> None:
    """Have an agent keep what the responder says of alice."""
    response = ca.ocsp_response(write_request(ALICE.der, ca.der), now=int(time.time()))
    store = OcspStore(state / "ocsp.sqlite")
    store.put([StoredAnswer(("corp", hashlib.sha256(ALICE.der).digest()), response, 0)])
    store.close()


def reason(by: Any) -> str:
    request = Request(cert=ALICE.der, used=True, verify=0, method="GET", path="/", sni=ABSENT)
    # At present: whoever signs an answer writes down when, and that can't be chosen.
    return str(by.judge(request, time.time()).decision.reason)


def test_what_an_agent_has_learnt_counts(tmp_path: Path) -> None:
    assert reason(with_answers(judge(), tmp_path, ALICE.der)) == "revocation_not_loaded"
    answered(tmp_path, CORP)
    assert reason(with_answers(judge(), tmp_path, ALICE.der)) == "ok"


def test_where_no_responder_is_asked_nothing_is_looked_up(tmp_path: Path) -> None:
    (tmp_path / "ocsp.sqlite").write_text("none")
    plain = judge(HEAD + "rules: [{id: a, effect: allow, who: {issuer: corp, ou: staff}}]")
    assert with_answers(plain, tmp_path, ALICE.der) is plain
    with pytest.raises(StateError, match="can't be read"):
        with_answers(judge(), tmp_path, ALICE.der)


@pytest.mark.parametrize(
    ("issuer", "state", "refusal", "is_given"),
    [
        ("corp", "not_loaded", "revocation_not_loaded", True),
        ("corp", "stale", "", True),
        ("corp", "good", "", False),
        ("corp", "revoked", "certificate_revoked", False),
        ("corp", "", "certificate_expired", False),
        ("partners", "not_loaded", "revocation_not_loaded", False),
    ],
)
def test_a_hint_is_given_where_nobody_may_have_been_asked(
    issuer: str, state: str, refusal: str, is_given: bool
) -> None:
    assert bool(hint_of(judge(), issuer, state, refusal)) is is_given
