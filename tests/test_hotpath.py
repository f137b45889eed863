"""The hot path stays as short as it is: counted in instructions, of the interpreter or, compiled, of the processor.

No busy machine changes those.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from benchmarks.steps import NOT_ALLOWED

ROOT: Final = Path(__file__).parent.parent
#: Bytecode instructions for one decision on CPython 3.11, with some room; whoever gets below should lower them.
MOST: Final = {
    "recurring": 690,  # once 639, before each read could be many; compiled it is less
    "recurring, alone in a turn": 990,  # 975 to 979
    "recurring, 10 in a read": 448,  # once 433
    "recurring, unique id": 748,
    "path never seen": 1280,
    "path never seen, 10 in a read": 1055,  # once 1036
    "certificate never seen": 11_400,
}
#: Instructions of the processor for one decision where all that can be is compiled, by GCC 12 for x86-64; 6 % of room,
#: since few requests are stepped through, and processors have C libraries of their own.
MOST_OF_THE_PROCESSOR: Final = {
    "recurring": 6_650,
    "recurring, alone in a turn": 15_300,
    "recurring, 10 in a read": 4_720,
    "recurring, unique id": 7_230,
    "path never seen": 19_050,
    "path never seen, 10 in a read": 17_000,
}
#: Later versions cut the same work into other instructions.
ROOM: Final = 1.0 if sys.version_info[:2] == (3, 11) else 1.4
#: So do other processors.
ROOM_OF_THE_PROCESSOR: Final = ROOM * (1.0 if platform.machine() == "x86_64" else 1.6)


def count(what: str) -> dict[str, float]:
    """Count in a process of its own: whoever measures coverage counts by the same means."""
    command = [sys.executable, "benchmarks/hotpath.py", "--count", what, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    if NOT_ALLOWED in done.stderr:
        pytest.skip(NOT_ALLOWED)
    assert not done.returncode, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def counted() -> dict[str, float]:
    return count("bytecode")


@pytest.fixture(scope="module")
def counted_by_the_processor() -> dict[str, float]:
    return count("machine")


@pytest.mark.interpreted
@pytest.mark.parametrize("shape", MOST)
def test_a_decision_takes_no_more_instructions_than_it_did(counted: dict[str, float], shape: str) -> None:
    assert 100 < counted[shape] <= MOST[shape] * ROOM


@pytest.mark.interpreted
def test_every_shape_is_guarded(counted: dict[str, float]) -> None:
    assert counted.keys() == MOST.keys()


@pytest.mark.compiled
@pytest.mark.parametrize("shape", MOST_OF_THE_PROCESSOR)
def test_a_compiled_decision_takes_no_more_instructions_of_the_processor_than_it_did(
    counted_by_the_processor: dict[str, float], shape: str
) -> None:
    assert 1000 < counted_by_the_processor[shape] <= MOST_OF_THE_PROCESSOR[shape] * ROOM_OF_THE_PROCESSOR


@pytest.mark.compiled
def test_every_shape_is_guarded_compiled(counted_by_the_processor: dict[str, float]) -> None:
    assert counted_by_the_processor.keys() == MOST_OF_THE_PROCESSOR.keys()
