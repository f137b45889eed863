"""All targets: one for each reader of what the agent did not write itself, or can't be sure that it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.fuzz.configurations import DOCTOR, IMPORTER
from tests.fuzz.evidence import CERTIFICATES, NAMES, RESPONSES, REVOCATION_LISTS
from tests.fuzz.paths import PATHS, PATTERNS
from tests.fuzz.spop import CONNECTION, FRAMES, JUDGEMENT
from tests.fuzz.texts import BLOCKS, CASES, DECISIONS, LISTS, OPENINGS, PEM, PLAIN_LISTS, POLICIES, YAML

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fuzz.target import Target

__all__ = ["TARGETS"]

TARGETS: Final[Mapping[str, Target]] = {
    target.name: target
    for target in (
        *(FRAMES, CONNECTION, JUDGEMENT),
        *(CERTIFICATES, NAMES, REVOCATION_LISTS, RESPONSES),
        *(YAML, POLICIES, CASES, LISTS, PLAIN_LISTS, BLOCKS, OPENINGS, PEM, DECISIONS),
        *(PATHS, PATTERNS),
        *(IMPORTER, DOCTOR),
    )
}
