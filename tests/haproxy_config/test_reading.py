"""Configuration files as sections and lines."""

from __future__ import annotations

import pytest

from spoa.haproxy_config.reading import Configuration, number_of, read_configuration, read_lines
from tests.haproxy import CONFIGURATION


def read(text: str, version: str = "3.2", **environment: str) -> Configuration:
    return read_configuration([("a.cfg", text)], version=version, environment=environment)


def lines(configuration: Configuration) -> list[str]:
    return [str(line) for section in configuration.sections for line in section.lines]


def test_sections_have_a_kind_a_name_and_a_parent() -> None:
    found = read("global\n  daemon\ndefaults d from e\nfrontend f from d\n  bind :80\nlisten l\nbackend b from d # c\n")
    assert [(one.kind, one.name, one.parent, one.line.number) for one in found.sections] == [
        ("global", "", "", 1),
        ("defaults", "d", "e", 3),
        ("frontend", "f", "d", 4),
        ("listen", "l", "", 6),
        ("backend", "b", "d", 7),
    ]
    assert lines(found) == ["daemon", "bind :80"]
    assert [str(line) for line in found.settings("daemon")] == ["daemon"]


def test_files_follow_one_another_and_keep_their_names() -> None:
    found = read_configuration(
        [("a.cfg", "frontend f\n bind :80\n"), ("b.cfg", "\nbackend b\n server s :1\n")], version="3.2", environment={}
    )
    assert [(one.lines[0].file, one.lines[0].number) for one in found.sections] == [("a.cfg", 2), ("b.cfg", 3)]


@pytest.mark.parametrize(
    ("version", "mode"), [("2.6", "tcp"), ("3.0", "tcp"), ("3.1", "spop"), ("3.4", "spop"), ("3.1-dev5", "spop")]
)
def test_conditions_are_decided_for_one_version(version: str, mode: str) -> None:
    text = "backend b\n.if version_atleast(3.1)\n mode spop\n.else\n mode tcp\n.endif\n server s :1\n"
    assert lines(read(text, version)) == [f"mode {mode}", "server s :1"]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("defined(A)", True),
        ("defined(B)", False),
        ("!defined(B) && defined(A)", True),
        ("defined(B) || ( version_before(3.2) || defined(A) )", True),
        ("!(defined(A) || defined(B))", False),
        ('streq("$A",one)', True),
        ('strneq("$A",one)', False),
        ('strstr("$A",n)', True),
        ("feature(OPENSSL)", True),
        ("1", True),
        ("0", False),
        ("", False),
        ("0 # never", False),
    ],
)
def test_a_condition_is_an_expression(condition: str, holds: bool) -> None:
    found = read(f"global\n.if {condition}\n daemon\n.endif\n", A="one")
    assert (lines(found), found.problems) == (["daemon"] if holds else [], [])


def test_one_branch_counts_and_conditions_nest() -> None:
    text = """\
global
.if defined(A)
  one
.elif defined(B)
  two
  .if defined(C)
  inner
  .else
  other
  .endif
.elif defined(B)
  three
.else
  four
.endif
.notice "x"
"""
    assert lines(read(text, A="")) == ["one"]
    assert lines(read(text, B="")) == ["two", "other"]
    assert lines(read(text, B="", C="")) == ["two", "inner"]
    assert lines(read(text)) == ["four"]


@pytest.mark.parametrize(
    ("text", "number", "why"),
    [
        ("bind :80\n", 1, "stands in no section"),
        ("global\n.if 1\n", 3, "no .endif"),
        ("global\n.endif\n", 2, "without .if"),
        ("global\n.ifdef A\n", 2, "no directive"),
        ("global\n.if (defined(A)\n daemon\n.endif\n", 2, "can't be read"),
        ("global\n.if defined(A) defined(B)\n daemon\n.endif\n", 2, "can't be read"),
        ("global\n.if && 1\n daemon\n.endif\n", 2, "can't be read"),
        ("global\n.if $A\n daemon\n.endif\n", 2, "can't be read"),
        ("global\n a 'b\n", 2, "not closed"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(text: str, number: int, why: str) -> None:
    (problem,) = read(text).problems
    assert (problem.file, problem.number) == ("a.cfg", number)
    assert why in problem.why


def test_a_condition_that_cannot_be_read_hides_nothing() -> None:
    assert lines(read("global\n.if what\n daemon\n.endif\n")) == ["daemon"]


def test_variables_are_set_as_haproxy_sets_them() -> None:
    text = """\
global
    presetenv A preset
    presetenv B preset
    setenv C set
    setenv D set
    unsetenv D
frontend f
    words "$A $B $C $D"
    setenv A local
"""
    found = read(text, B="given", C="given")
    assert lines(found)[-2:] == ["words preset given set ", "setenv A local"]
    assert found.environment == {"A": "preset", "B": "given", "C": "set"}
    assert read("global\n resetenv A\n", A="1", B="2").environment == {"A": "1"}


def test_lines_that_end_with_a_backslash_are_joined_and_remembered() -> None:
    found = read("frontend f\n  bind :443 ssl \\\n    crt a.pem \\\n    verify none\n  # c \\\n  mode http\n  x \\")
    assert lines(found) == ["bind :443 ssl crt a.pem verify none", "mode http", "x"]
    assert [line.number for line in found.joined] == [2, 7]


def test_the_shipped_files_are_read_without_a_problem() -> None:
    for file in CONFIGURATION.rglob("*.cfg"):
        assert read(file.read_text()).problems == []


def test_a_file_without_sections_is_lines() -> None:
    problems: list[object] = []
    found = read_lines("x.conf", '[a]\n# c\n b \'\n c "$C"\n', {"C": "d"}, problems)  # type: ignore[arg-type] # they are looked at as a list
    assert [(str(line), line.number) for line in found] == [("[a]", 1), ("c d", 4)]
    assert len(problems) == 1


def test_versions_compare_as_numbers() -> None:
    assert number_of("2.10") > number_of("2.9") > number_of("2.9-dev3")[:1]
    with pytest.raises(ValueError, match="invalid literal"):
        number_of("new")
