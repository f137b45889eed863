from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.allowlist import MAX_REPORTED, Entry, Listing, Row, expiry_warnings, parse_plain, parse_rich
from spoa.listindex import NEVER, Kind, ListIndex, serial_key, write_index

if TYPE_CHECKING:
    from spoa.exceptions import Problem

DIGEST = bytes(range(32))
HEX = DIGEST.hex()
SHA1 = DIGEST[:20]
UNTIL = 1_900_000_000
COLONS = DIGEST.hex(":").upper()


def errors_of(text: str | bytes, **options: Any) -> list[Problem]:
    text = text.encode() if isinstance(text, str) else text
    return [problem for problem in parse_plain(text, "l.txt", **options)[1] if not problem.is_warning]


def warnings_of(text: str | bytes, **options: Any) -> list[str]:
    text = text.encode() if isinstance(text, str) else text
    return [problem.code for problem in parse_plain(text, "l.txt", **options)[1] if problem.is_warning]


def digests(text: str | bytes, **options: Any) -> set[bytes]:
    text = text.encode() if isinstance(text, str) else text
    listing, problems = parse_plain(text, "l.txt", **options)
    assert [problem for problem in problems if not problem.is_warning] == []
    return {digest for section in listing.sections.values() for digest in section}


@pytest.mark.parametrize(
    "line",
    [
        HEX,
        HEX.upper(),
        COLONS,
        DIGEST.hex(" "),
        DIGEST.hex("-"),
        f"  {HEX}\t",
        f"SHA256 Fingerprint={COLONS}",
        f"sha256 Fingerprint={COLONS}",
        f"SHA-256 fingerprint = {COLONS}",
        f"sha256:{HEX}",
        f"SHA256: {COLONS}",
        f"{HEX} # Dock 4 scanner",
        f"{HEX}; Dock 4 scanner",
        f"{HEX}#{HEX}",
        f"{HEX}\r",
        f"{HEX}\r\n",
        f"\ufeff{HEX}",
        f"# comment\r\n\r\n   \n; another é\n{HEX}\n#\n",
        f"sha256 Fingerprint={COLONS} # dock\n",
    ],
)
def test_a_fingerprint_is_read_however_it_was_copied(line: str) -> None:
    assert digests(line) == {DIGEST}
    assert warnings_of(line) == []


def test_comments_may_be_in_any_encoding() -> None:
    assert digests(b"# caf\xe9\n" + HEX.encode() + b" # caf\xe9\n") == {DIGEST}


@pytest.mark.parametrize("text", [f"\u200e{HEX}", f"{HEX}\u200e # dock", f"# first file\n\ufeff{COLONS}"])
def test_invisible_characters_around_a_fingerprint_are_ignored_with_a_warning(text: str) -> None:
    assert digests(text) == {DIGEST}
    assert warnings_of(text) == ["invisible-character"]


@pytest.mark.parametrize(
    ("line", "code", "column", "words"),
    [
        (HEX[:-1], "wrong-length", 1, "63 hex digits, an odd number"),
        (HEX + "ab", "wrong-length", 1, "66 hex digits; a SHA-256 fingerprint has 64"),
        (HEX[:32], "wrong-length", 1, "MD5 fingerprints are not accepted; `spoa-authz fingerprint CERT`"),
        (HEX + HEX[:32], "wrong-length", 1, "SHA384"),
        (HEX + " " + HEX, "wrong-length", 1, "SHA512"),
        ("-" * 5, "wrong-length", 1, "0 hex digits"),
        ("SHA256 Fingerprint=", "wrong-length", 20, "0 hex digits"),
        ("\u200e", "wrong-length", 1, "0 hex digits"),
        (f"md5:{HEX[:32]}", "wrong-length", 5, "MD5"),
        (f"SHA256 Fingerprint={SHA1.hex()}", "label-mismatch", 20, "40 hex digits make a SHA1 fingerprint"),
        (f"sha1 Fingerprint={HEX}", "label-mismatch", 18, "yet it is labelled SHA1"),
        (f"SHA1 Fingerprint={COLONS}", "label-mismatch", 18, "yet it is labelled SHA1"),
        (f"SHA1 Fingerprint={SHA1.hex(':')}", "sha1", 1, "`spoa-authz fingerprint CERT` prints the SHA-256"),
        (SHA1.hex(), "sha1", 1, "accept_sha1_until"),
        ("AB:CD:EG" + HEX, "not-hex", 8, '"G" is no hex digit'),
        (f"{HEX} Dock 4", "not-hex", 67, '"o" is no hex digit'),
        (f"  sha256:{HEX[:-1]}l", "not-hex", 73, '"l" is no hex digit'),
        (f"{HEX}\u00a0", "not-hex", 65, '"U+00A0" is no hex digit'),
        ("é" + HEX, "not-hex", 1, '"é" is no hex digit'),
        ("SHA256:" + "aZ9+" * 10 + "abc=", "not-hex", 8, "base64"),
        ("<name>", "not-hex", 1, '"<" is no hex digit'),
    ],
)
def test_a_line_that_is_no_fingerprint_is_an_error_at_its_place(line: str, code: str, column: int, words: str) -> None:
    (error,) = errors_of(f"# list\n{line}\n{COLONS}\n")
    assert (error.line, error.column, error.code) == (2, column, code)
    assert words in error.message


def test_sha1_is_accepted_with_a_date_and_ends_then() -> None:
    text = f"{SHA1.hex()}\nSHA1 Fingerprint={SHA1[::-1].hex(':')}\n{HEX}\n"
    listing, (warning,) = parse_plain(text.encode(), "l.txt", accept_sha1_until=UNTIL)
    assert listing.sections == {Kind.SHA256: {DIGEST: NEVER}, Kind.SHA1: {SHA1: UNTIL, SHA1[::-1]: UNTIL}}
    assert warning.is_warning
    assert warning.message.startswith("2 SHA-1 entries, which end at 2030-03-17T17:46:40Z")


def test_a_date_before_the_epoch_has_passed() -> None:
    listing, _ = parse_plain(SHA1.hex().encode(), "l.txt", accept_sha1_until=-5)
    assert listing.sections == {Kind.SHA1: {SHA1: 0}}


def test_pem_is_one_error_a_block_and_what_follows_is_read() -> None:
    block = f"-----BEGIN CERTIFICATE-----\nMIIB\n{HEX[:10]}zz\n-----END CERTIFICATE-----\n"
    found = errors_of(block + "zz\n" + block)
    assert [(error.line, error.code) for error in found] == [(1, "pem"), (5, "not-hex"), (6, "pem")]


@pytest.mark.parametrize("text", [HEX.encode("utf-16"), HEX.encode("utf-16-le"), b"\xfe\xff" + HEX.encode("utf-16-be")])
def test_utf16_is_refused_in_so_many_words(text: bytes) -> None:
    (error,) = errors_of(text)
    assert (error.code, error.line) == ("not-utf8", 1)
    assert "save it as UTF-8" in error.message


@pytest.mark.parametrize("hidden", ["\r", "\u2028", "\u2029", "\x85"])
def test_an_entry_can_not_hide_behind_a_line_break_within_a_comment(hidden: str) -> None:
    (error,) = errors_of(f"# list\n# old{hidden}{HEX}\n")
    assert (error.line, error.column, error.code) == (2, 6, "strange-character")


@pytest.mark.parametrize("text", ["", "\n\n", "# nobody yet\n", "\ufeff"])
def test_an_empty_list_is_a_warning(text: str) -> None:
    assert digests(text) == set()
    assert warnings_of(text) == ["empty-list"]


def test_a_list_of_errors_is_not_called_empty() -> None:
    assert warnings_of("zz\n") == []


def test_duplicates_are_warned_of_on_the_later_line() -> None:
    text = f"{HEX}\n{COLONS}\n{HEX}\n"
    assert digests(text) == {DIGEST}
    problems = parse_plain(text.encode(), "l.txt")[1]
    assert [(problem.line, problem.code, problem.is_warning) for problem in problems] == [
        (2, "duplicate-entry", True),
        (3, "duplicate-entry", True),
    ]


def test_the_first_hundred_errors_are_named_and_the_rest_counted() -> None:
    problems = parse_plain(("zz\n" * 250).encode() + (HEX + "\n").encode() * 103, "l.txt")[1]
    assert len([problem for problem in problems if problem.code == "not-hex"]) == MAX_REPORTED
    assert [(str(problem), problem.is_warning) for problem in problems[-2:]] == [
        ("l.txt:0:0: and 150 more errors", False),
        ("l.txt:0:0: and 2 more warnings", True),
    ]


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(text: bytes) -> None:
    listing, problems = parse_plain(text, "l.txt")
    assert len(listing) or problems


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=20, unique=True), st.data())
def test_what_is_written_in_any_style_is_on_the_list(entries: list[bytes], data: st.DataObject) -> None:
    styles = ("{0}", "{1}", "sha256 Fingerprint={1}", "{0} # x", "# x\n{0}")
    lines = [data.draw(st.sampled_from(styles)).format(entry.hex(), entry.hex(":").upper()) for entry in entries]
    text = data.draw(st.sampled_from(("\n", "\r\n"))).join(lines)
    listing, problems = parse_plain(text.encode(), "l.txt")
    assert listing.sections.get(Kind.SHA256, {}) == dict.fromkeys(entries, NEVER)
    assert [problem.code for problem in problems] == ([] if entries else ["empty-list"])


@given(st.text("0123456789abcdefABCDEF:- \tg#;=", max_size=75))
def test_a_line_is_never_dropped_unseen(line: str) -> None:
    listing, problems = parse_plain(line.encode(), "l.txt")
    is_empty = not line.split("#", maxsplit=1)[0].split(";", maxsplit=1)[0].strip()
    assert bool(len(listing)) != bool(problems)
    assert is_empty == any(problem.code == "empty-list" for problem in problems)


@st.composite
def alike_lines(draw: st.DrawFn) -> bytes:
    """Lines that are the same but for their digits, and here and there something else in place of a byte."""
    entries = draw(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=12))
    with_colons = draw(st.booleans())
    strays = [draw(st.integers(0, 9)) == 0 for _ in entries]
    lines = [
        entry.hex(":") if with_colons is not is_stray else entry.hex()
        for entry, is_stray in zip(entries, strays, strict=True)
    ]
    text = bytearray("\n".join(lines).encode() + draw(st.sampled_from([b"", b"\n", b"\n\n", b"\r\n"])))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(st.integers(0, len(text) - 1))
        text[at : at + draw(st.integers(0, 2))] = draw(
            st.sampled_from([b"", b"\n", b":", b" ", b"a", b"g", b"#", b"\0"])
        )
    return bytes(text)


@given(alike_lines(), st.sampled_from([1, 100, 200, 1 << 18]))
def test_lines_that_are_read_together_are_read_as_one_by_one(text: bytes, at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spoa.alikelines._AT_ONCE", at_once)
        together = parse_plain(text, "l.txt")
        patch.setattr("spoa.alikelines._FORMS", ())
        assert parse_plain(text, "l.txt") == together


def test_problems_behind_the_first_piece_are_at_their_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoa.alikelines._AT_ONCE", 200)
    lines = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(60)]
    lines[40], lines[49] = "what?", lines[30]
    problems = parse_plain("\n".join(lines).encode(), "l.txt")[1]
    assert [(problem.line, problem.code) for problem in problems] == [(41, "not-hex"), (50, "duplicate-entry")]


@pytest.mark.parametrize("line", [HEX, COLONS])
def test_lines_that_are_alike_are_read_together(line: str) -> None:
    lines = [line, line.replace("0", "1"), line.replace("1", "2")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "spoa.allowlist._clean_digest", lambda line: pytest.fail(f"{line!r} was read by itself") if line else b""
        )
        assert len(digests("\n".join(lines) + "\n")) == 3


def test_a_hundred_thousand_lines_are_read_within_two_seconds_of_processor_time() -> None:
    text = b"\n".join(hashlib.sha256(b"%d" % number).hexdigest().encode() for number in range(100_000))
    start = time.process_time()
    listing, problems = parse_plain(text, "l.txt")
    assert time.process_time() - start < 2
    assert (len(listing), problems) == (100_000, ())


def row(line: int = 3, **values: Any) -> Row:
    places = {"": (line, 5)} | {key: (line + offset, 9) for offset, key in enumerate(values)}
    return Row(values, places, f"entries[{line}]")


def rich(*rows: Row, **options: Any) -> tuple[Listing, list[str]]:
    listing, problems = parse_rich(rows, "l.yaml", **options)
    return listing, [f"{p.line}:{p.column} {p.path} {p.code}" for p in problems]


def test_a_rich_entry_becomes_a_digest_with_its_expiry() -> None:
    listing, problems = rich(row(sha256=COLONS, expires=UNTIL, owner="ops", comment="Dock 4", ticket="WH-1"))
    assert problems == []
    assert listing.sections == {Kind.SHA256: {DIGEST: UNTIL}}
    assert listing.entries == (Entry(Kind.SHA256, HEX, UNTIL, 3, owner="ops", comment="Dock 4", ticket="WH-1"),)
    assert len(listing) == 1


def test_each_way_to_name_a_certificate_has_its_section() -> None:
    listing, problems = rich(
        row(spki_sha256=HEX),
        row(sha1=SHA1.hex(":")),
        row(issuer="corp", serial="-00:FF"),
        row(issuer="corp", serial="0xff"),
        is_permanent=True,
        accept_sha1_until=UNTIL,
    )
    assert problems == ["0:0  sha1"]
    assert listing.sections == {
        Kind.SPKI_SHA256: {DIGEST: NEVER},
        Kind.SHA1: {SHA1: UNTIL},
        Kind.SERIAL: {serial_key("corp", -255): NEVER, serial_key("corp", 255): NEVER},
    }
    assert [entry.name for entry in listing.entries] == [HEX, SHA1.hex(), "corp -00:FF", "corp 0xff"]


def test_a_sha1_entry_ends_with_the_opt_in_or_earlier() -> None:
    early, late = row(sha1=SHA1.hex(), expires=UNTIL - 1), row(sha1=SHA1[::-1].hex(), expires=UNTIL + 1)
    listing, _ = rich(early, late, accept_sha1_until=UNTIL)
    assert listing.sections == {Kind.SHA1: {SHA1: UNTIL - 1, SHA1[::-1]: UNTIL}}


def test_the_successor_is_accepted_beside_the_entry_and_until_the_same_time() -> None:
    listing, problems = rich(row(spki_sha256=HEX, next=DIGEST[::-1].hex(), expires=UNTIL))
    assert problems == []
    assert listing.sections == {Kind.SPKI_SHA256: {DIGEST: UNTIL}, Kind.SHA256: {DIGEST[::-1]: UNTIL}}
    assert listing.entries[0].next == DIGEST[::-1]


def test_a_successor_that_has_its_own_entry_outlives_the_old_one_without_a_warning() -> None:
    old = row(sha256=HEX, next=DIGEST[::-1].hex(), expires=UNTIL)
    new = row(7, sha256=DIGEST[::-1].hex(), expires=UNTIL + 9)
    for rows in ((old, new), (new, old)):
        listing, problems = rich(*rows)
        assert problems == []
        assert listing.sections[Kind.SHA256] == {DIGEST: UNTIL, DIGEST[::-1]: UNTIL + 9}


def test_two_entries_for_one_certificate_are_warned_of_and_count_each_for_itself() -> None:
    listing, problems = rich(row(sha256=HEX, expires=5), row(9, sha256=COLONS, expires=UNTIL))
    assert problems == ["9:9 entries[9].sha256 duplicate-entry"]
    assert listing.sections == {Kind.SHA256: {DIGEST: UNTIL}}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"owner": "x", "expires": 5}, "3:5 entries[3] missing-key"),
        ({"sha256": HEX}, "3:5 entries[3] missing-expiry"),
        ({"expires": 5, "sha256": "xyz"}, "4:9 entries[3].sha256 not-hex"),
        ({"sha256": SHA1.hex(), "expires": 5}, "3:9 entries[3].sha256 wrong-length"),
        ({"sha1": HEX, "expires": 5}, "3:9 entries[3].sha1 wrong-length"),
        ({"sha1": SHA1.hex(), "expires": 5}, "3:9 entries[3].sha1 sha1"),
        ({"sha256": HEX, "next": SHA1.hex(), "expires": 5}, "4:9 entries[3].next wrong-length"),
        ({"serial": "01", "expires": 5}, "3:9 entries[3].serial missing-key"),
        ({"serial": "1 000 kg", "issuer": "corp", "expires": 5}, "3:9 entries[3].serial not-hex"),
        ({"serial": "1" * 129, "issuer": "corp", "expires": 5}, "3:9 entries[3].serial not-hex"),
        ({"serial": "-", "issuer": "corp", "expires": 5}, "3:9 entries[3].serial not-hex"),
    ],
)
def test_a_rich_entry_that_can_not_be_read_is_an_error_at_its_place(values: dict[str, Any], problem: str) -> None:
    listing, problems = rich(row(**values))
    assert problems == [problem]
    assert len(listing) == 0


def test_all_problems_of_an_entry_are_reported() -> None:
    _, problems = rich(row(sha256="x", next="y"))
    assert problems == ["3:5 entries[3] missing-expiry", "3:9 entries[3].sha256 not-hex", "4:9 entries[3].next not-hex"]


def test_an_invisible_character_in_a_rich_entry_is_a_warning() -> None:
    listing, problems = rich(row(sha256="\u200e" + HEX, expires=5))
    assert problems == ["3:9 entries[3].sha256 invisible-character"]
    assert listing.sections == {Kind.SHA256: {DIGEST: 5}}


def test_a_rich_list_without_entries_is_a_warning() -> None:
    assert rich()[1] == ["0:0  empty-list"]


def test_what_has_expired_or_soon_will_is_warned_of() -> None:
    listing, _ = rich(
        row(3, sha256="11" * 32, expires=100, owner="ops"),
        row(4, sha256="22" * 32, expires=150),
        row(5, sha256="33" * 32, expires=151),
    )
    assert [str(problem) for problem in expiry_warnings(listing, "l.yaml", 100, ahead=50)] == [
        f"l.yaml:3:1: the entry {'11' * 32} (owner: ops) expired at 1970-01-01T00:01:40Z; renew it or take it out",
        f"l.yaml:4:1: the entry {'22' * 32} expires at 1970-01-01T00:02:30Z; renew it or take it out",
    ]


@pytest.mark.parametrize(("now", "words"), [(UNTIL, "1 SHA-1 entries ended"), (UNTIL - 1, "1 SHA-1 entries end at")])
def test_the_end_of_sha1_entries_in_a_plain_list_is_warned_of(now: int, words: str) -> None:
    listing, _ = parse_plain(SHA1.hex().encode(), "l.txt", accept_sha1_until=UNTIL)
    (warning,) = expiry_warnings(listing, "l.txt", now)
    assert words in warning.message
    assert expiry_warnings(listing, "l.txt", UNTIL - 31 * 86_400) == ()


def test_what_was_read_can_be_written_and_asked() -> None:
    listing, _ = parse_plain(HEX.encode(), "l.txt")
    assert ListIndex(write_index(listing.sections)).lookup(Kind.SHA256, DIGEST) == NEVER
