"""Every reader, on all inputs that are kept and on some that are made up: it ends, and raises what it documents."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spoa.exceptions import ProtocolError
from tests.fuzz.target import CORPUS, Target, told
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = sorted(TARGETS)
#: The same inputs on every run: what is new is for `make fuzz` to find, and not for somebody else's change.
FEW = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_does_with_kept_inputs_what_it_documents(name: str) -> None:
    target = TARGETS[name]
    assert target.seeds
    for seed in target.seeds:
        target(seed.read_bytes())


def edited(target: Target) -> st.SearchStrategy[bytes]:
    """Draw a kept input with a few edits: bytes put in, taken out, taken twice, or words that the reader knows."""
    seeds = [seed.read_bytes()[: target.longest] for seed in target.seeds]
    pieces = st.binary(max_size=4) | st.sampled_from(target.words or (b"\0", b"\xff"))
    places = st.integers(0, target.longest)
    edits = st.lists(st.tuples(places, st.integers(0, 8), pieces), max_size=6)

    def edit(seed: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
        for place, size, piece in changes:
            start = place % (len(seed) + 1)
            seed = seed[:start] + piece + seed[start + size :]
        return seed

    return st.builds(edit, st.sampled_from(seeds), edits)


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(data=st.data())
def test_a_reader_does_with_made_up_inputs_what_it_documents(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    target(data.draw(edited(target)))


def is_read(target: Target, data: bytes) -> bool:
    try:
        target.read(data)
    except target.documented:
        return False
    return True


@pytest.mark.parametrize("name", [name for name in NAMES if TARGETS[name].edit])
def test_edits_of_the_structure_get_past_the_first_parser(name: str) -> None:
    target = TARGETS[name]
    assert target.edit is not None
    inputs = [data for data in (seed.read_bytes() for seed in target.seeds) if is_read(target, data)]
    chance = random.Random(1)
    results = [target.edit(chance.choice(inputs), target.longest, seed) for seed in range(150)]
    read = sum(is_read(target, result) for result in results if result is not None)
    assert read > 22, "of edits of single bytes, nearly none is read to its end"


def raising(error: Exception) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        raise error

    return read


def test_what_is_not_documented_is_a_failure() -> None:
    with pytest.raises(KeyError):
        Target("x", raising(KeyError("x")), (ValueError,))(b"")
    with pytest.raises(AssertionError):
        Target("x", raising(AssertionError("x")), (ValueError,))(b"")
    Target("x", raising(ProtocolError(4, "documented")), (ProtocolError,))(b"")


@pytest.mark.parametrize("sentence", ["", "a\rb", "a\x1b[31m", "a\u202eb", "a\x00b", "x" * 601])
def test_an_error_that_can_not_be_shown_is_a_failure(sentence: str) -> None:
    with pytest.raises(AssertionError):
        told(ValueError(sentence))


def test_the_corpus_is_small_and_belongs_to_targets() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 300_000
