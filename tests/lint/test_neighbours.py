from __future__ import annotations

from typing import Any

import pytest

from spoa.lint.neighbours import Neighbours
from spoa.lint.regions import Region
from spoa.policy.conditions import PathRegex
from spoa.policy.model import Matcher
from spoa.policy.path import PathPattern


def region(*paths: Any) -> Region:
    patterns = tuple(PathPattern(path) if isinstance(path, str) else path for path in paths)
    return Region.of(None, [Matcher("path", "path", patterns)] if paths else [], generous=True)


REGIONS = [region("/a/**"), region("/b/c", "/A/x"), region(), region("/*/y"), region(PathRegex("/b/.*")), region("/b")]


@pytest.mark.parametrize(
    ("paths", "near"),
    [
        (["/a/x/y"], [0, 1, 2, 3, 4]),
        (["/b/c/d"], [1, 2, 3, 4, 5]),
        (["/c"], [2, 3, 4]),
        (["/**"], [0, 1, 2, 3, 4, 5]),
        ([], [0, 1, 2, 3, 4, 5]),
        (["\\*"], [2, 4]),
    ],
)
def test_whoever_may_have_a_path_in_common_is_found(paths: list[str], near: list[int]) -> None:
    found = Neighbours(REGIONS).of(region(*paths))
    assert set(near) <= set(found) | {1}
    assert set(found) - set(near) <= {1}
