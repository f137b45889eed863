"""Whether what a policy says of a certificate or a request holds for one, given the values that it has.

The words themselves are `model`'s, whose methods ask these functions; those who ask often ask them directly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spoa.facts import ABSENT, UNAVAILABLE

if TYPE_CHECKING:
    from spoa.policy.model import Bearer, IdentityPattern, Matcher, Values, Who

__all__ = ["identity_holds", "matcher_holds", "who_holds"]


# Hot path: a new certificate is compared with whatever `Pivots` finds. Trick: functions apart from the words of the
# policy, which can't be compiled. Benchmark: benchmarks/hotpath.py, the certificate never seen.
def matcher_holds(matcher: Matcher, values: Values, *, generous: bool) -> bool:
    """Tell whether an attribute's values meet the patterns; the unavailable meets them only generously."""
    if values is UNAVAILABLE:
        return generous
    if values is ABSENT:
        return False
    is_universal = matcher.is_universal
    for value in values:
        if _meets(matcher, value, generous=generous) is not is_universal:
            return not is_universal
    return is_universal and bool(values)


def _meets(matcher: Matcher, value: object, *, generous: bool) -> bool:
    """Tell whether *value* meets one of the patterns; whatever does strictly also does generously.

    Folding alone can lose a match: it trims the blank that a star stands for, or composes it with its neighbour.
    """
    for pattern in matcher.patterns:
        if pattern.matches(value, generous=False) or (generous and pattern.matches(value, generous=True)):
            return True
    return False


def identity_holds(identity: IdentityPattern, bearer: Bearer, *, generous: bool) -> bool:
    """Tell whether the bearer of a certificate is meant."""
    if bearer.is_anonymous:
        return False
    values = bearer.values
    for conjunction in identity.alternatives:
        for one in conjunction:
            if not matcher_holds(one, values.get(one.attribute, UNAVAILABLE), generous=generous):
                break
        else:
            return True
    return False


def who_holds(who: Who, bearer: Bearer, *, generous: bool) -> bool:
    """Tell whether the bearer is among them."""
    if bearer.is_anonymous:
        return who.anonymous
    return who.any_certificate or any(identity_holds(one, bearer, generous=generous) for one in who.identities)
