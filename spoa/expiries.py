"""How many client certificates are about to expire: counted among those in memory, apart from any request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from spoa.authorizer import Policy
    from spoa.metrics import Samples

__all__ = ["LEFT", "SHORT", "census"]

_DAY: Final = 86_400
#: What `left` says, and the seconds that a certificate is then valid for at most; others are `longer`.
LEFT: Final = {"expired": 0, "1d": _DAY, "7d": 7 * _DAY, "30d": 30 * _DAY}
#: Seconds of life up to which a certificate is `short`-lived: a machine renews it, and it is always about to expire.
SHORT: Final = 30 * _DAY
_SLICE: Final = 512  # certificates counted before other work has its turn


async def census(policy: Policy, now: float) -> Samples:
    """Return how many certificates of each issuer are in memory, by how long they are valid still and in all.

    Args:
        policy: whose memory is looked at; at most some 32,000 certificates.
        now: seconds since the epoch.
    """
    found: Samples = {}
    standings = policy.standings()
    while standings:  # from the end, and gone from here then: nobody else may have them any more
        some = standings[-_SLICE:]
        del standings[-_SLICE:]
        for standing in some:
            if standing.certificate is not None and standing.issuer is not None:
                life = "short" if standing.not_after - standing.not_before <= SHORT else "long"
                key = ("client_certificates", (standing.issuer, _left(standing.not_after - now), life))
                found[key] = found.get(key, 0) + 1
        await asyncio.sleep(0)
    return found


def _left(seconds: float) -> str:
    return next((name for name, most in LEFT.items() if seconds <= most), "longer")
