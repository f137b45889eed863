"""Text, folded and matched."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from tests.differential.second_evaluator.words import GENEROUSLY, STRICTLY, RefusedError

STAR = "\ue000"
"""Stands for an unescaped `*` while the rest of a pattern is folded."""
Matches = Callable[[str, bool], bool]
"""(value, generous) to whether it matches."""


def strict(value: str) -> str:
    """The specification: "exact code points after NFC; no trimming"."""
    return unicodedata.normalize("NFC", value)


def fold_letters(value: str) -> str:
    """NFKC, case-folded; and NFKC again, since case folding can undo a composition."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value).casefold())


def generous(value: str) -> str:
    """The specification: "NFKC, case-folded, outer blanks trimmed, inner ones collapsed"."""
    return " ".join(fold_letters(value).split())


def ascii_lower(value: str) -> str:
    """Lower-case A to Z and nothing else."""
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in value)


def with_stars_marked(pattern: str) -> str:
    r"""Mark the stars of a glob: `*` is one or more characters, `\*` is literal, `?`, `[ ]` and `{ }` are errors."""
    if not pattern:
        raise RefusedError("an empty match")
    marked, i = "", 0
    while i < len(pattern):
        if pattern.startswith("\\*", i):
            marked, i = marked + "*", i + 2
            continue
        if pattern[i] in "?[]{}":
            raise RefusedError(f"{pattern[i]!r} in the glob {pattern!r}")
        marked += STAR if pattern[i] == "*" else pattern[i]
        i += 1
    return marked


def glob_matches(marked: str, value: str) -> bool:
    """Whether a pattern with its stars marked matches the whole value; a star is one or more characters."""
    pieces = [re.escape(piece) for piece in marked.split(STAR)]
    return re.fullmatch(".+".join(pieces), value, re.DOTALL) is not None


def glob(pattern: str, *, fold: Callable[[str], str] = strict) -> Matches:
    """Read a glob whose strict form is folded by `fold`; "`**` stands last only", and only of a path it says what then.

    Raises:
        RefusedError: it has `**`, or is no glob.
    """
    marked = with_stars_marked(pattern)
    if STAR * 2 in marked:
        raise RefusedError(f"`**` in the glob {pattern!r} of a text")

    def matches(value: str, is_generous: bool) -> bool:
        folding = generous if is_generous else fold
        return glob_matches(folding(marked), folding(value))

    return matches


def regular_expression(pattern: str, *, fold: Callable[[str], str] = generous) -> Matches:
    """An expression over the whole value; "in restricting positions case-insensitive, on the folded value"."""
    if not pattern:
        raise RefusedError("an empty match")
    if len(pattern) > 256:
        raise RefusedError("an expression of more than 256 characters")
    if re.search(r"\\[1-9]|\(\?[=!<(]|\(\?P[=>]", pattern):
        raise RefusedError("not of the linear-time subset")
    try:
        exact = re.compile(pattern)
        # A letter of the expression that folding makes others is as good as those: left open, and more is restricted.
        # Whether the dotless i is one is left open as well: with ASCII it isn't, and `[^i]` is it.
        loose = [
            re.compile(one, re.IGNORECASE | flags)
            for one in (pattern, unicodedata.normalize("NFKC", pattern))
            for flags in (0, re.ASCII)
        ]
    except re.error as error:
        raise RefusedError(str(error)) from None

    def matches(value: str, is_generous: bool) -> bool:
        if is_generous:
            return any(one.fullmatch(fold(value)) for one in loose)
        return exact.fullmatch(strict(value)) is not None

    return matches


def holds(pattern: Matches, value: str, is_generous: bool) -> bool:
    """Whether a value matches; what matches strictly also matches where access is taken away.

    The specification says that restrictions match "generously", and leaves open what becomes of a value that folding
    makes another than the pattern asks for; a restriction that covers more fails closed.
    """
    return pattern(value, STRICTLY) or (is_generous and pattern(value, GENEROUSLY))


def one_pattern(
    node: Any, read: Callable[[str], Matches], *, expression: Callable[[str], Matches] = regular_expression
) -> Matches:
    """Read a pattern, or `{re: …}`."""
    if isinstance(node, dict):
        if set(node) != {"re"} or not isinstance(node["re"], str):
            raise RefusedError(f"not a pattern: {node}")
        return expression(node["re"])
    if not isinstance(node, str):
        raise RefusedError(f"not a pattern: {node}")
    return read(node)


def values_matcher(node: Any, read: Callable[[str], Matches]) -> Callable[[tuple[str, ...], bool], bool]:
    """Read a pattern, a list of them, `any_of:` or `all_of:`.

    "Multi-valued attributes match when **any** value does"; "`all_of:` every value of the certificate matches one of
    the patterns, and there is at least one".
    """
    every = False
    if isinstance(node, dict) and set(node) in ({"any_of"}, {"all_of"}):
        (key,) = node
        every, node = key == "all_of", node[key]
        if not isinstance(node, list):
            raise RefusedError(f"{key} is no list")
    if isinstance(node, list) and not node:
        raise RefusedError("an empty match")
    patterns = [one_pattern(item, read) for item in (node if isinstance(node, list) else [node])]

    def matches(values: tuple[str, ...], is_generous: bool) -> bool:
        hits = [any(holds(pattern, value, is_generous) for pattern in patterns) for value in values]
        return bool(hits) and (all(hits) if every else any(hits))

    return matches


def is_unsafe(value: str) -> bool:
    """NUL, control or bidirectional characters."""
    bidirectional = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    return any(unicodedata.category(c) == "Cc" or c in bidirectional for c in value)
