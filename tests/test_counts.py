"""What is counted beside verdicts, and how often a flood of the same is told of."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import pytest
import structlog.testing

from spoa.blocks import BlockList
from spoa.counts import Counts, Decisions
from spoa.exceptions import ProtocolError
from spoa.metrics import METRICS, summed
from spoa.policy.decision import Tally
from spoa.spop import Status
from tests.agents import authorize
from tests.answering_desk import Desk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spoa.metrics import Sample, Samples


def test_each_answer_is_a_frame_in_and_a_frame_out_and_an_observation() -> None:
    counts = Counts()
    counts.answered(0.00004, 3)
    counts.answered(2.0, 1)
    counts.hellos += 1
    samples = counts.samples()
    assert [samples["frames_total", (kind,)] for kind in ("hello", "notify", "ack")] == [1, 4, 4]
    assert samples["request_duration_seconds", ("sum",)] == 2.00012


def test_errors_are_counted_by_their_cause() -> None:
    counts = Counts()
    for cause in ("deadline", "exception", "deadline"):
        counts.internal_error(cause)
    counts.broken(ProtocolError(Status.FRAME_TOO_BIG, "a frame of 9 bytes where 8 are accepted"))
    samples = counts.samples()
    assert samples["internal_errors_total", ("deadline",)] == 2
    assert samples["internal_errors_total", ("exception",)] == 1
    assert samples["protocol_errors_total", ("3",)] == 1


def test_one_event_a_second_is_told_and_the_next_line_says_how_many_were_not() -> None:
    now = 100.0
    counts = Counts(lambda: now)
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            counts.report("something broke")
        now += 1.0
        counts.report("something broke again")
    assert [(line["event"], line["unreported_before"]) for line in lines] == [
        ("something broke", 0),
        ("something broke again", 4),
    ]


def test_what_is_said_while_switches_are_open_is_counted_by_verdict() -> None:
    counts = Counts()
    counts.break_glass([], 3)
    assert counts.samples()["break_glass_decisions_total", ("allow",)] == 3
    assert counts.samples()["break_glass_decisions_total", ("deny",)] == 0


def total(parts: Iterable[list[Sample]]) -> Samples:
    return summed(chain.from_iterable(parts))


OPEN = ("decisions_total", ("allow", "ok", "open"))


def test_what_was_decided_is_summed_over_policies_and_told_as_it_was_when_the_telling_began() -> None:
    decisions, first, second = Decisions(), Desk(), Desk()
    first.ask(authorize(), authorize())
    telling, later = decisions.of(first.policy), decisions.of(first.policy)
    told = [next(telling)]
    steps = decisions.leave(first.policy, second.policy)
    second.ask(authorize())
    assert total([*told, *telling])[OPEN] == total(later)[OPEN] == 2
    assert total(decisions.of(second.policy))[OPEN] == 3
    later = decisions.of(second.policy)
    told = [next(later)]
    for _ in steps:
        pass
    assert total([*told, *later])[OPEN] == 3
    assert total(decisions.of(second.policy))[OPEN] == 3


def test_what_was_left_is_added_up_step_by_step_and_counts_all_the_while() -> None:
    decisions, now = Decisions(), Desk()
    for count in (1, 10):
        desk = Desk()
        tallies = desk.policy.evaluator._tallies
        for number in range(2000):
            for shadow in ("", "deny"):
                tallies["allow", "ok", f"r{number}", shadow] = tally = Tally("allow", "ok", f"r{number}", shadow)
                tally.count = count
        steps = decisions.leave(desk.policy, now.policy)
        before = total(decisions.of(now.policy))
        assert before["decisions_total", ("allow", "ok", "r1999")] == 2 * (count if count == 1 else 11)
        assert before["shadow_denies_total", ()] == 2000 * (count if count == 1 else 11)
        assert len([None for _ in steps if total(decisions.of(now.policy)) == before]) > 10
        assert total(decisions.of(now.policy)) == before
    assert sum(map(len, decisions.of(now.policy))) < 2100
    assert max(map(len, decisions.of(now.policy))) < 600


@pytest.mark.interpreted
def test_policies_that_leave_one_upon_the_other_are_all_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.counts._AT_ONCE", 1)
    decisions, now = Decisions(), Desk()
    leaving = []
    for _ in range(3):
        desk = Desk()
        desk.ask(authorize(), authorize("/shut"))
        leaving.append(decisions.leave(desk.policy, now.policy))
    while leaving:
        leaving = [steps for steps in leaving if next(steps, steps) is None]
        assert total(decisions.of(now.policy))[OPEN] == 3
    assert len(decisions._left) == 0


def test_what_a_successor_counts_on_is_not_counted_twice() -> None:
    decisions, desk = Decisions(), Desk()
    desk.ask(authorize(), authorize())
    desk.policy.certificates.misses = 5
    desk.policy._standings.misses = 7
    successor = desk.policy.with_blocks(BlockList())
    for _ in decisions.leave(desk.policy, successor):
        pass
    found = total(decisions.of(successor))
    assert found[OPEN] == 2
    assert found["cache_misses_total", ("certificates",)] == 5
    assert found["cache_misses_total", ("standings",)] == 7


def test_what_a_short_report_leaves_out_are_counters() -> None:
    """A gauge that it left out would be gone until the next whole report."""
    decisions, desk = Decisions(), Desk()
    desk.policy.evaluator._tallies["allow", "ok", "open", "deny"] = Tally("allow", "ok", "open", "deny")
    kinds = {metric.name: metric.kind for metric in METRICS}
    assert {kinds[name] for name, _ in total(decisions.of(desk.policy))} == {"counter"}
