"""What a connection remembers of earlier requests is answered as if it was judged anew."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog.testing

from spoa.blocks import BlockList
from spoa.decision_log import DecisionLog
from spoa.loading import load_policy
from spoa.logsinks.file import FileSink
from spoa.recall import Recall
from spoa.spop import Argument, DataType, Message, write_messages
from tests.agents import authorize
from tests.answering_desk import NOW, Desk, raising
from tests.pki import CA

if TYPE_CHECKING:
    from pathlib import Path

    from spoa.authorizer import Policy

STAFF = """\
apiVersion: authz/v1
issuers: {corp: {ca: ca.pem, revocation: {none: test}}}
identities: {staff: {issuer: corp, ou: staff}}
rules: [{id: staff, effect: allow, who: staff, request: {path: "/open/**"}}]
"""


@pytest.fixture(scope="module")
def corp() -> CA:
    return CA("corp", now=int(NOW))


@pytest.fixture(scope="module")
def alice(corp: CA) -> dict[str, tuple[DataType, Any]]:
    return {"cert": (DataType.BINARY, corp.issue("alice", ["staff"]).der), "used": (DataType.BOOL, True)}


class TestRecall:
    """The same question asked again: what is answered from memory is counted and logged like any other."""

    @pytest.fixture
    def staff(self, corp: CA, tmp_path: Path) -> Policy:
        (tmp_path / "ca.pem").write_bytes(corp.pem)
        (tmp_path / "policy.yaml").write_text(STAFF)
        return load_policy(tmp_path)

    def ask(self, desk: Desk, path: str, alice: dict[str, tuple[DataType, Any]], count: int) -> list[dict[str, Any]]:
        return [desk.ask(authorize(path, **alice, id=(DataType.STRING, b"%d" % n)))[0] for n in range(count)]

    def test_it_is_answered_and_counted_each_time(self, staff: Policy, alice: dict[str, tuple[DataType, Any]]) -> None:
        desk = Desk(policy=staff)
        answers = self.ask(desk, "/open/x", alice, 6) + self.ask(desk, "/shut", alice, 6)
        assert [answer["verdict"] for answer in answers] == ["allow"] * 6 + ["deny"] * 6
        assert desk.answering._recall.hits
        assert desk.count("decisions_total", "allow", "ok", "staff") == 6
        assert desk.count("decisions_total", "deny", "no_rule_allows", "") == 6
        assert desk.count("frames_total", "ack") == 12

    @pytest.mark.parametrize("has_id", [True, False])
    def test_another_message_beside_it_changes_no_answer(
        self, staff: Policy, alice: dict[str, tuple[DataType, Any]], *, has_id: bool
    ) -> None:
        desk = Desk(policy=staff)
        audit = write_messages([Message(b"audit", (Argument(b"ua", DataType.STRING, b"curl"),))])
        own = authorize("/open/x", **alice)
        if not has_id:
            own = own.removesuffix(b"\x02id\x08\x04id-1")
            own = own[:10] + bytes((own[10] - 1,)) + own[11:]
        answers = [desk.ask(own + audit)[0] for _ in range(5)]
        assert [answer["verdict"] for answer in answers] == ["allow"] * 5

    def test_marks_of_a_path_where_none_was_sent_change_no_answer(
        self, staff: Policy, alice: dict[str, tuple[DataType, Any]]
    ) -> None:
        desk = Desk(policy=staff)
        hostile = DataType.STRING, b"x\x04path\x08\x01/"
        whole = authorize("/open/x", **alice, sni=hostile)
        own = whole.replace(b"\x04path\x08\x07/open/x", b"", 1)
        own = own[:10] + bytes((own[10] - 1,)) + own[11:]
        answers = [desk.ask(own)[0] for _ in range(5)]
        assert answers == [answers[0]] * 5
        assert answers[0]["reason"] != "internal_error"

    @pytest.mark.parametrize(("share", "lines"), [(1.0, 12), (0.0, 6)])
    def test_it_is_logged_each_time(
        self, staff: Policy, alice: dict[str, tuple[DataType, Any]], tmp_path: Path, share: float, lines: int
    ) -> None:
        log = DecisionLog(FileSink(tmp_path / "log"), share)
        desk = Desk(log=log, policy=staff)
        self.ask(desk, "/open/x", alice, 6)
        self.ask(desk, "/shut", alice, 6)
        log.close()
        logged = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert len(logged) == lines
        assert [line["id"] for line in logged[-6:]] == list("012345")
        assert all(line["cert"]["subject"] for line in logged)

    @pytest.mark.parametrize(("identifier", "is_last"), [("x" * 250, True), ("same", False)])
    def test_an_id_that_recurs_with_the_rest_is_in_each_line(
        self,
        staff: Policy,
        alice: dict[str, tuple[DataType, Any]],
        tmp_path: Path,
        identifier: str,
        *,
        is_last: bool,
    ) -> None:
        log = DecisionLog(FileSink(tmp_path / "log"), 1.0)
        desk = Desk(log=log, policy=staff)
        written = DataType.STRING, identifier.encode()
        others = {**alice, "id": written} if is_last else {**alice, "id": written, "sni": (DataType.STRING, b"h")}
        for _ in range(8):
            desk.ask(authorize("/open/x", **others))
        assert desk.answering._recall.hits
        log.close()
        logged = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert [line["id"] for line in logged] == [identifier] * 8

    def test_its_judgement_is_made_once_for_the_log(
        self, staff: Policy, alice: dict[str, tuple[DataType, Any]], tmp_path: Path
    ) -> None:
        log = DecisionLog(FileSink(tmp_path / "log"), 1.0)
        desk = Desk(log=log, policy=staff)
        self.ask(desk, "/open/x", alice, 5)
        (recalled,) = desk.answering._recall._whole.values()
        log.close()
        assert recalled.judgement is recalled.judged()
        assert recalled.judgement.line

    @pytest.mark.interpreted
    def test_an_error_in_it_denies_once(
        self, staff: Policy, alice: dict[str, tuple[DataType, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk = Desk(policy=staff)
        self.ask(desk, "/shut", alice, 6)
        monkeypatch.setattr(Recall, "request_of", raising(RuntimeError("a defect")))
        (answer,) = self.ask(desk, "/shut", alice, 1)
        assert answer["reason"] == "internal_error"

    def test_counts_are_not_doubled_when_only_the_block_list_changes(
        self, staff: Policy, alice: dict[str, tuple[DataType, Any]]
    ) -> None:
        desk = Desk(policy=staff)
        self.ask(desk, "/open/x", alice, 3)
        desk.answering.swap(staff.with_blocks(BlockList()))
        self.ask(desk, "/open/x", alice, 3)
        assert desk.count("decisions_total", "allow", "ok", "staff") == 6

    def test_a_candidate_is_compared_under_the_block_list_of_now(self, staff: Policy) -> None:
        desk, blocks = Desk(policy=staff), BlockList()
        desk.answering.compare_with(staff)
        desk.answering.swap(staff.with_blocks(blocks))
        assert desk.answering._comparisons.now is not None
        assert desk.answering._comparisons.now.candidate.blocks is blocks


def test_what_passes_without_assurance_is_counted_each_time_and_logged_once(
    corp: CA, alice: dict[str, tuple[DataType, Any]], tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(corp.pem)
    soft = STAFF.replace("none: test", "crl: {files: a.crl, on_failure: allow}")
    (tmp_path / "policy.yaml").write_text(soft)
    desk = Desk(policy=load_policy(tmp_path))
    with structlog.testing.capture_logs() as logs:
        for _ in range(4):
            assert desk.ask(authorize("/open/x", **alice))[0]["reason"] == "ok"
    assert desk.count("revocation_soft_fails_total", "corp", "crl") == 4
    (line,) = logs
    assert (line["issuer"], line["state"]) == ("corp", "not_loaded")
