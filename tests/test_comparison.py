"""A candidate is judged by the same facts, so whatever differs is the policies' own difference."""

from __future__ import annotations

import pytest

from spoa.comparison import Comparison, Difference
from spoa.facts import ABSENT, Request
from tests.agents import policy_of

HEAD = "apiVersion: authz/v1\ndefaults: {no_certificate: anonymous}\nbreak_glass: {s: {max_duration: 1h, ticket: x}}\n"
OPEN = HEAD + 'rules: [{id: open, effect: allow, who: anonymous, request: {path: "/a/**"}}]\n'
NOW = 1_800_000_000


def request(path: str = "/a/x") -> Request:
    return Request(cert=ABSENT, used=False, method="GET", path=path)


@pytest.mark.parametrize(
    ("candidate", "path", "difference"),
    [
        (OPEN, "/a/x", None),
        (OPEN.replace("id: open", "id: other"), "/a/x", None),
        (OPEN.replace("/a/**", "/b/**"), "/a/x", Difference("newly_denied", "deny", "no_rule_allows", "", "")),
        (OPEN.replace("/a/**", "/b/**"), "/b/x", Difference("newly_allowed", "allow", "ok", "open", "")),
        (OPEN + "routes: [{backend: b}]\n", "/a/x", Difference("other_route", "allow", "ok", "open", "b")),
        (
            OPEN.replace("]\n", ", {id: no, effect: deny, request: {path: /z}, status: 404, reason: gone}]\n"),
            "/z",
            Difference("other_reason", "deny", "gone", "no", ""),
        ),
    ],
)
def test_each_way_to_differ_has_its_name(candidate: str, path: str, difference: Difference | None) -> None:
    active = policy_of(OPEN)
    comparison = Comparison(policy_of(candidate))
    judgement = active.judge(request(path), NOW)
    assert comparison.compare(request(path), NOW, judgement, active) == difference
    change = "same" if difference is None else difference.change
    assert [key[0] for key in comparison.counts] == [change]


def test_what_is_open_or_unusable_for_one_is_so_for_the_other() -> None:
    armed = OPEN.replace('"/a/**"}', '"/a/**"}, active_during: s')
    active, comparison = policy_of(armed), Comparison(policy_of(armed))
    active.switches = frozenset({"s"})
    active.clock_usable = False
    judgement = active.judge(request(), NOW)
    assert judgement.decision.verdict == "allow"
    assert comparison.compare(request(), NOW, judgement, active) is None
    assert not comparison.candidate.clock_usable


def test_equal_answers_are_counted_together_and_different_ones_by_their_rules() -> None:
    active = policy_of(OPEN)
    comparison = Comparison(policy_of(OPEN.replace("/a/**", "/b/**")))
    for path in ("/a/1", "/a/2", "/b/1", "/c"):
        comparison.compare(request(path), NOW, active.judge(request(path), NOW), active)
    assert comparison.counts == {
        ("newly_denied", "open", ""): 2,
        ("newly_allowed", "", "open"): 1,
        ("same", "", ""): 1,
    }
