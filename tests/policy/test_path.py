"""Paths: what is canonical in both modes, and what patterns cover under both polarities."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spoa.policy import path as path_module
from spoa.policy.path import ASTERISK, CanonicalPath, PathPattern, canonical_path, plain_path


def canonical(raw: str, *, normalise: bool = False, parameters: bool = False) -> CanonicalPath:
    path = canonical_path(raw, normalise=normalise, parameters=parameters)
    assert path is not None, raw
    return path


CLEAN = [
    "/",
    "/admin",
    "/admin/",
    "/a/b/c.html",
    "/...",
    "/.hidden",
    "/a..b",
    "/a.",
    "/a%20b",
    "/caf%C3%A9",
    "/%23",
    "/%3F",
    "/%2B+",
    "/a=b&c,d:e@f!g$h'i(j)k*l",
    "/~user-x_y",
    '/"<>^`{|}',
    "/%C2%80",
]


@pytest.mark.parametrize("raw", CLEAN)
@pytest.mark.parametrize("normalise", [False, True])
def test_a_path_with_one_reading_is_judged_as_it_stands(raw: str, normalise: bool) -> None:
    assert canonical(raw, normalise=normalise).text == raw


#: Every item of the list of what is ambiguous; the last column is what `normalise` makes of it.
AMBIGUOUS: list[tuple[str, str | None]] = [
    ("", None),
    ("admin", None),
    ("*", None),
    ("http://host/x", None),
    ("/a\x00", None),
    ("/a\x1f", None),
    ("/a\n", None),
    ("/a\x7f", None),
    ("/a b", None),
    ("/caf\xe9", None),
    ("/a\\b", None),
    ("/a#b", None),
    ("/a?b", None),
    ("/a%", None),
    ("/a%2", None),
    ("/a%zz", None),
    ("/a%u0041", None),
    ("/a%00", None),
    ("/a%0a", None),
    ("/a%1F", None),
    ("/a%7f", None),
    ("/a%2Fb", None),
    ("/a%2fb", None),
    ("/a%5cb", None),
    ("/a%25b", None),
    ("/a%252fb", None),
    ("/a%3bb", None),
    ("/a;b", None),
    ("/%C0%AF", None),
    ("/%E9", None),
    ("/%ED%A0%80", None),
    ("/%F4%90%80%80", None),
    ("/caf%C3", None),
    ("/%C3/%A9", None),
    ("/%61", "/a"),
    ("/%7Euser", "/~user"),
    ("/%2E", "/"),
    ("/a/%2e%2e/b", "/b"),
    ("//", "/"),
    ("//a", "/a"),
    ("/a//b", "/a/b"),
    ("/a///b//", "/a/b/"),
    ("/.", "/"),
    ("/./", "/"),
    ("/a/.", "/a/"),
    ("/a/./b", "/a/b"),
    ("/a/..", "/"),
    ("/a/b/..", "/a/"),
    ("/a/b/../c", "/a/c"),
    ("/a/../../b", None),
    ("/..", None),
    ("/../a", None),
    ("/a//../b", None),
    ("/a/.//b", None),
    ("//.", None),
    ("/a%2f..%2fb", None),
    ("/a/%2e%2e%2fb", None),
    ("/%EF%BC%8Fadmin", None),  # FULLWIDTH SOLIDUS folds into a slash
    ("/a/%EF%BC%8E%EF%BC%8E/b", None),  # FULLWIDTH FULL STOP folds into a dot
    ("/a/.%EF%BC%8E", None),
    ("/a/%E2%80%A4", None),  # ONE DOT LEADER does as well
    ("/a%EF%BC%BCb", None),  # FULLWIDTH REVERSE SOLIDUS folds into a backslash
    ("/a%CD%BEb", None),  # GREEK QUESTION MARK folds into a semicolon
]


@pytest.mark.parametrize(("raw", "normal"), AMBIGUOUS)
def test_a_path_with_two_readings_is_refused_and_only_some_can_be_normalised(raw: str, normal: str | None) -> None:
    assert canonical_path(raw) is None
    found = canonical_path(raw, normalise=True)
    assert (found.text if found else None) == normal


@given(text=st.text("/.aB!;%~\\#? \x00\x7f\x80", max_size=12), normalise=st.booleans(), parameters=st.booleans())
@example(text="", normalise=False, parameters=False)
@example(text="a/.b/..c/B", normalise=False, parameters=False)
@example(text="a/..", normalise=True, parameters=True)
def test_what_shows_at_a_glance_is_what_a_closer_look_finds(text: str, normalise: bool, parameters: bool) -> None:
    raw = "/" + text
    plain = plain_path(raw.encode("latin-1"))
    found = path_module._read_closely(raw, normalise=normalise, parameters=parameters)
    if plain is not None:
        assert found is not None
        assert (plain.text, plain.strict, plain.generous) == (found.text, found.strict, found.generous)
    elif found is not None:
        assert re.search(r"[%;]|//|/\.\.?(/|$)", raw), "nothing else has to be looked at twice"


@pytest.mark.parametrize("raw", [b"", b"a", b"a/b", b"*", b"//", b"/\0", b"/\xff", b"/ "])
def test_what_is_no_path_has_no_reading_at_a_glance(raw: bytes) -> None:
    assert plain_path(raw) is None


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_and_every_escape_is_judged_by_the_list(byte: int) -> None:
    char = chr(byte)
    plain_refused = byte <= 0x20 or byte >= 0x7F or char in "\\#?;%"
    expected = None if plain_refused else f"/x{char}y"
    found = canonical_path(f"/x{char}y")
    assert (found.text if found else None) == expected
    escaped_refused = byte < 0x20 or byte >= 0x7F or char in "/\\%;" or char.isalnum() or char in "-._~"
    for digits in (f"{byte:02X}", f"{byte:02x}"):
        found = canonical_path(f"/x%{digits}y")
        assert (found.text if found else None) == (None if escaped_refused else f"/x%{byte:02X}y")


def test_hex_digits_compare_and_return_in_upper_case() -> None:
    assert canonical("/caf%c3%a9").text == "/caf%C3%A9"
    assert PathPattern("/caf%c3%a9").matches(canonical("/caf%C3%A9"), generous=False)


PARAMETERS: list[tuple[str, str | None]] = [
    ("/a;v=1", "/a;v=1"),
    ("/a;v=1/b;w", "/a;v=1/b;w"),
    ("/a/;x", "/a/;x"),
    ("/a;x=%2e", None),
    ("/a;x=%2f", None),
    ("/a;x=\\", None),
    ("/a;x=%E9", None),
    ("/a/..;x/b", None),
    ("/a/.;x", None),
    ("/;x/a", None),
    ("/a/;x/b", None),
]


@pytest.mark.parametrize(("raw", "expected"), PARAMETERS)
def test_parameters_are_allowed_on_request_and_their_bytes_judged_like_all_others(
    raw: str, expected: str | None
) -> None:
    assert canonical_path(raw) is None
    found = canonical_path(raw, parameters=True)
    assert (found.text if found else None) == expected


def test_a_dot_segment_with_parameters_is_refused_even_where_paths_are_normalised() -> None:
    for raw in ("/a/..;x/b", "/a/.;x/b", "/a/;x/b"):
        assert canonical_path(raw, normalise=True, parameters=True) is None


@given(st.text(alphabet=st.characters(max_codepoint=255)), st.booleans(), st.booleans())
def test_whatever_is_canonical_starts_with_a_slash_and_stays_as_it_is(
    raw: str, normalise: bool, parameters: bool
) -> None:
    path = canonical_path("/" + raw, normalise=normalise, parameters=parameters)
    if path is None:
        return
    again = canonical_path(path.text, parameters=parameters)
    assert again is not None
    assert (again.text, again.strict, again.generous) == (path.text, path.strict, path.generous)
    segments = [one.partition(";")[0] for one in path.text[1:].split("/")]
    assert "." not in segments
    assert ".." not in segments
    assert "" not in segments[:-1]


#: pattern, path, strict, generous.
MATCHES = [
    ("/", "/", True, True),
    ("/", "/a", False, False),
    ("/admin", "/admin", True, True),
    ("/admin", "/admin/", False, True),
    ("/admin/", "/admin", False, True),
    ("/admin/", "/admin/", True, True),
    ("/admin", "/ADMIN", False, True),
    ("/Admin", "/admin", False, True),
    ("/admin", "/admin/x", False, False),
    ("/admin/**", "/admin", True, True),
    ("/admin/**", "/admin/", True, True),
    ("/admin/**", "/admin/x", True, True),
    ("/admin/**", "/admin/x/y/z", True, True),
    ("/admin/**", "/administrator", False, False),
    ("/admin/**", "/Admin/x", False, True),
    ("/admin/**", "/", False, False),
    ("/**", "/", True, True),
    ("/**", "/x/y", True, True),
    ("/a/*", "/a/b", True, True),
    ("/a/*", "/a/", False, False),
    ("/a/*", "/a", False, False),
    ("/a/*", "/a/b/c", False, False),
    ("/a/*", "/a/b/", False, True),
    ("/a/*/", "/a/b/", True, True),
    ("/a/*/c", "/a/b/c", True, True),
    ("/a/*/c", "/a/c", False, False),
    ("/v*", "/v1", True, True),
    ("/v*", "/v", False, False),
    ("/*.php", "/x.php", True, True),
    ("/*.php", "/.php", False, False),
    ("/*.php", "/x.PHP", False, True),
    ("/a*b*c", "/aXbYc", True, True),
    ("/a*b*c", "/abc", False, False),
    ("/a*b*c", "/aXbc", False, False),
    (r"/a\*b", "/a*b", True, True),
    (r"/a\*b", "/axb", False, False),
    (r"/a\*b", "/a%2Ab", False, True),
    ("/caf%C3%A9", "/caf%C3%A9", True, True),
    ("/caf%C3%A9", "/CAF%C3%89", False, True),
    ("/caf%C3%A9", "/cafe%CC%81", False, True),  # the same, decomposed
    ("/cafe*", "/cafe%CC%81", True, True),  # what matches strictly matches generously, though folding composes it
    ("/admin", "/%EF%BD%81dmin", False, True),  # FULLWIDTH A
    ("/strasse", "/stra%C3%9Fe", False, True),
    ("/%20", "/%20", True, True),
    ("/a%20b", "/a%20B", False, True),
    ("/*", "/%C3%A9", True, True),
    ("/a*z", "/a%C3%A9z", True, True),
]


def holds(pattern: str, path: CanonicalPath, *, generous: bool) -> bool:
    """Ask as the policy does: whatever matches strictly also matches generously."""
    one = PathPattern(pattern)
    return one.matches(path, generous=False) or (generous and one.matches(path, generous=True))


@pytest.mark.parametrize(("pattern", "path", "strict", "generous"), MATCHES)
def test_a_pattern_covers_what_the_specification_says(pattern: str, path: str, strict: bool, generous: bool) -> None:
    assert PathPattern(pattern).matches(canonical(path), generous=False) is strict
    assert holds(pattern, canonical(path), generous=True) is generous


def test_three_dots_that_one_character_folds_into_are_a_name() -> None:
    assert canonical("/a/%E2%80%A6").generous == ("a", "...")


WITH_PARAMETERS = [
    ("/a", "/a;x", False, True),
    ("/a;x", "/a;x", True, True),
    ("/a;x", "/a", False, True),
    ("/a;x", "/a;X", False, True),
    ("/a/**", "/a;x/b", False, True),
    ("/a/*", "/a/b;x", True, True),
    ("/a/*", "/a/;x", True, True),
    ("/a*;x", "/a;y;x", True, True),
    ("/a;*", "/a;y", True, True),
    ("/;x", "/;x", True, True),
    ("/;x", "/", False, True),
]


@pytest.mark.parametrize(("pattern", "path", "strict", "generous"), WITH_PARAMETERS)
def test_parameters_count_strictly_and_are_ignored_generously(
    pattern: str, path: str, strict: bool, generous: bool
) -> None:
    found = canonical(path, parameters=True)
    assert PathPattern(pattern).matches(found, generous=False) is strict
    assert holds(pattern, found, generous=True) is generous


def test_the_asterisk_of_options_is_no_path_below_the_root() -> None:
    assert PathPattern(r"\*").matches(ASTERISK, generous=False)
    assert PathPattern(r"\*").matches(ASTERISK, generous=True)
    for pattern in ("/**", "/*", r"/\*"):
        assert not PathPattern(pattern).matches(ASTERISK, generous=True)
    assert not PathPattern(r"\*").matches(canonical("/*"), generous=True)
    assert ASTERISK.folded == "*"
    assert canonical("/A/b/").folded == "/a/b"


WRONG_PATTERNS = [
    ("", "starts with `/`"),
    ("admin", "starts with `/`"),
    ("*", "starts with `/`"),
    ("/**/a", "`\\*\\*` may only be the last segment"),
    ("/a/**b", "`\\*\\*` may only be"),
    ("/a**", "`\\*\\*` may only be"),
    ("/**/", "`\\*\\*` may only be"),
    ("/a//b", "`//` never matches"),
    ("//**", "`//` never matches"),
    ("/;x/a", "`//` never matches"),
    ("/a/./b", "dot segment"),
    ("/a/..", "dot segment"),
    ("/..;x", "dot segment"),
    ("/caf\xe9", "percent-encoded"),
    ("/a?", "has no meaning"),
    ("/[ab]", "has no meaning"),
    ("/{a,b}", "has no meaning"),
    ("/a b", "can't stand in a path"),
    ("/a#b", "can't stand in a path"),
    (r"/a\\b", "can't stand in a path"),
    (r"/a\b", "backslash"),
    ("/a\\", "backslash"),
    ("/%2f", "an escape here never matches"),
    ("/%2F", "an escape here never matches"),
    ("/%zz", "an escape here never matches"),
    ("/%", "an escape here never matches"),
    ("/%41", "an escape here never matches"),
    ("/%E9", "an escape here never matches"),
    ("/%C3*%A9", "an escape here never matches"),
    ("/%00", "an escape here never matches"),
    ("/a%3Bb", "an escape here never matches"),
]


@pytest.mark.parametrize(("pattern", "says"), WRONG_PATTERNS)
def test_a_pattern_that_could_never_match_is_refused(pattern: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PathPattern(pattern)


PIECES = st.sampled_from(["a", "B", "*", "%C3%A9", r"\*", ";x", "."])
PATTERNS = st.lists(st.lists(PIECES, max_size=4).map("".join), max_size=3).map(lambda parts: "/" + "/".join(parts))


@given(PATTERNS, st.booleans(), st.lists(st.sampled_from(["a", "B", "b", "%C3%A9", "*", "/", ";x", "%CC%81"])))
def test_what_matches_strictly_also_matches_generously(pattern: str, below: bool, raw: list[str]) -> None:
    try:
        found = PathPattern(pattern + "/**" if below else pattern)
    except ValueError:
        return
    path = canonical_path("/" + "".join(raw), parameters=True)
    if path is not None and found.matches(path, generous=False):
        assert holds(found.source, path, generous=True)


def test_a_pattern_shows_what_was_written() -> None:
    assert str(PathPattern("/a/**")) == "/a/**"
