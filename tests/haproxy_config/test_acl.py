"""Conditions as alternatives of tests."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.haproxy_config.acl import ALWAYS, PREDEFINED, Acl, Comparison, Condition, read_comparison, read_condition
from spoa.haproxy_config.reading import Line
from spoa.haproxy_config.words import split_words


def line_of(text: str) -> Line:
    return Line("a.cfg", 1, split_words(text, {}))


def comparison(text: str) -> Comparison:
    line = line_of(text)
    return read_comparison(line.words, line)


def condition(text: str, *names: str) -> Condition:
    line = line_of(text)
    return read_condition(line.words, line, {name: Acl(name, (comparison(f"path /{name}"),)) for name in names})


def shown(found: Condition) -> list[list[str]]:
    return [[str(literal) for literal in term] for term in found.terms]


@pytest.mark.parametrize(
    ("text", "fetch", "match", "patterns"),
    [
        ("path_beg /a /b", "path", "beg", ("/a", "/b")),
        ("path -m beg /a", "path", "beg", ("/a",)),
        ("path /a", "path", "str", ("/a",)),
        ("hdr(host) -i a", "hdr", "str", ("a",)),
        ("hdr_dom(host) -i a", "hdr", "dom", ("a",)),
        ("src 10.0.0.0/8", "src", "ip", ("10.0.0.0/8",)),
        ("ssl_c_verify 0", "ssl_c_verify", "int", ("0",)),
        ("ssl_fc_has_crt", "ssl_fc_has_crt", "bool", ()),
        ("method GET POST", "method", "str", ("GET", "POST")),
        ("path_len gt 10", "path", "len", ("gt", "10")),
        ("path -- -i", "path", "str", ("-i",)),
        ("path -x", "path", "str", ("-x",)),
        ('path "-i"', "path", "str", ("-i",)),
    ],
)
def test_a_sample_has_a_way_of_matching(text: str, fetch: str, match: str, patterns: tuple[str, ...]) -> None:
    found = comparison(text)
    assert (found.fetch, found.match, found.patterns) == (fetch, match, patterns)


def test_arguments_converters_flags_and_files_are_told_apart() -> None:
    found = comparison("ssl_c_s_dn(cn,1),lower,sub(a) -i -m reg -f x.lst -f y.lst -u 7 ^a")
    assert (found.fetch, found.arguments) == ("ssl_c_s_dn", ("cn", "1"))
    assert found.converters == (("lower", ()), ("sub", ("a",)))
    assert (found.match, found.files, found.ignores_case, found.patterns) == ("reg", ("x.lst", "y.lst"), True, ("^a",))
    assert str(replace(found, written="")) == "ssl_c_s_dn(cn,1),lower,sub(a) -i -m reg -f x.lst -f y.lst ^a"


@pytest.mark.parametrize("text", ["path_beg /a /b", "ssl_c_used,add(1) gt 1", "path -u 7 -m str -- -i"])
def test_a_test_is_shown_as_it_is_written_and_is_the_same_in_other_words(text: str) -> None:
    assert str(comparison(text)) == text
    assert replace(comparison(text), written="") == comparison(text)


@pytest.mark.parametrize("text", ["", "(x)", "path)", "path lower".replace(" ", ";")])
def test_what_is_no_sample_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="sample"):
        comparison(text) if text else read_comparison((), line_of("x"))


def test_terms_are_alternatives_and_literals_stand_together() -> None:
    found = condition("if a !b || { path /x } or ! c", "a", "b", "c")
    assert shown(found) == [["a", "!b"], ["{ path /x }"], ["!c"]]
    assert found.text == "if a !b || { path /x } or ! c"


def test_unless_is_the_opposite() -> None:
    assert shown(condition("unless a b || c", "a", "b", "c")) == [["!a", "!c"], ["!b", "!c"]]
    assert shown(condition("unless !a", "a")) == [["a"]]
    assert shown(condition("if !!a !{ src 10.0.0.1 }", "a")) == [["a", "!{ src 10.0.0.1 }"]]


def test_without_a_condition_it_always_holds() -> None:
    assert read_condition((), line_of("x"), {}) is ALWAYS
    assert ALWAYS.terms == ((),)


def test_an_opposite_of_too_many_terms_is_not_unfolded() -> None:
    found = condition("unless " + " || ".join(["a b"] * 12), "a", "b")
    assert (found.terms, found.is_too_large) == ((), True)


@pytest.mark.parametrize("name", PREDEFINED)
def test_acls_that_haproxy_knows_need_no_declaration(name: str) -> None:
    ((literal,),) = condition(f"if {name}").terms
    assert literal.acl.tests


def test_an_unknown_acl_has_no_tests() -> None:
    ((literal,),) = condition("if nope").terms
    assert literal.acl.tests == ()


@pytest.mark.parametrize("text", ["if", "if a ||", "if || a", "if { path /a", "if { }", "unless !"])
def test_a_broken_condition_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"says nothing|without|sample"):
        condition(text, "a")


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), min_size=1, max_size=3), min_size=1, max_size=3
    )
)
def test_unless_holds_exactly_where_if_does_not(terms: list[list[tuple[str, bool]]]) -> None:
    text = " || ".join(" ".join(("" if positive else "!") + name for name, positive in term) for term in terms)
    for values in itertools.product([False, True], repeat=4):
        world = dict(zip("abcd", values, strict=True))
        held = [
            any(all(world[one.acl.name] is one.is_positive for one in term) for term in condition(word, *"abcd").terms)
            for word in (f"if {text}", f"unless {text}")
        ]
        assert held[0] is not held[1]
