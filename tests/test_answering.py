"""Frames of one read become one write, and failure is an answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING

import pytest
import structlog.testing

import spoa.answering
from spoa.adapter import Answers
from spoa.answering import Answering
from spoa.decision_log import DecisionLog
from spoa.enquiries import answer_row
from spoa.loading import load_policy
from spoa.logsinks.file import FileSink
from spoa.revocation.status import Reason
from spoa.spop import Connection, DataType, Role, write_messages
from tests import wire
from tests.agents import OPEN, SHUT, authorize, policy_of, variables
from tests.answering_desk import NOW, Desk, raising
from tests.pki import CA
from tests.revocation.lists import answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


#: What every judgement begins with, and is looked up also where it is compiled.
JUDGING = "spoa.policy.gates.RequestValues"


def test_every_notify_is_answered_with_its_own_verdict() -> None:
    desk = Desk()
    assert [one["verdict"] for one in desk.ask(authorize("/open/1"), authorize("/shut"))] == ["allow", "deny"]
    assert desk.count("decisions_total", "allow", "ok", "open") == 1
    assert desk.count("decisions_total", "deny", "no_rule_allows", "") == 1
    assert desk.count("frames_total", "notify") == desk.count("frames_total", "ack") == 2
    assert desk.count("frames_total", "hello") == 1


@pytest.mark.parametrize("payload", [b"", write_messages([])])
def test_a_notify_without_authorize_gets_the_revision_and_no_verdict(payload: bytes) -> None:
    desk = Desk()
    assert desk.ask(payload) == [{"revision": desk.policy.revision}]
    assert desk.count("frames_total", "ack") == 1


def test_an_argument_of_a_wrong_type_denies() -> None:
    (answer,) = Desk().ask(authorize(verify=(DataType.STRING, b"0")))
    assert (answer["verdict"], answer["reason"]) == ("deny", "malformed_message")


@pytest.mark.parametrize(
    "place",
    ["judge", *(pytest.param(name, marks=pytest.mark.interpreted) for name in ("read_request", "actions_for"))],
)
def test_whatever_is_raised_denies_that_request_and_no_other(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    desk = Desk()
    payloads = [authorize(), b"" if place == "actions_for" else authorize(), authorize()]
    error = RuntimeError("a defect")
    with structlog.testing.capture_logs() as logs, monkeypatch.context() as patch:
        if place == "judge":
            patch.setattr(JUDGING, raising(error))
        elif place == "actions_for":
            write = Answers.actions_for
            patch.setattr(Answers, place, lambda here, judged: write(here, judged) if judged else raising(error)())
        else:
            patch.setattr(spoa.answering, place, raising(error))
        answers = desk.ask(*payloads)
    assert len(answers) == 3
    assert (answers[1]["verdict"], answers[1]["status"], answers[1]["reason"]) == ("deny", 403, "internal_error")
    assert desk.count("internal_errors_total", "exception") == (1 if place == "actions_for" else 3)
    assert logs[0]["exc_info"] is error
    assert len(logs) == 1, "a flood of errors must not become a flood of tracebacks"
    assert desk.ask(authorize())[0]["verdict"] == "allow"


def test_the_tracebacks_left_out_are_counted_in_the_next_line(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    monkeypatch.setattr(JUDGING, raising(RuntimeError("a defect")))
    with structlog.testing.capture_logs() as logs:
        desk.ask(*[authorize()] * 5)
        monkeypatch.setattr(desk.answering.counts, "_next_report", 0.0)
        desk.ask(authorize())
    assert [line["unreported_before"] for line in logs] == [0, 4]


def test_an_answer_too_large_for_the_connection_becomes_a_deny() -> None:
    desk = Desk(OPEN.replace("id: open", "id: " + "o" * 64))
    desk.agent.frame_size = 150
    (answer,) = desk.ask(authorize())
    assert (answer["verdict"], answer["reason"]) == ("deny", "internal_error")
    assert desk.count("decisions_total", "allow", "ok", "o" * 64) == 0
    assert desk.count("decisions_total", "deny", "internal_error", "") == 1
    assert desk.count("frames_total", "notify") == 1


def test_requests_past_the_deadline_are_denied_unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    monkeypatch.setattr(JUDGING, raising(AssertionError("must not be asked")))
    answers = desk.ask(*[authorize()] * 16, ago=0.1)  # as many as one turn takes on the slowest machine
    assert {answer["reason"] for answer in answers} == {"internal_error"}
    assert desk.count("internal_errors_total", "deadline") == 16


def test_a_disconnect_among_late_requests_is_answered_too() -> None:
    desk = Desk()
    desk.received()
    data = desk.haproxy.send_notify(1, 1, authorize()) + wire.disconnect()
    assert desk.give(data, ago=1.0) == (2, True)


def test_a_hello_that_was_read_late_is_answered() -> None:
    desk = Desk()
    desk.agent = Connection(Role.AGENT)
    data = Connection(Role.HAPROXY).send_hello()
    assert desk.give(data, ago=1.0) == (1, False)
    assert desk.writes[-1]


@pytest.mark.interpreted
def test_a_long_burst_is_left_after_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    monkeypatch.setattr(spoa.answering, "_TURN", 0.0)
    desk.received()
    data = b"".join(desk.haproxy.send_notify(n, 1, authorize()) for n in range(1, 101))
    at, is_last = desk.give(data)
    assert (at, is_last) == (16, False)
    rest, is_last = desk.answering.refuse_rest(desk.agent, desk.events[at:], 0.0)
    assert not is_last
    assert len(desk.received() + desk.haproxy.receive_data(rest)) == 100


def test_an_undecodable_notify_ends_the_connection_with_status_4_after_the_answers_before_it() -> None:
    desk = Desk()
    desk.received()
    good = desk.haproxy.send_notify(1, 1, authorize())
    _, is_last = desk.give(good + wire.notify(2, 1, b"\xff\xff") + good)
    assert is_last
    first, second = desk.received()
    assert variables(first.ack)["verdict"] == "allow"  # type: ignore[union-attr] # that is what it must be
    assert second.disconnect.status == 4  # type: ignore[union-attr] # the same
    assert desk.count("protocol_errors_total", "4") == 1


def test_an_undecodable_notify_in_a_read_of_its_own_ends_the_connection_with_status_4() -> None:
    desk = Desk()
    desk.received()
    assert desk.give(wire.notify(2, 1, b"\xff\xff")) == (1, True)
    (event,) = desk.received()
    assert event.disconnect.status == 4  # type: ignore[union-attr] # that is what it must be
    assert desk.count("protocol_errors_total", "4") == 1


def test_whatever_is_raised_for_a_request_in_a_read_of_its_own_denies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    with structlog.testing.capture_logs() as logs, monkeypatch.context() as patch:
        patch.setattr(JUDGING, raising(RuntimeError("a defect")))
        (answer,) = desk.ask(authorize())
    assert (answer["verdict"], answer["reason"]) == ("deny", "internal_error")
    assert len(logs) == 1


def test_a_late_request_in_a_read_of_its_own_is_denied_unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    monkeypatch.setattr(JUDGING, raising(AssertionError("must not be asked")))
    (answer,) = desk.ask(authorize(), ago=0.1)
    assert answer["reason"] == "internal_error"
    assert desk.count("internal_errors_total", "deadline") == 1


def test_a_frame_out_of_order_ends_the_connection() -> None:
    desk = Desk()
    _, is_last = desk.give(wire.hello())
    assert is_last
    assert desk.count("protocol_errors_total", "4") == 1


def test_a_health_check_is_answered_and_then_nothing() -> None:
    desk = Desk()
    desk.agent = Connection(Role.AGENT)
    assert desk.give(Connection(Role.HAPROXY).send_hello(is_healthcheck=True)) == (1, True)


def test_counts_outlive_the_policy_that_made_them() -> None:
    desk = Desk()
    desk.ask(authorize(), authorize("/shut"))
    desk.answering.swap(policy_of(SHUT))
    desk.ask(authorize())
    assert desk.count("decisions_total", "allow", "ok", "open") == 1
    assert desk.count("decisions_total", "deny", "no_rule_allows", "") == 2
    assert desk.answering.policy.revision != desk.policy.revision


def test_what_shadow_mode_lets_pass_is_counted() -> None:
    desk = Desk(SHUT.replace("defaults: {", "defaults: {mode: shadow, "))
    (answer,) = desk.ask(authorize())
    assert (answer["verdict"], answer["shadow"]) == ("allow", "deny")
    assert desk.count("shadow_denies_total") == 1


def test_decisions_reach_the_log_with_their_latency(tmp_path: Path) -> None:
    log = DecisionLog(FileSink(tmp_path / "log"), 1.0)
    desk = Desk(log=log)
    desk.ask(authorize(), authorize("/shut"))
    log.close()
    assert desk.count("decision_log_lines_total") == 2
    assert desk.count("decision_log_dropped_total") == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert all('"latency_us":' in line for line in lines)


def test_every_request_is_in_the_histogram_once() -> None:
    desk = Desk()
    desk.ask(*[authorize()] * 7)
    samples = desk.answering.samples()
    buckets = [v for (name, labels), v in samples.items() if name == "request_duration_seconds" and labels != ("sum",)]
    assert sum(buckets) == 7


# -- answers that have to wait ----------------------------------------------------------------------------------

CORP = CA("corp", now=int(NOW))
ALICE = CORP.issue("alice")
ASKING = """
apiVersion: authz/v1
issuers: {corp: {ca: ca.pem, revocation: {ocsp: {responder: "http://ocsp.example", timeout: 300ms%s}}}}
rules: [{id: all, effect: allow, who: any_certificate}]
"""


class Debtor:
    """A peer that is owed answers."""

    def __init__(self) -> None:
        self.owed = 0
        self.paid = asyncio.Event()
        self.writes: list[bytes] = []

    def owe(self) -> None:
        self.owed += 1

    def pay(self, answer: bytes, count: int) -> None:
        self.owed -= count
        self.paid.set()
        self.writes.append(answer)


class AskingDesk(Desk):
    """A desk whose policy asks a responder, and what is asked."""

    def __init__(
        self, folder: Path, more: str = "", deadline: float = 4.0, log: DecisionLog | None = None, text: str = ASKING
    ) -> None:
        (folder / "ca.pem").write_bytes(CORP.pem)
        (folder / "policy.yaml").write_text(text % more)
        super().__init__(log=log, deadline=deadline, policy=load_policy(folder, now=NOW))
        self.sent: list[list[dict[str, str]]] = []
        self.answering = Answering(self.policy, deadline, lambda: NOW, log, self.sent.append)
        self.client = self.debtor = Debtor()
        self._last = 0

    def notify(self, count: int = 1, cert: bytes = ALICE.der, path: str = "/x") -> None:
        payload = authorize(path, cert=(DataType.BINARY, cert), used=(DataType.BOOL, True))
        data = b""
        for _ in range(count):
            self._last += 1
            data += self.haproxy.send_notify(self._last, 1, payload)
        self.give(data)

    def reasons(self) -> list[str]:
        """Return the reasons of what was answered at once or later."""
        self.writes += self.debtor.writes
        self.debtor.writes.clear()
        return [variables(event.ack)["reason"] for event in self.received()]  # type: ignore[union-attr] # all are ACKs

    def learn(self, status: str = "GOOD", failure: Reason | None = None, again: int = 3600) -> None:
        response = None
        if failure is None:
            response = answer(ALICE, CORP, status, this_update=int(NOW) - 60, next_update=int(NOW) + 7200)
        key = ("corp", hashlib.sha256(ALICE.der).digest())
        self.answering.take([answer_row(key, response, failure, int(NOW) + again)])


def conversing(script: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(5):
            await script()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "failure", "reason"),
    [
        ("GOOD", None, "ok"),
        ("REVOKED", None, "certificate_revoked"),
        ("UNKNOWN", None, "revocation_unknown"),
        ("", Reason.UNREACHABLE, "revocation_unreachable"),
        ("", Reason.BAD_SIGNATURE, "revocation_undetermined"),
    ],
)
def test_a_request_waits_for_an_answer_about_its_certificate_and_others_do_not(
    tmp_path: Path, status: str, failure: Reason | None, reason: str
) -> None:
    async def script() -> None:
        desk = AskingDesk(tmp_path)
        desk.received()
        desk.notify(3)
        desk.notify(cert=b"junk")
        assert desk.reasons() == ["certificate_unparsable"]
        assert (desk.debtor.owed, len(desk.sent)) == (3, 1)
        desk.learn(status, failure)
        assert len(desk.debtor.writes) == 1, "the answers for one client go out in one write"
        assert desk.reasons() == [reason] * 3
        assert desk.debtor.owed == 0
        desk.notify()
        assert desk.reasons() == [reason], "what is known is not waited for"
        assert desk.count("frames_total", "ack") == 5

    conversing(script)


ARMED = ASKING.replace("any_certificate}", "any_certificate, active_during: incident}") + (
    'break_glass: {incident: {max_duration: 2h, ticket: "INC-[0-9]+"}}\n'
)


def test_what_was_answered_late_under_an_open_switch_is_not_remembered_for_when_it_is_closed(tmp_path: Path) -> None:
    async def script() -> None:
        desk = AskingDesk(tmp_path, text=ARMED)
        desk.received()
        desk.notify(3)
        desk.policy.switches = frozenset({"incident"})
        desk.learn()
        assert desk.reasons() == ["ok"] * 3
        desk.policy.switches = frozenset()
        desk.notify()
        assert desk.reasons() == ["no_rule_allows"]

    conversing(script)


def test_when_nothing_comes_the_deadline_decides_by_the_issuers_mode(tmp_path: Path) -> None:
    async def script() -> None:
        for more, reason in (("", "revocation_unreachable"), (", on_failure: allow", "ok")):
            desk = AskingDesk(tmp_path, more, deadline=0.04)
            desk.received()
            desk.notify()
            async with asyncio.timeout(1):
                await desk.debtor.paid.wait()
            assert desk.reasons() == [reason]
            desk.notify()
            assert desk.reasons() == [reason], "nobody waits twice for the same"
            assert desk.count("revocation_soft_fails_total", "corp", "ocsp") == (2 if more else 0)

    conversing(script)


def test_a_newer_answer_counts_for_the_next_request_however_well_the_old_one_is_remembered(tmp_path: Path) -> None:
    async def script() -> None:
        desk = AskingDesk(tmp_path)
        desk.received()
        desk.notify()
        desk.learn()
        for _ in range(5):
            desk.notify()
        assert desk.reasons() == ["ok"] * 6
        assert desk.answering._recall.hits > 0
        desk.learn("REVOKED")
        desk.notify(2)
        assert desk.reasons() == ["certificate_revoked"] * 2

    conversing(script)


def test_an_answer_that_is_due_again_is_asked_for_while_it_still_counts(tmp_path: Path) -> None:
    async def script() -> None:
        desk = AskingDesk(tmp_path)
        desk.received()
        desk.notify()
        desk.learn(again=0)
        desk.notify(3)
        assert desk.reasons() == ["ok"] * 4
        assert (len(desk.sent), desk.debtor.owed) == (2, 0)

    conversing(script)


def test_another_policy_judges_those_who_waited_under_the_old_one(tmp_path: Path) -> None:
    async def script() -> None:
        desk = AskingDesk(tmp_path)
        desk.received()
        desk.notify()
        memory = desk.policy.assurance.memory
        (tmp_path / "policy.yaml").write_text((ASKING % "").replace("effect: allow", "effect: deny, reason: closed"))
        desk.answering.swap(load_policy(tmp_path, now=NOW).with_crls({}, memory=memory))
        desk.learn()
        assert desk.reasons() == ["closed"]

    conversing(script)


def test_a_defect_while_others_wait_denies_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script() -> None:
        desk = AskingDesk(tmp_path)
        desk.received()
        desk.notify(2)
        monkeypatch.setattr(JUDGING, raising(RuntimeError("a defect")))
        with structlog.testing.capture_logs():
            desk.learn()
        assert desk.reasons() == ["internal_error"] * 2
        assert desk.debtor.owed == 0

    conversing(script)


def test_what_waited_is_logged_with_the_time_that_it_took(tmp_path: Path) -> None:
    async def script() -> None:
        log = DecisionLog(FileSink(tmp_path / "log"), 1.0)
        desk = AskingDesk(tmp_path, log=log)
        desk.received()
        desk.notify()
        await asyncio.sleep(0.02)
        desk.learn("REVOKED")
        log.close()
        (line,) = (tmp_path / "log").read_text().splitlines()
        written = json.loads(line)
        assert (written["reason"], written["revocation"]) == ("certificate_revoked", "revoked")
        assert written["latency_us"] > 20_000

    conversing(script)


def test_where_nobody_can_be_asked_what_is_known_decides(tmp_path: Path) -> None:
    desk = AskingDesk(tmp_path)
    desk.received()
    desk.answering = Answering(desk.policy, 0.08, lambda: NOW, None)
    desk.answering.take([])
    desk.notify()
    assert desk.reasons() == ["revocation_not_loaded"]


def test_a_certificate_that_is_denied_before_revocation_is_not_asked_about(tmp_path: Path) -> None:
    desk = AskingDesk(tmp_path)
    desk.received()
    desk.notify(cert=CORP.issue("old", not_after=int(NOW) - 60).der)
    assert desk.reasons() == ["certificate_expired"]
    assert desk.sent == []
