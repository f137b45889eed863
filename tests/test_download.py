"""A copy on disk is the old one or the new one, and its validators are its own."""

from __future__ import annotations

import hashlib
import json
import stat
from typing import TYPE_CHECKING

import pytest

from spoa.download import Copy, Draft, download_path, read_copy, sweep, write_copy

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return download_path(tmp_path, "http://crl.example/a")


def keep(path: Path, body: bytes) -> str:
    with Draft(path) as draft:
        draft.write(body[:1])
        draft.write(body[1:])
        draft.keep()
        return draft.digest


def test_a_url_has_a_name_that_tells_nothing_to_a_shell(path: Path) -> None:
    assert path.name == hashlib.sha256(b"http://crl.example/a").hexdigest()


def test_a_body_that_is_kept_takes_the_place_of_the_one_before_for_its_owner_alone(path: Path) -> None:
    assert keep(path, b"first") == hashlib.sha256(b"first").hexdigest()
    keep(path, b"second")
    assert path.read_bytes() == b"second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_body_that_is_not_kept_leaves_nothing_behind(path: Path) -> None:
    keep(path, b"first")
    with Draft(path) as draft:
        draft.write(b"half of the sec")
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_crash_left_behind_is_in_nobodys_way(path: Path) -> None:
    path.with_name(f".new-{path.name}").write_bytes(b"half")
    keep(path, b"body")
    assert path.read_bytes() == b"body"


def test_a_link_that_stands_in_the_way_is_not_followed(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    path.with_name(f".new-{path.name}").symlink_to(victim)
    keep(path, b"body")
    assert victim.read_bytes() == b"precious"
    assert not path.is_symlink()


def test_a_directory_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Draft(tmp_path / "gone" / "body")


def test_validators_are_remembered_with_the_body_that_they_are_of(path: Path) -> None:
    assert read_copy(path) is None
    digest = keep(path, b"body")
    assert read_copy(path) == Copy(digest)
    copy = Copy(digest, '"1"', "Sat, 28 Nov 2026 12:00:00 GMT")
    write_copy(path, copy)
    assert read_copy(path) == copy
    keep(path, b"other")
    assert read_copy(path) == Copy(hashlib.sha256(b"other").hexdigest())


@pytest.mark.parametrize("text", ["", "{}", "[]", "7", '{"digest": 1'])
def test_validators_that_can_not_be_read_are_forgotten(path: Path, text: str) -> None:
    digest = keep(path, b"body")
    path.with_name(f"{path.name}.json").write_text(text)
    assert read_copy(path) == Copy(digest)


def test_validators_become_conditions() -> None:
    assert Copy("").conditions == {}
    assert Copy("", '"1"').conditions == {"If-None-Match": '"1"'}
    assert Copy("", '"1"', "then").conditions == {"If-None-Match": '"1"', "If-Modified-Since": "then"}


def test_only_what_belongs_to_a_wanted_body_survives_a_sweep(path: Path) -> None:
    write_copy(path, Copy(keep(path, b"body")))
    other = download_path(path.parent, "http://crl.example/b")
    write_copy(other, Copy(keep(other, b"body")))
    path.with_name(f".new-{other.name}").write_bytes(b"half")
    sweep(path.parent, [path.name])
    assert sorted(found.name for found in path.parent.iterdir()) == [path.name, f"{path.name}.json"]
    sweep(path.parent / "gone", [])


def test_what_an_older_agent_noted_is_read_and_what_a_newer_did_is_fetched_anew(tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(b"list")
    digest = hashlib.sha256(b"list").hexdigest()
    note = {"digest": digest, "etag": "e", "last_modified": ""}
    path.with_name("body.json").write_text(json.dumps(note))
    assert read_copy(path) == Copy(digest, "e")
    path.with_name("body.json").write_text(json.dumps({**note, "version": 2}))
    assert read_copy(path) == Copy(digest)
    path.with_name("body.json").write_text("[]")
    assert read_copy(path) == Copy(digest)
