"""The engine: times, sizes and arguments that the variants of `test_examination.py` don't show."""

from __future__ import annotations

import pytest

from spoa.doctor.engine import EVENTS, agent_findings, engine_findings, milliseconds
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
    assert EVENTS["http"] == "on-frontend-http-request"


def test_the_wait_is_measured_against_the_clients_patience() -> None:
    # The shipped 100 ms stand later in the section and win; these come from the frontend.
    assert codes("", "    timeout http-request 90ms\n") == ["timeout-beyond-client"]
    assert codes("", "    timeout client 100ms\n") == ["timeout-beyond-client"]
    assert codes("", "    timeout client 101ms\n") == []
    assert codes("", "    timeout client\n") == []


def test_an_engine_for_tcp_does_not_fit_a_frontend_for_http() -> None:
    assert "event-wrong" in codes("", file="spoe-authz-tcp.conf")


def test_a_message_may_be_sent_by_a_rule_instead_of_an_event() -> None:
    groups = "    groups g\n"
    file = "spoe-authz-tcp.conf"
    sending = "    http-request send-spoe-group authz g\n"
    assert "event-wrong" in codes(groups, sending.replace(" g\n", " other\n"), file=file)
    text = (CONFIGURATION / file).read_text().replace("    messages authorize\n", groups)
    text = text.replace('"${AUTHZ_TIMEOUT_PROCESSING}"', "100ms").replace("    event on-frontend-tcp-request\n", "")
    engine = read_engine("x.conf", f"{text}spoe-group g\n    messages authorize\n", "authz", {}, [])
    assert engine is not None
    configuration = read_configuration(
        [("a.cfg", f"frontend f\n    mode http\n{sending}")], version="3.2", environment={}
    )
    frontend = read_proxies(configuration).frontends[0]
    assert list(engine_findings(engine, frontend, configuration, "3.2")) == []


def test_old_engines_have_settings_of_their_own() -> None:
    assert codes("    maxerrrate 5\n", version="3.0") == ["events-skipped"]
    assert codes("    maxerrrate 5\n", version="3.1") == []


def test_an_engine_without_a_backend_has_no_agents() -> None:
    engine = read_engine("x.conf", "[authz]\nspoe-agent a\n messages authorize\n", "authz", {}, [])
    assert engine is not None
    proxies = read_proxies(read_configuration([("a.cfg", "")], version="3.2", environment={}))
    assert [finding.message for finding in agent_findings(engine, proxies, "3.2")] == ["a has no `use-backend`"]
