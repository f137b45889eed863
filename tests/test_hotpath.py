"""The hot path stays as short as it is: counted in instructions of the interpreter, which no busy machine changes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
#: Bytecode instructions for one decision on CPython 3.11, with some room; whoever gets below should lower them.
MOST: Final = {
    "recurring": 698,  # once 639, before each read could be many; compiled it is less
    "recurring, alone in a turn": 1000,
    "recurring, 10 in a read": 456,  # once 433
    "recurring, unique id": 755,
    "path never seen": 1332,
    "path never seen, 10 in a read": 1094,  # once 1036
    "certificate never seen": 11_400,
}
#: Later versions cut the same work into other instructions.
ROOM: Final = 1.0 if sys.version_info[:2] == (3, 11) else 1.4


@pytest.fixture(scope="module")
def counted() -> dict[str, float]:
    """Counts in a process of its own: whoever measures coverage counts by the same means."""
    command = [sys.executable, "benchmarks/hotpath.py", "--count", "--requests", "200", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100)
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.interpreted
@pytest.mark.parametrize("shape", MOST)
def test_a_decision_takes_no_more_instructions_than_it_did(counted: dict[str, float], shape: str) -> None:
    assert 100 < counted[shape] <= MOST[shape] * ROOM


@pytest.mark.interpreted
def test_every_shape_is_guarded(counted: dict[str, float]) -> None:
    assert counted.keys() == MOST.keys()
