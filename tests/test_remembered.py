"""What many remembered requests have in common is one object, and nothing is shared that differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spoa.cache import Sightings
from spoa.loading import load_policy
from tests.pki import CA, DAY
from tests.recalling import NOW, Asker, http

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spoa.remembered import Recalled
    from tests.pki import Issued

CORP = CA("corp", now=NOW)
POLICY = """
apiVersion: authz/v1
DEFAULTS
issuers: {corp: {ca: ca.pem, revocation: {none: test}}}
identities: {staff: {issuer: corp, ou: staff}}
rules:
  - {id: a, effect: allow, who: staff, request: {path: "/a/**"}}
  - {id: b, effect: allow, who: staff, request: {path: "/b/**"}}
"""


@pytest.fixture(scope="module")
def people() -> Sequence[Issued]:
    return [CORP.issue(name, ["staff"]) for name in ("alice", "bob")]


def asker_of(directory: Path, defaults: str) -> Asker:
    (directory / "ca.pem").write_bytes(CORP.pem)
    (directory / "policy.yaml").write_text(POLICY.replace("DEFAULTS", defaults))
    return Asker(load_policy(directory, now=NOW))


@pytest.fixture
def asker(tmp_path: Path) -> Asker:
    return asker_of(tmp_path, "")


@pytest.fixture
def normalising(tmp_path: Path) -> Asker:
    """Return one whose answers tell the canonical path."""
    return asker_of(tmp_path, "defaults: {path_on_ambiguity: normalise}")


def recalled(asker: Asker, who: Issued, path: str) -> Recalled:
    """Return what is remembered of a request that was judged often enough."""
    asked = http(who.der, path, "")
    for _ in range(3):
        asker.fresh(asked)
    for _ in range(12):  # two messages may have one place among what was seen, where each is noted by lot
        found = asker.recall.ask(asked, 0, len(asked), NOW)
    assert found is not None
    assert found.said == asker.fresh(asked)
    return found


def test_requests_with_the_same_answer_share_it(asker: Asker, people: Sequence[Issued]) -> None:
    alice, bob = people
    found = [recalled(asker, who, path) for who in (alice, bob) for path in ("/a/1", "/a/2", "/b/1", "/c")]
    first, second, other, denied = found[:4]
    assert first.outcome is second.outcome
    assert len({id(one.outcome) for one in (first, other, denied)}) == 3
    assert [one.outcome for one in found[:4]] == [one.outcome for one in found[4:]]
    assert first.head is second.head
    assert first.said is second.said


def test_an_answer_that_tells_a_path_is_that_path_s_alone(normalising: Asker, people: Sequence[Issued]) -> None:
    first, second = (recalled(normalising, people[0], path) for path in ("/a//1", "/a//2"))
    assert first.outcome is not second.outcome
    assert first.said != second.said


def test_decisions_that_tell_the_same_are_counted_each_for_itself(asker: Asker, people: Sequence[Issued]) -> None:
    one, other = (recalled(asker, people[0], path).outcome.decision for path in ("/a/1", "/b/1"))
    found = [asker.recall._outcome(decision, b"said alike") for decision in (one, other, one)]
    assert [outcome.decision for outcome in found] == [one, other, one]
    assert [outcome.tally for outcome in found] == [one.tally, other.tally, one.tally]
    assert found[0] is found[2]


@pytest.mark.interpreted
def test_what_is_said_on_many_days_does_not_fill_the_memory(
    normalising: Asker, people: Sequence[Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoa.recall.WHOLE", 6)
    asked = [http(people[0].der, f"/a//{number}", "") for number in range(5)]
    for now in range(NOW, NOW + 10 * DAY, DAY):
        for message in asked:
            for _ in range(3):
                said = normalising.fresh(message, now)
            for _ in range(2):
                found = normalising.recall.ask(message, 0, len(message), now)
            assert found is not None
            assert found.said == said
        assert len(normalising.recall._shared) <= 6
    assert len(normalising.recall._whole) == 5


@pytest.mark.interpreted
def test_answers_of_which_each_is_another_do_not_fill_the_memory(
    normalising: Asker, people: Sequence[Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoa.recall.OUTCOMES", 4)
    for number in range(10):
        recalled(normalising, people[0], f"/a//{number}")
        assert len(normalising.recall._outcomes) <= 4


def test_the_log_gets_the_judgement_that_was_remembered(asker: Asker, people: Sequence[Issued]) -> None:
    asked = http(people[0].der, "/c", "1")
    for _ in range(2):
        asker.fresh(asked)
    found = asker.recall.ask(asked, 0, len(asked), NOW)
    assert found is not None
    judgement = found.known.judgement(found.outcome.decision)
    assert (judgement.decision.verdict, judgement.days_left, judgement.revocation) == ("deny", 30, "not_checked")
    assert judgement.certificate is not None


def test_what_is_said_is_kept_as_long_as_its_messages(normalising: Asker, people: Sequence[Issued]) -> None:
    for turn in range(3):
        for number in range(20):
            asked = http(people[0].der, f"/a/{turn}//{number}", "1")  # which is put right, so each answer is another
            said = [normalising.fresh(asked) for _ in range(3)][-1]
            assert all(normalising.from_memory(asked) == said for _ in range(3))
        assert len(normalising.recall._shared) == 1 + len(normalising.recall._whole) == 21, "they begin alike"
        normalising.recall.forget(people[1].der)
        assert not normalising.recall._shared


class Familiar(Sightings):
    """Has seen everything."""

    __slots__ = ()

    def is_again(self, key: object) -> bool:
        del key
        return True


@pytest.mark.interpreted
def test_more_whole_messages_than_fit_do_not_drive_each_other_out(
    asker: Asker, people: Sequence[Issued], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoa.recall.WHOLE", 8)
    monkeypatch.setattr("spoa.recall.PATIENCE", 20)
    asker.recall._messages = Familiar()
    asked = [http(people[0].der, f"/a/{number}", "1") for number in range(12)]
    for _ in range(2):
        for one in asked:
            asker.fresh(one)
    first, second, third = [{id(asker.recall.ask(one, 0, len(one), NOW)) for one in asked[:8]} for _ in range(3)]
    assert len(first) == 8
    assert first == second == third, "the same eight, remembered"
    for _ in range(5):
        for one in asked[8:]:
            assert asker.asked_once(one) == asker.fresh(one)
    assert len(asker.recall._whole) == 0
    assert asker.from_memory(asked[11]) == asker.fresh(asked[11])
    assert len(asker.recall._whole) == 1
