"""Every deny is a line, no line is waited for, and no line holds what must not be logged."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import structlog.testing

import spoa.decision_log
from spoa.assurance import Assured
from spoa.authorizer import Judgement, Standing
from spoa.decision_log import DecisionLog, Outlet
from spoa.facts import Request
from spoa.logsinks.file import FileSink
from spoa.logsinks.sink import RetryError, text_of
from spoa.masking import Mask
from tests.agents import until
from tests.policies import HEAD, policy
from tests.test_logline import NOW, certificate, judgement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from spoa.logsinks.sink import Line


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.log"


@pytest.fixture
def log(path: Path) -> Iterator[DecisionLog]:
    made = DecisionLog(FileSink(path), 1.0)
    yield made
    made.close()


def record(log: DecisionLog, *judgements: Judgement, request: Request | None = None) -> None:
    log.record(NOW, 0.001, [(request or Request(), one, "") for one in judgements], "0123456789ab")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class TestSelection:
    def test_all_denies_and_a_share_of_the_allows_are_logged(self, path: Path) -> None:
        dice = iter([0.04, 0.05, 0.99])
        log = DecisionLog(FileSink(path), 0.05, lambda: next(dice))
        record(log, judgement("allow"), judgement("allow"), judgement("allow"), judgement(), judgement())
        log.close()
        assert [line["verdict"] for line in lines(path)] == ["allow", "deny", "deny"]
        assert log.written == 3
        assert log.dropped == 0

    def test_never_means_no_allow(self, path: Path) -> None:
        log = DecisionLog(FileSink(path), 0.0)
        record(log, *[judgement("allow")] * 50)
        log.close()
        assert lines(path) == []

    def test_headers_and_certificates_are_not_kept_for_a_line(self, log: DecisionLog, path: Path) -> None:
        record(log, judgement(), request=Request(cert=b"DER", headers={"cookie": "secret"}, path="/p", host="h"))
        until(lambda: log.written)
        assert "secret" not in path.read_text()


class Scripted:
    """A place for decisions that does what it is told: takes so many lines, or raises."""

    problem = ""
    reads_rows = True

    def __init__(self, *turns: int | Exception) -> None:
        self.turns = list(turns)
        self.taken: list[str] = []
        self.tries = 0
        self.closed = False

    def write(self, rows: Sequence[dict[str, Any]]) -> int:
        self.tries += 1
        turn = self.turns.pop(0) if self.turns else len(rows)
        if isinstance(turn, RetryError):
            self.taken += [row["id"] for row in rows[: turn.written]]
        if isinstance(turn, Exception):
            raise turn
        self.taken += [row["id"] for row in rows[:turn]]
        return min(turn, len(rows))

    def reopen(self) -> None:
        self.problem = "it is gone"

    def close(self) -> None:
        self.closed = True


class ScriptedText(Scripted):
    """The same, for lines as they are written."""

    reads_rows = False

    def write(self, rows: Sequence[Line]) -> int:
        return super().write([json.loads(line) for line in text_of(rows).text.splitlines()])


class TestWriting:
    def test_lines_appear_without_being_asked_for(self, log: DecisionLog, path: Path) -> None:
        record(log, judgement())
        until(path.read_text)
        until(lambda: log.written == 1)

    def test_it_is_opened_anew_when_told_so(self, log: DecisionLog, path: Path) -> None:
        path.rename(path.with_suffix(".1"))
        log.reopen()
        until(path.exists)

    def test_lines_of_several_writers_do_not_mix(self, path: Path) -> None:
        logs = [DecisionLog(FileSink(path), 1.0) for _ in range(3)]
        for log in logs:
            record(log, *[judgement()] * 500)
        for log in logs:
            log.close()
        assert len(lines(path)) == 1500

    def test_what_is_to_be_masked_reaches_no_sink(self, path: Path) -> None:
        log = DecisionLog(FileSink(path), 1.0, mask=Mask(("src", "path")))
        record(log, judgement(), request=Request(source=bytes((10, 0, 0, 1)), path="/secret"))
        log.close()
        (line,) = lines(path)
        assert (line["src"], line["path"], line["masked"]) == ("masked", "masked", ["src", "id", "path"])
        assert "secret" not in path.read_text()

    def test_a_sink_that_takes_nothing_now_is_given_the_same_lines_later(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spoa.decision_log, "_MAX_DELAY", 0.01)
        sink = Scripted(RetryError("not now"), RetryError("not now", 2), RetryError("nor now"))
        with structlog.testing.capture_logs() as told:
            log = DecisionLog(sink, 1.0)
            for name in "abcde":
                record(log, judgement(), request=Request(id=name))
            until(lambda: log.written == 5)
            log.close()
        assert (sink.taken, log.dropped, sink.closed) == (list("abcde"), 0, True)
        assert [(one["log_level"], one.get("problem")) for one in told] == [
            ("warning", "not now"),
            ("warning", "nor now"),
            ("info", None),
        ]

    def test_what_a_sink_never_took_is_counted_in_the_end(self) -> None:
        log = DecisionLog(Scripted(*[RetryError("never")] * 1000), 1.0)
        with structlog.testing.capture_logs():
            record(log, *[judgement()] * 300)
            log.close()
        assert (log.written, log.dropped) == (0, 300)

    def test_a_defect_of_a_sink_costs_the_lines_at_hand_and_no_more(self) -> None:
        sink = Scripted(ZeroDivisionError("no sink does this"), 1)
        with structlog.testing.capture_logs() as told:
            log = DecisionLog(sink, 1.0)
            record(log, judgement())
            until(lambda: log.dropped == 1)
            record(log, judgement(), request=Request(id="kept"))
            log.close()
        assert sink.taken == ["kept"]
        assert told[0]["problem"] == "ZeroDivisionError: no sink does this"

    def test_what_a_sink_finds_wrong_is_told_once(self) -> None:
        with structlog.testing.capture_logs() as told:
            log = DecisionLog(Scripted(), 1.0)
            log.reopen()
            until(lambda: told)
            record(log, judgement())
            log.close()
        assert [one["problem"] for one in told] == ["it is gone"]


class TestLoss:
    @pytest.mark.interpreted
    def test_a_full_queue_drops_and_counts(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spoa.decision_log, "MAX_QUEUED_BYTES", 10_000)
        monkeypatch.setattr(spoa.decision_log, "_LOOK_INTERVAL", 60)
        log = DecisionLog(FileSink(path), 1.0)
        for _ in range(100):
            record(log, judgement(), request=Request(path="/" * 1000, host="h" * 100))
        log.close()
        assert log.written + log.dropped == 100
        assert 0 < log.written < 10

    def test_who_takes_nothing_is_left_alone_however_much_is_queued(self) -> None:
        tries: list[float] = []

        class Down:
            reads_rows = False
            problem = ""

            def write(self, rows: Sequence[Line]) -> int:
                del rows
                tries.append(time.monotonic())
                raise RetryError("down", 0)

            def reopen(self) -> None: ...

            def close(self) -> None: ...

        log = DecisionLog(Down(), 1.0)
        record(log, judgement())
        until(lambda: tries)

        def is_tried_again_while_more_comes() -> bool:
            record(log, *[judgement()] * 600)
            return len(tries) > 2

        # What is queued while the first try fails may still hasten the second one, but none after it.
        until(is_tried_again_while_more_comes)
        log.close(0.0)
        assert tries[2] - tries[1] > 0.35

    @pytest.mark.parametrize("taken", [0, 100, 450])
    def test_a_full_disk_drops_and_counts_and_the_next_line_stands_alone(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
    ) -> None:
        log = DecisionLog(FileSink(path), 1.0)
        write = os.write
        room = [taken]

        def limited(descriptor: int, data: bytes) -> int:
            if not room:
                return write(descriptor, data)
            portion = min(room[0], len(data))
            if not portion:
                raise OSError(errno.ENOSPC, "No space left on device")
            room[0] -= portion
            return write(descriptor, data[:portion])

        monkeypatch.setattr(os, "write", limited)
        record(log, judgement(), judgement())
        until(lambda: log.dropped)
        record(log, judgement())
        until(lambda: log.dropped >= 2)
        room.clear()
        record(log, judgement())
        log.close()
        text = path.read_text().splitlines()
        whole = [line for line in text if line.endswith("}")]
        assert len(whole) == log.written
        assert log.written + log.dropped == 4
        assert json.loads(text[-1])["verdict"] == "deny"

    def test_a_line_that_can_not_be_written_costs_only_itself(self, log: DecisionLog, path: Path) -> None:
        with structlog.testing.capture_logs():
            record(log, judgement(), request=Request(source=b"no address"))
            record(log, judgement())
            until(lambda: log.written)
        assert log.dropped == 1

    def test_a_disk_that_hangs_does_not_hold_up_the_end(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        released = threading.Event()

        def hanging(_: int, data: bytes) -> int:
            released.wait(10)
            return len(data)

        monkeypatch.setattr(os, "write", hanging)
        log = DecisionLog(FileSink(path), 1.0)
        record(log, judgement())
        log.close(0.2)
        assert not log.written
        released.set()
        log.close()


class TestWhatCouldNotBeJudged:
    """A deny without a readable certificate still says whose bytes it was, and what was wrong with them."""

    def test_an_unreadable_certificate_is_logged_by_its_fingerprint_and_stage(self, tmp_path: Path) -> None:
        own = policy(HEAD + "rules: [{id: all, effect: allow, who: any_certificate}]")
        request = Request(cert=b"junk", used=True, verify=0, method="GET", path="/")
        log = DecisionLog(FileSink(tmp_path / "log"), 1.0)
        log.record(NOW, 0.001, [(request, own.judge(request, NOW), "")], own.revision)
        malformed = Request(cert=b"junk", used=True, verify=0, malformed="the argument src has a wrong type")
        log.record(NOW, 0.001, [(malformed, own.judge(malformed, NOW), "")], own.revision)
        log.close()
        odd, broken = map(json.loads, (tmp_path / "log").read_text().splitlines())
        assert odd["reason"] == "certificate_unparsable"
        assert odd["cert"]["sha256"] == hashlib.sha256(b"junk").hexdigest()
        assert "load" in odd["detail"]
        assert broken["detail"] == "the argument src has a wrong type"


def test_open_switches_are_in_every_line(tmp_path: Path) -> None:
    log = DecisionLog(FileSink(tmp_path / "log"), 1.0)
    log.record(NOW, 0.001, [(Request(), judgement(), "")], "r", frozenset({"b", "a"}))
    log.close()
    assert json.loads((tmp_path / "log").read_text())["break_glass"] == ["a", "b"]


def test_why_revocation_says_what_it_says_is_the_detail() -> None:
    for state, detail, expected in (("revoked", "keyCompromise", "keyCompromise"), ("good", "ok", "")):
        standing = Standing(certificate(), "corp", None)
        standing.assured = Assured(state, None, detail, 0)
        made = judgement()
        made.standing, made.revocation = standing, state
        assert spoa.decision_log._detail(made) == expected
    made.standing = None
    assert spoa.decision_log._detail(made) == ""


class TestSeveralPlaces:
    def test_one_that_hangs_holds_no_other_and_loses_only_its_own(self, path: Path) -> None:
        hangs, goes_on = threading.Event(), threading.Event()

        class Hanging(Scripted):
            def write(self, rows: Sequence[dict[str, Any]]) -> int:
                hangs.set()
                assert goes_on.wait(20)
                return super().write(rows)

        slow = Hanging()
        log = DecisionLog(FileSink(path), 1.0, name="file", beside=[Outlet(slow, name="slow")])
        record(log, judgement())
        assert hangs.wait(20)
        until(lambda: path.read_text().count("\n") == 1)
        request = Request(path="/" + "x" * (spoa.decision_log.MAX_QUEUED_BYTES // 4))
        for _ in range(6):  # of which the queue of one that writes nothing holds three
            written = log.written
            record(log, judgement(), request=request)
            until(lambda: log.written > written)  # noqa: B023 -- waited for at once
        found = log.samples()
        assert found["decision_log_target_lines_total", ("file",)] == 7
        assert found["decision_log_target_dropped_total", ("file",)] == 0
        assert found["decision_log_target_dropped_total", ("slow",)] == found["decision_log_dropped_total", ()] == 3
        goes_on.set()
        log.close(20)
        assert (len(slow.taken), slow.closed, log.written) == (4, True, 11)

    def test_each_has_the_same_allows_and_its_own_masks(self, path: Path) -> None:
        dice = iter([0.04, 0.5, 0.01])
        other = path.with_name("other.log")
        beside = [Outlet(FileSink(other), Mask(("path",)), "other")]
        log = DecisionLog(FileSink(path), 0.05, lambda: next(dice), beside=beside)
        for number in range(3):
            record(log, judgement("allow"), request=Request(path=f"/{number}"))
        log.close()
        assert [line["path"] for line in lines(path)] == ["/0", "/2"]
        assert [(line["path"], line["id"]) for line in lines(other)] == [("masked", line["id"]) for line in lines(path)]

    def test_all_are_opened_anew_and_trouble_names_its_place(self, path: Path) -> None:
        other = Scripted()
        log = DecisionLog(FileSink(path), 1.0, name="file", beside=[Outlet(other, name="other")])
        with structlog.testing.capture_logs() as logs:
            path.rename(path.with_suffix(".1"))
            log.reopen()
            until(path.exists)
            until(lambda: logs)
        assert logs[0]["target"] == "other"
        log.close()


class TestWhatWasLoggedBefore:
    """A judgement that recurs is logged like one that is new, wherever it goes."""

    def test_it_reaches_every_place_each_time(self, tmp_path: Path) -> None:
        masked = Outlet(FileSink(tmp_path / "masked"), Mask(("path",), b"key"))
        log = DecisionLog(FileSink(tmp_path / "log"), 1.0, beside=[masked])
        one = judgement()
        for _ in range(3):
            record(log, one)
        log.close()
        assert one.line == b""  # of no use here, and held by what waits in a queue
        assert len(lines(tmp_path / "log")) == len(lines(tmp_path / "masked")) == 3

    @pytest.mark.interpreted
    def test_it_takes_its_room_in_the_queue(self, log: DecisionLog, monkeypatch: pytest.MonkeyPatch) -> None:
        one, puts = judgement(), []
        monkeypatch.setattr(Outlet, "put", lambda _, text, count, size: puts.append((text, count, size)))
        for _ in range(2):
            record(log, one)
        assert one.line
        assert puts[0] == puts[1] == (puts[0][0], 1, 256 + len(puts[0][0]))

    def test_all_of_a_turn_have_their_own_ids_and_what_is_new_stands_among_them(
        self, log: DecisionLog, path: Path
    ) -> None:
        one, other = judgement(), judgement()
        record(log, one)
        requests = [(Request(), one, name) for name in ("", "a", "")] + [(Request(id="new"), other, "")]
        log.record(NOW, 0.002, [*requests, (Request(), one, "b"), (Request(id="own"), one, "")], "0123456789ab")
        log.close()
        assert [line["id"] for line in lines(path)] == ["", "", "a", "", "new", "b", "own"]
        assert [line["latency_us"] for line in lines(path)] == [1000, *[2000] * 6]
        assert (log.written, log.dropped) == (7, 0)

    def test_what_a_sink_took_of_a_turn_is_not_given_to_it_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spoa.decision_log, "_MAX_DELAY", 0.01)
        sink, one = ScriptedText(RetryError("not now", 2), RetryError("nor now", 1)), judgement()
        with structlog.testing.capture_logs():
            log = DecisionLog(sink, 1.0)
            log.record(NOW, 0.001, [(Request(), one, name) for name in "abcde"], "0123456789ab")
            until(lambda: log.written == 5)
            log.close()
        assert (sink.taken, log.dropped) == (list("abcde"), 0)

    def test_it_tells_of_a_switch_that_was_opened_since(self, log: DecisionLog, path: Path) -> None:
        asked, one = Request(), judgement()
        log.record(NOW, 0.001, [(asked, one, "")], "r")
        assert one.line
        log.record(NOW, 0.001, [(asked, one, "")], "r", frozenset({"incident"}))
        log.close()
        assert [line["break_glass"] for line in lines(path)] == [[], ["incident"]]

    def test_a_time_that_can_not_be_written_ends_nothing(self, log: DecisionLog, path: Path) -> None:
        one = judgement()
        record(log, one)
        log.record(1e15, 0.001, [(Request(), one, "")], "r")
        record(log, one)
        log.close()
        assert len(lines(path)) == 2
        assert log.dropped == 1
