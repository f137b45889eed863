"""One question for all who want to know, answers that are kept fresh and outlive outages, no wrong word believed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import structlog.testing
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

import spoa.ocsp_keeper
from tests.httpservers import hang, plain
from tests.ocsp_desk import ALICE, BOB, CORP, SECONDS, Desk, conversation
from tests.pki import DAY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.httpservers import Answering
    from tests.pki import Issued


def test_an_answer_is_told_and_asked_for_again_in_time(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        assert await desk.answer() == (True, None, 300)  # 0.6 of the half of 1000
        (request,) = desk.server.requests
        assert (request.method, request.headers["content-type"]) == ("POST", "application/ocsp-request")
        assert await desk.answer() == (True, None, 501)
        assert desk.hits == 1
        own = desk.described()
        assert (own["state"], own["reason"], own["certificates"]) == ("good", "ok", {"good": 1})
        assert desk.sample("revocation_state", "good") == 1
        assert desk.sample("revocation_expiry_seconds") == 1000
        assert desk.sample("revocation_life_seconds") == 1000
        desk.now += 300
        assert (desk.sample("revocation_expiry_seconds"), desk.sample("revocation_life_seconds")) == (700, 1000)
        assert desk.sample("revocation_fetches_total", "answered") == 1

    conversation(tmp_path, script)


def test_whoever_asks_meanwhile_waits_for_the_one_answer(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        for _ in range(100):
            desk.ask()
        assert len(await desk.told()) == 1
        assert desk.hits == 1

    conversation(tmp_path, script)


def test_a_question_goes_in_the_url_where_the_policy_wants_it(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use(uses_get=True)
        assert (await desk.answer())[:2] == (True, None)
        (request,) = desk.server.requests
        assert request.method == "GET"
        assert request.path.startswith("/ocsp/M")
        assert not set("+=") & set(request.path)

    conversation(tmp_path, script)


def test_one_too_long_for_the_url_is_posted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.ocsp_keeper, "_MAX_GET", 10)

    async def script(desk: Desk) -> None:
        desk.use(uses_get=True)
        assert (await desk.answer())[:2] == (True, None)
        assert desk.server.requests[0].method == "POST"

    conversation(tmp_path, script)


@pytest.mark.parametrize(
    ("mode", "returned", "failure"),
    [
        ("send", True, None),
        ("send", False, None),
        ("require", True, None),
        ("require", False, "nonce_mismatch"),
    ],
)
def test_a_nonce_must_come_back_where_it_is_required(
    tmp_path: Path, mode: str, returned: bool, failure: str | None
) -> None:
    async def script(desk: Desk) -> None:
        desk.use(nonce=mode)
        desk.server.answer = desk.respond(is_nonce_returned=returned)
        assert (await desk.answer())[:2] == (failure is None, failure)

    conversation(tmp_path, script)


@pytest.mark.parametrize(
    ("answer", "failure", "state", "at_least"),
    [
        (plain(b"<html>"), "parse_error", "undetermined", 60),
        (plain(b"\x30\x03\x0a\x01\x03"), "responder_error", "undetermined", 30),
        (plain(b"\x30\x03\x0a\x01\x06"), "responder_error", "undetermined", 60),
        (plain(b"gone", status=404), "unreachable", "unreachable", 5),
        (plain(b"", status=302, Location="http://127.0.0.1/"), "unreachable", "unreachable", 5),
        (plain(b"x" * 70_000), "unreachable", "unreachable", 5),
    ],
)
def test_no_answer_is_a_failure_that_is_not_asked_about_again_soon(
    tmp_path: Path, answer: Answering, failure: str, state: str, at_least: int
) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        desk.server.answer = answer
        has_response, reason, again = await desk.answer()
        assert (has_response, reason) == (False, failure)
        assert at_least <= again <= 2 * at_least + 1
        assert (await desk.answer())[1] == failure
        assert desk.hits == 1, "a failure is not asked about again at once"
        own = desk.described()
        assert (own["state"], own["reason"], own["certificates"]) == (state, failure, {state: 1})
        assert desk.server.url("/ocsp") in own["error"]
        assert desk.sample("revocation_state", state) == 1

    conversation(tmp_path, script)


def test_an_outage_leaves_the_answer_that_is_there(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        await desk.answer()
        desk.now += 600
        desk.server.answer = plain(b"", status=500)
        assert (await desk.answer())[:2] == (True, "unreachable")
        assert desk.described()["certificates"] == {"good": 1}
        desk.now += 500
        assert desk.described()["certificates"] == {"stale": 1}

    conversation(tmp_path, script)


def test_what_failed_and_is_asked_about_no_more_is_left_and_known_again_when_it_is_back(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        await desk.answer()
        desk.now += 600
        desk.server.answer = plain(b"", status=500)
        assert (await desk.answer())[:2] == (True, "unreachable")
        (record,) = desk.keeper._records.values()
        assert record.timer is not None
        assert record.timer.when() - asyncio.get_running_loop().time() >= 300 - SECONDS
        assert desk.sample("revocation_expiry_seconds") == 400
        desk.server.answer = hang
        desk.now = record.look_at
        desk.ask()
        desk.keeper._forget(record)  # not while it is being asked about
        assert len(desk.keeper._records) == 1
        await asyncio.gather(*desk.keeper._flights.values())
        desk.rows.clear()
        desk.keeper._forget(record)
        desk.keeper._forget(record)
        assert len(desk.keeper._records) == 0
        assert ("revocation_expiry_seconds", ("corp", "ocsp")) not in desk.keeper.samples(desk.now)
        desk.ask()
        (row,) = await desk.told()
        assert row["response"] is not None

    conversation(tmp_path, script)


def test_when_a_responder_is_back_those_that_failed_are_asked_about_again(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        desk.server.answer = plain(b"", status=500)
        await desk.answer(BOB)
        desk.server.answer = desk.respond()
        with structlog.testing.capture_logs() as logs:
            desk.ask(ALICE)
            rows = await desk.told(2)
        assert {row["ask_again"] == 0 for row in rows} == {True, False}
        assert [line["event"] for line in logs] == ["the OCSP responder answers again"]
        assert (await desk.answer(BOB))[:2] == (True, None)

    conversation(tmp_path, script)


def test_what_was_known_is_told_after_a_restart_with_the_responder_gone(tmp_path: Path) -> None:
    async def before(desk: Desk) -> None:
        desk.use()
        CORP.revoke(BOB, at=int(desk.now))
        await desk.answer(ALICE)
        await desk.answer(BOB)

    async def after(desk: Desk) -> None:
        desk.use(url="http://127.0.0.1:9/")
        assert (await desk.answer(ALICE))[:2] == (True, None)
        desk.now += 2000
        assert await desk.answer(BOB) == (True, None, 0), "revoked is told at once, however old, and asked about anew"
        assert desk.described()["certificates"]["revoked"] == 1

    conversation(tmp_path, before)
    conversation(tmp_path, after)


def states(desk: Desk) -> set[str]:
    """Return which states are told of the responder; an alert pages for each of them but `good`."""
    return {labels[2] for (name, labels), value in desk.keeper.samples(desk.now).items()
            if name == "revocation_state" and value}  # fmt: skip


def test_a_restart_pages_nobody_neither_idle_nor_with_answers_that_were_kept(tmp_path: Path) -> None:
    async def before(desk: Desk) -> None:
        desk.use()
        await desk.answer()

    async def after(desk: Desk) -> None:
        desk.use()
        assert states(desk) == set()
        assert (desk.described()["state"], desk.described()["reason"]) == ("not_loaded", "not_asked")
        assert (await desk.answer())[:2] == (True, None)
        assert (desk.hits, states(desk), desk.described()["state"]) == (0, {"good"}, "good")
        desk.server.answer = plain(b"", status=500)
        await desk.answer(BOB)
        assert states(desk) == {"unreachable"}

    conversation(tmp_path, before)
    conversation(tmp_path, after)


def test_an_answer_on_disk_that_is_no_answer_is_asked_for_anew(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        await desk.answer()
        store = desk.keeper._store
        for junk in (b"junk", CORP.ocsp_response(b"junk")):
            store._database.execute("UPDATE answers SET response = ?", (junk,))
            store._database.commit()
            desk.keeper.use({})
            desk.use()
            with structlog.testing.capture_logs():
                assert (await desk.answer())[:2] == (True, None)
        assert desk.hits == 3

    conversation(tmp_path, script)


def test_a_disk_that_fails_costs_no_answer(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        desk.keeper._store._database.close()
        with structlog.testing.capture_logs() as logs:
            assert (await desk.answer())[:2] == (True, None)
        assert [line["log_level"] for line in logs] == ["error", "error"]

    conversation(tmp_path, script)


def test_what_is_in_use_is_asked_for_anew_by_itself_and_what_is_not_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        await desk.answer(ALICE)
        await desk.answer(BOB)
        records = {record.key: record for record in desk.keeper._records.values()}
        await desk.answer(ALICE)  # a worker has a use for it still
        desk.now += 500
        for record in records.values():
            desk.keeper._refresh(record)
        (row,) = await desk.told()
        assert row["failure"] is None
        assert desk.hits == 3
        assert len(desk.keeper._records) == 1
        desk.ask(BOB)
        rows = await desk.told(2)  # from disk, and then from the responder, since half of its time has passed
        assert [row["failure"] for row in rows] == [None, None]
        assert desk.hits == 4
        desk.keeper._refresh(next(iter(records.values())))

    del monkeypatch
    conversation(tmp_path, script)


def test_an_answer_is_looked_at_again_when_its_half_has_passed(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        desk.server.answer = desk.respond(valid_for=2)
        await desk.answer()
        (record,) = desk.keeper._records.values()
        assert record.timer is not None
        assert record.timer.when() - asyncio.get_running_loop().time() == pytest.approx(5, abs=0.5)

    conversation(tmp_path, script)


def test_too_many_questions_at_once_are_answered_that_nobody_could_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoa.ocsp_keeper, "MAX_FLIGHTS", 1)

    async def script(desk: Desk) -> None:
        desk.use()
        desk.server.answer = hang
        desk.ask(ALICE)
        assert await desk.answer(BOB) == (False, "unreachable", 1)

    conversation(tmp_path, script)


def test_a_question_of_a_policy_that_is_gone_is_answered_too(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        assert await desk.answer() == (False, "not_loaded", 1)
        desk.use()
        desk.server.answer = hang
        desk.ask()
        await asyncio.sleep(0)
        desk.keeper.use({})
        with structlog.testing.capture_logs() as logs:
            desk.keeper.ask([{}, {"certificate": "!"}, {"certificate": "AA==", "authority": "AA==", "issuer": "corp"}])
        assert len(logs) == 3

    conversation(tmp_path, script)


def test_a_defect_leaves_no_worker_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    async def script(desk: Desk) -> None:
        desk.use()
        monkeypatch.setattr(desk.keeper, "_fetch", broken)
        with structlog.testing.capture_logs() as logs:
            assert (await desk.answer())[:2] == (False, "unreachable")
        assert logs[0]["log_level"] == "error"

    conversation(tmp_path, script)


def naming(*urls: str) -> Issued:
    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://a/")
            ),
            *(
                x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url))
                for url in urls
            ),
        ]
    )
    return CORP.issue("dave", extensions=((access, False),))


def test_a_certificate_names_its_responder_only_among_the_hosts_of_the_policy(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        url = desk.server.url("/ocsp")
        host = url.split("/")[2]
        for hosts, failure in (
            ((host, "127.0.0.1:1"), None),
            (("127.0.0.1",), "no_responder"),
            (("localhost",), "no_responder"),
        ):
            desk.use(url="", aia_hosts=hosts)
            assert (await desk.answer(naming("ldap://a", "http://127.0.0.1:1/", url)))[1] == failure
        assert desk.hits == 1
        desk.use(url="", aia_hosts=(host,))
        assert (await desk.answer(ALICE))[1] == "no_responder"
        assert desk.described()["hosts"] == [host]

    conversation(tmp_path, script)


def test_other_settings_of_one_issuer_begin_anew_and_the_same_ones_go_on(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        before = desk.keeper.responders
        await desk.answer()
        desk.use()
        assert desk.keeper.responders == before
        assert desk.described()["last_success"] == desk.now
        desk.use(uses_get=True)
        assert desk.described()["last_success"] == 0
        assert (desk.described()["state"], desk.described()["reason"]) == ("not_loaded", "not_asked")

    conversation(tmp_path, script)


def test_what_concerns_one_certificate_is_not_tried_again_because_another_fares_better(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        desk.server.answer = plain(b"\x30\x03\x0a\x01\x06")  # unauthorized
        await desk.answer(BOB)
        desk.server.answer = desk.respond()
        assert (await desk.answer(ALICE))[:2] == (True, None)
        assert (await desk.answer(BOB))[:2] == (False, "responder_error")
        assert desk.hits == 2

    conversation(tmp_path, script)


def test_what_concerns_one_certificate_is_not_held_against_its_responder(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        await desk.answer(ALICE)
        desk.server.answer = plain(b"\x30\x03\x0a\x01\x06")  # unauthorized
        assert (await desk.answer(BOB))[:2] == (False, "responder_error")
        own = desk.described()
        assert (own["state"], own["reason"], own["error"]) == ("good", "ok", "")
        assert own["certificates"] == {"good": 1, "undetermined": 1}
        assert desk.sample("revocation_state", "good") == 1
        desk.now += 600
        assert (await desk.answer(ALICE))[:2] == (True, "responder_error")  # it says so of everybody
        assert (desk.described()["state"], desk.sample("revocation_state", "undetermined")) == ("undetermined", 1)

    conversation(tmp_path, script)


@pytest.mark.parametrize("answer", [plain(b"<html>"), plain(b"\x30\x03\x0a\x01\x03"), plain(b"", status=503)])
def test_what_concerns_the_responder_is_over_with_its_first_answer_to_anybody(
    tmp_path: Path, answer: Answering
) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        desk.server.answer = answer
        await desk.answer(BOB)
        desk.server.answer = desk.respond()
        desk.ask(ALICE)
        await desk.told(2)
        assert (await desk.answer(BOB))[:2] == (True, None)

    conversation(tmp_path, script)


def test_an_outage_is_told_once_a_minute_however_many_certificates_it_concerns(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        desk.server.answer = plain(b"", status=500)
        with structlog.testing.capture_logs() as logs:
            for number in range(4):
                await desk.answer(CORP.issue(f"client-{number}"))
        assert [line["event"] for line in logs] == ["no OCSP answer that counts"]

    conversation(tmp_path, script)


def test_a_clock_that_was_ahead_for_a_while_puts_no_question_off(tmp_path: Path) -> None:
    async def script(desk: Desk) -> None:
        desk.use()
        desk.server.answer = desk.respond(now=int(desk.now))
        desk.now += 10 * DAY
        assert (await desk.answer())[:2] == (False, "stale")
        assert (await desk.answer())[:2] == (False, "stale")
        assert desk.hits == 1
        desk.now -= 10 * DAY
        assert (await desk.answer())[:2] == (True, None)
        assert desk.hits == 2

    conversation(tmp_path, script)
