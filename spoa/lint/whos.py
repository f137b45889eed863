"""Identities in a `who` that say nothing, since the others beside them mean the same clients and more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spoa.policy.model import Who
from spoa.policy.reading import Reading, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spoa.lint.places import Places
    from spoa.lint.regions import Atlas
    from spoa.policy.model import IdentityPattern, PolicyModel
    from spoa.policy.reading import Report

__all__ = ["lint_whos"]


def lint_whos(model: PolicyModel, places: Places, atlas: Atlas, report: Report) -> None:
    """Report identities that could be taken out of a valid policy's rules and routes without changing an answer."""
    for who, reading in _whos(model, places):
        _report_covered(who, reading, atlas, report)


def _whos(model: PolicyModel, places: Places) -> Iterator[tuple[Who, Reading]]:
    """Yield each `who` with the mapping in which it stands."""
    for rule, reading in zip(model.rules, places.rules, strict=True):
        if rule.who is not None:
            yield rule.who, reading
        unless = reading.value.get("unless")
        if rule.unless_who is not None and isinstance(unless, Reading):
            yield rule.unless_who, unless
    for route, reading in zip(model.routes, places.routes, strict=True):
        if route.who is not None:
            yield route.who, reading


def _report_covered(who: Who, reading: Reading, atlas: Atlas, report: Report) -> None:
    kept = list(who.identities)
    for identity in reversed(who.identities):
        kept.remove(identity)
        others = Who(tuple(kept), any_certificate=who.any_certificate)
        alone = Who((identity,))
        is_met = bool(atlas.alternatives(alone))
        if is_met and atlas.is_who_within(alone, others, generous=(False, False)):
            message = f"{_shown(identity)} says nothing here: the others beside it mean all of these, too; take one out"
            report.problem(reading.at("who"), reading.path_of("who"), message, "covered-identity", is_warning=True)
        else:
            kept.append(identity)


def _shown(identity: IdentityPattern) -> str:
    return quoted(identity.name) if identity.name else "an identity written in place"
