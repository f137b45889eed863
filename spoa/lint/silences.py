r"""Comments that silence findings where they stand, each with a reason.

::

    - id: legacy        # check: ignore any-issuer: every CA of the group is meant until the merger is done

    # check: ignore wide-allow, prefix-path: the vendor's client walks the tree; see OPS-17
    - id: vendor
      …

Behind something, a comment speaks of its line; alone on its line, of what begins on the next one: that line, and all
that is indented deeper. Before everything else in a file, it also speaks of the file as a whole. A finding about a file
that can't hold comments, such as a revocation list, is silenced where the policy names the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from spoa.exceptions import Problem
from spoa.lint.catalogue import ERRORS, FINDINGS
from spoa.policy.comments import Comment, comments_of
from spoa.policy.reading import quoted, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["Judged", "Silenced", "apply_silences"]

_DIRECTIVE: Final = re.compile(r"check:\s*ignore\b(?P<rest>.*)", re.DOTALL)
_REST: Final = re.compile(r"\s+(?P<codes>[\w-]+(?:\s*,\s*[\w-]+)*)\s*:(?P<reason>.*)", re.DOTALL)
#: A slip in the word, which would silence nothing and not be noticed.
_SLIP: Final = re.compile(r"check:\s*(?:ign\w*|disable|skip|silence|off|noqa|no-?check)\b", re.IGNORECASE)
#: In a plain list a comment begins with either, and goes to the end of the line.
_PLAIN_COMMENT: Final = re.compile(r"[#;](.*)")
_FORM: Final = "write `# check: ignore CODE: reason`"


class Silenced(NamedTuple):
    """A finding that is silenced, and why."""

    problem: Problem
    reason: str


@dataclass(frozen=True, slots=True)
class Judged:
    """Findings after the comments were heard.

    Attributes:
        problems: what remains, with comments that are wrong or silence nothing; sorted.
        silenced: the others, sorted.
    """

    problems: tuple[Problem, ...]
    silenced: tuple[Silenced, ...]


@dataclass(slots=True)
class _Silence:
    """One comment: its codes and reason, the lines that it speaks of, and which codes have silenced something."""

    file: str
    comment: Comment
    codes: tuple[str, ...]
    reason: str
    lines: range
    used: set[str] = field(default_factory=set)


def apply_silences(
    problems: Iterable[Problem],
    texts: Mapping[str, str],
    mentions: Mapping[str, Sequence[tuple[str, int]]],
    *,
    is_complete: bool = True,
) -> Judged:
    """Take out what a comment silences.

    Args:
        problems: all that was found.
        texts: file → text, of the files that can hold comments.
        mentions: file → file and line of each place that names it.
        is_complete: all was looked at, so that a comment that silences nothing is a finding.
    """
    silences: list[_Silence] = []
    kept: list[Problem] = []
    for file, text in texts.items():
        for found in _silences(file, text):
            if isinstance(found, _Silence):
                silences.append(found)
            else:
                kept.append(found)
    silenced: list[Silenced] = []
    by_file: dict[str, list[_Silence]] = {}
    for silence in silences:
        by_file.setdefault(silence.file, []).append(silence)
    for problem in problems:
        places = [(problem.file, problem.line), *mentions.get(problem.file, ())]
        found_for = _silence_for(problem, places, by_file) if problem.is_warning else None
        if found_for is None:
            kept.append(problem)
        else:
            found_for.used.add(problem.code)
            silenced.append(Silenced(problem, found_for.reason))
    for silence in silences:
        kept += _useless(silence, is_complete=is_complete)
    return Judged(tuple(sorted(set(kept))), tuple(sorted(set(silenced))))


def _silence_for(
    problem: Problem, places: Sequence[tuple[str, int]], by_file: Mapping[str, Sequence[_Silence]]
) -> _Silence | None:
    for file, line in places:
        for silence in by_file.get(file, ()):
            if problem.code in silence.codes and line in silence.lines:
                return silence
    return None


def _useless(silence: _Silence, *, is_complete: bool) -> Iterator[Problem]:
    for code in silence.codes:
        if code in silence.used:
            continue
        if code in ERRORS:
            message = f"{quoted(code)} is an error and can't be silenced; mend it, and take this comment out"
        elif is_complete:
            message = f"nothing here has the finding {quoted(code)} any more; take this comment out"
        else:
            continue
        yield _problem(silence.file, silence.comment, message, "useless-silence")


def _problem(file: str, comment: Comment, message: str, code: str) -> Problem:
    return Problem(file, comment.line, comment.column, "", message, code, is_warning=True)


def _silences(file: str, text: str) -> Iterator[_Silence | Problem]:
    """Yield the silences of a file, and what is wrong with those that are none."""
    if "check:" not in text:
        return
    lines = text.split("\n")
    comments = comments_of(text) if file.endswith((".yaml", ".yml")) else _plain_comments(lines)
    for comment in comments:
        directive = _DIRECTIVE.match(comment.text)
        if directive is None:
            if _SLIP.match(comment.text):
                message = f"this comment silences nothing; {_FORM}"
                yield _problem(file, comment, message, "bad-silence")
            continue
        rest = _REST.fullmatch(directive["rest"])
        if rest is None or not rest["reason"].strip():
            message = f"a finding is silenced by its code and with a reason; {_FORM}"
            yield _problem(file, comment, message, "bad-silence")
            continue
        codes = tuple(code.strip() for code in rest["codes"].split(","))
        for code in codes:
            if code not in FINDINGS:
                message = f"there is no finding {quoted(code)}{suggestion(code, FINDINGS)}"
                yield _problem(file, comment, message, "bad-silence")
        known = tuple(code for code in codes if code in FINDINGS)
        yield _Silence(file, comment, known, rest["reason"].strip(), _lines_of(comment, lines))


def _plain_comments(lines: Sequence[str]) -> Iterator[Comment]:
    for number, line in enumerate(lines, 1):
        found = _PLAIN_COMMENT.search(line)
        if found is not None:
            yield Comment(number, found.start() + 1, found[1].strip())


def _lines_of(comment: Comment, lines: Sequence[str]) -> range:
    """Return the lines that a comment speaks of; 0 is the file as a whole."""
    if lines[comment.line - 1][: comment.column - 1].strip():
        return range(comment.line, comment.line + 1)
    first = next((n for n in range(comment.line + 1, len(lines) + 1) if not _is_empty(lines[n - 1])), len(lines) + 1)
    last = first
    for number in range(first + 1, len(lines) + 1):
        line = lines[number - 1]
        if not _is_empty(line):
            if _indentation(line) <= _indentation(lines[first - 1]):
                break
            last = number
    is_head = all(_is_empty(line) for line in lines[: comment.line - 1])
    return range(0 if is_head else first, last + 1)


def _is_empty(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
