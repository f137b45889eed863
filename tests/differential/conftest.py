"""The HAProxy of these tests; `HAPROXY_VERSIONS` says which, as for the integration tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.haproxy_builds import haproxy_binary

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session", params=os.environ.get("HAPROXY_VERSIONS", "2.8,3.2").split(","))
def binary(request: pytest.FixtureRequest) -> Path:
    """Give a HAProxy of each version wanted."""
    return haproxy_binary(request.param)
