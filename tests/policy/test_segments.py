"""The tree finds what comparing a path with every pattern would find."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spoa.policy.segments import Segment
from spoa.policy.text import glob_matches

#: Segments of patterns, in their pieces between stars.
PIECES = st.sampled_from([("a",), ("b",), ("ab",), ("",), ("", ""), ("a", ""), ("", "b")])
PATTERNS = st.lists(st.tuples(st.lists(PIECES, max_size=4).map(tuple), st.booleans()), max_size=12)


def meets(pattern: tuple[tuple[str, ...], ...], below: bool, path: tuple[str, ...]) -> bool:
    if len(path) < len(pattern) or (len(path) > len(pattern) and not below):
        return False
    return all(
        pieces[0] == segment if len(pieces) == 1 else glob_matches(pieces, segment)
        for pieces, segment in zip(pattern, path, strict=False)
    )


@given(PATTERNS, st.lists(st.sampled_from(["a", "b", "ab", "", "c"]), max_size=5).map(tuple))
def test_it_finds_what_asking_every_pattern_finds(
    patterns: list[tuple[tuple[tuple[str, ...], ...], bool]], path: tuple[str, ...]
) -> None:
    tree = Segment()
    for number, (pattern, below) in enumerate(patterns):
        tree.add(pattern, 1 << number, below=below)
    expected = sum(1 << number for number, (pattern, below) in enumerate(patterns) if meets(pattern, below, path))
    assert tree.find(path) == expected


@given(PATTERNS)
def test_its_places_are_where_patterns_lead_each_once(
    patterns: list[tuple[tuple[tuple[str, ...], ...], bool]],
) -> None:
    tree = Segment()
    for pattern, below in patterns:
        tree.add(pattern, 1, below=below)
    places = list(tree.places())
    assert len(set(map(id, places))) == len(places)
    assert len(places) == len({()} | {pattern[:at] for pattern, _ in patterns for at in range(len(pattern) + 1)})
