"""Lines of several workers stand whole in one file, rotated by whomever, in one chain where that is wanted."""

from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from spoa.chainaudit import Audit
from spoa.exceptions import StateError
from spoa.logchain import Chain, read_link
from spoa.logsinks.file import FileSink, Rotation, head_path, rotated_files
from spoa.logsinks.sink import text_of
from tests.agents import ROOT
from tests.decisions import row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = b"a key of enough bytes"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.jsonl"


@pytest.fixture
def sink(path: Path) -> Iterator[FileSink]:
    made = FileSink(path)
    yield made
    made.close()


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [row(id=f"id-{first + number}") for number in range(count)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def codes(*paths: Path, key: bytes = b"") -> list[str]:
    """Return what an audit finds in logs, oldest first."""
    audit = Audit([key] if key else [])
    for one in paths:
        audit.read(one.name, one.read_bytes().splitlines(keepends=True))
    audit.finish(paths[-1].name)
    return [finding.code for finding in audit.findings]


class TestFile:
    def test_it_is_made_for_owner_and_group(self, sink: FileSink, path: Path) -> None:
        assert path.stat().st_mode & 0o777 & ~0o640 == 0

    def test_a_file_that_can_not_be_opened_is_an_error_at_once(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            FileSink(tmp_path / "missing" / "log")

    def test_a_file_that_somebody_else_rotated_is_followed_without_being_told(self, sink: FileSink, path: Path) -> None:
        sink.write(rows(1))
        path.rename(path.with_suffix(".1"))
        sink.write(rows(1, 1))
        assert [line["id"] for line in lines(path)] == ["id-1"]
        assert [line["id"] for line in lines(path.with_suffix(".1"))] == ["id-0"]

    @pytest.mark.parametrize("chain", [None, Chain()])
    def test_lines_that_are_one_text_are_lines(self, path: Path, chain: Chain | None) -> None:
        sink = FileSink(path, chain=chain)
        assert sink.write([text_of(rows(3)), text_of(rows(2, 3))]) == 5
        sink.close()
        assert [line["id"] for line in lines(path)] == [f"id-{number}" for number in range(5)]
        assert [line["chain"]["seq"] for line in lines(path) if "chain" in line] == (
            [] if chain is None else [1, 2, 3, 4, 5]
        )

    def test_it_is_opened_anew_when_told_so(self, sink: FileSink, path: Path) -> None:
        path.unlink()
        sink.reopen()
        assert path.exists()

    def test_the_old_file_goes_on_when_the_new_one_can_not_be_opened(self, path: Path) -> None:
        directory = path.parent / "logs"
        directory.mkdir()
        sink = FileSink(directory / "log")
        directory.rename(path.parent / "moved")
        assert sink.write(rows(1)) == 1
        assert "can't be opened anew" in sink.problem
        (path.parent / "moved").rename(directory)
        assert sink.write(rows(1)) == 1
        sink.close()
        assert len(lines(directory / "log")) == 2

    def test_what_a_crash_cut_off_does_not_swallow_the_next_line(self, sink: FileSink, path: Path) -> None:
        path.write_text('{"time":"2026')
        sink.write(rows(1))
        assert json.loads(path.read_text().splitlines()[1])["id"] == "id-0"

    def test_whoever_has_the_file_locked_is_waited_for(self, sink: FileSink, path: Path) -> None:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            writing = threading.Thread(target=sink.write, args=(rows(1),))
            writing.start()
            writing.join(0.05)
            assert writing.is_alive()
            assert path.read_text() == ""
        writing.join(20)
        assert len(lines(path)) == 1


class TestFullDisk:
    @pytest.mark.parametrize("chain", [None, Chain()])
    def test_only_whole_lines_stay_and_the_next_goes_on(self, path: Path, chain: Chain | None) -> None:
        """The limit of the process's files stands for a full disk: writes stop short of it, then fail."""
        code = (
            "import resource, sys\n"
            "from pathlib import Path\n"
            "from spoa.logchain import Chain\n"
            "from spoa.logsinks.file import FileSink\n"
            "from tests.decisions import row\n"
            "path, chain = Path(sys.argv[1]), Chain() if sys.argv[2] else None\n"
            "sink = FileSink(path, chain=chain)\n"
            "sink.write([row()] * 2)\n"
            "size = path.stat().st_size\n"
            "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (size + size // 2 + size // 4, hard))\n"
            "print(sink.write([row()] * 5), sink.write([row()] * 2))\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
            "print(sink.write([row()]))\n"
        )
        arguments = [sys.executable, "-c", code, str(path), "chain" if chain else ""]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=ROOT)
        assert done.stdout.split() == ["1", "0", "1"]
        assert len(lines(path)) == 4
        if chain is not None:
            assert codes(path) == []

    def test_a_disk_that_is_full_from_the_first_byte_costs_only_what_was_to_be_written(
        self, sink: FileSink, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int, __: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            assert sink.write(rows(2)) == 0
        assert sink.write(rows(1)) == 1
        assert len(lines(path)) == 1


class TestRotation:
    def test_a_file_never_outgrows_its_size_and_so_many_older_ones_are_left(self, path: Path) -> None:
        size = 5 * (len(json.dumps(row(id="id-10"), separators=(",", ":"))) + 1)
        sink = FileSink(path, Rotation(max_size=size, keep=3))
        for number in range(40):
            sink.write(rows(1, number))
        sink.close()
        older = rotated_files(path)
        assert len(older) == 3
        assert all(one.stat().st_size <= size for one in (*older, path))
        kept = [line["id"] for one in (*older, path) for line in lines(one)]
        assert kept == [f"id-{number}" for number in range(40 - len(kept), 40)]

    def test_a_file_is_no_older_than_its_age_when_a_line_comes(self, path: Path) -> None:
        now = [1_795_168_800.0]  # the time of the line
        sink = FileSink(path, Rotation(max_age=3600), clock=lambda: now[0])
        sink.write(rows(1))
        now[0] += 3500
        sink.write(rows(1, 1))
        assert rotated_files(path) == []
        now[0] += 200
        sink.write(rows(1, 2))
        sink.close()
        assert [len(lines(one)) for one in (*rotated_files(path), path)] == [2, 1]

    def test_older_files_stay_in_order_where_many_are_of_one_second_or_the_clock_goes_back(self, path: Path) -> None:
        now = [2000.0]
        sink = FileSink(path, Rotation(max_size=1, keep=3), clock=lambda: now[0])
        for number in range(15):
            now[0] -= number > 10
            sink.write(rows(1, number))
        sink.close()
        assert [line["id"] for one in rotated_files(path) for line in lines(one)] == ["id-11", "id-12", "id-13"]

    @pytest.mark.parametrize("beginning", ["no line\n", '{"time":"yesterday"}\n'])
    def test_a_file_whose_begin_tells_no_time_is_as_old_as_its_last_change(self, path: Path, beginning: str) -> None:
        path.write_text(beginning)
        os.utime(path, (1000, 1000))
        sink = FileSink(path, Rotation(max_age=10), clock=lambda: 2000.0)
        sink.write(rows(1))
        sink.close()
        assert [one.read_text() for one in rotated_files(path)] == [beginning]

    def test_what_others_compressed_counts_as_an_older_file(self, path: Path) -> None:
        old = path.with_name(f"{path.name}.20200101T000000Z.gz")
        old.write_bytes(gzip.compress(b"{}"))
        (path.parent / f"{path.name}.bak").write_text("not ours")
        sink = FileSink(path, Rotation(max_size=1, keep=1))
        sink.write(rows(1))
        sink.write(rows(1, 1))
        sink.close()
        assert not old.exists()
        assert len(rotated_files(path)) == 1
        assert (path.parent / f"{path.name}.bak").exists()

    def test_a_directory_that_takes_no_new_name_lets_the_file_grow(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        sink = FileSink(path, Rotation(max_size=1))
        sink.write(rows(1))
        with monkeypatch.context() as patched:
            patched.setattr("pathlib.Path.rename", refused)
            assert sink.write(rows(1, 1)) == 1
        assert "can't be rotated: Permission denied; it grows on" in sink.problem
        sink.write(rows(1, 2))
        assert sink.problem == ""
        sink.close()
        assert [len(lines(one)) for one in (*rotated_files(path), path)] == [2, 1]

    @pytest.mark.parametrize("chain", [False, True])
    def test_several_processes_write_and_rotate_one_file_without_losing_or_mixing_a_line(
        self, path: Path, chain: bool
    ) -> None:
        code = (
            "import sys\n"
            "from pathlib import Path\n"
            "from spoa.logchain import Chain\n"
            "from spoa.logsinks.file import FileSink, Rotation\n"
            "from tests.decisions import row\n"
            "chain = Chain() if sys.argv[3] else None\n"
            "sink = FileSink(Path(sys.argv[1]), Rotation(max_size=20_000, keep=1000), chain)\n"
            "sys.stdin.readline()\n"
            "for number in range(150):\n"
            "    rows = [row(id=f'{sys.argv[2]}-{number}-{n}') for n in range(number % 3 + 1)]\n"
            "    assert sink.write(rows) == len(rows)\n"
        )
        started = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(path), str(number), "x" if chain else ""],
                stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            )
            for number in range(3)
        ]  # fmt: skip
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in started:
            assert process.communicate(timeout=60)[1] == ""
        files = [*rotated_files(path), path]
        found = [line["id"] for one in files for line in lines(one)]
        assert len(found) == len(set(found)) == 3 * 300
        assert len(files) > 5
        if chain:
            assert codes(*files) == []


class TestChain:
    def write(self, path: Path, count: int, key: bytes = b"", **options: Any) -> str:
        sink = FileSink(path, chain=Chain(key), **options)
        assert sink.write(rows(count)) == count
        sink.close()
        return sink.problem

    @pytest.mark.parametrize("key", [b"", KEY])
    def test_it_goes_on_over_restarts_workers_and_rotations(self, path: Path, key: bytes) -> None:
        self.write(path, 2, key)
        self.write(path, 2, key, rotation=Rotation(max_size=1))
        path.rename(path.with_suffix(".1"))
        self.write(path, 1, key)
        files = (*rotated_files(path), path.with_suffix(".1"), path)
        assert codes(*files, key=key) == []
        assert [link.seq for link in map(read_link, path.read_bytes().splitlines()) if link] == [5]

    def test_a_crash_between_the_lines_and_their_head_changes_nothing(self, path: Path) -> None:
        self.write(path, 1)
        before = head_path(path).read_bytes()
        self.write(path, 2)
        head_path(path).write_bytes(before)
        self.write(path, 1)
        assert codes(path) == []
        assert len(lines(path)) == 4

    @pytest.mark.parametrize("taken", [0, 1, 100])
    def test_a_file_whose_head_can_not_be_kept_is_not_rotated(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
    ) -> None:
        self.write(path, 1)
        write = os.pwrite

        def full(descriptor: int, data: bytes, offset: int) -> int:
            if not taken:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(descriptor, data[:taken], offset)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            self.write(path, 1)
            assert "can't be written; it grows on" in self.write(path, 1, rotation=Rotation(max_size=1))
        assert rotated_files(path) == []
        assert self.write(path, 1, rotation=Rotation(max_size=1)) == ""
        assert codes(*rotated_files(path), path) == []
        assert sum(len(lines(one)) for one in (*rotated_files(path), path)) == 4

    @pytest.mark.parametrize("content", [b"", b"torn", b'{"version":1,"writer":"x"}', b"[]"])
    def test_a_head_that_is_gone_or_torn_is_found_at_the_end_of_the_file(self, path: Path, content: bytes) -> None:
        self.write(path, 2)
        head_path(path).write_bytes(content)
        self.write(path, 1)
        assert codes(path) == []

    def test_lines_that_were_cut_off_leave_a_gap_for_good(self, path: Path) -> None:
        self.write(path, 5)
        text = path.read_text().splitlines(keepends=True)
        path.write_text("".join(text[:3]))
        assert "does not end as it was written" in self.write(path, 1)
        assert codes(path) == ["cut"]

    def test_a_file_that_was_emptied_leaves_a_gap_for_good(self, path: Path) -> None:
        self.write(path, 2)
        first = path.read_bytes()
        path.write_bytes(b"")
        self.write(path, 1)
        path.write_bytes(first.splitlines(keepends=True)[0] + path.read_bytes())
        assert codes(path) == ["cut"]

    def test_a_chain_that_nothing_is_left_of_begins_anew(self, path: Path) -> None:
        self.write(path, 2)
        head_path(path).unlink()
        path.write_text(path.read_text() + "junk\n")
        self.write(path, 1)
        assert codes(path) == ["broken", "restarted"]

    def test_a_chain_that_was_switched_on_later_says_nothing_of_the_lines_before(self, path: Path) -> None:
        sink = FileSink(path)
        sink.write(rows(2))
        sink.close()
        self.write(path, 1)
        assert codes(path) == []

    def test_a_head_that_a_newer_agent_wrote_is_refused(self, path: Path) -> None:
        head_path(path).write_text('{"version": 2, "something": "else"}')
        with pytest.raises(StateError, match="version 2, and this agent reads up to 1; use the version that wrote it"):
            FileSink(path, chain=Chain())

    def test_a_head_that_can_not_be_kept_costs_no_line(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        sink = FileSink(path, chain=Chain())
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", full)
            assert sink.write(rows(2)) == 2
        assert sink.write(rows(1)) == 1
        sink.close()
        assert codes(path) == []

    def test_a_directory_without_room_for_a_head_is_an_error_at_once(self, path: Path) -> None:
        head_path(path).mkdir()
        with pytest.raises(IsADirectoryError):
            FileSink(path, chain=Chain())
