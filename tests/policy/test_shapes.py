from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.policy.document import Mapping, Node, Scalar, Sequence, read_document
from spoa.policy.reading import INVALID, Reading, Report, Shape
from spoa.policy.scalars import Boolean, Choice, Duration, Integer, Parsed, Text
from spoa.policy.shapes import UNSET, AnyOf, ByValue, Field, ListOf, MapOf, Named, OneOrMany, Record, document_schema

PATTERN = AnyOf(
    scalar=Text(),
    sequence=ListOf(Text()),
    keyed={
        "re": Record({"re": Field(Text(max=256), required=True)}),
        "all_of": Record({"all_of": Field(ListOf(Text()), required=True)}),
    },
)
REQUEST = Record(
    {"path": Field(OneOrMany(Text(pattern="/.*"))), "method": Field(OneOrMany(Text()))}, ("path", "method")
)
IDENTITY = Record(
    {"issuer": Field(Text(), required=True, doc="The issuer."), "ou": Field(PATTERN), "min_key_bits": Field(Integer())},
    noun="an identity",
)
COMMON = {
    "id": Field(Text(), required=True, doc="Unique."),
    "effect": Field(Choice(["allow", "deny"]), required=True),
    "request": Field(REQUEST),
    "is_shadow": Field(Boolean(), default=False),
}
RULE = ByValue(
    "effect",
    {
        "allow": Record({**COMMON, "who": Field(OneOrMany(Text()), required=True)}, noun="an allow rule"),
        "deny": Record({**COMMON, "status": Field(Choice({"403": 403, "404": 404}), default=403)}, noun="a deny rule"),
    },
)
POLICY = Record(
    {
        "timeout": Field(Duration(), default=1),
        "identities": Field(MapOf(Text(pattern="[a-z-]+", hint="a name"), Named("identity", IDENTITY)), default=UNSET),
        "spare": Field(Named("identity", IDENTITY)),
        "rules": Field(ListOf(RULE), required=True),
    }
)
GOOD = """\
timeout: 0
identities:
  staff: {issuer: corp, ou: {all_of: [a, on]}, min_key_bits: 3072}
  admins: {issuer: corp, ou: [x, 12]}
spare: {issuer: 1.0, ou: {re: "a+"}}
rules:
  - {id: one, effect: allow, who: [staff, admins], request: {path: /a}}
  - {id: two, effect: deny, status: 404, is_shadow: true, request: {method: [GET]}}
"""


def node_of(text: str) -> Node:
    node, problems = read_document(text.encode(), "p.yaml")
    assert node is not None
    assert problems == ()
    return node


def read(shape: Shape, text: str) -> Any:
    report = Report()
    value = shape.read(node_of(text), report, "")
    assert report.problems == ()
    return value


def problems_of(shape: Shape, text: str) -> list[str]:
    report = Report()
    shape.read(node_of(text), report, "")
    return [f"{p.line}:{p.column} {p.path} {p.code}: {p.message}" for p in report.problems]


def bare(value: object) -> object:
    """What was read, without places."""
    if isinstance(value, Reading):
        return {key: bare(inner) for key, inner in value.value.items()}
    return [bare(item) for item in value] if isinstance(value, tuple) else value


def as_editor(node: Node) -> object:
    """What an editor makes of the document, by YAML 1.2's core schema."""
    if isinstance(node, Mapping):
        return {key.text: as_editor(value) for key, value in node.pairs}
    if isinstance(node, Sequence):
        return [as_editor(item) for item in node.items]
    words = {"true": True, "false": False, "null": None, "~": None, "": None}
    if node.is_quoted:
        return node.text
    if node.text in words:
        return words[node.text]
    return json.loads(node.text) if re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", node.text) else node.text


def test_a_document_becomes_values_and_defaults() -> None:
    policy = read(POLICY, GOOD)
    assert policy.is_complete
    assert bare(policy) == {
        "timeout": 0,
        "identities": {
            "staff": {"issuer": "corp", "ou": {"all_of": ["a", "on"]}, "min_key_bits": 3072},
            "admins": {"issuer": "corp", "ou": ["x", "12"]},
        },
        "spare": {"issuer": "1.0", "ou": {"re": "a+"}},
        "rules": [
            {
                "id": "one",
                "effect": "allow",
                "who": ["staff", "admins"],
                "request": {"path": ["/a"]},
                "is_shadow": False,
            },
            {"id": "two", "effect": "deny", "status": 404, "is_shadow": True, "request": {"method": ["GET"]}},
        ],
    }


def test_a_reading_remembers_where_keys_and_values_stand() -> None:
    policy = read(POLICY, GOOD)
    staff = policy.value["identities"].value["staff"]
    assert (staff.at("ou").line, staff.at("ou").column) == (3, 29)
    assert (staff.keys["ou"].column, staff.path_of("ou")) == (25, "identities.staff.ou")
    assert policy.value["identities"].keys["admins"].line == 4
    assert policy.value["rules"][1].path == "rules[1]"


DENY_KEYS = '; known here: "id", "effect", "request", "is_shadow", "status"'


def test_all_problems_are_reported_at_once_each_at_its_place() -> None:
    text = """\
timeot: 5m
identities:
  staff: {isuer: corp, ou: {re: ""}}
  Bad: {issuer: corp}
rules:
  - {id: one, efect: allow}
  - {id: two, effect: alow, who: x}
  - {id: three, effect: deny, who: x, request: {path: [a, /b]}}
  - {effect: allow, id: four, request: {}}
  - {id: five}
  - five
  - {id: six, effect: }
"""
    assert problems_of(POLICY, text) == [
        '1:1 timeot unknown-key: unknown key "timeot"; did you mean "timeout"?',
        '3:10 identities.staff missing-key: missing key "issuer" in an identity',
        '3:11 identities.staff.isuer unknown-key: unknown key "isuer" in an identity; did you mean "issuer"?',
        "3:33 identities.staff.ou.re invalid-value: expected a text, found an empty text",
        '4:3 identities.Bad invalid-value: expected a name, found "Bad"',
        '6:15 rules[0].efect unknown-key: unknown key "efect"; did you mean "effect"?',
        '7:23 rules[1].effect invalid-value: expected "allow" or "deny", found "alow"; did you mean "allow"?',
        '8:31 rules[2].who unknown-key: unknown key "who" in a deny rule' + DENY_KEYS,
        '8:56 rules[2].request.path[0] invalid-value: expected a text that matches /.*, found "a"',
        '9:5 rules[3] missing-key: missing key "who" in an allow rule',
        '9:40 rules[3].request missing-key: nothing is said; give at least one of the keys "path" or "method"',
        '10:5 rules[4] missing-key: missing key "effect": "allow" or "deny"',
        '11:5 rules[5] wrong-type: expected a mapping with the key "effect", found a text',
        '12:23 rules[6].effect invalid-value: expected "allow" or "deny", found no value',
    ]


def test_what_is_wrong_is_left_out_and_the_reading_incomplete() -> None:
    report = Report()
    policy = POLICY.read(node_of("timeout: soon\nrules:\n  - x\n  - {id: a, effect: deny}\n"), report, "")
    assert isinstance(policy, Reading)
    assert not policy.is_complete
    assert "timeout" not in policy.value
    assert "timeout" in policy.marks
    (rule,) = policy.value["rules"]
    assert rule.is_complete


@pytest.mark.parametrize(
    ("shape", "text", "problem"),
    [
        (ListOf(Text()), "a: 1", "wrong-type: expected a list, found a mapping"),
        (ListOf(Text()), "[]", "too-few: the list is empty; at least 1 must be given"),
        (ListOf(Text(), min=2), "[a]", "too-few: the list has only 1; at least 2 must be given"),
        (ListOf(Text(), max=1), "[a, b]", "too-many: the list has 2 items; at most 1 are allowed"),
        (OneOrMany(Text()), "a: 1", "wrong-type: expected a text, found a mapping"),
        (OneOrMany(Text()), "[]", "too-few: the list is empty; at least 1 must be given"),
        (MapOf(Text(), Text()), "[a]", "wrong-type: expected a mapping, found a list"),
        (MapOf(Text(), Text()), "{}", "too-few: the mapping is empty; at least 1 must be given"),
        (MapOf(Text(), Text(), min=2), "{a: b}", "too-few: the mapping has only 1; at least 2 must be given"),
        (REQUEST, "[a]", 'wrong-type: expected a mapping with keys such as "path" and "method", found a list'),
        (
            IDENTITY,
            "a",
            'wrong-type: expected a mapping with keys such as "issuer", "ou" and "min_key_bits", found a text',
        ),
        (Named("x", ListOf(Text())), "a", "wrong-type: expected a list, found a text"),
        (PATTERN, "{ree: x}", 'unknown-key: unknown key "ree"; did you mean "re"?'),
        (PATTERN, "{}", 'wrong-type: expected a text or a list or a mapping with "re" or "all_of", found a mapping'),
        (AnyOf(scalar=OneOrMany(Text())), "{a: b}", "wrong-type: expected a text, or a list of such, found a mapping"),
        (AnyOf(sequence=Named("x", ListOf(Text()))), "a", "wrong-type: expected a list, found a text"),
        (AnyOf(sequence=ListOf(Text())), "a", "wrong-type: expected a list, found a text"),
        (AnyOf(scalar=Text()), "{a: b}", "wrong-type: expected a text, found a mapping"),
    ],
)
def test_a_wrong_kind_or_number_is_a_problem_that_says_what_is_right(shape: Shape, text: str, problem: str) -> None:
    (found,) = problems_of(shape, text)
    assert found.split(" ", 2)[2] == problem


def test_a_value_left_out_behind_its_key_is_told_apart_from_an_empty_text() -> None:
    assert problems_of(PATTERN_HOLDER, "{ou: }") == [
        '1:6 ou wrong-type: expected a text or a list or a mapping with "re" or "all_of", found no value'
    ]


PATTERN_HOLDER = Record({"ou": Field(PATTERN)})


def test_a_mapping_without_a_telling_key_goes_to_the_default_shape() -> None:
    shape = AnyOf(mapping=MapOf(Text(), Text()), keyed={"re": Record({"re": Field(Text())})})
    assert bare(read(shape, "{CN: x}")) == {"CN": "x"}
    assert bare(read(shape, "{re: x}")) == {"re": "x"}


def test_keys_that_mean_the_same_are_a_problem() -> None:
    shape = MapOf(Parsed(str.lower), Text())
    assert problems_of(shape, "X-A: 1\nx-a: 2\n") == ['2:1 x-a duplicate-key: "x-a" is the same as "X-A" on line 1']
    assert bare(read(shape, "X-A: 1\n")) == {"x-a": "1"}


def test_of_exclusive_keys_one_must_be_there_and_only_one() -> None:
    shape = Record({"a": Field(Text()), "b": Field(Text()), "c": Field(Text())}, exactly_one=("a", "b"))
    assert problems_of(shape, "c: 1\n") == ['1:1  missing-key: nothing is said; give one of the keys "a" or "b"']
    assert problems_of(shape, "b: 1\na: 2\n") == [
        '2:1 a conflicting-keys: "a" can\'t stand beside "b"; keep one of them'
    ]
    assert bare(read(shape, "b: 1\nc: 2\n")) == {"b": "1", "c": "2"}
    schema = document_schema(shape, "t")
    assert jsonschema.Draft202012Validator(schema).is_valid({"a": "1"})
    assert not jsonschema.Draft202012Validator(schema).is_valid({"a": "1", "b": "1"})


def test_an_unknown_key_that_comes_first_does_not_hide_the_missing_one() -> None:
    assert problems_of(RULE, "{zzz: 1, id: x}") == ['1:1  missing-key: missing key "effect": "allow" or "deny"']


def test_unset_says_so() -> None:
    assert repr(UNSET) == "UNSET"


def test_the_schema_is_valid_admits_the_good_document_and_is_plain_json() -> None:
    schema = document_schema(POLICY, "Policy")
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(as_editor(node_of(GOOD)))) == []


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "rules: []",
        "rules: [{id: a, effect: alow}]",
        "rules: [{id: a, effect: deny, who: x}]",
        "rules: [{id: a, effect: allow}]",
        "rules: [{id: a, effect: deny, request: {}}]",
        "rules: [{id: a, effect: deny, status: 500}]",
        "{rules: [{id: a, effect: deny}], identities: {A: {issuer: x}}}",
        "{rules: [{id: a, effect: deny}], spare: {issuer: x, ou: {ree: x}}}",
        "{rules: [{id: a, effect: deny}], sprae: {issuer: x}}",
    ],
)
def test_what_reading_refuses_an_editor_marks(text: str) -> None:
    schema = document_schema(POLICY, "Policy")
    assert problems_of(POLICY, text)
    assert not jsonschema.Draft202012Validator(schema).is_valid(as_editor(node_of(text)))


def test_the_schema_carries_docs_and_describes_a_named_shape_once() -> None:
    schema = document_schema(POLICY, "Policy")
    assert schema["$defs"]["identity"]["properties"]["issuer"]["description"] == "The issuer."
    assert schema["properties"]["spare"]["$ref"] == "#/$defs/identity"
    assert schema["properties"]["identities"]["additionalProperties"] == {"$ref": "#/$defs/identity"}
    assert "$defs" not in document_schema(REQUEST, "Request")


def scalars() -> st.SearchStrategy[Node]:
    words = st.sampled_from(["", "allow", "deny", "x", "/a", "403", "true", "5m", "rules", "effect"])
    return st.builds(Scalar, st.just("f"), st.integers(1, 9), st.integers(1, 9), words, st.booleans())


def containers(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    keys = st.sampled_from(
        ["rules", "identities", "spare", "id", "effect", "who", "request", "path", "ou", "re", "zz", ""]
    )
    key_nodes = st.builds(Scalar, st.just("f"), st.integers(1, 9), st.integers(1, 9), keys)
    pairs = st.lists(st.tuples(key_nodes, inner), max_size=5, unique_by=lambda pair: pair[0].text).map(tuple)
    return st.one_of(
        st.builds(Sequence, st.just("f"), st.integers(1, 9), st.integers(1, 9), st.lists(inner, max_size=3).map(tuple)),
        st.builds(Mapping, st.just("f"), st.integers(1, 9), st.integers(1, 9), pairs),
    )


@given(st.recursive(scalars(), containers, max_leaves=25))
def test_no_node_makes_reading_raise_and_what_is_invalid_is_reported(node: Node) -> None:
    report = Report()
    value = POLICY.read(node, report, "")
    assert (value is not INVALID and value.is_complete) == (report.errors == 0)
