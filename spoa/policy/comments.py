"""The comments of a YAML document, which its nodes don't hold."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any, Final, NamedTuple

import yaml

__all__ = ["Comment", "comments_of"]

# libyaml is ten times as fast; PyYAML may be installed without it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BEGINNING: Final = re.compile(r"(?:^|[ \t])#", re.MULTILINE)


class Comment(NamedTuple):
    """A comment: where its `#` stands, counted from 1, and what follows it, without outer blanks."""

    line: int
    column: int
    text: str


def comments_of(text: str) -> tuple[Comment, ...]:
    """Return the comments of a YAML document in order; none where it isn't YAML.

    What looks like a comment inside quotation marks or a block of text is none.
    """
    try:
        events: list[Any] = [one for one in yaml.parse(text, Loader=_LOADER) if isinstance(one, yaml.ScalarEvent)]
    except yaml.YAMLError:
        return ()
    spans = [(event.start_mark.index, event.end_mark.index) for event in events]
    starts = [start for start, _ in spans]
    found = []
    position = 0
    while (match := _BEGINNING.search(text, position)) is not None:
        place = match.end() - 1
        number = bisect_right(starts, place) - 1
        if number >= 0 and place < spans[number][1]:
            position = spans[number][1]
            continue
        end = text.find("\n", place)
        position = len(text) if end < 0 else end
        line, column = text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
        found.append(Comment(line, column, text[place + 1 : position].strip()))
    return tuple(found)
