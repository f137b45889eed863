"""Explanations for the console, made in a process of their own: a pasted certificate must not slow anything down.

The policy that is explained by is the bundle that the workers judge by, with the same blocks, openings and evidence.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from spoa.jobs import Workshop

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Explaining"]

_PATIENCE: Final = 20.0  # seconds for one explanation, a large policy being opened for it
_MAX_WAITING: Final = 4
_EXPLAINER: Final = ("-P", "-m", "spoa.explainer")


class Explaining:
    """Explains one thing at a time.

    Args:
        content: returns what the workers judge by: `bundle`, `imposed` and `evidence`, and `state`.
    """

    def __init__(self, content: Callable[[], dict[str, Any]]) -> None:
        self._content = content
        self._explainer = Workshop(_EXPLAINER, "the explainer")
        self._lock = asyncio.Lock()
        self._waiting = 0

    async def explain(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return an explanation as `explain --json` writes it, or `error` with a sentence."""
        if self._waiting >= _MAX_WAITING:
            return {"error": "others are waiting for explanations already; try again in a moment"}
        self._waiting += 1
        try:
            async with self._lock:  # what the workers judge by is asked for when its turn has come
                return await self._explainer.run({**self._content(), "asked": asked}, _PATIENCE)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """End the waiting process."""
        await self._explainer.close()
