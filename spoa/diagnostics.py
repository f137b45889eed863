"""The agent's own log: lines for people or JSON for programs, on the standard error, never about single requests."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, TextIO, cast

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

__all__ = ["configure"]


class _Lossy:
    """A stream that loses what it can't write: a full disk must not stop whoever logs, nor a reader that is gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, if that can be."""
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Write what is held back, if that can be."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def configure(log_format: str, log_level: str) -> None:
    """Send what is logged at `log_level` or above to the standard error; `log_format` is `text` or `json`."""
    is_json = log_format == "json"
    # Only lines of code, never the values of variables: these are headers and keys, and take long to be written down.
    text = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
    )
    ending: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()] if is_json else [text]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *ending,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[log_level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Lossy(sys.stderr))),
        cache_logger_on_first_use=False,
    )
