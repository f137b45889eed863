"""`audit verify` says whether a log is what was written, and names the first line that isn't."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from click.testing import CliRunner

from spoa.cli import audit as audit_module
from spoa.cli.audit import command
from spoa.logchain import Chain
from spoa.logsinks.file import FileSink, Rotation, head_path, rotated_files
from tests.decisions import row

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

KEY = b"0123456789abcdef"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments])


def verify(*arguments: object) -> Result:
    return run("verify", *arguments)


def write(path: Path, count: int, key: bytes = b"", **options: Any) -> None:
    sink = FileSink(path, chain=Chain(key), **options)
    for number in range(count):
        sink.write([row(id=f"id-{number}")])
    sink.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "decisions.jsonl"
    write(path, 6)
    return path


def test_a_log_as_it_was_written_is_fine_and_its_head_is_told(log: Path) -> None:
    result = verify(log)
    assert result.exit_code == 0
    said, head = result.stdout.splitlines()
    assert said == "6 lines, 6 of them chained: as written"
    assert verify(log, "--head", head.removeprefix("head ")).exit_code == 0
    answer = json.loads(verify(log, "--json").stdout)
    assert (answer["intact"], answer["chained"], answer["findings"], answer["heads"]) == (True, 6, [], [head[5:]])


def test_the_first_line_that_was_edited_is_named(log: Path) -> None:
    text = log.read_text().splitlines(keepends=True)
    text[2] = text[2].replace('"verdict":"deny"', '"verdict":"allow"')
    log.write_text("".join(text))
    result = verify(log)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{log}:3: edited: the line isn't what was written")
    assert "NOT as written" in result.stdout
    (finding,) = json.loads(verify(log, "--json").stdout)["findings"]
    assert (finding["line"], finding["code"]) == (3, "edited")


def test_a_log_that_was_cut_short_is_found_by_the_head_beside_it_or_elsewhere(log: Path) -> None:
    head = verify(log).stdout.splitlines()[-1].removeprefix("head ")
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:4]))
    assert f"{log}:4: truncated: the log ends with number 4" in verify(log).stdout
    head_path(log).unlink()
    unknown = verify(log)  # what nobody noted nobody can tell, which is said
    assert unknown.exit_code == 0
    assert "no head was there to compare 1 chain with: lines may be missing at the end" in unknown.stdout
    assert json.loads(verify(log, "--json").stdout)["compared_heads"] == []
    noted = verify(log, "--head", head)
    assert (noted.exit_code, "no head was there" in noted.stdout) == (1, False)
    assert json.loads(verify(log, "--head", head, "--json").stdout)["compared_heads"] == [head]


def test_a_head_of_another_chain_is_none_of_this_one(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    write(other, 2)
    head_path(other).unlink()
    assert "no head was there to compare 1 chain with" in verify(log, other).stdout
    head_path(log).unlink()
    assert "no head was there to compare 2 chains with" in verify(log, other).stdout


def test_rotated_and_compressed_files_are_read_in_their_order(log: Path) -> None:
    write(log, 4, rotation=Rotation(max_size=2500))
    first = rotated_files(log)[0]
    packed = first.with_name(f"{first.name}.gz")
    packed.write_bytes(gzip.compress(first.read_bytes()))
    first.unlink()
    result = verify(*sorted(log.parent.glob("decisions.jsonl*"), reverse=True))
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "10 lines, 10 of them chained: as written")
    result = verify(log)
    assert result.exit_code == 0
    assert "what came before isn't here" in result.stdout


def test_a_key_is_asked_for_and_must_be_the_right_one(tmp_path: Path) -> None:
    log, key, other = tmp_path / "log", tmp_path / "key", tmp_path / "other"
    write(log, 2, KEY)
    key.write_bytes(KEY + b"\n")
    other.write_bytes(b"another key of enough bytes")
    assert verify("--key-file", key, log).exit_code == 0
    assert verify("--key-file", other, "--key-file", key, log).exit_code == 0
    assert verify("--key-file", other, log).exit_code == 1
    result = verify(log)
    assert result.exit_code == 2
    assert "give --key-file" in result.stderr
    other.write_bytes(b"\n")
    assert "is empty" in verify("--key-file", other, log).stderr


def test_lines_before_the_chain_are_counted(log: Path) -> None:
    log.write_text(json.dumps(row()) + "\n" + log.read_text())
    result = verify(log)
    assert result.exit_code == 0
    assert "1 line before the chain began, for which it can't speak" in result.stdout


def test_many_findings_are_told_in_part(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "_SHOWN", 2)
    log.write_text(log.read_text() + "{}\n" * 4)
    assert "and 2 more findings" in verify(log).stdout


@pytest.mark.parametrize("content", ["", "{}\n"])
def test_a_log_without_a_chain_is_not_fine(tmp_path: Path, content: str) -> None:
    (tmp_path / "log").write_text(content)
    result = verify(tmp_path / "log")
    assert result.exit_code == 1
    assert "no line of it is part of a chain" in result.stdout


def test_what_is_no_log_or_head_is_a_usage_error(log: Path) -> None:
    assert "not only the head of its chain" in verify(head_path(log)).stderr
    assert "WRITER:SEQ:HASH" in verify(log, "--head", "x").stderr
    assert verify(log.parent / "none").exit_code == 2
    head_path(log).unlink()
    head_path(log).mkdir()
    result = verify(log)
    assert (result.exit_code, "can't be read" in result.stderr) == (2, True)


def test_the_schema_is_printed(log: Path) -> None:
    schema = json.loads(run("schema").stdout)
    jsonschema.validate(json.loads(log.read_text().splitlines()[0]), schema)
