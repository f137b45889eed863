"""What holds for all tests, and fixtures that tests of several modules ask for by name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import uvloop
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.agents import Loops

# How fast examples come is a matter of the machine and of who else is on it; what they show is not.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loops(request: pytest.FixtureRequest) -> Loops:
    """Return what makes an event loop, of each kind that a worker may have."""
    factory: Loops = request.param
    return factory
