"""What is counted beside verdicts, and how often a flood of the same is told of."""

from __future__ import annotations

import structlog.testing

from spoa.counts import Counts
from spoa.exceptions import ProtocolError
from spoa.spop import Status


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
