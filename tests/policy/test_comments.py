from __future__ import annotations

import pytest

from spoa.policy.comments import Comment, comments_of

DOCUMENT = """# first
a: |
  text # no comment
  # neither
  é
b: 'quoted # no
  # no'   # é, behind
c: plain#no #yes
  # above
d: [1, 2] # list
"""


def test_comments_are_found_with_their_places_and_texts_are_none() -> None:
    assert comments_of(DOCUMENT) == (
        Comment(1, 1, "first"),
        Comment(7, 11, "é, behind"),
        Comment(8, 13, "yes"),
        Comment(9, 3, "above"),
        Comment(10, 11, "list"),
    )


def test_lines_that_end_in_crlf_are_the_same() -> None:
    assert comments_of(DOCUMENT.replace("\n", "\r\n")) == comments_of(DOCUMENT)


@pytest.mark.parametrize("text", ["", "a: [", "a: b: c # x"])
def test_what_is_no_yaml_has_no_comments(text: str) -> None:
    assert comments_of(text) == ()
