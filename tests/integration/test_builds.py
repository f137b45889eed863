"""Where the HAProxy binaries of these tests come from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.haproxy_builds import ENGINE, BuildUnavailableError, haproxy_binary, version_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def test_the_binary_is_of_a_known_version_and_can_be_executed(binary: Path) -> None:
    assert version_of(binary) in ENGINE
    assert os.access(binary, os.X_OK)


def test_a_version_that_nobody_has_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(BuildUnavailableError, match=r"no HAProxy 1\.8: known versions are 2\.6, 2\.8") as refused:
        haproxy_binary("1.8")
    assert refused.value.version == "1.8"
