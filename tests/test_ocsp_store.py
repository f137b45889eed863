"""What responders said survives a restart, and a broken file costs no more than asking again."""

from __future__ import annotations

import base64
import sqlite3
from typing import TYPE_CHECKING

import pytest

import spoa.ocsp_store
from spoa.exceptions import StateError
from spoa.ocsp_store import OcspStore, StoredAnswer, read_responders, responders_of, stored_answers, write_responders
from spoa.policy.model import Issuer, OcspSource, PolicyModel, Revocation
from spoa.revocation.status import Rules

if TYPE_CHECKING:
    from pathlib import Path

KEY = ("corp", b"k" * 32)
OTHER = ("corp", b"o" * 32)


def model(*issuers: Issuer) -> PolicyModel:
    return PolicyModel((), (), (), issuers, ())


def test_a_policy_says_whom_to_ask_and_a_bundle_keeps_it(tmp_path: Path) -> None:
    source = OcspSource(responder="http://a", stale_grace=7, uses_get=True, nonce="require", pinned=(b"der",))
    checked = Issuer("corp", (), revocation=Revocation(ocsp=source, max_age_without_next_update=9))
    unchecked = Issuer("other", (), revocation=Revocation(none="a test"))
    responders = responders_of(model(checked, unchecked))
    write_responders(responders, tmp_path)
    assert read_responders(tmp_path) == responders
    own = responders["corp"]
    assert (own.url, own.uses_get, own.nonce) == ("http://a", True, "require")
    assert own.pinned == (base64.b64encode(b"der").decode(),)
    rules = Rules(**own.rules)
    assert (rules.stale_grace, rules.max_age_without_next_update, rules.nonce) == (7, 9, "require")


@pytest.mark.parametrize("text", [None, "", "[]", '{"corp": {}}', '{"corp": 1}'])
def test_a_bundle_that_does_not_say_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "responders.json").write_text(text)
    with pytest.raises(StateError, match="build the bundle again"):
        read_responders(tmp_path)


def test_answers_are_found_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ocsp.sqlite"
    store = OcspStore(path)
    assert store.get(KEY) is None
    store.put([StoredAnswer(KEY, b"old", 1), StoredAnswer(KEY, b"new", 2), StoredAnswer(OTHER, b"other", 1)])
    store.close()
    assert path.stat().st_mode & 0o777 == 0o600
    again = OcspStore(path)
    assert (again.get(KEY), again.get(OTHER), again.get(("else", KEY[1]))) == (b"new", b"other", None)
    again.close()


def test_of_too_many_the_least_used_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.ocsp_store, "_MAX_ANSWERS", 2)
    store = OcspStore(tmp_path / "ocsp.sqlite")
    store.put([StoredAnswer(("corp", bytes([number])), b"x", number) for number in (3, 1, 2)])
    assert [store.get(("corp", bytes([number]))) for number in (1, 2, 3)] == [None, b"x", b"x"]
    store.close()


def test_an_answer_that_takes_the_place_of_another_pushes_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoa.ocsp_store, "_MAX_ANSWERS", 2)
    store = OcspStore(tmp_path / "ocsp.sqlite")
    for number in range(5):
        store.put([StoredAnswer(KEY, b"x%d" % number, number), StoredAnswer(OTHER, b"y", 0)])
    assert (store.get(KEY), store.get(OTHER)) == (b"x4", b"y")
    store.close()


@pytest.mark.parametrize("content", [b"junk" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_can_not_be_read_is_set_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ocsp.sqlite"
    path.write_bytes(content)
    store = OcspStore(path)
    store.put([StoredAnswer(KEY, b"x", 1)])
    assert store.get(KEY) == b"x"
    store.close()
    assert path.with_name("ocsp.sqlite.unreadable").read_bytes() == content


def test_a_file_of_a_later_version_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "ocsp.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    OcspStore(path).close()
    assert path.with_name("ocsp.sqlite.unreadable").exists()


def test_a_directory_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="can't be written"):
        OcspStore(tmp_path / "missing" / "ocsp.sqlite")


def test_a_failure_while_running_is_a_state_error(tmp_path: Path) -> None:
    store = OcspStore(tmp_path / "ocsp.sqlite")
    store.close()
    with pytest.raises(StateError, match="can't be used"):
        store.get(KEY)
    with pytest.raises(StateError, match="can't be used"):
        store.put([StoredAnswer(KEY, b"x", 1)])


def test_others_read_what_an_agent_keeps_and_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ocsp.sqlite"
    assert stored_answers(path, [KEY[1]]) == []
    assert not path.exists()
    store = OcspStore(path)
    store.put([StoredAnswer(KEY, b"one", 1), StoredAnswer(OTHER, b"other", 2)])
    assert stored_answers(path, [KEY[1], b"x" * 32]) == [StoredAnswer(KEY, b"one", 1)]
    store.close()
    path.write_text("no database at all, but long enough to be told from an empty one")
    with pytest.raises(StateError, match="can't be read"):
        stored_answers(path, [KEY[1]])
