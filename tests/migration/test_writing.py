"""YAML as people edit it."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from spoa.migration import writing
from spoa.migration.atoms import ANONYMOUS, ANY
from spoa.migration.patterns import Every, Expression
from spoa.migration.rules import DraftRoute, DraftRule
from spoa.migration.writing import Identities, flow, policy_text


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner), max_leaves=8)
)
def test_what_is_written_is_what_yaml_reads(value: object) -> None:
    assert yaml.load(flow(value), yaml.BaseLoader) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("GET", "GET"),
        ("/admin/**", '"/admin/**"'),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("fd00::/8", '"fd00::/8"'),
        (403, "403"),
        (Expression("a.*"), '{re: "a.*"}'),
        (Every(("a", Expression("b"))), "{all_of: [a, {re: b}]}"),
        ({"path": ["/x", "/y"]}, "{path: [/x, /y]}"),
    ],
)
def test_values_stand_on_one_line(value: object, text: str) -> None:
    assert flow(value) == text


def identities(*issuers: str, **names: object) -> Identities:
    return Identities(issuers or ("corp",), {value: name for name, value in names.items()})  # type: ignore[misc] # holders


A, B = (("cn", "a"),), (("cn", "b"),)


def test_holders_have_the_name_of_their_acl_or_one_that_describes_them() -> None:
    found = identities(clerks=(A, B))
    assert found.who((A, B)) == "clerks"
    assert found.who((A, B)) == "clerks"
    assert found.who((A,)) == "cn-a"
    assert found.who(((("subject.C", "FR"), ("ou", Every(("x",)))),)) == "subject-c-fr-ou-all-of-x-only"
    assert found.named == {
        "clerks": {"issuer": "corp", "cn": ["a", "b"]},
        "cn-a": {"issuer": "corp", "cn": "a"},
        "subject-c-fr-ou-all-of-x-only": {"issuer": "corp", "subject": {"C": "FR"}, "ou": Every(("x",))},
    }


def test_words_need_no_name() -> None:
    found = identities()
    assert found.who((ANY,)) == "any_certificate"
    assert found.who((ANONYMOUS, A)) == ["anonymous", "cn-a"]
    assert found.lists == set()


def test_names_are_made_of_names_and_never_twice() -> None:
    found = identities("corp", "partners", one=(A,), two=(B,))
    assert found.who((A, B)) == "one-or-two"
    again = identities(same=(A,))
    again.named["same"] = {}
    again.named["same-2"] = {}
    assert again.who((A,)) == "same-3"
    assert found.named["one-or-two"] == {"issuer": ["corp", "partners"], "cn": ["a", "b"]}
    assert len(identities().who((((("cn", "x" * 90)),),))) <= 64


def test_several_of_which_every_value_counts_are_one() -> None:
    found = identities()
    found.who(((("ou", Every(("a",))),), (("ou", Every(("b",))),)))
    found.who(((("ou", Every(("a",))),), (("ou", "b"),)))
    found.who(((("issuer", ("x",)),), (("issuer", ("y",)),)))
    one, mixed, issuers = found.named.values()
    assert one == {"issuer": "corp", "ou": Every(("a", "b"))}
    assert mixed == [{"issuer": "corp", "ou": Every(("a",))}, {"issuer": "corp", "ou": "b"}]
    assert issuers == [{"issuer": "x"}, {"issuer": "y"}]


def test_the_lists_that_are_named_are_known() -> None:
    found = identities()
    found.who(((("in_list", "one"),), (("in_list", "two"),)))
    found.who(((("in_list", "three"),),))
    assert found.lists == {"one", "two", "three"}


def test_a_policy_has_its_sections_and_says_where_each_rule_comes_from() -> None:
    rules = [
        DraftRule("r", "require", {"path": ("/x",), "header:a": ("b",)}, {"who": (A,)}, origin=["edge.cfg:7\ndeny"]),
        DraftRule("d", "deny", {"who": (ANY,)}, {"path": ("/y",), "source": ("10.0.0.1",)}, 404),
        DraftRule("a", "allow"),
    ]
    routes = [DraftRoute({"who": (A,)}, "b", "edge.cfg:9 use_backend b")]
    text = policy_text(
        {"metadata": {"name": "edge"}, "issuers": {"corp": {"ca": "x.pem"}}},
        ["Hello."],
        rules,
        routes,
        identities(),
        [ANY],
    )
    assert (
        text
        == """\
# Hello.
apiVersion: authz/v1
metadata: {name: edge}

issuers:
  corp: {ca: x.pem}

identities:
  cn-a: {issuer: corp, cn: a}

rules:
  # edge.cfg:7 deny
  - {id: r, effect: require, request: {path: /x, header: {a: b}}, who: cn-a}
  - {id: d, effect: deny, who: any_certificate, unless: {path: /y, source: 10.0.0.1}, status: 404}
  - {id: a, effect: allow, who: any_certificate}

routes:
  # edge.cfg:9 use_backend b
  - {who: cn-a, backend: b}
"""
    )
    assert "identities" not in policy_text({}, [], [DraftRule("a", "allow")], [], identities(), [ANY])


def test_tests_are_a_document_with_comments() -> None:
    text = writing.tests_text(
        ["Hello."], {"now": "2026-11-20"}, {"a": {"cn": "a"}}, [("", {"cert": "a"}), ("Why.", {"cert": "none"})]
    )
    assert (
        text
        == """\
# Hello.
apiVersion: authz/v1
kind: tests
now: 2026-11-20
certs:
  a: {cn: a}
tests:
  - {cert: a}
  # Why.
  - {cert: none}
"""
    )
    assert "certs" not in writing.tests_text([], {}, {}, [])
