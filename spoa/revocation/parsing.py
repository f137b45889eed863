"""The edge to the parser of DER, whose failures share no class."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["parsing"]


@contextmanager
def parsing() -> Iterator[None]:
    """Make whatever is raised inside a `ValueError`, and silence warnings, which are process-wide meanwhile.

    The parser raises classes of its own for a version, an extension that stands twice, an algorithm that it doesn't
    know, some only when a field is looked at.

    Raises:
        ValueError: as the parser says it, with the name of its own class where it has another.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
