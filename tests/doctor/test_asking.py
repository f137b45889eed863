"""When the agent is asked: what is left out is denied, or lets something through, or is asked about twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spoa.doctor.asking import EVENTS, asking_findings, messages_of, waits_for_errors
from spoa.haproxy_config.proxies import read_proxies
from spoa.haproxy_config.reading import read_configuration
from spoa.haproxy_config.spoe import read_engine
from tests.haproxy import CONFIGURATION

if TYPE_CHECKING:
    from spoa.doctor.findings import Finding
    from spoa.haproxy_config.proxies import Proxy
    from spoa.haproxy_config.spoe import Engine

SHIPPED = (CONFIGURATION / "spoe-authz.conf").read_text()
BOUND = "unless { path_len gt 8192 }"
ERROR = "if { var(txn.authz.error) -m int 2 256:258 }"


def frontend(*lines: str, mode: str = "http") -> Proxy:
    text = "\n    ".join([f"frontend f\n    mode {mode}", *lines])
    return read_proxies(read_configuration([("a.cfg", f"{text}\n")], version="3.2", environment={})).frontends[0]


def engine(condition: str = BOUND, name: str = "authz", text: str = SHIPPED) -> Engine:
    found = read_engine("x.conf", text.replace(BOUND, condition), name, {}, [])
    assert found is not None
    return found


def asked(
    one: Engine, proxy: Proxy | None = None, *, is_guarded: bool = True, is_second: bool = False
) -> list[Finding]:
    (message,) = messages_of(one)
    found = asking_findings(one, message, proxy or frontend(), is_guarded=is_guarded, is_second=is_second)
    return list(found)


@pytest.mark.parametrize(
    "condition",
    ["", BOUND, "if !{ path_len ge 4000 }", "if { path_len lt 4000 }", "if METH_POST or { path_len le 4000 }"],
)
def test_all_may_be_asked_about_but_for_paths_that_are_too_long(condition: str) -> None:
    assert asked(engine(condition), is_guarded=False) == []
    assert EVENTS["http"] == "on-frontend-http-request"


@pytest.mark.parametrize(
    "condition",
    [
        "if METH_POST",
        "if METH_POST !{ path_len gt 8192 }",
        "if { path_len gt 8192 }",
        "unless { path_len lt 10 }",
        "if { path_len 10 }",
        f"{BOUND} or METH_GET",
        "if nobody_knows",
        "if {",
        ERROR,
    ],
)
def test_what_else_is_left_out_is_denied_or_lets_something_through(condition: str) -> None:
    (denied,) = asked(engine(condition))
    (passing,) = asked(engine(condition), is_guarded=False)
    assert (denied.code, passing.code) == ("event-conditional", "event-leaves-out")
    assert denied.message == passing.message == f"asked only {condition}"


def test_an_event_is_that_of_the_mode() -> None:
    (finding,) = asked(engine(), frontend(mode="tcp"))
    assert finding.code == "event-wrong"
    (finding,) = asked(engine(text=SHIPPED.replace(f"    event on-frontend-http-request {BOUND}\n", "")))
    assert finding.message == "the event is missing; f needs on-frontend-http-request"


@pytest.mark.parametrize(
    ("rules", "codes"),
    [
        (["http-request send-spoe-group authz g"], []),
        (["http-request send-spoe-group authz g if METH_POST"], ["event-conditional"]),
        (["http-request send-spoe-group authz g if METH_POST", "http-request send-spoe-group authz g"], []),
        (["http-request send-spoe-group authz other"], ["event-wrong"]),
        (["http-request send-spoe-group other g"], ["event-wrong"]),
    ],
)
def test_a_rule_may_send_the_message_in_place_of_an_event(rules: list[str], codes: list[str]) -> None:
    text = (CONFIGURATION / "spoe-authz-tcp.conf").read_text().replace("    messages authorize\n", "    groups g\n")
    one = engine(text=f"{text}spoe-group g\n    messages authorize\n")
    found = asked(one, frontend(*rules))
    assert [finding.code for finding in found] == codes
    if "event-conditional" in codes:
        assert (found[0].file, found[0].line) == ("a.cfg", 3)


DENIES = "http-request deny unless { var(txn.authz.verdict) -m str allow }"


@pytest.mark.parametrize(
    ("rules", "codes"),
    [
        (["http-request send-spoe-group authz g", DENIES], []),
        ([DENIES, "http-request send-spoe-group authz g"], ["event-wrong"]),
        ([DENIES, "tcp-request content send-spoe-group authz g"], []),
    ],
)
def test_a_rule_behind_the_one_that_denies_asks_too_late(rules: list[str], codes: list[str]) -> None:
    text = (CONFIGURATION / "spoe-authz-tcp.conf").read_text().replace("    messages authorize\n", "    groups g\n")
    one, proxy = engine(text=f"{text}spoe-group g\n    messages authorize\n"), frontend(*rules)
    (message,) = messages_of(one)
    guard = next(rule for rule in proxy.rules("http-request") if rule.action == "deny")
    found = list(asking_findings(one, message, proxy, is_guarded=True, is_second=False, guard=guard))
    assert [finding.code for finding in found] == codes


def test_a_second_engine_is_asked_for_what_the_first_has_lost() -> None:
    shipped = engine(name="authz-again")
    assert (waits_for_errors(shipped), waits_for_errors(engine())) == (True, False)
    assert asked(shipped, is_second=True) == []
    (always,) = asked(engine(""), is_second=True)
    assert (always.code, always.message) == (
        "asked-twice",
        "authz-agent asks always, behind another engine that has asked",
    )
    for condition in ("if { var(txn.b.error) -m found }", f"{ERROR} or METH_GET", ERROR.replace("{", "!{")):
        assert [one.code for one in asked(engine(condition), is_second=True)] == ["asked-twice"]
        assert not waits_for_errors(engine(condition))


def test_a_message_without_an_event_waits_for_nothing() -> None:
    assert not waits_for_errors(engine(text=SHIPPED.replace(f"    event on-frontend-http-request {BOUND}\n", "")))
