"""A request waits for an answer about its certificate, for no longer than it may, and no other request with it."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest

import spoa.enquiries
from spoa.assurance import Question
from spoa.enquiries import Enquiries, Waiting, answer_row, question_row
from spoa.facts import Request
from spoa.revocation.ocsp import read_response
from spoa.revocation.ocsp_memory import OcspKnowledge, OcspMemory
from spoa.revocation.status import Reason
from spoa.spop import Connection, Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

NOW = 1_800_000_000
KEY, OTHER = ("corp", b"\1" * 32), ("corp", b"\2" * 32)


def question(key: tuple[str, bytes] = KEY, *, is_urgent: bool = True) -> Question:
    return Question(key, b"certificate " + key[1][:1], b"authority", is_urgent)


class Debtor:
    def owe(self) -> None:
        raise AssertionError("whoever judges says so")

    def pay(self, answer: bytes, count: int) -> None:
        raise AssertionError((answer, count))


class Desk:
    def __init__(self) -> None:
        self.memory = OcspMemory()
        self.sent: list[list[dict[str, str]]] = []
        self.forgotten: list[bytes] = []
        self.resumed: list[Waiting] = []
        self.has_resumed = asyncio.Event()
        self.enquiries = Enquiries(self.memory, self.sent.append, lambda: NOW, self.forgotten.append, self.resume)

    def resume(self, waiting: Sequence[Waiting]) -> None:
        self.resumed += waiting
        self.has_resumed.set()

    def wait(self, *questions: Question, patience: float = 10, latest: float = 10) -> Waiting | None:
        waiting = Waiting(Debtor(), Connection(Role.AGENT), b"ids", b"payload", Request(), perf_counter())
        waits = self.enquiries.wait(waiting, questions, patience, perf_counter() + latest)
        return waiting if waits else None

    def count(self, name: str, *labels: str) -> float:
        return self.enquiries.samples()[name, labels]


def conversation(script: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(5):
            await script(Desk())

    asyncio.run(run())


def test_a_question_is_asked_once_until_its_answer_comes() -> None:
    async def script(desk: Desk) -> None:
        desk.enquiries.put([question(), question(OTHER)])
        desk.enquiries.put([question(), question()])
        assert desk.sent == [[question_row(question()), question_row(question(OTHER))]]
        desk.enquiries.take([answer_row(KEY, None, Reason.UNREACHABLE, NOW + 5)])
        assert desk.memory.get(KEY) == OcspKnowledge(None, Reason.UNREACHABLE, NOW + 5)
        assert desk.forgotten == [b"certificate \1"]
        desk.enquiries.put([question(), question(OTHER)])
        assert desk.sent[1:] == [[question_row(question())]]

    conversation(script)


def test_whoever_waits_is_judged_when_the_answer_comes() -> None:
    async def script(desk: Desk) -> None:
        desk.enquiries.put([question(), question(OTHER)])
        waiting, other = desk.wait(question()), desk.wait(question(OTHER))
        assert desk.count("revocation_waiting") == 2
        desk.enquiries.take([answer_row(KEY, None, None, NOW)])
        assert desk.resumed == [waiting]
        assert (desk.count("revocation_waiting"), desk.count("revocation_waits_total", "answered")) == (1, 1)
        assert other is not None
        assert not other.is_done

    conversation(script)


def test_an_answer_that_comes_later_is_learnt_too_and_one_about_strangers_is_not() -> None:
    async def script(desk: Desk) -> None:
        desk.enquiries.put([question()])
        for again in (NOW, NOW + 1):
            desk.enquiries.take([answer_row(KEY, None, None, again), answer_row(OTHER, None, None, again)])
            assert desk.memory.get(KEY) == OcspKnowledge(None, None, again)
        assert desk.memory.get(OTHER) is None
        assert len(desk.forgotten) == 2
        assert desk.resumed == []

    conversation(script)


def test_a_response_is_read_and_one_that_is_none_is_a_failure() -> None:
    async def script(desk: Desk) -> None:
        der = b"\x30\x03\x0a\x01\x03"
        desk.enquiries.put([question()])
        desk.enquiries.take([answer_row(KEY, der, None, NOW)])
        assert desk.memory.get(KEY) == OcspKnowledge(read_response(der), None, NOW)
        desk.enquiries.take([answer_row(KEY, b"junk", None, NOW)])
        assert desk.memory.get(KEY) == OcspKnowledge(None, Reason.PARSE_ERROR, NOW)

    conversation(script)


@pytest.mark.parametrize(("patience", "latest"), [(0.02, 10), (10, 0.02)])
def test_when_the_time_is_up_nobody_waits_any_more_for_that_answer(patience: float, latest: float) -> None:
    async def script(desk: Desk) -> None:
        desk.enquiries.put([question()])
        first, second = desk.wait(question(), patience=patience, latest=latest), desk.wait(question())
        await desk.has_resumed.wait()
        assert desk.resumed == [first, second]
        assert desk.memory.get(KEY) == OcspKnowledge(None, Reason.UNREACHABLE, NOW + 5)
        assert desk.forgotten == [b"certificate \1"]
        assert (desk.count("revocation_waiting"), desk.count("revocation_waits_total", "timed_out")) == (0, 2)
        desk.enquiries.take([answer_row(KEY, None, None, NOW)])
        assert desk.memory.get(KEY) == OcspKnowledge(None, None, NOW), "the answer still counts when it comes"

    conversation(script)


def test_a_request_that_waits_for_two_answers_is_judged_with_the_first_and_may_wait_on() -> None:
    async def script(desk: Desk) -> None:
        both = (question(), question(OTHER))
        desk.enquiries.put(both)
        waiting = desk.wait(*both)
        desk.enquiries.take([answer_row(KEY, None, None, NOW)])
        assert desk.resumed == [waiting]
        assert waiting is not None
        assert desk.enquiries.wait(waiting, [question(OTHER)], 10, perf_counter() + 10)
        desk.enquiries.take([answer_row(OTHER, None, None, NOW)])
        assert desk.resumed == [waiting, waiting]
        assert desk.count("revocation_waiting") == 0

    conversation(script)


def test_nobody_waits_for_what_is_not_urgent_or_not_being_asked_or_already_late() -> None:
    async def script(desk: Desk) -> None:
        assert desk.wait(question()) is None
        desk.enquiries.put([question(is_urgent=False)])
        assert desk.wait(question(is_urgent=False)) is None
        assert desk.count("revocation_waits_total", "refused") == 0
        assert desk.wait(question(), patience=0) is None
        assert desk.wait(question(), latest=-1) is None
        assert desk.count("revocation_waits_total", "refused") == 2

    conversation(script)


def test_there_are_bounds_to_how_many_wait_and_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.enquiries, "MAX_WAITING", 1)
    monkeypatch.setattr(spoa.enquiries, "MAX_QUESTIONS", 1)

    async def script(desk: Desk) -> None:
        desk.enquiries.put([question(), question(OTHER)])
        assert desk.sent == [[question_row(question())]]
        desk.enquiries.put([question(OTHER)])
        assert len(desk.sent) == 1
        assert desk.wait(question(OTHER)) is None
        assert desk.wait(question()) is not None
        assert desk.wait(question()) is None

    conversation(script)


def test_rows_are_text_that_survives_the_way_between_processes() -> None:
    row: dict[str, Any] = answer_row(KEY, b"\0\xff", Reason.STALE, 7)
    assert row == {"issuer": "corp", "sha256": "01" * 32, "response": "AP8=", "failure": "stale", "ask_again": 7}
    assert question_row(Question(KEY, b"\0", b"\1", is_urgent=True)) == {
        "issuer": "corp",
        "certificate": "AA==",
        "authority": "AQ==",
    }


def test_when_the_time_is_up_for_one_those_who_wait_for_something_else_wait_on() -> None:
    async def script(desk: Desk) -> None:
        desk.enquiries.put([question(), question(OTHER)])
        first, other = desk.wait(question(), latest=0.02), desk.wait(question(OTHER))
        await desk.has_resumed.wait()
        assert desk.resumed == [first]
        assert desk.memory.get(OTHER) is None
        assert desk.count("revocation_waiting") == 1
        desk.enquiries.take([answer_row(OTHER, None, None, NOW)])
        assert desk.resumed == [first, other]

    conversation(script)


def test_a_request_that_has_its_first_answer_gives_up_on_the_second_alone() -> None:
    async def script(desk: Desk) -> None:
        both = (question(), question(OTHER))
        desk.enquiries.put(both)
        waiting = desk.wait(*both)
        assert waiting is not None
        desk.enquiries.take([answer_row(KEY, None, None, NOW)])
        desk.enquiries.put([question()])  # asked anew meanwhile, by somebody else
        desk.has_resumed.clear()
        assert desk.enquiries.wait(waiting, [question(OTHER)], 10, perf_counter() + 0.02)
        await desk.has_resumed.wait()
        assert desk.memory.get(KEY) == OcspKnowledge(None, None, NOW)
        assert desk.memory.get(OTHER) == OcspKnowledge(None, Reason.UNREACHABLE, NOW + 5)

    conversation(script)


def test_whoever_waits_is_answered_even_where_so_much_was_asked_that_the_question_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spoa.enquiries, "_REMEMBERED", 1)

    async def script(desk: Desk) -> None:
        desk.enquiries.put([question()])
        waiting = desk.wait(question())
        desk.enquiries.put([question(("corp", bytes([number]) * 32)) for number in range(5, 9)])
        desk.enquiries.take([answer_row(KEY, None, None, NOW)])
        assert desk.resumed == [waiting]

    conversation(script)
