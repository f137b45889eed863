"""A policy that judges no more is let go of in steps, and nobody who still has it loses anything."""

from __future__ import annotations

import gc
import itertools
import sys
from typing import TYPE_CHECKING

from spoa.disposal import let_go
from tests.policies import HEAD, ask, holder, policy

if TYPE_CHECKING:
    from spoa.authorizer import Policy

RULES = 1500
MANY = (
    HEAD
    + "rules:\n"
    + "".join(
        f"- {{id: r{n}, effect: allow, who: {{issuer: corp, ou: u{n}}}, request: {{path: /p{n}/x, method: GET}},"
        f" when: {{source: 10.{n // 256}.{n % 256}.0/24}}}}\n"
        for n in range(RULES)
    )
)
CLERK = holder(ou="u7")


def answer(own: Policy) -> str:
    return ask(own, CLERK, path="/p7/x", source=bytes([10, 0, 7, 1])).rule


def test_it_goes_in_small_steps_and_as_a_whole() -> None:
    gc.collect()
    gc.disable()
    try:
        before = sys.getallocatedblocks()
        own = policy(MANY)
        gc.collect()  # what reading the text left
        held = sys.getallocatedblocks() - before
        answer(own)
        steps = let_go(own, None, is_last=True)
        del own
        left = [sys.getallocatedblocks() for _ in steps]
    finally:
        gc.enable()
    freed = [max(0, earlier - later) for earlier, later in itertools.pairwise(left)]
    assert sum(freed) > 0.8 * held > RULES
    assert max(freed) < sum(freed) / 10


def test_whoever_still_has_its_rules_goes_on_judging_by_them() -> None:
    own = policy(MANY)
    assert answer(own) == "r7"
    for is_last in (True, False):
        for _ in let_go(own, None, is_last=is_last):
            assert answer(own) == "r7"
