"""Prometheus and its promtool, from the package of this machine's Debian: they need nothing but its libc."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from tests.debian_packages import own_suite, unpacked

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["prometheus", "promtool"]


@functools.cache
def _programs() -> Path:
    suite = own_suite()
    return unpacked(f"prometheus-{suite}", lambda _: ["prometheus"], [suite]) / "usr" / "bin"


def prometheus() -> Path:
    """Return the server's binary, fetching it once if need be."""
    return _programs() / "prometheus"


def promtool() -> Path:
    """Return promtool's binary, fetching it once if need be."""
    return _programs() / "promtool"
