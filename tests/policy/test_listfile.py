from __future__ import annotations

import jsonschema

from spoa.policy.listfile import LIST_FILE, ListDocument, read_list_document
from spoa.policy.reading import Report
from spoa.policy.shapes import document_schema

GOOD = """\
apiVersion: authz/v1
kind: list
entries:
  - sha256: "9f0c"
    owner: warehouse-ops
    comment: Dock 4 scanner
    ticket: WH-1432
    expires: 2026-12-31T00:00:00Z
    next: "b71e"
  - {issuer: corp, serial: 00ff, expires: 2026-12-31T01:00:00+01:00}
"""
HEAD = "apiVersion: authz/v1\nkind: list\n"


def read(text: str) -> tuple[ListDocument | None, list[str]]:
    report = Report()
    document = read_list_document(text.encode(), "l.yaml", report)
    return document, [f"{p.line}:{p.column} {p.path} {p.code}" for p in report.problems]


def test_entries_are_read_as_texts_with_their_places() -> None:
    document, problems = read(GOOD)
    assert problems == []
    assert document is not None
    first, second = document.entries
    assert first.value == {
        "sha256": "9f0c",
        "owner": "warehouse-ops",
        "comment": "Dock 4 scanner",
        "ticket": "WH-1432",
        "expires": 1798675200,
        "next": "b71e",
    }
    assert second.value == {"issuer": "corp", "serial": "00ff", "expires": 1798675200}
    assert (first.path, first.node.line, first.at("next").line) == ("entries[0]", 4, 9)
    assert not document.is_permanent


def test_a_list_may_be_permanent_and_empty() -> None:
    assert read(HEAD + "permanent: true\nentries: []\n") == (ListDocument(is_permanent=True, entries=()), [])


def test_entries_that_can_not_be_read_are_reported_and_left_out() -> None:
    document, problems = read(
        HEAD
        + "entries:\n"
        + "  - {sha256: ab, sha1: cd}\n"
        + "  - {owner: x}\n"
        + "  - {sha256: ab, expires: 2026-12-31}\n"
        + "  - {sha265: ab}\n"
        + "  - {sha256: ab, issuer: corp}\n"
        + "  - {sha256: ab}\n"
    )
    assert problems == [
        "4:18 entries[0].sha1 conflicting-keys",
        "5:5 entries[1] missing-key",
        "6:27 entries[2].expires invalid-value",
        "7:5 entries[3] missing-key",
        "7:6 entries[3].sha265 unknown-key",
        "8:18 entries[4].issuer conflicting-keys",
    ]
    assert document is not None
    assert [entry.path for entry in document.entries] == ["entries[5]"]


def test_what_is_no_list_file_is_none() -> None:
    assert read("") == (None, ["0:0  empty-file"])
    assert read("- a\n") == (None, ["1:1  wrong-type"])
    assert read("a: [\n") == (None, ["2:1  syntax"])
    assert read(HEAD.replace("list", "tests")) == (
        ListDocument(is_permanent=False, entries=()),
        ["1:1  missing-key", "2:7 kind invalid-value"],
    )


def test_the_schema_admits_the_good_list() -> None:
    schema = document_schema(LIST_FILE, "List")
    jsonschema.Draft202012Validator.check_schema(schema)
    entry = {"sha256": "9f0c", "expires": "2026-12-31T00:00:00Z", "owner": "warehouse-ops"}
    good = {"apiVersion": "authz/v1", "kind": "list", "permanent": True, "entries": [entry]}
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(good)) == []
    assert not validator.is_valid({**good, "entries": [{**entry, "sha1": "ab"}]})
