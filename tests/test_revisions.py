"""Revisions: a git revision stands in for a directory, and what can't is told with what to write."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from spoa.revisions import RevisionError, directory_of

if TYPE_CHECKING:
    from pathlib import Path


def git(where: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t.invalid")
    subprocess.run(["git", "-C", str(where), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose main branch has two versions of `policies` and one of `edge/rules`."""
    monkeypatch.chdir(tmp_path)
    for name in ("policies", "edge/rules"):
        (tmp_path / name / "lists").mkdir(parents=True)
        (tmp_path / name / "lists/a.txt").write_text(name)
    git(tmp_path, "init", "--initial-branch=main")
    (tmp_path / "policies/p.yaml").write_text("old")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "old")
    git(tmp_path, "tag", "v1")
    (tmp_path / "policies/p.yaml").write_text("new")
    git(tmp_path, "commit", "-am", "new")
    (tmp_path / "policies/p.yaml").write_text("edited")
    return tmp_path


def test_a_directory_is_itself(repository: Path) -> None:
    with directory_of("policies", "git:v1") as found:
        assert (found / "p.yaml").read_text() == "edited"


@pytest.mark.parametrize(
    ("text", "beside", "content"),
    [
        ("git:main", "policies", "new"),
        ("git:v1", "policies", "old"),
        ("git:main~1", "policies", "old"),
        ("git:v1", "git:main", "old"),
        ("git:v1:policies/", "edge/rules", "old"),
        ("git:v1", "git:main:policies", "old"),
    ],
)
def test_a_revision_stands_in_for_a_directory(repository: Path, text: str, beside: str, content: str) -> None:
    with directory_of(text, beside) as found:
        assert (found / "p.yaml").read_text() == content
        assert (found / "lists/a.txt").read_text() == "policies"
    assert not found.exists()


def test_the_same_folder_is_meant_wherever_it_lies(repository: Path) -> None:
    with directory_of("git:main", "edge/rules") as found:
        assert [path.name for path in found.iterdir()] == ["lists"]


@pytest.mark.parametrize(
    ("text", "beside", "says"),
    [
        ("nowhere", "policies", "there is no such directory; a revision is written git:REV"),
        ("git:main", "nowhere", "there is no such directory"),
        ("git:nope", "policies", "git knows no such revision; a revision is written as git:REV or git:REV:DIR"),
        ("git:", "policies", "git knows no such revision"),
        ("git:--help", "policies", "git knows no such revision"),
        ("git:main:nope", "policies", "git:main:nope: "),
    ],
)
def test_what_is_not_there_is_told(repository: Path, text: str, beside: str, says: str) -> None:
    with pytest.raises(RevisionError) as error, directory_of(text, beside):
        pass
    assert says in str(error.value)


def test_beside_a_directory_of_no_repository_that_of_the_working_directory_is_meant(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    elsewhere = str(tmp_path_factory.mktemp("elsewhere"))
    for text in ("git:main", "git:main:policies"):
        with directory_of(text, elsewhere) as found:
            assert list(found.iterdir())


def test_a_directory_outside_any_repository_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RevisionError, match="not a git repository"), directory_of("git:main", str(tmp_path)):
        pass


def test_a_missing_git_is_told(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RevisionError, match="git is not installed; name a directory"), directory_of("git:main", "."):
        pass


def test_a_git_that_hangs_is_not_waited_for(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "bin/git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 20\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")
    monkeypatch.setattr("spoa.revisions._PATIENCE", 0.2)
    with pytest.raises(RevisionError, match="git took more than"), directory_of("git:main", "policies"):
        pass
