"""Lists as text: what each entry says, and the lines that it takes up."""

from __future__ import annotations

import pytest

from spoa.exceptions import ListError, PolicyError
from spoa.listindex import NEVER, Kind, serial_key
from spoa.listtext import Key, ListText, is_rich, key_of_serial, read_key

A, B, C = ("aa" * 32, "bb" * 32, "cc" * 32)

RICH = f"""\
# whose list this is
apiVersion: authz/v1
kind: list
entries:
  # the docks
  - sha256: "{A}"
    owner: warehouse-ops   # ring 12
    comment: |
      Dock 4
      # not a comment
    expires: 2027-12-31T00:00:00Z

  # the yard
  - {{spki_sha256: {B}, ticket: WH-1, expires: 2027-12-31T00:00:00Z,
     next: {C}}}
  -
    issuer: corp
    serial: "0F:1a"
    # inside
    expires: 2027-12-31T00:00:00Z
  # behind
# the end
"""


def test_each_entry_of_the_rich_form_knows_its_lines() -> None:
    text = ListText(RICH.encode(), "x.yaml")
    assert [(entry.first, entry.last) for entry in text.entries] == [(5, 10), (13, 14), (15, 19)]
    assert (text.is_rich, text.is_permanent, text.head, text.line_end, text.warnings) == (True, False, 3, "\n", ())


def test_each_entry_of_the_rich_form_says_what_is_written() -> None:
    dock, yard, serial = ListText(RICH.encode(), "x.yaml").entries
    assert (dock.owner, dock.comment, dock.expires, dock.next) == (
        "warehouse-ops",
        "Dock 4\n# not a comment\n",
        1830211200,
        b"",
    )
    assert (yard.key.text, yard.ticket, yard.next.hex()) == (f"spki:{B}", "WH-1", C)
    assert yard.keys == (yard.key, Key(Kind.SHA256, bytes.fromhex(C)))
    assert (serial.key, serial.key.text, serial.key.issuer, serial.key.serial) == (
        key_of_serial("corp", 0xF1A),
        "corp/f1a",
        "corp",
        "f1a",
    )


def test_the_plain_form_has_a_line_and_a_comment_for_each() -> None:
    text = ListText(f"\ufeff# head\r\n{A}\r\n\r\nSHA256 Fingerprint={B}  # the ; one\r\n{'12' * 20}".encode(), "x.txt")
    assert [(entry.key.text, entry.first, entry.comment, entry.expires) for entry in text.entries] == [
        (f"sha256:{A}", 1, "", NEVER),
        (f"sha256:{B}", 3, "the ; one", NEVER),
        (f"sha1:{'12' * 20}", 4, "", NEVER),
    ]
    assert (text.is_rich, text.is_permanent, text.head, text.line_end) == (False, True, -1, "\r\n")


def test_entries_are_found_by_what_they_name() -> None:
    text = ListText(RICH.encode(), "x.yaml")
    assert [entry.first for entry in text.named(key_of_serial("corp", 0xF1A))] == [15]
    assert text.named(read_key(C)) == ()


def test_an_entry_without_an_end_never_ends() -> None:
    permanent = f"apiVersion: authz/v1\nkind: list\nentries:\n- sha256: {A}\n\npermanent: true\n"
    text = ListText(permanent.encode(), "x.yml")
    assert [(entry.first, entry.last, entry.expires) for entry in text.entries] == [(3, 3, NEVER)]
    assert text.is_permanent


@pytest.mark.parametrize("text", ["kind: list", "", "entries: [{sha256: 12}]"])
def test_what_is_no_list_is_refused_with_its_problems(text: str) -> None:
    with pytest.raises(PolicyError):
        ListText(text.encode(), "x.yaml")


def test_a_line_that_is_no_fingerprint_refuses_a_plain_list() -> None:
    with pytest.raises(PolicyError, match=r"x\.txt:2"):
        ListText(f"{A}\nxyz\n".encode(), "x.txt")


@pytest.mark.parametrize(
    "entries",
    [f"entries: [{{sha256: {A}}}, {{sha256: {B}}}]", f"entries: [\n  {{sha256: {A}}},\n  {{sha256: {B}}},\n]"],
)
def test_entries_that_share_lines_are_refused(entries: str) -> None:
    with pytest.raises(ListError, match="shares its line"):
        ListText(f"apiVersion: authz/v1\nkind: list\npermanent: true\n{entries}\n".encode(), "x.yaml")


@pytest.mark.parametrize(
    ("text", "kind", "digest"),
    [
        (f"sha256:{A}", Kind.SHA256, bytes.fromhex(A)),
        (f"SHA256 Fingerprint={A}", Kind.SHA256, bytes.fromhex(A)),
        (":".join(["AA"] * 32), Kind.SHA256, bytes.fromhex(A)),
        (f"spki:{B}", Kind.SPKI_SHA256, bytes.fromhex(B)),
        (f"sha1:{'12' * 20}", Kind.SHA1, b"\x12" * 20),
        ("corp/1F", Kind.SERIAL, serial_key("corp", 0x1F)),
    ],
)
def test_keys_are_read_as_people_have_them(text: str, kind: Kind, digest: bytes) -> None:
    key = read_key(text)
    assert (key.kind, key.digest) == (kind, digest)
    assert read_key(key.text) == key


@pytest.mark.parametrize("text", ["nothing", "sha256:12", f"sha1:{A}", f"sha256:{'12' * 20}", "spki:12", "corp/", ""])
def test_what_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"hex digits|write a"):
        read_key(text)


def test_the_name_tells_the_form() -> None:
    assert [is_rich(name) for name in ("a.yaml", "a.yml", "a.txt", "a")] == [True, True, False, False]
