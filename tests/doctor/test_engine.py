"""The engine: times, sizes and arguments that those of `variants.py` don't show."""

from __future__ import annotations

import pytest

from spoa.doctor.engine import agent_findings, engine_findings, milliseconds, patience_findings
from spoa.haproxy_config.proxies import read_proxies
from spoa.haproxy_config.reading import read_configuration
from spoa.haproxy_config.spoe import read_engine
from tests.haproxy import CONFIGURATION


@pytest.mark.parametrize(
    ("text", "number"),
    [("100", 100), ("2s", 2000), ("500us", 0.5), ("1m", 60000), ("x", None), ("", None)],
)
def test_durations_are_those_of_haproxy(text: str, number: float | None) -> None:
    assert milliseconds(text) == number


@pytest.mark.parametrize(
    ("lines", "is_patient"),
    [
        ("mode http\n", True),
        ("mode http\n    timeout http-request 0s\n", True),
        ("mode http\n    timeout http-request\n", True),
        ("mode http\n    timeout http-request 5s\n", False),
        ("mode tcp\n", False),
    ],
)
def test_a_frontend_for_http_bounds_how_long_a_request_may_take(lines: str, is_patient: bool) -> None:
    configuration = read_configuration([("a.cfg", f"frontend f\n    {lines}")], version="3.2", environment={})
    found = [one.code for one in patience_findings(read_proxies(configuration).frontends[0])]
    assert found == ["slow-requests"] * is_patient


def codes(engine_lines: str, proxy_lines: str = "", version: str = "3.2", file: str = "spoe-authz.conf") -> list[str]:
    text = f"frontend f\n    mode http\n{proxy_lines}"
    configuration = read_configuration([("a.cfg", text)], version=version, environment={})
    proxies = read_proxies(configuration)
    shipped = (CONFIGURATION / file).read_text().replace('"${AUTHZ_TIMEOUT_PROCESSING}"', "100ms")
    engine = read_engine(
        "x.conf",
        shipped.replace("    messages authorize\n", f"    messages authorize\n{engine_lines}"),
        "authz",
        {},
        [],
    )
    assert engine is not None
    return [
        finding.code
        for finding in (
            *engine_findings(engine, proxies.frontends[0], configuration, version),
            *agent_findings(engine, proxies, version),
        )
        if finding.code != "agents-missing"
    ]


def test_the_shipped_engine_is_well() -> None:
    assert codes("") == []


def test_the_wait_is_measured_against_the_clients_patience() -> None:
    # The shipped 100 ms stand later in the section and win; these come from the frontend.
    assert codes("", "    timeout http-request 90ms\n") == ["timeout-beyond-client"]
    assert codes("", "    timeout client 100ms\n") == ["timeout-beyond-client"]
    assert codes("", "    timeout client 101ms\n") == []
    assert codes("", "    timeout client\n") == []


def test_old_engines_have_settings_of_their_own() -> None:
    assert codes("    maxerrrate 5\n", version="3.0") == ["events-skipped"]
    assert codes("    maxerrrate 5\n", version="3.1") == []


def test_an_engine_without_a_backend_has_no_agents() -> None:
    engine = read_engine("x.conf", "[authz]\nspoe-agent a\n messages authorize\n", "authz", {}, [])
    assert engine is not None
    proxies = read_proxies(read_configuration([("a.cfg", "")], version="3.2", environment={}))
    assert [finding.message for finding in agent_findings(engine, proxies, "3.2")] == ["a has no `use-backend`"]
