from __future__ import annotations

import json
import textwrap
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spoa.policy import layout
from spoa.policy.comments import comments_of
from spoa.policy.conditions import HeaderPattern
from spoa.policy.document import Mapping, Node, Scalar, Sequence, read_document
from spoa.policy.layout import LayoutError, formatted
from spoa.policy.load import load_policies
from spoa.policy.reading import Report
from tests.drawn import documents

ROOT: Final = Path(__file__).parents[2]
SHIPPED: Final = sorted(
    path
    for folder in ("policies", "haproxy/examples/policies", "tests/policy/cases")
    for path in (ROOT / folder).rglob("*.yaml")
)
SIZE: Final = 1 << 20
FEW = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def laid_out(text: str) -> str:
    found, problems = formatted(text.encode(), "a.yaml", max_size=SIZE)
    assert found is not None, problems
    return found


def said(node: Node | None) -> object:
    if isinstance(node, Scalar):
        return node.text, node.is_null
    if isinstance(node, Sequence):
        return [said(item) for item in node.items]
    if isinstance(node, Mapping):
        return [(key.text, said(value)) for key, value in node.pairs]
    return None


def holds(text: str) -> str:
    """Check all that must hold for a document, and return its layout."""
    found = laid_out(text)
    assert laid_out(found) == found
    assert said(read_document(found.encode(), "")[0]) == said(read_document(text.encode(), "")[0])
    assert sorted(one.text for one in comments_of(found)) == sorted(one.text for one in comments_of(text))
    assert not any(line != line.rstrip() for line in found.splitlines() if "|" not in text and ">" not in text)
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_shipped_says_the_same_afterwards(path: Path) -> None:
    holds(path.read_text())


@FEW
@given(documents(), st.sampled_from([True, False, None]), st.sampled_from([20, 80, 1000]), st.data())
def test_a_policy_is_the_same_policy_afterwards(
    document: dict[str, Any], style: bool | None, width: int, data: st.DataObject
) -> None:
    lines = yaml.dump(document, default_flow_style=style, width=width, sort_keys=False).splitlines()
    for _ in range(data.draw(st.integers(0, 5))):
        place = data.draw(st.integers(0, len(lines)))
        indent = data.draw(st.integers(0, 6))
        lines.insert(place, data.draw(st.sampled_from(["", " " * indent + "# a comment", " " * indent + "#: another"])))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(lines) - 1))
        lines[place] += "  # behind"
    text = "\n".join(lines) + "\n"
    if read_document(text.encode(), "")[1]:
        return  # a comment in the middle of a text of several lines ends it
    found = holds(text)
    assert shape_of(found) == shape_of(text)


def shape_of(text: str) -> str:
    """Return a policy as it was loaded, without places."""
    model = load_policies({"a.yaml": text.encode()}, Report())
    assert model is not None
    rules = tuple(replace(rule, position="") for rule in model.rules)
    routes = tuple(replace(route, position="") for route in model.routes)
    lists = tuple(replace(one, position=("", 0, 0)) for one in model.lists)
    whole = replace(model, rules=rules, routes=routes, lists=lists)
    return json.dumps(_plain(whole))


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, HeaderPattern):
        return [_plain(matcher) for matcher in value.matchers]
    return f"{type(value).__name__} {value}"


NASTY = ["22:00", "on", "no", "0x10", "1_000", "1.0", "1e3", "~", "null", "2027-01-15", "=", "'it''s'", r'"a\tb"']
NASTY += ["a#b", "-x", "0o7", "+1", ".5", "a:b", r"\!x", "é"]


@given(st.lists(st.sampled_from(NASTY), min_size=1, max_size=6), st.booleans())
def test_every_scalar_stays_as_it_is_written(words: list[str], is_flow: bool) -> None:
    text = f"a:   [{' ,'.join(words)}]\n" if is_flow else "a:\n" + "".join(f"-   {word}\n" for word in words)
    expected = f"a: [{', '.join(words)}]\n" if is_flow else "a:\n" + "".join(f"  - {word}\n" for word in words)
    assert holds(text) == expected


CASES = {
    "indentation, blanks and line ends": (
        "a:\r\n    b:   1\r\n    c:  {d: 1,e:   [1 ,2]}   \r\n\r\n\r\n    f:\r\n    - x\r\n    - y: 1\n      z: 2\n",
        "a:\n  b: 1\n  c: {d: 1, e: [1, 2]}\n\n  f:\n    - x\n    - y: 1\n      z: 2\n",
    ),
    "a list that isn't indented": (
        "rules:\n- a: 1\n# of routes\nroutes:\n- b\n",
        "rules:\n  - a: 1\n# of routes\nroutes:\n  - b\n",
    ),
    "comments stay with what they speak of": (
        "# head\n\na: 1   # one\n# of b\nb:  # two\n   # of c\n   c: 1\n   # end of b\n# end\n",
        "# head\n\na: 1  # one\n# of b\nb:  # two\n  # of c\n  c: 1\n  # end of b\n# end\n",
    ),
    "several lines in braces are joined where they fit": (
        "a: {\n  b: 1,\n  c: [x,\n y]\n}\n",
        "a: {b: 1, c: [x, y]}\n",
    ),
    "several lines in braces with comments become lines": (
        "a: {b: 1,  # one\n  # of c\n  c: [x, y]  # two\n  # end\n}  # behind\n",
        "# behind\na:\n  b: 1  # one\n  # of c\n  c: [x, y]  # two\n  # end\n",
    ),
    "what doesn't fit becomes lines": (
        "a: [" + ",\n  ".join(f"{'x' * 30}{n}" for n in range(5)) + "]\n",
        "a:\n" + "".join(f"  - {'x' * 30}{n}\n" for n in range(5)),
    ),
    "one line stays one, however long": (
        f"a:  [{', '.join(['xxxxxxxxxx'] * 20)}]\n",
        f"a: [{', '.join(['xxxxxxxxxx'] * 20)}]\n",
    ),
    "a value on the next line": ("a:\n   {b: 1}\nc:\n    'x'\n", "a: {b: 1}\nc: 'x'\n"),
    "texts of several lines": (
        "a: one\n    two\n\n    three\nb: 'q\n  r'  # c\nc: x\n",
        "a: one\n  two\n\n  three\nb: 'q\n  r'  # c\nc: x\n",
    ),
    "blocks of text": (
        "a: |\n     x\n       y\n\n\nb: >-   # folded\n        x\n\n        y\nc: |+\n  x\n\nd:\n  - |\n    z\n",
        "a: |\n  x\n    y\n\nb: >-   # folded\n  x\n\n  y\nc: |+\n  x\n\nd:\n  - |\n    z\n",
    ),
    "a block of text that says how deep it is": (
        "a:\n     b: |2\n         x\n       y\n",
        "a:\n  b: |2\n      x\n    y\n",
    ),
    "a block of text that says how deep it is, and has a comment": ("a: |2  # c\n    x\n", "a: |2  # c\n    x\n"),
    "a block of empty lines with blanks": ("a: |+\n \n   \n", "a: |+\n\n\n"),
    "a block of text that ends with the file, inside of a line": ("a: |+  # c\n  x\n  y", "a: |-  # c\n  x\n  y\n"),
    "anchors and aliases": (
        "a: &x   {b: 1}\nc: &y\n    d: &z   1\ne: [ *x , *y ]\nf: &w\n- *z\n- &v\n  g: 1\n*z : 1\n",
        "a: &x {b: 1}\nc: &y\n  d: &z 1\ne: [*x, *y]\nf: &w\n  - *z\n  - &v\n    g: 1\n*z : 1\n",
    ),
    "empty things": ("a:\nb: {}\nc: [ ]\nd: {e: , f: }\n-x: ''\n", "a:\nb: {}\nc: []\nd: {e: , f: }\n-x: ''\n"),
    "lists of lists": (
        "a:\n- - 1\n  - 2\n-\n  - 3\n- -   b: 1\n      c: 2\n",
        "a:\n  - - 1\n    - 2\n  - - 3\n  - - b: 1\n      c: 2\n",
    ),
    "document marks": ("%YAML 1.1\n# head\n---\na: 1\n...\n# end\n", "# head\na: 1\n# end\n"),
    "a document that is one value": ("   x   # c\n", "x  # c\n"),
    "a document in braces": ("{a: 1,\n b: 2}\n", "{a: 1, b: 2}\n"),
    "a document in braces with comments": ("{a: 1,  # c\n b: [1,\n 2]}\n", "a: 1  # c\nb: [1, 2]\n"),
    "nothing": ("\n\n", ""),
    "comments alone": ("\n# a\n\n\n# b", "# a\n\n\n# b\n"),
    "a comment behind a dash": ("a:\n  -   # c\n    b: 1\n  - x\n", "a:\n  # c\n  - b: 1\n  - x\n"),
}


@pytest.mark.parametrize("case", CASES)
def test_there_is_one_layout(case: str) -> None:
    before, after = CASES[case]
    assert holds(before) == after


def test_what_cannot_be_read_is_told() -> None:
    found, (problem,) = formatted(b"a: 1\na: 2\n", "a.yaml", max_size=SIZE)
    assert (found, problem.code) == (None, "duplicate-key")


def test_what_would_say_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_key", lambda part: part.text.upper())
    with pytest.raises(LayoutError):
        formatted(b"a: 1\n", "a.yaml", max_size=SIZE)


def test_a_long_document_is_laid_out_in_little_time() -> None:
    rule = textwrap.dedent("""
        - id:   r{0}   # a comment
          effect: allow
          # another
          who:  [ a,b ]
    """)
    text = "rules:\n" + "".join(rule.format(number) for number in range(500))
    assert len(laid_out(text).splitlines()) > 2000
