"""What is slow is traced for whoever asks for it, under an id that HAProxy's unique id leads to; nothing else is."""

from __future__ import annotations

import gzip
import hashlib
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from spoa.authorizer import Judgement
from spoa.exceptions import SettingsError
from spoa.policy.model import Reason
from spoa.tracing import Tracing, trace_id_of
from tests.agents import policy_of, until
from tests.httpservers import Background, plain
from tests.pki import CA
from tests.responders import Responder, asking_agent, judged, said_by

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UUID = "0d9f3c1e-7a52-4f7b-9d3a-2b1c4d5e6f70"


@pytest.fixture
def collector() -> Iterator[Background]:
    with Background(plain(b"")) as background:
        yield background


def url(collector: Background) -> str:
    return collector.server.url("")


def spans(collector: Background) -> list[Any]:
    """Return all spans that came."""
    found = []
    for request in collector.server.requests:
        assert (request.method, request.path) == ("POST", "/v1/traces")
        body = gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                found += scope.spans
    return found


def sent(collector: Background, count: int) -> list[Any]:
    """Wait for so many spans, and return them."""
    until(lambda: len(spans(collector)) >= count)
    return spans(collector)


def attributes(span: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in span.attributes}


def test_a_unique_id_that_is_a_trace_id_is_taken_and_others_lead_to_one() -> None:
    assert trace_id_of(UUID) == trace_id_of(UUID.replace("-", "")) == int(UUID.replace("-", ""), 16)
    assert trace_id_of("7F000001:C5A2").to_bytes(16) == hashlib.sha256(b"7F000001:C5A2").digest()[:16]
    for text in ("", "0" * 32, "g" * 32):
        assert trace_id_of(text)


def test_without_a_collector_nothing_is_made() -> None:
    tracing = Tracing()
    tracing.waited("id", 1.0, None)
    tracing.ended("reload", 1.0, {})
    with tracing.span("fetch", {}):
        pass
    tracing.close()
    assert tracing._provider is None


def test_a_request_that_waited_is_one_span_under_its_own_trace(collector: Background) -> None:
    tracing = Tracing(url(collector) + "/")
    policy = policy_of()
    judgement = Judgement(policy.deny(Reason.REVOCATION_UNREACHABLE).decision)
    judgement.revocation = "unreachable"
    tracing.waited(UUID, 0.25, judgement)
    tracing.waited("id-2", 0.5, None)
    tracing.close()
    first, second = sent(collector, 2)
    assert first.name == second.name == "wait for revocation"
    assert int.from_bytes(first.trace_id) == trace_id_of(UUID)
    assert attributes(first) == {
        "haproxy.unique_id": UUID,
        "spoa_authz.verdict": "deny",
        "spoa_authz.reason": "revocation_unreachable",
        "spoa_authz.rule": "",
        "spoa_authz.revocation": "unreachable",
        "spoa_authz.issuer": "",
    }
    assert first.end_time_unix_nano - first.start_time_unix_nano == 250_000_000
    assert int.from_bytes(second.trace_id) == trace_id_of("id-2")
    assert second.status.message == "internal_error"


def test_a_block_is_traced_with_what_went_wrong_in_it(collector: Background) -> None:
    tracing = Tracing(url(collector))
    with tracing.span("fetch", {"server.address": "crl.example:80"}):
        pass
    with pytest.raises(OSError, match="no route"), tracing.span("fetch", {}):
        raise OSError("no route")
    with pytest.raises(KeyboardInterrupt), tracing.span("fetch", {}):
        raise KeyboardInterrupt
    tracing.ended("reload", 0.1, {"spoa_authz.result": "rejected"}, "rejected")
    tracing.close()
    found = sent(collector, 4)
    assert [span.status.message for span in found] == ["", "no route", "KeyboardInterrupt", "rejected"]
    assert len({span.trace_id for span in found}) == 4


def test_nobody_waits_for_a_collector_that_is_away() -> None:
    class Away:
        """Ends never."""

        def shutdown(self) -> None:
            threading.Event().wait()

    tracing = Tracing()
    tracing._provider = Away()
    tracing.close()  # comes back, which is all that is asked


def test_without_the_library_whoever_asks_for_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"pip install 'spoa-authz\[otel\]'"):
        Tracing("http://127.0.0.1:1")


def test_a_running_agent_traces_what_waited_and_nothing_else(collector: Background, tmp_path: Path) -> None:
    ca = CA("corp")
    with Responder.running(said_by(ca)) as responder:
        keys = f'ocsp: {{responder: "{responder.url}", timeout: 5s}}'
        options = ("--deadline", "5000", "--otlp-endpoint", url(collector))
        with asking_agent(tmp_path, {"corp": (ca, keys)}, *options) as agent, agent.connect() as haproxy:
            alice = ca.issue("alice")
            for _ in range(5):
                assert judged(haproxy, alice) == ("allow", "ok")
        until(lambda: {span.name for span in spans(collector)} >= {"wait for revocation", "fetch", "reload"})
    waited = [span for span in spans(collector) if span.name == "wait for revocation"]
    assert len(waited) == 1  # the other four were answered from memory
    assert int.from_bytes(waited[0].trace_id) == trace_id_of("id-1")
    assert attributes(waited[0])["spoa_authz.issuer"] == "corp"
    fetched = [attributes(span)["server.address"] for span in spans(collector) if span.name == "fetch"]
    assert f"127.0.0.1:{responder.port}" in fetched
