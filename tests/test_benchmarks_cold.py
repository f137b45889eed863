"""The benchmark of used caches asks every copy alike, and notices an answer that is wrong."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.asking import Asker
from benchmarks.certificates import make_certificates, read_pack
from benchmarks.cold import Asked, lines_of
from benchmarks.policies import write_policy
from benchmarks.programs import Agent, BenchmarkError

ROOT = Path(__file__).resolve().parent.parent


def test_each_median_is_told_in_that_of_the_first_copy() -> None:
    spent = {"floor": [4.0, 6.0, 5.0], "old": [10.0, 9.0, 30.0], "new": [8.0, 8.0, 1.0]}
    assert list(lines_of(spent, "old")) == [
        "    5.00 us a request, 0.500  floor",
        "   10.00 us a request, 1.000  old",
        "    8.00 us a request, 0.800  new",
    ]


@pytest.mark.integration
def test_a_denied_request_ends_it(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path, 100, 0)
    write_policy(tmp_path / "policies", certificates, 8, 100)
    der = next(read_pack(certificates.usual))
    with Agent(tmp_path / "policies", tmp_path / "home") as agent, Asker(agent.address) as asker:
        asked = Asked(agent, [asker])
        with pytest.raises(BenchmarkError, match=r"supervisor says .*deny"):
            asked.ask([(der, "127.0.0.1", "GET", "/nothing")], ctypes.create_string_buffer(1 << 20))
        assert asked.spent[0] > 0


@pytest.mark.integration
@pytest.mark.slow
def test_copies_are_compared_with_the_first_beside_the_floor() -> None:
    command = [sys.executable, "benchmarks/cold.py", ".", ".", "--connections", "2", "--times", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    floor, one, other = done.stdout.splitlines()[-3:]
    assert floor.endswith("  floor, our variables")
    assert one.endswith(f" us a request, 1.000  1 {ROOT}")
    assert other.endswith(f"  2 {ROOT}")
    assert 0 < float(floor.split()[0]) < min(float(one.split()[0]), float(other.split()[0]))
