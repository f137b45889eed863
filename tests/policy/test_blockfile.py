"""The form of the block list: each entry names one thing in one way, and problems stand at their place."""

from __future__ import annotations

import pytest

from spoa.policy.blockfile import read_block_entries
from spoa.policy.reading import Report

HEAD = "apiVersion: authz/v1\nkind: blocks\nentries:\n"


def problems(text: str) -> list[str]:
    report = Report()
    read_block_entries(text.encode(), "blocks.yaml", report)
    return [str(problem) for problem in report.problems]


def test_every_way_to_name_a_certificate_is_read() -> None:
    report = Report()
    text = f"{HEAD}  - {{sha256: {'ab' * 32}}}\n  - {{spki: {'cd' * 32}}}\n  - {{issuer: corp, serial: -0a}}\n"
    entries = read_block_entries(text.encode(), "blocks.yaml", report)
    assert not report.problems
    assert [sorted(entry.value) for entry in entries] == [["sha256"], ["spki"], ["issuer", "serial"]]


def test_an_empty_file_has_no_entries() -> None:
    assert problems("") == []


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{}", "sha256"),
        ("{serial: 7}", "stand together"),
        (f"{{sha256: {'ab' * 32}, issuer: corp}}", "stand together"),
        ("{sha256: 12}", "64 hex digits"),
        (f"{{sha256: {'ab' * 32}, spki: {'ab' * 32}}}", "can't stand beside"),
        (f"{{sha265: {'ab' * 32}}}", "sha256"),
        ("{issuer: corp, serial: 7, expires: soon}", "a time with its zone"),
    ],
)
def test_what_is_wrong_with_an_entry_is_told_with_its_line(entry: str, message: str) -> None:
    found = problems(f"{HEAD}  - {entry}\n")
    assert found
    assert all(line.startswith("blocks.yaml:4:") for line in found)
    assert any(message in line for line in found)


@pytest.mark.parametrize("text", ["[]", "kind: list\n", "apiVersion: authz/v1\nkind: blocks\n"])
def test_another_document_is_no_block_list(text: str) -> None:
    assert problems(text)
