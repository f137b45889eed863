"""A policy directory is replaced whole or not at all, and the old one is kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from spoa.exceptions import StateError
from spoa.promotion import replace_directory

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "candidate/tests").mkdir(parents=True)
    (tmp_path / "candidate/a.yaml").write_text("new")
    (tmp_path / "candidate/tests/t.yaml").write_text("test")
    (tmp_path / "candidate/.git").write_text("hidden")
    return tmp_path / "candidate"


def content(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def test_a_directory_is_renamed_and_the_copy_takes_its_place(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "policies"
    target.mkdir()
    (target / "old.yaml").write_text("old")
    for text in ("new", "newer"):
        (source / "a.yaml").write_text(text)
        assert replace_directory(source, target) == tmp_path / "policies.before"
        assert content(target) == {"a.yaml": text, "tests/t.yaml": "test"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["candidate", "policies", "policies.before"]


def test_a_link_is_made_to_lead_to_the_copy(tmp_path: Path, source: Path) -> None:
    (tmp_path / "v1").mkdir()
    target = tmp_path / "policies"
    target.symlink_to("v1")
    (tmp_path / ".policies.link").symlink_to("left-over")
    assert replace_directory(source, target) is None
    assert target.is_symlink()
    assert content(target)["a.yaml"] == "new"
    assert content(tmp_path / "v1") == {}


def test_links_in_the_candidate_are_followed(tmp_path: Path, source: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text("linked")
    (source / "b.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    (tmp_path / "policies").mkdir()
    replace_directory(source, tmp_path / "policies")
    assert content(tmp_path / "policies")["b.yaml"] == "linked"
    assert not (tmp_path / "policies/b.yaml").is_symlink()


def test_what_can_not_be_copied_or_renamed_changes_nothing(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "policies"
    with pytest.raises(StateError, match="deploy the candidate"):
        replace_directory(tmp_path / "none", target)
    with pytest.raises(StateError, match="can't be replaced"):
        replace_directory(source, target)  # there is nothing to replace
    target.mkdir()
    (target / "old.yaml").write_text("old")
    (source / "dangling").symlink_to("nowhere")
    with pytest.raises(StateError, match="can't be replaced"):
        replace_directory(source, target)
    (source / "dangling").unlink()
    rename = os.rename

    def failing(old: str, new: str) -> None:
        if str(old).endswith(".policies.new"):
            raise OSError(28, "No space left on device")
        rename(old, new)

    monkeypatch.setattr("os.rename", failing)
    with pytest.raises(StateError, match="No space left"):
        replace_directory(source, target)
    assert content(target) == {"old.yaml": "old"}


def test_doing_it_twice_keeps_what_was_there_before_the_first_time(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "policies"
    target.mkdir()
    (target / "old.yaml").write_text("old")
    kept = replace_directory(source, target)
    assert kept is not None
    (source / ".git").write_text("hidden files are not copied")
    assert replace_directory(source, target) is None
    assert [path.name for path in kept.iterdir()] == ["old.yaml"]
