from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spoa.policy import document
from spoa.policy.document import Mapping, Node, Scalar, Sequence, items_of, read_document

if TYPE_CHECKING:
    from spoa.exceptions import Problem


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything holds with libyaml and without it."""
    monkeypatch.setattr(document, "_LOADER", getattr(yaml, request.param))
    return str(request.param)


def plain(node: Node | None) -> object:
    """The document without places, to compare with."""
    if isinstance(node, Mapping):
        return {key.text: plain(value) for key, value in node.pairs}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return node.text if node else None


def read(text: str | bytes) -> Node | None:
    node, problems = read_document(text.encode() if isinstance(text, str) else text, "p.yaml")
    assert problems == ()
    return node


def problems_of(text: str | bytes) -> tuple[Problem, ...]:
    return read_document(text.encode() if isinstance(text, str) else text, "p.yaml")[1]


def only_problem(text: str | bytes) -> Problem:
    (problem,) = problems_of(text)
    return problem


@pytest.mark.parametrize("text", ["on", "no", "22:00", "1.0", "0x10", "~", "null", "2027-01-15", "1_000", ".inf", "="])
def test_what_looks_like_a_type_stays_a_text(text: str) -> None:
    node = read(f"key: {text}\n")
    assert plain(node) == {"key": text}


def test_nodes_know_file_line_and_column_from_one() -> None:
    node = read("# é\nrules:\n  - id: é\n    who: [a, b]\n")
    assert isinstance(node, Mapping)
    key, rules = node.pairs[0]
    assert (key.file, key.line, key.column) == ("p.yaml", 2, 1)
    assert isinstance(rules, Sequence)
    assert (rules.line, rules.column) == (3, 3)
    rule = rules.items[0]
    assert isinstance(rule, Mapping)
    assert (rule.line, rule.column) == (3, 5)
    who = rule.get("who")
    assert isinstance(who, Sequence)
    assert [(item.line, item.column) for item in who.items] == [(4, 11), (4, 14)]


def test_columns_count_characters_not_bytes() -> None:
    node = read("{é: ü, x: y}\n")
    assert isinstance(node, Mapping)
    assert node.pairs[1][0].column == 8


def test_only_what_is_not_written_at_all_is_null() -> None:
    node = read("a:\nb: ''\nc: ~\nd: |\n  x\n")
    assert isinstance(node, Mapping)
    kinds = {key.text: value.kind for key, value in node.pairs}
    assert kinds == {"a": "no value", "b": "a text", "c": "a text", "d": "a text"}
    assert [isinstance(value, Scalar) and value.is_quoted for _, value in node.pairs] == [False, True, False, True]


def test_a_mapping_gives_values_by_key() -> None:
    node = read("a: 1\nb: [x]\n")
    assert isinstance(node, Mapping)
    assert plain(node.get("a")) == "1"
    assert node.get("c") is None
    assert node.kind == "a mapping"
    assert [plain(item) for item in items_of(node.pairs[1][1])] == ["x"]
    assert items_of(node.pairs[0][1]) == (node.pairs[0][1],)
    assert node.pairs[1][1].kind == "a list"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "---\n...\n"])
def test_a_file_without_a_value_is_none_and_no_problem(text: str) -> None:
    assert read(text) is None


def test_aliases_repeat_a_value() -> None:
    assert plain(read("a: &x {k: [1]}\nb: *x\nc: [*x, &y z, *y]\n")) == {
        "a": {"k": ["1"]},
        "b": {"k": ["1"]},
        "c": [{"k": ["1"]}, "z", "z"],
    }


@pytest.mark.parametrize(
    ("text", "code", "place", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "duplicate-key", (3, 1), 'duplicate key "a"; it stands on line 1'),
        ("a: !!python/object:os.system {}\n", "tag", (1, 4), "!!python/object:os.system"),
        ("a: !!binary aGk=\n", "tag", (1, 4), "!!binary"),
        ("a: !<%1b[31m> b\n", "tag", (1, 4), "such as \\u001b[31m are"),
        ("a: !custom x\n", "tag", (1, 4), "!custom"),
        ("a:\n  !custom b: 1\n", "tag", (2, 3), "!custom"),
        ("? [a]\n: 1\n", "key-type", (1, 3), "found a list"),
        ("?\n: 1\n", "key-type", (1, 2), "a key is missing"),
        ("a: &x {c: 1}\nb:\n  <<: *x\n", "merge-key", (3, 3), "write the keys out"),
        ("a: &1 x\nb: &1 y\n", "duplicate-anchor", (2, 4), "its own name"),
        ("--- a\n--- b\n", "several-documents", (2, 1), "a file of its own"),
        ("cn: *-readonly\n", "unknown-alias", (1, 5), "quotation marks"),
        ("a: &x [*x]\n", "recursive-alias", (1, 8), "inside the very value"),
        ("[" * 33 + "]" * 33, "too-deep", (1, 33), "at most 32"),
        ("[" * 900, "too-deep", (1, 33), "at most 32"),
        ("a: &x " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*x" + "]" * 20, "too-deep", (2, 24), "*x makes"),
        ("a: 'x\n", "syntax", (2, 1), "not closed"),
        ("a:\n\tb: 1\n", "syntax", (2, 1), "not tabs"),
        ("a: b: c\n", "syntax", (1, 5), "a colon"),
        ("a: [1, 2\nb: 3\n", "syntax", (2, 2), "a bracket is not closed"),
        ("a: {b: 1\nc: 2\n", "syntax", (2, 2), "a brace is not closed"),
        ("a: 1\n b\n c: 2\n", "syntax", (3, 3), "indentation"),
        ("- a\nb: 1\n", "syntax", (2, 1), "one column"),
        ("a: @x\n", "syntax", (1, 4), "quotation marks"),
        ("a: !<x y\n", "syntax", (1, 7), "begins with !"),
        ("cn: *\n", "syntax", (1, 6), "begins with *"),
        ("cn: &\n", "syntax", (1, 6), "begins with &"),
        ("a: ]\n", "syntax", (1, 4), "not YAML"),
        ("a: \x00\n", "strange-character", (1, 4), "U+0000"),
        ("a: 1\nb: \x1b[31m\n", "strange-character", (2, 4), "U+001B"),
        ("a: \u202e\n", "strange-character", (1, 4), "reorders"),
        ("a: 1 # x\u2028b: 2\n", "strange-character", (1, 9), "line break"),
        ("a: 1 # x\rb: 2\n", "strange-character", (1, 9), "line break"),
        ("a: 1 # x\x85b: 2\n", "strange-character", (1, 9), "line break"),
        ("a: \ufeff\n", "strange-character", (1, 4), "U+FEFF"),
        (b"a: 1\nb: \xc3\xa9\xff\n", "not-utf8", (2, 5), "0xff"),
        (b"\xef\xbb\xbfa: 1\n", "byte-order-mark", (1, 1), "without one"),
        (b"\xff\xfea\x00", "not-utf8", (1, 1), "UTF-16"),
        (b"\xfe\xff\x00a", "not-utf8", (1, 1), "UTF-16"),
        (b"\x00\x00\xfe\xff", "not-utf8", (1, 1), "UTF-32"),
    ],
)
def test_a_problem_has_its_place_and_says_what_to_do(
    text: str | bytes, code: str, place: tuple[int, int], words: str
) -> None:
    problem = only_problem(text)
    assert (problem.code, (problem.line, problem.column)) == (code, place)
    assert words in problem.message


@pytest.mark.parametrize("text", ['a: "\\d"\n', 'a: "\\xzz"\n'])
def test_backslashes_in_double_quotes_are_explained(text: str) -> None:
    assert "single quotes" in only_problem(text).message


def test_all_problems_are_found_at_once_with_their_paths() -> None:
    found = problems_of("rules:\n  - {id: a, id: b}\n  - request: {path: !x /, path: /}\n    <<: {}\nmeta: &1 [&1 x]\n")
    assert [(problem.path, problem.code) for problem in found] == [
        ("rules[0]", "duplicate-key"),
        ("rules[1].request.path", "tag"),
        ("rules[1].request", "duplicate-key"),
        ("rules[1]", "merge-key"),
        ("meta[0]", "duplicate-anchor"),
    ]


def test_what_can_be_read_is_read_in_spite_of_problems() -> None:
    node, problems = read_document(b"a: 1\na: 2\nb: !x 3\n", "p.yaml")
    assert plain(node) == {"a": "1", "b": "3"}
    assert len(problems) == 2


def test_a_quoted_merge_key_is_a_key_like_any_other() -> None:
    assert plain(read("'<<': 1\n")) == {"<<": "1"}


def test_strange_characters_are_reported_up_to_ten() -> None:
    assert len(problems_of("\x01" * 50)) == 10


def test_crlf_and_a_utf8_text_are_fine() -> None:
    assert plain(read("a: 1\r\nb: 'ü 日本 \U0001f600'\r\n")) == {"a": "1", "b": "ü 日本 \U0001f600"}


def test_a_file_may_have_its_greatest_size_and_no_byte_more() -> None:
    assert read_document(b"a: 12", "p.yaml", max_size=5)[1] == ()
    (problem,) = read_document(b"a: 123", "p.yaml", max_size=5)[1]
    assert (problem.code, problem.line) == ("too-large", 0)


def test_thirty_two_levels_are_allowed() -> None:
    assert problems_of("[" * 32 + "]" * 32) == ()
    assert problems_of("a: &x " + "[" * 15 + "]" * 15 + "\nb: " + "[" * 16 + "*x" + "]" * 16) == ()


def test_aliases_may_add_ten_thousand_values_and_no_more() -> None:
    ninety_nine = "a: &x [" + "x," * 99 + "]\n"
    assert problems_of(ninety_nine + "b: [" + "*x," * 100 + "]\n") == ()
    assert only_problem(ninety_nine + "b: [" + "*x," * 100 + "*x]\n").code == "alias-expansion"


def test_a_billion_laughs_are_refused_at_once() -> None:
    lines = ["a0: &a0 [" + "lol," * 10 + "]"]
    lines += [f"a{n}: &a{n} [" + f"*a{n - 1}," * 10 + "]" for n in range(1, 10)]
    assert only_problem("\n".join(lines)).code == "alias-expansion"


def test_an_error_without_a_place_is_one_of_the_file() -> None:
    problem = document._syntax_problem(yaml.YAMLError("odd"), "p.yaml")
    assert (problem.line, problem.column, problem.message) == (0, 0, "not YAML: odd")


@given(st.one_of(st.binary(max_size=200), st.text(alphabet="ab:-[]{}&*!|>'\"#%?, \n\t<~", max_size=60).map(str.encode)))
def test_no_bytes_make_it_raise(text: bytes) -> None:
    node, problems = read_document(text, "p.yaml")
    assert node is None or problems == () or all(problem.file == "p.yaml" for problem in problems)


@given(
    st.recursive(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text("abc", min_size=1), inner)),
        max_leaves=20,
    )
)
def test_what_is_dumped_is_read_again(value: object) -> None:
    text = yaml.safe_dump(value, default_style='"', allow_unicode=True).replace("!!map ", "")
    assert plain(read(text)) == value


@pytest.mark.usefixtures("loader")
def test_whoever_notices_first_a_hundred_thousand_brackets_are_too_deep() -> None:
    _, (problem,) = read_document(b"[" * 100_000, "a.yaml")
    assert (problem.code, "at most 32" in problem.message) == ("too-deep", True)
