"""Of several answers the newest counts, revoked is sticky, and nobody asks more often than he must."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from spoa.revocation import NonceMode, Rules
from spoa.revocation.certificates import Certified
from spoa.revocation.ocsp import read_response
from spoa.revocation.ocsp_memory import LONGEST_WAIT, MAX_REFRESH, OcspKnowledge, OcspMemory, Pupil
from spoa.revocation.status import Reason
from tests.pki import DAY, HOUR
from tests.revocation.lists import FUTURE, NOW, answer

if TYPE_CHECKING:
    from spoa.revocation.ocsp import OcspResponse
    from tests.pki import CA, Issued


def pupil(alice: Issued, ca: CA, rules: Rules | None = None, pinned: tuple[Issued, ...] = ()) -> Pupil:
    certified = tuple(Certified.from_der(one.der) for one in pinned)
    return Pupil(Certified.from_der(alice.der), Certified.from_der(ca.der), rules or Rules(), certified)


def response(alice: Issued, ca: CA, status: str = "GOOD", **fields: Any) -> OcspResponse:
    return read_response(answer(alice, ca, status, **fields))


def test_the_first_answer_that_counts_is_taken(ca: CA, alice: Issued) -> None:
    good = response(alice, ca)
    lesson = pupil(alice, ca).learn(None, good, NOW)
    assert (lesson.response, lesson.result.status, lesson.failure) == (good, "good", None)


@pytest.mark.parametrize(
    ("before", "offered", "is_taken"),
    [
        ("GOOD", "GOOD", True),
        ("GOOD", "UNKNOWN", True),
        ("GOOD", "REVOKED", True),
        ("UNKNOWN", "GOOD", True),
        ("REVOKED", "GOOD", True),
        ("REVOKED", "REVOKED", True),
        ("REVOKED", "UNKNOWN", False),
    ],
)
def test_a_newer_answer_takes_the_place_of_an_older_one(
    ca: CA, alice: Issued, before: str, offered: str, is_taken: bool
) -> None:
    old = response(alice, ca, before, this_update=NOW - HOUR)
    new = response(alice, ca, offered, this_update=NOW - 60)
    lesson = pupil(alice, ca).learn(old, new, NOW)
    assert lesson.response == (new if is_taken else old)
    assert lesson.failure == (None if is_taken else Reason.ROLLBACK)


@pytest.mark.parametrize(
    ("before", "offered", "is_taken"), [("GOOD", "GOOD", False), ("GOOD", "REVOKED", True), ("REVOKED", "GOOD", False)]
)
def test_an_older_answer_counts_only_where_it_revokes(
    ca: CA, alice: Issued, before: str, offered: str, is_taken: bool
) -> None:
    old = response(alice, ca, before, this_update=NOW - 60)
    new = response(alice, ca, offered, this_update=NOW - HOUR)
    assert pupil(alice, ca).learn(old, new, NOW).response == (new if is_taken else old)


def test_revoked_stays_when_its_answer_has_run_out_and_good_does_not(ca: CA, alice: Issued) -> None:
    dates: dict[str, Any] = {"this_update": NOW - DAY, "next_update": NOW - HOUR}
    own = pupil(alice, ca)
    assert own.result(response(alice, ca, "REVOKED", **dates), NOW).status == "revoked"
    assert own.result(response(alice, ca, **dates), NOW).reason == Reason.STALE
    assert own.learn(response(alice, ca, "REVOKED", **dates), response(alice, ca, **dates), NOW).result.status == (
        "revoked"
    )


def test_what_does_not_count_changes_nothing_and_says_why(ca: CA, alice: Issued, bob: Issued) -> None:
    good = response(alice, ca)
    own = pupil(alice, ca)
    for offered, reason in (
        (response(bob, ca), Reason.WRONG_CERTIFICATE),
        (read_response(b"\x30\x03\x0a\x01\x03"), Reason.RESPONDER_ERROR),
        (response(alice, ca, this_update=NOW - DAY, next_update=NOW - HOUR), Reason.STALE),
    ):
        lesson = own.learn(good, offered, NOW)
        assert (lesson.response, lesson.result.status, lesson.failure) == (good, "good", reason)


def test_the_nonce_is_asked_for_once_where_it_was_sent(ca: CA, alice: Issued) -> None:
    good = response(alice, ca)
    strict = pupil(alice, ca, Rules(nonce=NonceMode.REQUIRE))
    assert strict.learn(None, good, NOW, b"n" * 32).failure == Reason.NONCE_MISMATCH
    assert strict.learn(None, good, NOW).failure is None


def test_a_responder_that_was_pinned_needs_no_delegation(ca: CA, alice: Issued, bob: Issued) -> None:
    own = response(alice, ca, signer=bob)
    assert pupil(alice, ca).learn(None, own, NOW).failure == Reason.RESPONDER_NOT_AUTHORIZED
    assert pupil(alice, ca, pinned=(bob,)).learn(None, own, NOW).failure is None


def test_a_delegated_responder_is_believed_here_and_asked_about_by_whoever_judges(ca: CA, alice: Issued) -> None:
    delegated = ca.issue("responder", eku=(ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string,))
    assert pupil(alice, ca).learn(None, response(alice, ca, signer=delegated), NOW).failure is None


@pytest.mark.parametrize(
    ("status", "fields", "chance", "seconds"),
    [
        ("GOOD", {"this_update": NOW, "next_update": NOW + 1000}, 0.5, 500),
        ("GOOD", {"this_update": NOW, "next_update": NOW + 1000}, 0.0, 450),
        ("GOOD", {"this_update": NOW, "next_update": NOW + 1000}, 1.0, 550),
        ("GOOD", {"this_update": NOW - 600, "next_update": NOW + 400}, 0.5, 200),
        ("GOOD", {"this_update": NOW - 400, "next_update": NOW + 600}, 0.5, 100),
        ("GOOD", {"this_update": NOW, "next_update": NOW + 30 * DAY}, 0.5, MAX_REFRESH),
        ("GOOD", {"this_update": NOW, "next_update": None}, 0.5, 1800),
        ("GOOD", {"this_update": NOW, "next_update": NOW + 4}, 0.5, 5),
        ("UNKNOWN", {"this_update": NOW, "next_update": NOW + DAY}, 0.5, 300),
        ("REVOKED", {"this_update": NOW - DAY, "next_update": NOW - 1}, 0.5, 5),
    ],
)
def test_an_answer_is_asked_for_anew_after_half_of_its_time(
    ca: CA, alice: Issued, status: str, fields: dict[str, Any], chance: float, seconds: int
) -> None:
    assert pupil(alice, ca).refresh_at(response(alice, ca, status, **fields), NOW, chance) == NOW + seconds


@pytest.mark.parametrize(
    ("status", "fields", "is_due"),
    [
        ("GOOD", {"this_update": NOW - 499, "next_update": NOW + 501}, False),
        ("GOOD", {"this_update": NOW - 500, "next_update": NOW + 500}, True),
        ("GOOD", {"this_update": NOW - MAX_REFRESH + 1, "next_update": NOW + 30 * DAY}, False),
        ("GOOD", {"this_update": NOW - MAX_REFRESH, "next_update": NOW + 30 * DAY}, True),
        ("GOOD", {"this_update": NOW - 1799, "next_update": None}, False),
        ("GOOD", {"this_update": NOW - 1800, "next_update": None}, True),
        ("UNKNOWN", {"this_update": NOW - 299, "next_update": NOW + DAY}, False),
        ("UNKNOWN", {"this_update": NOW - 300, "next_update": NOW + DAY}, True),
        ("REVOKED", {"this_update": NOW - 2 * DAY, "next_update": NOW - DAY}, True),
    ],
)
def test_an_answer_of_an_earlier_time_is_due_when_half_of_its_time_has_passed(
    ca: CA, alice: Issued, status: str, fields: dict[str, Any], is_due: bool
) -> None:
    assert pupil(alice, ca).is_due(response(alice, ca, status, **fields), NOW) is is_due


def test_a_question_is_due_at_its_time_and_when_the_clock_was_wrong_when_that_was_set() -> None:
    knowledge = OcspKnowledge(None, None, NOW)
    assert not knowledge.is_due(NOW - 1)
    assert knowledge.is_due(NOW)
    assert not knowledge.is_due(NOW - LONGEST_WAIT)
    assert knowledge.is_due(NOW - LONGEST_WAIT - 1)


def test_a_failure_leaves_the_answer_and_doubt_leaves_no_failure(ca: CA, alice: Issued) -> None:
    memory = OcspMemory()
    key, other = ("corp", b"a"), ("corp", b"b")
    good = response(alice, ca)
    memory.put(key, OcspKnowledge(good, None, FUTURE))
    memory.fail(key, Reason.UNREACHABLE, FUTURE)
    memory.fail(other, Reason.UNREACHABLE, FUTURE)
    assert memory.get(key) == OcspKnowledge(good, Reason.UNREACHABLE, FUTURE)
    assert len(memory) == 2
    memory.doubt()
    assert memory.get(key) == OcspKnowledge(good, None, 0)
    assert memory.get(other) is None
