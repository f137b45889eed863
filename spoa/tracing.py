"""Traces of what is slow, for OpenTelemetry: requests that waited for revocation, fetches, reloads. Off by default.

A request that is answered from memory is never traced, so that whoever turns this on pays nothing on the hot path. The
trace of a request that waited has an id that follows from HAProxy's unique id: whoever reads that in a log finds the
trace, and a proxy that makes unique ids of 32 hex digits (with or without hyphens) makes trace ids.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from spoa._version import __version__
from spoa.exceptions import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from spoa.authorizer import Judgement

__all__ = ["Tracing", "trace_id_of"]

_NANOSECONDS: Final = 1_000_000_000
_PATIENCE: Final = 0.5  # seconds for what is left to be sent at the end: nobody waits for a collector that is away
_TIMEOUT: Final = 5.0  # seconds for one delivery
_TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{32}")
_PATH: Final = "/v1/traces"


def trace_id_of(unique_id: str) -> int:
    """Return the trace id of a request: its unique id where that is one, else the first half of its SHA-256."""
    digits = unique_id.replace("-", "")
    if _TRACE_ID.fullmatch(digits) and int(digits, 16):
        return int(digits, 16)
    return int.from_bytes(hashlib.sha256(unique_id.encode()).digest()[:16])


class Tracing:
    """Makes spans and hands them to a collector, from a thread of its own; what it can't deliver is lost.

    Args:
        endpoint: the collector's address for OTLP over HTTP, as `http://127.0.0.1:4318`; empty for no tracing at all.

    Raises:
        SettingsError: OpenTelemetry isn't installed.
    """

    def __init__(self, endpoint: str = "") -> None:
        self._provider: Any = None
        self._tracer: Any = None
        self._ids: Any = None
        if endpoint:
            self._begin(endpoint)

    def _begin(self, endpoint: str) -> None:
        try:
            # An extra, and slow to import: only who asks for it has it.
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
            from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415
        except ImportError as error:
            raise SettingsError(
                "otlp-endpoint", "OpenTelemetry is not installed: pip install 'spoa-authz[otel]'"
            ) from error

        class Ids(RandomIdGenerator):
            """Gives the trace id that was chosen, where one was."""

            chosen = 0

            def generate_trace_id(self) -> int:
                return self.chosen or super().generate_trace_id()

        self._ids = Ids()
        resource = Resource.create({"service.name": "spoa-authz", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + _PATH, timeout=_TIMEOUT)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("spoa_authz", __version__)

    def waited(self, unique_id: str, seconds: float, judgement: Judgement | None) -> None:
        """Trace a request that was answered just now, after it had waited since `seconds` ago.

        Args:
            unique_id: as HAProxy sent it.
            seconds: from the frame read to the answer.
            judgement: None where judging failed.
        """
        if self._tracer is None:
            return
        attributes = {"haproxy.unique_id": unique_id}
        if judgement is not None:
            standing, decision = judgement.standing, judgement.decision
            attributes |= {
                "spoa_authz.verdict": decision.verdict,
                "spoa_authz.reason": decision.log_reason,
                "spoa_authz.rule": decision.log_rule,
                "spoa_authz.revocation": judgement.revocation,
                "spoa_authz.issuer": "" if standing is None else standing.issuer or "",
            }
        self._ids.chosen = trace_id_of(unique_id)
        try:
            self._put("wait for revocation", seconds, attributes, "" if judgement is not None else "internal_error")
        finally:
            self._ids.chosen = 0

    def ended(self, name: str, seconds: float, attributes: Mapping[str, Any], failure: str = "") -> None:
        """Trace something that ended just now; `failure` says why it did not come off, if so."""
        if self._tracer is not None:
            self._put(name, seconds, attributes, failure)

    @contextlib.contextmanager
    def span(self, name: str, attributes: Mapping[str, Any]) -> Iterator[None]:
        """Trace a block; an exception that leaves it is its failure."""
        began, failure = time.perf_counter(), ""
        try:
            yield
        except BaseException as error:
            failure = str(error) or type(error).__name__
            raise
        finally:
            self.ended(name, time.perf_counter() - began, attributes, failure)

    def close(self) -> None:
        """Send what is left; blocks for half a second at most, and leaves the rest to a thread."""
        if self._provider is not None:
            ending = threading.Thread(target=self._provider.shutdown, name="tracing-end", daemon=True)
            ending.start()
            ending.join(_PATIENCE)

    def _put(self, name: str, seconds: float, attributes: Mapping[str, Any], failure: str) -> None:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 -- as above

        ended = time.time_ns()
        span = self._tracer.start_span(
            name, attributes=dict(attributes), start_time=ended - int(seconds * _NANOSECONDS)
        )
        if failure:
            span.set_status(Status(StatusCode.ERROR, failure))
        span.end(ended)
