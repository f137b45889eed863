"""Letting go of a policy that judges no more, little by little.

Freeing thousands of rules, and what was remembered under them, takes tens of milliseconds at one go, and whoever asks
then would wait for it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.authorizer import Policy
    from spoa.recall import Recall

__all__ = ["let_go"]

#: Pieces taken hold of, and let go of, between two yields.
_TAKEN: Final = 1024
_LET_GO: Final = 128


def let_go(policy: Policy, recall: Recall | None, *, is_last: bool) -> Iterator[None]:
    """Forget what a policy remembers, and free its rules; yields often, so that other work may go on between.

    Args:
        policy: that nothing is judged by any more, here; whoever else still holds its rules keeps them.
        recall: what was remembered under it, unless there is none.
        is_last: no other policy has its rules, so that they may be freed.
    """
    rest = policy.evaluator.pieces() if is_last else iter(())
    held: list[object] = []
    while taken := list(islice(rest, _TAKEN)):
        held += taken
        taken.clear()
        yield
    if recall is not None:
        yield from recall.empty()
    yield from policy.empty()
    del policy, recall, rest
    held.reverse()  # what others are a part of goes first: it would free them all
    while held:
        del held[-_LET_GO:]
        yield
