"""The table of bits: it answers as asking every matcher would, and conflates nothing."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.facts import ABSENT, UNAVAILABLE
from spoa.policy.model import Bearer, RequestValues, Values
from spoa.policy.path import ASTERISK, canonical_path
from spoa.policy.table import RuleTable, bit_set, conjunctions_of
from tests.policies import HEAD, ask, holder, model, policy

SOURCE = ipaddress.ip_address("10.0.0.1").packed


def table(text: str) -> RuleTable:
    found = RuleTable(model(HEAD + text))
    for _ in found.fill():
        pass
    return found


def test_conjunctions_are_numbered_by_kind_and_polarity() -> None:
    own = model(
        HEAD
        + "rules:\n"
        + "- {id: a, effect: allow, who: any_certificate}\n"
        + "- {id: d, effect: deny, request: {path: /x}, unless: {who: anonymous}}\n"
        + "- {id: r, effect: require, request: {path: /y}, when: {tls: TLSv1.3}, who: anonymous}\n"
        + "- {id: n, effect: deny, request: {path: /z}}\n"
        + "routes: [{backend: b}, {backend: c}]\n"
    )
    found = [(number, who is not None, len(ms), generous) for number, who, ms, generous in conjunctions_of(own)]
    assert found == [
        (0, True, 0, False),
        (1, False, 1, True),
        (5, True, 0, False),
        (2, False, 1, True),
        (6, True, 1, False),
        (3, False, 1, True),
        (8, False, 0, False),
        (9, False, 0, False),
    ]


@given(st.sets(st.integers(0, 299)))
def test_bits_are_set_where_they_should_be(numbers: set[int]) -> None:
    assert bit_set(numbers, 300) == sum(1 << number for number in numbers)


#: Header conditions whose texts, joined, would be those of one another.
LOOKALIKES = [
    ("{x: 'a | b'}", "{x: [a, b]}", {"x": "a"}, {"x": "a | b"}),
    ("{x: '1, y: 2'}", "{x: '1', y: '2'}", {"x": "1", "y": "2"}, {"x": "1, y: 2", "y": "0"}),
    ("{x: 're: a+'}", "{x: {re: a+}}", {"x": "aa"}, {"x": "re: a+"}),
    ("[{x: a}, {y: b}]", "{x: a, y: b}", {"x": "a", "y": "b"}, {"x": "a", "y": "c"}),
]


@pytest.mark.parametrize(("first", "second", "for_second", "for_first"), LOOKALIKES)
@pytest.mark.parametrize("swapped", [False, True])
def test_conditions_that_read_alike_are_not_taken_for_one_another(
    first: str, second: str, for_second: dict[str, str], for_first: dict[str, str], swapped: bool
) -> None:
    lines = [f"- {{id: first, effect: deny, request: {{header: {first}}}}}"]
    lines.append(f"- {{id: second, effect: deny, request: {{header: {second}}}}}")
    own = policy(HEAD + "rules:\n" + "\n".join(reversed(lines) if swapped else lines))
    assert "second" in ask(own, holder("x"), headers=dict(for_second)).rules
    assert "first" in ask(own, holder("x"), headers=dict(for_first)).rules
    assert "second" not in ask(own, holder("x"), headers=dict(for_first)).rules


def test_equal_conditions_are_asked_once_under_each_polarity() -> None:
    own = table(
        "rules:\n"
        "- {id: a, effect: allow, who: any_certificate, request: {host: a.b}}\n"
        "- {id: b, effect: allow, who: any_certificate, request: {host: a.b}}\n"
        "- {id: c, effect: deny, request: {host: a.b}}\n"
    )
    assert len(own._columns["host"]._groups) == 2
    assert own.answer("host", ("a.b",)) & 0b111 == 0b111
    assert own.answer("host", UNAVAILABLE) & 0b111 == 0b100
    assert own.answer("tls", UNAVAILABLE) == own._everything


def test_answers_are_remembered_by_value() -> None:
    own = table("rules: [{id: a, effect: deny, request: {header: {x: y}}}]\n")
    column = own._columns["header"]
    for headers, bit in (({"x": "y"}, 1), ({"x": "z"}, 0), ({"x": ABSENT}, 0), ({"x": UNAVAILABLE}, 1), ({}, 1)):
        for _ in range(2):
            assert own.answer("header", (headers,)) & 1 == bit
    assert len(column._answers) == 5
    assert own.headers == ("x",)


def test_a_header_named_like_a_state_is_another_value() -> None:
    own = table("rules: [{id: a, effect: deny, request: {header: {x: absent}}}]\n")
    assert own.answer("header", ({"x": "absent"},)) & 1
    assert not own.answer("header", ({"x": ABSENT},)) & 1
    assert own.answer("header", ({"x": "absent"},)) & 1


PATHS = [
    "/",
    "/a",
    "/A",
    "/a/",
    "/a/b",
    "/b",
    "/a/b/c",
    "/axb",
    "/a;p",
    "/%C3%A9",
    "/cafe%CC%81",
    "/a/;x",
    "*",
    None,
    ABSENT,
]
PATTERNS = [
    "/",
    "/**",
    "/a",
    "/a/",
    "/a/**",
    "/A",
    "/*",
    "/a*",
    "/*b",
    "/*/b",
    "/a/*",
    "/a/*/c",
    "/a;p",
    "/%C3%A9",
    "/cafe*",
    r"\*",
    "re:/a.*",
    "re:/[A-Z]",
    "re:/a/",
    "re:.*",
]
HOSTS = ["a.b", "*.b", "re:a.*"]
NAMES = ["a.b", "c.b", "x", None]


def written(patterns: list[str]) -> str:
    return "[" + ", ".join(f"{{re: '{one[3:]}'}}" if one.startswith("re:") else f"'{one}'" for one in patterns) + "]"


@st.composite
def policies(draw: st.DrawFn) -> str:
    """Draw a policy of some rules and routes on all columns that need no certificate."""
    lines = ["rules:"]
    for number in range(draw(st.integers(1, 6))):
        effect = draw(st.sampled_from(["allow", "deny", "require"]))
        request = {"path": written(draw(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3)))}
        if draw(st.booleans()):
            request["method"] = draw(st.sampled_from(["read", "write", "GET", "[POST, read]"]))
        if draw(st.booleans()):
            request["host"] = written(draw(st.lists(st.sampled_from(HOSTS), min_size=1, max_size=2)))
        if draw(st.booleans()):
            request["header"] = draw(st.sampled_from(["{x: a}", "{x: a, y: b}", "[{x: a}, {y: b}]"]))
        parts = [
            f"id: r{number}",
            f"effect: {effect}",
            f"request: {{{', '.join(f'{k}: {v}' for k, v in request.items())}}}",
        ]
        if effect == "allow":
            parts.append("who: [any_certificate, anonymous]")
        if effect == "require" or draw(st.booleans()):
            parts.append("when: {source: [10.0.0.0/8, 192.0.2.1]}")
        if effect == "deny" and draw(st.booleans()):
            parts.append(
                f"unless: {{path: {written(draw(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2)))}}}"
            )
        lines.append("- {" + ", ".join(parts) + "}")
    lines.append("routes:")
    lines += [f"- {{request: {{path: {written([draw(st.sampled_from(PATTERNS))])}}}, backend: b}}" for _ in range(2)]
    return "\n".join(lines) + "\n"


def one_of(values: list[Any]) -> st.SearchStrategy[Values]:
    wrapped: list[Values] = [UNAVAILABLE if one is None else one if one is ABSENT else (one,) for one in values]
    return st.sampled_from(wrapped)


def path_values(raw: Any) -> Values:
    if raw is None or raw is ABSENT:
        return UNAVAILABLE
    return (ASTERISK if raw == "*" else canonical_path(raw, parameters=True),)


REQUESTS = st.fixed_dictionaries(
    {
        "path": st.sampled_from(PATHS).map(path_values),
        "method": one_of(["GET", "POST", "get", "TRACE", None]),
        "host": one_of([*NAMES]),
        "source": one_of([SOURCE, bytes(4), None]),
        "header": st.dictionaries(
            st.sampled_from(["x", "y"]), st.sampled_from(["a", "A", "b", ABSENT, UNAVAILABLE])
        ).map(lambda headers: (headers,)),
    }
)


@given(policies(), st.lists(REQUESTS, min_size=1, max_size=5))
def test_the_table_answers_as_asking_every_matcher_would(text: str, requests: list[dict[str, Values]]) -> None:
    own = model(HEAD + text)
    found = table(text)
    bearer = Bearer(is_anonymous=True)
    for values in requests:
        for _ in range(2):  # afresh, and from memory
            answer = found.who(bearer) & found.request(RequestValues(values))
            for number, who, matchers, generous in conjunctions_of(own):
                expected = (who is None or who.holds(bearer, generous=generous)) and all(
                    one.holds(values[one.key], generous=generous) for one in matchers
                )
                assert bool(answer >> number & 1) is expected, (number, values)


def test_long_values_are_answered_but_not_remembered() -> None:
    found = table("rules: [{id: d, effect: deny, request: {header: {X-A: 'b*'}, method: write}}]")
    for number in range(3):
        header = "b" * 2000 + str(number)
        values: dict[str, Values] = {"header": ({"x-a": header},), "method": ("POST" * 500 + str(number),)}
        assert found.request(RequestValues(values)) == 1
    assert [len(column._answers) for column in found._columns.values()] == [0, 0]
    assert found.request(RequestValues({"header": ({"x-a": "bb"},), "method": ("GET",)})) == 0
    assert [len(column._answers) for column in found._columns.values()] == [1, 1]


@pytest.mark.interpreted
def test_bearers_that_are_alike_share_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    own = table(
        "rules:\n" + "".join(f"- {{id: r{n}, effect: allow, who: {{issuer: corp, ou: u{n % 2}}}}}\n" for n in range(99))
    )

    def bearer(unit: str) -> Bearer:
        return Bearer({"issuer": ("corp",), "subject:2.5.4.11": (unit,)})

    first = own.who(bearer("u1"))
    assert first.bit_count() == 49
    assert own.who(bearer("u1")) is first
    assert own.who(bearer("u0")).bit_count() == 50
    monkeypatch.setattr("spoa.policy.table.REMEMBERED", 1)
    assert own.who(bearer("u1")) == first
    assert len(own._bearers) == 1


def test_the_last_of_many_conjunctions_counts_as_the_first_does() -> None:
    rules = "".join(f"- {{id: r{n}, effect: allow, who: {{issuer: corp, ou: a}}}}\n" for n in range(700))
    last = "- {id: last, effect: deny, request: {host: h.example}}\n"
    own = policy(HEAD, "rules:\n" + rules + last)
    assert ask(own, holder(ou="a"), host="h.example").rule == "last"
    assert ask(own, holder(ou="a"), host="i.example").rule == "r0"
    assert own.evaluator.table.columns == ("host",)
