"""An audit names the first line that isn't as it was written, and is silent about a log that is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import spoa.chainaudit
from spoa.chainaudit import CODES, Audit, KeyNeededError, ordered
from spoa.logchain import Chain, Head

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spoa.chainaudit import Finding

KEY = b"key"
FILE = "file-0123456789abcdef"


def chained(count: int, writer: str = FILE, key: bytes = b"", start: Head | None = None) -> tuple[list[bytes], Head]:
    head = start or Head(writer)
    lines = []
    for number in range(count):
        line, head = Chain(key).extend(json.dumps({"verdict": "deny", "id": f"{writer}/{number}"}).encode(), head)
        lines.append(line + b"\n")
    return lines, head


def audited(*logs: Sequence[bytes], keys: Sequence[bytes] = (), expected: Sequence[Head] = ()) -> Audit:
    audit = Audit(keys, expected)
    for number, log in enumerate(logs):
        audit.read(f"log{number}", log)
    audit.finish(f"log{len(logs) - 1}")
    return audit


def found(*logs: Sequence[bytes], **options: Sequence[bytes]) -> list[Finding]:
    return audited(*logs, **options).findings  # type: ignore[arg-type] # whichever they are


def forged(line: bytes, old: bytes, new: bytes) -> bytes:
    assert old in line
    return line.replace(old, new)


@pytest.mark.parametrize("key", [b"", KEY])
def test_a_log_as_it_was_written_is_fine(key: bytes) -> None:
    lines, head = chained(20, key=key)
    audit = audited(lines[:7], lines[7:], keys=[key] if key else [], expected=[head])
    assert (audit.findings, audit.lines, audit.chained, audit.heads) == ([], 20, 20, [head])
    assert audit.begins == {FILE: 1}


@pytest.mark.parametrize(
    ("change", "line", "codes"),
    [
        (lambda log: [*log[:4], forged(log[4], b"deny", b"allow"), *log[5:]], 5, ["edited"]),
        (lambda log: [forged(log[0], b"deny", b"allow"), *log[1:]], 1, ["edited"]),
        (lambda log: [*log[:4], *log[5:]], 5, ["cut"]),
        (lambda log: [*log[:4], *log[6:]], 5, ["cut"]),
        (lambda log: [*log[:4], b'{"verdict":"allow"}\n', *log[4:]], 5, ["inserted"]),
        (lambda log: [*log[:4], log[2], *log[4:]], 5, ["repeated"]),
        (lambda log: [*log[:4], log[5], log[4], *log[6:]], 5, ["reordered"]),
        (lambda log: [*log[:4], *log[7:9], *log[4:7], log[9]], 5, ["reordered", "reordered", "reordered"]),
        (lambda log: [*log[:9], log[9][:40]], 10, ["broken", "broken", "truncated"]),
        (lambda log: log[:9], 9, ["truncated"]),
        (lambda log: [*log[:4], log[4][:50] + b"\n", *log[5:]], 5, ["broken", "cut"]),
    ],
)
@pytest.mark.parametrize("key", [b"", KEY])
def test_the_first_line_that_is_wrong_is_named(
    change: Callable[[list[bytes]], list[bytes]], line: int, codes: list[str], key: bytes
) -> None:
    lines, head = chained(10, key=key)
    findings = audited(change(lines), keys=[key] if key else [], expected=[head]).findings
    assert findings[0].line == line
    assert [finding.code for finding in findings] == codes


@given(st.integers(2, 8), st.data())
def test_any_other_sequence_of_the_same_lines_is_found(count: int, data: st.DataObject) -> None:
    lines, head = chained(count)
    other = data.draw(st.lists(st.sampled_from(lines), max_size=count + 2))
    findings = audited(other, expected=[head]).findings
    # Lines at the begin may have been rotated away, which nobody can tell from a cut; nothing else may be missing.
    assert (findings == []) is (bool(other) and other == lines[-len(other) :])


def test_a_line_that_was_written_anew_with_its_hash_is_named_by_the_next() -> None:
    lines, _ = chained(3)
    other, _ = Chain().extend(b'{"verdict":"allow"}', Head(FILE, 1, json.loads(lines[0])["chain"]["hash"]))
    (finding,) = found([lines[0], other + b"\n", lines[2]])
    assert (finding.line, finding.code) == (3, "replaced")
    assert "(log0:2)" in finding.message


def test_what_a_chain_can_not_show() -> None:
    """Without a key all of it may have been written anew; with or without, its end may be gone."""
    anew, _ = chained(10)
    assert found(anew) == []
    for key in (b"", KEY):
        lines, _ = chained(10, key=key)
        assert found(lines[:5], keys=[key] if key else []) == []


def test_with_a_key_a_chain_without_one_is_no_chain() -> None:
    lines, _ = chained(3, key=KEY)
    plain, _ = chained(1, start=Head(FILE, 3, json.loads(lines[2])["chain"]["hash"]))
    (finding,) = found([*lines, *plain], keys=[KEY])
    assert (finding.line, finding.code) == (4, "keyless")
    with pytest.raises(KeyNeededError):
        found(lines)


def test_a_key_that_was_changed_is_given_with_the_one_before() -> None:
    old, head = chained(3, key=b"old")
    new, _ = chained(3, key=b"new", start=head)
    assert found(old, new, keys=[b"new", b"old"]) == []
    assert found(old, new, keys=[b"new"])[0].code == "edited"


def test_a_file_that_is_missing_between_two_is_found_and_one_at_the_begin_is_told() -> None:
    lines, _ = chained(9)
    (finding,) = found(lines[:3], lines[6:])
    assert (finding.file, finding.line, finding.code) == ("log1", 1, "cut")
    assert "3 lines are missing between log0:3" in finding.message
    audit = audited(lines[3:6], lines[6:])
    assert (audit.findings, audit.begins) == ([], {FILE: 4})


def test_processes_have_chains_of_their_own_in_one_file() -> None:
    one, _ = chained(3, "process-0000000000000001")
    two, head = chained(3, "process-0000000000000002")
    mixed = [line for pair in zip(one, two, strict=True) for line in pair]
    assert found(mixed) == []
    assert [one.code for one in found(mixed[:3] + mixed[4:])] == ["cut"]
    (finding,) = audited(one, expected=[head]).findings
    assert (finding.code, finding.line) == ("truncated", 0)


def test_a_second_chain_of_a_file_is_found() -> None:
    one, _ = chained(3)
    two, _ = chained(3, "file-0000000000000002")
    (finding,) = found([*one, *two])
    assert (finding.line, finding.code) == (4, "restarted")


def test_lines_from_before_the_chain_are_counted_and_links_taken_from_lines_are_found() -> None:
    lines, _ = chained(4)
    audit = audited([b'{"verdict":"deny"}\n', b"\n", *lines])
    assert (audit.findings, audit.uncovered) == ([], 1)
    (finding,) = found([b'{"verdict":"deny"}\n', *lines[1:]])
    assert (finding.line, finding.code) == (2, "cut")


def test_a_head_that_was_noted_must_be_in_the_log_as_it_was() -> None:
    lines, head = chained(5)
    assert audited(lines[2:], expected=[Head(FILE, 1, "ab" * 32)]).findings == []
    (finding,) = audited(lines, expected=[Head(FILE, head.seq, "ab" * 32)]).findings
    assert (finding.line, finding.code) == (5, "replaced")


def test_a_log_without_any_link_is_not_fine() -> None:
    (finding,) = found([b'{"verdict":"deny"}\n'])
    assert "--decision-log-chain" in finding.message
    assert found([])[0].line == 0


def test_no_more_findings_are_kept_than_anybody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoa.chainaudit, "_MOST", 3)
    lines, _ = chained(10)
    audit = audited([lines[0], *[b"{}\n"] * 8, lines[3], lines[2]])
    assert (len(audit.findings), audit.dropped) == (3, 7)
    assert {finding.code for finding in audit.findings} <= set(CODES)


def test_files_are_put_in_the_order_in_which_they_were_written() -> None:
    lines, _ = chained(12)
    assert list(ordered({"a": lines[9], "b": lines[0], "c": lines[4], "d": b""})) == ["d", "b", "c", "a"]
    early, _ = chained(1, "process-0000000000000001")
    rows = {"x": b'{"verdict":"deny","time":"2026-02"}', "y": b'{"verdict":"deny","time":"2026-01"}', "z": early[0]}
    assert list(ordered(rows)) == ["z", "y", "x"]
