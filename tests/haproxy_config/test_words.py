"""A line as words: what HAProxy itself makes of quotes, escapes, comments and variables."""

from __future__ import annotations

import pytest

from spoa.haproxy_config.words import split_words


def texts(line: str, **environment: str) -> list[str]:
    return [word.text for word in split_words(line, environment)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("   # nothing", []),
        ("acl a path_beg /x", ["acl", "a", "path_beg", "/x"]),
        ("\tbind\t:80 \r", ["bind", ":80"]),
        (r"path /x\ y", ["path", "/x y"]),
        (r"path /x\#y # c", ["path", "/x#y"]),
        ("path /x#y", ["path", "/x"]),
        ('deny if { path -m str "/q#r" }# c', ["deny", "if", "{", "path", "-m", "str", "/q#r", "}"]),
        (r'string "a\$b\"c\\" x', ["string", 'a$b"c\\', "x"]),
        (r"reg '^a\.b$ \'", ["reg", r"^a\.b$ " + "\\"]),
        (r"reg ^/a\.(b|c)$", ["reg", r"^/a\.(b|c)$"]),
        (r"tab a\tb\x41", ["tab", "a\tbA"]),
        (r'quoted "a\tb\x41"', ["quoted", r"a\tb\x41"]),
        ("""X-B a"b c"d'e $HOME'""", ["X-B", "ab cde $HOME"]),
        ('empty ""', ["empty", ""]),
        ("end \\", ["end", "\\"]),
    ],
)
def test_a_line_is_split_as_haproxy_splits_it(line: str, words: list[str]) -> None:
    assert texts(line) == words


def test_variables_stand_in_double_quotes_only() -> None:
    line = """a $A '${A}' "$A ${A}-${B-other}" "${C}" "$" "${D[*]}" """
    assert texts(line, A="1", D="4") == ["a", "$A", "${A}", "1 1-other", "", "$", "4"]


def test_a_word_knows_its_column_and_whether_it_was_quoted() -> None:
    words = split_words('  deny "if" if', {})
    assert [(word.column, word.is_quoted) for word in words] == [(3, False), (8, True), (13, False)]
    assert str(words[1]) == "if"


@pytest.mark.parametrize("line", ["a 'b", 'a "b', "a \"b'"])
def test_a_quote_must_be_closed(line: str) -> None:
    with pytest.raises(ValueError, match="not closed"):
        split_words(line, {})
