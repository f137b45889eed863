"""How long an answer counts: before its `valid_until`, time alone makes no other one of a good one.

Whoever remembers an answer until then says nothing that judging afresh would not.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest

from tests.revocation.lists import NOW, answer, asked, at, crl

if TYPE_CHECKING:
    from tests.pki import CA, Issued

HOUR: Final = 3600
STARTS: Final = (-900, -100, 0, 200, 400, 700)
LENGTHS: Final = (1, 100, 300, 700, 1500)
REASONS: Final = ("", "keyCompromise", "certificateHold", "certificateHold")


def drawn_list(chance: random.Random, ca: CA, alice: Issued) -> bytes:
    base = chance.choice((None, 1, 2))
    reasons = REASONS if base is None else (*REASONS, *("removeFromCRL",) * 4)
    entries = [at(alice, chance.choice(reasons))] if chance.random() < 0.4 else []
    start = NOW + chance.choice(STARTS)
    return crl(
        ca,
        *entries,
        number=chance.randint(1, 4),
        base=base,
        aki=chance.random() < 0.7,
        this_update=start,
        next_update=start + chance.choice(LENGTHS),
    )


def drawn_answer(chance: random.Random, ca: CA, alice: Issued) -> bytes:
    # No unknown: one that is dated ahead begins to count, and whoever remembers answers never keeps such a one.
    start = NOW + chance.choice(STARTS)
    status = chance.choice(("GOOD", "GOOD", "REVOKED"))
    reason = chance.choice((None, "certificateHold")) if status == "REVOKED" else None
    return answer(alice, ca, status, this_update=start, next_update=start + chance.choice(LENGTHS), reason=reason)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_good_stays_so_until_its_end(ca: CA, alice: Issued, seed: int) -> None:
    chance, good = random.Random(seed), 0
    for _ in range(30):
        is_by_list = chance.random() < 0.6
        drawn = [
            (drawn_list if is_by_list else drawn_answer)(chance, ca, alice) for _ in range(chance.choice((1, 2, 3, 4)))
        ]
        crls, responses = (drawn, []) if is_by_list else ([], drawn)
        for now in (NOW, NOW + 150, NOW + 450):
            found = asked(alice, ca, *crls, now=now, ocsp_responses=responses)
            if found.status != "good":
                continue
            good += 1
            for later in (now + step for step in range(0, 2500, 50)):
                if later < found.valid_until:
                    assert asked(alice, ca, *crls, now=later, ocsp_responses=responses).status == "good"
    assert good


def test_a_hold_that_a_newer_list_lifts_is_lifted_no_longer_than_that_counts(ca: CA, alice: Issued) -> None:
    held = crl(ca, at(alice, "certificateHold"), number=2, base=1)
    newer = crl(ca, number=3, next_update=NOW + 100)
    longer = crl(ca, number=1, aki=False, next_update=NOW + HOUR)
    found = asked(alice, ca, held, newer, longer)
    assert (found.status, found.valid_until) == ("good", NOW + 100)
    assert asked(alice, ca, held, newer, longer, now=NOW + 100).status == "revoked"


def test_a_hold_that_a_delta_lifts_is_lifted_no_longer_than_that_counts(ca: CA, alice: Issued) -> None:
    held = crl(ca, at(alice, "certificateHold"), number=1)
    delta = crl(ca, at(alice, "removeFromCRL"), number=2, base=1, next_update=NOW + 100)
    longer = crl(ca, number=1, aki=False, next_update=NOW + HOUR)
    found = asked(alice, ca, held, delta, longer)
    assert (found.status, found.valid_until) == ("good", NOW + 100)
    assert asked(alice, ca, held, delta, longer, now=NOW + 100).status == "revoked"


def test_a_hold_that_a_newer_answer_lifts_is_lifted_no_longer_than_that_counts(ca: CA, alice: Issued) -> None:
    responses = [
        answer(alice, ca, "REVOKED", reason="certificateHold", this_update=NOW - HOUR, next_update=NOW - 60),
        answer(alice, ca, this_update=NOW - 60, next_update=NOW + 100),
        answer(alice, ca, this_update=NOW - 2 * HOUR, next_update=NOW + HOUR),
    ]
    found = asked(alice, ca, ocsp_responses=responses)
    assert (found.status, found.valid_until) == ("good", NOW + 100)
    assert asked(alice, ca, ocsp_responses=responses, now=NOW + 100).status == "revoked"
