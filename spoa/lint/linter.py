"""All that deserves a look in a valid policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spoa.lint.looks import lint_looks
from spoa.lint.places import places_of
from spoa.lint.regions import Atlas
from spoa.lint.rules import lint_rules
from spoa.lint.whos import lint_whos

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spoa.policy.model import PolicyModel
    from spoa.policy.reading import Report

__all__ = ["lint_policy"]


def lint_policy(
    model: PolicyModel, documents: Mapping[str, bytes], report: Report, *, dead_lists: frozenset[str] = frozenset()
) -> None:
    """Report, as warnings, what in a valid policy can't do what it seems to be for.

    Args:
        model: the policy.
        documents: file → text, of the documents that it was made of.
        report: takes the findings.
        dead_lists: names of lists on which no entry is valid.
    """
    places = places_of(documents)
    atlas = Atlas(model, dead_lists)
    lint_rules(model, places, atlas, report)
    lint_whos(model, places, atlas, report)
    lint_looks(model, places, report)
