"""A switch is open as the policy allows and no longer, whatever the file says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoa.exceptions import PolicyError
from spoa.listindex import NEVER
from spoa.openings import Opening, Openings, refusal
from spoa.policy.model import Switch

NOW = 1_795_860_000
INCIDENT = Switch("incident", 7200, "INC-[0-9]+")
OTHER = Switch("other", 60, "x")
OPEN = Opening("incident", "INC-7", NOW, NOW + 3600, "ann")


def names(*openings: Opening, now: int = NOW) -> set[str]:
    return set(Openings(openings).in_force((INCIDENT, OTHER), now)[0])


def test_it_is_open_from_its_beginning_until_before_its_end() -> None:
    assert [names(OPEN, now=NOW + at) for at in (-1, 0, 3599, 3600)] == [set(), {"incident"}, {"incident"}, set()]


def test_the_next_change_is_told() -> None:
    def until(now: int) -> int:
        return Openings([OPEN]).in_force((INCIDENT,), now)[1]

    assert [until(NOW - 5), until(NOW), until(NOW + 3600)] == [NOW, NOW + 3600, NEVER]
    assert Openings().in_force((INCIDENT,), NOW) == (frozenset(), NEVER)


@pytest.mark.parametrize(
    ("opening", "says"),
    [
        (Opening("none", "INC-7", NOW, NOW + 1), "declares no break-glass switch 'none'; it declares: incident, other"),
        (Opening("incident", "INC-", NOW, NOW + 1), "does not look like"),
        (Opening("incident", "an INC-7", NOW, NOW + 1), "does not look like"),
        (Opening("incident", "INC-7", NOW, NOW + 7201), "7200 s at once, no longer"),
        (Opening("incident", "INC-7", 0, NOW + 1), "no longer"),
    ],
)
def test_what_the_policy_does_not_allow_opens_nothing_and_says_why(opening: Opening, says: str) -> None:
    assert says in refusal(opening, (INCIDENT, OTHER))
    assert names(opening) == set()


def test_what_it_allows_is_not_refused() -> None:
    assert refusal(OPEN, (INCIDENT,)) == ""
    assert "it declares: none" in refusal(OPEN, ())


def test_one_opening_of_a_switch_takes_the_place_of_the_other() -> None:
    longer = Opening("incident", "INC-8", NOW, NOW + 7200)
    both = Openings([OPEN]).with_opening(longer)
    assert both.openings == (longer,)
    assert len(both.without("other")) == 1
    assert len(both.without("incident")) == 0
    assert len(Openings([OPEN, Opening("other", "x", 0, 60)]).without("", NOW)) == 1


texts = st.text(min_size=1, max_size=20).map(lambda text: f"x{text}x")


@given(st.lists(st.builds(Opening, texts, texts, st.integers(0, NOW), st.integers(0, NOW), st.just("") | texts)))
def test_what_is_written_reads_the_same(openings: list[Opening]) -> None:
    assert Openings.from_text(Openings(openings).to_text()).openings == tuple(openings)


def test_a_broken_file_opens_nothing() -> None:
    assert Openings.from_text(b"").openings == ()
    with pytest.raises(PolicyError, match=r"breakglass.yaml:1"):
        Openings.from_text(b"kind: openings\n")
