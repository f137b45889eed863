"""What holds for all tests, and fixtures that tests of several modules ask for by name."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.agents import Loops

# How fast examples come is a matter of the machine and of who else is on it; what they show is not.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")

#: Files of a minute or more, the longest first: begun before all others, none is left for one process at the end.
LONG = (
    "integration/test_revocation.py", "test_docs.py", "integration/test_upgrade.py", "integration/test_policies.py",
    "test_evidence_keeper_urls.py", "integration/test_ocsp_life.py", "test_evidence_keeper_files.py",
    "integration/test_peers.py", "test_benchmarks_haproxy.py", "cli/test_serve.py",
    "integration/faults/test_policy_directories.py", "integration/test_ocsp_waiting.py", "test_benchmarks.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the longest files begun first; `make` keeps them in this order."""
    here = Path(__file__).parent
    ranks = {here / name: rank for rank, name in enumerate(LONG)}
    assert all(map(Path.exists, ranks)), "LONG names a file that has gone"
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loops(request: pytest.FixtureRequest) -> Loops:
    """Return what makes an event loop, of each kind that a worker may have."""
    factory: Loops = request.param
    return factory
