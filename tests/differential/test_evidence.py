"""The judgement of CRLs and OCSP responses against that of pyhanko-certvalidator.

We are stricter on purpose in what revokes: a list or response that has run out still does, a revocation dated ahead
does already, and of several pieces of evidence any one does. So nothing is asked where we say `revoked`.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Final

import pytest

from tests.differential import evidence
from tests.differential.evidence import Scenario, made_up, ours, theirs

#: How many scenarios; the long run sets more.
COUNT: Final = int(os.environ.get("SPOA_AUTHZ_DIFFERENTIAL_EVIDENCE", "240"))
SEED: Final = int(os.environ.get("SPOA_AUTHZ_DIFFERENTIAL_SEED", "1"))

Judged = list[tuple[Scenario, str, str]]


@pytest.fixture(scope="module")
def judged() -> Judged:
    """Scenarios with our judgement and theirs."""
    return [(one, ours(one), theirs(one)) for one in made_up(random.Random(SEED), COUNT)]


def test_what_they_find_revoked_is_revoked(judged: Judged) -> None:
    assert [str(one) for one, mine, other in judged if other == "revoked" and mine != "revoked"] == []


def test_what_is_good_is_good_for_them(judged: Judged) -> None:
    """But where a fresh delta stands on a list that has run out (RFC 5280 section 5.2.4), which they don't take."""
    assert [str(one) for one, mine, other in judged if mine == "good" and other != "good" and not one.has_delta] == []


def test_what_proves_it_good_for_them_is_proof_enough(judged: Judged) -> None:
    assert [str(one) for one, mine, other in judged if other == "good" and mine == "undetermined"] == []


def test_the_scenarios_are_of_all_sorts(judged: Judged) -> None:
    sorts = Counter((mine, other) for _, mine, other in judged)
    wanted = (("good", "good"), ("revoked", "revoked"), ("undetermined", "refused"), ("revoked", "refused"))
    assert all(sorts[sort] > COUNT / 50 for sort in wanted), sorts


def test_a_judge_that_overlooks_a_list_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    scenarios = list(made_up(random.Random(SEED), 60))
    monkeypatch.setattr(evidence, "check", lambda *_, **__: type("Result", (), {"status": "good"}))
    assert any(theirs(one) != "good" and ours(one) == "good" and not one.has_delta for one in scenarios)
