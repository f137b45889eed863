"""The state directory: locked, atomic, and never the reason for an allow."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from spoa._version import BUILD_TIME
from spoa.exceptions import StateError
from spoa.state import (
    KEPT_BUNDLES,
    MAX_CLOCK_SETBACK,
    VERSION,
    StateDirectory,
    check_version,
    read_file,
    read_pid,
    replace_file,
)

if TYPE_CHECKING:
    from pathlib import Path

REVISION = "0123456789ab"


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "deep" / "state")


def kept(state: StateDirectory, revision: str = REVISION) -> Path:
    with state.draft() as draft:
        (draft / "policy").write_text(revision)
        return state.keep(draft, revision)


class TestDirectory:
    def test_it_is_made_for_nobody_else(self, state: StateDirectory) -> None:
        assert state.path.stat().st_mode & 0o777 == 0o700
        for directory in (state.bundles, state.evidence, state.downloads):
            assert directory.stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("name", ["bundles", "evidence", "downloads"])
    def test_a_directory_that_others_can_write_is_refused(self, state: StateDirectory, name: str) -> None:
        (state.path / name).chmod(0o777)
        with pytest.raises(StateError, match="writable by nobody else"):
            StateDirectory(state.path)

    def test_a_place_that_is_no_directory_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StateError, match="can't be used"):
            StateDirectory(tmp_path / "file")


class TestLock:
    def test_the_running_agent_is_found_by_its_pid(self, state: StateDirectory) -> None:
        assert read_pid(state.path) is None
        state.lock()
        assert read_pid(state.path) == os.getpid()
        state.write_admin_address("127.0.0.1:9124")
        state.unlock()
        assert read_pid(state.path) is None
        assert not (state.path / "admin").exists()
        state.unlock()

    def test_two_agents_never_share_a_directory(self, state: StateDirectory) -> None:
        state.lock()
        with pytest.raises(StateError, match=f"process {os.getpid()} runs on it"):
            StateDirectory(state.path).lock()
        state.unlock()
        again = StateDirectory(state.path)
        again.lock()
        again.unlock()

    def test_a_pid_file_that_a_crash_left_behind_names_nobody(self, state: StateDirectory) -> None:
        (state.path / "spoa-authz.pid").write_text(f"{os.getpid()}\n")
        assert read_pid(state.path) is None

    def test_a_pid_file_that_holds_no_number_names_nobody(self, state: StateDirectory) -> None:
        state.lock()
        (state.path / "spoa-authz.pid").write_text("gibberish")
        assert read_pid(state.path) is None
        state.unlock()

    def test_a_look_at_the_pid_does_not_keep_an_agent_from_starting(self, state: StateDirectory) -> None:
        path = state.path / "spoa-authz.pid"
        path.touch()
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            timer = threading.Timer(0.05, lambda: fcntl.flock(file, fcntl.LOCK_UN))
            timer.start()
            state.lock()
            timer.join()
        state.unlock()

    def test_a_pid_file_that_can_not_be_written_is_an_error(self, state: StateDirectory) -> None:
        (state.path / "spoa-authz.pid").symlink_to("/dev/full")
        with pytest.raises(StateError, match="can't be written"):
            state.lock()

    def test_a_pid_file_that_can_not_be_opened_is_an_error(self, state: StateDirectory) -> None:
        (state.path / "spoa-authz.pid").mkdir()
        with pytest.raises(StateError, match="can't be opened"):
            state.lock()


class TestTime:
    def test_without_a_kept_time_the_build_day_is_the_floor(self, state: StateDirectory) -> None:
        assert state.clock_floor() == BUILD_TIME

    def test_the_newest_time_is_kept_and_only_ever_grows(self, state: StateDirectory) -> None:
        now = BUILD_TIME + 10_000_000
        state.keep_time(now)
        state.keep_time(now - 500)
        assert state.clock_floor() == now - MAX_CLOCK_SETBACK
        state.keep_time(now + 60)
        assert state.clock_floor() == now + 60 - MAX_CLOCK_SETBACK

    def test_a_kept_time_before_the_build_day_changes_nothing(self, state: StateDirectory) -> None:
        (state.path / "newest-time").write_text("5\n")
        assert state.clock_floor() == BUILD_TIME

    @pytest.mark.parametrize("content", [b"", b"soon\n", b"12", b"-5\n", b"1" * 40 + b"\n"])
    def test_a_kept_time_that_is_none_stops_the_agent(self, state: StateDirectory, content: bytes) -> None:
        (state.path / "newest-time").write_bytes(content)
        with pytest.raises(StateError, match="holds no time"):
            state.clock_floor()

    def test_a_kept_time_that_can_not_be_read_stops_the_agent(self, state: StateDirectory) -> None:
        (state.path / "newest-time").mkdir()
        with pytest.raises(StateError, match="can't be read"):
            state.clock_floor()


class TestBundles:
    def test_a_draft_that_is_not_kept_is_gone(self, state: StateDirectory) -> None:
        with state.draft() as draft:
            assert draft.is_dir()
        assert not draft.exists()

    def test_two_bundles_may_have_one_revision(self, state: StateDirectory) -> None:
        assert kept(state).name == f"000001-{REVISION}"
        assert kept(state).name == f"000002-{REVISION}"

    def test_the_active_one_is_found_again(self, state: StateDirectory) -> None:
        assert state.last_good() is None
        bundle = kept(state)
        assert state.last_good() is None
        state.activate(bundle)
        assert state.last_good() == bundle
        other = kept(state)
        state.activate(other)
        assert StateDirectory(state.path).last_good() == other

    def test_only_the_newest_few_are_kept_and_the_active_one(self, state: StateDirectory) -> None:
        first = kept(state)
        for _ in range(KEPT_BUNDLES + 2):
            kept(state)
        state.activate(first)
        names = sorted(path.name for path in state.bundles.iterdir())
        assert len(names) == KEPT_BUNDLES + 1
        assert first.name in names

    def test_a_mark_that_leads_elsewhere_is_not_followed(self, state: StateDirectory, tmp_path: Path) -> None:
        foreign = tmp_path / f"000009-{REVISION}"
        foreign.mkdir()
        (state.path / "active").symlink_to(foreign)
        assert state.last_good() is None
        (state.bundles / f"000009-{REVISION}").symlink_to(foreign)
        assert state.last_good() is None

    def test_a_bundle_that_nobody_can_open_is_dropped(self, state: StateDirectory) -> None:
        bundle = kept(state)
        state.discard(bundle)
        assert not bundle.exists()

    def test_drafts_that_a_crash_left_behind_are_swept_up(self, state: StateDirectory) -> None:
        (state.bundles / "draft-x").mkdir()
        bundle = kept(state)
        (state.bundles / "notes").mkdir()
        state.sweep()
        assert sorted(path.name for path in state.bundles.iterdir()) == [bundle.name, "notes"]

    def test_a_directory_that_can_not_be_written_is_an_error(self, state: StateDirectory) -> None:
        bundle = kept(state)
        with pytest.raises(StateError, match="can't be written"):
            state.keep(state.bundles / "missing", REVISION)
        (state.path / ".active.new").mkdir()
        with pytest.raises(StateError, match="can't be written"):
            state.activate(bundle)
        state.bundles.rename(state.path / "elsewhere")
        with pytest.raises(StateError, match="can't be written"), state.draft():
            pass


def test_a_file_larger_than_what_is_moved_at_once_is_written_and_read_whole(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000 + b"end"
    replace_file(tmp_path / "file", content)
    assert read_file(tmp_path / "file") == content
    replace_file(tmp_path / "file", b"")
    assert read_file(tmp_path / "file") == b""


def test_only_a_regular_file_of_a_bounded_size_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        with pytest.raises(OSError, match="no regular file"):
            read_file(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path)
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="5 bytes, and 4 is the most"):
        read_file(tmp_path / "file", 4)


def test_a_pipe_in_place_of_a_number_keeps_nobody_waiting(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    os.mkfifo(state.path / "newest-time")
    with pytest.raises(StateError, match="can't be read"):
        state.clock_floor()
    os.mkfifo(state.path / "version")
    with pytest.raises(StateError, match="can't be read"):
        state.lock()


def test_a_file_may_be_as_open_as_another(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    replace_file(path, b"two", like=path.stat())
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"two", 0o644)


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StateError, match="No space left"):
        replace_file(path, b"three")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


class TestVersion:
    def test_the_layout_has_one_once_an_agent_runs(self, state: StateDirectory) -> None:
        state.lock()
        assert (state.path / "version").read_text() == f"{VERSION}\n"
        state.unlock()
        state.lock()
        state.unlock()

    @pytest.mark.parametrize("content", [b"2\n", b"99\n", b"", b"one\n", b"-1\n", b"\xff"])
    def test_one_that_is_newer_or_none_is_refused_with_what_to_do(self, state: StateDirectory, content: bytes) -> None:
        (state.path / "version").write_bytes(content)
        with pytest.raises(StateError, match="reads up to 1; start the version of the agent that wrote it"):
            state.lock()
        assert not (state.path / "spoa-authz.pid").exists()

    def test_one_that_can_not_be_read_is_refused(self, state: StateDirectory) -> None:
        (state.path / "version").mkdir()
        with pytest.raises(StateError, match="can't be read"):
            state.lock()

    @pytest.mark.parametrize("version", [True, None, "1", -1, 2])
    def test_only_a_known_number_is_a_version(self, tmp_path: Path, version: object) -> None:
        check_version(tmp_path, 0, 1)
        check_version(tmp_path, 1, 1)
        with pytest.raises(StateError, match=f"has version {version}"):
            check_version(tmp_path, version, 1)


def test_a_file_that_root_writes_is_its_directorys_owners(tmp_path: Path) -> None:
    """An agent that isn't root, as under systemd's DynamicUser, must be able to read what root blocks."""
    if os.geteuid() == 0:
        os.chown(tmp_path, 61184, 61185)
    replace_file(tmp_path / "file", b"one")
    written, directory = (tmp_path / "file").stat(), tmp_path.stat()
    assert (written.st_uid, written.st_gid) == (directory.st_uid, directory.st_gid)
